-- Options against the schema: each by itself.

local Checker = require "lunadex.registry.checker"
local sandbox = require "lunadex.sandbox"
local schema = require "lunadex.registry.schema"
local suggest = require "lunadex.suggest"

local HOLE = sandbox.HOLE
local next, type, math_type = next, type, math.type
local show = schema.show

local ARTICLES = { string = "a text", number = "a number", boolean = "true or false", table = "a table",
  ["function"] = "a function" }

local function types_of(option)
  local words = {}
  for one in option.type:gmatch("%a+") do words[#words + 1] = ARTICLES[one] end
  return table.concat(words, " or ")
end

local function names_of(kind)
  local names = {}
  for i, option in ipairs(kind.list) do names[i] = option.name end
  table.sort(names)
  return names
end

function Checker:unknown_option(made, relation, kind, name)
  if type(name) ~= "string" then
    self:problem(made, relation, ("%s holds the key %s"):format(kind.name, show(name)))
    return
  end
  local foreign = kind.foreign
  if foreign and foreign.options[name] ~= nil then
    self:problem(made, relation, ("%s is an option of %s; %s has no such thing"):format(name, foreign.product,
      foreign.here), nil, foreign.options[name] or nil)
    return
  end
  local names = names_of(kind)
  local hint = kind.hints[name:lower()]
  if not hint then
    local nearest = suggest.nearest(name, names)
    if not nearest then
      -- Perhaps a slip of another tool's word, or right in another place.
      nearest = suggest.nearest(name, kind.hints)
      hint = nearest and kind.hints[nearest]
    else
      hint = ('did you mean "%s"?'):format(nearest)
    end
  end
  self:problem(made, relation, ("unknown option %s of %s"):format(show(name), kind.name),
    "one of " .. table.concat(names, ", "), hint)
end

--- Checks one option. The value to keep, or nil after saying what is wrong.
function Checker:option(made, relation, kind, option, value)
  if value == HOLE then return nil end
  if not option.types[type(value)] then
    self:problem(made, relation, ("option %s of %s is %s"):format(option.name, kind.name, show(value)),
      types_of(option))
    return nil
  end
  if not option.check then return value end
  local kept, expected, wrong, hint = option.check(value, self)
  if kept == nil then
    self:problem(made, relation, wrong and ("option %s of %s %s"):format(option.name, kind.name, wrong)
      or ("option %s of %s is %s"):format(option.name, kind.name, show(value)), expected, hint)
  end
  return kept
end

--- The options of a kind without keys, into `into`. True if `key` is none of its business.
function Checker:options(made, relation, kind, raw, into, skip_integers)
  for name, value in next, raw do
    local option = kind.options[name]
    if option then
      into[option.field] = self:option(made, relation, kind, option, value)
    elseif math_type(name) == "integer" and skip_integers then -- looked at elsewhere
      goto continue
    elseif kind.open then
      into[name] = value
    else
      self:unknown_option(made, relation, kind, name)
    end
    ::continue::
  end
  return into
end
