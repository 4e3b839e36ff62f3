-- Where registries run: an environment that holds what a registry may use, under limits.
--
-- Nothing here can reach files, processes, the network or the program's own state. What is missing on purpose says so
-- when it is used, and what is misspelt is named with the nearest right spelling. Both are recorded, not raised: the
-- file goes on with a value that swallows everything done to it, so that one run shows all the mistakes of a file.

local core = require "lunadex.core"
local suggest = require "lunadex.suggest"

local M = {}

---@class lunadex.Limits
---@field instructions integer     # VM instructions; allocating 16 bytes counts as one
---@field memory integer           # bytes
---@field seconds number           # of the processor: what one instruction calls may run for long

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

-- Functions of the standard library that run long inside C, where no instruction is counted, are asked beforehand.

local LONGEST = 0x7fffffff -- what the library itself refuses, with another line than the caller's

local function guarded_rep(s, n, separator)
  local count = tonumber(n)
  if type(s) == "string" and count and (#s + #tostring(separator or "")) * count > LONGEST then
    error("string.rep: the result would have more than two gigabytes", 2)
  end
  if s == "" and (separator or "") == "" then return "" end -- would count to n for nothing
  return string.rep(s, n, separator)
end

local function guarded_move(a, from, to, at, b)
  if math.type(from) and math.type(to) and to - from > 10 * 1000 * 1000 then
    error("table.move: more than ten million elements", 2)
  end
  return table.move(a, from, to, at, b)
end

-- Matching goes back over every way to split the subject among a pattern's repetitions: n bytes and k of them can take
-- n^k steps. Refused is what could take more than some seconds. A repetition does not count when what follows cannot
-- begin with what it repeats, as in `%w+%s*=`: then there is one way only. (Called while methods of strings are the
-- sandbox's own: hence no methods here.)
local STEPS = 2e9
local byte, find, gsub, sub = string.byte, string.find, string.gsub, string.sub

local members = {} -- a class as it is written → the bytes it has
local member_count = 0
local function members_of(class)
  local set = members[class]
  if not set then
    set = {}
    local written = class == "." and "." or find(class, "^[%%%[]") and class or "%" .. class
    if find(class, "^%w$") then written = class end
    for i = 0, 255 do set[i] = find(string.char(i), "^" .. written) ~= nil end
    if member_count > 1000 then members, member_count = {}, 0 end
    members[class], member_count = set, member_count + 1
  end
  return set
end

--- The single items of a pattern with their quantifiers; nil for what this does not understand.
local function items_of(pattern)
  local items = {}
  local at, last = 1, #pattern
  if sub(pattern, 1, 1) == "^" then at = 2 end
  while at <= last do
    local c = sub(pattern, at, at)
    local stop = at
    if c == "(" or c == ")" then
      at = at + 1
    elseif c == "$" and at == last then
      items[#items + 1] = { class = nil, quantifier = "" }
      at = at + 1
    else
      if c == "%" then
        stop = at + 1
        if find(sub(pattern, stop, stop), "[bf%d]") then return nil end
      elseif c == "[" then
        -- A bracket that stands first, or after a %, belongs to the set.
        local inside = find(pattern, "^%^", at + 1) and at + 2 or at + 1
        if sub(pattern, inside, inside) == "]" then inside = inside + 1 end
        while inside <= last and sub(pattern, inside, inside) ~= "]" do
          inside = inside + (sub(pattern, inside, inside) == "%" and 2 or 1)
        end
        if inside > last then return nil end
        stop = inside
      end
      local class = sub(pattern, at, stop)
      local quantifier = find(pattern, "^[%*%+%-%?]", stop + 1) and sub(pattern, stop + 1, stop + 1) or ""
      items[#items + 1] = { class = class, quantifier = quantifier }
      at = stop + 1 + #quantifier
    end
  end
  return items
end

local function disjoint(a, b)
  a, b = members_of(a), members_of(b)
  for i = 0, 255 do
    if a[i] and b[i] then return false end
  end
  return true
end

--- How many powers of the subject's length matching may take, and how many powers of two.
local function powers(pattern)
  local power = byte(pattern) ~= byte "^" and 2 or 1
  local items = items_of(pattern)
  if not items then
    local _, quantifiers = gsub(pattern, "[%*%+%-%?]", "")
    return power + quantifiers, 0
  end
  local twos = 0
  for i, item in ipairs(items) do
    if item.quantifier ~= "" and i < #items then -- nothing follows the last one: it never goes back
      local one_way = false
      for j = i + 1, #items do
        local following = items[j]
        one_way = following.class ~= nil and disjoint(item.class, following.class)
        if not one_way or following.quantifier == "" or following.quantifier == "+" then break end
      end
      if one_way then -- luacheck: ignore 542
      elseif item.quantifier == "?" then
        twos = twos + 1
      else
        power = power + 1
      end
    end
  end
  return power, twos
end

--- Whether matching a pattern against so many bytes could take more than a moment.
---@param pattern string
---@param length integer
---@return boolean
function M.is_slow(pattern, length)
  local power, twos = powers(pattern)
  return (length + 1) ^ (power - 1) * 2 ^ twos > 1e6
end

local function guard(name)
  local original = string[name]
  return function(s, pattern, ...)
    if type(s) == "string" and type(pattern) == "string" and not (name == "find" and select(2, ...)) then
      local power, twos = powers(pattern)
      if (#s + 1) ^ (power - 1) * 2 ^ twos > STEPS then
        error(("string.%s: matching this pattern against %d bytes could take minutes"):format(name, #s), 2)
      end
    end
    return original(s, pattern, ...)
  end
end

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
  env.string.rep = guarded_rep
  env.table.move = guarded_move
  for _, name in ipairs { "find", "match", "gmatch", "gsub" } do env.string[name] = guard(name) end
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

--- Runs `chunk` under `limits`. Methods of strings come from the environment's `string` meanwhile: `("x"):rep(…)` does
--- not look into the environment by itself.
---@param chunk function
---@param environment table?       # nil: that of trusted code
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
  strings.__index = environment and environment.string or methods
  local ok, result, limit = core.run_limited(chunk, limits)
  strings.__index = methods
  if ok then return true, result end
  local line, message, file = M.locate(result)
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
