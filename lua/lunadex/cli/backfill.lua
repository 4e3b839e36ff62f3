--- lunadex backfill: runs data backfills, and says how they stand; pauses, resumes and aborts those that run elsewhere.

local backfills = require "lunadex.backfill"
local common = require "lunadex.cli.common"
local definitions = require "lunadex.backfill.definition"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local json = require "lunadex.cli.json"
local order = require "lunadex.backfill.order"
local output = require "lunadex.cli.output"
local planning = require "lunadex.plan"
local progress = require "lunadex.cli.progress"
local show = require "lunadex.cli.show"
local standing = require "lunadex.cli.standing"
local standings = require "lunadex.backfill.standing"
local suggest = require "lunadex.suggest"
local task = require "lunadex.task"

local M = {}

M.summary = "data backfills: run them, say how they stand, pause, resume, abort"

M.examples = [[
  lunadex backfill run                           all that registry/ declares, one after the other
  lunadex backfill run --only orders_total --dry-run
  lunadex backfill run --jobs 4 --json
  lunadex backfill status --only orders_total    from another terminal
  lunadex backfill pause --only orders_total]]

M.describes = {
  only = "Only this backfill, or, where none is called so, those of this relation. May be repeated; each has to be "
    .. "there. Without it pause, resume and abort are about all of the database that are not finished, whoever "
    .. "declares them.",
  jobs = "Batches at a time. Default: what each declares, else 1.",
  quiet = "Only the summary.",
}

local actions = { "run", "list", "status", "pause", "resume", "abort" }

--- What stands before the registries.
---@param command table            # of argparse
function M.define_first(command)
  command:argument "action" :choices(actions)
    :description("run; list what is declared; status of what was begun; pause, resume, abort what runs in another "
      .. "process: all of it, unless --only says which. What was begun stands in the database: with --target, all but "
      .. "run and list need no registry.")
end

---@param command table            # of argparse
function M.define(command)
  command:flag "--restart"
    :description "Run from the start, also what is finished, was aborted, or was another backfill of that name."
  command:flag "--carry-on"
    :description("Run what has another definition than before, or another relation under the same name, from where the "
      .. "old one was.")
  command:flag "--dry-run"
    :description("Count the rows, show some before and after, and estimate the time. What it tries is rolled back.")
end

-- What is meant -------------------------------------------------------------------------------------------------------

-- The names of backfills, added to others.
local function names_of(list, names)
  for _, each in ipairs(list) do names[each.name] = true end
  return names
end

-- Whether --only names it: by its own name; or by its relation's, with a schema or without, unless that is the name of
-- one of the database's backfills, which is then meant alone. Notes what it would answer to.
local function is_wanted(backfill, driver, only, own, names)
  local relations = { [backfill.on] = true }
  relations[dialects.of(driver).name.relation(backfill.on)] = true
  names[backfill.name] = true
  for name in pairs(relations) do names[name] = true end
  if not only or #only == 0 then return true end
  for _, name in ipairs(only) do
    if name == backfill.name or relations[name] and not own[name] then return true end
  end
  return false
end

-- The first of --only that nothing is called.
local function unfound(only, names)
  for _, name in ipairs(only or {}) do
    if not names[name] then
      return errors.new("usage", ("there is no backfill named %q, and none of a relation of that name"):format(name),
        suggest.hint(name, names))
    end
  end
end

-- The databases that have backfills to be run, each with them.
local function chosen(databases, only)
  local list, names = {}, {}
  for _, each in ipairs(databases) do
    local wanted, own = {}, names_of(each.backfills, {})
    for _, backfill in ipairs(each.backfills) do
      if is_wanted(backfill, each.driver, only, own, names) then wanted[#wanted + 1] = backfill end
    end
    if #wanted > 0 then list[#list + 1] = { database = each, backfills = wanted } end
  end
  return list, unfound(only, names)
end

local closing = { __close = function(connections)
  for _, each in ipairs(connections) do each:close() end
end }

-- Does something with each database that answers, side by side; what went wrong with the others. The connections are to
-- be closed.
local function on_each(databases, options, sessions, work)
  local connections, troubles, opened = common.open_all(databases, options, sessions)
  local more = common.side_by_side(connections, function(connection, i)
    local info, err = connection:connect()
    if not info then return nil, err end
    return work(connection, opened[i])
  end)
  return setmetatable(connections, closing), table.move(more, 1, #more, #troubles + 1, troubles)
end

-- Running -------------------------------------------------------------------------------------------------------------

local function listener(options)
  if options.json then return json.event end
  local shown = progress.new(options)
  return function(event) shown:hear(event) end
end

local ends = { "total", "finished", "skipped", "failed", "aborted", "cancelled" }

local function rows_text(label, rows)
  local text = ("; %s %d of %d"):format(label, rows.changed, rows.seen)
  return rows.failed > 0 and ("%s, failed %d"):format(text, rows.failed) or text
end

local function summary_line(summary, rows, before)
  local parts = {}
  for i, name in ipairs(ends) do
    if i <= 4 or summary[name] > 0 then parts[#parts + 1] = name .. " " .. summary[name] end
  end
  local text = table.concat(parts, ", ") .. rows_text("rows changed", standings.since(rows, before))
  return before.seen > 0 and text .. rows_text("before this run", before) or text
end

local function add(total, more)
  for name, value in pairs(more) do total[name] = (total[name] or 0) + value end
end

-- Of a run that went wrong: what forbade it from the beginning has a status of its own.
local function status_of(failures)
  local status = common.EXIT.builds_failed
  for i, failure in ipairs(failures) do
    local own = common.status(failure.error)
    if own == common.EXIT.failed then return common.EXIT.builds_failed end
    status = i == 1 and own or status
  end
  return status
end

local function label(connection)
  return connection.label and format.line(connection.label) .. ": " or ""
end

-- One that is about all of a database has no backfill.
local function complain_of(failure)
  local name = failure.backfill and failure.backfill.name .. ": " or ""
  output.complain(failure.label .. name .. errors.describe(failure.error))
end

local function conclude(total, rows, before, failures, options)
  if options.json then
    json.event { event = "run_finished", summary = total, rows = rows, before = before, interrupted = task.stopping() }
  else
    output.line(output.style("bold", summary_line(total, rows, before)))
  end
  output.flush()
  for _, failure in ipairs(failures) do complain_of(failure) end
  if task.stopping() then
    output.complain "interrupted: what was committed stays; run it again to go on"
    return 128 + task.stopping()
  end
  if #failures > 0 then return status_of(failures) end
  return total.aborted > 0 and common.EXIT.builds_failed or 0
end

-- Names in `before` that nothing has: what was meant would be built before its data are right.
local function tell_unknown(each, connection)
  local names = {}
  for _, backfill in ipairs(each.backfills) do
    names[backfill.name] = order.looks_beyond(backfill, each.database.backfills) or nil
  end
  local plan = next(names) and planning.make(each.database, connection)
  for _, finding in ipairs(plan and plan.findings or {}) do
    if finding.rule == order.rule and finding.level == "warning" and names[finding.name] then
      output.complain(label(connection) .. "warning: " .. planning.finding_text(finding))
    end
  end
end

-- Of a database on which nothing was begun: what was done on the others is told all the same.
local function nothing_of(each, err)
  local stopped, count = task.stopping() ~= nil, #each.backfills
  return { rows = {}, before = {}, failures = { not stopped and { error = err } or nil },
    summary = { total = count, [stopped and "cancelled" or "failed"] = count } }
end

local function run(list, connections, options, hear)
  local total, failures = {}, {}
  local rows, before = { seen = 0, changed = 0, failed = 0 }, { seen = 0, changed = 0, failed = 0 }
  for _, name in ipairs(ends) do total[name] = 0 end
  local count = 0
  for _, each in ipairs(list) do count = count + #each.backfills end
  hear { event = "run_started", target = connections[1].display, total = count, planned = count, existing = 0 }
  for i, each in ipairs(list) do
    tell_unknown(each, connections[i])
    local outcome, err = backfills.run(each.backfills, each.database, connections[i], {
      jobs = options.given_jobs, restart = options.restart, carry_on = options.carry_on, on_event = hear })
    if not outcome then
      outcome = nothing_of(each, err)
      if options.json and not task.stopping() then json.failure(err, connections[i].label) end
    end
    add(total, outcome.summary)
    add(rows, outcome.rows)
    add(before, outcome.before)
    for _, failure in ipairs(outcome.failures) do
      failure.label = label(connections[i])
      failures[#failures + 1] = failure
    end
  end
  return conclude(total, rows, before, failures, options)
end

-- Dry runs ------------------------------------------------------------------------------------------------------------

local samples = 5

local function value_text(value)
  if value == nil then return "(missing)" end
  if value ~= value then return "NaN" end
  local text = type(value) == "table" and show.text(value):gsub("\n%s*", " ") or tostring(value)
  return format.clip(format.line(text), 60)
end

local function change_text(sample)
  if sample.failed then return "would fail: " .. sample.failed end
  if not sample.after then return "was not tried" end
  local names, parts, seen = {}, {}, {}
  for _, row in ipairs { sample.before, sample.after } do
    for name in pairs(row) do
      if not seen[name] then names[#names + 1], seen[name] = name, true end
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local before, after = value_text(sample.before[name]), value_text(sample.after[name])
    if before ~= after then parts[#parts + 1] = ("%s: %s → %s"):format(name, before, after) end
  end
  return #parts > 0 and table.concat(parts, ", ") or "stays as it is"
end

local function tell_preview(backfill, subject, preview)
  output.line(output.style("bold", format.line(backfill.name)), "  ", subject.relation, " along ",
    table.concat(subject.key, ", "), preview.state and ", is " .. preview.state or "",
    preview.changed and " with another definition" or "")
  local parts = { preview.rows >= 0 and "about " .. format.quantity(preview.rows, "row") .. " to walk" or nil,
    preview.matching and preview.matching .. " to change" or "those to change could not be counted in time" }
  if preview.seconds then parts[#parts + 1] = "about " .. format.rough(preview.seconds) end
  output.line("  ", table.concat(parts, ", "))
  for _, sample in ipairs(preview.samples) do
    output.line("  ", format.line(("%s: %s"):format(sample.key, change_text(sample))))
  end
end

local function dry_run(list, connections, options)
  local failures = {}
  for i, each in ipairs(list) do
    tell_unknown(each, connections[i])
    for _, backfill in ipairs(each.backfills) do
      local subject, preview, err = backfills.preview(backfill, connections[i], samples)
      if not subject then
        if task.stopping() then return common.fail(err, options) end
        failures[#failures + 1] = { backfill = backfill, error = err, label = label(connections[i]) }
        if options.json then
          json.event { event = "error", name = backfill.name, database = connections[i].label,
            error = errors.plain(err) }
        end
      elseif options.json then
        json.event { event = "preview", name = backfill.name, relation = subject.relation, key = subject.key,
          rows = preview.rows, matching = preview.matching, seconds = preview.seconds, samples = preview.samples,
          state = preview.state, changed = preview.changed, database = connections[i].label }
      else
        tell_preview(backfill, subject, preview)
      end
    end
  end
  output.flush()
  for _, failure in ipairs(failures) do complain_of(failure) end
  return failures[1] and status_of(failures) or 0
end

-- Standing ------------------------------------------------------------------------------------------------------------

-- The states of a database that are meant, by the order in which they were begun; also of backfills that no registry
-- declares any more. With them the names of all that were begun or are declared.
local function read_states(connection, database, options, names)
  local driver = connection.info.driver
  local states, err = dialects.of(driver).ledger.read(connection)
  if not states then return nil, err end
  local wanted, own = {}, names_of(states, names_of(database.backfills, {}))
  for _, state in ipairs(states) do
    local it = { name = state.name, on = state.relation }
    if is_wanted(it, driver, options.only, own, names) then wanted[#wanted + 1] = standings.of(state) end
  end
  return wanted, own
end

local function find(list, name)
  for _, each in ipairs(list) do
    if each.name == name then return each end
  end
end

-- What is declared, and what has become of it.
local function declared_of(backfill, states)
  local state, fingerprint = find(states, backfill.name), definitions.of(backfill).fingerprint
  return { name = backfill.name, relation = backfill.on, description = backfill.description, file = backfill.file,
    line = backfill.line, fingerprint = fingerprint, state = state and state.state or "new",
    changed = state ~= nil and state.attempts > 0 and state.fingerprint ~= fingerprint }
end

local function tell_declared(each)
  output.line("  ", format.pad(format.line(each.name), 24), " ", format.pad(each.state, 9), " ",
    format.line(each.relation .. (each.changed and ", with another definition" or "")
      .. (each.description and " - " .. each.description or "")))
end

local function tell_database(connection, result, options)
  if options.json then
    json.event { target = connection.display, database = connection.label, declared = result.declared,
      backfills = result.states }
    return
  end
  output.line(label(connection), output.style("bold", connection.info.database), "  ", connection.display)
  if options.action == "list" then
    for _, each in ipairs(result.declared) do tell_declared(each) end
  else
    for _, state in ipairs(result.states) do standing.tell(state) end
    if #result.states == 0 then output.line "  no backfill was ever begun" end
  end
end

-- What --only names in vain, unless it may be on one that is away.
local function named_in_vain(troubles, names, options)
  return #troubles == 0 and unfound(options.only, names) or nil
end

local function tell(databases, options)
  local names, results = {}, {}
  local connections <close>, troubles = on_each(databases, options, 1, function(connection, database)
    local states, own = read_states(connection, database, options, names)
    if not states then return nil, own end
    local declared = {}
    for _, backfill in ipairs(database.backfills) do
      if is_wanted(backfill, connection.info.driver, options.only, own, names) then
        declared[#declared + 1] = declared_of(backfill, states)
      end
    end
    results[connection] = { states = states, declared = declared }
    return true
  end)
  local mistake = named_in_vain(troubles, names, options)
  if mistake then return common.fail(mistake, options) end
  for _, connection in ipairs(connections) do
    local result = results[connection]
    if result then tell_database(connection, result, options) end
  end
  output.flush()
  return troubles[1] and common.fail_each(troubles, options) or 0
end

local done = { pause = "paused", resume = "resumed", abort = "aborted" }

local function tell_done(connection, name, options)
  if options.json then
    json.event { event = done[options.action], name = name, database = connection.label }
  else
    output.line(format.line(("%s%s: %s"):format(label(connection), name, done[options.action])))
    output.flush()
  end
end

-- On each database as soon as it answers: another may be away, and this one in need.
local function command(databases, options)
  local names, told = {}, 0
  local function tell_one(connection, database)
    local states, err = read_states(connection, database, options, names)
    if not states then return nil, err end
    local ledger = dialects.of(connection.info.driver).ledger
    for _, state in ipairs(states) do
      local ok
      ok, err = ledger.command(connection, state.name, options.action)
      if err then return nil, err end
      if ok then
        told = told + 1
        tell_done(connection, state.name, options)
      end
    end
    return true
  end
  local connections <close>, troubles = on_each(databases, options, 1, tell_one) -- luacheck: ignore 211
  local mistake = named_in_vain(troubles, names, options)
  if mistake then return common.fail(mistake, options) end
  if troubles[1] then return common.fail_each(troubles, options) end
  if told == 0 and not options.json then output.line "nothing to do: no backfill that is not finished" end
  return 0
end

-- The databases that are meant. What was begun stands in the database, so that it needs no registry to look at that and
-- to hold it.
local function read_databases(options)
  local declares = options.action == "run" or options.action == "list"
  if options.target and not declares and not options.given_registry then return { { backfills = {} } } end
  local loaded, err = common.load(options)
  if not loaded then return nil, err end
  return common.databases(loaded, options)
end

local of_run = { dry_run = "--dry-run", restart = "--restart", carry_on = "--carry-on" }

-- Whoever says --dry-run must not have anything paused, or aborted, in earnest.
local function refuse_options(options)
  if options.action == "run" then return nil end
  for name, flag in pairs(of_run) do
    if options[name] then
      return errors.new("usage", ("%s is about run, and says nothing to %s"):format(flag, options.action))
    end
  end
end

---@param options table
---@return integer status
function M.run(options)
  local mistake = refuse_options(options)
  if mistake then return common.fail(mistake, options) end
  local databases, err = read_databases(options)
  if not databases then return common.fail(err, options) end
  if options.action == "list" or options.action == "status" then return tell(databases, options) end
  if options.action ~= "run" then return command(databases, options) end
  local list
  list, err = chosen(databases, options.only)
  if err then return common.fail(err, options) end
  if #list == 0 then
    output.complain "the registry declares no backfill"
    return 0
  end
  local with_some = {}
  for i, each in ipairs(list) do with_some[i] = each.database end
  local hear = listener(options)
  common.tell_stop(hear)
  if not options.dry_run then options.connect_retry = common.patient end
  local connections <close>, troubles = on_each(with_some, options, 2, function() return true end)
  if troubles[1] then return common.fail_each(troubles, options) end
  if options.dry_run then return dry_run(list, connections, options) end
  return run(list, connections, options, hear)
end

return M
