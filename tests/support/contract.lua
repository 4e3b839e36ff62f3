-- The databases that the drivers' contract is tried on. Each driver gives scenes: a database of its own with one
-- relation, `t`, of a hundred rows, whose field `a` is another in each and whose `b` is not.
local core = require "lunadex.core"
local engine = require "support.engine"
local mongodb = require "support.mongodb"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"
local steps = require "support.mongosteps"

local M = {}

---@class support.Scene
---@field url string
---@field schema string?
---@field storage string[]         # an option that is changed in place, and its value
---@field renames boolean?         # the driver can
---@field query string|lunadex.Document   # that gives a row or more
---@field nonsense string|lunadex.Document?   # a query that is none
---@field aloud fun(): string, string|lunadex.Document, string[]   # a URL, a query, what is said beside its rows
---@field rows integer?            # of t; the fake driver has none to count
---@field wrong table              # fields of a declaration that no server could accept
---@field fields fun(columns: string[], more: table?): table   # of an index of t
---@field hold fun(): table        # builds of `held` come no further until that is closed
---@field held fun(): table        # fields of such an index
---@field cut fun(): string        # a URL of the same database; the link is lost once, while an index is built
---@field deaf fun(): string       # a URL of who takes the connection and says nothing
---@field refused string           # a URL of nobody
---@field forbidden fun(): string  # a URL of somebody who may not build
---@field close fun()

local function merged(fields, more)
  for name, value in pairs(more or {}) do fields[name] = value end
  return fields
end

local function columns_of(names)
  local keys = {}
  for i, name in ipairs(names) do keys[i] = { column = name } end
  return keys
end

-- The scripted driver -------------------------------------------------------------------------------------------------

local serial = 0

local function fake()
  local scene
  -- Another script is another database.
  local function target(script)
    serial = serial + 1
    return ("fake:contract%d?tables=t;duplicates=b;%s"):format(serial, script)
  end
  local function fields(columns, more)
    return merged({ kind = "index", relation = "t", keys = columns_of(columns) }, more)
  end
  scene = {
    url = target "", storage = { "fillfactor", "70" }, renames = true, query = "x", fields = fields,
    wrong = { kind = "index", relation = "nowhere", keys = columns_of { "a" } },
    refused = target "open=fail(connect)*",
    aloud = function() return target "query=notice(one),notice(two)", "x", { "NOTICE one", "NOTICE two" } end,
    held = function() return fields { "a" } end,
    hold = function()
      scene.url = target "perform=hang"
      return setmetatable({}, { __close = function() end })
    end,
    cut = function()
      scene.url = target "perform=lose"
      return scene.url
    end,
    deaf = function() return target "open=hang*" end,
    forbidden = function() return target "perform=fail(permission)*" end,
    close = function() end,
  }
  return scene
end

-- PostgreSQL ----------------------------------------------------------------------------------------------------------

-- A port of which the server's answers do not come back.
local function through(server, make_url)
  local link = proxies.start(server)
  return link, make_url(link)
end

-- One for all scenes: to make one takes longer than what is done in it.
local database_of_all

local function postgres()
  local server, links = pg.shared(), {}
  database_of_all = database_of_all or server:create_database()
  local database = database_of_all
  server:psql(database, [[
    SET client_min_messages = warning;
    DROP SCHEMA IF EXISTS public, lunadex CASCADE;
    CREATE SCHEMA public;
    GRANT USAGE ON SCHEMA public TO public;
    CREATE TABLE t (a int, b int);
    INSERT INTO t SELECT i, i / 2 FROM generate_series(1, 100) i;
    CREATE FUNCTION held(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
      AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN $1; END';
  ]])
  local function fields(columns, more)
    return merged({ kind = "index", schema = "public", relation = "t", keys = columns_of(columns) }, more)
  end
  local function trap(how, when, text)
    local link, url = through(server, function(link) return link:url(database) end)
    links[#links + 1] = link
    link:trap(how, when, text)
    return url
  end
  return {
    url = server:url(database), schema = "public", storage = { "fillfactor", "70" }, renames = true,
    query = "SELECT 1", nonsense = "SELECT nonsense FROM nowhere", rows = 100, fields = fields,
    wrong = fields { "nowhere" },
    aloud = function()
      return server:url(database), "DO $$ BEGIN RAISE WARNING 'one'; RAISE NOTICE '-'; RAISE WARNING 'two'; END $$",
        { "WARNING one", "WARNING two" }
    end,
    refused = ("postgresql://127.0.0.1:%d/nobody"):format(shell.free_port()),
    held = function() return fields({}, { keys = { { expression = "public.held(a)" } } }) end,
    hold = function()
      local holder = server:session(database, "holder")
      holder:run "SELECT pg_advisory_lock(77)"
      return setmetatable({}, { __close = function() holder:close() end })
    end,
    cut = function() return trap("cut", "after", "CREATE INDEX") end,
    deaf = function() return trap("stall", "before", "application_name") end,
    forbidden = function()
      server:psql(database, [[DO $$ BEGIN CREATE ROLE contract_reader LOGIN;
        EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT SELECT ON t TO contract_reader]])
      return server:url(database, "contract_reader")
    end,
    close = function()
      for _, link in ipairs(links) do link:close() end
    end,
  }
end

-- MongoDB -------------------------------------------------------------------------------------------------------------

local guarded

-- A user of a server of its own, which asks who somebody is, of a database like those of the scenes.
local function reader()
  if not guarded then
    local key = shell.directory("key") .. "/key"
    shell.write_file(key, "c2VjcmV0c2VjcmV0c2VjcmV0")
    shell.check("chmod 600 " .. shell.quote(key))
    guarded = mongodb.start { arguments = { "--auth", "--keyFile", key } }
    guarded:command("admin", [[{ "createUser": "root", "pwd": "geheim", "roles": ["root"] }]])
    guarded:disconnect()
    local root <close> = engine.open(("mongodb://root:geheim@127.0.0.1:%d/app?authSource=admin"):format(guarded.port))
    assert(root:run("query", core.document("create", "t")))
    assert(root:run("query", core.document("createUser", "reader", "pwd", "r", "roles", { "read" })))
  end
  return ("mongodb://reader:r@127.0.0.1:%d/app"):format(guarded.port)
end

local function mongo()
  local server = mongodb.shared()
  local database, links = server:create_database(), {}
  server:fill(database, "t", 100, { a = "$n", b = { ["$floor"] = { ["$divide"] = { "$n", 2 } } } })
  local function fields(columns, more) return steps.index("t", columns, more) end
  local function trap(how, when, text)
    local link, url = through(server, function(link) return server:url(database, link.port) end)
    links[#links + 1] = link
    link:trap(how, when, text)
    return url
  end
  return {
    url = server:url(database), storage = { "hidden", "true" },
    query = core.document("ping", 1), nonsense = core.document("nonsense", 1), rows = 100, fields = fields,
    wrong = fields({ "a" }, { with = { { "expireAfterSeconds", "-1" } } }),
    aloud = function() return server:url(database), core.document("ping", 1), {} end, -- it has no such thing
    refused = ("mongodb://127.0.0.1:%d/nobody"):format(shell.free_port()),
    held = function() return fields { "a" } end,
    -- Where a build waits that can be ended: elsewhere the server does so when the point is off again.
    hold = function() return steps.hold(server, "hangAfterStartingIndexBuild") end,
    cut = function() return trap("cut", "after", "createIndexes") end,
    deaf = function() return trap("stall", "before", "hello") end,
    forbidden = reader,
    close = function()
      for _, link in ipairs(links) do link:close() end
      server:drop_database(database)
    end,
  }
end

---@type {name: string, missing: (fun(): string?), scene: fun(): support.Scene}[]
M.drivers = {
  { name = "fake", missing = function() end, scene = fake },
  { name = "postgres", missing = pg.missing, scene = postgres },
  { name = "mongodb", missing = mongodb.missing, scene = mongo },
}

--- Ends what scenes share; the shared servers stay.
function M.finish()
  if guarded then guarded:kill() end
  if database_of_all then pg.shared():drop_database(database_of_all) end
  guarded, database_of_all = nil, nil
end

return M
