--- A filter of documents as conditions on fields, and which of them follow from others.

local json = require "lunadex.mongodb.json"
local null = require("lunadex.registry.schema").null

local M = {}

-- Values --------------------------------------------------------------------------------------------------------------

function M.is_object(node) return type(node) == "table" and node.tag == "object" end
function M.is_array(node) return type(node) == "table" and node.tag == "array" end
local is_object, is_array = M.is_object, M.is_array

-- What looks like an object and is a value: {"$date": …}. Numbers are told apart by json.number.
local values = { ["$oid"] = true, ["$date"] = true, ["$binary"] = true, ["$uuid"] = true, ["$timestamp"] = true,
  ["$regularExpression"] = true, ["$minKey"] = true, ["$maxKey"] = true, ["$symbol"] = true, ["$code"] = true,
  ["$ref"] = true, ["$id"] = true, ["$db"] = true, ["$undefined"] = true, ["$dbPointer"] = true }

function M.is_regex(node)
  return is_object(node) and node[1] ~= nil and node[1][1] == "$regularExpression"
end
local is_regex = M.is_regex

--- Whether it is null, or a list that has one.
function M.holds_null(value)
  if value == null then return true end
  for _, each in ipairs(is_array(value) and value or {}) do
    if each == null then return true end
  end
  return false
end

--- Whether a collation has a say in how a value compares.
function M.is_collated(value)
  return type(value) == "string" or is_array(value) or is_object(value) and json.number(value) == nil
    and not values[value[1] and value[1][1]]
end

--- Whether it is true as the server has it.
function M.says_yes(value)
  return value == true or (type(value) == "table" and json.number(value) or 0) ~= 0
end

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

--- Operators that compare with a value.
M.comparisons = { ["$eq"] = true, ["$gt"] = true, ["$gte"] = true, ["$lt"] = true, ["$lte"] = true }
local negated = { ["$ne"] = "$eq", ["$nin"] = "$in" }

-- Whether a value consists of operators.
local function operators(node)
  local first = is_object(node) and node[1] and node[1][1]
  return first and first:find "^%$" and not values[first] and json.number(node) == nil
end

local add_filter

--- None: all documents.
---@return lunadex.mongodb.Conditions
function M.none() return { choices = {} } end
local new = M.none

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
  if not (#node == 1 and M.comparisons[op] and is_array(operands) and #operands == 2) then return end
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
function M.of(filter)
  return add_filter(new(), json.parse(filter))
end

--- Conditions of a branch, and those around it.
---@param a lunadex.mongodb.Conditions
---@param b lunadex.mongodb.Conditions
---@return lunadex.mongodb.Conditions
function M.joined(a, b)
  local result = new()
  for _, list in ipairs { a, b } do
    table.move(list, 1, #list, #result + 1, result)
    table.move(list.choices, 1, #list.choices, #result.choices + 1, result.choices)
  end
  return result
end

--- Whether a collation that is not the query's keeps an index from a condition.
---@param condition lunadex.mongodb.Condition
---@param same_collation boolean
function M.is_foreign(condition, same_collation)
  if same_collation then return false end
  if condition.op == "$in" then
    for _, each in ipairs(condition.value) do
      if M.is_collated(each) then return true end
    end
    return false
  end
  return M.comparisons[condition.op] and M.is_collated(condition.value)
end

-- What follows from what ----------------------------------------------------------------------------------------------

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
    if asked.op == "$exists" then return M.says_yes(asked.value) end
    return not (asked.op == "$in" and M.holds_null(asked.value)
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
  if not M.comparisons[op] or asked.of_element then return false end
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

--- Whether what fulfils all of `asked` fulfils all of `wanted`.
---@param asked lunadex.mongodb.Conditions
---@param wanted lunadex.mongodb.Conditions
---@return boolean
function M.implies(asked, wanted)
  for _, each in ipairs(wanted) do
    local function holds(part)
      if #part == 1 and #part.choices == 0 then return follows(part[1], each) end
      return says(part, holds)
    end
    if not says(asked, holds) then return false end
  end
  for _, branches in ipairs(wanted.choices) do
    local found = false
    for _, branch in ipairs(branches) do found = found or M.implies(asked, branch) end
    if not found then return false end
  end
  return true
end

return M
