--- The server's own plans for a query.

local filter = require "lunadex.mongodb.filter"
local json = require "lunadex.mongodb.json"

local M = {}

local is_array, is_object = filter.is_array, filter.is_object

-- Names of the indexes that a plan uses, into `names`; whether some part of it reads all documents.
local function read_stage(node, names)
  local stage, scans = json.field(node, "stage"), false
  if stage == "COLLSCAN" then scans = true end
  if stage == "IDHACK" or stage == "CLUSTERED_IXSCAN" then names[#names + 1] = "_id_" end
  local name = json.field(node, "indexName")
  if name then names[#names + 1] = name end
  for _, pair in ipairs(node) do
    if is_object(pair[2]) then
      scans = read_stage(pair[2], names) or scans
    elseif is_array(pair[2]) then
      for _, each in ipairs(pair[2]) do
        if is_object(each) then scans = read_stage(each, names) or scans end
      end
    end
  end
  return scans
end

-- Every plan in an answer, one a shard.
local function read_plans(node, plans)
  for _, pair in ipairs(node) do
    local name, value = pair[1], pair[2]
    local list = name == "winningPlan" and is_object(value) and not json.field(value, "shards") and { value }
      or name == "rejectedPlans" and is_array(value) and value
    for _, plan in ipairs(list or {}) do
      local names = {}
      if not read_stage(plan, names) then plans[#plans + 1] = names end
    end
    if not list and is_object(value) then read_plans(value, plans) end
    if not list and is_array(value) then
      for _, each in ipairs(value) do
        if is_object(each) then read_plans(each, plans) end
      end
    end
  end
  return plans
end

local function sort_text(sort)
  local parts = {}
  for i, key in ipairs(sort) do
    parts[i] = json.quote(key.column) .. ":" .. (key.descending and "-1" or "1")
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- The plans that the server has for a query which read no more than indexes give: each is a list of their names.
---@param connection lunadex.Connection
---@param collection string
---@param query {filter: string, sort: lunadex.Key[]}
---@return string[][]? plans
---@return lunadex.Error? err
function M.plans(connection, collection, query)
  local rows, err = connection:ask(('{"explain":{"find":%s,"filter":%s%s},"verbosity":"queryPlanner"}'):format(
    json.quote(collection), query.filter, #query.sort > 0 and ',"sort":' .. sort_text(query.sort) or ""))
  if not rows then return nil, err end
  return read_plans(json.parse(rows[1].document), {})
end

return M
