--- What a backfill would do, tried on a few documents and taken back.

local core = require "lunadex.core"
local documents = require "lunadex.mongodb.backfill.documents"
local ledger = require "lunadex.mongodb.ledger"
local transforms = require "lunadex.mongodb.backfill.transform"

local M = {}

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
    local set, told = transforms.fields_to_set(each)
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
  local batch, these, err = documents.walk(tx, subject, {}, tried)
  if not batch or batch.seen == 0 then return nil, err end
  local ok
  ok, err = documents.change(tx, subject, these, batch)
  return ok and (core.now() - began) / batch.seen, err
end

---@param connection lunadex.Connection
---@param subject lunadex.mongodb.BackfillSubject
---@param samples integer
---@param run (fun(rows: table[]): lunadex.backfill.Change[])?
---@return lunadex.backfill.Preview?
---@return lunadex.Error? err
function M.of(connection, subject, samples, run)
  local preview = { rows = subject.rows, samples = {} }
  local err
  preview.matching, err = documents.count(connection, subject, subject.where, { maxTimeMS = patience })
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
