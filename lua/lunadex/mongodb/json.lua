--- Values of documents: Lua values and extended JSON as one tree, and the tree as text.
--
-- A node is a string, a boolean, `null` (lunadex.registry.schema), { tag = "number", text }, { tag = "array", … } or
-- { tag = "object", { name, node }, … }. Numbers stay as they are written, for 5 and 5.0 are of different types there;
-- and so do objects in the order of their fields, which counts in some places.

local null = require("lunadex.registry.schema").null
local sandbox = require "lunadex.sandbox"

local M = {}

local DEEPEST = 100 -- levels: as the server has it

-- Lua values ----------------------------------------------------------------------------------------------------------

--- Operands of these are lists, so an empty table there is an empty list.
M.takes_list = {
  ["$in"] = true, ["$nin"] = true, ["$all"] = true, ["$and"] = true, ["$or"] = true, ["$nor"] = true,
}

--- A number as text from which the same number is read, of the same type.
---@param number number
---@return string
function M.number_text(number)
  if math.type(number) == "integer" then return ("%d"):format(number) end
  for digits = 15, 17 do
    local text = ("%." .. digits .. "g"):format(number)
    if tonumber(text) == number then return text:find "[.en]" and text or text .. ".0" end
  end
end

local function number_node(number)
  if number ~= number or number == math.huge or number == -math.huge then
    local text = number ~= number and "NaN" or number > 0 and "Infinity" or "-Infinity"
    return { tag = "object", { "$numberDouble", text } }
  end
  return { tag = "number", M.number_text(number) }
end

-- Whether a table is a list: the keys 1 … n and no other. nil: it is neither that nor an object.
local function is_list(value, name)
  local count = #value
  local found, names = 0, false
  for key in next, value do
    if math.type(key) == "integer" and key >= 1 and key <= count then
      found = found + 1
    elseif type(key) == "string" then
      names = true
    else
      return nil
    end
  end
  if found == 0 then return not names and M.takes_list[name] or false end
  if names or found ~= count then return nil end
  return true
end

local function from_lua(value, name, depth)
  local kind = type(value)
  if value == null or value == sandbox.HOLE then return null end
  if kind == "boolean" then return value end
  if kind == "number" then return number_node(value) end
  if kind == "string" then
    if value:find("\0", 1, true) then return nil, "holds a zero byte" end
    if not utf8.len(value) then return nil, "holds a text that is not valid UTF-8" end
    return value
  end
  if kind ~= "table" then return nil, "holds a " .. kind end
  if depth > DEEPEST then return nil, "is nested too deeply" end
  local list = is_list(value, name)
  if list == nil then return nil, "holds a table that is neither a list nor has names only" end
  if list then
    local result = { tag = "array" }
    for i, item in ipairs(value) do
      local node, wrong = from_lua(item, nil, depth + 1)
      if node == nil then return nil, wrong end
      result[i] = node
    end
    return result
  end
  local names, result = {}, { tag = "object" }
  for key in next, value do names[#names + 1] = key end
  table.sort(names)
  for i, key in ipairs(names) do
    if key:find("\0", 1, true) or not utf8.len(key) then return nil, "holds a field that is no text" end
    local node, wrong = from_lua(value[key], key, depth + 1)
    if node == nil then return nil, wrong end
    result[i] = { key, node }
  end
  return result
end

--- A Lua value as a node. Integers are ints (or longs, where they are too large), other numbers doubles. A table with
--- the keys 1 … n is a list, one with names an object with its fields in order of name; an empty one is an object, but
--- a list where an operator wants one.
---@param value any
---@return any? node
---@return string? wrong
function M.of(value)
  return from_lua(value, nil, 1)
end

-- Reading text --------------------------------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

function Reader:fail(expected)
  local at = self.at
  local found = self.text:match("^[%w_$'%-+.]+", at) or self.text:sub(at, at)
  error({ wrong = at > #self.text and ("breaks off, where %s should follow"):format(expected)
    or ("has %s at byte %d, where %s should stand"):format(found, at, expected) }, 0)
end

function Reader:skip()
  self.at = self.text:find("[^ \t\r\n]", self.at) or #self.text + 1
end

function Reader:take(character)
  self:skip()
  if self.text:sub(self.at, self.at) ~= character then return false end
  self.at = self.at + 1
  return true
end

local unescaped = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ["\\"] = "\\", ["/"] = "/", ['"'] = '"' }

function Reader:escape()
  local c = self.text:sub(self.at, self.at)
  if c ~= "u" then
    if not unescaped[c] then self:fail "an escape such as \\n" end
    self.at = self.at + 1
    return unescaped[c]
  end
  local code = tonumber(self.text:match("^u(%x%x%x%x)", self.at) or self:fail "four hexadecimal digits", 16)
  self.at = self.at + 5
  if code >= 0xD800 and code < 0xDC00 then
    local low = tonumber(self.text:match("^\\u([dD][c-fC-F]%x%x)", self.at) or self:fail "the other half of a pair", 16)
    self.at = self.at + 6
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
  end
  return utf8.char(code)
end

function Reader:string()
  if not self:take '"' then self:fail "a text in double quotes" end
  local parts = {}
  while true do
    local stop = self.text:find('[%z\1-\31"\\]', self.at)
    if not stop then
      self.at = #self.text + 1
      self:fail 'a closing "'
    end
    parts[#parts + 1] = self.text:sub(self.at, stop - 1)
    local c = self.text:sub(stop, stop)
    self.at = stop + 1
    if c == '"' then return table.concat(parts) end
    if c ~= "\\" then
      self.at = stop
      self:fail 'a closing "'
    end
    parts[#parts + 1] = self:escape()
  end
end

function Reader:object(depth)
  local result = { tag = "object" }
  if self:take "}" then return result end
  repeat
    self:skip()
    local name = self:string()
    if name:find("\0", 1, true) then self:fail "a name without zero bytes before it" end
    if not self:take ":" then self:fail '":"' end
    result[#result + 1] = { name, self:value(depth + 1) }
  until not self:take ","
  if not self:take "}" then self:fail '"," or "}"' end
  return result
end

function Reader:array(depth)
  local result = { tag = "array" }
  if self:take "]" then return result end
  repeat result[#result + 1] = self:value(depth + 1) until not self:take ","
  if not self:take "]" then self:fail '"," or "]"' end
  return result
end

local literals = { ["true"] = true, ["false"] = false, null = null }

function Reader:value(depth)
  if depth > DEEPEST then error({ wrong = "is nested too deeply" }, 0) end
  if self:take "{" then return self:object(depth) end
  if self:take "[" then return self:array(depth) end
  local c = self.text:sub(self.at, self.at)
  if c == '"' then return self:string() end
  local word = self.text:match("^%l+", self.at)
  if word and literals[word] ~= nil then
    self.at = self.at + #word
    return literals[word]
  end
  local number = self.text:match("^%-?%d+%.?%d*[eE]?[+-]?%d*", self.at)
  if not number or not tonumber(number) then self:fail "a value" end
  self.at = self.at + #number
  return { tag = "number", number }
end

--- Reads a text of extended JSON. What is no UTF-8 in it stays as it is: a server may have such texts.
---@param text string
---@return any? node
---@return string? wrong
function M.parse(text)
  local reader = setmetatable({ text = text, at = 1 }, Reader)
  local ok, node = pcall(function()
    local value = reader:value(1)
    reader:skip()
    if reader.at <= #text then reader:fail "the end" end
    return value
  end)
  if ok then return node end
  if type(node) ~= "table" then error(node, 0) end
  return nil, node.wrong
end

--- What somebody declared, as a Lua value or as a text of extended JSON.
---@param value any
---@return any? node
---@return string? wrong
function M.declared(value)
  if type(value) ~= "string" then return M.of(value) end
  if not utf8.len(value) then return nil, "is not valid UTF-8" end
  return M.parse(value)
end

-- Writing text --------------------------------------------------------------------------------------------------------

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

--- A text as JSON.
---@param text string
---@return string
function M.quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return escapes[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function write(node, out)
  if type(node) == "string" then
    out[#out + 1] = M.quote(node)
  elseif type(node) == "boolean" or node == null then
    out[#out + 1] = tostring(node)
  elseif node.tag == "number" then
    out[#out + 1] = node[1]
  else
    local object = node.tag == "object"
    out[#out + 1] = object and "{" or "["
    for i, item in ipairs(node) do
      if i > 1 then out[#out + 1] = "," end
      if object then
        out[#out + 1] = M.quote(item[1])
        out[#out + 1] = ":"
        item = item[2]
      end
      write(item, out)
    end
    out[#out + 1] = object and "}" or "]"
  end
end

--- A node as text, on one line and without spaces.
---@param node any
---@return string
function M.text(node)
  local out = {}
  write(node, out)
  return table.concat(out)
end

-- Looking -------------------------------------------------------------------------------------------------------------

--- The number that a node is, also as {"$numberLong": "5"} and its like; nil if it is none.
---@param node any
---@return number?
function M.number(node)
  if type(node) ~= "table" then return nil end
  if node.tag == "number" then return math.tointeger(tonumber(node[1])) or tonumber(node[1]) end
  local only = node.tag == "object" and #node == 1 and node[1]
  if not only or not only[1]:find "^%$number" or type(only[2]) ~= "string" then return nil end
  return math.tointeger(tonumber(only[2])) or tonumber(only[2])
end

--- "Infinity" or "-Infinity", if a node is one of them.
---@param node any
---@return string?
function M.infinite(node)
  local only = type(node) == "table" and node.tag == "object" and #node == 1 and node[1]
  if not only or only[1] ~= "$numberDouble" then return nil end
  return (only[2] == "Infinity" or only[2] == "-Infinity") and only[2] or nil
end

--- The field of an object; nil if it has none.
---@param node any
---@param name string
---@return any?
function M.field(node, name)
  for _, pair in ipairs(node) do
    if pair[1] == name then return pair[2] end
  end
end

return M
