--- What an index can do for a query, by the rules of the server's planner (6.0), and what a router makes of it.
--
-- For indexes that are live the server is asked instead (M.live). These rules are for those that are to be built, for
-- it has no way of planning with what is not there. A spec holds them against its plans. Which fields hold arrays is
-- not known beforehand; where they do, the server can do a little less with some negations.

local json = require "lunadex.mongodb.json"
local null = require("lunadex.registry.schema").null

local M = {}

-- Reading a filter ----------------------------------------------------------------------------------------------------

---@class lunadex.mongodb.Condition   on one field
---@field path string
---@field op string                # "$eq"; "not" of another condition
---@field value any                # node of the operand
---@field inner lunadex.mongodb.Condition?   # of "not"
---@field of_element boolean?      # of some element of an array, as $elemMatch has it
---@field of_part boolean?         # of a field of such an element; or one of several values that $all has

---@class lunadex.mongodb.Conditions: lunadex.mongodb.Condition[]   all of them hold
---@field choices lunadex.mongodb.Conditions[][]   and, of each of these lists, one

local comparisons = { ["$eq"] = true, ["$gt"] = true, ["$gte"] = true, ["$lt"] = true, ["$lte"] = true }
local negated = { ["$ne"] = "$eq", ["$nin"] = "$in" }

local function is_object(node) return type(node) == "table" and node.tag == "object" end
local function is_array(node) return type(node) == "table" and node.tag == "array" end

-- Whether a value consists of operators. Numbers, dates and the like look similar: {"$date": …}.
local values = { ["$oid"] = true, ["$date"] = true, ["$binary"] = true, ["$uuid"] = true, ["$timestamp"] = true,
  ["$regularExpression"] = true, ["$minKey"] = true, ["$maxKey"] = true, ["$symbol"] = true, ["$code"] = true,
  ["$ref"] = true, ["$id"] = true, ["$db"] = true, ["$undefined"] = true, ["$dbPointer"] = true }

local function operators(node)
  local first = is_object(node) and node[1] and node[1][1]
  return first and first:find "^%$" and not values[first] and json.number(node) == nil
end

local function is_regex(node)
  return is_object(node) and node[1] ~= nil and node[1][1] == "$regularExpression"
end

local add_filter

local function new() return { choices = {} } end

local function add(into, path, op, value) into[#into + 1] = { path = path, op = op, value = value } end

-- What an element is not says nothing of the others.
local function add_of_element(into, prefix, list)
  local part = prefix ~= ""
  for _, each in ipairs(list) do
    if each.op ~= "not" and each.op ~= "$exists" then
      into[#into + 1] = { path = prefix .. each.path, op = each.op, value = each.value, of_element = not part,
        of_part = part }
    end
  end
end

local function add_not(into, list)
  -- Of several at once, it is not said which does not hold; of an element, not whether another does.
  if #list == 1 and #list.choices == 0 and list[1].op ~= "not" and not (list[1].of_element or list[1].of_part) then
    into[#into + 1] = { path = list[1].path, op = "not", inner = list[1] }
  end
end

local add_operator

local function add_value(into, path, node)
  if not operators(node) then return add(into, path, is_regex(node) and "$regex" or "$eq", node) end
  for _, pair in ipairs(node) do add_operator(into, path, pair[1], pair[2]) end
end

function add_operator(into, path, op, value)
  if negated[op] then
    local list = new()
    add(list, path, negated[op], value)
    add_not(into, list)
  elseif op == "$not" then
    local list = new()
    add_value(list, path, value)
    add_not(into, list)
  elseif op == "$all" and is_array(value) then
    local list = new()
    for _, each in ipairs(value) do add_value(list, path, each) end
    for _, each in ipairs(list) do
      each.of_part = true
      into[#into + 1] = each
    end
  elseif op == "$elemMatch" and operators(value) then
    local list = new()
    add(into, path, op, value) -- it is there, whatever it holds
    add_value(list, path, value)
    add_of_element(into, "", list)
  elseif op == "$elemMatch" and is_object(value) then
    local list = new()
    add(into, path, op, value)
    add_filter(list, value)
    add_of_element(into, path .. ".", list)
  elseif op ~= "$options" then
    add(into, path, op, value)
  end
end

local function add_expression(into, node)
  local op, operands = node[1] and node[1][1], node[1] and node[1][2]
  if not (#node == 1 and comparisons[op] and is_array(operands) and #operands == 2) then return end
  local path, value = operands[1], operands[2]
  if type(path) ~= "string" or not path:find "^%$[^$]" or type(value) == "string" and value:find "^%$" then return end
  if is_object(value) or is_array(value) or value == null then return end
  add(into, path:sub(2), op, value)
end

function add_filter(into, node)
  for _, pair in ipairs(node) do
    local name, value = pair[1], pair[2]
    local list = is_array(value) and value or {}
    if name == "$and" then
      for _, each in ipairs(list) do add_filter(into, each) end
    elseif name == "$or" then
      local branches = {}
      for i, each in ipairs(list) do
        branches[i] = new()
        add_filter(branches[i], each)
      end
      into.choices[#into.choices + 1] = branches
    elseif name == "$nor" then
      local part = new()
      for _, each in ipairs(list) do add_filter(part, each) end
      if #list == 1 then add_not(into, part) end
    elseif name == "$expr" then
      if is_object(value) then add_expression(into, value) end
    elseif name == "$text" or not name:find "^%$" then
      if name == "$text" then add(into, "", name, value) else add_value(into, name, value) end
    end
  end
  -- One of one is that one.
  for i = #into.choices, 1, -1 do
    local branches = into.choices[i]
    if #branches == 1 then
      table.remove(into.choices, i)
      table.move(branches[1], 1, #branches[1], #into + 1, into)
      table.move(branches[1].choices, 1, #branches[1].choices, #into.choices + 1, into.choices)
    end
  end
  return into
end

--- The conditions of a filter.
---@param filter string            # JSON
---@return lunadex.mongodb.Conditions
function M.conditions(filter)
  return add_filter(new(), json.parse(filter))
end

-- What an index can do for a condition --------------------------------------------------------------------------------

local function holds_null(value)
  if value == null then return true end
  for _, each in ipairs(is_array(value) and value or {}) do
    if each == null then return true end
  end
  return false
end

-- Whether a collation has a say in how a value compares.
local function is_collated(value)
  return type(value) == "string" or is_array(value) or is_object(value) and json.number(value) == nil
    and not values[value[1] and value[1][1]]
end

local function says_yes(value)
  return value == true or (type(value) == "table" and json.number(value) or 0) ~= 0
end

local ranges = { ["$type"] = true, ["$regex"] = true, ["$mod"] = true }

-- Whether a collation that is not the query's keeps an index from a condition.
local function is_foreign(condition, same_collation)
  if same_collation then return false end
  if condition.op == "$in" then
    for _, each in ipairs(condition.value) do
      if is_collated(each) then return true end
    end
    return false
  end
  return comparisons[condition.op] and is_collated(condition.value)
end

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

-- Partial filters -----------------------------------------------------------------------------------------------------

local function class_of(value)
  if type(value) == "table" then
    if json.number(value) then return "number" end
    return value.tag == "object" and value[1] and values[value[1][1]] and value[1][1] or value.tag
  end
  return value == null and "null" or type(value)
end

-- Whether the first of two values is less, equal, or more (-1, 0, 1); nil: that cannot be told here.
local function compare(a, b)
  if class_of(a) ~= class_of(b) then return nil end
  local x, y = a, b
  if class_of(a) == "number" then x, y = json.number(a), json.number(b) end
  if x == y or json.text(a) == json.text(b) then return 0 end
  if type(x) ~= "number" and type(x) ~= "string" then return nil end
  return x < y and -1 or 1
end

-- Whether a value is among those that a comparison lets in.
local function lets_in(op, than, value)
  local order = compare(value, than)
  if not order then return false end
  if op == "$eq" then return order == 0 end
  if op == "$gt" or op == "$gte" then return order > 0 or order == 0 and op == "$gte" end
  return order < 0 or order == 0 and op == "$lte"
end

local directions = { ["$gt"] = 1, ["$gte"] = 1, ["$lt"] = -1, ["$lte"] = -1 }

-- Whether what fulfils `asked` fulfils `wanted`, too.
local function follows(asked, wanted)
  if asked.path ~= wanted.path then return false end
  local op, value = wanted.op, wanted.value
  if asked.op == op and op ~= "not" and json.text(asked.value) == json.text(value) then return true end
  if op == "$exists" then
    if asked.op == "not" then return asked.inner.op == "$eq" and asked.inner.value == null end
    if asked.op == "$exists" then return says_yes(asked.value) end
    return not (asked.op == "$in" and holds_null(asked.value)
      or (asked.op == "$eq" or asked.op == "$gte" or asked.op == "$lte") and asked.value == null)
  end
  if op == "$in" then
    for _, each in ipairs(asked.op == "$in" and asked.value or { asked.value }) do
      local found = false
      for _, other in ipairs(value) do found = found or compare(each, other) == 0 end
      if not found then return false end
    end
    return asked.op == "$in" or asked.op == "$eq"
  end
  if not comparisons[op] or asked.of_element then return false end
  if asked.op == "$in" then
    for _, each in ipairs(asked.value) do
      if is_regex(each) or not lets_in(op, value, each) then return false end
    end
    return #asked.value > 0
  end
  if asked.op == "$eq" then return lets_in(op, value, asked.value) end
  if not directions[op] or directions[asked.op] ~= directions[op] then return false end
  local order = compare(asked.value, value)
  if order == 0 then return #asked.op <= #op end -- "$gt" is more than "$gte" asks
  return order == directions[op]
end

local implies

-- Whether one of the conditions says it, or every branch of a choice does.
local function says(asked, holds)
  for _, condition in ipairs(asked) do
    if holds({ condition, choices = {} }) then return true end
  end
  for _, branches in ipairs(asked.choices) do
    local all = true
    for _, branch in ipairs(branches) do all = all and holds(branch) end
    if all then return true end
  end
  return false
end

-- Whether what fulfils all of `asked` fulfils all of `wanted`.
function implies(asked, wanted)
  for _, each in ipairs(wanted) do
    local function holds(part)
      if #part == 1 and #part.choices == 0 then return follows(part[1], each) end
      return says(part, holds)
    end
    if not says(asked, holds) then return false end
  end
  for _, branches in ipairs(wanted.choices) do
    local found = false
    for _, branch in ipairs(branches) do found = found or implies(asked, branch) end
    if not found then return false end
  end
  return true
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

local function option(list, name)
  for _, pair in ipairs(list or {}) do
    if pair[1] == name then return pair[2] end
  end
end

local SIMPLE = '{"locale": "simple"}'

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
    same_collation = (option(fields.traits, "collation") or SIMPLE) == (collation or SIMPLE),
    filter = fields.where and M.conditions(fields.where) or nil,
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
  if index.hidden or index.filter and not implies(context, index.filter) then return false end
  return narrows(index, conditions) or sorts(index, sort)
end

-- Conditions of a branch, and those around it.
local function joined(a, b)
  local result = new()
  for _, list in ipairs { a, b } do
    table.move(list, 1, #list, #result + 1, result)
    table.move(list.choices, 1, #list.choices, #result.choices + 1, result.choices)
  end
  return result
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
  local context, need = joined(conditions, around), needed(conditions)
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
  served_by(indexes, conditions, sort, new(), used)
  return used
end

-- Live indexes --------------------------------------------------------------------------------------------------------

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
function M.live(connection, collection, query)
  local rows, err = connection:ask(('{"explain":{"find":%s,"filter":%s%s},"verbosity":"queryPlanner"}'):format(
    json.quote(collection), query.filter, #query.sort > 0 and ',"sort":' .. sort_text(query.sort) or ""))
  if not rows then return nil, err end
  return read_plans(json.parse(rows[1].document), {})
end

-- Shards --------------------------------------------------------------------------------------------------------------

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

--- Whether a router can tell from a filter which shards to ask.
---@param conditions lunadex.mongodb.Conditions
---@param shard_key any            # node
---@param collation string?        # the collection's: shard keys compare without
---@return boolean
function M.is_targeted(conditions, shard_key, collation)
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
