--- The command line: options, commands, exit status. `require "lunadex.cli.main"(arg)` gives the status.

local argparse = require "argparse"
local common = require "lunadex.cli.common"
local core = require "lunadex.core"
local errors = require "lunadex.errors"
local json = require "lunadex.cli.json"
local output = require "lunadex.cli.output"
local task = require "lunadex.task"

local commands = { "plan", "apply", "check", "snapshot", "status", "backfill", "run", "repl", "completion" }

local exit_statuses = [[
exit status:
  0 fine   1 unexpected failure   2 plan --detailed-exitcode: there are changes
  3 builds failed   4 another run holds the lock   5 cannot connect
  6 refused   64 usage   65 registry or script error   130, 143 interrupted]]

local function jobs(text)
  local number = math.tointeger(tonumber(text))
  if number and number >= 1 and number <= 64 then return number end
  return nil, ("'%s' is no number of jobs: give 1 to 64"):format(text)
end

-- argparse ends the process by itself after --help; here a flag only says whose help is wanted.
local wanted_help

local function help_flag(parser)
  parser:add_help(false)
  parser:flag "-h --help" :description "Show this help." :action(function()
    wanted_help = wanted_help or parser
    error("", 0)
  end)
end

-- A command that means something else by one of these says so in `describes`.
local function common_options(command, module)
  if module.own_options then return end
  local describes = module.describes or {}
  if not module.without_registry then
    command:argument "registry" :args "*" :description "Registry files or directories. Default: registry/."
    command:option "--only" :argname "<name>" :count "*"
      :description(describes.only
        or "Only this index, or the indexes of this relation. May be repeated; each has to be there.")
    command:option "--database" :argname "<name>" :overwrite(false)
      :description "Only this database of the registry."
  end
  command:option "--target" :argname "<url>"
    :description("postgresql://user@host/database, key=value pairs, or mongodb://host/database. Default: the "
      .. "registry's url, LUNADEX_TARGET, DATABASE_URL, MONGODB_URI, the PG* variables.")
  command:option "--jobs" :argname "<n>" :convert(jobs)
    :description(describes.jobs or "Changes at work at a time; as many again may wait for others. Default: 2.")
  command:flag "--json" :description "Results for machines."
  command:flag "--quiet"
    :description(describes.quiet or "Only the summary, and what brings back what was dropped.")
  command:flag "--verbose" :description "Tell more."
  command:flag "--no-color" :description "No colours."
end

-- Those that look at, or run, others.
local looks_around = { repl = true, completion = true }

-- The commands that a command line can be about: to load them all takes longer than most of them do.
local function commands_of(arguments)
  local word = arguments[1]
  for _, name in ipairs(commands) do
    if name == word and not looks_around[name] then return { name } end
  end
  return commands
end

local function make_parser(names)
  local parser = argparse("lunadex", "Index management for PostgreSQL and MongoDB: declare, plan, apply.")
  parser:usage_max_width(100)
  parser:help_max_width(100)
  help_flag(parser)
  parser:flag "--version" :description "Show the version." :action(function()
    wanted_help = "version"
    error("", 0)
  end)
  parser:command_target "command"
  parser:require_command(true)
  parser:epilog("examples:\n"
    .. "  lunadex plan registry/ --target postgresql://app@db/shop\n"
    .. "  lunadex apply registry/ --target postgresql://app@db/shop\n"
    .. "  lunadex apply registry/users.lua --target mongodb://db/app\n"
    .. "  lunadex snapshot -o registry/shop.lua\n"
    .. "  lunadex run migrate.lua\n"
    .. "  lunadex plan --help\n\n" .. exit_statuses)
  local modules = {}
  for _, name in ipairs(names) do
    local module = require("lunadex.cli." .. name)
    local command = parser:command(name)
    command:summary(module.summary)
    command:description(module.summary:gsub("^%l", string.upper) .. ".")
    command:epilog((module.notes and module.notes .. "\n\n" or "") .. "examples:\n" .. module.examples .. "\n\n"
      .. exit_statuses)
    help_flag(command)
    if module.define_first then module.define_first(command) end
    common_options(command, module)
    module.define(command)
    modules[name] = module
  end
  return parser, modules
end

local function usage(message, arguments, command)
  for _, argument in ipairs(arguments) do
    if argument == "--json" then json.failure(errors.new("usage", message)) end
  end
  output.complain(message)
  io.stderr:write(("see lunadex %s--help\n"):format(command and command .. " " or ""))
  return common.EXIT.usage
end

-- What a command line says: a command's module and its options; or the exit status of what was answered at once.
local function read(parser, modules, arguments)
  wanted_help = nil
  if arguments[1] == "help" then arguments = { arguments[2] or "--help", arguments[2] and "--help" } end
  if #arguments == 0 then
    io.stderr:write(parser:get_help(), "\n")
    return nil, common.EXIT.usage
  end
  local named = modules[arguments[1]]
  if named and named.read_words then named.read_words(arguments) end
  local ok, parsed, options = pcall(parser.pparse, parser, arguments)
  if wanted_help then
    output.line(wanted_help == "version" and "lunadex " .. core.version or wanted_help:get_help())
    return nil, 0
  end
  if not ok then error(parsed, 0) end
  if not parsed then return nil, usage(options, arguments, named and arguments[1]) end
  options.words = arguments
  options.given_jobs = options.jobs
  options.jobs = options.jobs or 2
  options.given_registry = options.registry and #options.registry > 0
  if options.registry and not options.given_registry then options.registry = { "registry/" } end
  return modules[options.command], options
end

--- Runs the program.
---@param arguments string[]
---@return integer status
local function main(arguments)
  local parser, modules = make_parser(commands_of(arguments))
  local module, options = read(parser, modules, arguments)
  if not module then return options end
  output.setup(not options.no_color)
  io.stdout:setvbuf "full"
  -- The process is short-lived, and what a large registry makes stays in use: a second look at it finds nothing.
  collectgarbage("setpause", 1000)
  core.catch_signals()
  common.tell_stop(function(event) output.complain(common.stopping_text(event)) end)
  local ok, status = pcall(function()
    local status = task.run(module.run, options, parser, function(words) return read(parser, modules, words) end)
    task.check()
    return status
  end)
  if not ok then error(task.trace(status) or status, 0) end
  output.finish()
  if output.lost then
    output.complain("cannot write standard output: " .. output.lost)
    if status == 0 or status == common.EXIT.changes then status = common.EXIT.failed end
  end
  return status
end

return main
