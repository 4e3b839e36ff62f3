-- The words of the registry language. They run inside the sandbox and under its limits, so they only take down what is
-- written and where; everything is checked afterwards (registry/check.lua).

local core = require "lunadex.core"
local sandbox = require "lunadex.sandbox"
local schema = require "lunadex.registry.schema"

local M = {}

local HOLE = sandbox.HOLE
local kinds, KEY = schema.kinds, schema.KEY
local current_line = core.current_line

---@class lunadex.registry.Session
---@field file string              # the one that runs
---@field made table[]             # what its words made, in order
---@field started table[]          # `on "x"` and the like, until their braces come
---@field getenv fun(name: string): string?
---@field problems lunadex.registry.Problems

--- The words, for one run of the registry. `session.file` and `session.made` say where what they make goes.
---@param session lunadex.registry.Session
---@return table<string, any>
function M.words(session)
  local words = {}

  local function problem(line, message, expected, hint)
    session.problems:add { file = session.file, line = line, message = message, expected = expected, hint = hint }
    return HOLE
  end

  -- index { … } and its like. This is called a hundred thousand times: what is made here is what becomes the entry,
  -- with room for the fields it will need. `level` of current_line: it, the word, the registry.
  local function constructor(kind)
    local word = kind.name
    return function(raw)
      local line = current_line(2)
      if type(raw) ~= "table" then
        return problem(line, ("%s is followed by %s"):format(word, schema.show(raw)), word .. " { … }")
      elseif raw == HOLE then
        return HOLE
      end
      local made = { kind = kind, raw = raw, file = session.file, line = line, critical = false,
        ordinal = false, relation = false, name = nil }
      local list = session.made
      list[#list + 1] = made
      return made
    end
  end
  for _, word in ipairs { "index", "unique_constraint", "primary_key", "exclusion_constraint", "foreign_key",
    "constraint", "query" } do
    words[word] = constructor(kinds[word])
  end

  -- on "name" { … } and its like: two calls, of which the second may be forgotten.
  local function named(kind, what)
    local word = kind.name
    local form = ('%s "%s" { … }'):format(word, what)
    return function(name)
      local line = current_line(2)
      if name == HOLE then return HOLE end
      if type(name) ~= "string" then
        if type(name) == "table" then -- the braces already: what stands in them is not astray as well
          for _, item in pairs(name) do
            if type(item) == "table" and item.relation == false then item.relation = true end
          end
        end
        return problem(line, ("%s is followed by %s"):format(word, schema.show(name)), form)
      end
      local made = { kind = kind, title = name, raw = false, file = session.file, line = line, claimed = false }
      local started = session.started
      started[#started + 1] = made
      return function(raw)
        if raw == HOLE then raw = {} end
        if type(raw) ~= "table" then
          made.raw = {}
          return problem(line, ('%s "%s" is followed by %s'):format(word, name, schema.show(raw)), form)
        end
        made.raw = raw
        local list = session.made
        list[#list + 1] = made
        return made
      end
    end
  end
  words.on = named(kinds.on, "schema.table")
  words.database = named(kinds.database, "name")
  words.rule = named(kinds.rule, "name")
  words.backfill = named(kinds.backfill, "name")

  -- Keys. The plain ones are made once for each text.
  local function modifier(how)
    local known = {}
    return function(base)
      local key = known[base]
      if key then return key end
      if base == HOLE or base == nil then
        if base == nil then problem(current_line(2), how .. " is followed by nil", ('%s "column"'):format(how)) end
        return HOLE
      end
      key = { kind = KEY, how = how, base = base }
      if type(base) == "string" then known[base] = key end
      return key
    end
  end
  words.asc, words.desc, words.expr = modifier "asc", modifier "desc", modifier "expr"

  -- Most keys in full are written many times over; those of one column and plain options are made once.
  local known_keys = {}
  function words.key(raw)
    if raw == HOLE then return HOLE end
    if type(raw) ~= "table" then
      return problem(current_line(2), "key is followed by " .. schema.show(raw), 'key { "column", … }')
    end
    local signature = ""
    for option, value in next, raw do
      if type(value) ~= "string" or (option ~= 1 and type(option) ~= "string") then
        return { kind = KEY, how = "key", base = raw }
      end
      signature = signature .. option .. "\0" .. value .. "\0"
    end
    local key = known_keys[signature]
    if not key then
      key = { kind = KEY, how = "key", base = raw }
      known_keys[signature] = key
    end
    return key
  end

  words.null = schema.null

  -- env "NAME", env("NAME", default)
  function words.env(name, default)
    local line = current_line(2)
    if name == HOLE then return HOLE end
    if type(name) ~= "string" or name == "" or name:find("=", 1, true) then
      return problem(line, "env is followed by " .. schema.show(name), 'env "NAME" or env("NAME", default)')
    end
    local value = session.getenv(name)
    if value ~= nil then
      session.problems:hide(name, value)
      return value
    end
    if default ~= nil then return default end
    return problem(line, ('the environment variable "%s" is not set'):format(name), nil,
      ('set it, or write env("%s", default)'):format(name))
  end

  return words
end

return M
