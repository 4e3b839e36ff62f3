--- Backfills on MongoDB: ranges of a collection's _id, one batch. See lunadex.backfill.Dialect.
--
-- A batch is a transaction of four round trips: walk, change, checkpoint, commit. It is faster than an updateMany of
-- all, which writes an entry in the oplog for each document. An _id may be of any type, and only expressions compare
-- values of different types, in the order of the index. Where somebody changes a document of the batch in the middle of
-- it, the server refuses one of the two: the batch is tried again.
--
-- Without transactions (on a standalone server, of a capped collection) the checkpoint moves after the change, so that
-- what is killed in between is done again. Then only such updates are taken as may be.

local bson = require "lunadex.bson"
local core = require "lunadex.core"
local errors = require "lunadex.errors"
local json = require "lunadex.mongodb.json"
local ledger = require "lunadex.mongodb.ledger"
local suggest = require "lunadex.suggest"

local M = {}

-- What a batch has changed is refused to others until its end, and they try again with growing pauses. So batches are
-- small, which costs little.
M.default_batch = 5000
M.default_target = 0.05 -- seconds

local by_id = core.document("_id", 1)

---@class lunadex.mongodb.BackfillSubject: lunadex.backfill.Subject
---@field collection string
---@field uuid lunadex.Value       # of the collection: one that is renamed or dropped must not look as if at its end
---@field projection lunadex.Value  # what a transform is given
---@field where lunadex.Value      # a filter
---@field update lunadex.Value?
---@field wrong lunadex.Value?     # what `verify` must not find
---@field clustered boolean        # it has no index on _id, but its documents are in the order of that
---@field owner string?            # by which the lease knows this run (mongodb/ledger)

-- Keys ----------------------------------------------------------------------------------------------------------------

local function literal(value) return { ["$literal"] = value } end

local brackets = { string = "string", number = "number", long = "number", object_id = "object_id", date = "date",
  binary = "binary" }

-- The bracket of types that the server compares a value with where it is asked by `$gt` and not by an expression; nil:
-- better not asked so. `clustered`: documents have one, too.
local function bracket(value, clustered)
  if value ~= value then return nil end -- NaN: less than all numbers to an index, but `$gt` finds none above it
  local kind = type(value)
  if kind == "table" and #value == 0 then kind = value.type end -- a document has its fields' names as a list
  return clustered and kind == "table" and "document" or brackets[kind]
end

local function one_bracket(first, second, clustered)
  local kind = bracket(first, clustered)
  return kind ~= nil and kind == bracket(second, clustered)
end

-- The documents after `cursor`, up to `high`, as a filter. Between two of a bracket there is nothing else, and plain
-- operators take a fifth less of the server's time than expressions.
local function between(cursor, high, clustered)
  if one_bracket(cursor, high, clustered) then return { _id = { ["$gt"] = cursor, ["$lte"] = high } } end
  local parts = {}
  if cursor ~= nil then parts[1] = { ["$gt"] = { "$_id", literal(cursor) } } end
  if high ~= nil then parts[#parts + 1] = { ["$lte"] = { "$_id", literal(high) } } end
  return { ["$expr"] = { ["$and"] = parts } }
end

-- How documents are walked: by the bounds of the index alone, a fifth of the time that expressions take.
local function bounds(subject, cursor, high)
  local fields = { hint = by_id, sort = by_id, projection = by_id, collectionUUID = subject.uuid }
  if cursor ~= nil then
    fields.min, fields.filter = core.document("_id", cursor), { _id = { ["$ne"] = cursor } }
  end
  if high ~= nil then fields.max = core.document("_id", high) end -- which is not part of it
  return fields
end

-- Judging -------------------------------------------------------------------------------------------------------------

-- Operators of updates that leave a document as it is when they are done again.
local repeatable = { ["$set"] = true, ["$unset"] = true, ["$min"] = true, ["$max"] = true, ["$addToSet"] = true,
  ["$pull"] = true, ["$pullAll"] = true, ["$setOnInsert"] = true }

local function is_repeatable(backfill)
  if backfill.repeatable ~= nil then return backfill.repeatable end
  if not backfill.set then return false end
  local node = json.parse(backfill.set)
  if node.tag == "array" then return false end
  for _, pair in ipairs(node) do
    if not repeatable[pair[1]] then return false end
  end
  return true
end

local function refused(message, hint) return nil, errors.new("refused", message, hint) end

local function find_collection(connection, subject)
  local name = subject.collection
  local rows, err = connection:ask("listCollections", 1, { filter = { name = name }, authorizedCollections = true })
  if not rows then return nil, err end
  local found = rows[1]
  if not found then
    return nil, errors.new("undefined", ("there is no collection %s"):format(name),
      suggest.relation(connection:catalog(), name))
  end
  if found.type == "view" then return refused(name .. " is a view", "Name the collection that it is of.") end
  if found.type == "timeseries" then
    return refused(name .. " is a time series collection, whose documents the server does not change one by one")
  end
  subject.uuid, subject.clustered = found.info.uuid, found.options.clusteredIndex ~= nil
  return found.options
end

-- Without transactions what was killed is done again.
local function look_at_promise(connection, subject, options)
  local rows, err = connection:ask "hello"
  if not rows then return nil, err end
  local alone = not rows[1].setName and rows[1].msg ~= "isdbgrid"
  subject.repeatable = alone or options.capped == true
  if not subject.repeatable or is_repeatable(subject.backfill) then return true end
  local why = alone and "the server is no member of a replica set, and so has no transactions"
    or "no transaction may write to a capped collection"
  return refused(why .. ": a batch that is killed would be done twice",
    (alone and "Make it a replica set, if only of one member (--replSet, rs.initiate()), or else w" or "W")
      .. "rite it so that doing it twice changes nothing more, and say repeatable = true.")
end

local before_old = bson.timestamp(0xffffffff, 0xffffffff) -- those types come after it

-- Keys of these do not come back from here as they are: the first batch that ended on one would never end.
local function refuse_keys(connection, subject)
  local rows, err = connection:ask("find", subject.collection, { limit = 1, hint = by_id, projection = by_id,
    min = core.document("_id", before_old), filter = { _id = { ["$type"] = { "dbPointer", "javascriptWithScope" } } } })
  if not rows then return nil, err end
  if not rows[1] then return true end
  return refused(subject.collection .. " has an _id of a type of long ago, a DBPointer or code with scope, "
    .. "which cannot be gone along")
end

local renames = { ["$rename"] = true }
local assigning = { ["$set"] = true, ["$addFields"] = true }

local function is_of_key(name)
  return name == "_id" or type(name) == "string" and name:find "^_id%." ~= nil
end

-- Whether operators assign to the key, or stages of a pipeline.
local function assigns_key(operators, wanted)
  for _, operator in ipairs(operators) do
    local name, fields = operator[1], operator[2]
    if (not wanted or wanted[name]) and type(fields) == "table" then
      for _, field in ipairs(fields) do
        if is_of_key(field[1]) or renames[name] and is_of_key(field[2]) then return true end
      end
    end
  end
  return false
end

local function refuse_key_change(backfill)
  if not backfill.set then return true end
  local node, changes = json.parse(backfill.set), false
  if node.tag == "array" then
    for _, stage in ipairs(node) do changes = changes or assigns_key(stage, assigning) end
  else
    changes = assigns_key(node)
  end
  if not changes then return true end
  return refused("it changes _id, which is the key that it goes along", "The server lets nobody do that.")
end

-- What the server says of what batches will say: it plans it, and does nothing.
local function judge(connection, subject)
  local name, backfill, err = subject.collection, subject.backfill, nil
  local function explain(text, command)
    local rows
    rows, err = connection:ask("explain", command, { verbosity = "queryPlanner" })
    if rows then return true end
    err = errors.placed(err, text, backfill)
    -- What the server has no class for it says of what is declared.
    if err.code == "server" then err.code = "invalid_definition" end
    return false
  end
  local _ = explain("where", core.document("find", name, "filter", subject.where, "hint", by_id))
    and explain("columns", core.document("find", name, "projection", subject.projection))
    and (not subject.update or explain("set", core.document("update", name, "updates",
      { { q = subject.where, u = subject.update, multi = true, hint = by_id } })))
    and (not subject.wrong or explain("verify", core.document("find", name, "filter", subject.wrong)))
  return not err or nil, err
end

local function projection_of(backfill)
  local fields = {}
  for i, name in ipairs(backfill.columns or {}) do fields[2 * i - 1], fields[2 * i] = name, 1 end
  return core.document(table.unpack(fields))
end

function M.prepare(connection, backfill)
  local where = bson.json(backfill.where or "{}")
  local verify = backfill.verify
  local subject = { backfill = backfill, relation = backfill.on, collection = backfill.on, key = { "_id" },
    where = where, update = backfill.set and bson.json(backfill.set), projection = projection_of(backfill),
    wrong = verify == true and where or verify and bson.json(verify) or nil }
  local options, err = find_collection(connection, subject)
  if not options then return nil, err end
  local ok
  for _, step in ipairs { look_at_promise, refuse_keys, judge } do
    ok, err = step(connection, subject, options)
    if not ok then return nil, err end
  end
  ok, err = refuse_key_change(backfill)
  if not ok then return nil, err end
  local rows
  rows, err = connection:ask("count", subject.collection)
  if not rows then return nil, err end
  subject.rows = rows[1].n
  return subject
end

-- Ranges --------------------------------------------------------------------------------------------------------------

local sampled = 50 -- documents for each range

-- Boundaries in the order of the index, all below the last; a sample may hold a document twice, or one that came later.
local function sample(connection, subject, count, last)
  local rows, err = connection:ask("aggregate", subject.collection, { cursor = core.document(), pipeline = {
    { ["$sample"] = { size = count * sampled } }, { ["$project"] = { _id = 1 } },
    { ["$match"] = { ["$expr"] = { ["$lt"] = { "$_id", literal(last) } } } }, { ["$group"] = { _id = "$_id" } },
    { ["$sort"] = by_id } } })
  if not rows then return nil, err end
  local highs = {}
  for i = 1, count - 1 do
    local at = #rows * i // count
    if at > 0 and at > #rows * (i - 1) // count then highs[#highs + 1] = rows[at]._id end
  end
  return highs
end

function M.cut(connection, subject, count)
  local last, err = connection:ask("find", subject.collection,
    { sort = { _id = -1 }, limit = 1, projection = by_id })
  if not last then return nil, err end
  if not last[1] then return {} end
  local highs = {}
  if count > 1 then
    highs, err = sample(connection, subject, count, last[1]._id)
    if not highs then return nil, err end
  end
  highs[#highs + 1] = last[1]._id
  return highs
end

-- A batch -------------------------------------------------------------------------------------------------------------

-- The key of the last of so many documents, if it is not the range's last.
local function look_ahead(tx, subject, range, size)
  local fields = bounds(subject, range.cursor, range.high)
  fields.skip, fields.limit = size - 1, 1
  return tx:ask("find", subject.collection, fields)
end

-- The next documents of a clustered collection, which would read the whole of itself for an expression: those whose
-- keys are of one bracket with the first of them. The highest key, which bounds leave out, is left for last.
local function walk_bracket(tx, subject, range, size)
  local fields = bounds(subject, range.cursor, range.high)
  fields.limit, fields.batchSize = size, size + 1
  local rows, err = tx:ask("find", subject.collection, fields)
  if not rows then return nil, nil, err end
  local batch = { changed = 0, failed = 0, done = rows[1] == nil, cursor = range.high }
  if batch.done then return batch, { _id = { ["$eq"] = range.high } } end
  local first, count = rows[1]._id, 1
  while rows[count + 1] and one_bracket(first, rows[count + 1]._id, true) do count = count + 1 end
  batch.seen, batch.cursor = count, rows[count]._id
  return batch, { _id = count == 1 and { ["$eq"] = first } or { ["$gte"] = first, ["$lte"] = batch.cursor } }
end

local function count(session, subject, filter, fields)
  fields.cursor, fields.pipeline = core.document(), { { ["$match"] = filter }, { ["$count"] = "n" } }
  local rows, err = session:ask("aggregate", subject.collection, fields)
  if not rows then return nil, err end
  return rows[1] and rows[1].n or 0
end

-- Where the batch ends, and a filter that finds its documents.
local function walk(tx, subject, range, size)
  local rows, err = look_ahead(tx, subject, range, size)
  if not rows then return nil, nil, err end
  local batch = { seen = size, changed = 0, failed = 0, done = rows[1] == nil, cursor = range.high }
  if rows[1] then batch.cursor = rows[1]._id end -- which may be false
  local these
  if subject.clustered and not one_bracket(range.cursor, batch.cursor, true) then
    batch, these, err = walk_bracket(tx, subject, range, size)
    if not batch then return nil, nil, err end
  else
    these = between(range.cursor, batch.cursor, subject.clustered)
  end
  if not batch.done then return batch, these end
  -- The rest is no more than that, and what comes in meanwhile belongs to it.
  batch.seen, err = count(tx, subject, these, { hint = by_id, collectionUUID = subject.uuid })
  if not batch.seen then return nil, nil, err end
  return batch, these
end

local function selected(subject, these)
  return { ["$and"] = { these, subject.where } }
end

local function change(tx, subject, these, batch)
  local rows, err = tx:ask("update", subject.collection, { updates = {
    { q = selected(subject, these), u = subject.update, multi = true, hint = by_id } } })
  if not rows then return nil, err end
  batch.changed = rows[1].nModified
  return true
end

local function find(tx, subject, these, batch)
  local rows, err = tx:ask("find", subject.collection, { filter = selected(subject, these),
    sort = by_id, hint = by_id, projection = subject.projection, batchSize = batch.seen + 1 })
  -- Nothing is wrong with it but that it is more than one result may be.
  if not rows and err.code == "usage" then err.code, err.retryable = "too_large", true end
  return rows, err
end

-- Whether there is nothing of the server's in it.
local function is_of_registry(value)
  if type(value) ~= "table" then return true end
  if getmetatable(value) ~= nil then return false end
  for _, item in next, value do
    if not is_of_registry(item) then return false end
  end
  return true
end

-- A value as it is sent: those of the server as they are, tables as in a registry, with extended JSON; or nil and what
-- is wrong with it.
local function to_send(value)
  local kind = type(value)
  if kind == "table" and getmetatable(value) == nil then
    if is_of_registry(value) then
      local node, wrong = json.of(value)
      return node and bson.json(json.text(node)), wrong
    end
    local copy = {}
    for key, item in pairs(value) do
      local wrong
      copy[key], wrong = to_send(item)
      if wrong then return nil, wrong end
    end
    return copy
  end
  if kind == "string" and not utf8.len(value) then return nil, "holds a text that is not valid UTF-8" end
  if kind == "function" or kind == "userdata" and value ~= core.null then return nil, "holds a " .. kind end
  return value
end

local deepest = 90 -- levels: with what is around it, the core sends a hundred
local largest = 16 * 1024 * 1024 -- bytes of a document

-- About how many bytes a value takes; nil: it has too many levels, or is too large.
local function size_of(value, level)
  if type(value) == "string" then return #value end
  if type(value) ~= "table" then return 8 end
  if level > deepest then return nil end
  local sum = 8
  for name, item in next, value do
    local size = size_of(item, level + 1)
    sum = sum + (type(name) == "string" and #name or 2) + (size or largest)
    if sum > largest then return nil end
  end
  return sum
end

-- What comes of a document that was transformed: fields to set, and about how many bytes they take; or nil and why it
-- fails.
local function fields_to_set(transformed)
  if transformed.failed then return nil, transformed.failed end
  local changes, set = transformed.changes or {}, {}
  local size = size_of(changes, 0)
  if not size then return nil, "transform gave a table that holds itself, or more than a document may" end
  for name, value in pairs(changes) do
    if name == "_id" then return nil, "transform gave _id, which nothing can change" end
    if name == "" or name:find "^%$" then
      return nil, ("transform gave %q, which is no name of a field"):format(name)
    end
    local wrong
    set[name], wrong = to_send(value)
    if wrong then return nil, ("transform gave %s, which %s"):format(name, wrong) end
  end
  return set, size
end

-- Of one command: of whoever sends more than 48 MB the server closes the link.
local most_updates, most_bytes = 1000, largest

-- Updates for the documents that were transformed, by commands; what failed goes to `failures`.
local function updates_of(ids, transformed, failures)
  local commands, room = {}, 0
  for i, id in ipairs(ids) do
    local set, told = fields_to_set(transformed[i])
    if not set then
      failures[#failures + 1] = { key = id, message = told }
    elseif next(set) then
      local updates = commands[#commands]
      if room <= 0 or #updates == most_updates then
        updates, room = {}, most_bytes
        commands[#commands + 1] = updates
      end
      updates[#updates + 1], room = { q = { _id = { ["$eq"] = id } }, u = { ["$set"] = set } }, room - told
    end
  end
  return commands
end

local function transform(tx, subject, these, batch, request, failures)
  local rows, err = find(tx, subject, these, batch)
  if not rows then return nil, err end
  local ids = {} -- the rows are the transform's to do with what it likes
  for i, row in ipairs(rows) do ids[i] = row._id end
  for _, updates in ipairs(updates_of(ids, request.transform(rows), failures)) do
    rows, err = tx:ask("update", subject.collection, { updates = updates })
    if not rows then return nil, err end
    batch.changed = batch.changed + rows[1].nModified
  end
  return true
end

local another_collection = "361" -- CollectionUUIDMismatch
local left = 2 -- seconds without a word after which a transaction of ours is nobody's any more

function M.batch(connection, subject, state, range, request)
  local reached
  local done, failure = ledger.together(connection, subject, function(tx)
    local batch, these, err = walk(tx, subject, range, request.size)
    if not batch then return nil, err end
    reached = batch.cursor
    local failures, ok = {}, true
    if batch.seen > 0 and request.skip and request.skip.key == ledger.show(reached) then
      failures[1] = { key = reached, message = request.skip.message }
    elseif batch.seen > 0 and request.transform then
      ok, err = transform(tx, subject, these, batch, request, failures)
    elseif batch.seen > 0 then
      ok, err = change(tx, subject, these, batch)
    end
    if ok and failures[1] then
      ok, err = request.admit(#failures, ledger.show(failures[1].key), failures[1].message)
      if ok then ok, err = ledger.record(tx, state, failures) end
    end
    if not ok then return nil, err end
    batch.failed = #failures
    ok, err = ledger.move(tx, state, range, batch)
    return ok and batch or nil, err
  end)
  if not done and failure.native == another_collection then
    failure = errors.new("undefined", subject.collection .. " was dropped or renamed meanwhile")
  end
  if not done and failure.code == "serialization" then ledger.end_leftovers(connection, state.name, left) end
  return done, failure, not done and reached ~= nil and ledger.show(reached) or nil
end

-- What a field of a document is the reason of, or an index or validator that does not take what it would become.
local of_rows = { server = true, duplicate_key = true, invalid_definition = true }
local of_others = { ["11601"] = true, ["237"] = true, ["20"] = true, ["263"] = true, ["388"] = true }

function M.about_a_row(err)
  return of_rows[err.code] == true and err.native ~= nil and err.native ~= "" and not of_others[err.native]
end

function M.verify(connection, subject)
  return count(connection, subject, subject.wrong, {})
end

-- Preview -------------------------------------------------------------------------------------------------------------

local patience = 10000 -- milliseconds, for counting and for looking for samples
local tried = 1000     -- documents

local function fields_of(row)
  local copy = {}
  for name, value in pairs(row) do copy[name] = value end
  return copy
end

local function change_samples(tx, subject, rows, samples)
  local ids = {}
  for i, row in ipairs(rows) do ids[i] = row._id end
  local these = { _id = { ["$in"] = ids } }
  local done, err = tx:ask("update", subject.collection, { updates = {
    { q = { ["$and"] = { these, subject.where } }, u = subject.update, multi = true } } })
  if not done then return nil, err end
  for i, row in ipairs(rows) do
    local after
    after, err = tx:ask("find", subject.collection, { filter = { _id = { ["$eq"] = row._id } }, limit = 1 })
    if not after then return nil, err end
    samples[i].after = after[1] and fields_of(after[1])
  end
  return true
end

local function transform_samples(rows, samples, run)
  for i, each in ipairs(run(rows)) do
    local set, told = fields_to_set(each)
    samples[i].failed = not set and told or nil
    if set then
      samples[i].after = fields_of(samples[i].before)
      for name in pairs(set) do samples[i].after[name] = each.changes[name] end
    end
  end
end

-- Seconds that the first documents take.
local function try_some(tx, subject)
  local began = core.now()
  local batch, these, err = walk(tx, subject, {}, tried)
  if not batch or batch.seen == 0 then return nil, err end
  local ok
  ok, err = change(tx, subject, these, batch)
  return ok and (core.now() - began) / batch.seen, err
end

function M.preview(connection, subject, samples, run)
  local preview = { rows = subject.rows, samples = {} }
  local err
  preview.matching, err = count(connection, subject, subject.where, { maxTimeMS = patience })
  if not preview.matching and err.code ~= "lock_timeout" then return nil, err end
  local rows
  rows, err = connection:ask("find", subject.collection,
    { filter = subject.where, limit = samples, maxTimeMS = patience })
  if not rows then return err.code == "lock_timeout" and preview or nil, err end
  for i, row in ipairs(rows) do preview.samples[i] = { key = ledger.show(row._id), before = fields_of(row) } end
  if run then
    transform_samples(rows, preview.samples, run)
  elseif rows[1] and not subject.repeatable then
    local ok
    ok, err = connection:rehearse(function(tx) return change_samples(tx, subject, rows, preview.samples) end)
    if not ok then return nil, err end
    local seconds = connection:rehearse(function(tx) return try_some(tx, subject) end)
    preview.seconds = seconds and seconds * subject.rows
  end
  return preview
end

return M
