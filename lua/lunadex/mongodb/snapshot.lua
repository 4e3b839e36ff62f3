--- A registry written from what is live: every index of every collection but those of _id, so that a plan of it has
--- nothing to do.

local core = require "lunadex.core"
local has = require("lunadex.mongodb.fields").has
local json = require "lunadex.mongodb.json"
local lua_text = require "lunadex.lua_text"
local null = require("lunadex.registry.schema").null
local schema = require "lunadex.mongodb.schema"

local M = {}

local quote, is_identifier, comment = lua_text.quote, lua_text.is_identifier, lua_text.comment

-- Values --------------------------------------------------------------------------------------------------------------

local function name_text(name)
  if is_identifier(name) then return name end
  local text = quote(name)
  return text:sub(1, 1) == "[" and "[ " .. text .. " ]" or "[" .. text .. "]"
end

-- Whether fields are in the order in which a table of Lua gives them: what is built anew shall be the same to the byte.
local function in_order(node)
  if type(node) ~= "table" or node == null then return true end
  for i, item in ipairs(node) do
    if node.tag == "object" then
      if i > 1 and item[1] <= node[i - 1][1] then return false end -- the server takes the same one twice
      item = item[2]
    end
    if not in_order(item) then return false end
  end
  return true
end

-- A node as Lua from which json.of makes the same; nil if there is no such thing.
local function value_text(node, name)
  if type(node) == "string" then return not node:find("\0", 1, true) and quote(node) or nil end
  if type(node) == "boolean" or node == null then return tostring(node) end
  if node.tag == "number" then
    local number = json.number(node)
    local text = json.number_text(number)
    -- 5.0 is another type than 5; and what has too many digits stays as it is.
    if node[1]:find "[.eE]" and not text:find "[.e]" then text = text .. ".0" end
    if number == 0 and node[1]:find "^-" then text = "-" .. text end
    return tonumber(text) == tonumber(node[1]) and text or nil
  end
  if #node == 0 then
    local list = json.takes_list[name] or false
    return list == (node.tag == "array") and "{}" or nil
  end
  local parts = {}
  for i, item in ipairs(node) do
    local text
    if node.tag == "array" then
      text = value_text(item)
    else
      text = value_text(item[2], item[1])
      text = text and name_text(item[1]) .. " = " .. text
    end
    if not text then return nil end
    parts[i] = text
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

-- An option's JSON as a table of Lua, or as it is where that would not say the same.
local function object_text(text)
  local node = json.parse(text)
  return node ~= nil and in_order(node) and value_text(node) or quote(text)
end

local function collation_text(text)
  local parts = {}
  for i, pair in ipairs(json.parse(core.short_option("mongodb", "collation", text))) do
    parts[i] = ("%s = %s"):format(name_text(pair[1]), value_text(pair[2]))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function seconds_text(text)
  local seconds = math.tointeger(tonumber(text))
  if not seconds or seconds == 0 then return text end
  if seconds % 86400 == 0 then return ('"%dd"'):format(seconds // 86400) end
  if seconds % 3600 == 0 then return ('"%dh"'):format(seconds // 3600) end
  return text
end

local function string_text(text) return quote(json.parse(text)) end

-- The core writes numbers in a form of its own.
local function number_text(text) return json.number_text(math.tointeger(tonumber(text)) or tonumber(text)) end

local function as_it_is(text) return text end

-- The server's options: how a registry calls them, in the order in which it says them.
local OPTIONS = {
  { "sparse", "sparse", as_it_is }, { "collation", "collation", collation_text },
  { "wildcardProjection", "wildcard_projection", object_text }, { "expireAfterSeconds", "expire_after", seconds_text },
  { "weights", "weights", object_text }, { "default_language", "default_language", string_text },
  { "language_override", "language_override", string_text }, { "bits", "bits", number_text },
  { "min", "min", number_text }, { "max", "max", number_text },
  { "finestIndexedLevel", "finest_level", number_text }, { "coarsestIndexedLevel", "coarsest_level", number_text },
  { "storageEngine", "storage_engine", object_text }, { "v", "version", number_text },
  { "textIndexVersion", "text_version", number_text }, { "2dsphereIndexVersion", "sphere_version", number_text },
  { "hidden", "hidden", as_it_is }, { "prepareUnique", "prepare_unique", as_it_is },
}

-- Indexes -------------------------------------------------------------------------------------------------------------

local function key_text(key)
  if not key.opclass then return (key.descending and "desc " or "") .. quote(key.column) end
  local kind = tonumber(key.opclass) and number_text(key.opclass) or quote(key.opclass)
  if is_identifier(key.column) then return ("{ %s = %s }"):format(key.column, kind) end
  return ("key { %s, type = %s }"):format(quote(key.column), kind)
end

-- What a key pattern holds for a key.
local function direction(key)
  local kind = key.opclass or key.descending and "-1" or "1"
  if kind:find "^%-?Infinity$" then return { tag = "object", { "$numberDouble", kind } } end
  return tonumber(kind) and { tag = "number", number_text(kind) } or kind
end

-- What words cannot say, as createIndexes takes it.
local function specification(index, fields)
  local pattern, spec = { tag = "object" }, { tag = "object" }
  for i, key in ipairs(fields.keys) do pattern[i] = { key.column, direction(key) } end
  local function add(name, node) spec[#spec + 1] = { name, node } end
  add("key", pattern)
  add("name", index.name)
  if fields.unique then add("unique", true) end
  if fields.where then add("partialFilterExpression", json.parse(fields.where)) end
  for _, list in ipairs { fields.traits or {}, fields.with or {} } do
    for _, pair in ipairs(list) do add(pair[1], json.parse(pair[2])) end
  end
  return ("  index { spec = %s },"):format(quote(json.text(spec)))
end

local function sayable(fields)
  local types = {}
  for _, key in ipairs(fields.keys) do
    if key.opclass and not tonumber(key.opclass) and not schema.TYPES[key.opclass] then return false end
    types[key.opclass or ""] = true
  end
  for _, pair in ipairs(fields.with or {}) do
    if schema.BELONG[pair[1]] and not types[schema.BELONG[pair[1]]] then return false end
  end
  return true
end

-- `inherited`: the collection's collation. It is said all the same, for another database may have none.
local function item_text(index, inherited)
  local fields = index:fields()
  if not sayable(fields) then return specification(index, fields) end
  local parts, options = {}, {}
  for i, key in ipairs(fields.keys) do parts[i] = key_text(key) end
  local function add(text) parts[#parts + 1] = text end
  add("name = " .. quote(index.name))
  if fields.unique then add "unique = true" end
  if fields.where then add("partial = " .. object_text(fields.where)) end
  for _, list in ipairs { fields.traits or {}, fields.with or {} } do
    for _, pair in ipairs(list) do options[pair[1]] = pair[2] end
  end
  local has_collation = options.collation ~= nil
  for _, option in ipairs(OPTIONS) do
    local text = options[option[1]]
    if text then add(("%s = %s"):format(option[2], option[3](text))) end
  end
  -- Where the collection has a collation, to have none has to be said.
  if inherited and not has_collation then add 'collation = { locale = "simple" }' end
  return lua_text.item("index", parts, #fields.keys)
end

-- Why an index is left out; nil: it is not. A registry is UTF-8.
local function obstacle(index)
  if not index.valid then return "is being built" end
  return not utf8.len(index.name .. index.text) and "is not valid UTF-8 throughout" or nil
end

local function relation_text(relation, warnings)
  if not utf8.len(relation.name) then
    warnings[#warnings + 1] = ("%s is left out: its name is not valid UTF-8"):format(relation.display)
    return nil
  end
  local lines = {}
  local indexes = relation:indexes()
  table.sort(indexes, function(a, b) return a.name < b.name end)
  for _, index in ipairs(indexes) do
    local wrong = obstacle(index)
    if index.extension_owned or index.clustered then -- luacheck: ignore 542
    elseif wrong then
      lines[#lines + 1] = ("  -- %s %s and left out: %s"):format(comment(index.name), wrong, comment(index.text))
      warnings[#warnings + 1] = ("%s of %s %s and left out"):format(index.name, relation.display, wrong)
    else
      lines[#lines + 1] = item_text(index, relation.collation)
      if has(index, "prepareUnique") then
        warnings[#warnings + 1] = ("%s of %s is not unique, but refuses new duplicates, as a conversion that did not "
          .. "end leaves it: written as prepare_unique"):format(index.name, relation.display)
      end
    end
  end
  if relation.kind == "unreadable collection" then
    warnings[#warnings + 1] = ("%s is left out: this user may not list its indexes"):format(relation.display)
  end
  if #lines == 0 then return nil end
  local made = relation.options and ("-- Where it is not there yet, it has to be made before its indexes are:\n"
    .. "-- db.createCollection(%s, %s)\n"):format(json.quote(relation.name), comment(relation.options)) or ""
  return ("%son %s {\n%s\n}\n"):format(made, quote(relation.name), table.concat(lines, "\n"))
end

--- The registry of a catalog, and what was left out.
---@param catalog lunadex.Catalog
---@return string text
---@return string[] warnings
function M.text(catalog)
  local blocks, warnings = { "-- Written by `lunadex snapshot` from the live database.\n" }, {}
  for relation in catalog:relations() do
    blocks[#blocks + 1] = relation_text(relation, warnings)
  end
  return table.concat(blocks, "\n"), warnings
end

return M
