--- What an index can do for a query, by the rules of the server's planner (6.0).
--
-- For indexes that are live the server is asked instead (explain.lua). These rules are for those that are to be built,
-- for it has no way of planning with what is not there. A spec holds them against its plans. Which fields hold arrays
-- is not known beforehand; where they do, the server can do a little less with some negations.

local filter = require "lunadex.mongodb.filter"
local option = require("lunadex.mongodb.fields").option
local json = require "lunadex.mongodb.json"
local null = require("lunadex.registry.schema").null

local M = {}

local comparisons, holds_null, says_yes = filter.comparisons, filter.holds_null, filter.says_yes
local is_array, is_object, is_regex = filter.is_array, filter.is_object, filter.is_regex
local is_collated, is_foreign = filter.is_collated, filter.is_foreign

-- What an index can do for a condition --------------------------------------------------------------------------------

local ranges = { ["$type"] = true, ["$regex"] = true, ["$mod"] = true }

local function plain_can(condition, sparse, same_collation)
  local op, value = condition.op, condition.value
  if op == "not" then
    local inner = condition.inner
    if inner.op == "$exists" then return not sparse and says_yes(inner.value) end
    if is_foreign(inner, same_collation) then return false end
    if inner.op == "$eq" and inner.value == null then return true end
    if inner.op == "$in" and not sparse and json.text(inner.value):find '^%[null,%[%]%]$' then return true end
    if sparse or is_array(inner.value) and inner.op ~= "$in" then return false end
    for _, each in ipairs(inner.op == "$in" and inner.value or {}) do
      if is_array(each) or is_regex(each) then return false end
    end
    return comparisons[inner.op] or inner.op == "$in"
  end
  if is_foreign(condition, same_collation) then return false end
  if op == "$exists" then return not sparse or says_yes(value) end
  if sparse and (op == "$eq" and value == null or op == "$in" and holds_null(value)) then return false end
  return comparisons[op] or op == "$in" or ranges[op] or false
end

local function hashed_can(condition, sparse, same_collation)
  local op, value = condition.op, condition.value
  if op == "not" then
    return condition.inner.op == "$exists" and says_yes(condition.inner.value) and not sparse
  end
  if op ~= "$eq" and op ~= "$in" and op ~= "$exists" or condition.of_element then return false end
  return plain_can(condition, sparse, same_collation) and not (op == "$in" and is_regex(value[1]))
end

local function wildcard_can(condition, same_collation)
  local op, value = condition.op, condition.value
  if op == "not" then
    local inner = condition.inner
    local only_null = inner.op == "$in" and #inner.value > 0
    for _, each in ipairs(only_null and inner.value or {}) do only_null = only_null and each == null end
    return only_null or inner.op == "$eq" and inner.value == null
  end
  if op == "$exists" then return says_yes(value) end
  -- Documents and arrays are in it by their parts, and themselves only where they have none.
  local function odd(each)
    if is_array(each) then return #each > 0 or op ~= "$eq" and op ~= "$in" end
    if not is_object(each) or not is_collated(each) or is_regex(each) then return false end
    return #each > 0 or op ~= "$eq" and op ~= "$in" and op ~= "$lte"
  end
  if op == "$in" then
    for _, each in ipairs(value) do
      if odd(each) or each == null then return false end
    end
  elseif comparisons[op] and (odd(value) or op == "$eq" and value == null and not condition.of_element) then
    return false
  end
  return plain_can(condition, false, same_collation)
end

local places = { ["2d"] = { ["$near"] = true, ["$nearSphere"] = true, ["$geoWithin"] = true, ["$within"] = true },
  ["2dsphere"] = { ["$near"] = true, ["$nearSphere"] = true, ["$geoWithin"] = true, ["$geoIntersects"] = true } }

-- $near of a mere pair of numbers is for a plane.
local function place_can(kind, condition)
  return places[kind][condition.op] and not (kind == "2dsphere" and condition.op == "$near"
    and not (is_object(condition.value) and json.field(condition.value, "$geometry")))
end

local function can(index, key, condition)
  if key.opclass == "hashed" then return hashed_can(condition, index.sparse, index.same_collation) end
  if places[key.opclass] then return place_can(key.opclass, condition) end
  if key.opclass == "text" then return condition.op == "$text" end
  return plain_can(condition, index.sparse, index.same_collation)
end

-- Indexes -----------------------------------------------------------------------------------------------------------

---@class lunadex.mongodb.QueryIndex
---@field name string?
---@field keys lunadex.Key[]
---@field hidden boolean
---@field sparse boolean
---@field same_collation boolean   # as the query has
---@field filter lunadex.mongodb.Conditions?
---@field projection any?          # node: of a wildcard index

--- The collation of what says none.
M.SIMPLE = '{"locale": "simple"}'

--- An index as queries see it.
---@param name string?
---@param fields lunadex.Fields
---@param collation string?        # the collection's, which queries have that name none
---@return lunadex.mongodb.QueryIndex
function M.index(name, fields, collation)
  local projection = option(fields.traits, "wildcardProjection")
  return {
    name = name, keys = fields.keys, hidden = option(fields.with, "hidden") == "true",
    sparse = option(fields.traits, "sparse") == "true",
    same_collation = (option(fields.traits, "collation") or M.SIMPLE) == (collation or M.SIMPLE),
    filter = fields.where and filter.of(fields.where) or nil,
    projection = projection and json.parse(projection) or nil,
  }
end

local function is_below(path, field)
  return path == field or path:sub(1, #field + 1) == field .. "."
end

-- Whether a wildcard index of these paths holds a field.
local function wildcard_holds(index, field)
  local below = index.keys[1].column:match "^(.*)%.%$%*%*$"
  if below then return field:sub(1, #below + 1) == below .. "." end
  local includes, fallback = nil, not is_below(field, "_id")
  for _, pair in ipairs(index.projection or {}) do
    local yes = says_yes(pair[2])
    if is_below(field, pair[1]) then return yes end
    if pair[1] ~= "_id" then includes = yes end
  end
  if includes then return false end
  return fallback
end

local function has_condition(index, key, conditions)
  for _, condition in ipairs(conditions) do
    local field = key.opclass == "text" and "" or key.column
    if condition.path == field and can(index, key, condition) then return true end
  end
  return false
end

-- Whether the conditions let a special key be reached, the one at that place: before words all have to be equal to
-- something, before places the first has to be asked for. An index of places lacks documents, so no negation will do.
local function leads_to(index, place, conditions)
  local text = index.keys[place].opclass == "text"
  for k = 1, text and place - 1 or math.min(1, place - 1) do
    local found = false
    for _, condition in ipairs(conditions) do
      local fits = condition.path == index.keys[k].column
      if fits and text then
        found = found or condition.op == "$eq"
      elseif fits and condition.op ~= "not" and not (condition.op == "$exists" and not says_yes(condition.value)) then
        found = found or can(index, index.keys[k], condition)
      end
    end
    if not found then return false end
  end
  return true
end

-- Whether it narrows the documents down.
local function narrows(index, conditions)
  local keys = index.keys
  if keys[1].column:find "%$%*%*$" and keys[1].opclass ~= "text" then
    for _, condition in ipairs(conditions) do
      if wildcard_holds(index, condition.path) and wildcard_can(condition, index.same_collation) then return true end
    end
    return false
  end
  for i, key in ipairs(keys) do
    if key.opclass == "text" or places[key.opclass] then
      return has_condition(index, key, conditions) and leads_to(index, i, conditions)
    end
  end
  return has_condition(index, keys[1], conditions)
end

-- Whether it gives the documents in that order, read forwards or backwards.
local function sorts(index, sort)
  if #sort == 0 or #sort > #index.keys or index.sparse or not index.same_collation then return false end
  local turned
  for i, key in ipairs(sort) do
    local own = index.keys[i]
    if own.opclass or key.opclass or own.column ~= key.column or own.column:find "%$%*%*$" then return false end
    local differs = (own.descending or false) ~= (key.descending or false)
    if turned == nil then turned = differs end
    if turned ~= differs then return false end
  end
  for _, key in ipairs(index.keys) do
    if key.opclass and key.opclass ~= "hashed" then return false end
  end
  return true
end

local function serves(index, conditions, sort, context)
  if index.hidden or index.filter and not filter.implies(context, index.filter) then return false end
  return narrows(index, conditions) or sorts(index, sort)
end

-- The server cannot plan these without an index of theirs, nor two of them.
local needs = { ["$text"] = true, ["$near"] = true, ["$nearSphere"] = true }

local function needed(conditions)
  local list = {}
  for _, condition in ipairs(conditions) do
    if needs[condition.op] then list[#list + 1] = condition end
  end
  return list
end

local function is_of(index, list)
  for _, key in ipairs(index.keys) do
    if has_condition(index, key, list) then return true end
  end
  return false
end

local function served_by(indexes, conditions, sort, around, used)
  local context, need = filter.joined(conditions, around), needed(conditions)
  if #need > 1 then return false end
  for _, index in ipairs(indexes) do
    if (#need == 0 or is_of(index, need)) and serves(index, conditions, sort, context) then used[index] = true end
  end
  if #need > 0 then return next(used) ~= nil end
  local any = next(used) ~= nil
  for _, branches in ipairs(conditions.choices) do
    local of_branches, all = {}, true
    for _, branch in ipairs(branches) do
      local own = {}
      if not served_by(indexes, branch, {}, context, own) then all = false end
      for index in pairs(own) do of_branches[index] = true end
    end
    if all then
      any = true
      for index in pairs(of_branches) do used[index] = true end
    end
  end
  return any
end

--- Which of these indexes the server could use for a query; empty: none.
---@param indexes lunadex.mongodb.QueryIndex[]
---@param conditions lunadex.mongodb.Conditions
---@param sort lunadex.Key[]
---@return table<lunadex.mongodb.QueryIndex, true>
function M.used(indexes, conditions, sort)
  local used = {}
  served_by(indexes, conditions, sort, filter.none(), used)
  return used
end

return M
