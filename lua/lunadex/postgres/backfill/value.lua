--- Values that a `transform` gives: whether they are new, and as the text that the server reads for their column.

local core = require "lunadex.core"
local dkjson = require "dkjson"
local schema = require "lunadex.registry.schema"

local M = {}

-- A table may hold itself, or another one many times over.
local dimensions, json_levels = 6, 100
local most = 1000 * 1000 -- values within one

--- Whether two values are the same to the server.
---@param a any
---@param b any
---@return boolean
function M.same(a, b)
  if a == core.null then a = nil end
  if b == core.null then b = nil end
  if type(a) ~= "table" or type(b) ~= "table" then
    if a ~= a then return b ~= b end
    return a == b and (a ~= 0 or 1 / a == 1 / b)
  end
  for i in next, a do
    if not M.same(a[i], b[i]) then return false end
  end
  return #a == #b
end

--- A value that is independent of this one.
---@param value any
---@return any
function M.copy(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for i, item in ipairs(value) do copy[i] = M.copy(item) end
  return copy
end

-- How many items a list has; false for a table with names, nil for one that is neither. An empty one may be both.
local function length(value)
  local items, names = 0, 0
  for name in next, value do
    if type(name) == "string" then
      names = names + 1
    elseif math.type(name) == "integer" and name >= 1 and name <= #value then
      items = items + 1
    else
      return nil
    end
  end
  if names == 0 and items == #value then return items end
  if items == 0 then return false end
end

-- What writes a value: it gives a text, or nil and what was wrong.
---@class lunadex.postgres.ValueWriter
---@field holds string             # type of the column, or of its elements, without domains
---@field left integer             # values that there may be yet
local Writer = {}
Writer.__index = Writer

function Writer:scalar(value)
  local kind = type(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  if kind == "number" then return core.number_text(value) end
  if kind == "boolean" then return tostring(value) end
  if kind ~= "string" then return nil, schema.show(value) end
  if self.holds == "bytea" then
    return "\\x" .. value:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  end
  if value:find("\0", 1, true) then return nil, "a text with a zero byte" end
  return value
end

-- The texts of a list's items, each written by a method of the writer.
function Writer:items(list, count, method, ...)
  local texts = {}
  self.left = self.left - count
  if self.left < 0 then return nil, "a table that holds itself, or too much" end
  for i = 1, count do
    local text, wrong = method(self, list[i], ...)
    if not text then return nil, wrong end
    texts[i] = text
  end
  return texts
end

function Writer:json(value, level)
  local kind = type(value)
  if value == core.null then return "null" end
  if kind == "string" then return dkjson.quotestring(value) end
  if kind == "number" and value - value ~= 0 then return nil, "a number that JSON does not have" end
  if kind ~= "table" then return self:scalar(value) end
  if level == json_levels then return nil, "a table that holds itself, or is nested too deeply" end
  local count = length(value)
  if count == nil then return nil, "a table that is neither a list nor has names only" end
  if count and count > 0 then
    local texts, wrong = self:items(value, count, self.json, level + 1)
    return texts and "[" .. table.concat(texts, ",") .. "]", wrong
  end
  local names = {}
  for name in next, value do names[#names + 1] = name end
  table.sort(names)
  local texts, wrong = self:items(names, #names, function(_, name)
    local text, problem = self:json(value[name], level + 1)
    return text and dkjson.quotestring(name) .. ":" .. text, problem
  end)
  return texts and "{" .. table.concat(texts, ",") .. "}", wrong
end

function Writer:item(value, level)
  if value == core.null then return "NULL" end
  if type(value) == "table" and not self.is_json then return self:array(value, level + 1) end
  local text, wrong = self:one(value)
  return text and '"' .. text:gsub('[\\"]', "\\%0") .. '"', wrong
end

function Writer:array(list, level)
  local count = length(list)
  if count == false then return nil, "a table with names" end
  if count == nil then return nil, "a table that is no list" end
  if level > dimensions then return nil, "a table that holds itself, or is nested too deeply" end
  local texts, wrong = self:items(list, count, self.item, level)
  return texts and "{" .. table.concat(texts, ",") .. "}", wrong
end

-- A value that is no array's. A text for JSON is JSON: so it was given.
function Writer:one(value)
  if type(value) == "table" and self.is_json then return self:json(value, 0) end
  return self:scalar(value)
end

--- A value as the text that the server reads for a column, null for null; or nil and what it is instead.
---@param value any
---@param column lunadex.postgres.BackfillColumn
---@return any text
---@return string? wrong           # "a function"
function M.text(value, column)
  if value == core.null then return value end
  local writer = setmetatable({ holds = column.holds, left = most,
    is_json = column.holds == "json" or column.holds == "jsonb" }, Writer)
  if column.list and type(value) == "table" then return writer:array(value, 1) end
  return writer:one(value)
end

return M
