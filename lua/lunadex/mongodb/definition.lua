-- A declaration's braces, or its JSON, as a definition; and what its parts say about each other.

local common = require "lunadex.registry.schema"
local core = require "lunadex.core"
local json = require "lunadex.mongodb.json"
local key_of_type = require("lunadex.mongodb.fields").key_of_type
local keys = require "lunadex.mongodb.keys"
local schema = require "lunadex.mongodb.schema"
local suggest = require "lunadex.suggest"

local M = {}

local next, math_type = next, math.type
local show = common.show

-- An option that the server keeps although it has no use for it. So does whoever writes a specification.
local function useless_option(made, fields)
  for _, pair in ipairs(not made.raw.spec and fields.with or {}) do
    local opclass = schema.BELONG[pair[1]]
    if opclass and not key_of_type(fields, opclass) then return pair[1], opclass end
  end
end

-- The core has the server's words, and so has a specification.
local function in_words(made, text)
  for name, option in pairs(not made.raw.spec and text and schema.kinds.index.options or {}) do
    if option.field and option.field:find "%u" then text = text:gsub(option.field, name) end
  end
  return text
end

--- What the parts of a definition say about each other, and definitions of their collection.
---@param checker lunadex.registry.Checker
---@param made table
---@param relation string
---@param fields lunadex.Fields
---@param target table
function M.check(checker, made, relation, fields, target)
  local first = fields.keys[1]
  if #fields.keys == 1 and first.column == "_id" and not first.opclass then
    checker:problem(made, relation, "the index of _id is always there, and in no other way", nil, "Leave it out.")
    return
  end
  local useless, opclass = useless_option(made, fields)
  if useless then
    checker:problem(made, relation, ('%s in an index without a key of type "%s"'):format(useless, opclass),
      ('{ field = "%s" }'):format(opclass))
    return
  end
  local ok, err = core.check("mongodb", fields)
  if not ok then checker:problem(made, relation, in_words(made, err.message), nil, in_words(made, err.hint)) end
  if not key_of_type(fields, "text") then return end
  local other = target.text
  if other then
    checker:problem(made, relation, ("a second text index, after the one at %s:%d"):format(other.file, other.line),
      "one for each collection", 'One index may have several keys: { title = "text" }, { body = "text" }.')
  end
  target.text = other or made
end

local function add(fields, into, name, value)
  if value == false then return end -- as it is without it
  if into == "traits" or into == "with" then
    fields[into] = fields[into] or {}
    table.insert(fields[into], { name, value })
  else
    fields[name] = value
  end
end

-- Options of equal declarations come in the same order.
local function sorted(fields)
  for _, list in ipairs { fields.traits or {}, fields.with or {} } do
    table.sort(list, function(a, b) return a[1] < b[1] end)
  end
  return fields
end

-- A declaration in words: its fields, though perhaps with something wrong that was told; whether nothing is missing.
local function of_words(checker, made, target)
  local kind, raw, relation = schema.kinds.index, made.raw, target.display
  local count, positions, list = #raw, 0, {}
  local fields = { kind = "index", relation = target.name, method = "", keys = list }
  for i = 1, count do
    list[#list + 1] = raw[i] ~= nil and keys.finished(checker, made, relation, raw[i]) or nil
  end
  for name, value in next, raw do
    local option = kind.options[name]
    if option then
      local kept = checker:option(made, relation, kind, option, value)
      if kept == nil then -- luacheck: ignore 542
      elseif option.into == "entry" then
        made[option.field] = kept
      else
        add(fields, option.into, option.field, kept)
      end
    elseif math_type(name) == "integer" then
      positions = positions + 1
    else
      checker:unknown_option(made, relation, kind, name)
    end
  end
  if positions ~= count then
    checker:problem(made, relation, "index has a hole (nil) among its keys", keys.expected)
  elseif count == 0 then
    checker:problem(made, relation, "index has no keys", keys.expected)
  elseif count > schema.MAX_KEYS then
    checker:problem(made, relation, ("index has %d keys"):format(count), ("at most %d"):format(schema.MAX_KEYS))
  end
  return sorted(fields), #list > 0 and #list == count
end

-- The keys as the server lists those of a text index: the fields themselves stand in the weights.
local function text_keys(fields, weights)
  local list, done = {}, false
  for _, key in ipairs(fields.keys) do
    if key.column ~= "_fts" and key.column ~= "_ftsx" then
      list[#list + 1] = key
    elseif not done then
      done = true
      local names = {}
      for _, pair in ipairs(weights) do names[#names + 1] = pair[1] end
      table.sort(names)
      for _, name in ipairs(names) do list[#list + 1] = { column = name, opclass = "text" } end
    end
  end
  fields.keys = list
end

-- The parts of a specification that need more than a look at their type. Each gives what is wrong.
local part = {}

function part.key(fields, node)
  if type(node) ~= "table" or node.tag ~= "object" or #node == 0 then return "has a key that is no object" end
  for i, pair in ipairs(node) do
    local key, expected = schema.check_direction(pair[2], true)
    local path, _, wrong = schema.check_path(pair[1])
    if not path then return ("has the field %s, which %s"):format(show(pair[1]), wrong) end
    if not key then return ("has the field %s, which is not %s"):format(show(pair[1]), expected) end
    key.column = path
    fields.keys[i] = key
  end
end

function part.name(fields, node)
  if type(node) ~= "string" then return "has a name that is no text" end
  local kept, _, wrong = schema.kinds.index.options.name.check(node)
  if not kept then return "has a name that " .. (wrong or "cannot be one") end
  fields.name = kept
end

local function flag(node)
  if type(node) == "boolean" then return node end
  local number = json.number(node)
  return number and number ~= 0
end

function part.unique(fields, node)
  local unique = flag(node)
  if unique == nil then return "has a unique that is neither true nor false" end
  fields.unique = unique or nil
end

function part.where(fields, node)
  if type(node) ~= "table" or node.tag ~= "object" then return "has a filter that is no object" end
  fields.where = json.text(node)
end

-- Whole seconds, as the server makes them: doubles lose what is behind the point, decimals are rounded, to even ones
-- from the middle; and what is no number lasts for ever.
local function seconds_text(node)
  local seconds = json.number(node)
  if not seconds then return nil end
  if seconds ~= seconds then return "2147483647" end
  local whole = math.floor(seconds)
  if type(node) == "table" and node.tag == "object" and json.field(node, "$numberDecimal") then
    local rest = seconds - whole
    if rest > 0.5 or rest == 0.5 and whole % 2 == 1 then whole = whole + 1 end
  elseif seconds < 0 then
    whole = math.ceil(seconds)
  end
  return whole >= 0 and tostring(math.min(whole, 2147483647)) or nil
end

local function add_option(fields, into, name, node)
  local value
  if name == "sparse" or name == "hidden" or name == "prepareUnique" then
    local on = flag(node)
    if on == nil then return ("has a %s that is neither true nor false"):format(name) end
    value = on and "true"
  elseif name == "expireAfterSeconds" then
    value = seconds_text(node)
    if not value then return "has an expireAfterSeconds that is no number of seconds" end
  else
    value = json.text(node)
  end
  add(fields, into, name, value)
end

-- The specification that createIndexes takes. The fields, or nil.
local function of_specification(checker, made, target)
  local relation = target.display
  local function refuse(wrong, expected, hint)
    checker:problem(made, relation, "spec " .. wrong, expected, hint)
    return nil
  end
  local node, mistake = json.declared(made.raw.spec)
  if node == nil then return refuse(mistake, "JSON") end
  if type(node) ~= "table" or node.tag ~= "object" then
    return refuse("is no object", '{ "key": { … }, "name": …, … }')
  end
  local fields, seen = { kind = "index", relation = target.name, method = "", keys = {} }, {}
  local weights = json.field(node, "weights")
  for _, pair in ipairs(node) do
    local name, value = pair[1], pair[2]
    local into = schema.SPEC[name]
    local wrong
    if seen[name] then return refuse(("has the field %s twice"):format(show(name))) end
    seen[name] = true
    if not into then
      return refuse("has the unknown field " .. show(name), nil, suggest.hint(name, schema.SPEC))
    elseif into == "traits" or into == "with" then
      wrong = add_option(fields, into, name, value)
    elseif into ~= "ignored" then
      wrong = part[into](fields, value)
    end
    if wrong then return refuse(wrong) end
  end
  if #fields.keys == 0 then return refuse("has no key", '"key": { "field": 1 }') end
  if weights and weights.tag == "object" then text_keys(fields, weights) end
  return sorted(fields)
end

-- A declaration as JSON with what may stand beside it: its fields, or nil after saying what is wrong.
local function of_spec(checker, made, target)
  local kind, raw, relation = schema.kinds.index, made.raw, target.display
  local fields
  if checker:option(made, relation, kind, kind.options.spec, raw.spec) then
    fields = of_specification(checker, made, target)
  end
  for name, value in next, raw do
    local option = kind.options[name]
    if not option then
      if math_type(name) ~= "integer" then
        checker:unknown_option(made, relation, kind, name)
      elseif name == 1 then
        checker:problem(made, relation, "index has both keys and spec", "one of them")
      end
    elseif not option.shared then
      checker:problem(made, relation, ("option %s of index beside spec"):format(name), nil,
        "The specification says everything about the definition.")
    elseif name ~= "spec" then
      local kept = checker:option(made, relation, kind, option, value)
      if option.into == "entry" then
        made[option.field] = kept
      elseif fields then
        if fields[name] and kept and fields[name] ~= kept then
          checker:problem(made, relation, ("the specification names it %s, the option name %s"):format(
            show(fields[name]), show(kept)), "one of them")
        end
        fields[name] = kept or fields[name]
      end
    end
  end
  return fields
end

--- What a declaration says: its fields, or nil after saying what is wrong.
---@param checker lunadex.registry.Checker
---@param made table
---@param target table             # its collection, as check.lua knows it
---@return lunadex.Fields? fields
---@return boolean whole           # nothing is missing, so that its parts can be compared
function M.read(checker, made, target)
  if made.kind ~= common.kinds.index then
    checker:problem(made, target.display, made.kind.name .. ": MongoDB has none", nil,
      schema.unknown_kinds[made.kind.name] or nil)
    return nil, false
  elseif made.raw.spec == nil then
    return of_words(checker, made, target)
  end
  local fields = of_spec(checker, made, target)
  return fields, fields ~= nil
end

--- The collection that a declaration outside of any `on` speaks of: none does.
---@param checker lunadex.registry.Checker
---@param made table
---@return nil
function M.relation_of(checker, made)
  checker:problem(made, nil, made.kind.name .. " outside of on", ('on "collection" { %s { … } }'):format(
    made.kind.name))
end

--- A query that matters.
---@param checker lunadex.registry.Checker
---@param made table
---@param relation string
---@return table query             # filter (JSON), sort (keys), name, description, expect_index, file, line
function M.query(checker, made, relation)
  local raw = made.raw
  local result = checker:options(made, relation, schema.kinds.query, raw, { file = made.file, line = made.line }, true)
  local node, wrong
  if #raw == 1 and (type(raw[1]) == "table" or type(raw[1]) == "string") then node, wrong = json.declared(raw[1]) end
  if type(node) == "table" and node.tag == "object" then
    result.filter = json.text(node)
  else
    checker:problem(made, relation, "query " .. (wrong or "does not hold one filter"),
      'query { { tenant = 1 }, … }, or the filter as a text of JSON')
  end
  local sort = result.sort
  result.sort = {}
  for i, written in ipairs(sort or {}) do result.sort[i] = keys.finished(checker, made, relation, written) end
  return result
end

return M
