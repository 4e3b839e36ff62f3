-- The program under test, as a process.
local dkjson = require "dkjson"
local shell = require "support.shell"

local M = {}

--- The build directory: `build`, or what ./dev test says.
M.build = os.getenv "LUNADEX_BUILD" or (shell.check("pwd"):gsub("\n$", "") .. "/build")
M.program = M.build .. "/lunadex"

-- All that a run gets from our environment: a developer's PGHOST or DATABASE_URL must not reach a test.
local passed_on = { "PATH", "HOME", "TMPDIR", "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS" }

---@class support.Result
---@field status integer
---@field stdout string
---@field stderr string
local Result = {}
Result.__index = Result

--- The one JSON object on standard output.
function Result:json()
  local value, _, message = dkjson.decode(self.stdout)
  if message then error(("no JSON (%s):\n%s%s"):format(message, self.stdout, self.stderr), 2) end
  return value
end

--- One JSON object a line, as `apply --json` prints them.
function Result:events()
  local events = {}
  for line in self.stdout:gmatch("[^\n]+") do
    local value, _, message = dkjson.decode(line)
    if message then error(("no JSON (%s): %s"):format(message, line), 2) end
    events[#events + 1] = value
  end
  return events
end

--- All that was said, for messages of assertions.
function Result:__tostring()
  return ("exit %d\n--- stdout\n%s--- stderr\n%s"):format(self.status, self.stdout, self.stderr)
end

local function split(arguments)
  local words, options = {}, { clean = true, env = {} }
  for i, word in ipairs(arguments) do words[i] = word end
  for _, name in ipairs(passed_on) do options.env[name] = os.getenv(name) end
  options.env.LC_ALL = "C.UTF-8"
  for name, value in pairs(arguments.env or {}) do options.env[name] = value end
  options.stdin, options.cwd, options.seconds = arguments.stdin, arguments.cwd, arguments.seconds
  table.insert(words, 1, M.program)
  local under = arguments.under or {}
  words = table.move(words, 1, #words, #under + 1, { table.unpack(under) })
  return words, options
end

--- `lunadex.run { "plan", "--json", "registry/shop", env = { DATABASE_URL = url }, stdin = "…", cwd = "…" }`;
--- under = { "valgrind" }: what runs it.
---@param arguments table
---@return support.Result
function M.run(arguments)
  local words, options = split(arguments)
  return setmetatable(shell.call(words, options), Result)
end

--- The same in the background; see support.shell, Process. Its `wait` gives a plain table, which `M.result` makes a
--- Result.
---@param arguments table
---@return support.Process
function M.start(arguments)
  return shell.start(split(arguments))
end

---@return support.Result
function M.result(plain) return setmetatable(plain, Result) end

--- A registry file with this text, in a directory of its own; returns its path.
---@param text string
---@param name string? default registry.lua
---@return string
function M.registry(text, name)
  local path = shell.directory("registry") .. "/" .. (name or "registry.lua")
  shell.write_file(path, text)
  return path
end

return M
