-- Plugins by name: the project's ./plugins, then the folders of LUNADEX_PLUGINS, then those that come with Lunadex.
--
-- A plugin is a file that gives one table:
--
--   return {
--     name = "dictionary",                  -- as the file is called
--     describe = "what it does, in a line",
--     options = { … },                      -- optional: name → { type =, description =, default =, check = }
--     hooks = { … },                        -- optional: name → function
--     rule = {                              -- optional: it judges changes; docs/rules.md says how
--       on = { "create" }, default = "plan", driver = "postgres",
--       check = function(change, context) … return verdict, message end,
--     },
--     import = {                            -- optional: it reads registries of another format
--       extensions = { "yaml", "yml" },
--       load = function(text, file, words) … return declarations end,   -- or nil, { { line =, message =, … }, … }
--     },
--   }
--
-- It is code of the user's own and runs unrestricted, but in an environment of its own: a forgotten `local` harms
-- nobody else.

local rule_options = require "lunadex.rules.options"
local schema = require "lunadex.registry.schema"

local M = {}

local SHIPPED_RULES = { "backfill-first", "build-window", "concurrent-build-bug", "disk-space",
  "foreign-key-without-index",
  "lone-boolean", "long-transaction", "naming", "nullable-unique", "redundant-index", "scattered-query",
  "too-many-indexes", "unique-on-sharded", "unserved-query", "unused-index", "used-index-drop" }
---@class lunadex.Plugin
---@field name string
---@field describe string
---@field options table<string, table>?
---@field hooks table<string, function>?
---@field rule {on: string[]?, only: table?, check: function, default: "plan"|"check"|nil, driver: string?,
---       database: boolean?}?
---@field import {extensions: string[], load: function}?
---@field file string              # where it came from
---@field shipped boolean?         # with Lunadex
---@field broken string?           # why it cannot be loaded, with the name of the file: there is no more of it

local function folders(options)
  local result = { options.folder or "plugins" }
  for folder in (options.path or os.getenv "LUNADEX_PLUGINS" or ""):gmatch("[^:;]+") do result[#result + 1] = folder end
  return result
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "a" -- nil for a directory
  file:close()
  return text
end

local TOP = { name = "string", describe = "string", options = "table", hooks = "table", rule = "table",
  import = "table" }

local RULE = { on = "table", only = "table", database = "boolean",
  check = "function", default = "string", driver = "string" }
local DEFAULTS, DRIVERS = { plan = true, check = true }, { postgres = true, mongodb = true }

-- What is wrong with a plugin's rule, or nil.
local function wrong_rule(rule, options)
  for key, value in pairs(rule) do
    if not RULE[key] then
      local hint = schema.hint(key, RULE)
      return ("%q has the unknown field %q%s"):format("rule", tostring(key), hint and "; " .. hint or "")
    elseif type(value) ~= RULE[key] and not (key == "on" and type(value) == "string") then
      return ("field %q of %q is a %s; expected a %s"):format(key, "rule", type(value), RULE[key])
    end
  end
  if not rule.check then return '"rule" has no function "check"' end
  if rule.default and not DEFAULTS[rule.default] then return '"rule.default" is neither "plan" nor "check"' end
  if rule.driver and not DRIVERS[rule.driver] then return '"rule.driver" is neither "postgres" nor "mongodb"' end
  for _, field in ipairs { "on", "only" } do
    if rule[field] then
      local value, expected, message, hint = schema.kinds.rule.options[field].check(rule[field])
      if message then
        return ('"rule.%s" %s; expected %s%s'):format(field, message, expected, hint and "; " .. hint or "")
      end
      rule[field] = value
    end
  end
  local message, expected, hint = rule_options.lost_only(rule)
  if not message then message, expected, hint = rule_options.flaw(options or {}, true) end
  return message and ("%s; expected %s%s"):format(message, expected, hint and "; " .. hint or "")
end

--- What is wrong with what a plugin's file gave, or nil.
local function wrong(plugin, name)
  if type(plugin) ~= "table" then return "gives " .. type(plugin) .. "; expected one table" end
  for key in pairs(plugin) do
    if not TOP[key] then
      local hint = schema.hint(key, TOP)
      return ("has the unknown field %q%s"):format(tostring(key), hint and "; " .. hint or "")
    end
  end
  for key, expected in pairs(TOP) do
    if plugin[key] ~= nil and type(plugin[key]) ~= expected then
      return ("field %q is a %s; expected a %s"):format(key, type(plugin[key]), expected)
    end
  end
  if plugin.name ~= name then
    return ("calls itself %q; expected %q, as its file is called"):format(tostring(plugin.name), name)
  elseif not plugin.describe then
    return 'has no "describe"'
  end
  for hook, value in pairs(plugin.hooks or {}) do
    if type(value) ~= "function" then
      return ("hook %q is a %s; expected a function"):format(tostring(hook), type(value))
    end
  end
  local message = plugin.rule and wrong_rule(plugin.rule, plugin.options)
  if message then return "is wrong: " .. message end
  local import = plugin.import
  if import then
    if type(import.load) ~= "function" then return '"import" has no function "load"' end
    if type(import.extensions) ~= "table" or #import.extensions == 0 then return '"import" has no "extensions"' end
    for _, extension in ipairs(import.extensions) do
      if type(extension) ~= "string" or not extension:find("^%w+$") then
        return '"import.extensions" holds something that is no extension such as "yaml"'
      end
    end
  end
end

local function finish(plugin, name, file)
  local message = wrong(plugin, name)
  if message then return nil, ("%s: the plugin %s"):format(file, message) end
  local result = { file = file }
  for key, value in pairs(plugin) do result[key] = value end
  return result
end

local function load_text(text, name, path)
  local environment = setmetatable({}, { __index = _G })
  local chunk, message = load(text, "@" .. path, "t", environment)
  if not chunk then return nil, message end
  local ok, plugin = pcall(chunk, name, path)
  if not ok then return nil, ("%s: cannot load the plugin: %s"):format(path, tostring(plugin)) end
  return finish(plugin, name, path)
end

-- Those that come with Lunadex, by name, once they are loaded: they stay as they are.
local own = {}

-- One that comes with Lunadex; `looked`: where it was looked for before.
local function load_own(name, looked)
  if own[name] then return own[name] end
  local ok, plugin, where = pcall(require, "lunadex.plugins." .. name)
  if ok then
    local file = type(where) == "string" and where:sub(1, 1) ~= ":" and where or ("plugins/%s.lua"):format(name)
    local result, message = finish(plugin, name, file)
    if result then
      result.shipped = true
      own[name] = result
    end
    return result, message
  elseif not tostring(plugin):find("module 'lunadex.plugins." .. name .. "' not found", 1, true) then
    return nil, ("the plugin %q cannot be loaded: %s"):format(name, tostring(plugin))
  end
  return nil, ("there is no plugin %q (looked at %s and those that come with Lunadex)"):format(name,
    table.concat(looked, ", "))
end

--- The plugin of that name.
---@param name string
---@param options {folder: string?, path: string?}?   # instead of ./plugins and LUNADEX_PLUGINS
---@return lunadex.Plugin?
---@return string? message         # with the name of the file that is wrong
function M.load(name, options)
  if not name:find("^[%w_-]+$") then return nil, ("%q is not the name of a plugin"):format(name) end
  local looked = {}
  for _, folder in ipairs(folders(options or {})) do
    local path = ("%s/%s.lua"):format(folder:gsub("(.)/+$", "%1"), name)
    local text = read(path)
    if text then return load_text(text, name, path) end
    looked[#looked + 1] = path
  end
  return load_own(name, looked)
end

-- Calls `take` with each plugin that looks as if it had a `part`, those of the user's folders first: only files that
-- hold this word, and say what they are for, are run, since a folder called `plugins` may hold all sorts of things. In
-- one that does not compile, as a merge may leave it, the rest may be lost.
local function each_plugin(options, part, shipped, take)
  local core = require "lunadex.core"
  local seen, there = {}, {}
  local function add(name, text)
    if seen[name] then return end
    seen[name] = true
    local plugin, message
    if there[name] then plugin, message = M.load(name, options) else plugin, message = load_own(name, {}) end
    take(plugin or { name = name, describe = "cannot be loaded", broken = message }, text or "")
  end
  for _, folder in ipairs(folders(options or {})) do
    for _, file in ipairs(core.list_directory(folder) or {}) do
      local name = file:match("^([%w_-]+)%.lua$")
      if name then there[name] = true end
      local text = name and read(folder .. "/" .. file)
      local has_part = text and text:find("%f[%w_]" .. part .. "%f[^%w_]")
      if has_part and (text:find "describe%s*=" or not load(text, "", "t")) then add(name, text) end
    end
  end
  for _, name in ipairs(shipped) do add(name) end
end

--- The importers, by extension: one that cannot be loaded is that of the extensions that its text speaks of.
---@param options {folder: string?, path: string?}?
---@return table<string, lunadex.Plugin> importers
---@return lunadex.Plugin? unknown # one that cannot be loaded, of which nobody can tell what it reads
function M.importers(options)
  local importers, unknown = {}, nil
  each_plugin(options, "import", { "dictionary" }, function(plugin, text)
    local extensions = plugin.import and plugin.import.extensions or {}
    if plugin.broken then
      for each in (text:match "extensions%s*=%s*(%b{})" or ""):gmatch "[\"'](%w+)[\"']" do
        extensions[#extensions + 1] = each
      end
      if #extensions == 0 then unknown = plugin end
    end
    for _, extension in ipairs(extensions) do importers[extension] = importers[extension] or plugin end
  end)
  return importers, unknown
end

--- The plugins that are rules, also those that cannot be loaded, in the order in which they are asked: those that come
--- with Lunadex, or replace one of these, then the others; by name.
---@param options {folder: string?, path: string?}?
---@return lunadex.Plugin[]
function M.rules(options)
  local place, found = {}, {}
  for i, name in ipairs(SHIPPED_RULES) do place[name] = i end
  each_plugin(options, "rule", SHIPPED_RULES, function(plugin)
    if plugin.rule or plugin.broken then found[#found + 1] = plugin end
  end)
  table.sort(found, function(a, b)
    local left, right = place[a.name] or math.huge, place[b.name] or math.huge
    if left ~= right then return left < right end
    return a.name < b.name
  end)
  return found
end

return M
