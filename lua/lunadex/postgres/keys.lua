-- Keys: what was written as one, and what is meant.

local common = require "lunadex.registry.schema"
local sandbox = require "lunadex.sandbox"
local schema = require "lunadex.postgres.schema"

local M = {}

local HOLE = sandbox.HOLE
local next, type, math_type = next, type, math.type
local show = common.show

-- What a key may be, for messages.
M.expected = 'a column\'s name, asc "…", desc "…", expr "…" or key { … }'

--- What was written as a key, as a fresh table that the caller may change; nil after saying what is wrong.
local function read(checker, made, relation, written)
  if written == HOLE then return nil end
  if type(written) == "string" then
    local kept, expected, wrong = schema.check_name(written)
    if not kept then
      checker:problem(made, relation, ("the column %s of %s %s"):format(show(written), made.kind.name, wrong), expected)
      return nil
    end
    return { column = written }
  elseif type(written) ~= "table" or written.kind ~= common.KEY then
    checker:problem(made, relation, ("%s has %s for a key"):format(made.kind.name, show(written)), M.expected,
      type(written) == "table" and not written.kind and 'a key in full is written key { "column", … }' or nil)
    return nil
  end

  local how, base = written.how, written.base
  if how == "expr" then
    if type(base) ~= "string" then
      checker:problem(made, relation, "expr is followed by " .. show(base), 'expr "sql"')
      return nil
    end
    local kept, expected, wrong = schema.expression(base, checker.known.postgres)
    if not kept then
      checker:problem(made, relation, ("the expression %s %s"):format(show(base), wrong), expected)
      return nil
    end
    return { expression = kept }
  elseif how ~= "key" then
    local key = read(checker, made, relation, base)
    if key then key.descending = how == "desc" or nil end
    return key
  end

  local key = read(checker, made, relation, base[1])
  local integers = 0
  for name in next, base do
    if math_type(name) == "integer" then integers = integers + 1 end
  end
  if integers > 1 then
    checker:problem(made, relation, "key { … } holds more than one column", 'one key { "column", … } for each')
    return nil
  end
  local options = checker:options(made, relation, schema.key, base, {}, true)
  if not key then return nil end
  if options.descending ~= nil then key.descending = options.descending or nil end
  key.nulls = options.nulls or key.nulls
  key.collation = options.collation or key.collation
  key.operator = options.operator or key.operator
  if type(options.opclass) == "table" then
    key.opclass, key.opclass_options = options.opclass[1], options.opclass[2]
  elseif options.opclass then
    key.opclass, key.opclass_options = options.opclass, nil
  end
  return key
end

--- The key to keep: with defaults left out.
---@param checker lunadex.registry.Checker
---@param made table
---@param relation string
---@param written any
---@return lunadex.Key? key        # nil after saying what is wrong
function M.finished(checker, made, relation, written)
  local known = checker.known.postgres.keys[written]
  if known then return known end
  local key = read(checker, made, relation, written)
  if not key then return nil end
  if key.nulls == (key.descending and "first" or "last") then key.nulls = nil end
  if type(written) == "table" then checker.known.postgres.keys[written] = key end
  return key
end

return M
