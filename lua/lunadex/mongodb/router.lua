--- What a router makes of a query.

local filter = require "lunadex.mongodb.filter"
local json = require "lunadex.mongodb.json"
local SIMPLE = require("lunadex.mongodb.query").SIMPLE

local M = {}

local is_foreign, is_object, says_yes = filter.is_foreign, filter.is_object, filter.says_yes

local says_where = { ["$eq"] = true, ["$gt"] = true, ["$gte"] = true, ["$lt"] = true, ["$lte"] = true, ["$in"] = true,
  ["$type"] = true }

-- Whether it says where in the order of a shard key a document stands.
local function places_it(condition, hashed, collation)
  local op, value = condition.op, condition.value
  if op == "$exists" then return not says_yes(value) end
  if is_foreign(condition, (collation or SIMPLE) == SIMPLE) then return false end
  if hashed then return op == "$eq" or op == "$in" end
  if op == "$regex" then
    local pattern = type(value) == "string" and value or is_object(value[1] and value[1][2])
      and json.field(value[1][2], "pattern")
    return type(pattern) == "string" and pattern:find "^%^" ~= nil
  end
  return says_where[op] or false
end

-- With words to be looked for, only a whole shard key tells it where.
local function asks_for(conditions, path, op)
  for _, condition in ipairs(conditions) do
    if condition.path == path and condition.op == op then return true end
  end
  return false
end

--- Whether a router can tell from a filter which shards to ask.
---@param conditions lunadex.mongodb.Conditions
---@param shard_key any            # node
---@param collation string?        # the collection's: shard keys compare without
---@return boolean
function M.is_targeted(conditions, shard_key, collation)
  if asks_for(conditions, "", "$text") then
    for _, pair in ipairs(shard_key) do
      if not asks_for(conditions, pair[1], "$eq") then return false end
    end
  end
  local field, kind = shard_key[1][1], shard_key[1][2]
  for _, condition in ipairs(conditions) do
    if condition.path == field and places_it(condition, kind == "hashed", collation) then return true end
  end
  for _, branches in ipairs(conditions.choices) do
    local all = true
    for _, branch in ipairs(branches) do all = all and M.is_targeted(branch, shard_key, collation) end
    if all then return true end
  end
  return false
end

return M

