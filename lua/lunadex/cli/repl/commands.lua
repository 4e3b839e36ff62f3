--- The commands that begin with a backslash. Each gets the session and what stands behind its name, and gives true or
--- an exit status, or nil and an error.

local common = require "lunadex.cli.common"
local errors = require "lunadex.errors"
local explain = require "lunadex.cli.repl.explain"
local format = require "lunadex.format"
local output = require "lunadex.cli.output"
local planning = require "lunadex.cli.plan"
local relations = require "lunadex.cli.repl.relations"
local show = require "lunadex.cli.show"
local task = require "lunadex.task"

local M = {}

---@class lunadex.cli.Command
---@field name string
---@field alias string?
---@field also table<string, true>?   # what psql has for it
---@field arguments string
---@field summary string
---@field help string
---@field offline boolean?         # it needs no connection
---@field completes "commands"|"files"|"names"|"columns"|nil
---@field run fun(session: lunadex.cli.Session, arguments: string): true|integer|nil, lunadex.Error?

local function usage(message, hint)
  return nil, errors.new("usage", message, hint)
end

-- Words as a shell would split them: quotes hold them together.
local function words_of(text)
  local words, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at then return words end
    local word = ""
    while at <= #text and not text:find("^%s", at) do
      local quote = text:match("^[\"']", at)
      local finish = quote and text:find(quote, at + 1, true)
      if finish then
        word = word .. text:sub(at + 1, finish - 1)
        at = finish + 1
      else
        word = word .. text:sub(at, at)
        at = at + 1
      end
    end
    words[#words + 1] = word
  end
end

-- A command of the command line, on this session's target.
local function options_of(session, name, arguments)
  local module, options = session.read { name, table.unpack(words_of(arguments)) }
  if module then options.target = options.target or session.connection.target end
  return module, options
end

local function run_line(name)
  return function(session, arguments)
    local module, options = options_of(session, name, arguments)
    return module and module.run(options) or options
  end
end

-- What plans would do, as a text.
local function work_of(plans)
  local parts = {}
  for _, plan in ipairs(plans) do
    parts[#parts + 1] = plan.target
    for change in plan:work { held = true } do
      parts[#parts + 1] = table.concat({ change.action, change.relation, change.name or "", change.live_name or "",
        tostring(change.definition), change.held and "held" or "" }, "\0")
    end
  end
  return table.concat(parts, "\n")
end

-- What plans are of, which need not be what this session is connected to.
local function targets_of(plans)
  local targets = {}
  for i, plan in ipairs(plans) do targets[i] = format.line(plan.target) end
  return table.concat(targets, " and ")
end

local function agrees(session, targets)
  local answer = session.ask(("Apply this to %s? [y/N] "):format(targets))
  if answer and answer:lower():find "^%s*y" then return true end
  output.line("nothing was changed")
  return false
end

-- What is done is what was shown and agreed to.
local function apply(session, arguments)
  local module, options = options_of(session, "apply", arguments)
  if not module then return options end
  if options.dry_run then return module.run(options) end
  if not session.options.write then
    return nil, errors.new("read_only", "apply changes the database, and this session only reads")
  end
  if not session.ask then
    return usage("\\apply asks first, and here is nobody to be asked", "Call lunadex apply instead.")
  end
  if options.quiet then return usage("\\apply asks about what it shows", "Leave --quiet out.") end
  options.detailed_exitcode = true
  local shown, targets
  do
    local plans <close>, troubles = common.plans(options, 1)
    if not plans then return common.fail_each(troubles, options) end
    local status = planning.show(plans, options)
    if status ~= common.EXIT.changes then return status end
    shown, targets = work_of(plans), targets_of(plans)
  end
  if not agrees(session, targets) then return true end
  function options.agree(plans)
    if work_of(plans) == shown then return true end
    -- Somebody was at it since: it is another plan, and another question.
    output.finish()
    local agreed = planning.show(plans, options) == common.EXIT.changes and agrees(session, targets_of(plans))
    output.go_beside()
    return agreed
  end
  return module.run(options)
end

local function tell_connection(session)
  local info = session.connection.info
  output.line(("%s %s   %s%s"):format(info.product, info.version, format.line(info.display),
    session.options.write and "" or "   read-only"))
  if info.standby then output.line("this server is a standby: nothing can be changed on it") end
  if info.warning ~= "" then output.line(output.style("yellow", "warning: "), format.line(info.warning)) end
end

local function connect(session, arguments)
  local unconnected = session:unconnected()
  if arguments == "" and unconnected then return usage("\\connect needs a target") end
  if arguments ~= "" then
    local ok, err = session:connect(arguments)
    if not ok then return nil, err end
    if not session.ask then return true end
  end
  tell_connection(session)
  return true
end

local function watch(session, arguments)
  local seconds, command = arguments:match "^(%d+%.?%d*)%s*(.*)$"
  command = command or arguments
  if command == "" then command = session.entered or "" end
  if command == "" then return usage("\\watch needs a command", "For example: \\watch 2 \\status") end
  seconds = math.max(tonumber(seconds) or 2, 0.1)
  local live = output.live() and session.ask
  while not task.stopping() do
    if live then output.write "\27[H\27[2J" end
    output.line(output.style("dim", ("%s   every %g s: %s"):format(os.date "%H:%M:%S", seconds, format.line(command))))
    local status = session:run(command)
    if status ~= 0 or session.over then return status end
    output.flush()
    task.sleep(seconds)
  end
  return true
end

local topics = {
  lua = [[
What is entered is Lua: an expression shows its value, anything else is run. Several lines belong together until they
are complete. At hand are `db`, the connection (db:query, db:rows, db:catalog, db:transaction …), `lunadex` (connect,
load, plan, apply …, as in scripts), and `_`, the last value. A local ends with the input it is in, so what is to stay
must be a global: `x = 1`, or write several statements as one input, between `do` and `end`.]],
  sql = [[
On PostgreSQL, what begins with a word of SQL is sent as it is, once a line ends with `;`. Parameters: db:query("SELECT
… WHERE id = $1", { 7 }). Each statement is a transaction of its own. On MongoDB: db:query("find", "users",
{ filter = { email = "…" } }).]],
  keys = [[
Tab completes commands, names of Lua and, in strings, SQL and arguments, names of the database. Up and Down fetch what
was entered before, Ctrl-R searches it; it is kept in $XDG_STATE_HOME/lunadex/history, but for lines that may hold a
password. Ctrl-C cancels what runs, or the line; Ctrl-D on an empty line ends.]],
  write = [[
Unless it was started with --write, the REPL only reads: builds and drops are refused, statements run in read-only
transactions, and of MongoDB's commands only those that read are sent.]],
}

local widest = 100 -- lines that are longer are hard to read

-- A paragraph, in lines that fit.
local function tell(text)
  local room, line = math.min(output.columns() or widest, widest), ""
  for word in text:gmatch "%S+" do
    if line ~= "" and format.width(line) + 1 + format.width(word) > room then
      output.line(line)
      line = ""
    end
    line = line == "" and word or line .. " " .. word
  end
  output.line(line)
end

local function help(session, name)
  if name == "" then
    local width = 0
    for _, command in ipairs(M.list) do width = math.max(width, #command.name + format.width(command.arguments) + 2) end
    for _, command in ipairs(M.list) do
      output.line(format.pad(("\\%s %s"):format(command.name, command.arguments), width), "  ", command.summary)
    end
    output.line()
    output.line("Anything else is Lua, or SQL that ends with a semicolon.")
    output.line("help NAME explains a command, or one of these: keys, lua, sql, write.")
    return true
  end
  local command = session:command(name)
  if command then
    output.line(output.style("bold", ("\\%s %s"):format(command.name, command.arguments)), command.alias
      and "   also \\" .. command.alias or "")
    tell(command.help)
  elseif topics[name] then
    tell(topics[name])
  else
    return usage(("there is no help on %s"):format(name), "help lists what there is.")
  end
  return true
end

-- Hands that write SQL all day end everything with a semicolon.
local function name_of(arguments)
  local name = arguments:gsub("%s*;+$", "")
  return name ~= "" and name or nil
end

--- Commands of psql that there are not, and what does the same.
M.instead = {
  postgres = {
    l = "SELECT datname FROM pg_database;", dn = "SELECT nspname FROM pg_namespace;",
    du = "SELECT rolname FROM pg_roles;", dv = "SELECT schemaname, viewname FROM pg_views;",
    df = "SELECT oid::regprocedure FROM pg_proc;",
  },
  mongodb = { l = 'db:query("listDatabases", 1, { ["$db"] = "admin" })' },
}

---@type lunadex.cli.Command[]
M.list = {
  { name = "d", also = { ["d+"] = true, dt = true, ["dt+"] = true }, arguments = "[NAME]",
    summary = "relations; or one of them with its indexes", completes = "names",
    run = function(session, arguments)
      return relations.tell(session.connection, name_of(arguments))
    end,
    help = [[
Without a name: all relations, with rows, size and how many indexes they have. With the name of a relation: its columns
and indexes with definition, size, use since the statistics began, and state. With the name of an index: that one. With
a pattern (* and ?): the relations that match it.]] },
  { name = "di", also = { ["di+"] = true }, arguments = "[PATTERN]", summary = "indexes, the largest first",
    completes = "names",
    run = function(session, arguments)
      return relations.tell_indexes(session.connection, name_of(arguments))
    end,
    help = [[
All indexes, or those whose name or relation matches a pattern (* and ?), the largest first. An index with no uses in
a long time costs every write for nothing; but replicas count their own.]] },
  { name = "status", alias = "s", arguments = "", summary = "what is being built, whom it waits for, leftovers",
    run = run_line "status",
    help = [[
What is being built right now, by whom, how far it is and who blocks it; what failed builds left; who holds the run
lock; the last runs. \watch 2 \status looks every two seconds.]] },
  { name = "plan", arguments = "[REGISTRY…]", summary = "what would change and why", completes = "files",
    run = run_line "plan",
    help = "As lunadex plan, on this connection's target; takes its options (\\plan --help)." },
  { name = "apply", arguments = "[REGISTRY…]", summary = "shows the plan, asks, and does it", completes = "files",
    run = apply,
    help = [[
As lunadex apply, on this connection's target, after a look at the plan and a question, which is asked again if the plan
is another one by then; takes its options (\apply --help). Needs --write. Ctrl-C cancels and cleans up.]] },
  { name = "check", arguments = "[REGISTRY…]", summary = "what rules and lint have to say", completes = "files",
    run = run_line "check",
    help = "As lunadex check, on this connection's target; takes its options (\\check --help)." },
  { name = "snapshot", arguments = "[-o FILE]", summary = "a registry written from what is live",
    run = run_line "snapshot", help = "As lunadex snapshot, on this connection's target (\\snapshot --help)." },
  { name = "explain", alias = "e", arguments = "QUERY", summary = "how a query is run, and by which indexes",
    completes = "columns", run = function(session, arguments) return explain.run(session, arguments) end,
    help = explain.help },
  { name = "watch", arguments = "[SECONDS] [INPUT]", summary = "does something again and again until Ctrl-C",
    completes = "commands", run = watch,
    help = [[
Every two seconds, or as many as are said: \watch 5 \d orders. Without INPUT it is what was entered before.]] },
  { name = "x", arguments = "", offline = true,
    summary = "rows as records, a line for each column; or as tables again",
    run = function()
      show.records = not show.records
      output.line(show.records and "rows are shown as records" or "rows are shown as tables")
      return true
    end,
    help = "For rows that are wider than the terminal." },
  { name = "connect", alias = "c", also = { conninfo = true }, arguments = "[TARGET]", offline = true,
    summary = "connects to another database; or says to which",
    run = connect,
    help = "TARGET is a URL, or key=value pairs, as for --target. What was connected stays so until the new one is." },
  { name = "help", alias = "?", arguments = "[NAME]", offline = true,
    summary = "this list; or one of it explained",
    completes = "commands", run = help, help = "help, without a backslash, does as well." },
  { name = "quit", alias = "q", arguments = "", offline = true,
    summary = "ends (also Ctrl-D)",
    run = function(session)
      session.over = true
      return true
    end,
    help = "What runs on the server for this session ends with it." },
}

return M
