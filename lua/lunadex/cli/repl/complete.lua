--- Completion: commands, names of Lua, and in strings, statements and arguments the names of the database.

local core = require "lunadex.core"
local format = require "lunadex.format"
local output = require "lunadex.cli.output"
local statement = require "lunadex.cli.repl.statement"

local M = {}

local most_shown = 60

-- The methods and fields that a value of ours or of the core has; what is not a table keeps them out of sight.
local function members(value)
  local found, hops = {}, 0
  while value ~= nil and hops < 5 do
    hops = hops + 1
    if type(value) == "table" then
      for key in next, value do
        if type(key) == "string" then found[key] = true end
      end
    end
    local meta = debug.getmetatable(value)
    local index = type(meta) == "table" and rawget(meta, "__index") or nil
    if type(index) == "function" then
      -- Of the core's: its methods are the first thing it knows.
      local _, methods = debug.getupvalue(index, 1)
      index = type(methods) == "table" and methods or nil
    end
    value = type(index) == "table" and index or nil
  end
  return found
end

-- Never calls anything: what __index of somebody's would do is unknown.
local function field(value, key)
  local hops = 0
  while type(value) == "table" and hops < 5 do
    hops = hops + 1
    local own = rawget(value, key)
    if own ~= nil then return own end
    local meta = debug.getmetatable(value)
    value = type(meta) == "table" and rawget(meta, "__index") or nil
  end
end

local reserved = "and break do else elseif end false for function goto if in local nil not or repeat return then true "
  .. "until while"

local function lua_names(session, text)
  local chain, separator, prefix = text:match "([%a_][%w_.]*)([.:])([%w_]*)$"
  if not chain then
    prefix = text:match "[%a_][%w_]*$" or ""
    if prefix == "" then return {}, "" end
    local found = members(session.environment)
    for word in reserved:gmatch "%a+" do found[word] = true end
    return found, prefix
  end
  local value = session.environment
  for name in chain:gmatch "[^.]+" do value = field(value, name) end
  if value == nil then return {}, prefix end
  local found = members(value)
  if separator == ":" and type(value) == "table" then
    for name in pairs(found) do
      local member = field(value, name)
      if member ~= nil and type(member) ~= "function" then found[name] = nil end
    end
  end
  for name in pairs(found) do
    if name:find "^_" and not prefix:find "^_" then found[name] = nil end
  end
  return found, prefix
end

-- Relations, indexes and, if wanted, columns.
local function names_of(catalog, columns)
  local found = {}
  for relation in catalog:relations() do
    found[relation.name] = true
    found[relation.display] = true
    for _, index in ipairs(relation:indexes()) do found[index.name] = true end
    if columns then
      for _, column in ipairs(relation:columns()) do found[column.name] = true end
      -- Collections have no columns: the fields that are indexed are those that are asked for.
      for _, index in ipairs(relation.schema and {} or relation:indexes()) do
        for _, key in ipairs(index:fields().keys or {}) do
          if key.column then found[key.column] = true end
        end
      end
    end
  end
  return found
end

local function database_names(session, text, columns)
  local prefix = text:match "[%w_$.%-\"\128-\255]*$"
  local catalog = session:known_catalog()
  return catalog and names_of(catalog, columns) or {}, prefix
end

local function files(text)
  local prefix = text:match "%S*$"
  local directory = prefix:match "^(.*/)" or ""
  local found = {}
  for _, name in ipairs(core.list_directory(directory == "" and "." or directory) or {}) do
    if name:sub(-1) == "/" or name:find "%.lua$" then found[directory .. name] = true end
  end
  return found, prefix
end

-- Whether the end of a text stands in a string.
local function in_string(text)
  local quote
  for c in text:gsub("\\.", ""):gmatch "[\"']" do
    if not quote then quote = c elseif quote == c then quote = nil end
  end
  local opened = select(2, text:gsub("%[%[", "")) > select(2, text:gsub("%]%]", ""))
  return quote ~= nil or opened
end

local function candidates(session, text)
  local name, rest = text:match "^%s*(\\[%a?]*)(.*)$"
  if not name then name, rest = text:match "^(help)(%s.*)$" end
  if name then
    if rest == "" then
      local found = {}
      for _, command in ipairs(session.commands) do found["\\" .. command.name] = true end
      return found, name
    end
    local command = session:command(name)
    local kind = command and command.completes
    if kind == "commands" then
      local prefix = rest:match "%S*$"
      local backslash = prefix:sub(1, 1) == "\\" and "\\" or ""
      local found = {}
      for _, each in ipairs(session.commands) do found[backslash .. each.name] = true end
      return found, prefix
    elseif kind == "files" then
      return files(rest)
    elseif kind then
      return database_names(session, rest, kind == "columns")
    end
    return {}, ""
  end
  if statement.is_sql(text, session.driver) or in_string(text) then return database_names(session, text, true) end
  return lua_names(session, text)
end

local function common_start(names)
  local start = names[1]
  for _, name in ipairs(names) do
    while name:sub(1, #start) ~= start do start = start:sub(1, -2) end
  end
  while not utf8.len(start) and start ~= "" do start = start:sub(1, -2) end
  return start
end

-- As many columns as fit.
local function list(names)
  local shown, width = {}, 0
  for i = 1, math.min(#names, most_shown) do
    shown[i] = format.line(names[i])
    width = math.max(width, format.width(shown[i]) + 2)
  end
  local per_line = math.max((output.columns() or 80) // width, 1)
  local lines = {}
  for i = 1, #shown, per_line do
    local parts = {}
    for j = i, math.min(i + per_line - 1, #shown) do parts[#parts + 1] = format.pad(shown[j], width) end
    lines[#lines + 1] = (table.concat(parts):gsub("%s+$", ""))
  end
  if #names > #shown then lines[#lines + 1] = ("… and %d more"):format(#names - #shown) end
  return table.concat(lines, "\n")
end

--- What is to be inserted behind a text, and what is to be shown because it could be several things.
---@param session lunadex.cli.Session
---@param text string              # what stands before the cursor, with the lines before it
---@return string? insert
---@return string? shown
function M.complete(session, text)
  local found, prefix = candidates(session, text)
  local names = {}
  for name in pairs(found) do
    if name:sub(1, #prefix) == prefix then names[#names + 1] = name end
  end
  if #names == 0 then return nil end
  table.sort(names)
  local start = common_start(names)
  if #start > #prefix then return start:sub(#prefix + 1) end
  if #names > 1 then return nil, list(names) end
end

return M
