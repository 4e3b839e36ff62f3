--- Backfills: data changed in batches that can be killed, repeated and held up (docs/backfills.md).
--
-- DESIGN: the keys of a relation are cut into ranges, and each range is walked by batches. A batch is one transaction
-- that moves the range's checkpoint on, and does so only if the checkpoint still is where the batch began. So whatever
-- happens to program, link and server, and whoever else is at it, each batch is done once or not at all; whoever does
-- not know what came of one reads the checkpoint. All else here may go wrong without harm: the lock, the figures, the
-- commands.
--
-- What a batch takes, where checkpoints are kept and what the server has to say is the dialect's: lunadex.postgres,
-- lunadex.mongodb (`backfill`, `ledger`, `strain`, below). Here is what both share: the run (backfill/run), its workers
-- (backfill/worker), the registry's functions (backfill/transform), what a definition is (backfill/definition), and how
-- one stands (backfill/standing).

local core = require "lunadex.core"
local definitions = require "lunadex.backfill.definition"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local order = require "lunadex.backfill.order"
local patience = require "lunadex.backfill.patience"
local Run = require "lunadex.backfill.run"
local standing = require "lunadex.backfill.standing"
local task = require "lunadex.task"
local transforms = require "lunadex.backfill.transform"
local waiting = require "lunadex.backfill.waiting"

local M = {}

-- Contract of a dialect -----------------------------------------------------------------------------------------------
-- A function that can fail gives nil and an error, and may be called again after an error that is retryable. None of
-- them raises, waits for long, or tries anything again: that is done here. All may be called while the run is stopping,
-- and then fail with the code "cancelled".

---@class lunadex.backfill.Subject # a backfill on the relation that is live; a dialect adds what it needs
---@field backfill lunadex.Backfill
---@field relation string          # for people
---@field identity string          # of the relation: it keeps that under any name, and none that is made anew has it
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
---@field begun table?             # what the batch before gave as `ahead`: this is the one
---@field ahead fun(): integer?    # called before the end: of how many rows the next batch may be, if it may begin
---       together with that
---@field skip {key: string, message: string}?   # walk one row; if it is that of this key, leave it as it is and
---       record it as failed, with this message

---@class lunadex.backfill.Change
---@field changes table?           # column → value; nil, or empty: nothing changes
---@field failed string?           # why it could not be transformed

---@class lunadex.backfill.Batch   # what a batch did: to be added to the range
---@field cursor any
---@field done boolean
---@field seen integer
---@field changed integer
---@field failed integer
---@field ahead {size: integer}?   # the next one, where that has begun (it may hold locks until it is asked for), or
---       has failed to; the dialect adds what it needs

---@class lunadex.backfill.Preview
---@field rows number              # of the relation, as far as is known
---@field matching integer?        # rows that `where` finds; nil where they could not be counted in time
---@field samples {key: string, before: table, after: table?, failed: string?}[]   # rows by name of column; with
---       neither: it could not be tried
---@field state string?           # as lunadex.backfill.Standing has it; nil: it was never begun, or nobody may know
---@field changed boolean?         # it was begun with another definition, and would be refused
---@field seconds number?         # that it may take, one batch after the other; nil: it cannot be said

---@class lunadex.backfill.Blocker
---@field id any                   # another one has another
---@field who string               # for people
---@field reason string            # the same, and what is locked

-- Of the functions: `connection` and `control` are lunadex.Connections, the latter with one session; `subject`,
-- `state`, `range` and `request` what stands above and below.

---@class lunadex.backfill.Dialect
---@field prepare fun(connection, backfill: lunadex.Backfill): lunadex.backfill.Subject?, lunadex.Error?
---       finds relation and key and has the server judge `where`, `set` and `verify`; changes nothing
---@field go_along fun(subject, state): true?, lunadex.Error?
---       takes the key that it was begun along (state.key), even where `prepare` has found a better one; the code
---       "refused" where there is none like it any more
---@field cut fun(connection, subject, count: integer): any[]?, lunadex.Error?
---       the highest keys of about so many ranges of about as many rows each, from statistics or a sample, in order;
---       the last is the highest that there is now. None where there is no row
---@field batch fun(connection, subject, state, range, request): lunadex.backfill.Batch?, lunadex.Error?, string?
---       one transaction: takes the range's checkpoint if it still is at range.cursor (else the code "moved"), walks
---       the next rows, changes them, records which failed, sets the checkpoint. `range` is left as it is. After an
---       error also the key of the last row, if it got so far: what request.skip calls it
---@field default_target number    # seconds
---@field about_a_row fun(err: lunadex.Error, subject): boolean   # whether a batch without some row would be done
---@field verify fun(connection, subject): number?, lunadex.Error?   # how many rows are not as they should be
---@field session (fun(connection): any?, lunadex.Error?)?   # what the server calls the one session of a connection
---@field blocker (fun(connection, session): lunadex.backfill.Blocker|false|nil, lunadex.Error?)?   # who keeps that
---       session waiting for a lock; false: nobody. Neither is there where others' locks keep no statement waiting
---@field preview fun(connection, subject, samples: integer, transform): lunadex.backfill.Preview?, lunadex.Error?
---       changes nothing; `transform` as in a request

---@class lunadex.backfill.State   # of a backfill, by its name, as it is kept in the database
---@field id any                   # the dialect's
---@field name string
---@field relation string
---@field identity string?         # of that relation
---@field definition string        # readable (backfill/definition)
---@field fingerprint string       # of it
---@field key string?              # what it was begun along, with all that its order depends on; nil: it cannot change
---@field place string?            # the same by numbers, where names may be others' by now
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
---       more. `definition` is { text, fingerprint }; ranges have number, cursor and high. What others have begun since
---       `state` was read is left alone (code "lock_held")
---@field go_on fun(control, state, subject, definition): lunadex.backfill.State?, lunadex.Error?
---       from where it was, with this relation and definition; takes the error away, counts the attempt
---@field poll fun(control, state, figures: {rate: number?, waits: string?}): {command: string?}?, lunadex.Error?
---       every second: keeps the lock (taking it again if it was lost; code "lock_held" if another has it), writes the
---       figures, and says what it was told
---@field close fun(control, state, outcome: "finished"|"failed"|"aborted", message: string?): true?, lunadex.Error?
---       writes the end, so that with it all that batches did before is as durable as the server makes anything. With
---       "finished" only if all ranges are done (code "undone"): a crash may have taken back what batches had committed
---       What it was told stays where it has failed: the next run is to know.
---@field release fun(control, state)   # gives the lock back; also while the run is stopping
---@field command fun(connection, name: string, command: "pause"|"resume"|"abort"): true?, lunadex.Error?
---       "resume" takes back what was told, and an end by "abort"; nil without an error: there was nothing to be told

---@class lunadex.backfill.Strain
---@field limits table<string, true>   # those of a throttle that it knows
---@field look fun(control, subject, memory: table): string?, lunadex.Error?
---       which of the limits of backfill.throttle (`limits`) is exceeded, for people; nil: none. `memory` is
---       the caller's, the same table for each look. What cannot be measured is an error: then, too, the backfill holds

-- Running them --------------------------------------------------------------------------------------------------------

---@class lunadex.backfill.Database # of the registry, or as much of one as there is
---@field backfills lunadex.Backfill[]   # whether they run or not
---@field entries lunadex.Entry[]

---@class lunadex.BackfillOptions
---@field jobs integer?            # batches at a time; default: what it declares, else 1
---@field restart boolean?         # from the start, even if it is finished, or another one than it was
---@field carry_on boolean?        # with another definition, from where the old one was
---@field on_event fun(event: table)?

---@class lunadex.BackfillOutcome
---@field summary table<string, integer>   # total, finished, skipped, failed, aborted, cancelled
---@field rows {seen: integer, changed: integer, failed: integer}     # by all runs since each was begun
---@field before {seen: integer, changed: integer, failed: integer}   # so many of these before this run
---@field failures {backfill: lunadex.Backfill, error: lunadex.Error}[]
---@field interrupted integer?     # the signal
---@field seconds number

-- A value without what may not be shown; a document stays one.
local function cleaned(value, secrets, done)
  if type(value) == "string" then return secrets:clean(value) end
  if type(value) ~= "table" then return value end
  if not done[value] then
    local copy = {}
    done[value] = copy
    for name, item in next, value do copy[cleaned(name, secrets, done)] = cleaned(item, secrets, done) end
    debug.setmetatable(copy, debug.getmetatable(value))
  end
  return done[value]
end

--- What running it would do, on a few rows. Nothing of it stays.
---@param backfill lunadex.Backfill
---@param connection lunadex.Connection
---@param samples integer
---@return lunadex.backfill.Subject?
---@return lunadex.backfill.Preview?
---@return lunadex.Error? err
function M.preview(backfill, connection, samples)
  local dialect, secrets = dialects.of(connection.info.driver), backfill.secrets
  local session <close>, err = Run.connect(backfill, connection, 1)
  if not session then return nil, nil, err end
  local subject
  subject, err = waiting.telling(dialect, connection, session, function(blocker)
    if blocker then connection:hear { event = "note", text = "waiting: " .. secrets:clean(blocker.reason) } end
  end, dialect.backfill.prepare, backfill)
  if not subject then return nil, nil, errors.cleaned(err, secrets) end
  local preview
  preview, err = dialect.backfill.preview(connection, subject, samples, transforms.of(backfill))
  if not preview then return nil, nil, errors.cleaned(err, secrets) end
  preview.rows = math.max(preview.rows, preview.matching or 0) -- an estimate, and a count
  local states = dialect.ledger.read(connection, backfill.name)
  local state = states and states[1]
  if state and state.state ~= "new" then
    preview.state, preview.changed = standing.word(state), state.fingerprint ~= definitions.of(backfill).fingerprint
  end
  preview.samples = cleaned(preview.samples, secrets, {})
  return subject, preview
end

--- Runs backfills of one database, one after the other, in the order that they ask for. Failures of single ones are in
--- the outcome; `nil, err` means that nothing was begun.
---@param backfills lunadex.Backfill[]
---@param database lunadex.backfill.Database
---@param connection lunadex.Connection
---@param options lunadex.BackfillOptions?
---@return lunadex.BackfillOutcome?
---@return lunadex.Error? err
function M.run(backfills, database, connection, options)
  options = options or {}
  if options.restart and options.carry_on then
    return nil, errors.new("usage", "from the start, and on from where it was: a backfill cannot do both",
      "Give --restart or --carry-on.")
  end
  local info, err = connection:connect()
  if not info then return nil, err end
  if info.read_only then return nil, errors.read_only(info) end
  local quiet = patience.new(function() end)
  local ok
  ok, err = quiet:try(dialects.of(info.driver).ledger.install, connection)
  if not ok then return nil, err end
  local began = core.now()
  local outcome = { rows = { seen = 0, changed = 0, failed = 0 }, before = { seen = 0, changed = 0, failed = 0 },
    failures = {},
    summary = { total = #backfills, finished = 0, skipped = 0, failed = 0, aborted = 0, cancelled = 0 } }
  for i, backfill in ipairs(order.sort(backfills)) do
    local word, problem = "cancelled", nil
    if not task.ending() then
      local run = Run.new(backfill, database, connection, options)
      run.number, run.total = i, #backfills
      word, problem = run:run()
      for name in pairs(outcome.rows) do
        outcome.rows[name] = outcome.rows[name] + run[name]
        outcome.before[name] = outcome.before[name] + run.before[name]
      end
    end
    outcome.summary[word] = outcome.summary[word] + 1
    if problem then outcome.failures[#outcome.failures + 1] = { backfill = backfill, error = problem } end
  end
  outcome.interrupted, outcome.seconds = task.stopping(), core.now() - began
  return outcome
end

return M
