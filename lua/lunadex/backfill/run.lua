--- The run of one backfill: its ranges and workers, what it is told meanwhile, and how it ends.

local core = require "lunadex.core"
local database = require "lunadex.database"
local definitions = require "lunadex.backfill.definition"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local notices = require "lunadex.notice"
local order = require "lunadex.backfill.order"
local patience = require "lunadex.backfill.patience"
local standing = require "lunadex.backfill.standing"
local task = require "lunadex.task"
local throttle = require "lunadex.backfill.throttle"
local transforms = require "lunadex.backfill.transform"
local waiting = require "lunadex.backfill.waiting"
local worker = require "lunadex.backfill.worker"

---@class lunadex.backfill.Run
---@field connection lunadex.Connection
---@field batches lunadex.Connection      # batches run on sessions of it
---@field control lunadex.Connection      # one session: lock, commands, figures
---@field subject lunadex.backfill.Subject
---@field state lunadex.backfill.State
---@field failure lunadex.Error?
---@field aborted boolean?
---@field raised any               # what the first of its tasks raised
---@field holds string?            # why no batch begins
---@field verifying boolean        # no range is left
---@field patience lunadex.backfill.Patience
---@field warnings lunadex.Warnings       # of the server, while batches run
---@field admitted table<lunadex.backfill.Worker, integer>   # rows that batches under way will record as failed
---@field seen integer             # these three: by all runs since it was begun
---@field changed integer
---@field failed integer
---@field before {seen: integer, changed: integer, failed: integer}   # so much of that before this run
local Run = {}
Run.__index = Run

local beat = 1            -- seconds between two looks at commands and strain
local window = 30         -- seconds that the rate is of
local range_rows = 100000 -- rows that are worth a range of their own
local most_ranges = 64
local least_rows = 1000   -- rows below which a range is not worth a worker
local paused = "paused"   -- what holds it then
local silence = 600       -- seconds without an answer to the control, after which batches stop

--- Nothing is done yet.
---@param backfill lunadex.Backfill
---@param declared lunadex.backfill.Database
---@param connection lunadex.Connection
---@param options lunadex.BackfillOptions
---@return lunadex.backfill.Run
function Run.new(backfill, declared, connection, options)
  local self = setmetatable({ backfill = backfill, declared = declared, connection = connection, options = options,
    on_event = options.on_event, label = connection.label, dialect = dialects.of(connection.info.driver),
    jobs = options.jobs or backfill.jobs or 1, woken = task.point(), admitted = {}, looks = {}, memory = {},
    next_range = 1, seen = 0, changed = 0, failed = 0, before = { seen = 0, changed = 0, failed = 0 },
    transform = transforms.of(backfill) }, Run)
  self.patience = self:new_patience()
  self.warnings = notices.warnings(function(text) self:emit("note", { text = backfill.secrets:clean(text) }) end)
  return self
end

function Run:emit(name, fields)
  fields = fields or {}
  fields.event, fields.number, fields.total = name, self.number, self.total
  fields.action, fields.relation, fields.name = "backfill", self.backfill.on, self.backfill.name
  fields.database = self.label
  if self.on_event then self.on_event(fields) end
end

function Run:new_patience()
  return patience.new(function(err, attempt, delay)
    self:emit("retry", { attempt = attempt, delay = delay, error = errors.plain(self:cleaned(err)) })
  end)
end

-- As it may be told and kept.
function Run:cleaned(err)
  return err and errors.cleaned(err, self.backfill.secrets)
end

function Run:fail(err)
  if not self.failure and not task.stopping() then self.failure = self:cleaned(err) end
  self.woken:announce()
end

--- Whether nothing more is begun.
function Run:is_over()
  return self.failure ~= nil or self.aborted or task.ending()
end

--- Whether the next batch may begin; waits while there is something to wait for.
function Run:may_go_on()
  while self.holds and not self:is_over() do self.woken:wait() end
  return not self:is_over()
end

--- The next range for a worker.
function Run:take()
  while self.next_range <= #self.ranges do
    local range = self.ranges[self.next_range]
    self.next_range = self.next_range + 1
    if not range.done then return range end
  end
end

local sums = { "seen", "changed", "failed" }

--- Takes in what a batch has done.
function Run:advance(range, batch)
  range.cursor, range.done = batch.cursor, batch.done
  for _, name in ipairs(sums) do
    range[name] = range[name] + batch[name]
    self[name] = self[name] + batch[name]
  end
end

--- Takes in what the database says of a range.
function Run:replace(range, is)
  range.cursor, range.done = is.cursor, is.done
  for _, name in ipairs(sums) do
    self[name] = self[name] + is[name] - range[name]
    range[name] = is[name]
  end
end

--- Whether so many rows more may fail; `several` of the error: some of them may, in a smaller batch.
function Run:admit(own, count, key, message)
  local total, limit = self.failed + count, self.backfill.errors or 0
  for other, more in pairs(self.admitted) do
    if other ~= own then total = total + more end
  end
  if total <= limit then
    self.admitted[own] = count
    return true
  end
  local err = errors.new("failed", ("row %s: %s; %s"):format(key, message, limit == 0 and "no row may fail"
    or ("no more than %d rows may fail"):format(limit)),
    "Correct the row or the backfill and run it again, or let more rows fail with its option errors.")
  err.several = count > 1 and limit > 0
  return nil, err
end

-- Rows a second, of the last half minute; nil: that cannot be said yet. A pause is no part of it.
function Run:pace()
  if self.holds == paused then self.looks = {} end
  local now, looks = core.now(), self.looks
  looks[#looks + 1] = { at = now, seen = self.seen }
  while now - looks[1].at > window and #looks > 2 do table.remove(looks, 1) end
  local seconds, rows = now - looks[1].at, self.seen - looks[1].seen
  return seconds >= beat / 2 and rows > 0 and rows / seconds or nil
end

function Run:progress()
  local rows, rate = self.state.rows, self:pace()
  local percent, left = standing.extent(rows, self.seen, rate, self.verifying)
  self.rate = rate
  local noun = self.dialect.row .. "s"
  local phase = self.holds or self.verifying and "verifying" or "changing " .. noun
  self:emit("progress", { phase = phase, done = self.seen, of = rows >= 0 and math.max(rows, self.seen) or nil,
    unit = noun, percent = percent, rate = rate, seconds_left = left, changed = self.changed, failed = self.failed,
    started = true })
end

function Run:hold(reason)
  if reason and not self.holds then self:emit("waiting", { reason = reason }) end
  if self.holds and not reason then self:emit("resumed") end
  self.holds = reason
  self.woken:announce()
end

-- Whether the server can bear it, and what it was told.
function Run:look()
  local strain = throttle.look(self.dialect, self.control, self.subject, self.memory)
  local told, err = self.dialect.ledger.poll(self.control, self.state, { rate = self.rate, waits = strain })
  if not told then
    -- Batches are safe without it; but nobody could end them.
    self.silent_since = self.silent_since or core.now()
    if err.code == "lock_held" or core.now() - self.silent_since > silence then self:fail(err) end
    if strain then self:hold(strain) end
    return
  end
  self.silent_since = nil
  if told.command == "abort" then
    self.aborted = true
    for _, each in ipairs(self.workers) do each:cancel() end
  end
  self:hold(told.command == "pause" and paused or strain)
end

function Run:watch()
  while not self.ended do
    self:look()
    self:progress()
    if self.ended or self:is_over() then break end
    task.sleep(beat)
  end
  self.woken:announce()
end

-- Tries what may have to wait for somebody's lock, on the control's session.
function Run:try_waiting(call, ...)
  return self.patience:try(waiting.telling, self.dialect, self.connection, self.control, function(blocker)
    if not blocker then return self:emit("resumed") end
    local function cleaned(text) return self.backfill.secrets:clean(text) end
    self:emit("waiting", { reason = cleaned(blocker.reason), blocker = cleaned(blocker.who) })
  end, call, ...)
end

-- Ranges of a backfill that begins, or nil and why there are none.
function Run:cut()
  local rows = self.subject.rows
  -- Also a single worker leaves something to a run with more.
  local count = rows < 0 and self.jobs or math.max(math.min(rows // range_rows, most_ranges),
    math.min(self.jobs, rows // least_rows), 1)
  local highs, err = self:try_waiting(self.dialect.backfill.cut, self.subject, math.tointeger(count // 1))
  if not highs then return nil, err end
  local ranges = {}
  for i, high in ipairs(highs) do ranges[i] = { number = i, cursor = highs[i - 1], high = high } end
  return ranges
end

local refusals = {
  changed = { "it is another one than under this name before",
    "--restart begins it from the start, --carry-on goes on from where the old one was." },
  aborted = { "it was aborted",
    "lunadex backfill resume --only %s takes that back, --restart begins it from the start." },
  paused = { "it is paused", "lunadex backfill resume --only %s lets it go on." },
}

local function refusal(why, name, more)
  local text = refusals[why]
  return errors.new("refused", text[1] .. (more or ""), (text[2]:format(name)))
end

-- A name without its schema may be another relation's by now.
local function elsewhere(state, subject)
  return errors.new("refused", ("it was begun on %s, and %s is %s now"):format(state.relation, subject.backfill.on,
    subject.relation), "Say which of them, with its schema. " .. refusals.changed[2])
end

-- Under its name there may be another one by now.
local function replaced(subject)
  return errors.new("refused", ("%s is not the relation any more that it was begun on, but another one of that name")
    :format(subject.relation), "That was dropped or renamed, or all restored from a dump. " .. refusals.changed[2])
end

-- What is to be done about what there is already: "nothing", "begin" or "go on"; or nil and why not.
local function decide(state, subject, definition, options)
  if options.restart then return "begin" end
  local new = state.state == "new"
  local same, here = state.fingerprint == definition.fingerprint, state.relation == subject.relation
  if not new and not options.carry_on then
    if not same then
      return nil, refusal("changed", state.name, ("\n  then: %s\n  now:  %s"):format(state.definition, definition.text))
    end
    if not here then return nil, elsewhere(state, subject) end
    if state.state ~= "finished" and state.identity ~= subject.identity then return nil, replaced(subject) end
  end
  if state.state == "aborted" or state.command == "abort" then return nil, refusal("aborted", state.name) end
  if state.command == "pause" then return nil, refusal("paused", state.name) end
  if new then return "begin" end
  return same and here and state.state == "finished" and "nothing" or "go on"
end

function Run:read_ranges()
  local ranges, err = self.patience:try(self.dialect.ledger.ranges, self.connection, self.state)
  if not ranges then return nil, err end
  if #ranges ~= self.state.ranges then
    return nil, errors.new("refused", ("of its %d ranges only %d are left, and so nobody knows what is done"):format(
      self.state.ranges, #ranges), "Somebody has deleted them. --restart begins it from the start.")
  end
  self.ranges, self.next_range = ranges, 1
  for _, name in ipairs(sums) do
    self[name] = 0
    for _, range in ipairs(ranges) do self[name] = self[name] + range[name] end
  end
  return true
end

-- Its state and ranges, from the start or from where it was; or true if there is nothing to do.
function Run:prepare()
  local ledger, options = self.dialect.ledger, self.options
  local definition = definitions.of(self.backfill)
  local decision, err = decide(self.state, self.subject, definition, options)
  if not decision then return nil, err end
  if decision == "nothing" then return true end
  local state, ranges
  if decision == "begin" then
    ranges, err = self:cut()
    if not ranges then return nil, err end
    state, err = self.patience:try(ledger.begin, self.control, self.state, self.subject, definition, ranges)
  else
    if self.state.key then
      local ok
      ok, err = self.dialect.backfill.go_along(self.subject, self.state)
      if not ok then return nil, err end
    end
    state, err = self.patience:try(ledger.go_on, self.control, self.state, self.subject, definition)
  end
  if not state then return nil, err end
  self.state = state
  state, err = self:read_ranges()
  if not state then return nil, err end
  for _, name in ipairs(sums) do self.before[name] = self[name] end
  return false
end

-- What was wanted is true now, or nil and what is wrong.
function Run:verify()
  if not self.backfill.verify then return true end
  local count, err = self.patience:try(self.dialect.backfill.verify, self.connection, self.subject)
  if not count then return nil, err end
  if count == 0 then return true end
  -- Without `where`, from the start is from the start for all.
  local cure = self.backfill.where and "give --restart" or "correct them by another: --restart would change all anew"
  local failed = self.failed > 0
  return nil, errors.new("failed", ("all rows were walked%s, and verify counts %s"):format(
    failed and (", of which %d failed"):format(self.failed) or "", count),
    (failed and "Those that failed are as they were, and others may have come in: see to them, and then %s."
      or "Rows came in, or were kept, that are not as they should be: see to what writes or keeps them, and then %s.")
      :format(cure))
end

-- A task of the run. One that raises, as a listener may have it do, ends the others, which could wait for it.
function Run:spawn(work, ...)
  return task.spawn(function(...)
    local ok, problem = xpcall(work, task.traced, ...)
    if ok then return end
    if not self.raised then self.raised = problem end
    self:fail(errors.new("internal", tostring(problem)))
  end, ...)
end

function Run:work()
  self.workers, self.ended, self.verifying = {}, false, false
  self:look()
  for i = 1, math.min(self.jobs, math.max(#self.ranges, 1)) do
    local each = worker.new(self)
    self.workers[i] = self:spawn(each.work, each)
  end
  local watch = self:spawn(self.watch, self)
  for _, each in ipairs(self.workers) do each:join() end
  if not self:is_over() then
    self.verifying = true
    self.workers = { self:spawn(function()
      local ok, err = self:verify()
      if not ok and not self.aborted then self:fail(err) end
    end) }
    self.workers[1]:join()
  end
  self.ended = true
  watch:cancel()
  watch:join()
  if self.raised then error(self.raised, 0) end
end

-- Works until all ranges are done, or the run is over. A crash of the server may take back what was done last: then
-- that is done again.
function Run:complete()
  while true do
    self:work()
    local err = self.failure
    if task.ending() and not self.aborted then return "cancelled" end
    -- A run that another one has taken over has no say.
    if err and err.code == "lock_held" then return "failed", err end
    local outcome = self.aborted and "aborted" or err and "failed" or "finished"
    local ok, problem = self.patience:try(self.dialect.ledger.close, self.control, self.state, outcome,
      err and err.message)
    if ok or outcome ~= "finished" then return outcome, err end
    if problem.code ~= "undone" then return "failed", problem end
    ok, err = self:read_ranges()
    if not ok then return "failed", err end
  end
end

-- From the claimed state to its end; the word for it, and the failure.
function Run:claimed()
  local done, err = self:prepare()
  if done == nil then return "failed", err end
  if done then return "skipped" end
  self:emit("build_started", { definition = definitions.of(self.backfill).text, description = self.backfill.description,
    critical = false })
  return self:complete()
end

function Run:opened()
  local ok, err = self:open()
  if not ok then return "failed", err end
  return self:claimed()
end

--- To its end, which is told. Only what raises in a listener is raised.
---@return "finished"|"skipped"|"failed"|"aborted"|"cancelled"
---@return lunadex.Error? err
function Run:run()
  local began = core.now()
  local fine, outcome, err = pcall(self.opened, self)
  if self.state then self.dialect.ledger.release(self.control, self.state) end
  if self.control then self.control:close() end
  if self.batches then self.batches:close() end
  if not fine then error(outcome, 0) end
  err = self:cleaned(err)
  if outcome == "failed" and task.ending() then outcome, err = "cancelled", nil end
  self.warnings:finish()
  self:emit("build_finished", { outcome = outcome, seconds = core.now() - began, seen = self.seen,
    changed = self.changed, failed = self.failed, before = self.before, error = err and errors.plain(err),
    reason = outcome == "skipped" and "finished before" or nil, critical = false })
  return outcome, err
end

--- Opens a connection whose name says to people, and to the next run, whose sessions these are.
---@param backfill lunadex.Backfill
---@param connection lunadex.Connection
---@param jobs integer
---@return lunadex.Connection?
---@return lunadex.Error? err
function Run.connect(backfill, connection, jobs)
  return database.open(connection.target, { jobs = jobs, application_name = "lunadex backfill " .. backfill.name })
end

-- Control session, subject and claim.
function Run:open()
  local dialect, connection = self.dialect, self.connection
  local err = throttle.refuse(dialect, self.backfill)
    or order.obstacle(self.backfill, self.declared, connection, dialect)
  if err then return nil, err end
  self.control, err = Run.connect(self.backfill, connection, 1)
  if not self.control then return nil, err end
  self.subject, err = self:try_waiting(dialect.backfill.prepare, self.backfill)
  if not self.subject then return nil, err end
  self.batches, err = Run.connect(self.backfill, connection, self.jobs)
  if not self.batches then return nil, err end
  function self.batches.on_notice(notice) self.warnings:hear(notice) end
  self.state, err = self.patience:try(dialect.ledger.claim, self.control, self.subject)
  return self.state and true or nil, err
end

return Run
