--- Options of rules: what a rule says of them, and values against that.

local core = require "lunadex.core"
local format = require "lunadex.format"
local schema = require "lunadex.registry.schema"

local M = {}

---@class lunadex.RuleOption
---@field type "text"|"number"|"boolean"|"table"|"pattern"|"duration"|"size"
---@field default any
---@field description string?
---@field check (fun(value: any): boolean?, string?)?   # of a plugin: nil and what was expected, if it is not right

-- Whether it can be read and, of a text that it may have much to do with, be said soon whether it matches.
local function is_pattern(value)
  return type(value) == "string" and (core.run_limited(function()
    core.counted.string.find(("a"):rep(64), value)
  end, { instructions = 100000, memory = 1024 * 1024 }))
end

-- For each type: what a value becomes (nil: it is none), and what was expected.
local types = {
  text = { function(value) return type(value) == "string" and value or nil end, "a text" },
  number = { function(value) return type(value) == "number" and value == value and value or nil end, "a number" },
  boolean = { function(value) if type(value) == "boolean" then return value end end, "true or false" },
  table = { function(value) return type(value) == "table" and value or nil end, "a table" },
  pattern = { function(value) return is_pattern(value) and value or nil end, "a Lua pattern that is quickly matched" },
  duration = { function(value)
    if type(value) == "string" then return format.parse_duration(value) end
    return type(value) == "number" and value >= 0 and value or nil
  end, 'seconds as a number, or a text such as "5min", "30d"' },
  size = { function(value)
    if type(value) == "string" then return format.parse_bytes(value) end
    return type(value) == "number" and value >= 0 and value or nil
  end, 'bytes as a number, or a text such as "512MB", "2GB"' },
}

local known_fields = { type = true, default = true, description = true }

local function value_of(option, value)
  return types[option.type][1](value)
end

-- What was expected where a value is not right; else nil.
local function expected_of(option, value)
  local kept = value_of(option, value)
  if kept == nil then return types[option.type][2] end
  if not option.check then return nil end
  local fine, right, expected = pcall(option.check, kept)
  if fine and right then return nil end
  return not fine and tostring(right) or expected or "another value"
end

local function keys(map)
  local list = {}
  for key in pairs(map) do list[#list + 1] = tostring(key) end
  table.sort(list)
  return list
end

--- What is wrong with the options that a rule says it has; nil: nothing.
---@param declared table
---@param checks boolean?          # they may have a function that looks at values: it runs without limits
---@return string? message
---@return string? expected
---@return string? hint
function M.flaw(declared, checks)
  for name, option in pairs(declared) do
    if type(name) ~= "string" then return "options holds the key " .. schema.show(name), "names of options" end
    local what = "option " .. schema.show(name)
    if type(option) ~= "table" then
      return ("%s is %s"):format(what, schema.show(option)), '{ type = "number", default = 30, description = "…" }'
    end
    for field in pairs(option) do
      if not known_fields[field] and not (checks and field == "check" and type(option.check) == "function") then
        return ("%s holds %s"):format(what, schema.show(field)), "type, default, description",
          schema.hint(field, known_fields)
      end
    end
    if type(option.type) ~= "string" or not types[option.type] then
      return ("%s has the type %s"):format(what, schema.show(option.type)),
        "one of " .. table.concat(keys(types), ", "), schema.hint(option.type, types)
    end
    if option.description ~= nil and type(option.description) ~= "string" then
      return ("%s has the description %s"):format(what, schema.show(option.description)), "a text"
    end
    local expected = option.default ~= nil and expected_of(option, option.default)
    if expected then return ("%s has the default %s"):format(what, schema.show(option.default)), expected end
  end
end

--- What is wrong with the `only` of a rule, apart from what stands in it; nil: nothing.
---@param rule {on: string[]?, only: table?, check: function?}
---@return string? message
---@return string? expected
function M.lost_only(rule)
  if not rule.only then return nil end
  if not rule.check then return "only belongs to a rule with check", "on, options, off, description" end
  for _, subject in ipairs(rule.on or {}) do
    if subject == "index" or subject == "overlap" then return nil end
  end
  return "only is about indexes, which it is not asked about", 'on = "index" or "overlap"'
end

--- Calls `tell` with what is wrong with values that somebody gave.
---@param declared table<string, lunadex.RuleOption>
---@param values table
---@param tell fun(message: string, expected: string?, hint: string?)
function M.check(declared, values, tell)
  for name, value in pairs(values) do
    local option = declared[name]
    if not option then
      local names = keys(declared)
      tell("has no option " .. schema.show(name), #names > 0 and "one of " .. table.concat(names, ", ") or "none",
        schema.hint(name, declared))
    else
      local expected = expected_of(option, value)
      if expected then tell(("option %s is %s"):format(name, schema.show(value)), expected) end
    end
  end
end

--- Whether somebody gave it a pattern: matching that may take for ever.
---@param declared table<string, lunadex.RuleOption>
---@param values table
---@return boolean
function M.has_pattern(declared, values)
  for name in pairs(values) do
    if declared[name] and declared[name].type == "pattern" then return true end
  end
  return false
end

--- The values that a rule is run with.
---@param declared table<string, lunadex.RuleOption>
---@param values table?
---@return table
function M.values(declared, values)
  local result = {}
  for name, option in pairs(declared) do
    local value = values and values[name]
    if value == nil then value = option.default end
    if value ~= nil then result[name] = value_of(option, value) end
  end
  return result
end

return M
