-- Plugins by name: the project's ./plugins, then the folders of LUNADEX_PLUGINS, then those that come with Lunadex.
--
-- A plugin is a file that gives one table:
--
--   return {
--     name = "dictionary",                  -- as the file is called
--     describe = "what it does, in a line",
--     options = { … },                      -- optional: name → { type =, description =, default = }
--     hooks = { … },                        -- optional: name → function
--     import = {                            -- optional: it reads registries of another format
--       extensions = { "yaml", "yml" },
--       load = function(text, file, words) … return declarations end,   -- or nil, { { line =, message =, … }, … }
--     },
--   }
--
-- It is code of the user's own and runs unrestricted, but in an environment of its own: a forgotten `local` harms
-- nobody else.

local M = {}

local SHIPPED = { "dictionary" }

---@class lunadex.Plugin
---@field name string
---@field describe string
---@field options table<string, table>?
---@field hooks table<string, function>?
---@field import {extensions: string[], load: function}?
---@field file string              # where it came from

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

local TOP = { name = "string", describe = "string", options = "table", hooks = "table", import = "table" }

--- What is wrong with what a plugin's file gave, or nil.
local function wrong(plugin, name)
  if type(plugin) ~= "table" then return "gives " .. type(plugin) .. "; expected one table" end
  for key in pairs(plugin) do
    if not TOP[key] then
      local hint = type(key) == "string" and require("lunadex.suggest").hint(key, TOP)
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
  local ok, plugin, where = pcall(require, "lunadex.plugins." .. name)
  if ok then
    local file = type(where) == "string" and where:sub(1, 1) ~= ":" and where or ("plugins/%s.lua"):format(name)
    return finish(plugin, name, file)
  elseif not tostring(plugin):find("module 'lunadex.plugins." .. name .. "' not found", 1, true) then
    return nil, ("the plugin %q cannot be loaded: %s"):format(name, tostring(plugin))
  end
  return nil, ("there is no plugin %q (looked at %s and those that come with Lunadex)"):format(name,
    table.concat(looked, ", "))
end

--- The importers, by extension. Those of the user's folders come first. Their files are only run when they look like an
--- importer: a folder called `plugins` may hold all sorts of things.
---@param options {folder: string?, path: string?}?
---@return table<string, lunadex.Plugin> importers
---@return string[] messages       # of those that cannot be loaded
function M.importers(options)
  local core = require "lunadex.core"
  local importers, messages, seen = {}, {}, {}
  local function add(name)
    if seen[name] then return end
    seen[name] = true
    local plugin, message = M.load(name, options)
    if not plugin then
      messages[#messages + 1] = message
    elseif plugin.import then
      for _, extension in ipairs(plugin.import.extensions) do
        importers[extension] = importers[extension] or plugin
      end
    end
  end
  for _, folder in ipairs(folders(options or {})) do
    for _, file in ipairs(core.list_directory(folder) or {}) do
      local name = file:match("^([%w_-]+)%.lua$")
      local text = name and read(folder .. "/" .. file)
      if text and text:find("import%s*=") and text:find("extensions%s*=") then add(name) end
    end
  end
  for _, name in ipairs(SHIPPED) do add(name) end
  return importers, messages
end

return M
