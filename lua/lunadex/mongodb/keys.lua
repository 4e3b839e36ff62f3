-- Keys: what was written as one, and what is meant.

local common = require "lunadex.registry.schema"
local sandbox = require "lunadex.sandbox"
local schema = require "lunadex.mongodb.schema"

local M = {}

local HOLE = sandbox.HOLE
local next, type, math_type = next, type, math.type
local show = common.show

-- What a key may be, for messages.
M.expected = 'a field\'s path, asc "…", desc "…", { field = -1 } or key { … }'

-- A field and what stands for it in the key pattern.
local function pair(checker, made, relation, path, direction)
  local kept, expected, wrong = schema.check_path(path)
  if not kept then
    checker:problem(made, relation, ("the field %s of %s %s"):format(show(path), made.kind.name, wrong), expected)
    return nil
  end
  local key
  key, expected = schema.check_direction(direction)
  if not key then
    checker:problem(made, relation, ("the key %s of %s is %s"):format(show(path), made.kind.name, show(direction)),
      expected)
    return nil
  end
  key.column = kept
  return key
end

-- key { "field", … }
local function in_full(checker, made, relation, base)
  local path, fields = base[1], 0
  for name in next, base do
    if math_type(name) == "integer" then fields = fields + 1 end
  end
  local options = checker:options(made, relation, schema.key, base, {}, true)
  if path == HOLE then return nil end
  if type(path) ~= "string" or fields > 1 then
    checker:problem(made, relation, fields > 1 and "key { … } holds more than one field"
      or ("key { … } holds %s for a field"):format(show(path)), 'one key { "field", … } for each')
    return nil
  end
  local key = pair(checker, made, relation, path, options.descending and -1 or 1)
  local direction = options.direction
  if not key or not direction then return key end
  if options.descending ~= nil then
    checker:problem(made, relation, ("the key %s has a direction and a type"):format(show(path)), "one of them")
  end
  key.descending, key.opclass = direction.descending, direction.opclass
  return key
end

-- { field = -1 }, as the users of MongoDB write it.
local function as_object(checker, made, relation, written)
  local path, direction = next(written)
  if next(written, path) ~= nil then
    checker:problem(made, relation, made.kind.name .. " has a key of several fields", "one { field = 1 } for each",
      "In a table of Lua the order of names is lost.")
    return nil
  elseif direction == HOLE then
    return nil
  elseif type(path) ~= "string" then
    checker:problem(made, relation, ("%s has a list for a key"):format(made.kind.name), M.expected)
    return nil
  end
  return pair(checker, made, relation, path, direction)
end

--- What was written as a key, as a table to keep.
---@param checker lunadex.registry.Checker
---@param made table
---@param relation string
---@param written any
---@return lunadex.Key? key        # nil after saying what is wrong
function M.finished(checker, made, relation, written)
  local known = checker.known.mongodb.keys[written]
  if known then return known end
  local key
  if written == HOLE then
    return nil
  elseif type(written) == "string" then
    key = pair(checker, made, relation, written, 1)
  elseif type(written) ~= "table" or next(written) == nil then
    checker:problem(made, relation, ("%s has %s for a key"):format(made.kind.name, show(written)), M.expected)
  elseif written.kind ~= common.KEY then
    key = as_object(checker, made, relation, written)
  elseif written.how == "key" then
    key = in_full(checker, made, relation, written.base)
  elseif written.how == "expr" then
    checker:problem(made, relation, "expr " .. show(written.base) .. ": MongoDB indexes fields, not expressions", nil,
      "Store what it gives in a field of its own.")
  elseif type(written.base) ~= "string" then
    key = M.finished(checker, made, relation, written.base)
    if key and not key.opclass then
      key = { column = key.column, descending = written.how == "desc" or nil }
    elseif key then
      checker:problem(made, relation, ("%s of a key with the type %s"):format(written.how, show(key.opclass)),
        "one of them")
    end
  else
    key = pair(checker, made, relation, written.base, written.how == "desc" and -1 or 1)
  end
  if key and type(written) == "table" then checker.known.mongodb.keys[written] = key end
  return key
end

return M
