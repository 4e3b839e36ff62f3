--- A session of the REPL: its connection, its Lua, and what came of what was entered.

local commands = require "lunadex.cli.repl.commands"
local common = require "lunadex.cli.common"
local core = require "lunadex.core"
local database = require "lunadex.database"
local errors = require "lunadex.errors"
local output = require "lunadex.cli.output"
local script = require "lunadex.cli.script"
local show = require "lunadex.cli.show"
local statement = require "lunadex.cli.repl.statement"
local target = require "lunadex.target"
local task = require "lunadex.task"

local M = {}

---@class lunadex.cli.Session
---@field options table            # of the command line
---@field parser table            # of argparse: the whole command line
---@field read fun(words: string[]): table?, table|integer   # a command of the command line: its module and options
---@field ask (fun(question: string): string?)?   # nil: there is nobody to be asked
---@field environment table        # of what is entered
---@field commands table[]
---@field connection lunadex.Connection?
---@field driver string?
---@field entered string?          # before, but for \watch
---@field over boolean?            # it is to end
---@field sql_session integer?   # on which the last statement of SQL ran
---@field noted table<string, true>   # what has been said, and need not be again
local Session = {}
Session.__index = Session

---@param options table
---@param parser table
---@param read function
---@return lunadex.cli.Session
function M.new(options, parser, read)
  local self = setmetatable({ options = options, parser = parser, read = read, commands = commands.list,
    noted = {} }, Session)
  self.environment = setmetatable({ lunadex = require "lunadex" }, { __index = _G })
  self.environment._G = self.environment
  return self
end

--- Connects, and gives up what it was connected to.
---@param url string
---@return true?
---@return lunadex.Error? err
function Session:connect(url)
  -- What a statement sets is to be there for the next one, however long that takes.
  local connection, err = database.open(url, { application_name = "lunadex repl", on_notice = database.on_notice },
    self.options.write)
  if not connection then return nil, err end
  local info
  info, err = connection:connect()
  if not info then
    connection:close()
    return nil, err
  end
  self:close()
  self.connection, self.driver, self.environment.db = connection, info.driver, connection
  target.preset = url
  return true
end

function Session:close()
  if self.connection then self.connection:close() end
  self.connection, self.driver, self.environment.db, self.catalog, self.sql_session = nil, nil, nil, nil, nil
end

--- Why nothing can be asked of a database; nil: there is one.
---@return lunadex.Error?
function Session:unconnected()
  if not self.connection then
    return errors.new("usage", "there is no connection", "\\connect TARGET opens one.")
  elseif not self.connection.handle then
    return errors.new("usage", "the connection was closed", "\\connect opens another one.")
  end
end

local still_good = 10 -- seconds: a name that is completed need not be newer

--- The catalog for what is only a convenience; nil where it is not to be had. Raises "interrupted" after a signal.
---@return lunadex.Catalog?
function Session:known_catalog()
  if self:unconnected() then return nil end
  if self.catalog and core.now() - self.catalog_read < still_good then return self.catalog end
  local signal, catalog = task.dispensable(self.connection.catalog, self.connection)
  if signal then error("interrupted", 0) end
  self.catalog, self.catalog_read = catalog or self.catalog, core.now()
  return self.catalog
end

--- The command of that name, however it is written: `d`, `\d`, `describe`.
---@param name string
---@return table?
function Session:command(name)
  name = name:gsub("^\\", "")
  for _, command in ipairs(self.commands) do
    if command.name == name or command.alias == name or command.also and command.also[name] then return command end
  end
end

-- Where it happened in what was entered, or in files of the user's, and how it came there; without what is ours.
local function tidy(message)
  local places, ways = {}, {}
  for line in debug.traceback("", 2):gmatch "[^\n]+" do
    local place, rest = line:match "^\t(%S+:%d+): (.*)$"
    if place and not script.is_ours(place) then
      places[#places + 1] = place
      if rest ~= "in main chunk" then ways[#ways + 1] = ("  %s: %s"):format(place, rest) end
    end
  end
  local raised = message:match "^lua/lunadex/%S+:%d+: (.*)$"
  if raised then message = (places[1] and places[1] .. ": " or "") .. raised end
  -- The first is where it happened, which the message says.
  if ways[1] and message:sub(1, #places[1]) == places[1] then table.remove(ways, 1) end
  return table.concat({ message, table.unpack(ways) }, "\n")
end

local function explain(failure)
  if type(failure) == "string" then return tidy(failure) end
  return failure
end

local function fail(self, failure)
  if task.stopping() then return end -- whoever interrupted it knows
  local text = script.text(failure)
  if type(failure) == "table" and failure.code == "read_only" and not self.options.write then
    text = failure.message .. "\nStart lunadex repl --write to be allowed to change things."
  elseif not self.connection and text:find("(global 'db')", 1, true) then
    text = text .. "\n" .. errors.describe(self:unconnected())
  end
  output.flush()
  if self.ask then
    -- What a database holds, and a message quotes, is not to steer a terminal.
    io.stderr:write(output.style("red", "error: "), (text:gsub("[^%C\n\t]", " ")), "\n")
  else
    output.complain(text)
  end
end

-- Shows something. Laying out a large result takes a while, and nothing looks for signals then, so it may be left at
-- any place.
local function display(show_it, ...)
  if task.stopping() then return end
  script.watch_signals(true)
  show_it(...)
  debug.sethook()
end

-- A chunk's values, shown; its first one stays at hand.
local function show_results(self, results)
  if results.n == 0 then return 0 end
  if results[1] == nil and results.n > 1 and show.is_failure(results[2]) then
    fail(self, results[2])
    return script.status(results[2])
  end
  -- An error that did not happen is a nil at the end.
  while results.n > 1 and results[results.n] == nil do results.n = results.n - 1 end
  for i = 1, results.n do display(show.value, results[i]) end
  self.environment._ = results[1]
  return 0
end

local function compile(self, text)
  local chunk = load("return " .. text, "=input", "t", self.environment)
  if chunk then return chunk end
  return load(text, "=input", "t", self.environment)
end

-- Once for each `subject`, and only to whoever is there.
local function note(self, subject, text)
  if not self.ask or self.noted[subject] then return end
  self.noted[subject] = true
  output.line(output.style("dim", "note: " .. text))
end

local function tell_of_locals(self, text)
  local name = text:match "^%s*local%s+([%a_][%w_]*)" or text:match "\nlocal%s+([%a_][%w_]*)"
  if name then note(self, "local", ("a local ends with its input; without `local`, %s stays"):format(name)) end
end

local function run_lua(self, text)
  local chunk, problem = compile(self, text)
  if not chunk then
    -- The habit of who is at the other kind of database most of the time.
    local is_sql = self.driver == "mongodb" and statement.is_sql(text)
    fail(self, is_sql and errors.new("usage", "MongoDB speaks no SQL",
      'db:query("find", "users", { filter = { email = "…" } }) is how it is asked; help sql tells more.') or problem)
    return common.EXIT.registry
  end
  script.watch_signals()
  local results = table.pack(xpcall(chunk, explain))
  if not results[1] then error(results[2], 0) end
  tell_of_locals(self, text)
  return show_results(self, table.pack(table.unpack(results, 2, results.n)))
end

-- A connection that was lost, and one on which something was cancelled, is replaced by another. Without --write nothing
-- is lost with it: all that a statement sets is undone at its end.
local function tell_of_session(self)
  local before, now = self.sql_session, self.connection.last_session
  self.sql_session = now
  if not self.options.write or not before or now == before then return end
  output.complain "this ran in a new session: what SET, PREPARE and temporary tables made in the one before is gone"
end

local function run_sql(self, text)
  local err = self:unconnected()
  if err then
    fail(self, err)
    return common.EXIT.usage
  end
  local rows
  rows, err = self.connection:query(text)
  tell_of_session(self)
  if not rows then
    fail(self, err)
    return script.status(err)
  end
  display(show.rows, rows)
  if rows.command == "SET" and not self.options.write then
    note(self, "set", "without --write each statement is undone at its end, and so is SET; several at once: "
      .. "db:transaction(function(tx) … end)")
  end
  return 0
end

local function run_command(self, name, arguments)
  local command = self:command(name)
  if not command then
    local instead = commands.instead[self.driver or "postgres"][name:gsub("%+$", "")]
    fail(self, errors.new("usage", ("there is no command \\%s"):format(name),
      instead and instead .. "   help lists the commands." or "help lists them."))
    return common.EXIT.usage
  end
  local unconnected = not command.offline and self:unconnected()
  if unconnected then
    fail(self, unconnected)
    return common.EXIT.usage
  end
  local done, err = command.run(self, arguments)
  if done then return math.type(done) == "integer" and done or 0 end
  fail(self, err)
  return script.status(err)
end

--- Does what was entered, as a part of something that may be interrupted.
---@param text string
---@return integer status
function Session:run(text)
  local name, arguments = statement.command(text)
  if not name and not statement.is_sql(text, self.driver) then return run_lua(self, text) end
  if text:find("\0", 1, true) then
    fail(self, errors.new("usage", "it holds a zero byte, which neither SQL nor a command may",
      "A file in UTF-16 has such, or one that was damaged."))
    return common.EXIT.usage
  end
  if name then return run_command(self, name, arguments) end
  return run_sql(self, text)
end

--- Does what was entered. A signal ends that, not the session.
---@param text string
---@return integer status
---@return integer? signal
function Session:enter(text)
  -- That it stops is plain to see, unless it takes long.
  common.tell_stop(function(event)
    if event.waits_for then output.complain(common.stopping_text(event)) end
  end)
  local function protected()
    local ok, status = pcall(self.run, self, text)
    if not ok and not (task.stopping() or core.signal()) then fail(self, status) end
    return ok and status or script.status(status)
  end
  local ok, signal, status = pcall(task.interruptible, protected)
  if not ok then
    fail(self, signal)
    signal, status = nil, common.EXIT.registry
  end
  if signal then
    output.flush()
    output.go_on()
    io.stderr:write("interrupted\n")
  end
  local fine, failure = pcall(task.check)
  if not fine and not signal then
    fail(self, failure)
    status = script.status(failure)
  end
  if self.options.write then self.catalog = nil end
  if not text:find "^%s*\\watch" then self.entered = text end
  output.flush()
  return status, signal
end

return M
