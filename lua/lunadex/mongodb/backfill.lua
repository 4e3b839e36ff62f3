--- Backfills on MongoDB: ranges of a collection's _id, one batch. See lunadex.backfill.Dialect.
--
-- A batch is a transaction of four round trips: walk, change, checkpoint, commit. It is faster than an updateMany of
-- all, which writes an entry in the oplog for each document. An _id may be of any type, and only expressions compare
-- values of different types, in the order of the index. Where somebody changes a document of the batch in the middle of
-- it, the server refuses one of the two: the batch is tried again.
--
-- Without transactions (on a standalone server, of a capped collection) the checkpoint moves after the change, so that
-- what is killed in between is done again. Then only such updates are taken as may be.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local documents = require "lunadex.mongodb.backfill.documents"
local key = require "lunadex.mongodb.backfill.key"
local ledger = require "lunadex.mongodb.ledger"
local preview = require "lunadex.mongodb.backfill.preview"
local subjects = require "lunadex.mongodb.backfill.subject"
local transforms = require "lunadex.mongodb.backfill.transform"

local M = {}

-- What a batch has changed is refused to others until its end, and they try again with growing pauses. So batches are
-- short, which costs little.
M.default_target = 0.05 -- seconds

M.prepare, M.preview = subjects.read, preview.of

-- Ranges --------------------------------------------------------------------------------------------------------------

local sampled = 50 -- documents for each range

-- Boundaries in the order of the index, all below the last; a sample may hold a document twice, or one that came later.
local function sample(connection, subject, count, last)
  local rows, err = connection:ask("aggregate", subject.collection, { cursor = core.document(), pipeline = {
    { ["$sample"] = { size = count * sampled } }, { ["$project"] = { _id = 1 } },
    { ["$match"] = { ["$expr"] = { ["$lt"] = { "$_id", key.literal(last) } } } }, { ["$group"] = { _id = "$_id" } },
    { ["$sort"] = key.by_id } } })
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
    { sort = { _id = -1 }, limit = 1, projection = key.by_id })
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

local another_collection = "361" -- CollectionUUIDMismatch
local left = 2 -- seconds without a word after which a transaction of ours is nobody's any more

function M.batch(connection, subject, state, range, request)
  local reached
  local done, failure = ledger.together(connection, subject, function(tx)
    local batch, these, err = documents.walk(tx, subject, range, request.size)
    if not batch then return nil, err end
    reached = batch.cursor
    local failures, ok = {}, true
    if batch.seen > 0 and request.skip and request.skip.key == ledger.show(reached) then
      failures[1] = { key = reached, message = request.skip.message }
    elseif batch.seen > 0 and request.transform then
      ok, err = transforms.run(tx, subject, these, batch, request.transform, failures)
    elseif batch.seen > 0 then
      ok, err = documents.change(tx, subject, these, batch)
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
  return documents.count(connection, subject, subject.wrong, {})
end

return M
