--- The documents of a batch: where it ends, and what is done with them.

local core = require "lunadex.core"
local key = require "lunadex.mongodb.backfill.key"

local M = {}

-- The key of the last of so many documents, if it is not the range's last.
local function look_ahead(tx, subject, range, size)
  local fields = key.bounds(subject, range.cursor, range.high)
  fields.skip, fields.limit = size - 1, 1
  return tx:ask("find", subject.collection, fields)
end

-- The next documents of a clustered collection, which would read the whole of itself for an expression: those whose
-- keys are of one bracket with the first of them. The highest key, which bounds leave out, is left for last.
local function walk_bracket(tx, subject, range, size)
  local fields = key.bounds(subject, range.cursor, range.high)
  fields.limit, fields.batchSize = size, size + 1
  local rows, err = tx:ask("find", subject.collection, fields)
  if not rows then return nil, nil, err end
  local batch = { changed = 0, failed = 0, done = rows[1] == nil, cursor = range.high }
  if batch.done then return batch, { _id = { ["$eq"] = range.high } } end
  local first, count = rows[1]._id, 1
  while rows[count + 1] and key.one_bracket(first, rows[count + 1]._id, true) do count = count + 1 end
  batch.seen, batch.cursor = count, rows[count]._id
  return batch, { _id = count == 1 and { ["$eq"] = first } or { ["$gte"] = first, ["$lte"] = batch.cursor } }
end

--- Counts the documents that a filter finds.
---@param session lunadex.Session
---@param subject lunadex.mongodb.BackfillSubject
---@param filter lunadex.Value|table
---@param fields table             # of the command, besides
---@return integer?
---@return lunadex.Error? err
function M.count(session, subject, filter, fields)
  fields.cursor, fields.pipeline = core.document(), { { ["$match"] = filter }, { ["$count"] = "n" } }
  local rows, err = session:ask("aggregate", subject.collection, fields)
  if not rows then return nil, err end
  return rows[1] and rows[1].n or 0
end

--- Where the batch ends, and a filter that finds its documents.
---@param tx lunadex.Session
---@param subject lunadex.mongodb.BackfillSubject
---@param range lunadex.backfill.Range
---@param size integer
---@return lunadex.backfill.Batch?
---@return table? these
---@return lunadex.Error? err
function M.walk(tx, subject, range, size)
  local rows, err = look_ahead(tx, subject, range, size)
  if not rows then return nil, nil, err end
  local batch = { seen = size, changed = 0, failed = 0, done = rows[1] == nil, cursor = range.high }
  if rows[1] then batch.cursor = rows[1]._id end -- which may be false
  local these
  if subject.clustered and not key.one_bracket(range.cursor, batch.cursor, true) then
    batch, these, err = walk_bracket(tx, subject, range, size)
    if not batch then return nil, nil, err end
  else
    these = key.between(range.cursor, batch.cursor, subject.clustered)
  end
  if not batch.done then return batch, these end
  -- The rest is no more than that, and what comes in meanwhile belongs to it.
  batch.seen, err = M.count(tx, subject, these, { hint = key.by_id, collectionUUID = subject.uuid })
  if not batch.seen then return nil, nil, err end
  return batch, these
end

local function selected(subject, these)
  return { ["$and"] = { these, subject.where } }
end

--- Does what `set` says to those that `where` finds.
---@param tx lunadex.Session
---@param subject lunadex.mongodb.BackfillSubject
---@param these table
---@param batch lunadex.backfill.Batch
---@return true?
---@return lunadex.Error? err
function M.change(tx, subject, these, batch)
  local rows, err = tx:ask("update", subject.collection, { updates = {
    { q = selected(subject, these), u = subject.update, multi = true, hint = key.by_id } } })
  if not rows then return nil, err end
  batch.changed = rows[1].nModified
  return true
end

--- Reads what a transform is given.
---@param tx lunadex.Session
---@param subject lunadex.mongodb.BackfillSubject
---@param these table
---@param batch lunadex.backfill.Batch
---@return lunadex.Document[]?
---@return lunadex.Error? err
function M.find(tx, subject, these, batch)
  local rows, err = tx:ask("find", subject.collection, { filter = selected(subject, these),
    sort = key.by_id, hint = key.by_id, projection = subject.projection, batchSize = batch.seen + 1 })
  -- Nothing is wrong with it but that it is more than one result may be.
  if not rows and err.code == "usage" then err.code, err.retryable = "too_large", true end
  return rows, err
end

return M
