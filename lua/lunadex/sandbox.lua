-- Where registries run: an environment that holds what a registry may use, under limits.
--
-- Nothing here can reach files, processes, the network or the program's own state. What is missing on purpose says so
-- when it is used, and what is misspelt is named with the nearest right spelling. Both are recorded, not raised: the
-- file goes on with a value that swallows everything done to it, so that one run shows all the mistakes of a file.

local core = require "lunadex.core"
local suggest = require "lunadex.suggest"
local task = require "lunadex.task"

local M = {}

---@class lunadex.Limits
---@field instructions integer     # VM instructions; allocating 16 bytes counts as one
---@field memory integer           # bytes
---@field seconds number           # of the processor: what one instruction calls may run for a while

-- An endless loop takes about a second to get there. A registry of 100,000 indexes needs some 5 million.
M.limits = { instructions = 300 * 1000 * 1000, memory = 512 * 1024 * 1024, seconds = 60 }

--- Stands for whatever could not be given. It swallows calls, indexing and arithmetic; the checks skip it.
M.HOLE = setmetatable({}, { __name = "unknown value", __metatable = false })
do
  local meta = debug.getmetatable(M.HOLE)
  local function hole() return M.HOLE end
  for event in ("call index add sub mul div mod pow unm idiv band bor bxor shl shr bnot concat"):gmatch("%a+") do
    meta["__" .. event] = hole
  end
  meta.__newindex = function() end
  meta.__lt = function() return false end
  meta.__le = meta.__lt
  meta.__tostring = function() return "(unknown)" end
end

-- What is not there, and what to do instead.
local DATA = "a registry is data: it describes indexes and does nothing itself"
local SCRIPT = "; put this into a script and start it with `lunadex run`"
local FORBIDDEN = {
  os = { DATA .. SCRIPT, { getenv = 'use env "NAME" to read an environment variable' } },
  io = { DATA .. SCRIPT },
  debug = { DATA },
  package = { "every *.lua file of the registry's folder is read anyway; files cannot include one another" },
  coroutine = { DATA },
  require = { "every *.lua file of the registry's folder is read anyway; for code of your own write a plugin" },
  dofile = { "every *.lua file of the registry's folder is read anyway; files cannot include one another" },
  loadfile = { "every *.lua file of the registry's folder is read anyway; files cannot include one another" },
  load = { "write the code into the file itself" },
  loadstring = { "write the code into the file itself" },
  pcall = { "let the error happen: it is reported with file and line" },
  xpcall = { "let the error happen: it is reported with file and line" },
  setmetatable = { "use plain tables and functions" },
  getmetatable = { "use plain tables and functions" },
  rawget = { "use plain tables and functions" },
  rawset = { "use plain tables and functions" },
  rawequal = { "use plain tables and functions" },
  rawlen = { "use plain tables and functions" },
  collectgarbage = { "memory is looked after" },
  print = { "a registry prints nothing; `lunadex plan` shows what it declares, error(…) stops with a message" },
  warn = { "a registry prints nothing; error(…) stops with a message" },
  _G = { "global names of a file are its own; write the name itself" },
}
local FORBIDDEN_IN = {
  string = { dump = "functions stay functions here" },
  math = { randomseed = "a registry has to say the same each time it is read" },
}

local function copy(library, without)
  local result = {}
  for name, value in pairs(library) do
    if not (without and without[name]) then result[name] = value end
  end
  return result
end

-- By environment, the methods that strings have there. What a file changes in its `string` is no method of the texts of
-- our own functions that it calls; what it adds is one of its own.
local methods_of = setmetatable({}, { __mode = "k" })

-- Those that strings have in code of a project's plugins, which has no environment of ours.
local counted_methods = setmetatable(copy(core.counted.string), { __index = string })

---@class lunadex.sandbox.Problem
---@field line integer
---@field message string
---@field hint string?

--- A fresh environment for one file: the safe part of the standard library, and `words` on top.
---@param words table<string, any>
---@param report fun(line: integer, message: string, hint: string?)   # an unknown or forbidden name was used
---@return table environment
function M.environment(words, report)
  local env = {
    string = copy(string, FORBIDDEN_IN.string),
    table = copy(table),
    math = copy(math, FORBIDDEN_IN.math),
    utf8 = copy(utf8),
    select = select, ipairs = ipairs, pairs = pairs, next = next,
    tostring = tostring, tonumber = tonumber, type = type, error = error, assert = assert,
    _VERSION = _VERSION,
  }
  for library, functions in pairs(core.counted) do
    for name, value in pairs(functions) do env[library][name] = value end
  end
  local own = env.string
  methods_of[env] = setmetatable(copy(own), { __index = own })
  for name, value in pairs(words) do env[name] = value end

  -- `line` is asked for where the registry called in: current_line(2) counts itself, that function, the registry.
  local function forbid(line, name, hint)
    report(line, ("`%s` is not available in a registry"):format(name), hint)
    return M.HOLE
  end
  for library, hints in pairs(FORBIDDEN_IN) do
    setmetatable(env[library], {
      __metatable = false,
      __index = function(self, name)
        local hint = hints[name]
        local line = core.current_line(2)
        if hint then return forbid(line, library .. "." .. name, hint) end
        report(line, ("there is no `%s.%s`"):format(library, tostring(name)),
          type(name) == "string" and suggest.hint(name, self) or nil)
        return M.HOLE
      end,
    })
  end
  local function library_proxy(library, hint, hints)
    return setmetatable({}, {
      __metatable = false,
      __newindex = function() end,
      __call = function() return forbid(core.current_line(2), library, hint) end,
      __index = function(_, name)
        return forbid(core.current_line(2), library .. "." .. tostring(name), hints and hints[name] or hint)
      end,
    })
  end
  local proxies = {}
  return setmetatable(env, {
    __metatable = false,
    __index = function(self, name)
      local forbidden = FORBIDDEN[name]
      if forbidden then
        if type(_G[name]) == "table" and name ~= "_G" then
          proxies[name] = proxies[name] or library_proxy(name, forbidden[1], forbidden[2])
          return proxies[name]
        end
        return forbid(core.current_line(2), name, forbidden[1])
      end
      local nearest = type(name) == "string" and suggest.nearest(name, self)
      report(core.current_line(2), ('unknown name "%s"'):format(tostring(name)),
        nearest and ('did you mean "%s"?'):format(nearest) or nil)
      return M.HOLE
    end,
  })
end

--- Compiles a file's text; only text, never a binary chunk, which could be made to do anything.
---@param text string
---@param file string              # its name in messages
---@param environment table
---@return function? chunk
---@return string? message         # without the file's name
---@return integer? line
function M.load(text, file, environment)
  if text:sub(1, 1) == "\27" then return nil, "is compiled Lua; a registry has to be Lua source text", 1 end
  text = text:gsub("^\xEF\xBB\xBF", "") -- a byte order mark, as some editors write it
  text = text:gsub("^#[^\n]*", "") -- a line `#!/usr/bin/…`
  local chunk, message = load(text, "@" .. file, "t", environment)
  if chunk then return chunk end
  local line, rest = M.locate(message)
  return nil, rest, line
end

--- Splits `file:line: message`, as Lua raises it.
---@param message any
---@return integer line            # 0: none
---@return string message
---@return string? file            # as Lua shortens it
function M.locate(message)
  message = tostring(message)
  local file, line, rest = message:match("^(.-):(%d+): (.*)$")
  if not line then return 0, message end
  return math.tointeger(line), rest, file
end

--- Runs `chunk` under `limits`. Methods of strings are those of its environment meanwhile: `("x"):rep(…)` does not look
--- into the environment by itself.
---@param chunk function
---@param environment table?       # nil: not one of ours
---@param limits lunadex.Limits?
---@return boolean ok
---@return any result_or_message
---@return integer? line
---@return "instructions"|"time"|"memory"|nil limit   # that was reached
---@return string? file            # of the line
function M.run(chunk, environment, limits)
  limits = limits or M.limits
  local strings = debug.getmetatable("")
  local methods = strings.__index
  strings.__index = environment and methods_of[environment] or counted_methods
  local refusal = task.refusal
  task.refusal = "what runs under limits cannot wait for a database"
  local ok, result, limit = core.run_limited(chunk, limits)
  strings.__index, task.refusal = methods, refusal
  if ok then return true, result end
  -- To make a text of anything else may take for ever.
  local line, message, file = M.locate(type(result) == "string" and result or "")
  if limit == "instructions" then
    return false, ("does not come to an end: stopped after %d million instructions")
      :format(limits.instructions // 1000000), line, limit, file
  elseif limit == "time" then
    return false, ("does not come to an end: stopped after %g seconds"):format(limits.seconds), line, limit, file
  elseif limit == "memory" then
    return false, ("needs too much memory: stopped at %d MB"):format(limits.memory // (1024 * 1024)), 0, limit
  elseif type(result) ~= "string" then
    return false, "error: " .. (type(result) == "table" and "(a table)" or tostring(result)), 0
  end
  return false, message, line, nil, file
end

return M
