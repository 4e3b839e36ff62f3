--- What a plan says of sharded collections and of the queries that are declared.
--
-- * `unique-on-sharded`: on a sharded collection each shard sees only its own documents, so a unique index has to begin
--   with the whole shard key.
-- * `scattered-query`: a query that says nothing about the shard key is sent to all shards.
-- * `unserved-query`: one that is to have an index, and none could serve it.

local json = require "lunadex.mongodb.json"

local M = {}

-- Conditions by field, from a filter and what stands in its $and.
local function conditions(node, found)
  for _, pair in ipairs(node) do
    local name, value = pair[1], pair[2]
    if name == "$and" and type(value) == "table" and value.tag == "array" then
      for _, part in ipairs(value) do
        if type(part) == "table" and part.tag == "object" then conditions(part, found) end
      end
    elseif found[name] == nil then
      found[name] = value
    end
  end
  return found
end

local function has_operator(value, operators)
  if type(value) ~= "table" or value.tag ~= "object" then return false end
  for _, pair in ipairs(value) do
    if operators[pair[1]] then return true end
  end
  return false
end

local negations = { ["$ne"] = true, ["$nin"] = true, ["$not"] = true, ["$exists"] = true, ["$type"] = true }
local choices = { ["$eq"] = true, ["$in"] = true }
local places = { ["$near"] = true, ["$nearSphere"] = true, ["$geoWithin"] = true, ["$geoIntersects"] = true }

-- Whether a condition says which values there may be, one by one.
local function is_choice(value)
  local operators = type(value) == "table" and value.tag == "object" and value[1] and value[1][1]:find "^%$%l"
  return not operators or json.number(value) ~= nil or has_operator(value, choices)
end

-- Whether it narrows an index down, however the index orders its keys.
local function narrows(value)
  return is_choice(value) or not has_operator(value, negations)
end

-- Sharding ------------------------------------------------------------------------------------------------------------

local function shard_key_of(relation)
  local node = relation and relation.shard_key and json.parse(relation.shard_key)
  return type(node) == "table" and node.tag == "object" and #node > 0 and node or nil
end

-- Whether a unique index of these keys can be enforced by each shard alone.
local function is_enforced(fields, shard_key)
  if #shard_key > #fields.keys then return false end
  for i, pair in ipairs(shard_key) do
    if type(pair[2]) == "string" or fields.keys[i].column ~= pair[1] or fields.keys[i].opclass then return false end
  end
  return true
end

-- Whether the router can tell from a filter which shards to ask.
local function is_targeted(filter, shard_key)
  local first = shard_key[1]
  local value = filter[first[1]]
  if value == nil then return false end
  if first[2] == "hashed" then return is_choice(value) end
  return narrows(value)
end

local function allowed(entry, rule)
  return entry.allow and entry.allow[rule]
end

local function check_unique(plan, finding)
  local sharded, any, made = {}, false, {}
  for relation in plan.catalog:relations() do
    if relation.shard_key then sharded[relation.name], any = relation, true end
  end
  if not any then return end -- nothing here shall cost anything where there are many indexes and no shards
  for change in plan:work() do
    if change.ordinal then made[change.ordinal] = true end
  end
  for ordinal, entry in ipairs(plan.entries) do
    local relation = sharded[entry.relation]
    local shard_key = shard_key_of(relation)
    local fields = shard_key and plan.set:fields(ordinal)
    if fields and fields.unique and not is_enforced(fields, shard_key) and not allowed(entry, "unique-on-sharded") then
      finding {
          -- One that is live was there before its collection was sharded.
        level = made[ordinal] and "error" or "warning", rule = "unique-on-sharded", refused = true,
        relation = entry.relation, name = entry.name, file = entry.file, line = entry.line,
        definition = plan.set:text(ordinal),
        message = ("a unique index of a collection that is sharded by %s has to begin with that key: each shard sees "
          .. "only its own documents"):format(relation.shard_key),
        hint = "Put the shard key first, or declare it without unique.",
      }
    end
  end
end

-- Queries -------------------------------------------------------------------------------------------------------------

-- All indexes a collection will have: declared ones, and live ones that stay.
local function indexes_of(plan, relation, title)
  local list, dropped = {}, {}
  for change in plan:changes() do
    if change.action == "drop" and change.relation == title then dropped[change.live_name] = true end
  end
  for ordinal, entry in ipairs(plan.entries) do
    if entry.relation == title then list[#list + 1] = { name = entry.name, fields = plan.set:fields(ordinal) } end
  end
  for _, index in ipairs(relation and relation:indexes() or {}) do
    if index.valid and not dropped[index.name] then list[#list + 1] = { name = index.name, fields = index:fields() } end
  end
  return list
end

local function is_hidden(fields)
  for _, pair in ipairs(fields.with or {}) do
    if pair[1] == "hidden" then return true end
  end
  return false
end

-- Whether a query asks for no document that the index leaves out.
local function covers(fields, filter)
  if fields.where then
    for field, value in pairs(conditions(json.parse(fields.where), {})) do
      local asked = filter[field]
      local exists = json.text(value):find '^{"%$exists":' ~= nil
      if asked == nil or not (json.text(asked) == json.text(value) or exists and narrows(asked)) then return false end
    end
  end
  for _, pair in ipairs(fields.traits or {}) do
    if pair[1] == "sparse" then
      for _, key in ipairs(fields.keys) do
        if filter[key.column] ~= nil and narrows(filter[key.column]) then return true end
      end
      return false
    end
  end
  return true
end

-- Whether an index could serve a query: it narrows its documents down, or gives them in the order that is asked for.
local function serves(fields, filter, sort)
  if is_hidden(fields) or not covers(fields, filter) then return false end
  local first = fields.keys[1]
  local value = filter[first.column]
  if first.opclass == "text" then return filter["$text"] ~= nil end
  if first.opclass == "2dsphere" or first.opclass == "2d" then return has_operator(value, places) end
  if first.opclass == "hashed" then return value ~= nil and is_choice(value) end
  local below = first.column:match "^(.*)%$%*%*$"
  if below then -- of any one field there
    for field, condition in pairs(filter) do
      if field:sub(1, #below) == below and field:sub(1, 1) ~= "$" and narrows(condition) then return true end
    end
    return false
  end
  if value ~= nil then return narrows(value) end
  return sort[1] ~= nil and sort[1].column == first.column
end

local function check_query(plan, title, relation, query, finding)
  local filter, shard_key = conditions(json.parse(query.filter), {}), shard_key_of(relation)
  local shown = query.name and ("the query %q"):format(query.name) or "the query " .. query.filter
  local function tell(rule, message, hint)
    finding { level = "warning", rule = rule, relation = title, file = query.file, line = query.line,
      message = message, hint = hint }
  end
  if shard_key and not is_targeted(filter, shard_key) then
    tell("scattered-query", ("%s does not say which shards to ask: %s is sharded by %s"):format(shown, title,
      relation.shard_key), ("A condition on %s would."):format(shard_key[1][1]))
  end
  if not query.expect_index then return end
  local wanted, named = type(query.expect_index) == "string" and query.expect_index or nil, false
  for _, index in ipairs(indexes_of(plan, relation, title)) do
    if not wanted or index.name == wanted then
      named = true
      if serves(index.fields, filter, query.sort) then return end
    end
  end
  tell("unserved-query", not wanted and ("no index serves %s"):format(shown)
    or named and ("%s does not serve %s"):format(wanted, shown)
    or ("%s is to be served by %s, which is neither declared nor live"):format(shown, wanted))
end

--- What is to be said of a plan's collections and queries.
---@param plan lunadex.Plan
---@param relations table<string, lunadex.RegistryRelation>
---@return lunadex.Finding[]
function M.findings(plan, relations)
  local found = {}
  local function finding(each) found[#found + 1] = each end
  check_unique(plan, finding)
  local titles = {}
  for title in pairs(relations) do titles[#titles + 1] = title end
  table.sort(titles)
  for _, title in ipairs(titles) do
    local relation = plan.catalog:relation(nil, title)
    for _, query in ipairs(relations[title].queries) do check_query(plan, title, relation, query, finding) end
  end
  return found
end

return M
