--- What rules may ask of the server.

local core = require "lunadex.core"
local filter = require "lunadex.mongodb.filter"
local json = require "lunadex.mongodb.json"
local router = require "lunadex.mongodb.router"
local served = require "lunadex.mongodb.served"

local M = {}

--- A collection has no columns.
M.types = {}

local function text(value) return type(value) == "string" and value or "" end

--- The open transactions of the server, the oldest first. They have no process of their own, and of those which do
--- nothing right now the server does not tell whose they are: `user` is "".
---@param plan lunadex.Plan
---@return {application: string, user: string, seconds: number, state: string}[]?
---@return lunadex.Error? err
function M.transactions(plan)
  local rows, err = plan.connection:ask("aggregate", 1, { ["$db"] = "admin", cursor = core.document(), pipeline = {
    { ["$currentOp"] = { allUsers = true, idleSessions = true } },
    { ["$match"] = { ["transaction.timeOpenMicros"] = { ["$exists"] = true } } },
    { ["$project"] = { appName = 1, active = 1, user = { ["$first"] = "$effectiveUsers.user" },
      seconds = { ["$divide"] = { "$transaction.timeOpenMicros", 1000000 } } } },
    { ["$sort"] = { seconds = -1 } } } })
  if not rows then return nil, err end
  local list = {}
  for i, row in ipairs(rows) do
    list[i] = { application = text(row.appName), user = text(row.user), seconds = row.seconds,
      state = row.active and "active" or "idle" }
  end
  return list
end

--- The room on the disk of the server that answers; false where it does not say.
---@param plan lunadex.Plan
---@return {total: number, free: number}|false|nil
---@return lunadex.Error? err
function M.disk(plan)
  local rows, err = plan.connection:ask "dbStats"
  if not rows then return nil, err end
  local total, used = rows[1].fsTotalSize, rows[1].fsUsedSize
  return total and used and { total = total, free = total - used } or false
end

--- For each declared query that is to have an index: whether one serves it, and which.
---@param plan lunadex.Plan
---@param scene lunadex.rules.Scene
---@return table<table, {served: boolean?, uses: string[]?, refused: string?}>
function M.explain(plan, scene)
  local found = {}
  for name, data in pairs(scene:relations()) do
    for _, query in ipairs(name == data.name and data.info and data.info.queries or {}) do
      if query.expect_index then found[query] = served.answer(plan, data.on, name, query) end
    end
  end
  return found
end

-- As a node; nil: it is not sharded.
local function shard_key_of(relation)
  local node = relation and relation.shard_key and json.parse(relation.shard_key)
  return type(node) == "table" and node.tag == "object" and #node > 0 and node or nil
end

--- The fields of the key that a collection is sharded by; nil: it is not.
---@param relation lunadex.Relation?
---@return string[]?
function M.shard_fields(relation)
  local key, fields = shard_key_of(relation), {}
  for i, pair in ipairs(key or {}) do fields[i] = pair[1] end
  return key and fields
end

--- Whether a router can tell from a query which shards to ask; nil: the collection is not sharded.
---@param relation lunadex.Relation?
---@param query table
---@return boolean?
function M.targeted(relation, query)
  local key = shard_key_of(relation)
  return key and router.is_targeted(filter.of(query.filter), key, relation.collation)
end

return M
