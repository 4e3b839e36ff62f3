--- lunadex backfill: runs data backfills, and says how they stand; pauses, resumes and aborts those that run elsewhere.

local backfills = require "lunadex.backfill"
local common = require "lunadex.cli.common"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local json = require "lunadex.cli.json"
local output = require "lunadex.cli.output"
local progress = require "lunadex.cli.progress"
local show = require "lunadex.cli.repl.show"
local standing = require "lunadex.cli.standing"
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
  only = "Only this backfill, or those of this relation. May be repeated; each has to be there.",
  jobs = "Batches at a time. Default: what each declares, else 1.",
  quiet = "Only the summary.",
}

local actions = { "run", "list", "status", "pause", "resume", "abort" }

--- What stands before the registries.
---@param command table            # of argparse
function M.define_first(command)
  command:argument "action" :choices(actions)
    :description("run; list what is declared; status of what was begun; pause, resume, abort what runs in another "
      .. "process.")
end

---@param command table            # of argparse
function M.define(command)
  command:flag "--restart"
    :description "Run from the start, also what is finished, was aborted, or was another backfill of that name."
  command:flag "--carry-on"
    :description "Run what has another definition than before from where the old one was."
  command:flag "--dry-run"
    :description("Count the rows, show some before and after, and estimate the time. What it tries is rolled back.")
end

-- What is meant -------------------------------------------------------------------------------------------------------

local function is_wanted(backfill, only)
  if not only or #only == 0 then return true end
  for _, name in ipairs(only) do
    if backfill.name == name or backfill.on == name then return true end
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
    local wanted = {}
    for _, backfill in ipairs(each.backfills) do
      names[backfill.name], names[backfill.on] = true, true
      if is_wanted(backfill, only) then wanted[#wanted + 1] = backfill end
    end
    if #wanted > 0 then list[#list + 1] = { database = each, backfills = wanted } end
  end
  return list, unfound(only, names)
end

-- Connections to databases, to be closed.
local function connect_all(databases, options, jobs)
  local connections = setmetatable({}, { __close = function(list)
    for _, each in ipairs(list) do each:close() end
  end })
  for i, each in ipairs(databases) do
    local connection, err = common.open(options, each.url, jobs)
    if not connection then return connections, err end
    connections[i] = connection
    connection.label = #databases > 1 and each.name or nil
    local info
    info, err = connection:connect()
    if not info then return connections, err end
  end
  return connections
end

-- Running -------------------------------------------------------------------------------------------------------------

local function listener(options)
  if options.json then return json.event end
  local shown = progress.new(options)
  return function(event) shown:hear(event) end
end

local ends = { "total", "finished", "skipped", "failed", "aborted", "cancelled" }

local function summary_line(summary, rows)
  local parts = {}
  for i, name in ipairs(ends) do
    if i <= 4 or summary[name] > 0 then parts[#parts + 1] = name .. " " .. summary[name] end
  end
  local text = table.concat(parts, ", ") .. ("; rows changed %d of %d"):format(rows.changed, rows.seen)
  return rows.failed > 0 and text .. (", failed %d"):format(rows.failed) or text
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

local function conclude(total, rows, failures, options)
  if options.json then
    json.event { event = "run_finished", summary = total, rows = rows, interrupted = task.stopping() }
  else
    output.line(output.style("bold", summary_line(total, rows)))
  end
  output.flush()
  for _, failure in ipairs(failures) do
    output.complain(("%s%s: %s"):format(failure.label, failure.backfill.name, errors.describe(failure.error)))
  end
  if task.stopping() then
    output.complain "interrupted: what was committed stays; run it again to go on"
    return 128 + task.stopping()
  end
  if #failures > 0 then return status_of(failures) end
  return total.aborted > 0 and common.EXIT.builds_failed or 0
end

local function run(list, connections, options, hear)
  local total, rows, failures = {}, {}, {}
  for _, name in ipairs(ends) do total[name] = 0 end
  local count = 0
  for _, each in ipairs(list) do count = count + #each.backfills end
  hear { event = "run_started", target = connections[1].display, total = count, planned = count, existing = 0 }
  for i, each in ipairs(list) do
    local outcome, err = backfills.run(each.backfills, each.database.backfills, connections[i], {
      jobs = options.given_jobs, restart = options.restart, carry_on = options.carry_on, on_event = hear })
    if not outcome then
      local trouble = { error = err, label = connections[i].label }
      if not task.stopping() then return common.fail_each({ trouble }, options) end
      outcome = { summary = { total = #each.backfills, cancelled = #each.backfills }, rows = {}, failures = {} }
    end
    add(total, outcome.summary)
    add(rows, outcome.rows)
    for _, failure in ipairs(outcome.failures) do
      failure.label = label(connections[i])
      failures[#failures + 1] = failure
    end
  end
  for _, name in ipairs { "seen", "changed", "failed" } do rows[name] = rows[name] or 0 end
  return conclude(total, rows, failures, options)
end

-- Dry runs ------------------------------------------------------------------------------------------------------------

local samples = 5

local function value_text(value)
  if value == nil then return "null" end
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
    table.concat(subject.key, ", "))
  local parts = { preview.rows >= 0 and "about " .. format.quantity(preview.rows, "row") .. " to walk" or nil,
    preview.matching and preview.matching .. " to change" or "those to change could not be counted in time" }
  if preview.seconds then parts[#parts + 1] = "about " .. format.rough(preview.seconds) end
  output.line("  ", table.concat(parts, ", "))
  for _, sample in ipairs(preview.samples) do
    output.line("  ", format.line(("%s: %s"):format(sample.key, change_text(sample))))
  end
end

local function dry_run(list, connections, options)
  for i, each in ipairs(list) do
    for _, backfill in ipairs(each.backfills) do
      local subject, preview, err = backfills.preview(backfill, connections[i], samples)
      if not subject then return common.fail_each({ { error = err, label = connections[i].label } }, options) end
      if options.json then
        json.event { event = "preview", name = backfill.name, relation = subject.relation, key = subject.key,
          rows = preview.rows, matching = preview.matching, seconds = preview.seconds, samples = preview.samples,
          database = connections[i].label }
      else
        tell_preview(backfill, subject, preview)
      end
    end
  end
  return 0
end

-- Standing ------------------------------------------------------------------------------------------------------------

local function tell_declared(backfill, state)
  output.line("  ", format.pad(format.line(backfill.name), 24), " ", format.pad(state and state.state or "new", 9), " ",
    format.line(backfill.on .. (backfill.description and " - " .. backfill.description or "")))
end

-- The states of a database that are meant, by the order in which they were begun; also of backfills that no registry
-- declares any more.
local function read_states(connection, options, names)
  local states, err = dialects.of(connection.info.driver).ledger.read(connection)
  if not states then return nil, err end
  local wanted = {}
  for _, state in ipairs(states) do
    names[state.name], names[state.relation] = true, true
    if is_wanted({ name = state.name, on = state.relation }, options.only) then wanted[#wanted + 1] = state end
  end
  return wanted
end

local function find(list, name)
  for _, each in ipairs(list) do
    if each.name == name then return each end
  end
end

local function tell(databases, connections, options)
  local names, results = {}, {}
  for i, database in ipairs(databases) do
    local states, err = read_states(connections[i], options, names)
    if not states then return common.fail(err, options) end
    local declared = {}
    for _, backfill in ipairs(database.backfills) do
      names[backfill.name], names[backfill.on] = true, true
      if is_wanted(backfill, options.only) then declared[#declared + 1] = backfill end
    end
    results[i] = { states = states, declared = declared }
  end
  local mistake = unfound(options.only, names)
  if mistake then return common.fail(mistake, options) end
  for i, result in ipairs(results) do
    local connection = connections[i]
    if options.json then
      local declared = {}
      for k, each in ipairs(result.declared) do
        declared[k] = { name = each.name, relation = each.on, description = each.description, file = each.file,
          line = each.line }
      end
      json.event { target = connection.display, database = connection.label, declared = declared,
        backfills = result.states }
    else
      output.line(label(connection), output.style("bold", connection.info.database), "  ", connection.display)
      if options.action == "list" then
        for _, each in ipairs(result.declared) do tell_declared(each, find(result.states, each.name)) end
      else
        for _, state in ipairs(result.states) do standing.tell(state) end
        if #result.states == 0 then output.line "  no backfill was ever begun" end
      end
    end
  end
  return 0
end

local done = { pause = "paused", resume = "resumed", abort = "aborted" }

local function command(connections, options)
  local names, told = {}, 0
  local wanted = {}
  for i, connection in ipairs(connections) do
    local states, err = read_states(connection, options, names)
    if not states then return common.fail(err, options) end
    wanted[i] = states
  end
  local mistake = unfound(options.only, names)
  if mistake then return common.fail(mistake, options) end
  for i, states in ipairs(wanted) do
    for _, state in ipairs(states) do
      local ok, err = dialects.of(connections[i].info.driver).ledger.command(connections[i], state.name, options.action)
      if err then return common.fail(err, options) end
      if ok then
        told = told + 1
        local text = ("%s%s: %s"):format(label(connections[i]), state.name, done[options.action])
        if options.json then
          json.event { event = done[options.action], name = state.name, database = connections[i].label }
        else
          output.line(format.line(text))
        end
      end
    end
  end
  if told == 0 and not options.json then output.line "nothing to do: no backfill that is not finished" end
  return 0
end

-- The databases that are meant. What was begun stands in the database, so that it takes no registry to look at that and
-- to hold it.
local function read_databases(options)
  local declares = options.action == "run" or options.action == "list"
  if options.target and not declares and not options.given_registry then return { { backfills = {} } } end
  local loaded, err = common.load(options)
  if not loaded then return nil, err end
  return common.databases(loaded, options)
end

---@param options table
---@return integer status
function M.run(options)
  local databases, err = read_databases(options)
  if not databases then return common.fail(err, options) end
  if options.action ~= "run" then
    local connections <close>, problem = connect_all(databases, options, 1)
    if problem then return common.fail(problem, options) end
    if options.action == "list" or options.action == "status" then return tell(databases, connections, options) end
    return command(connections, options)
  end
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
  local connections <close>, problem = connect_all(with_some, options, 2)
  if problem then return common.fail(problem, options) end
  if options.dry_run then return dry_run(list, connections, options) end
  return run(list, connections, options, hear)
end

return M
