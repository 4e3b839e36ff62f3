--- Lunadex for scripts: connections, statements, registries, plans, changes, tasks.
---
--- What the environment can make fail returns nil and an error (`code`, `message`, `hint`, `retryable`, `tostring`), so
--- that `assert` turns it into the script's end; misuse raises. After a first Ctrl-C in `lunadex run`, what runs is
--- cancelled, and every further call that would wait raises an error with the code "cancelled".

local apply = require "lunadex.apply"
local arguments = require "lunadex.arguments"
local core = require "lunadex.core"
local database = require "lunadex.database"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local plan = require "lunadex.plan"
local registry = require "lunadex.registry"
local session = require "lunadex.session"
local single = require "lunadex.single"
local target = require "lunadex.target"
local task = require "lunadex.task"

---@class lunadex
local M = {}

--- The version of this Lunadex.
---@type string
M.version = core.version

--- The word null, where nil would be nothing: in documents, and in lists.
M.null = core.null

--- Values of MongoDB that Lua has no type for: ObjectIds, dates, decimals …, and documents whose order counts.
M.bson = require "lunadex.bson"

local function is_class(value, class)
  return type(value) == "table" and getmetatable(value) == class
end

local function check_connection(position, call, value, otherwise)
  if is_class(value, database.Connection) then
    if not value.handle then error("attempt to use a closed connection", 3) end
    return
  end
  if otherwise and value == nil then return end
  error(("bad argument #%d to '%s' (a connection %sexpected, got %s)"):format(position, call,
    otherwise and otherwise .. " " or "", type(value)), 3)
end

-- What is to be applied by the function that calls this.
local function check_plan(position, call, value)
  if not is_class(value, plan.Plan) then
    error(("bad argument #%d to '%s' (a plan expected, got %s)"):format(position, call, type(value)), 3)
  elseif value.applied then
    error("this plan has been applied: lunadex.plan makes another one", 3)
  elseif not value.connection.handle then
    error("attempt to use a closed connection", 3)
  end
end

--- Connects to a database: a URL, key=value pairs, or nil for the environment (`LUNADEX_TARGET`, `DATABASE_URL`,
--- `MONGODB_URI`, the `PG*` variables). Sessions are opened as they are needed, `jobs` of them at most (default 8).
--- What PostgreSQL says beside results (NOTICE, WARNING …) is given to `on_notice`, one after the other, before the
--- call that it belongs to returns; without it `lunadex run` and the REPL write it to standard error, and a stock Lua
--- is not told. What comes faster than it is taken is left out, and a notice with `left_out` says how much that was.
---@param url string?
---@param options lunadex.ConnectOptions?
---@return lunadex.Connection?
---@return lunadex.Error? err
function M.connect(url, options)
  arguments.check(1, "connect", url, "string|nil")
  arguments.options(2, "connect", options, arguments.connecting)
  arguments.options(2, "connect", options and options.retry, arguments.retrying)
  if url == "" then error("bad argument #1 to 'connect' (an empty text is no address)", 2) end
  local found, source = target.find(url or target.preset)
  if not found then return nil, source end
  local given = { on_notice = database.on_notice }
  for name, value in pairs(options or {}) do given[name] = value end
  local connection, err = database.open(found, given)
  if not connection then return nil, err end
  local info
  info, err = task.run(connection.connect, connection)
  if not info then
    connection:close()
    return session.finish(nil, err)
  end
  return connection
end

--- Reads registry files or directories; all mistakes are reported at once. What they may say depends on the kind of
--- database: that is said by options.target, else by the registry's urls, else by the environment, as for a run.
---@param paths string|string[]
---@param options lunadex.registry.Options?
---@return lunadex.Registry? registry
---@return lunadex.Error? err      # `errors` holds one value for each mistake
function M.load(paths, options)
  arguments.check(1, "load", paths, "string|table")
  arguments.options(2, "load", options, arguments.loading)
  if type(paths) == "string" then paths = { paths } end
  local loaded, mistakes = registry.load(paths, options)
  if loaded then return loaded end
  return nil, errors.of_mistakes(mistakes)
end

--- A registry from tables: `declare { ["public.orders"] = { { "customer_id" }, { "at", name = "orders_at" } } }`. Each
--- declaration is what would stand in `index { … }`; `kind = "foreign_key"` and the like make it another one.
---@param relations table<string, table[]>
---@param connection lunadex.Connection?   # says which kind of database it is for; default: the environment
---@return lunadex.Registry? registry
---@return lunadex.Error? err
function M.declare(relations, connection)
  arguments.check(1, "declare", relations, "table")
  check_connection(2, "declare", connection, "or nil")
  for title, declarations in pairs(relations) do
    if type(title) ~= "string" or type(declarations) ~= "table" then
      error("bad argument #1 to 'declare' (names of relations with lists of declarations expected)", 2)
    end
    for _, each in ipairs(declarations) do
      if type(each) ~= "table" then
        error(("bad argument #1 to 'declare' (%s: a declaration is a table, as in { { \"column\" } }, and not a %s)")
          :format(title, type(each)), 2)
      elseif each.kind ~= nil and not arguments.is_declarable(each.kind) then
        error(("bad argument #1 to 'declare' (%s: nothing of the kind %s can be declared)"):format(title,
          tostring(each.kind)), 2)
      end
    end
  end
  -- No tail call: who called us is to be named in messages.
  local declared, err = single.declare(relations, connection and connection.target, 2)
  return declared, err
end

--- A key in ascending order, for `declare` and `build`: `asc "column"`.
---@param key string|table
---@return table
function M.asc(key)
  arguments.check(1, "asc", key, "string|table")
  return registry.words.asc(key)
end

--- A key in descending order: `desc "column"`.
---@param key string|table
---@return table
function M.desc(key)
  arguments.check(1, "desc", key, "string|table")
  return registry.words.desc(key)
end

--- A key that is an expression: `expr "lower(email)"`.
---@param text string
---@return table
function M.expr(text)
  arguments.check(1, "expr", text, "string")
  return registry.words.expr(text)
end

--- A key with options, as in a registry: `key { "name", opclass = "text_pattern_ops" }`.
---@param options table
---@return table
function M.key(options)
  arguments.check(1, "key", options, "table")
  return registry.words.key(options)
end

--- The plan of a registry (of `options.database`, where it has several) on a database.
---@param loaded lunadex.Registry
---@param connection lunadex.Connection
---@param options lunadex.PlanOptions|{database: string?}|nil
---@return lunadex.Plan?
---@return lunadex.Error? err
function M.plan(loaded, connection, options)
  if type(loaded) ~= "table" or type(loaded.databases) ~= "table" then
    error(("bad argument #1 to 'plan' (a registry expected, got %s)"):format(type(loaded)), 2)
  end
  check_connection(2, "plan", connection)
  arguments.options(3, "plan", options, arguments.planning)
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
  return session.finish(task.run(plan.make, chosen, connection, options))
end

--- A backfill (docs/backfills.md): `lunadex.backfill { name = "…", on = "…", set = "…" }:run { connection = db }`.
---@param declaration table        # name, and what stands in backfill "name" { … }
---@return lunadex.SingleBackfill
function M.backfill(declaration)
  arguments.check(1, "backfill", declaration, "table")
  local backfill = single.backfill(declaration, 2)
  return backfill
end

--- Applies the plans of several databases side by side, under one budget of jobs: all locks are taken, or nothing is
--- begun.
---@param plans lunadex.Plan[]
---@param options lunadex.ApplyOptions?
---@return lunadex.Outcome[]?      # in the order of the plans
---@return lunadex.Error? err
function M.apply(plans, options)
  arguments.check(1, "apply", plans, "table")
  for _, each in ipairs(plans) do check_plan(1, "apply", each) end
  arguments.options(2, "apply", options, arguments.applying)
  return apply.together(plans, options)
end

--- A registry written from what is live.
---@param connection lunadex.Connection
---@return string? text
---@return lunadex.Error|string[] warnings
function M.snapshot(connection)
  check_connection(1, "snapshot", connection)
  return task.run(function()
    local catalog, err = connection:catalog()
    if not catalog then return session.finish(nil, err) end
    return dialects.of(connection.info.driver).snapshot.text(catalog)
  end)
end

--- Starts a function as a task, which runs while others wait: `local task = lunadex.spawn(work, …)`. `task:join()`
--- waits for its end and gives what it returned, or raises what it raised; `task:cancel()` tells it to end. What
--- nobody joins ends with the script.
---@param run function
---@param ... any                  # its arguments
---@return lunadex.Task
function M.spawn(run, ...)
  arguments.check(1, "spawn", run, "function")
  return task.spawn(run, ...)
end

--- Waits, while other tasks go on.
---@param seconds number
function M.sleep(seconds)
  arguments.check(1, "sleep", seconds, "number")
  task.sleep(seconds)
  if task.stopping() then session.finish(nil, session.interrupted()) end
end

--- Seconds on a clock that nobody sets.
---@return number
function M.now() return core.now() end

---@class lunadex.RetryOptions: lunadex.Retry
---@field idempotent boolean?      # nothing is wrong with doing it twice: also when it may have been done
---@field on_retry fun(err: lunadex.Error, attempt: integer, delay: number)?

local retrying = { idempotent = "boolean", on_retry = "function" }
for name, expected in pairs(arguments.retrying) do retrying[name] = expected end

--- Calls a function until it succeeds: again, after a growing delay, where it returned nil and an error after which
--- nothing has been done, and the same call may succeed. Where a link was lost in the middle (`err.retry` is "verify")
--- nobody knows what has been done, a COMMIT for instance: that comes back as it is, unless the options say that the
--- function is `idempotent`, as what only reads is, or what looks first.
---@param run fun(): any ...
---@param options lunadex.RetryOptions?
---@return any ...                 # what it returned last
function M.retry(run, options)
  arguments.check(1, "retry", run, "function")
  arguments.options(2, "retry", options, retrying)
  options = options or {}
  local began, attempt = core.now(), 0
  while true do
    attempt = attempt + 1
    local results = table.pack(run())
    local err = results[2]
    local class = results[1] == nil and type(err) == "table" and err.retry
    local again = class and (class ~= "verify" or options.idempotent)
    local delay = again and core.retry_delay(attempt, core.now() - began, math.random(), options)
    if not delay then return table.unpack(results, 1, results.n) end
    if options.on_retry then options.on_retry(err, attempt, delay) end
    M.sleep(delay)
  end
end

--- Applies a plan: builds, replaces, renames, drops what it says, side by side as far as that does no harm. Failures of
--- single changes are in the outcome; nil and an error mean that nothing was begun.
---@param options lunadex.ApplyOptions?
---@return lunadex.Outcome?
---@return lunadex.Error? err
function plan.Plan:apply(options)
  check_plan(0, "apply", self)
  arguments.options(1, "apply", options, arguments.applying)
  return task.run(self.connection.alone, self.connection, apply.run, self, options)
end

return M
