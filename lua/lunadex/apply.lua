--- Plans made real: changes as the schedules let them begin, side by side, and what came of each.
--
-- One database's plan is a run; the runs of several databases share one pool of workers, so that a change costs one of
-- `jobs` wherever it is made. One that only waits for other sessions does no work: meanwhile the next one may begin, so
-- that a report with an old snapshot does not keep the processors idle.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local history = require "lunadex.history"
local lock = require "lunadex.lock"
local schedule = require "lunadex.schedule"
local task = require "lunadex.task"

local M = {}

---@class lunadex.ApplyOptions: lunadex.StepOptions
---@field jobs integer?            # changes at a time, in all databases together, default 2
---@field on_event fun(event: table)?   # with several databases, each names its own
---@field locked boolean?          # the caller has taken the run locks; they are given back all the same
---@field record boolean?          # in the database's history (docs/history.md)
---@field wait number?             # seconds to wait for another run's end; default none

---@class lunadex.Outcome
---@field summary table<string, integer>
---@field failures {change: lunadex.PlannedChange, error: lunadex.Error, notes: string[]}[]
---@field critical_failed boolean
---@field interrupted integer?     # the signal
---@field halted lunadex.Error?    # why it ended early: the run lock was lost; or an internal error
---@field seconds number

-- Up to this many existing ones are told one by one; beyond, a number says as much.
M.listed_existing = 50

local outcomes = {
  create = "created", replace = "replaced", rename = "renamed", alter = "altered", rebuild = "rebuilt",
  drop = "dropped", wait = "skipped",
}

-- Seconds after which a wait that goes on is told again.
local reminder = 60

-- Seconds of waiting for a lock to take something back, when there is no time.
M.hurried_lock_timeout = 2

--- How many sessions make `jobs` changes at a time: as many again may be waiting.
---@param jobs integer
---@return integer
function M.sessions(jobs)
  return 2 * jobs
end

local Run = {}
Run.__index = Run

function Run:emit(event)
  event.database = event.database or self.label
  if self.recorder then self.recorder:hear(event) end
  if self.on_event and not self.pool.failure then self.pool:protect(self.on_event, event) end
end

function Run:event(name, item, fields)
  fields = fields or {}
  local change = item.change
  fields.event, fields.number, fields.total = name, item.place, self.total
  fields.action, fields.relation, fields.name = change.action, change.relation, change.name or change.live_name
  fields.hide = change.hide
  self:emit(fields)
end

-- Share, rate and time left of a phase: from what was done since it was first seen.
local function pace(item, event)
  local now = core.now()
  if item.phase ~= event.phase or not item.first_done or event.done < item.first_done then
    item.phase, item.first_done, item.first_at = event.phase, event.done, now
  end
  local total = event.total and event.total > 0 and event.total or nil
  local elapsed = now - item.first_at
  local rate = elapsed >= 1 and (event.done - item.first_done) / elapsed or nil
  return total and math.min(100 * event.done / total, 100) or nil,
    rate and rate > 0 and rate or nil,
    total and rate and rate > 0 and math.max(total - event.done, 0) / rate or nil
end

function Run:hear(item, step, event)
  if event.event == "progress" then
    local percent, rate, left = pace(item, event)
    local blocker = event.blocker ~= "" and event.blocker or nil
    self:event("progress", item, {
      phase = event.phase, done = event.done, of = event.total, unit = event.unit, percent = percent, rate = rate,
      seconds_left = left, started = event.started, draining = event.draining, step = step.name, blocker = blocker,
    })
    -- Its text holds how long it has been at it, and so is another one every second.
    local who = blocker and ("%s %s"):format(event.blocker_pid, event.phase)
    if who and (who ~= item.blocker or core.now() - item.blocker_told >= reminder) then
      item.blocker_told = core.now()
      self:event("waiting", item, {
        blocker = blocker, blocker_pid = event.blocker_pid, phase = event.phase, draining = event.draining,
      })
    end
    item.blocker = who
    self.pool:waits(item, who and (event.draining or not event.started) or false)
  elseif event.event == "note" then
    item.notes[#item.notes + 1] = event.text
    self:event("note", item, { text = event.text })
  elseif event.event == "retry" then
    self:event("retry", item, {
      attempt = event.attempt, delay = event.delay, error = errors.plain(event.error),
    })
  end
end

-- Whether the step was done, or nil and why not. `cleaning`: also while the run is stopping.
function Run:perform(item, step, cleaning)
  -- Another run may be at it by now.
  if self.halted then return nil, errors.new("cancelled", self.halted.message) end
  local attempts = 1
  local ok, err, done = self.connection:perform(step, function(event) self:hear(item, step, event) end, cleaning)
  self.pool:waits(item, false)
  local finished = ok and err or done
  if finished and finished.attempts then attempts = finished.attempts end
  if finished and finished.built then item.built = true end
  item.attempts = math.max(item.attempts or 1, attempts)
  if ok then return true end
  return nil, err
end

function Run:note(item, text, ...)
  self:hear(item, nil, { event = "note", text = text:format(...) })
end

-- Takes something back. Somebody may be waiting for the program to end, and whoever kept a step from its lock most
-- likely keeps this one from it, too: then it is tried once, and not for long.
function Run:clean(item, list, hurried)
  for _, step in ipairs(list) do
    local ok, err
    repeat
      local before = hurried or task.stopping()
      if before then step.lock_timeout, step.retry = M.hurried_lock_timeout, { attempts = 1 } end
      ok, err = self:perform(item, step, true)
    until ok or before or not task.stopping() -- which may have ended a patient try
    if not ok then
      return self:note(item, "%s could not be taken back now (%s): the next run goes on with it, or drops it",
        step.name, err.message)
    end
  end
end

-- What becomes of the work that was done before `step` failed.
function Run:after_failure(item, step, failure)
  if step.undo and not failure.retryable and not task.stopping() then
    -- What was built may not take its place: it goes again. Where only the moment was bad, and after an interruption,
    -- the work stays, and the next run goes on from there.
    self:clean(item, step.undo)
  elseif step.undo then
    self:note(item, "%s", step.stays or "what was built stays, for the next run")
  end
  self:clean(item, step.cleanup or {}, failure.retryable)
  if step.finished then
    self:note(item, "%s is finished and stays: the next run makes it a part of %s", step.finished, step.name)
  end
  for _, name in ipairs(step.incomplete or {}) do
    self:note(item, "%s is incomplete: the parts that are finished are kept, and the next run goes on from there",
      name)
  end
end

-- What has the name that a change is to have was to be renamed or dropped, and was not.
function Run:unfreed(change)
  local other = change.after
  if not (other and self.unmade[other]) then return nil end
  return errors.new("duplicate_name", ("the name %s was not freed: %s still has it"):format(change.name,
    other.definition))
end

-- What is to be built on the same relation and was not: a stray may have been doing its work.
function Run:unreplaced(change)
  if change.action ~= "drop" or change.fact.action ~= "stray" then return nil end
  for other in pairs(self.unmade) do
    if other.relation == change.relation and other.action ~= "drop" then return other end
  end
end

-- The steps of one change, one after the other.
function Run:change(item)
  local change = item.change
  local started = core.now()
  item.notes = {}
  self.counted = self.counted + 1
  item.place = self.counted -- changes are counted as they begin, after those that there is nothing to do about
  self:event("build_started", item, {
    definition = change.definition, critical = change.critical, description = change.description,
    reason = change.reason, builder = change.builder,
  })
  local failure, failed, needed = self:unfreed(change), nil, self:unreplaced(change)
  for _, step in ipairs((failure or needed) and {} or self.dialect.steps.of(change, self.context, self.options)) do
    local ok, err = self:perform(item, step)
    if not ok then
      failure, failed = err, step
      break
    end
  end
  if failed then self:after_failure(item, failed, failure) end
  local summary, outcome = self.summary, outcomes[change.action]
  if change.action == "wait" then
    -- What was waited for may have come to nothing; and what is to replace something takes its place in any case.
    outcome = change.resume == "new" and "replaced" or item.built and "created" or outcome
  end
  if needed then outcome = "skipped" end
  if failure then
    outcome = failure.code == "cancelled" and (task.stopping() or self.halted) and "cancelled" or "failed"
    self.unmade[change] = true
  end
  summary[outcome] = summary[outcome] + 1
  if outcome == "failed" then
    self.failures[#self.failures + 1] = { change = change, error = failure, notes = item.notes }
    if change.critical then self.critical_failed = true end
  end
  self:event("build_finished", item, {
    outcome = outcome, seconds = core.now() - started, attempts = item.attempts, critical = change.critical,
    error = failure and errors.plain(failure) or nil,
    reason = needed and ("kept: %s was not made"):format(needed.name or needed.live_name)
      or outcome == "cancelled" and self.halted and self.halted.message
      or change.action == "wait" and outcome == "skipped" and "built by somebody else" or nil,
  })
end

-- Somebody could work, but may not: why, once for each change.
function Run:tell_why()
  for _, item in ipairs(self.schedule.queue) do
    local reason = not item.told and self.schedule:reason(item, core.now())
    if reason then
      item.told = true
      self:event("queued", item, { reason = reason })
    end
  end
end

function Run:existing()
  local count = self.plan.summary.keep
  self.summary.skipped, self.counted = count, count
  if count == 0 then return end
  if count > M.listed_existing then
    self:emit { event = "existing", count = count }
    return
  end
  local number = 0
  for change in self.plan:changes { keeps = true } do
    if change.action == "keep" then
      number = number + 1
      self:event("build_finished", { change = change, place = number }, {
        outcome = "skipped", reason = "already exists", critical = change.critical, description = change.description,
        live_name = change.live_name,
      })
    end
  end
end

---@param plan lunadex.Plan
---@param options lunadex.ApplyOptions
local function new_run(plan, options, pool)
  return setmetatable({
    pool = pool, plan = plan, dialect = plan.dialect, connection = plan.connection, label = plan.connection.label,
    options = options, on_event = options.on_event, context = plan.dialect.steps.context(plan), active = 0, begun = 0,
    failures = {}, unmade = {},
    critical_failed = false,
    summary = {
      total = 0, created = 0, skipped = 0, failed = 0, dropped = 0, renamed = 0, altered = 0, replaced = 0,
      rebuilt = 0, cancelled = 0, held = 0,
    },
  }, Run)
end

function Run:start()
  local plan, connection = self.plan, self.connection
  self.started = core.now()
  local planned = 0
  for _ in plan:work() do planned = planned + 1 end
  self.total = plan.summary.keep + planned
  self.summary.total = self.total
  connection:listen(function(lost) self:lose_lock(lost) end)
  if self.options.record then
    self.recorder = history.recorder(connection, function(err)
      self:emit { event = "warning", message = "the history cannot be written: " .. err.message }
    end)
  end
  self:emit { event = "run_started", target = plan.target, database = plan.database, total = self.total,
    databases = self.databases, existing = plan.summary.keep, planned = planned }
  for change in plan:changes() do
    if change.held then
      self.unmade[change] = true
      self.summary.held = self.summary.held + 1
      self:emit { event = "held", action = change.action, relation = change.relation,
        name = change.name or change.live_name, outcome = change.held.verdict, rule = change.held.rule,
        message = change.held.message }
    end
  end
  self:existing()
  self.schedule = self.dialect.schedule.of(plan, self.options)
  -- While the locks of other databases were looked at, before anybody listened.
  if connection.lock_lost then self:lose_lock(connection.lock_lost) end
end

function Run:lose_lock(lost)
  self.halted = lost
  self:emit { event = "note", text = lost.message .. "; stopping" }
  self.connection.handle:cancel()
end

-- Changes that never began although nobody stopped them: a mistake in the schedule, which must not look like success.
function Run:stuck()
  local queue = self.schedule.queue
  if #queue == 0 or self.halted or self.pool.failure or task.stopping() then return nil end
  local parts = {}
  for i, item in ipairs(queue) do
    parts[i] = ("%s %s (%s)"):format(item.change.relation, item.change.name or item.change.live_name,
      self.schedule:reason(item, core.now()) or "nothing")
  end
  return errors.new("internal", "no change could begin any more, each waits for another: " .. table.concat(parts, ", "),
    "This is a mistake in lunadex. With --only, they can be made one by one.")
end

-- Once nothing of it runs or may run any more: the next one may have the database.
function Run:finish()
  local connection, summary = self.connection, self.summary
  -- One that was halted for long may have done its work after its lock had ended.
  if not self.halted and not task.stopping() then
    local ok, err = connection:locked()
    if not ok and not task.stopping() then self.halted = self.halted or err end
  end
  local stuck = self:stuck()
  local left = stuck and "failed" or "cancelled"
  summary[left] = summary[left] + #self.schedule.queue
  self.halted = self.halted or stuck
  self.outcome = {
    summary = summary, failures = self.failures, critical_failed = self.critical_failed,
    interrupted = task.stopping(), halted = self.halted, seconds = core.now() - self.started,
  }
  -- Before the next run begins: the lock is how the history tells who is there.
  if self.recorder then self.recorder:finish(self.outcome) end
  connection:listen(nil)
  connection:unlock()
  self:emit { event = "run_finished", summary = summary, seconds = self.outcome.seconds,
    interrupted = self.outcome.interrupted }
end

-- A task of its own: a link that is stuck holds up no worker.
function Run:end_if_over()
  if self.active > 0 or #self.schedule.queue > 0 and not self.halted then return end
  self.ending = self.ending or task.spawn(self.finish, self)
end

---@class lunadex.Pool             # what the workers share
---@field runs table[]
---@field jobs integer
---@field active integer           # changes under way
---@field waiting integer          # of these, how many only wait for other sessions
---@field freed lunadex.Point      # one of them has ended, or waits
---@field failure any              # the first mistake that was raised, by a listener or by us
local Pool = {}
Pool.__index = Pool

-- Calls what may raise: a mistake must neither end the worker that runs into it nor leave anything running or locked.
-- The first one stops all runs; it is raised again when they have ended.
function Pool:protect(call, ...)
  local ok, failure = xpcall(call, function(raised)
    return type(raised) == "string" and debug.traceback(raised, 2) or raised or "nil"
  end, ...)
  if ok or self.failure then return end
  self.failure = failure
  local stopped = errors.new("cancelled", "the run was stopped by a mistake")
  for _, run in ipairs(self.runs) do
    run.halted = run.halted or stopped
    run.connection.handle:cancel()
  end
end

--- Whether a change that is under way only waits for other sessions now.
function Pool:waits(item, waiting)
  if waiting == (item.waiting or false) then return end
  item.waiting = waiting
  self.waiting = self.waiting + (waiting and 1 or -1)
  if waiting then self.freed:announce() end
end

-- The next change, of the run that has got least so far: a database with much to do does not keep the others waiting.
function Pool:next()
  if self.active - self.waiting >= self.jobs then return nil end
  table.sort(self.runs, function(a, b)
    if a.active ~= b.active then return a.active < b.active end
    if a.begun ~= b.begun then return a.begun < b.begun end
    return a.place < b.place
  end)
  for _, run in ipairs(self.runs) do
    local item = not run.halted and run.active < run.connection.jobs and run.schedule:next(core.now())
    if item then return run, item end
  end
end

function Pool:work()
  while not task.stopping() do
    local run, item = self:next()
    if run then
      self.active, run.active, run.begun = self.active + 1, run.active + 1, run.begun + 1
      self:protect(run.change, run, item)
      self.active, run.active = self.active - 1, run.active - 1
      run.schedule:finished(item)
      run:end_if_over()
      self.freed:announce()
    elseif self.active > 0 then
      for _, each in ipairs(self.runs) do
        if not each.halted then each:tell_why() end
      end
      self.freed:wait()
    else
      return
    end
  end
end

-- Whether these plans may be applied, now.
local function check(plans, options)
  local connections = {}
  for i, plan in ipairs(plans) do
    local refusal = plan:refusal() or plan.info.read_only and errors.read_only(plan.info)
    if refusal then return nil, refusal, plan.connection end
    connections[i] = plan.connection
  end
  if not options.locked then return lock.take(connections, options) end
  for _, connection in ipairs(connections) do
    -- Making the plans took its time.
    local ok, err = connection:locked()
    if not ok then return nil, err, connection end
  end
  return true
end

--- Applies the plans of several databases under one budget. Failures of single changes are in the outcomes, which come
--- in the order of the plans; `nil, err` means that nothing was begun.
---@param plans lunadex.Plan[]
---@param options lunadex.ApplyOptions?
---@return lunadex.Outcome[]?
---@return lunadex.Error? err
---@return lunadex.Connection? connection   # whose error it is
function M.together(plans, options)
  options = options or {}
  return task.run(function()
    local ok, err, connection = check(plans, options)
    if not ok then return nil, err, connection end
    local jobs = math.max(options.jobs or schedule.default_jobs, 1)
    local runs, pool = {}, setmetatable({ runs = {}, jobs = jobs, active = 0, waiting = 0, freed = task.point() }, Pool)
    for i, plan in ipairs(plans) do
      local run = new_run(plan, options, pool)
      run.place, run.databases = i, #plans > 1 and #plans or nil
      runs[i], pool.runs[i] = run, run
    end
    for _, run in ipairs(runs) do run:start() end
    for _, run in ipairs(runs) do run:end_if_over() end
    local workers = {}
    for i = 1, M.sessions(jobs) do
      workers[i] = task.spawn(pool.work, pool)
    end
    for _, worker in ipairs(workers) do worker:join() end
    local results = {}
    for i, run in ipairs(runs) do
      run.ending = run.ending or task.spawn(run.finish, run)
      run.ending:join()
      results[i] = run.outcome
    end
    if pool.failure then error(pool.failure, 0) end
    return results
  end)
end

--- Applies one plan.
---@param plan lunadex.Plan
---@param options lunadex.ApplyOptions?
---@return lunadex.Outcome?
---@return lunadex.Error? err
function M.run(plan, options)
  local results, err = M.together({ plan }, options)
  return results and results[1], err
end

--- The statements that applying would send, change by change.
---@param plan lunadex.Plan
---@param options lunadex.StepOptions?
---@return {change: lunadex.PlannedChange, sql: string[], not_shown: string?}[]
function M.statements(plan, options)
  local steps, result = plan.dialect.steps, {}
  local context = steps.context(plan)
  for change in plan:work() do
    local sql = {}
    for _, step in ipairs(steps.of(change, context, options or {})) do
      local text = core.describe(step, plan.connection.target)
      if text ~= "" then sql[#sql + 1] = text end -- it only looks
    end
    result[#result + 1] = { change = change, sql = sql, not_shown = steps.not_shown(change) }
  end
  return result
end

return M
