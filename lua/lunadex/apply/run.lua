--- One database's plan made real: what its changes take, what is told of them, and what came of each.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local history = require "lunadex.history"
local task = require "lunadex.task"

-- Up to this many existing ones are told one by one; beyond, a number says as much.
local listed_existing = 50

local outcomes = {
  create = "created", replace = "replaced", rename = "renamed", alter = "altered", rebuild = "rebuilt",
  drop = "dropped", wait = "skipped",
}

-- Seconds after which a wait that goes on is told again.
local reminder = 60

-- Seconds of waiting for a lock to take something back, when there is no time.
local hurried_lock_timeout = 2

---@class lunadex.Run
---@field pool lunadex.Pool
---@field plan lunadex.Plan
---@field connection lunadex.Connection
---@field schedule lunadex.Schedule     # once it has started
---@field place integer            # among the runs of a pool
---@field databases integer?       # of how many it is one
---@field active integer           # changes under way
---@field begun integer
---@field halted lunadex.Error?    # nothing more may be done, and why
---@field ending table?            # the task that ends it, once there is nothing left to do
---@field outcome lunadex.Outcome? # when that is over
local Run = {}
Run.__index = Run

function Run:emit(event)
  event.database = event.database or self.label
  if self.recorder then self.recorder:hear(event) end
  if self.on_event and not self.pool.failure then
    task.hearing(self.connection, self.pool.protect, self.pool, self.on_event, event)
  end
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
    -- Behind the first comma its text holds how long it has been at it, and so is another one every second.
    local who = blocker and ("%s %s"):format(blocker:match "^[^,]*", event.phase)
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
  elseif event.event == "duplicates" then
    self:event("duplicates", item, { groups = event.groups })
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
      if before then step.lock_timeout, step.retry = hurried_lock_timeout, { attempts = 1 } end
      ok, err = self:perform(item, step, true)
    until ok or before or not task.stopping() -- which may have ended a patient try
    local again = step.kind == "build" -- what had to go before
    if not ok then
      return self:note(item, again and "%s could not be built again now (%s): nothing is there in its place"
        or "%s could not be taken back now (%s): the next run goes on with it, or drops it", step.name, err.message)
    end
    if again then self:note(item, "%s was built again, as it was", step.name) end
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

-- What has the name that a change is to have, or the room, was to be renamed or dropped, and was not.
function Run:unfreed(change)
  local other, room = change.after, change.room_by
  if other and self.unmade[other] then
    return errors.new("duplicate_name", ("the name %s was not freed: %s still has it"):format(change.name,
      other.definition))
  elseif room and self.unmade[room] then
    return errors.new("refused", ("there is no room for it: %s was not dropped"):format(room.live_name))
  end
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
  if count > listed_existing then
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

--- A run that has not begun.
---@param plan lunadex.Plan
---@param options lunadex.ApplyOptions
---@param pool lunadex.Pool
---@return lunadex.Run
function Run.of(plan, options, pool)
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
  plan.applied = true
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
  self.connection:cancel()
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

return Run
