--- lunadex run: a script with the engine at hand.

local common = require "lunadex.cli.common"
local database = require "lunadex.database"
local output = require "lunadex.cli.output"
local script = require "lunadex.cli.script"
local target = require "lunadex.target"
local task = require "lunadex.task"

local M = {}

M.summary = "a script with the engine at hand"

M.examples = [[
  lunadex run migrate.lua                        require "lunadex" gives it the engine
  lunadex run --target postgresql://app@db/shop report.lua --since 2026-01-01
  echo 'print(require("lunadex").version)' | lunadex run -]]

M.notes = [[
The script's exit status is what it returns (an integer; true or nothing is 0, false is 1) or gives
os.exit. A failure that ends it has 4, 5 and 6 as below, 65 in all other cases. docs/scripts.md says
what scripts may do.]]

M.own_options = true

---@param command table            # of argparse
function M.define(command)
  command:argument "script" :description "A Lua file; - is standard input."
  command:argument "arguments" :args "*" :argname "<argument>"
    :description "What the script gets as `...` and in the table `arg`, options too."
  command:option "--target" :argname "<url>"
    :description "What lunadex.connect() without a url connects to. Default: as for the other commands."
end

--- All that follows the script is its own.
---@param words string[]           # of the command line; changed in place
function M.read_words(words)
  local i = 2
  while words[i] and words[i]:find "^%-." do
    if words[i] == "--" then return end
    i = i + (words[i] == "--target" and 2 or 1)
  end
  if words[i] then table.insert(words, i, "--") end
end

-- Where in the script it is that a failure without a place was raised.
local function place(level)
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return "" end
    if info.source:sub(1, 1) == "@" and not script.is_ours(info.source:sub(2)) then
      return ("%s:%d: "):format(info.short_src, info.currentline)
    end
    level = level + 1
  end
end

-- A traceback without the lines that are ours.
local function tidy(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do
    if not (line:sub(1, 1) == "\t" and script.is_ours(line:sub(2))) then lines[#lines + 1] = line end
  end
  if lines[#lines] == "stack traceback:" then lines[#lines] = nil end
  return table.concat(lines, "\n")
end

-- What ended the script: the failure itself and what is said of it.
local function told(failure)
  if type(failure) == "string" then
    return { failure = failure, text = tidy(task.trace(failure) or debug.traceback(failure, 2)) }
  end
  return { failure = failure, text = place(3) .. script.text(failure) }
end

local function fail(what)
  output.complain(what.text)
  local signal = task.stopping()
  return signal and 128 + signal or script.status(what.failure)
end

local function read(path)
  if path == "-" then return io.stdin:read "a", "@stdin" end
  local file, problem = io.open(path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  if not text then return nil, "cannot be read: " .. (problem and problem:gsub("^.*: ", "") or "it is no file") end
  return text, "@" .. path
end

-- What was begun ends with the process, and the server hears of it.
local function close_on_exit()
  local exit = os.exit
  function os.exit(code) exit(code, true) end -- luacheck: ignore 122
end

local function status_of(result, err)
  if result == nil and err ~= nil then return fail(told(err)) end
  if result == nil or result == true then return 0 end
  if result == false then return common.EXIT.failed end
  local status = math.tointeger(result)
  if status and status >= 0 and status <= 255 then return status end
  output.complain(("the script returned %s: expected an exit status from 0 to 255, true, false or nothing"):format(
    tostring(result)))
  return common.EXIT.registry
end

---@param options table
---@return integer status
function M.run(options)
  local text, name = read(options.script)
  if not text then
    output.complain(("%s: %s"):format(options.script, name))
    return common.EXIT.registry
  end
  local chunk, problem = load(text:gsub("^\xEF\xBB\xBF", "", 1):gsub("^#[^\n]*", "", 1), name, "t")
  if not chunk then
    output.complain(problem)
    return common.EXIT.registry
  end
  target.preset = options.target
  database.on_notice = script.tell_notice
  options.arguments[0] = options.script
  rawset(_G, "arg", options.arguments)
  io.stdout:setvbuf "line"
  collectgarbage("setpause", 200)
  close_on_exit()
  script.watch_signals()
  local results = table.pack(xpcall(chunk, told, table.unpack(options.arguments)))
  -- Where memory runs out, Lua has none for the handler either.
  if not results[1] then return fail(type(results[2]) == "table" and results[2] or told(results[2])) end
  -- A task that raised, and that nobody joined.
  local ok, failure = pcall(task.check)
  if not ok then return fail(told(failure)) end
  local signal = task.stopping()
  return signal and 128 + signal or status_of(results[2], results[3])
end

return M
