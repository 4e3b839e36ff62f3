--- What is kept of backfills in collections of the database (docs/backfills.md): see lunadex.backfill.Ledger.
--
-- `lunadex.backfills` has a document for each, by its name, `lunadex.backfill_ranges` one for each of its ranges,
-- `lunadex.backfill_errors` one for each row that failed. The lock is a lease in the first, by the server's clock:
-- whoever finds it ended takes it. It hangs on no link, and nothing hangs on it: checkpoints move by compare and set.
-- So it has neither the fence of the run lock's lease (core/drivers/mongodb/lock.c) nor a majority's word, and is a
-- short one.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local task = require "lunadex.task"

local M = {}

local BACKFILLS, RANGES, FAILED = "lunadex.backfills", "lunadex.backfill_ranges", "lunadex.backfill_errors"

local lease = 5000       -- milliseconds; it is renewed every second
local patience = 30000   -- milliseconds that the end may wait for a majority
local most_samples = 10

--- Runs something as one transaction, where there are any.
---@param connection lunadex.Connection
---@param subject lunadex.backfill.Subject
---@param run fun(tx: lunadex.Session): any, lunadex.Error?
---@return any
---@return lunadex.Error? err
function M.together(connection, subject, run)
  if subject.repeatable then return run(connection) end
  return connection:atomically(run)
end

local function update(session, collection, filter, change)
  local rows, err = session:ask("update", collection, { updates = { { q = filter, u = change } } })
  return rows and rows[1], err
end

-- What belongs to one start of a backfill; `number` or `key` tells it from the others.
local function id_of(state, name, value)
  return core.document("backfill", state.name, "generation", state.generation, name, value)
end

-- Ranges and failed rows of a backfill, by their generation.
local function all_of(state, generation)
  return { ["_id.backfill"] = { ["$eq"] = state.name }, ["_id.generation"] = generation }
end

-- Keys ----------------------------------------------------------------------------------------------------------------

--- A key for people.
---@param value any
---@return string
function M.show(value)
  if type(value) ~= "table" then return tostring(value) end
  if value.type == "date" and math.type(value.value) then
    return os.date("!%Y-%m-%dT%H:%M:%S", value.value // 1000) .. (".%03dZ"):format(value.value % 1000)
  end
  if type(value.type) == "string" and #value == 0 then
    if value.type == "binary" then
      return (value.value:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
    end
    return tostring(value.value ~= nil and value.value or value.type)
  end
  local parts = {}
  for i, name in ipairs(value) do parts[i] = ("%s: %s"):format(name, M.show(value[name])) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

-- Batches -------------------------------------------------------------------------------------------------------------

--- Records rows as failed.
---@param tx lunadex.Session
---@param state lunadex.backfill.State
---@param failures {key: any, message: string}[]
---@return true? recorded
---@return lunadex.Error? err
function M.record(tx, state, failures)
  local updates = {}
  for i, failure in ipairs(failures) do
    updates[i] = { q = { _id = id_of(state, "key", failure.key) }, upsert = true,
      u = { { ["$set"] = { message = { ["$literal"] = format.storable(failure.message) }, at = "$$NOW" } } } }
  end
  local rows, err = tx:ask("update", FAILED, { updates = updates })
  return rows and true, err
end

--- Sets a range's checkpoint, if it is where the batch began.
---@param tx lunadex.Session
---@param state lunadex.backfill.State
---@param range lunadex.backfill.Range
---@param batch lunadex.backfill.Batch
---@return true? moved
---@return lunadex.Error? err
function M.move(tx, state, range, batch)
  local was = range.cursor == nil and { ["$exists"] = false } or { ["$eq"] = range.cursor }
  local done, err = update(tx, RANGES, { _id = id_of(state, "number", range.number), done = false, cursor = was }, {
    ["$set"] = { cursor = batch.cursor, done = batch.done },
    ["$inc"] = { seen = batch.seen, changed = batch.changed, failed = batch.failed } })
  if not done then return nil, err end
  if done.n == 1 then return true end
  return nil, errors.new("moved", "another run has moved the checkpoint")
end

--- Ends the transactions that a killed run has left on the server, or a lost link: for a minute they would keep what
--- they have changed from everybody. It is a help, and no harm is done where the server does not allow it.
---@param connection lunadex.Connection
---@param name string              # of the backfill, under which sessions of its runs are known
---@param idle number              # seconds that nothing was said to them
function M.end_leftovers(connection, name, idle)
  local application = ("lunadex backfill " .. name):sub(1, 127) -- the server takes no more
  local rows = connection:ask("aggregate", 1, { ["$db"] = "admin", cursor = core.document(), pipeline = {
    { ["$currentOp"] = { idleSessions = true } },
    { ["$match"] = { type = "idleSession", ["clientMetadata.application.name"] = { ["$eq"] = application },
      ["transaction.timeInactiveMicros"] = { ["$gte"] = idle * 1000000 } } },
    { ["$project"] = { id = "$lsid.id" } } } })
  local sessions = {}
  for i, row in ipairs(rows or {}) do sessions[i] = { id = row.id } end
  if sessions[1] then connection:ask("killSessions", sessions, { ["$db"] = "admin" }) end
end

-- Reading -------------------------------------------------------------------------------------------------------------

local function of_generation(collection, as, more)
  local pipeline = { { ["$match"] = { ["$expr"] = { ["$and"] = {
    { ["$eq"] = { "$_id.backfill", "$$name" } }, { ["$eq"] = { "$_id.generation", "$$generation" } } } } } } }
  table.move(more, 1, #more, 2, pipeline)
  return { ["$lookup"] = { from = collection, as = as, let = { name = "$_id", generation = "$generation" },
    pipeline = pipeline } }
end

local function text_of_time(field)
  return { ["$dateToString"] = { date = "$" .. field, format = "%Y-%m-%dT%H:%M:%SZ" } }
end

local function sum(field) return { ["$sum"] = "$range." .. field } end

local function pipeline(name)
  return {
    { ["$match"] = name and { _id = { ["$eq"] = name } } or core.document() },
    { ["$sort"] = { _id = 1 } },
    of_generation(RANGES, "range", {}),
    of_generation(FAILED, "samples", { { ["$sort"] = { _id = 1 } }, { ["$limit"] = most_samples } }),
    { ["$set"] = { held = { ["$gt"] = { "$lease.expires", "$$NOW" } }, started = text_of_time "started",
      ended = text_of_time "ended", seen = sum "seen", changed = sum "changed", failed = sum "failed",
      ranges_done = { ["$size"] = { ["$filter"] = { input = "$range", cond = "$$this.done" } } } } },
    { ["$unset"] = "range" },
  }
end

local function given(value)
  if value ~= core.null then return value end
end

-- `mine`: the lock is our own, and says nothing about others.
local function state_of(row, mine)
  local held, samples = row.held and not mine, {}
  for i, each in ipairs(row.samples) do samples[i] = { key = M.show(each._id.key), message = each.message } end
  local state = {
    id = row._id, name = row._id, relation = row.relation, identity = given(row.uuid) and M.show(row.uuid),
    generation = row.generation,
    definition = given(row.definition) or "", fingerprint = given(row.fingerprint) or "",
    state = row.generation == 0 and "new" or held and "running" or given(row.outcome) or "stopped",
    command = given(row.command), rows = given(row.rows) or -1, seen = row.seen, changed = row.changed,
    failed = row.failed, ranges = row.ranges or 0, ranges_done = row.ranges_done, attempts = row.attempts,
    rate = row.held and given(row.rate) or nil, waits = row.held and given(row.waits) or nil, error = given(row.error),
    started = given(row.started), ended = given(row.ended), samples = samples,
  }
  if row.held then state.who = row.lease.who end
  return state
end

local function read(connection, name, mine)
  local rows, err = connection:ask("aggregate", BACKFILLS, { pipeline = pipeline(name), cursor = core.document() })
  if not rows then return nil, err end
  local states = {}
  for i, row in ipairs(rows) do states[i] = state_of(row, mine) end
  return states
end

function M.read(connection, name) return read(connection, name) end

function M.ranges(connection, state)
  local rows, err = connection:ask("find", RANGES, { sort = { _id = 1 }, filter = all_of(state, state.generation) })
  if not rows then return nil, err end
  local ranges = {}
  for i, row in ipairs(rows) do
    ranges[i] = { number = row._id.number, cursor = row.cursor, high = row.high, done = row.done, seen = row.seen,
      changed = row.changed, failed = row.failed }
  end
  return ranges
end

-- The lock ------------------------------------------------------------------------------------------------------------

-- The entry, if it is still ours.
local function own(state) return { _id = { ["$eq"] = state.name }, ["lease.owner"] = state.owner } end

local function held(control, name)
  local states = read(control, name)
  local err = errors.new("lock_held", "another run is at it",
    ("lunadex backfill status --only %s shows how far it is. One that was killed keeps it for %d seconds."):format(name,
      lease // 1000))
  err.detail = states and states[1] and states[1].who
  return err
end

local function token()
  return ("%016x%016x"):format(math.random(0), math.random(0))
end

-- Takes the lock or keeps it, and sets what else there is; gives the document, or nil and why not.
local function hold(control, name, owner, set, options)
  local free = { ["$or"] = { { ["$lte"] = { "$lease.expires", "$$NOW" } }, { ["$eq"] = { "$lease.owner", owner } } } }
  local mine = { ["$mergeObjects"] = { "$$ROOT", set, { lease = { owner = owner, who = options.who,
    expires = { ["$add"] = { "$$NOW", lease } } } } } }
  local rows, err = control:ask("findAndModify", BACKFILLS, { query = { _id = { ["$eq"] = name } }, new = true,
    upsert = options.upsert, update = { { ["$replaceWith"] = { ["$cond"] = { free, mine, "$$ROOT" } } } } })
  if not rows then return nil, err end
  local document = rows[1].value
  if document == core.null then
    return nil, errors.new("lock_held", "its entry in lunadex.backfills was deleted")
  end
  if document.lease.owner ~= owner then return nil, held(control, name) end
  return document
end

-- Who says so: the server knows from where.
local function who_of(control)
  local rows = control:ask("whatsmyuri", 1, { ["$db"] = "admin" })
  local user = control.info and control.info.user or ""
  return (user ~= "" and user .. "@" or "") .. (rows and rows[1].you or "")
end

local function one(control, owner, name)
  local states, err = read(control, name, true)
  if not states then return nil, err end
  if not states[1] then return nil, errors.new("lock_held", "its entry in lunadex.backfills was deleted") end
  states[1].owner = owner
  return states[1]
end

function M.claim(control, subject)
  -- Where the answer to a claim was lost, it is made again, and may find its own lease.
  subject.owner = subject.owner or token()
  local name, owner = subject.backfill.name, subject.owner
  local fresh = { generation = { ["$ifNull"] = { "$generation", 0 } }, attempts = { ["$ifNull"] = { "$attempts", 0 } },
    relation = { ["$ifNull"] = { "$relation", { ["$literal"] = subject.relation } } } }
  local document, err = hold(control, name, owner, fresh, { upsert = true, who = { ["$literal"] = who_of(control) } })
  if not document then return nil, err end
  M.end_leftovers(control, name, 0)
  return one(control, owner, name)
end

function M.poll(control, state, figures)
  local document, err = hold(control, state.name, state.owner, {
    rate = figures.rate or core.null, waits = { ["$literal"] = figures.waits or core.null } },
    { who = "$lease.who" })
  if not document then return nil, err end
  if document.generation ~= state.generation then
    return nil, errors.new("lock_held", "another run has begun it anew")
  end
  return { command = given(document.command) }
end

--- What cleans up is also done when nothing new is begun.
function M.release(control, state)
  local command = core.document("update", BACKFILLS, "updates", { {
    q = own(state), u = { ["$unset"] = { lease = "" } } } })
  task.ticket(control.handle, control.handle:query(command), nil, "the end of a lock on " .. control.display):await()
end

-- Beginning and ending ------------------------------------------------------------------------------------------------

-- A transaction makes no collections.
function M.install(connection)
  for _, name in ipairs { BACKFILLS, RANGES, FAILED } do
    local rows, err = connection:ask("create", name)
    -- NamespaceExists: there it is.
    if not rows and err.native ~= "48" then return nil, err end
  end
  return true
end

local function gone() return nil, errors.new("lock_held", "another run is at it") end

-- Not even the checkpoints of before stay, so that no batch that is still under way can move one. Without transactions
-- the new ranges are there before they count.
function M.begin(control, state, subject, definition, ranges)
  local new = { name = state.name, generation = state.generation + 1 }
  local documents = {}
  for i, range in ipairs(ranges) do
    documents[i] = { _id = id_of(new, "number", range.number), cursor = range.cursor, high = range.high, done = false,
      seen = 0, changed = 0, failed = 0 }
  end
  local steps = {
    function(tx) return tx:ask("delete", RANGES, { deletes = { { q = all_of(new, new.generation), limit = 0 } } }) end,
    function(tx) return not documents[1] or tx:ask("insert", RANGES, { documents = documents }) end,
    function(tx)
      local done, err = update(tx, BACKFILLS, own(state), {
        { ["$set"] = { generation = new.generation, relation = { ["$literal"] = subject.relation },
          uuid = subject.uuid, definition = { ["$literal"] = definition.text }, fingerprint = definition.fingerprint,
          rows = subject.rows,
          ranges = #documents, attempts = 1, started = "$$NOW",
          command = { ["$cond"] = { { ["$eq"] = { "$command", state.command or core.null } }, "$$REMOVE",
            "$command" } } } },
        { ["$unset"] = { "outcome", "error", "ended", "rate", "waits" } } })
      if not done then return nil, err end
      if done.n == 0 then return gone() end
      return true
    end,
  }
  for _, collection in ipairs { RANGES, FAILED } do
    steps[#steps + 1] = function(tx)
      local old = all_of(new, { ["$ne"] = new.generation })
      return tx:ask("delete", collection, { deletes = { { q = old, limit = 0 } } })
    end
  end
  local ok, err = M.together(control, subject, function(tx)
    for _, step in ipairs(steps) do
      local done, wrong = step(tx)
      if not done then return nil, wrong end
    end
    return true
  end)
  if not ok then return nil, err end
  return one(control, state.owner, state.name)
end

function M.go_on(control, state, subject, definition)
  local done, err = update(control, BACKFILLS, own(state), {
    ["$set"] = { relation = subject.relation, uuid = subject.uuid, definition = definition.text,
      fingerprint = definition.fingerprint },
    ["$inc"] = { attempts = 1 },
    ["$unset"] = { outcome = "", error = "", ended = "", rate = "", waits = "" } })
  if not done then return nil, err end
  if done.n == 0 then return gone() end
  return one(control, state.owner, state.name)
end

-- Waits until a majority has the backfill's end, and with it all batches before it; then looks whether those are what
-- the majority has, for a primary that was put off may have taken some of them along.
local function is_kept(control, state)
  local filter = all_of(state, state.generation)
  filter.done = false
  local rows, err = control:ask("find", RANGES, { filter = filter, limit = 1, readConcern = { level = "majority" } })
  if not rows then return nil, err end
  if not rows[1] then return true end
  return nil, errors.new("undone", "there are ranges that are not done")
end

local function majority(control, state, change)
  local rows, err = control:ask("update", BACKFILLS, {
    updates = { { q = own(state), u = change } }, writeConcern = { w = "majority", wtimeout = patience } })
  if not rows then return nil, err end
  if rows[1].n == 0 then return gone() end
  return true
end

function M.close(control, state, outcome, message)
  local ended = { { ["$set"] = { outcome = outcome, ended = "$$NOW",
    error = message and { ["$literal"] = format.storable(message) } or core.null } },
    { ["$unset"] = { "rate", "waits", outcome ~= "failed" and "command" or nil } } }
  if outcome == "finished" then
    local ok, err = majority(control, state, { ["$unset"] = { rate = "" } })
    if ok then ok, err = is_kept(control, state) end
    if not ok then return nil, err end
  end
  return majority(control, state, ended)
end

local commands = {
  pause = { { ["$set"] = { command = "pause" } } },
  abort = { { ["$set"] = { command = "abort",
    outcome = { ["$cond"] = { { ["$gt"] = { "$generation", 0 } }, "aborted", "$$REMOVE" } } } } },
  resume = { { ["$set"] = {
    outcome = { ["$cond"] = { { ["$eq"] = { "$outcome", "aborted" } }, "$$REMOVE", "$outcome" } } } },
    { ["$unset"] = "command" } },
}

function M.command(connection, name, command)
  local done, err = update(connection, BACKFILLS, { _id = { ["$eq"] = name }, outcome = { ["$ne"] = "finished" } },
    commands[command])
  if not done then return nil, err end
  return done.n > 0 or nil
end

return M
