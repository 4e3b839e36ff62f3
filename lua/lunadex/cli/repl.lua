--- lunadex repl: Lua with the engine at hand, and short commands to look at indexes.

local common = require "lunadex.cli.common"
local complete = require "lunadex.cli.repl.complete"
local core = require "lunadex.core"
local database = require "lunadex.database"
local format = require "lunadex.format"
local history = require "lunadex.cli.repl.history"
local output = require "lunadex.cli.output"
local script = require "lunadex.cli.script"
local sessions = require "lunadex.cli.repl.session"
local statement = require "lunadex.cli.repl.statement"
local target = require "lunadex.target"

local M = {}

M.summary = "Lua with the engine at hand, and commands to look at indexes"

M.examples = [[
  lunadex repl --target postgresql://app@db/shop     help lists the commands
  lunadex repl --write                               may change things, too
  echo '\d orders' | lunadex repl]]

M.notes = [[
Without a terminal it ends at the first failure: 4, 5 and 6 as below, a command's own status, 64
where there is no connection, 65 for everything else.]]

M.own_options = true

---@param command table            # of argparse
function M.define(command)
  command:option "--target" :argname "<url>"
    :description("postgresql://user@host/database, key=value pairs, or mongodb://host/database. Default: "
      .. "LUNADEX_TARGET, DATABASE_URL, MONGODB_URI, the PG* variables. Without any, \\connect opens one.")
  command:flag "--write" :description "Allow to change things. Default: only reading."
  command:flag "--no-color" :description "No colours."
end

local function greet(session)
  local info = session.connection and session.connection.info
  output.line(output.style("bold", "lunadex " .. core.version), info and ("   %s %s   %s"):format(info.product,
    info.version, format.line(info.display)) or "   no connection: \\connect TARGET opens one")
  output.line(session.options.write and output.style("yellow", "may change things")
    or "only reads; lunadex repl --write may change things")
  if info and info.standby then output.line("this server is a standby: nothing can be changed on it") end
  if info and info.warning ~= "" then output.line(output.style("yellow", "warning: "), format.line(info.warning)) end
  output.line(output.style("dim", "help lists the commands, Tab completes, Ctrl-D ends"))
  output.flush()
end

-- The database's name, so that nobody takes one for another; what may write looks different.
local function prompts(session)
  local name = session.connection and session.connection.info.database or "no database"
  local prompt = format.line(name) .. (session.options.write and "! " or "> ")
  return prompt, (" "):rep(format.width(prompt) - 3) .. "-> "
end

-- On a terminal, until its end.
local function converse(session)
  local input = statement.input(session.driver) -- the lines before the one that is edited
  local editor = core.editor(function(before)
    -- On a coroutine of its own: it may wait for the catalog, and the editor's cannot.
    local ok, insert, shown, erase = pcall(coroutine.wrap(complete.complete), session, input.lines, before)
    if ok then return insert, shown, erase end
    return nil, insert -- what went wrong
  end)
  local entered, problem = history.open(editor)
  if problem then output.complain(problem) end
  function session.ask(question)
    output.flush()
    return (editor:read(question))
  end
  while not session.over do
    local prompt, more = prompts(session)
    local line, why = editor:read(#input.lines == 0 and prompt or more)
    if line then
      if not input:add(line) then
        local text, status, signal = input:text(), 0, nil
        entered:add(text)
        if text:find "%S" then status, signal = session:enter(text) end
        input = statement.input(session.driver)
        if signal and signal ~= 2 then return 128 + signal end
        if output.lost then return status end
      end
    elseif why == "end" then
      break
    else
      local signal = core.signal()
      if signal and signal ~= 2 then return 128 + signal end
      core.forget_signal()
      input = statement.input(session.driver)
    end
  end
  return 0
end

-- What comes from a file or a pipe, up to the first failure.
local function follow(session)
  local input = statement.input(session.driver)
  local function enter()
    local text, status, signal = input:text(), 0, nil
    if text:find "%S" then status, signal = session:enter(text) end
    input = statement.input(session.driver)
    return signal and 128 + signal or status
  end
  local first = true
  -- A signal ends the reading as the end of the file does; `lines` would raise it.
  for line in function() return (io.stdin:read "l") end do
    -- Behind the mark of an encoding, or the name of who is to read it, a file is what it is without them.
    if first then line = line:gsub("^\xEF\xBB\xBF", ""):gsub("^#!.*", "") end
    first = false
    if not input:add(line) then
      local status = enter()
      if status ~= 0 or session.over then return status end
    end
  end
  local signal = core.signal()
  if signal then return 128 + signal end
  return enter()
end

---@param options table
---@param parser table             # of argparse
---@param read fun(words: string[]): table?, table|integer
---@return integer status
function M.run(options, parser, read)
  local url, source = target.find(options.target)
  if options.target and not url then return common.fail(source, options) end
  database.read_only, database.on_notice = not options.write, script.tell_notice
  local session = sessions.new(options, parser, read)
  -- Who names no server may still use Lua, look things up, and connect.
  if url then
    local ok, err = session:connect(url)
    if not ok then return common.fail(err, options) end
  end
  collectgarbage("setpause", 200)
  local status
  if core.terminal(0) and core.terminal(1) then
    greet(session)
    status = converse(session)
  else
    status = follow(session)
  end
  session:close()
  return status
end

return M
