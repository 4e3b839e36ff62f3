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
  command:flag "--rename" :description "Rename indexes that match under another name."
  command:flag "--repair"
    :description "Drop what failed builds left invalid, on any relation, where no declaration is about it."
  command:option "--mode" :choices { "auto", "concurrent", "blocking" }
    :description "How to build: concurrently, or blocking writes. Default: auto."
  command:option "--lock-timeout" :argname "<time>" :convert(duration)
    :description "How long to wait for a table's lock before trying again: 30s, 5min. Default: 5min."
  command:option "--drain-timeout" :argname "<time>" :convert(duration)
    :description("How long a build whose work is done may wait for other transactions; then it is given up and tried "
      .. "again. Default: as long as it takes.")
  command:option "--cancel-blockers" :argname "<application>" :count "*"
    :description("Cancel what sessions of this application_name run when it has been in the way of a change. May be "
      .. "repeated. Default: nobody is touched.")
  command:option "--terminate-blockers" :argname "<application>" :count "*"
    :description "End such sessions instead: the only way with an idle transaction. May be repeated."
  command:option "--blockers-after" :argname "<time>" :convert(duration)
    :description "How long they may be in the way before. Default: 30s."
  command:flag "--check-duplicates"
    :description "Read the table before something unique is built, and refuse at once with samples."
  command:option "--maintenance-work-mem" :argname "<size>" :convert(memory)
    :description "Memory for each build that names none of its own: 2GB. Default: the server's."
  command:option "--parallel-workers" :argname "<n>" :convert(workers)
    :description "Parallel workers for each build that names none of its own. Default: the server's."
  command:option "--wait" :argname "[<time>]" :convert(waiting_time)
    :description "Wait for another run on this database to end, at most this long: 10min. Default: do not wait."
  command:option "--retries" :argname "<n>" :convert(positive)
    :description "Attempts for each change. Default: 10."
  command:option "--fail-on" :choices { "critical", "any", "never" } :default "critical"
    :description "Which failures make the exit status 3. Default: critical."
  command:flag "--dry-run" :description "Print the statements; change nothing."
end

local function add(total, summary)
  for key, value in pairs(summary) do total[key] = (total[key] or 0) + value end
end

local function print_statements(plan, options, several)
  if several and not options.json then output.line("-- database ", format.line(plan.database), ": ", plan.target) end
  for _, item in ipairs(applying.statements(plan, options)) do
    local change = item.change
    if options.json then
      json.event { event = "statements", action = change.action, relation = change.relation,
        name = change.name or change.live_name, database = several and plan.database or nil, sql = item.sql }
    else
      output.line(("-- %s %s %s%s"):format(change.action, format.line(change.relation),
        format.line(change.name or change.live_name), change.critical and " (critical)" or ""))
      for _, sql in ipairs(item.sql) do output.line(sql, sql:find(";%s*$") and "" or ";") end
    end
  end
end

local function refuse(plan)
  local lines = {}
  for _, finding in ipairs(plan.findings) do
    if finding.level == "error" then lines[#lines + 1] = planning.finding_text(finding) end
  end
  lines[#lines + 1] = "nothing was changed"
  return errors.new("registry", table.concat(lines, "\n"))
end

local function warn(plan)
  for _, finding in ipairs(plan.findings) do
    if finding.level == "warning" then output.complain("warning: " .. planning.finding_text(finding)) end
  end
end

-- What hears of all that happens.
local function listener(options)
  if options.json then
    return function(event)
      -- The last line of all carries the summary; with several databases each has one of its own before it.
      if event.event ~= "run_finished" then json.event(event) end
    end
  end
  local shown = progress.new(options)
  return function(event) shown:hear(event) end
end

local function run_plan(plan, options, hear, held)
  local outcome, err = applying.run(plan, {
    jobs = options.jobs, mode = options.mode, lock_timeout = options.lock_timeout, retries = options.retries,
    drain_timeout = options.drain_timeout, check_duplicates = options.check_duplicates,
    maintenance_work_mem = options.maintenance_work_mem, parallel_workers = options.parallel_workers,
    on_event = hear, locked = held,
  })
  if not outcome then return nil, err end
  for _, failure in ipairs(outcome.failures) do
    for _, line in ipairs(progress.failure_lines(failure, options.registry)) do output.complain(line) end
  end
  return outcome
end

---@param options table
---@return integer status
function M.run(options)
  local total, failures, interrupted, halted = {}, 0, nil, nil
  local critical_failed, ran = false, false
  local hear = listener(options)
  local function prepare(connection)
    if not options.dry_run then
      local info, err = connection:connect()
      if not info then return nil, err end
      if info.read_only then
        return nil, errors.read_only(info)
      end
      -- The lock comes before the catalog: what another run is just building must not be planned again.
      local ok
      ok, err = lock.take({ connection }, { wait = options.wait, on_event = hear })
      if not ok then return nil, err end
    end
    connection:prefetch()
    return true
  end
  local status, err = common.each_database(options, options.jobs, prepare, function(database, connection, count)
    local plan, problem = planning.make(database, connection, options)
    if not plan then return nil, problem end
    if plan.has_errors then return nil, refuse(plan) end
    warn(plan)
    if options.dry_run then
      print_statements(plan, options, count > 1)
      return 0
    end
    local outcome
    outcome, problem = run_plan(plan, options, hear, true)
    if not outcome then return nil, problem end
    ran = true
    connection:unlock()
    add(total, outcome.summary)
    failures = failures + #outcome.failures
    critical_failed = critical_failed or outcome.critical_failed
    interrupted, halted = interrupted or outcome.interrupted, halted or outcome.halted
    if halted then return nil, halted end
    return 0
  end, not options.dry_run and function(database, connection)
    local plan, problem = planning.make(database, connection, options)
    if not plan then return nil, problem end
    if plan.has_errors then return nil, errors.new("registry", plan:refusal().message) end
    return true
  end or nil)
  local failed = not status and not (ran and task.stopping())
  if ran then
    if failed and options.json then json.failure(err) end
    if not options.json then
      output.line(output.style("bold", progress.summary_line(total)))
    else
      json.event { event = "run_finished", summary = total, interrupted = interrupted }
    end
    output.flush()
  end
  if failed then return common.fail(err, { json = options.json and not ran }) end
  if task.stopping() then
    output.complain("interrupted: what was running was cancelled; run it again to go on")
    return 128 + task.stopping()
  end
  local fails = options.fail_on == "any" and failures > 0 or options.fail_on == "critical" and critical_failed
  if failures > 0 and not fails then
    output.complain(("warning: %s failed, and --fail-on %s lets it pass"):format(format.quantity(failures, "change"),
      options.fail_on))
  end
  return fails and common.EXIT.builds_failed or 0
end

return M
