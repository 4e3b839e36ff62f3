--- What every command needs: exit statuses, the registry, the connection.

local database = require "lunadex.database"
local errors = require "lunadex.errors"
local json = require "lunadex.cli.json"
local output = require "lunadex.cli.output"
local target = require "lunadex.target"
local task = require "lunadex.task"

local M = {}

M.EXIT = {
  fine = 0, failed = 1, changes = 2, builds_failed = 3, locked = 4, unreachable = 5, refused = 6, usage = 64,
  registry = 65,
}

local statuses = {
  connect = M.EXIT.unreachable, authentication = M.EXIT.unreachable, no_database = M.EXIT.unreachable,
  pooler = M.EXIT.refused, read_only = M.EXIT.refused, unsupported = M.EXIT.refused,
  lock_held = M.EXIT.locked, usage = M.EXIT.usage, registry = M.EXIT.registry,
  invalid_definition = M.EXIT.registry, undefined = M.EXIT.registry,
}

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

--- The registry at `options.registry`, or nil and one error that holds all.
---@param options table
---@param before (fun(texts: string[]))?   # called when the files are read, before they are run
---@return table? registry
---@return lunadex.Error? err
function M.load(options, before)
  local registry = require "lunadex.registry"
  local loaded, mistakes = registry.load(options.registry, { before = before })
  if loaded then return loaded end
  local lines = {}
  for i, mistake in ipairs(mistakes) do lines[i] = tostring(mistake) end
  return nil, errors.new("registry", table.concat(lines, "\n"))
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
---@param jobs integer?
---@return lunadex.Connection?
---@return lunadex.Error? err
function M.open(options, url, jobs)
  local found, source = target.find(options.target, url)
  if not found then return nil, source end
  return database.open(found, { jobs = jobs or 1, application_name = "lunadex " .. options.command })
end

-- Whether the files can say which server is meant: only `database "…" { url = … }` does.
local function may_name_a_server(texts)
  for _, text in ipairs(texts) do
    if text:find("database", 1, true) then return true end
  end
  return false
end

--- Runs `body` for each database of the registry with its connection; stops at the first failure. When it is certain
--- beforehand which server is meant, `prepare` runs before the registry does: what it asks the server for is read
--- meanwhile. Where there are several databases, `check` looks at each before any is changed. One that --only says
--- nothing about is left out, if it does say something about another.
---@param options table
---@param jobs integer
---@param prepare fun(connection: lunadex.Connection): true?, lunadex.Error?
---@param body fun(database: table, connection: lunadex.Connection, n: integer): integer?, lunadex.Error?
---@param check (fun(database: table, connection: lunadex.Connection): true?, lunadex.Error?)?
---@return integer? status          # the highest of all
---@return lunadex.Error? err
function M.each_database(options, jobs, prepare, body, check)
  local function reach(url, make_ready)
    local connection, err = M.open(options, url, jobs)
    if not connection then return nil, err end
    local ready
    ready, err = (make_ready or prepare)(connection)
    if ready then return connection end
    connection:close()
    return nil, err
  end

  local early, unreachable
  -- What is wrong with the registry is told even where the server cannot be reached.
  local loaded, err = M.load(options, function(texts)
    if options.target or not may_name_a_server(texts) then early, unreachable = reach(nil) end
  end)
  local databases
  if loaded then databases, err = M.databases(loaded, options) end
  if not databases or unreachable then
    if early then early:close() end
    return nil, not databases and err or unreachable
  end

  local function run(each, connection, work)
    if not connection then
      connection, err = reach(each.url, work == check and function(fresh)
        fresh:prefetch()
        return true
      end)
      if not connection then return nil, err end
    end
    local closing <close> = connection -- luacheck: ignore 211
    return work(each, connection, #databases)
  end

  local several = #databases > 1
  local function for_all(work)
    local status, unmatched, matched, mistakes = 0, nil, false, {}
    for _, each in ipairs(databases) do
      local result, problem = run(each, early, work)
      if result then
        status, matched = math.max(status, tonumber(result) or 0), true
      elseif several and problem.unmatched then
        unmatched = problem
      elseif work == check and problem.code == "registry" then
        mistakes[#mistakes + 1] = problem.message -- all are told at once
      else
        return nil, problem
      end
    end
    if #mistakes > 0 then
      mistakes[#mistakes + 1] = "nothing was changed"
      return nil, errors.new("registry", table.concat(mistakes, "\n"))
    end
    if not matched and unmatched then return nil, unmatched end
    return status
  end

  if several and check then
    local fine, problem = for_all(check)
    if not fine then return nil, problem end
  end
  return for_all(body)
end

--- `registry/shop.lua` or `3 files`: where declarations come from, for a heading.
---@param options table
---@return string
function M.origin(options)
  return #options.registry == 1 and options.registry[1] or #options.registry .. " registries"
end

return M
