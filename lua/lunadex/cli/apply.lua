--- lunadex apply: builds what is missing; drops and renames only when asked.

local applying = require "lunadex.apply"
local common = require "lunadex.cli.common"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local json = require "lunadex.cli.json"
local lock = require "lunadex.lock"
local output = require "lunadex.cli.output"
local planning = require "lunadex.plan"
local progress = require "lunadex.cli.progress"
local task = require "lunadex.task"

local M = {}

M.summary = "build what is missing; drop, rename only with --drop-strays, --rename"

M.examples = [[
  lunadex apply                                  builds what registry/ declares and the database lacks
  lunadex apply registry/shop.lua --dry-run      the statements, without running them
  lunadex apply --only orders_recent --fail-on any
  lunadex apply --drop-strays --jobs 4 --json
  lunadex apply --wait 10min                     after the run that is at it now, if that ends by then]]

local function duration(text)
  local seconds = format.parse_duration(text)
  if seconds then return seconds end
  return nil, ("'%s' is no duration: give 30s, 5min, 1h or seconds"):format(text)
end

local function memory(text)
  if text:find "^%d+[kMGT]B$" then return text end
  return nil, ("'%s' is no size: give 512MB or 2GB"):format(text)
end

local function workers(text)
  local number = math.tointeger(tonumber(text))
  if number and number >= 0 and number <= 1024 then return number end
  return nil, ("'%s' is no number of workers: give 0 to 1024"):format(text)
end

-- Most sessions have no name: a script's variable that is not set would mean them all.
local function application(text)
  if text ~= "" then return text end
  return nil, "'' is no application's name: give the application_name of those who may be sent away"
end

local function positive(text)
  local number = math.tointeger(tonumber(text))
  if number and number >= 1 then return number end
  return nil, ("'%s' is no number of attempts: give 1 or more"):format(text)
end

-- `--wait` may stand without its time, and before a registry, which is no time.
---@param words string[]           # of the command line; changed in place
function M.read_words(words)
  for i, word in ipairs(words) do
    if word == "--" then return end
    if word == "--wait" and not format.parse_duration(words[i + 1] or "") then words[i] = "--wait=" end
  end
end

local function waiting_time(text)
  if text == "" then return math.huge end
  return duration(text)
end

---@param command table            # of argparse
function M.define(command)
  command:flag "--drop-strays" :description "Drop indexes of declared relations that are not declared."
  command:flag "--hide-first"
    :description("Hide such indexes from queries instead, which can be undone at once; with --drop-strays, drop those "
      .. "that are hidden already. MongoDB only.")
  command:flag "--allow-gap"
    :description("Allow to drop an index before what replaces it is built, where the server does not take both. "
      .. "MongoDB only.")
  command:flag "--rename" :description "Rename indexes that match under another name. PostgreSQL only."
  command:flag "--repair"
    :description("Drop what failed builds left invalid, on any relation, where no declaration is about it. Incomplete "
      .. "indexes and keys of partitioned tables go if no part is attached to them and nobody is at it.")
  command:option "--mode" :choices { "auto", "concurrent", "blocking" }
    :description "How to build: concurrently, or blocking writes. Default: auto."
  command:option "--lock-timeout" :argname "<time>" :convert(duration)
    :description "How long to wait for a table's lock before trying again: 30s, 5min; 0: without limit. Default: 5min."
  command:option "--drain-timeout" :argname "<time>" :convert(duration)
    :description("How long a build whose work is done may wait for other transactions; then it is given up and tried "
      .. "again. Default, and 0: as long as it takes.")
  command:option "--cancel-blockers" :argname "<application>" :count "*" :convert(application)
    :description("Cancel what sessions of this application_name run when it has been in the way of a change. May be "
      .. "repeated. Default: nobody is touched.")
  command:option "--terminate-blockers" :argname "<application>" :count "*" :convert(application)
    :description "End such sessions instead: the only way with an idle transaction. May be repeated."
  command:option "--blockers-after" :argname "<time>" :convert(duration)
    :description "How long they may be in the way before. Default: 30s."
  command:flag "--check-duplicates"
    :description("Read the table before something unique is built, and refuse at once with samples. With --json all "
      .. "duplicates are listed, whenever they are found.")
  command:option "--maintenance-work-mem" :argname "<size>" :convert(memory)
    :description "Memory for each build that names none of its own: 2GB. Default: the server's."
  command:option "--parallel-workers" :argname "<n>" :convert(workers)
    :description "Parallel workers for each build that names none of its own. Default: the server's."
  command:option "--wait" :argname "[<time>]" :convert(waiting_time)
    :description "Wait for another run on this database to end, at most this long: 10min. Default: do not wait."
  command:option "--retries" :argname "<n>" :convert(positive)
    :description("Attempts for each change, default 10; and at most for reaching the server and taking the run lock, "
      .. "where a minute is the limit otherwise.")
  command:option "--fail-on" :choices { "critical", "any", "never" } :default "critical"
    :description("Which failures make the exit status 3. Default: critical. With never, what a rule blocks does not "
      .. "make it 6, either.")
  common.without(command)
  command:flag "--record"
    :description "Keep a history of this run in the database, in tables or collections of its own; status shows it."
  command:flag "--dry-run" :description "Print the statements; change nothing."
end

local function label(plan)
  return plan.connection.label and format.line(plan.connection.label) .. ": " or ""
end

local function print_statements(plan, options, several)
  local comment = plan.dialect.comment
  if several and not options.json then
    output.line(comment, " database ", format.line(plan.database), ": ", plan.target)
  end
  for _, item in ipairs(applying.statements(plan, options)) do
    local change = item.change
    if options.json then
      json.event { event = "statements", action = change.action, relation = change.relation,
        name = change.name or change.live_name, database = several and plan.database or nil, sql = item.sql,
        not_shown = item.not_shown }
    else
      output.line(("%s %s %s %s%s"):format(comment, change.action, format.line(change.relation),
        format.line(change.name or change.live_name), change.critical and " (critical)" or ""))
      if item.not_shown then output.line(comment, " ", format.line(item.not_shown)) end
      for _, sql in ipairs(item.sql) do output.line(sql, sql:find(";%s*$") and "" or ";") end
    end
  end
end

-- What keeps these plans from being applied: all of it is told at once.
local function refusals(plans)
  local troubles = {}
  for _, plan in ipairs(plans) do
    if plan.has_errors then
      local lines = {}
      for _, finding in ipairs(plan.findings) do
        if finding.level == "error" and not finding.verdict then lines[#lines + 1] = planning.finding_text(finding) end
      end
      lines[#lines + 1] = "nothing was changed"
      troubles[#troubles + 1] = {
        error = errors.new(plan.is_wrong and "registry" or "refused", table.concat(lines, "\n")),
        label = plan.connection.label,
      }
    end
  end
  return troubles
end

local function warn(plan)
  for _, finding in ipairs(plan.findings) do
    if finding.level == "warning" or finding.verdict or finding.rule == "no-counterpart" then
      output.complain(("%s%s: %s"):format(label(plan), finding.level, planning.named_text(finding)))
    end
  end
end

-- What hears of all that happens.
local function listener(options)
  if options.json then
    return function(event)
      -- The last line of all carries the summary; with several databases each has one of its own before it.
      if event.event ~= "run_finished" or event.database then json.event(event) end
    end
  end
  local shown = progress.new(options)
  return function(event) shown:hear(event) end
end

-- Two runs at once on one database is what the run lock is against; here it would be one run with itself.
local function same_twice(connections)
  local seen = {}
  for _, connection in ipairs(connections) do
    local identity = connection.info.identity
    local other = seen[identity]
    if other then
      return errors.new("registry", ("databases %q and %q of the registry are the same one: %s"):format(other.label,
        connection.label, connection.display), "Declare it once, or name one of them with --database.")
    end
    seen[identity] = connection
  end
end

-- Connects and takes the run locks. They come before the catalogs: what another run is just building must not be
-- planned again.
local function lock_all(connections, options, hear)
  local troubles = common.side_by_side(connections, function(connection)
    local info, err = connection:connect()
    if not info then return nil, err end
    if info.read_only then return nil, errors.read_only(info) end
    return true
  end)
  if #troubles > 0 then return troubles end
  local same = same_twice(connections)
  if same then return { { error = same } } end
  local ok, err, where = lock.take(connections, { wait = options.wait, on_event = hear })
  return ok and {} or { { error = err, label = where.label } }
end

local function add(total, summary)
  for key, value in pairs(summary) do total[key] = (total[key] or 0) + value end
end

local function is_blocked(plans)
  for _, plan in ipairs(plans) do
    if plan.blocked then return true end
  end
  return false
end

-- What came of it, as the exit status.
local function conclude(plans, outcomes, options)
  local total, failures, critical_failed, interrupted, halted = {}, 0, false, nil, {}
  for i, outcome in ipairs(outcomes) do
    add(total, outcome.summary)
    failures = failures + #outcome.failures
    critical_failed = critical_failed or outcome.critical_failed
    interrupted = interrupted or outcome.interrupted
    if outcome.halted then halted[#halted + 1] = { error = outcome.halted, label = plans[i].connection.label } end
    for _, failure in ipairs(outcome.failures) do
      for _, line in ipairs(progress.failure_lines(failure, plans[i], options.words)) do
        output.complain(label(plans[i]) .. line)
      end
    end
  end
  if options.json then
    for _, trouble in ipairs(halted) do json.failure(trouble.error, trouble.label) end
    json.event { event = "run_finished", summary = total, interrupted = interrupted }
  else
    output.line(output.style("bold", progress.summary_line(total)))
  end
  output.flush()
  if task.stopping() then
    output.complain("interrupted: what was running was cancelled; run it again to go on")
    return 128 + task.stopping()
  end
  if #halted > 0 then return common.fail_each(halted, { json = false }) end
  local fails = options.fail_on == "any" and failures > 0 or options.fail_on == "critical" and critical_failed
  if failures > 0 and not fails then
    output.complain(("warning: %s failed, and --fail-on %s lets it pass"):format(format.quantity(failures, "change"),
      options.fail_on))
  end
  if fails then return common.EXIT.builds_failed end
  return options.fail_on ~= "never" and is_blocked(plans) and common.EXIT.refused or 0
end

local function run(options)
  if not options.dry_run then
    options.to_write = true
    local patient = common.patient
    options.connect_retry = { attempts = options.retries or patient.attempts, first_delay = patient.first_delay,
      max_delay = patient.max_delay, total = patient.total }
  end
  local hear = listener(options)
  common.tell_stop(hear)
  local sessions = applying.sessions(options.jobs)
  local plans <close>, troubles = common.plans(options, sessions, not options.dry_run and function(connections)
    return lock_all(connections, options, hear)
  end or nil)
  if plans then troubles = refusals(plans) end
  if not plans or #troubles > 0 then return common.fail_each(troubles, options) end
  if options.agree and not options.agree(plans) then return 0 end
  for _, plan in ipairs(plans) do warn(plan) end
  if options.dry_run then
    for _, plan in ipairs(plans) do print_statements(plan, options, plans.several) end
    return is_blocked(plans) and common.EXIT.refused or 0
  end
  options.on_event, options.locked, options.list_duplicates = hear, true, options.json
  local outcomes, err, where = applying.together(plans, options)
  if not outcomes then return common.fail_each({ { error = err, label = where and where.label } }, options) end
  return conclude(plans, outcomes, options)
end

---@param options table
---@return integer status
function M.run(options)
  if options.dry_run then return run(options) end
  output.go_beside()
  local status = run(options) -- all sessions are closed then, and the locks given back
  output.finish()
  return status
end

return M
