--- Names that nobody gave: PostgreSQL's own convention, so that a registry without names and a server without lunadex
--- come to the same ones.

local core = require "lunadex.core"

local M = {}

M.limit = 63 -- bytes: NAMEDATALEN - 1

-- What proves that the columns of a primary key hold no null until it is there; left behind, it would refuse them.
M.null_check = "lunadex_not_null" -- LDX_PG_NOT_NULL_CHECK

-- Why two indexes of different relations cannot have the same name.
M.shared = "Names of indexes and keys are shared by all tables of a schema."

--- A relation's name as a registry writes it: its name and, if it says one, its schema; or nil and what is wrong.
---@param title string
---@return string? name
---@return string? schema_or_wrong
---@return string? expected
---@return string? hint
function M.relation(title)
  local schema, name = core.split_name(title)
  local wrong
  if title:find("\0", 1, true) then
    wrong = "holds a zero byte"
  elseif not utf8.len(title) then
    wrong = "is not valid UTF-8"
  elseif not name or name == "" or schema == "" then
    wrong = "is not the name of a relation"
  elseif #name > M.limit or #(schema or "") > M.limit then
    wrong = ("is longer than %d bytes"):format(M.limit)
  end
  if not wrong then return name, schema end
  return nil, wrong, '"table" or "schema.table"', 'a part that holds a dot is quoted: \'public."odd.name"\''
end

--- How an index is called with its schema.
---@param relation lunadex.Relation
---@param name string
---@return string
function M.display(relation, name)
  return core.quote_name(relation.schema, name)
end

--- Where a name has to be its own: a foreign key's among the constraints of its relation, any other's among the indexes
--- and relations of the schema.
---@param fields lunadex.Fields
---@param schema string?           # of its relation
---@param name string
---@return string key
function M.place(fields, schema, name)
  if fields.kind == "foreign_key" then return table.concat({ "f", schema or "", fields.relation, name }, "\0") end
  return (schema or "") .. "\0" .. name
end

-- Cuts to at most `bytes` bytes without splitting a character.
local function clip(text, bytes)
  if #text <= bytes then return text end
  while bytes > 0 and text:byte(bytes + 1) & 0xC0 == 0x80 do bytes = bytes - 1 end
  return text:sub(1, bytes)
end

--- As the server would truncate it.
---@param name string
---@return string
function M.truncate(name)
  return clip(name, M.limit)
end

--- `first_second_label`, the longer of the two shortened until the whole fits (makeObjectName).
---@param first string
---@param second string?
---@param label string
---@return string
function M.compose(first, second, label)
  local overhead = #label + 1 + (second and 1 or 0)
  local room = M.limit - overhead
  local a, b = #first, second and #second or 0
  while a + b > room do
    if a > b then a = a - 1 else b = b - 1 end
  end
  local name = clip(first, a)
  if second then name = name .. "_" .. clip(second, b) end
  return name .. "_" .. label
end

-- What the server calls an expression in a name: the function's name, a cast's operand or type, else "expr".
local function expression_word(expression)
  local text = expression:gsub("^[%s(]+", "")
  local lower = text:lower()
  if lower:match("^case%f[%W]") then return "case" end
  local word = text:match('^([%a_\128-\255][%w_$\128-\255]*)%s*%(')
    or text:match('^[%a_\128-\255"][%w_$\128-\255"]*%.([%a_\128-\255][%w_$\128-\255]*)%s*%(')
  if word then
    -- A call only if its closing parenthesis ends the expression (a cast may follow).
    local rest = text:match("%b()(.*)$") or ""
    if rest:match("^[%s)]*$") or rest:match("^%s*::") then return word:lower() end
    return "expr"
  end
  local column = text:match('^([%a_\128-\255][%w_$\128-\255]*)%s*%)*%s*::') or text:match('^"([^"]+)"%s*%)*%s*::')
  return column or "expr"
end

--- The words of the keys and included columns, joined (ChooseIndexColumnNames, ChooseIndexNameAddition).
---@param fields lunadex.Fields
---@return string
function M.columns(fields)
  local words, seen = {}, {}
  local function add(word)
    local unique, n = word, 0
    while seen[unique] do
      n = n + 1
      unique = clip(word, M.limit - #tostring(n)) .. n
    end
    seen[unique] = true
    words[#words + 1] = unique
  end
  for _, key in ipairs(fields.keys) do add(key.column or expression_word(key.expression)) end
  for _, column in ipairs(fields.include or {}) do add(column) end
  return M.truncate(table.concat(words, "_"))
end

local labels = {
  index = "idx", unique_constraint = "key", primary_key = "pkey", exclusion_constraint = "excl", foreign_key = "fkey",
}

--- The name the server would choose. `taken(name)` says whether something has that name already.
---@param fields lunadex.Fields
---@param relation string          # name without schema
---@param taken fun(name: string): boolean?
---@return string
function M.choose(fields, relation, taken)
  local label = labels[fields.kind]
  local columns
  if fields.kind ~= "primary_key" then columns = M.columns(fields) end
  local name, pass = M.compose(relation, columns, label), 0
  while taken(name) do
    pass = pass + 1
    name = M.compose(relation, columns, label .. pass)
  end
  return name
end

-- Six characters that tell apart what begins alike (FNV-1a).
local function hash(text)
  local sum = 0x811C9DC5
  for i = 1, #text do sum = ((sum ~ text:byte(i)) * 0x01000193) & 0xFFFFFFFF end
  return ("%06x"):format((sum ~ sum >> 24) & 0xFFFFFF)
end

--- `<name>_ldx_new`: what a replacement is called until it takes its place; `_ldx_old` what it replaces afterwards;
--- `_ldx_moved` what is to have the name and had to leave its own before. A name that is too long for that is cut, with
--- a hash of the whole.
---@param name string
---@param suffix "new"|"old"|"moved"
---@return string
function M.temporary(name, suffix)
  local tail = "_ldx_" .. suffix
  if #name + #tail > M.limit then
    tail = "_" .. hash(name) .. tail
    name = clip(name, M.limit - #tail)
  end
  return name .. tail
end

--- The one of `names` that this is the temporary name of.
---@param temporary string
---@param suffix "new"|"old"
---@param names string[]
---@return string?
function M.base_of(temporary, suffix, names)
  if not temporary:find("_ldx_" .. suffix .. "$") then return nil end
  for _, name in ipairs(names) do
    if M.temporary(name, suffix) == temporary then return name end
  end
end

--- What the server reindexed under this name (`<name>_ccnew`, `<name>_ccold`, cut and numbered where it had to be): the
--- one of `names`, else what is left of the name; nil if it is none of these.
---@param name string
---@param names string[]
---@return string?
function M.reindexed(name, names)
  local base, label = name:match("^(.+)_(ccnew%d*)$")
  if not base then base, label = name:match("^(.+)_(ccold%d*)$") end
  if not base then return nil end
  for _, each in ipairs(names) do
    if M.compose(each, nil, label) == name then return each end
  end
  return base
end

return M
