--- What rules may ask of the server.

local json = require "lunadex.mongodb.json"

local M = {}

--- A collection has no columns.
M.types = {}

local function number(node, name)
  local value = json.field(node, name)
  return value ~= nil and json.number(value) or nil
end

local function text(node, name)
  local value = json.field(node, name)
  return type(value) == "string" and value or ""
end

--- The open transactions of the server, the oldest first.
---@param plan lunadex.Plan
---@return {pid: integer, application: string, user: string, seconds: number, state: string}[]?
---@return lunadex.Error? err
function M.transactions(plan)
  local rows, err = plan.connection:ask [[{ "aggregate": 1, "$db": "admin", "cursor": {}, "pipeline": [
    { "$currentOp": { "allUsers": true, "idleSessions": true } },
    { "$match": { "transaction.timeOpenMicros": { "$exists": true } } },
    { "$project": { "appName": 1, "active": 1, "seconds": { "$divide": ["$transaction.timeOpenMicros", 1000000] } } },
    { "$sort": { "seconds": -1 } }] }]]
  if not rows then return nil, err end
  local list = {}
  for i, row in ipairs(rows) do
    local node = json.parse(row.document)
    list[i] = { pid = 0, application = text(node, "appName"), user = "", seconds = number(node, "seconds") or 0,
      state = json.field(node, "active") == true and "active" or "idle" }
  end
  return list
end

--- The room on the disk of the server that answers; false where it does not say.
---@param plan lunadex.Plan
---@return {total: number, free: number}|false|nil
---@return lunadex.Error? err
function M.disk(plan)
  local rows, err = plan.connection:ask '{ "dbStats": 1 }'
  if not rows then return nil, err end
  local node = rows[1] and json.parse(rows[1].document)
  local total, used = node and number(node, "fsTotalSize"), node and number(node, "fsUsedSize")
  return total and used and { total = total, free = total - used } or false
end

--- Queries are looked at by lunadex.mongodb.checks.
function M.explain()
  return {}
end

return M
