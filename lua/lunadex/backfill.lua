--- Backfills: data changed in batches that can be killed, repeated and held up (docs/backfills.md).
--
-- DESIGN: the keys of a relation are cut into ranges, and each range is walked by batches. A batch is one transaction
-- that moves the range's checkpoint on, and does so only if the checkpoint still is where the batch began. So whatever
-- happens to program, link and server, and whoever else is at it, each batch is done once or not at all; whoever does
-- not know what came of one reads the checkpoint. All else here may go wrong without harm: the lock, the figures, the
-- commands.
--
-- What a batch takes, where checkpoints are kept and what the server has to say is the dialect's: lunadex.postgres,
-- lunadex.mongodb (`backfill`, `ledger`, `strain`, below). Here is what both share: the run, its workers
-- (backfill/worker), the registry's functions (backfill/transform), what a definition is (backfill/definition).

local core = require "lunadex.core"
local database = require "lunadex.database"
local definitions = require "lunadex.backfill.definition"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local order = require "lunadex.backfill.order"
local patience = require "lunadex.backfill.patience"
local task = require "lunadex.task"
local throttle = require "lunadex.backfill.throttle"
local transforms = require "lunadex.backfill.transform"
local worker = require "lunadex.backfill.worker"

local M = {}

-- Contract of a dialect -----------------------------------------------------------------------------------------------
-- A function that can fail gives nil and an error, and may be called again after an error that is retryable. None of
-- them raises, waits for long, or tries anything again: that is done here. All may be called while the run is stopping,
-- and then fail with the code "cancelled".

---@class lunadex.backfill.Subject # a backfill on the relation that is live; a dialect adds what it needs
---@field backfill lunadex.Backfill
---@field relation string          # for people
---@field key string[]             # what it is walked along, for people: { "tenant", "id" }, { "_id" }
---@field rows number              # the server's estimate; -1: none
---@field repeatable boolean?      # there are no transactions: a batch that is done twice must do no harm

---@class lunadex.backfill.Range   # low < key <= high, in the order of the key
---@field number integer           # 1, 2, …
---@field cursor any               # walked up to here, this key included; nil: not begun, no lower end
---@field high any                 # nil: no upper end
---@field done boolean
---@field seen integer             # rows walked, whatever `where` says
---@field changed integer          # rows that were changed
---@field failed integer           # rows that are recorded as failed

---@class lunadex.backfill.Request
---@field size integer             # rows to walk, at most
---@field transform (fun(rows: table[]): lunadex.backfill.Change[])?   # instead of `set`; rows are what `columns` says
---@field admit fun(count: integer, key: string, message: string): true?, lunadex.Error?   # before rows are recorded as
---       failed, with the first of them: whether so many more may be; else the batch is given up with that error
---@field skip string?             # walk one row, leave it as it is and record it as failed, with this message

---@class lunadex.backfill.Change
---@field changes table?           # column → value; nil, or empty: nothing changes
---@field failed string?           # why it could not be transformed

---@class lunadex.backfill.Batch   # what a batch did: to be added to the range
---@field cursor any
---@field done boolean
---@field seen integer
---@field changed integer
---@field failed integer

---@class lunadex.backfill.Preview
---@field rows number              # of the relation, as far as is known
---@field matching integer?        # rows that `where` finds; nil where they could not be counted in time
---@field samples {key: string, before: table, after: table?, failed: string?}[]   # rows by name of column; with
---       neither: it could not be tried
---@field seconds number?         # that it may take, one batch after the other; nil: it cannot be said

-- Of the functions: `connection` and `control` are lunadex.Connections, the latter with one session; `subject`,
-- `state`, `range` and `request` what stands above and below.

---@class lunadex.backfill.Dialect
---@field prepare fun(connection, backfill: lunadex.Backfill): lunadex.backfill.Subject?, lunadex.Error?
---       finds relation and key and has the server judge `where`, `set` and `verify`; changes nothing
---@field go_along fun(subject, key: string): true?, lunadex.Error?
---       takes the key that it was begun along (state.key), even where `prepare` has found a better one; the code
---       "refused" where there is none like it any more
---@field cut fun(connection, subject, count: integer): lunadex.backfill.Range[]?, lunadex.Error?
---       about so many ranges of about as many rows each, from statistics or a sample, which hold all keys that are
---       there now; none where there is no row
---@field batch fun(connection, subject, state, range, request): lunadex.backfill.Batch?, lunadex.Error?
---       one transaction: takes the range's checkpoint if it still is at range.cursor (else the code "moved"), walks
---       the next rows, changes them, records which failed, sets the checkpoint. `range` is left as it is
---@field default_batch integer   # rows
---@field default_target number    # seconds
---@field about_a_row fun(err: lunadex.Error, subject): boolean   # whether a batch without some row would be done
---@field verify fun(connection, subject): number?, lunadex.Error?   # how many rows are not as they should be
---@field preview fun(connection, subject, samples: integer, transform): lunadex.backfill.Preview?, lunadex.Error?
---       changes nothing; `transform` as in a request

---@class lunadex.backfill.State   # of a backfill, by its name, as it is kept in the database
---@field id any                   # the dialect's
---@field name string
---@field relation string
---@field definition string        # readable (backfill/definition)
---@field fingerprint string       # of it
---@field key string?              # what it was begun along, with all that its order depends on; nil: it cannot change
---@field state "new"|"running"|"stopped"|"finished"|"failed"|"aborted"   # "new": it has no ranges yet; "stopped": it
---       is not at its end, and nobody is at it
---@field command "pause"|"abort"|nil   # what somebody has told it
---@field rows number              # the estimate at its beginning; -1: none
---@field seen integer             # these are sums of its ranges
---@field changed integer
---@field failed integer
---@field ranges integer           # into which it was cut when it was begun
---@field ranges_done integer
---@field rate number?             # rows seen a second, lately
---@field waits string?            # what it waits for
---@field attempts integer         # runs
---@field error string?            # why it failed
---@field started string?          # UTC, 2026-01-31T10:00:00Z
---@field ended string?
---@field who string?              # who is at it
---@field samples {key: string, message: string}[]   # of the rows that failed, some

---@class lunadex.backfill.Ledger
---@field install fun(connection): true?, lunadex.Error?   # makes what it takes, if it is not there
---@field read fun(connection, name: string?): lunadex.backfill.State[]?, lunadex.Error?   # all, or the one; none
---       where nothing was ever installed
---@field ranges fun(connection, state): lunadex.backfill.Range[]?, lunadex.Error?
---@field claim fun(control, subject): lunadex.backfill.State?, lunadex.Error?
---       makes its entry if there is none, and takes its lock (code "lock_held"); `state` is what it was before. The
---       lock ends with the control's session, or soon after the last `poll`
---@field begin fun(control, state, subject, definition, ranges): lunadex.backfill.State?, lunadex.Error?
---       from the start, forgetting all there was, state.command included: no batch of before may set a checkpoint any
---       more. `definition` is { text, fingerprint }
---@field go_on fun(control, state, definition): lunadex.backfill.State?, lunadex.Error?
---       from where it was, with this definition; takes the error away, counts the attempt
---@field poll fun(control, state, figures: {rate: number?, waits: string?}): {command: string?}?, lunadex.Error?
---       every second: keeps the lock (taking it again if it was lost; code "lock_held" if another has it), writes the
---       figures, and says what it was told
---@field close fun(control, state, outcome: "finished"|"failed"|"aborted", message: string?): true?, lunadex.Error?
---       writes the end, so that with it all that batches did before is as durable as the server makes anything. With
---       "finished" only if all ranges are done (code "undone"): a crash may have taken back what batches had committed
---@field release fun(control, state)   # gives the lock back; also while the run is stopping
---@field command fun(connection, name: string, command: "pause"|"resume"|"abort"): true?, lunadex.Error?
---       "resume" takes back what was told, and an end by "abort"; nil without an error: there was nothing to be told

---@class lunadex.backfill.Strain
---@field limits table<string, true>   # those of a throttle that it knows
---@field look fun(control, subject, memory: table): string?, lunadex.Error?
---       which of the limits of backfill.throttle (`limits`) is exceeded, for people; nil: none. `memory` is
---       the caller's, the same table for each look. What cannot be measured is an error: then, too, the backfill holds

-- The run of one backfill ---------------------------------------------------------------------------------------------

---@class lunadex.BackfillOptions
---@field jobs integer?            # batches at a time; default: what it declares, else 1
---@field restart boolean?         # from the start, even if it is finished, or another one than it was
---@field carry_on boolean?        # with another definition, from where the old one was
---@field on_event fun(event: table)?

---@class lunadex.backfill.Run
---@field connection lunadex.Connection
---@field batches lunadex.Connection      # batches run on sessions of it
---@field control lunadex.Connection      # one session: lock, commands, figures
---@field subject lunadex.backfill.Subject
---@field state lunadex.backfill.State
---@field failure lunadex.Error?
---@field aborted boolean?
---@field holds string?            # why no batch begins
---@field patience lunadex.backfill.Patience
---@field admitted table<lunadex.backfill.Worker, integer>   # rows that batches under way will record as failed
local Run = {}
Run.__index = Run

local beat = 1           -- seconds between two looks at commands and strain
local window = 30        -- seconds that the rate is of
local range_rows = 50000 -- rows that are worth a range of their own
local most_ranges = 64
local least_rows = 1000  -- rows below which a range is not worth a worker
local silence = 600      -- seconds without an answer to the control, after which batches stop

function Run:emit(name, fields)
  fields = fields or {}
  fields.event, fields.number, fields.total = name, self.number, self.total
  fields.action, fields.relation, fields.name = "backfill", self.backfill.on, self.backfill.name
  fields.database = self.label
  if self.on_event then self.on_event(fields) end
end

function Run:new_patience()
  return patience.new(function(err, attempt, delay)
    self:emit("retry", { attempt = attempt, delay = delay, error = errors.plain(err) })
  end)
end

function Run:fail(err)
  if not self.failure and not task.stopping() then self.failure = err end
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

--- Whether so many rows more may fail.
function Run:admit(own, count, key, message)
  local total, limit = self.failed + count, self.backfill.errors or 0
  for other, more in pairs(self.admitted) do
    if other ~= own then total = total + more end
  end
  if total <= limit then
    self.admitted[own] = count
    return true
  end
  return nil, errors.new("failed", ("row %s: %s; %s"):format(key, message, limit == 0 and "no row may fail"
    or ("no more than %d rows may fail"):format(limit)),
    "Correct the row or the backfill and run it again, or let more rows fail with its option errors.")
end

-- Rows a second, of the last half minute.
function Run:pace()
  local now, looks = core.now(), self.looks
  looks[#looks + 1] = { at = now, seen = self.seen }
  while now - looks[1].at > window and #looks > 2 do table.remove(looks, 1) end
  local seconds, rows = now - looks[1].at, self.seen - looks[1].seen
  return seconds >= beat / 2 and rows / seconds or nil
end

function Run:progress()
  local rate, rows = self:pace(), self.state.rows
  local percent, left
  if rows > 0 then
    percent = math.min(100 * self.seen / rows, 99) -- how many there are is an estimate
    left = rate and rate > 0 and math.max(rows - self.seen, 0) / rate or nil
  end
  self.rate = rate
  local noun = self.dialect.row .. "s"
  self:emit("progress", { phase = self.holds or "changing " .. noun, done = self.seen, of = rows >= 0 and rows or nil,
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
  self:hold(told.command == "pause" and "paused" or strain)
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

-- Ranges of a backfill that begins.
function Run:cut()
  local rows = self.subject.rows
  -- Also a single worker leaves something to a run with more.
  local count = rows < 0 and self.jobs or math.max(math.min(rows // range_rows, most_ranges),
    math.min(self.jobs, rows // least_rows), 1)
  return self.patience:try(self.dialect.backfill.cut, self.connection, self.subject, math.tointeger(count // 1))
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

-- What is to be done about what there is already: "nothing", "begin" or "go on"; or nil and why not.
local function decide(state, definition, options)
  if options.restart then return "begin" end
  local new = state.state == "new"
  local same = new or state.fingerprint == definition.fingerprint
  if not same and not options.carry_on then
    return nil, refusal("changed", state.name, ("\n  then: %s\n  now:  %s"):format(state.definition, definition.text))
  end
  if state.state == "aborted" or state.command == "abort" then return nil, refusal("aborted", state.name) end
  if state.command == "pause" then return nil, refusal("paused", state.name) end
  if new then return "begin" end
  return same and state.state == "finished" and "nothing" or "go on"
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
  local decision, err = decide(self.state, definition, options)
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
      ok, err = self.dialect.backfill.go_along(self.subject, self.state.key)
      if not ok then return nil, err end
    end
    state, err = self.patience:try(ledger.go_on, self.control, self.state, definition)
  end
  if not state then return nil, err end
  self.state = state
  state, err = self:read_ranges()
  if not state then return nil, err end
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
  return nil, errors.new("failed", ("all rows were walked, and verify counts %s"):format(count),
    ("Rows came in that are not as they should be: see to what writes them, and then %s."):format(cure))
end

function Run:work()
  self.workers, self.ended = {}, false
  self:look()
  for i = 1, math.min(self.jobs, math.max(#self.ranges, 1)) do
    local each = worker.new(self)
    self.workers[i] = task.spawn(each.work, each)
  end
  local watch = task.spawn(self.watch, self)
  local raised
  for _, each in ipairs(self.workers) do
    local ok, problem = pcall(each.join, each)
    if not ok and not raised then
      raised = problem
      self:fail(errors.new("internal", tostring(problem)))
    end
  end
  if not self:is_over() then
    local check = task.spawn(self.verify, self)
    self.workers = { check }
    local ok, err = check:join()
    if not ok and not self.aborted then self:fail(err) end
  end
  self.ended = true
  watch:cancel()
  watch:join()
  if raised then error(raised, 0) end
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

function Run:run()
  local began = core.now()
  local outcome, ok, err = "failed", self:open()
  if ok then
    outcome, err = self:claimed()
    self.dialect.ledger.release(self.control, self.state)
  end
  if self.control then self.control:close() end
  if self.batches then self.batches:close() end
  if outcome == "failed" and task.ending() then outcome, err = "cancelled", nil end
  self:emit("build_finished", { outcome = outcome, seconds = core.now() - began, seen = self.seen,
    changed = self.changed, failed = self.failed, error = err and errors.plain(err),
    reason = outcome == "skipped" and "finished before" or nil, critical = false })
  return outcome, err
end

-- Subject, control session and claim.
function Run:open()
  local dialect, connection = self.dialect, self.connection
  local err = throttle.refuse(dialect, self.backfill)
    or order.obstacle(self.backfill, self.all, connection, dialect)
  if err then return nil, err end
  self.subject, err = self.patience:try(dialect.backfill.prepare, connection, self.backfill)
  if not self.subject then return nil, err end
  -- Their name says to people, and to the next run, whose sessions these are.
  local name = "lunadex backfill " .. self.backfill.name
  self.control, err = database.open(connection.target, { jobs = 1, application_name = name })
  if not self.control then return nil, err end
  self.batches, err = database.open(connection.target, { jobs = self.jobs, application_name = name })
  if not self.batches then return nil, err end
  self.state, err = self.patience:try(dialect.ledger.claim, self.control, self.subject)
  return self.state and true or nil, err
end

---@class lunadex.BackfillOutcome
---@field summary table<string, integer>   # total, finished, skipped, failed, aborted, cancelled
---@field rows {seen: integer, changed: integer, failed: integer}
---@field failures {backfill: lunadex.Backfill, error: lunadex.Error}[]
---@field interrupted integer?     # the signal
---@field seconds number

local function new_run(backfill, all, connection, options)
  local self = setmetatable({ backfill = backfill, all = all, connection = connection, options = options,
    on_event = options.on_event, label = connection.label, dialect = dialects.of(connection.info.driver),
    jobs = options.jobs or backfill.jobs or 1, woken = task.point(), admitted = {}, looks = {}, memory = {},
    next_range = 1, seen = 0, changed = 0, failed = 0,
    transform = transforms.of(backfill) }, Run)
  self.patience = self:new_patience()
  return self
end

--- What running it would do, on a few rows. Nothing of it stays.
---@param backfill lunadex.Backfill
---@param connection lunadex.Connection
---@param samples integer
---@return lunadex.backfill.Subject?
---@return lunadex.backfill.Preview?
---@return lunadex.Error? err
function M.preview(backfill, connection, samples)
  local dialect = dialects.of(connection.info.driver).backfill
  local subject, err = dialect.prepare(connection, backfill)
  if not subject then return nil, nil, err end
  local preview
  preview, err = dialect.preview(connection, subject, samples, transforms.of(backfill))
  return preview and subject or nil, preview, err
end

--- Runs backfills of one database, one after the other, in the order that they ask for. Failures of single ones are in
--- the outcome; `nil, err` means that nothing was begun.
---@param backfills lunadex.Backfill[]
---@param all lunadex.Backfill[]   # of the database, whether they run or not
---@param connection lunadex.Connection
---@param options lunadex.BackfillOptions?
---@return lunadex.BackfillOutcome?
---@return lunadex.Error? err
function M.run(backfills, all, connection, options)
  options = options or {}
  local info, err = connection:connect()
  if not info then return nil, err end
  if info.read_only then return nil, errors.read_only(info) end
  local quiet = patience.new(function() end)
  local ok
  ok, err = quiet:try(dialects.of(info.driver).ledger.install, connection)
  if not ok then return nil, err end
  local began = core.now()
  local outcome = { rows = { seen = 0, changed = 0, failed = 0 }, failures = {},
    summary = { total = #backfills, finished = 0, skipped = 0, failed = 0, aborted = 0, cancelled = 0 } }
  for i, backfill in ipairs(order.sort(backfills)) do
    local word, problem = "cancelled", nil
    if not task.ending() then
      local run = new_run(backfill, all, connection, options)
      run.number, run.total = i, #backfills
      word, problem = run:run()
      for _, name in ipairs(sums) do outcome.rows[name] = outcome.rows[name] + run[name] end
    end
    outcome.summary[word] = outcome.summary[word] + 1
    if problem then outcome.failures[#outcome.failures + 1] = { backfill = backfill, error = problem } end
  end
  outcome.interrupted, outcome.seconds = task.stopping(), core.now() - began
  return outcome
end

return M
