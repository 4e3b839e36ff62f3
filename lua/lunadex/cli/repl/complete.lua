--- Completion: commands, names of Lua, and in strings, statements and arguments the names of the database.

local core = require "lunadex.core"
local format = require "lunadex.format"
local output = require "lunadex.cli.output"
local scan = require "lunadex.cli.repl.scan"
local sql_names = require "lunadex.cli.repl.sql_names"
local statement = require "lunadex.cli.repl.statement"

local M = {}

---@class lunadex.cli.Candidates
---@field prefix string            # what stands before the cursor of a name
---@field names table<string, string|true>   # what could be written there, and what it means if that is another text
---@field matches (fun(prefix: string, meaning: string): boolean)?   # whether one is meant; default: it begins so
---@field escape string?           # what has a backslash before it in the text around

local most_shown = 60

--- Of values of the library, what is for scripts (docs/reference.md); they have more, which is the library's own.
M.for_scripts = {
  ["lunadex.Connection"] = { methods = "build catalog close connect drop query rename rows status transaction",
    fields = "display driver info" },
  ["lunadex.Plan"] = { methods = "apply changes has_changes is_meant refusal work",
    fields = "database findings info summary target" },
  ["lunadex.Task"] = { methods = "cancel join", fields = "" },
  ["lunadex.SingleBackfill"] = { methods = "run", fields = "name" },
}

-- The methods and fields that a value of ours or of the core has; what is not a table keeps them out of sight.
local function members(value)
  local found, hops = {}, 0
  local class = debug.getmetatable(value)
  local public = type(class) == "table" and M.for_scripts[rawget(class, "__name")]
  if public then
    for name in (public.methods .. " " .. public.fields):gmatch "%S+" do found[name] = true end
    return found
  end
  while value ~= nil and hops < 5 do
    hops = hops + 1
    if type(value) == "table" then
      for key in next, value do
        if type(key) == "string" then found[key] = true end
      end
    end
    local meta = debug.getmetatable(value)
    local index = type(meta) == "table" and rawget(meta, "__index") or nil
    if type(index) == "function" and debug.getinfo(index, "S").what == "C" then
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

-- What stands before a dot or a colon, as far as it is known without running anything.
local function owner(session, before, chain)
  if chain:find "^[%a_]" and not before:find "[:%]]$" then
    local value = session.environment
    for name in chain:gmatch "[^.]+" do value = field(value, name) end
    return value
  elseif chain == "" and before:find "[\"']%)$" then
    return "" -- ("text"):
  end
end

local function lua_names(session, text)
  local head, prefix = text:match "^(.-)([%w_]*)$"
  local before, chain, separator = head:match "^(.-)([%w_.]*)([.:])$"
  if not separator or head:find "%.%.$" then
    if prefix == "" then return nil end
    local found = members(session.environment)
    for word in reserved:gmatch "%a+" do found[word] = true end
    return { prefix = prefix, names = found }
  end
  local value = owner(session, before, chain)
  if value == nil then return nil end
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
  return { prefix = prefix, names = found }
end

-- Relations, indexes and, if wanted, columns; `add` gets the name and, of a relation, its schema.
local function each_name(catalog, columns, add)
  for relation in catalog:relations() do
    add(relation.name)
    if relation.schema then add(relation.name, relation.schema) end
    for _, index in ipairs(relation:indexes()) do add(index.name) end
    if columns then
      for _, column in ipairs(relation:columns()) do add(column.name) end
      -- Collections have no columns: the fields that are indexed are those that are asked for.
      for _, index in ipairs(relation.schema and {} or relation:indexes()) do
        for _, key in ipairs(index:fields().keys or {}) do
          if key.column then add(key.column) end
        end
      end
    end
  end
end

-- As a registry writes them.
local function names_as_shown(session, prefix, columns)
  local catalog, found = session:known_catalog(), {}
  if catalog then
    each_name(catalog, columns, function(name, schema)
      found[schema and core.quote_name(schema, name) or name] = true
    end)
  end
  return { prefix = prefix, names = found }
end

-- As a statement writes them.
local function names_in_sql(session, prefix, escape)
  local catalog, found = session:known_catalog(), {}
  if catalog then
    each_name(catalog, true, function(name, schema)
      found[(schema and sql_names.quote(schema) .. "." or "") .. sql_names.quote(name)] =
        schema and schema .. "." .. name or name
    end)
  end
  return { prefix = prefix, names = found, matches = sql_names.begins, escape = escape }
end

local function plain_tail(text)
  return text:match "[%w_$.%-\"\128-\255]*$"
end

local function files(text)
  local prefix = text:match "%S*$"
  local directory = prefix:match "^(.*/)" or ""
  local found = {}
  for _, name in ipairs(core.list_directory(directory == "" and "." or directory) or {}) do
    if name:sub(-1) == "/" or name:find "%.lua$" then found[directory .. name] = true end
  end
  return { prefix = prefix, names = found }
end

-- The options of a command that is one of the command line, too.
local function options_of(session, name, prefix)
  local found = {}
  for _, command in ipairs(session.parser._commands) do
    for _, option in ipairs(command._name == name and command._options or {}) do
      for _, alias in ipairs(option._aliases) do found[alias] = true end
    end
  end
  return { prefix = prefix, names = found }
end

local function commands_of(session, backslash)
  local found = {}
  for _, command in ipairs(session.commands) do found[backslash .. command.name] = true end
  return found
end

-- Behind a command's name.
local function arguments(session, command, text)
  local kind, option = command and command.completes, text:match "%s(%-%S*)$"
  if kind == "files" and option then
    return options_of(session, command.name, option)
  elseif kind == "commands" then
    local prefix = text:match "%S*$"
    return { prefix = prefix, names = commands_of(session, prefix:sub(1, 1) == "\\" and "\\" or "") }
  elseif kind == "files" then
    return files(text)
  elseif kind == "names" then
    return names_as_shown(session, text:match "^%s*(.*)$", false)
  elseif kind == "columns" and session.driver == "postgres" then
    return names_in_sql(session, sql_names.tail { text })
  elseif kind then
    return names_as_shown(session, plain_tail(text), true)
  end
end

-- In a string of Lua's, which `lines` end in: of a statement, or of names.
local function in_string(session, within, line)
  local content = line:sub(within.content)
  local call = within.before:match "([%a_]+)%s*%(?%s*$"
  if session.driver ~= "postgres" or not (call == "query" or call == "rows" or call == "ask") then
    return names_as_shown(session, plain_tail(content), true)
  end
  if within.open == "[" then return names_in_sql(session, sql_names.tail { content }) end
  return names_in_sql(session, sql_names.tail { (content:gsub("\\(.)", "%1")) }, within.open)
end

local function candidates(session, lines, before)
  local name, rest
  if #lines == 0 then
    name, rest = before:match "^%s*(\\[%a?]*)(.*)$"
    if not name then name, rest = before:match "^(help)(%s.*)$" end
  end
  if name and rest == "" then return { prefix = name, names = commands_of(session, "\\") } end
  if name then return arguments(session, session:command(name), rest) end
  local all = table.move(lines, 1, #lines, 1, {})
  all[#all + 1] = before
  if statement.is_sql(table.concat(all, "\n"), session.driver) then
    return names_in_sql(session, sql_names.tail(all))
  end
  local within = scan.new "lua"
  for _, line in ipairs(all) do within:add(line) end
  if within.open == "--" then return nil end
  if within.open then return in_string(session, within, before) end
  return lua_names(session, before)
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

local function begins(prefix, meaning) return meaning:sub(1, #prefix) == prefix end

--- What is to be inserted before the cursor, and what is to be shown because it could be several things.
---@param session lunadex.cli.Session
---@param lines string[]           # that were entered before, of the same input
---@param before string            # what stands before the cursor
---@return string? insert
---@return string? shown
---@return integer? erase          # how many characters before the cursor give way
function M.complete(session, lines, before)
  local found = candidates(session, lines, before)
  if not found then return nil end
  local prefix, matches, names = found.prefix, found.matches or begins, {}
  for name, meaning in pairs(found.names) do
    -- What holds a newline cannot be typed, either.
    if not name:find "%c" and matches(prefix, meaning == true and name or meaning) then names[#names + 1] = name end
  end
  if #names == 0 then return nil end
  table.sort(names)
  local start = common_start(names)
  local longer = #names == 1 and start ~= prefix or matches == begins and #start > #prefix
    or matches ~= begins and sql_names.is_longer(start, prefix)
  if not longer then return nil, #names > 1 and list(names) or nil end
  if found.escape then
    start, prefix = start:gsub(found.escape, "\\%0"), prefix:gsub(found.escape, "\\%0")
  end
  if start:sub(1, #prefix) == prefix then return start:sub(#prefix + 1) end
  return start, nil, utf8.len(prefix)
end

return M
