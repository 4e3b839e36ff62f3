--- What every command needs: exit statuses, the registry, the connection.

local database = require "lunadex.database"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local json = require "lunadex.cli.json"
local output = require "lunadex.cli.output"
local planning = require "lunadex.plan"
local target = require "lunadex.target"
local task = require "lunadex.task"

local M = {}

M.EXIT = {
  fine = 0, failed = 1, changes = 2, builds_failed = 3, locked = 4, unreachable = 5, refused = 6, usage = 64,
  registry = 65,
}

local statuses = {
  connect = M.EXIT.unreachable, authentication = M.EXIT.unreachable, no_database = M.EXIT.unreachable,
  refused = M.EXIT.refused, pooler = M.EXIT.refused, read_only = M.EXIT.refused, permission = M.EXIT.refused,
  unsupported = M.EXIT.refused, dependent = M.EXIT.refused, lock_held = M.EXIT.locked, usage = M.EXIT.usage,
  registry = M.EXIT.registry,
  invalid_definition = M.EXIT.registry, undefined = M.EXIT.registry,
}

--- While the server cannot be reached: a deployment that meets it in its restart, or a replica set at an election, goes
--- on a moment later. Each attempt is told.
---@type lunadex.Retry
M.patient = { attempts = math.huge, first_delay = 0.5, max_delay = 5, total = 60 }

--- The exit status of a failure.
---@param err lunadex.Error
---@return integer
function M.status(err)
  local signal = task.stopping()
  if signal then return 128 + signal end
  return type(err) ~= "string" and statuses[err.code] or M.EXIT.failed
end

--- Reports a failure where it belongs, and gives the exit status.
---@param err lunadex.Error
---@param options table
---@return integer
function M.fail(err, options)
  if options.json then json.failure(err) end
  output.complain(errors.describe(err))
  return M.status(err)
end

--- The same for each of several databases, each line with its name; the first one's exit status.
---@param troubles lunadex.cli.Trouble[]
---@param options table
---@return integer
function M.fail_each(troubles, options)
  for _, trouble in ipairs(troubles) do
    local text, label = errors.describe(trouble.error), trouble.label
    if options.json then json.failure(trouble.error, label) end
    output.complain(label and format.labelled(text, label) or text)
    if task.stopping() then break end -- the same for all
  end
  return M.status(troubles[1].error)
end

-- Seconds after which it is told what an end waits for; then until it is told again.
local patience, reminder = 10, 60

--- Has it told that the run is to stop, at once, and later what it still waits for: a network may be silent.
---@param tell fun(event: {event: "stopping", signal: integer, waits_for: string[]?})
function M.tell_stop(tell)
  task.on_stop(function(signal)
    tell { event = "stopping", signal = signal }
    task.pause(patience)
    while true do
      local waits_for = task.waited_for()
      if #waits_for > 0 then tell { event = "stopping", signal = signal, waits_for = waits_for } end
      task.pause(reminder)
    end
  end)
end

--- The same for people.
---@param event {waits_for: string[]?}
---@return string
function M.stopping_text(event)
  local way_out = task.is_interruptible() and "Ctrl-C twice more ends lunadex" or "a second signal ends at once"
  return ("%s; " .. way_out):format(event.waits_for and "still waiting for " .. table.concat(event.waits_for, ", ")
    or "stopping: what runs is cancelled and cleaned up")
end

--- The registry at `options.registry`, or nil and one error that holds all.
---@param options table
---@param before (fun(texts: string[]))?   # called when the files are read, before they are run
---@return table? registry
---@return lunadex.Error? err
function M.load(options, before)
  local registry = require "lunadex.registry"
  local loaded, mistakes = registry.load(options.registry, { before = before, target = options.target,
    database = options.database })
  if loaded then return loaded end
  return nil, errors.of_mistakes(mistakes)
end

--- The databases of a registry that this call is about.
---@param loaded table
---@param options table
---@return table[]? databases
---@return lunadex.Error? err
function M.databases(loaded, options)
  local names = {}
  for _, each in ipairs(loaded.databases) do
    if each.name == options.database then return { each } end
    names[#names + 1] = each.name
  end
  if options.database then
    return nil, errors.new("usage", ("the registry has no database named %q"):format(options.database),
      #names > 0 and "It has " .. table.concat(names, ", ") .. "." or nil)
  end
  if options.target and #loaded.databases > 1 then
    return nil, errors.new("usage", "--target with a registry of several databases",
      "Say with --database which one it stands for: " .. table.concat(names, ", ") .. ".")
  end
  return loaded.databases
end

--- Opens a connection to a database of the registry (or to what option and environment say).
---@param options table
---@param url string?
---@param sessions integer?        # at a time; default 1
---@return lunadex.Connection?
---@return lunadex.Error? err
function M.open(options, url, sessions)
  local found, source = target.find(options.target, url)
  if not found then return nil, source end
  local connection, err = database.open(found, {
    jobs = sessions or 1, application_name = "lunadex " .. options.command, retry = options.connect_retry,
    to_write = options.to_write,
  })
  if not connection then return nil, err end
  local retry = options.connect_retry
  -- Reading takes a moment; where it takes longer, who waits for it is told why.
  function connection.on_reading(event)
    local text
    if event.event == "note" then
      text = event.text
    elseif event.event == "retry" and (connection.info or retry) then -- else it ends with the first one
      local limit = connection.info and "" or (", for up to %.0f s in all"):format(retry.total)
      text = ("attempt %d failed, next in %s%s: %s"):format(event.attempt, format.duration(event.delay), limit,
        event.error.message)
    end
    if text then output.complain((connection.label and connection.label .. ": " or "") .. format.line(text)) end
  end
  return connection
end

-- Whether the files can say which server is meant: only `database "…" { url = … }` does.
local function may_name_a_server(texts)
  for _, text in ipairs(texts) do
    if text:find("database", 1, true) then return true end
  end
  return false
end

---@class lunadex.cli.Trouble
---@field error lunadex.Error
---@field label string?            # the database's name, where there are several

--- Calls `work` with each connection, side by side; what failed, in the order of the list.
---@param connections lunadex.Connection[]
---@param work fun(connection: lunadex.Connection, i: integer): any?, lunadex.Error?
---@return lunadex.cli.Trouble[]
function M.side_by_side(connections, work)
  local tasks, troubles = {}, {}
  for i, connection in ipairs(connections) do tasks[i] = task.spawn(work, connection, i) end
  for i, each in ipairs(tasks) do
    local ok, err = each:join()
    if not ok then troubles[#troubles + 1] = { error = err, label = connections[i].label } end
  end
  return troubles
end

--- Opens connections to databases of the registry, labelled where there are several.
---@param databases table[]
---@param options table
---@param sessions integer         # at a time
---@return lunadex.Connection[] connections
---@return lunadex.cli.Trouble[] troubles
---@return table[] opened          # the databases that the connections are to
function M.open_all(databases, options, sessions)
  local connections, troubles, opened = {}, {}, {}
  for _, each in ipairs(databases) do
    local label = #databases > 1 and each.name or nil
    local connection, err = M.open(options, each.url, sessions)
    if connection then
      connection.label = label
      connections[#connections + 1], opened[#opened + 1] = connection, each
    else
      troubles[#troubles + 1] = { error = err, label = label }
    end
  end
  return connections, troubles, opened
end

---@class lunadex.cli.Plans: lunadex.Plan[]   # to be closed, which closes their connections
---@field several boolean          # the call is about several databases, even if --only leaves one of them
local Plans = {}

function Plans:__close()
  for _, plan in ipairs(self) do plan.connection:close() end
end

local function close_all(connections)
  for _, connection in ipairs(connections) do connection:close() end
end

-- Connects to what is meant before the registry is run, if that is certain: what is asked for is read meanwhile. Who
-- may have to wait for another run reads the registry first, so that its mistakes are told at once.
local function load_and_connect(options, sessions, begin)
  local connections, troubles = {}, {}
  local loaded, err = M.load(options, function(texts)
    if options.wait or not options.target and may_name_a_server(texts) then return end
    local problem
    connections[1], problem = M.open(options, nil, sessions)
    troubles = problem and { { error = problem } } or begin(connections)
  end)
  local databases
  if loaded then databases, err = M.databases(loaded, options) end
  -- What is wrong with the registry is told even where the server cannot be reached.
  if not databases then return connections, { { error = err } } end
  if connections[1] or #troubles > 0 then return connections, troubles, databases end
  connections, troubles = M.open_all(databases, options, sessions)
  if #troubles == 0 then troubles = begin(connections) end
  return connections, troubles, databases
end

--- The plans of all databases that this call is about, in the registry's order. They are made side by side, and it is
--- all of them or none, so that nothing is said or done about one database while another cannot even be read. One that
--- --only says nothing about is left out, if it does say something about another.
---@param options table
---@param sessions integer         # on each database
---@param ready (fun(connections: lunadex.Connection[]): lunadex.cli.Trouble[])?   # before catalogs are read
---@return lunadex.cli.Plans? plans
---@return lunadex.cli.Trouble[]? troubles
function M.plans(options, sessions, ready)
  local connections, troubles, databases = load_and_connect(options, sessions, function(connections)
    local found = ready and ready(connections) or {}
    for _, connection in ipairs(#found == 0 and connections or {}) do connection:prefetch() end
    return found
  end)
  local made = {}
  if #troubles == 0 then
    troubles = M.side_by_side(connections, function(connection, i)
      local problem
      made[i], problem = planning.make(databases[i], connection, options, #connections > 1)
      return made[i], problem
    end)
    local mistake = #troubles == 0 and planning.unfound(made, options.only or {})
    if mistake then troubles = { { error = mistake } } end
  end
  if #troubles > 0 then
    close_all(connections)
    return nil, troubles
  end
  local plans = setmetatable({ several = #connections > 1 }, Plans)
  for i, connection in ipairs(connections) do
    if made[i]:is_meant() then plans[#plans + 1] = made[i] else connection:close() end
  end
  return plans
end

--- The option that leaves rules out.
---@param command table            # of argparse
function M.without(command)
  command:option "--without" :argname "<rule>" :count "*"
    :description "Do not ask this rule. May be repeated; lunadex check --rules lists them."
end

--- `registry/shop.lua` or `3 files`: where declarations come from, for a heading.
---@param options table
---@return string
function M.origin(options)
  return #options.registry == 1 and options.registry[1] or #options.registry .. " registries"
end

return M
