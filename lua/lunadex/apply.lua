--- A plan made real: changes as the schedule lets them begin, side by side, and what came of each.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local lock = require "lunadex.lock"
local schedule = require "lunadex.schedule"
local steps = require "lunadex.steps"
local task = require "lunadex.task"

local M = {}

---@class lunadex.ApplyOptions: lunadex.StepOptions
---@field jobs integer?            # changes at a time, default 2
---@field on_event fun(event: table)?
---@field locked boolean?          # the caller holds the run lock already
---@field wait number?             # seconds to wait for another run's end; default none

---@class lunadex.Outcome
---@field summary table<string, integer>
---@field failures {change: lunadex.PlannedChange, error: lunadex.Error, notes: string[]}[]
---@field critical_failed boolean
---@field interrupted integer?     # the signal
---@field halted lunadex.Error?    # the run lock was lost
---@field seconds number

-- Up to this many existing ones are told one by one; beyond, a number says as much.
M.listed_existing = 50

local outcomes = {
  create = "created", replace = "replaced", rename = "renamed", alter = "altered", rebuild = "rebuilt",
  drop = "dropped", wait = "skipped",
}

-- Seconds after which a wait that goes on is told again.
local reminder = 60

local Run = {}
Run.__index = Run

function Run:emit(event)
  if self.on_event then self.on_event(event) end
end

function Run:event(name, item, fields)
  fields = fields or {}
  local change = item.change
  fields.event, fields.number, fields.total = name, item.number, self.total
  fields.action, fields.relation, fields.name = change.action, change.relation, change.name or change.live_name
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
  elseif event.event == "note" then
    item.notes[#item.notes + 1] = event.text
    self:event("note", item, { text = event.text })
  elseif event.event == "retry" then
    self:event("retry", item, {
      attempt = event.attempt, delay = event.delay, error = errors.plain(event.error),
    })
  end
end

function Run:perform(item, step)
  local attempts = 1
  local ok, err, done = self.connection:perform(step, function(event) self:hear(item, step, event) end)
  local finished = ok and err or done
  if finished and finished.attempts then attempts = finished.attempts end
  item.attempts = math.max(item.attempts or 1, attempts)
  if ok then return true end
  return nil, err
end

-- The steps of one change, one after the other.
function Run:change(item)
  local change = item.change
  local started = core.now()
  item.notes = {}
  self:event("build_started", item, {
    definition = change.definition, critical = change.critical, description = change.description,
    reason = change.reason, builder = change.builder,
  })
  local failure, undo
  for _, step in ipairs(steps.of(change, self.context, self.options)) do
    local ok, err = self:perform(item, step)
    if not ok then
      failure, undo = err, step.undo
      break
    end
  end
  if failure and undo and not task.stopping() then
    -- The replacement stands ready but may not take its place: it goes again. After an interruption it stays, for the
    -- next run.
    for _, step in ipairs(undo) do self:perform(item, step) end
  end
  local summary, outcome = self.summary, outcomes[change.action]
  if failure then
    outcome = failure.code == "cancelled" and (task.stopping() or self.halted) and "cancelled" or "failed"
  end
  summary[outcome] = summary[outcome] + 1
  if outcome == "failed" then
    self.failures[#self.failures + 1] = { change = change, error = failure, notes = item.notes }
    if change.critical then self.critical_failed = true end
  end
  self:event("build_finished", item, {
    outcome = outcome, seconds = core.now() - started, attempts = item.attempts, critical = change.critical,
    error = failure and errors.plain(failure) or nil,
    reason = change.action == "wait" and outcome == "skipped" and "built by somebody else" or nil,
  })
end

-- Somebody could work, but may not: why, once for each change.
function Run:tell_why()
  for _, item in ipairs(self.schedule.queue) do
    local reason = not item.told and self.schedule:reason(item)
    if reason then
      item.told = true
      self:event("queued", item, { reason = reason })
    end
  end
end

function Run:worker()
  while not (task.stopping() or self.halted) do
    local item = self.schedule:next()
    if item then
      self.active = self.active + 1
      self:change(item)
      self.active = self.active - 1
      self.schedule:finished(item)
      self.freed:announce()
    elseif self.active > 0 then
      self:tell_why()
      self.freed:wait()
    else
      return
    end
  end
end

function Run:existing(plan)
  local count = plan.summary.keep
  self.summary.skipped = count
  if count == 0 then return end
  if count > M.listed_existing then
    self:emit { event = "existing", count = count }
    return
  end
  local number = 0
  for change in plan:changes { keeps = true } do
    if change.action == "keep" then
      number = number + 1
      self:event("build_finished", { change = change, number = number }, {
        outcome = "skipped", reason = "already exists", critical = change.critical, description = change.description,
        live_name = change.live_name,
      })
    end
  end
end

--- Applies a plan. Failures of single changes are in the outcome; `nil, err` means that nothing was begun.
---@param plan lunadex.Plan
---@param options lunadex.ApplyOptions?
---@return lunadex.Outcome?
---@return lunadex.Error? err
function M.run(plan, options)
  options = options or {}
  return task.run(function()
    local refusal = plan:refusal()
    if refusal then return nil, refusal end
    if plan.info.read_only then
      return nil, errors.read_only(plan.info)
    end
    local connection = plan.connection
    if not options.locked then
      local ok, err = lock.take({ connection }, options)
      if not ok then return nil, err end
    else
      -- Making the plan took its time.
      local ok, err = connection:locked()
      if not ok then return nil, err end
    end

    local run = setmetatable({
      connection = connection, options = options, on_event = options.on_event, context = steps.context(plan),
      active = 0, freed = task.point(), failures = {}, critical_failed = false,
      summary = {
        total = 0, created = 0, skipped = 0, failed = 0, dropped = 0, renamed = 0, altered = 0, replaced = 0,
        rebuilt = 0, cancelled = 0,
      },
    }, Run)
    local started = core.now()
    local planned = 0
    for change in plan:changes() do
      if change.action ~= "keep" then planned = planned + 1 end
    end
    run.total = plan.summary.keep + planned
    run.summary.total = run.total
    connection:listen(function(lost)
      run.halted = lost
      run:emit { event = "note", text = lost.message .. "; stopping" }
      connection.handle:cancel()
    end)

    run:emit { event = "run_started", target = plan.target, database = plan.database, total = run.total,
      existing = plan.summary.keep, planned = planned }
    run:existing(plan)
    run.schedule = schedule.of(plan, options, run.summary.skipped)
    local workers = {}
    for i = 1, math.max(options.jobs or schedule.default_jobs, 1) do
      workers[i] = task.spawn(run.worker, run)
    end
    for _, worker in ipairs(workers) do worker:join() end
    run.summary.cancelled = run.summary.cancelled + #run.schedule.queue

    if not options.locked then connection:unlock() end
    local outcome = {
      summary = run.summary, failures = run.failures, critical_failed = run.critical_failed,
      interrupted = task.stopping(), halted = run.halted, seconds = core.now() - started,
    }
    run:emit { event = "run_finished", summary = run.summary, seconds = outcome.seconds,
      interrupted = outcome.interrupted }
    return outcome
  end)
end

--- The statements that applying would send, change by change.
---@param plan lunadex.Plan
---@param options lunadex.StepOptions?
---@return {change: lunadex.PlannedChange, sql: string[]}[]
function M.statements(plan, options)
  local context, result = steps.context(plan), {}
  for change in plan:changes() do
    if change.action ~= "keep" then
      local sql = {}
      for _, step in ipairs(steps.of(change, context, options or {})) do
        local text = core.describe(step)
        if text ~= "" then sql[#sql + 1] = text end -- it only looks
      end
      result[#result + 1] = { change = change, sql = sql }
    end
  end
  return result
end

return M
