--- Lunadex for scripts: registries, connections, plans.
--
--     local lunadex = require "lunadex"
--     local db = assert(lunadex.connect(os.getenv "DATABASE_URL"))
--     local plan = assert(lunadex.plan(assert(lunadex.load "registry/"), db))
--     for change in plan:changes() do print(change.action, change.relation, change.definition) end
--     assert(plan:apply { jobs = 4 })
--
-- What the environment can make fail returns nil and an error (`code`, `message`, `hint`, `retryable`, `tostring`);
-- misuse raises.

local apply = require "lunadex.apply"
local core = require "lunadex.core"
local database = require "lunadex.database"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local plan = require "lunadex.plan"
local registry = require "lunadex.registry"
local target = require "lunadex.target"
local task = require "lunadex.task"

---@class lunadex
local M = {}

M.version = core.version
M.task = task

--- Reads registry files or directories; all mistakes are reported at once. What they may say depends on the kind of
--- database: that is said by options.target, else by the registry's urls, else by the environment, as for a run.
---@param paths string|string[]
---@param options lunadex.registry.Options?
---@return table? registry
---@return lunadex.Error? err      # `errors` holds one value for each mistake
function M.load(paths, options)
  if type(paths) == "string" then paths = { paths } end
  local loaded, mistakes = registry.load(paths, options)
  if loaded then return loaded end
  local lines = {}
  for i, mistake in ipairs(mistakes) do lines[i] = tostring(mistake) end
  local err = errors.new("registry", table.concat(lines, "\n"))
  err.errors = mistakes
  return nil, err
end

--- Connects to a database: a URL, key=value pairs, or nil for the environment.
---@param url string?
---@param options {jobs: integer?, application_name: string?, connect_timeout: number?}?
---@return lunadex.Connection?
---@return lunadex.Error? err
function M.connect(url, options)
  local found, source = target.find(url)
  if not found then return nil, source end
  local connection, err = database.open(found, options)
  if not connection then return nil, err end
  local info
  info, err = task.run(connection.connect, connection)
  if not info then
    connection:close()
    return nil, err
  end
  return connection
end

--- The plan of a registry (of `options.database`, where it has several) on a database.
---@param loaded table
---@param connection lunadex.Connection
---@param options {database: string?, only: string[]?, drop_strays: boolean?, rename: boolean?}?
---@return lunadex.Plan?
---@return lunadex.Error? err
function M.plan(loaded, connection, options)
  options = options or {}
  local chosen, names = nil, {}
  for _, each in ipairs(loaded.databases) do
    names[#names + 1] = each.name
    if each.name == options.database then chosen = each end
  end
  if not options.database and #loaded.databases == 1 then chosen = loaded.databases[1] end
  if not chosen then
    return nil, errors.new("usage", options.database and ("the registry has no database %q"):format(options.database)
      or "the registry has several databases", "It has " .. table.concat(names, ", ") .. ".")
  end
  return task.run(plan.make, chosen, connection, options)
end

--- A registry written from what is live.
---@param connection lunadex.Connection
---@return string? text
---@return lunadex.Error|string[] warnings
function M.snapshot(connection)
  return task.run(function()
    local catalog, err = connection:catalog()
    if not catalog then return nil, err end
    return dialects.of(connection.info.driver).snapshot.text(catalog)
  end)
end

--- Applies a plan; see lunadex.apply.
---@param options lunadex.ApplyOptions?
---@return lunadex.Outcome?
---@return lunadex.Error? err
function plan.Plan:apply(options)
  return apply.run(self, options)
end

return M
