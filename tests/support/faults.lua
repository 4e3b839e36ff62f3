-- What tests of faults share: builds that stop where they are told to, somebody who watches, and the last look.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

local M = {}

--- Whether everything is run; otherwise one of several cases that differ little stands for the others.
M.long = os.getenv "LUNADEX_TEST_LONG" ~= nil

-- The advisory lock that `gate` waits for. Nobody holds it in a transaction, so it keeps no snapshot.
local gate = 4711

--- gate(int): an index on gate(b) builds only while the gate is open.
M.functions = ([[
  CREATE FUNCTION gate(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    'BEGIN PERFORM pg_advisory_lock_shared(%d); PERFORM pg_advisory_unlock_shared(%d); RETURN $1; END';
]]):format(gate, gate)

---@class support.Gate
local Gate = {}
Gate.__index = Gate

--- Closes the gate of a database until `open`.
---@param server support.Server
---@param database string
---@return support.Gate
function M.close_gate(server, database)
  local session = server:session(database, "gate keeper")
  session:run(("SELECT pg_advisory_lock(%d)"):format(gate))
  return setmetatable({ session = session, server = server, database = database }, Gate)
end

--- Waits until a server process stands before the gate; returns its pid.
---@return string
function Gate:reached()
  return shell.eventually("a build to reach the gate", function()
    return self.server:value(self.database, ([[SELECT l.pid FROM pg_locks l WHERE l.locktype = 'advisory'
      AND l.objid = %d AND NOT l.granted AND l.database = (SELECT oid FROM pg_database
      WHERE datname = current_database())]]):format(gate))
  end)
end

function Gate:open()
  if self.session then self.session:close() end
  self.session = nil
end

--- A transaction that holds an old snapshot and no lock on any table of the tests.
---@param server support.Server
---@param database string
---@return support.Session
function M.snapshot(server, database)
  local session = server:session(database, "old report")
  session:run "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class"
  return session
end

--- Waits until a build on the table (t) is in this phase of the progress view; returns its pid.
---@param server support.Server
---@param database string
---@param phase string      a LIKE pattern
---@param relation string?
---@return string pid
function M.phase(server, database, phase, relation)
  return shell.eventually("the phase " .. phase, function()
    return server:value(database, ([[SELECT pid FROM pg_stat_progress_create_index
      WHERE datname = current_database() AND relid = '%s'::regclass AND phase LIKE '%s']]):format(relation or "t",
      phase))
  end)
end

--- Waits until a query gives `t`.
---@param server support.Server
---@param database string
---@param what string
---@param sql string
function M.holds(server, database, what, sql)
  shell.eventually(what, function() return server:value(database, sql) == "t" end)
end

--- The process of the one who holds the run lock.
---@param server support.Server
---@param database string
---@return string pid
function M.run_lock(server, database)
  return shell.eventually("the run lock", function()
    return server:value(database, [[SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1819635297
      AND objid = 6579576 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())]])
  end)
end

--- The stage of most tests: t_x on t (a) is to become one that builds only while the gate is open, t_b is new.
M.schema = M.functions .. [[
  CREATE TABLE t (a int, b int);
  INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 1000) i;
  CREATE INDEX t_x ON t (a);
  CREATE TABLE u (LIKE t);
  INSERT INTO u SELECT * FROM t;
]]

M.registry = [[
  on "t" {
    index { expr "gate(b)", name = "t_x", critical = true },
    index { "b", name = "t_b", critical = true },
  }
  on "u" { index { "a", "b", name = "u_ab" } }
]]

---@class support.Watch
local Watch = {}
Watch.__index = Watch

--- Looks without a pause, each time with a snapshot of its own, whether a condition holds.
---@param server support.Server
---@param database string
---@param condition string   SQL
---@return support.Watch
function M.watch(server, database, condition)
  local words = server:client(database)
  -- Looks one after the other: only what is wrong is printed, and that there was a look at all.
  local sql = ("SELECT CASE WHEN %s THEN 'fine' ELSE 'gap at ' || clock_timestamp() END\n\\watch 0.001\n"):format(
    condition:gsub("%s+", " "))
  local process = shell.start(words, { stdin = sql, env = { PGAPPNAME = "watching" } })
  local watch = setmetatable({ process = process }, Watch)
  shell.eventually("the first look", function() return process:stdout():find("\n", 1, true) end)
  return watch
end

--- Ends it; returns how often it looked, and a list of the looks that failed.
---@return integer looks
---@return string[] gaps
function Watch:stop()
  self.process:kill "TERM"
  local result = self.process:wait()
  local looks, gaps = 0, {}
  for line in result.stdout:gmatch "[^\n]+" do
    looks = looks + 1
    if line:find("gap", 1, true) then gaps[#gaps + 1] = line end
  end
  if result.stderr:find "ERROR" then gaps[#gaps + 1] = result.stderr end
  return looks, gaps
end

--- SQL: a valid index of that name is on its table, keys in `columns` ("1 2": attribute numbers) or any.
---@param name string
---@param columns string?
---@return string
function M.has(name, columns)
  return ([[EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relname = '%s' AND i.indisvalid AND i.indisready AND i.indislive%s)]]):format(name,
    columns and (" AND i.indkey::text = '%s'"):format(columns) or "")
end

--- SQL: the same for t_x of `M.schema`, old or new.
M.has_t_x = M.has("t_x", "1") .. " OR " .. M.has("t_x", "0")

---@class support.Scene
---@field server support.Server
---@field database string
---@field registry string   path
---@field watch support.Watch?
local Scene = {}
Scene.__index = Scene

--- The stage of most tests in a database of its own, and somebody who watches t_x: for before_each.
---@param more {schema: string?, registry: string?}?   what stands there besides
---@return support.Scene
function M.scene(more)
  more = more or {}
  local server = pg.shared()
  local database = server:create_database()
  server:psql(database, M.schema .. (more.schema or ""))
  return setmetatable({
    server = server, database = database, registry = lunadex.registry(M.registry .. (more.registry or "")),
    watch = M.watch(server, database, M.has_t_x),
  }, Scene)
end

--- For after_each.
function Scene:close()
  if self.watch then self.watch:stop() end
  self.server:drop_database(self.database)
end

--- That t_x, old or new, was there all the while.
function Scene:no_gap()
  local looks, gaps = self.watch:stop()
  self.watch = nil
  if #gaps > 0 then error(table.concat(gaps, "\n"), 2) end
  if looks == 0 then error("nobody looked", 2) end
end

--- What is wrong with a database after a run, as a list; none if catalog and data are as they should be: nothing
--- invalid, nothing of ours left over, no session, and every index holds exactly the rows of its table.
---@param server support.Server
---@param database string
---@return string[]
function M.damage(server, database)
  -- A session ends a little later than its client, and the run lock with it.
  M.holds(server, database, "the sessions to end", [[SELECT count(*) = 0 FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'lunadex %']])
  local found = {}
  for _, row in ipairs(server:psql(database, [[
      SELECT indexrelid::regclass || ' is not valid' FROM pg_index WHERE NOT (indisvalid AND indisready AND indislive)
      UNION ALL
      SELECT oid::regclass || ' is left over' FROM pg_class WHERE relname ~ '_ldx_(new|old)$|_cc(new|old)\d*$'
      UNION ALL
      SELECT conname || ' of ' || conrelid::regclass || ' is left over' FROM pg_constraint
       WHERE conname ~ '_ldx_' OR NOT convalidated
    ]])) do
    found[#found + 1] = row[1]
  end
  local ok, message = server:try(database, [[
    CREATE EXTENSION IF NOT EXISTS amcheck;
    SELECT bt_index_check(c.oid, true)
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      JOIN pg_am a ON a.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE a.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND n.nspname !~ '^pg_'
  ]])
  if not ok then found[#found + 1] = message end
  return found
end

--- Runs `apply` as it is, after whatever happened: it gets there, nothing is left to do, and nothing is damaged.
---@param server support.Server
---@param database string
---@param registry string   path
function M.converges(server, database, registry)
  local url = server:url(database)
  local result = lunadex.run { "apply", registry, "--fail-on", "any", "--target", url }
  if result.status ~= 0 then error("the next run failed: " .. tostring(result), 2) end
  M.settled(server, database, registry, 2)
end

--- That nothing is left to do, and nothing damaged.
---@param server support.Server
---@param database string
---@param registry string
---@param level integer?
function M.settled(server, database, registry, level)
  level = (level or 1) + 1
  local plan = lunadex.run { "plan", registry, "--detailed-exitcode", "--target", server:url(database) }
  if plan.status ~= 0 then error("there is something left to do: " .. tostring(plan), level) end
  local damage = M.damage(server, database)
  if #damage > 0 then error(table.concat(damage, "\n"), level) end
end

return M
