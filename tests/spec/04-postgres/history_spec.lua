-- What runs have done, in the database itself: with --record, and only then.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("the history", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, [[
      CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 1), (2, 1);
      CREATE TABLE u (a int PRIMARY KEY, b int); INSERT INTO u VALUES (1, 1), (2, 2);
      CREATE INDEX u_stray ON u (b, a);
      CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN PERFORM pg_sleep(0.5); RETURN $1; END']])
    url = server:url(database)
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local mixed = [[
    on "public.t" {
      index { "a", name = "t_a", where = "b > 0", critical = true },
      unique_constraint { "b", name = "t_b" },
    }
    on "public.u" { primary_key { "a", name = "u_pkey" }, index { "b", name = "u_b" } } ]]

  local function apply(text, ...)
    return lunadex.run { "apply", lunadex.registry(text), "--target", url, ... }
  end

  local function rows(sql)
    local result = server:psql(database, sql)
    for _, row in ipairs(result) do row.n = nil end
    return result
  end

  local function status(...)
    local result = lunadex.run { "status", "--target", url, ... }
    assert.equal(0, result.status, tostring(result))
    return result
  end

  it("is not kept, and nothing but indexes is there, without --record", function()
    local function everything()
      return rows [[
        SELECT 'namespace', nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
        UNION ALL SELECT relkind::text, relname FROM pg_class
         WHERE relkind NOT IN ('i', 'I') AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_')
        UNION ALL SELECT 'function', oid::text FROM pg_proc WHERE oid >= 16384
        UNION ALL SELECT 'type', typname FROM pg_type WHERE oid >= 16384
        UNION ALL SELECT 'extension', extname FROM pg_extension
        UNION ALL SELECT 'trigger', tgname FROM pg_trigger
        UNION ALL SELECT 'event trigger', evtname FROM pg_event_trigger
        UNION ALL SELECT 'comment', description FROM pg_description WHERE objoid >= 16384
        UNION ALL SELECT 'setting', setconfig::text FROM pg_db_role_setting
        UNION ALL SELECT 'rows', count(*)::text FROM t UNION ALL SELECT 'rows', count(*)::text FROM u
        UNION ALL SELECT 'statistics', stxname FROM pg_statistic_ext
        UNION ALL SELECT 'large object', oid::text FROM pg_largeobject_metadata
        ORDER BY 1, 2 ]]
    end
    local before = everything()
    local result = apply(mixed, "--drop-strays", "--rename", "--mode", "concurrent")
    assert.matches("created 2, skipped 1, failed 1, dropped 1", result.stdout, 1, true)
    assert.same(before, everything())
    assert.equal("null", status("--json").stdout:match '"history":(%w+)')
    assert.is_nil(status().stdout:find("run 1", 1, true))
    assert.same(before, everything())
  end)

  it("has each run and each change, with --record", function()
    local result = apply(mixed, "--record", "--drop-strays", "--retries", "3")
    assert.equal(0, result.status, tostring(result))
    assert.is_nil(result.stderr:find("history", 1, true), result.stderr)
    assert.same({ { "create", "public.t", "t_a", "btree (a) WHERE b > 0", "t", "1", "created", "-", "t" },
      { "create", "public.t", "t_b", "UNIQUE CONSTRAINT (b)", "f", "1", "failed", "true", "t" },
      { "create", "public.u", "u_b", "btree (b)", "f", "1", "created", "-", "t" },
      { "drop", "public.u", "u_stray", "btree (b, a)", "f", "1", "dropped", "-", "t" },
    }, rows [[SELECT action, relation, name, definition, critical, attempts, outcome,
        coalesce((error LIKE 'could not create%')::text, '-'),
        seconds BETWEEN 0 AND 20 AND started BETWEEN now() - interval '1 min' AND now()
      FROM lunadex.change WHERE run = 1 ORDER BY action, name]])
    assert.same({ { "1", "failed", "1", "4", "postgres", "127.0.0.1", "t", "-" } }, rows [[SELECT id, outcome, existing,
      planned, role, host(client), ended BETWEEN started AND now(), coalesce(error, '-') FROM lunadex.run]])
    -- A run that has nothing to do is one, too.
    apply([[ on "public.t" { index { "a", name = "t_a", where = "b > 0" } } ]], "--record")
    local object = status("--json"):json()
    assert.equal(2, #object.history)
    local second, first = object.history[1], object.history[2]
    assert.same({ "finished", 1, 0, 0 }, { second.outcome, second.existing, second.planned, second.done })
    assert.same({ "failed", 3, 1, "postgres@127.0.0.1" }, { first.outcome, first.done, first.failed, first.who })
    assert.matches("run 1 +%d+%-%d+%-%d+T[%d:]+Z  failed in [%d.]+ s: 3 of 4 done, 1 failed; by postgres@127.0.0.1",
      status().stdout)
    -- It takes no part in what is declared, unless somebody declares it.
    assert.is_nil(lunadex.run({ "snapshot", "--target", url }).stdout:find("lunadex.", 1, true))
    local plan = lunadex.run { "plan", lunadex.registry(mixed), "--target", url, "--drop-strays", "--repair", "--json" }
    assert.is_nil(plan.stdout:find("lunadex.", 1, true), plan.stdout)
    plan = lunadex.run { "plan", lunadex.registry [[ on "lunadex.change" { index { "started", name = "by_time" } } ]],
      "--target", url, "--json" }
    assert.equal("by_time", plan:json().changes[1].name)
  end)

  it("shows a run that was killed as such, and who runs as running", function()
    local text = [[ on "public.t" { index { "a", name = "t_a" }, index { expr "slow(b)", name = "t_slow" } } ]]
    local run = lunadex.start { "apply", lunadex.registry(text), "--target", url, "--record", "--mode", "concurrent" }
    shell.eventually("the slow build to be recorded", function()
      return server:value(database, "SELECT to_regclass('lunadex.change')")
        and server:value(database, "SELECT count(*) FROM lunadex.change WHERE name = 't_slow'") == "1"
    end)
    local first = status("--json"):json().history[1]
    assert.same({ "running", "create public.t t_slow" }, { first.outcome, first.unfinished })
    run:kill "KILL"
    shell.eventually("the run to be dead", function() return status("--json"):json().history[1].outcome == "killed" end)
    assert.matches("killed: 1 of 2 done, while at create public.t t_slow; by postgres", status().stdout)
    assert.equal("t", server:value(database, "SELECT ended IS NULL FROM lunadex.run"))
    -- The next one finishes its work, and leaves its row as it is.
    local result = apply(text, "--record", "--mode", "concurrent")
    assert.equal(0, result.status, tostring(result))
    local runs = status("--json"):json().history
    assert.same({ "finished", "killed" }, { runs[1].outcome, runs[2].outcome })
  end)

  it("has the end of a run that is interrupted, or loses its lock", function()
    local text = [[ on "public.t" { index { expr "slow(b)", name = "t_slow" } } ]]
    for word, stop in pairs {
      interrupted = function(run) run:kill "INT" end,
      ["lock lost"] = function()
        server:psql(database, [[SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())]])
      end,
    } do
      local run = lunadex.start { "apply", lunadex.registry(text), "--target", url, "--record", "--mode", "concurrent",
        "--json" }
      shell.eventually("the build", function() return run:stdout():find('"build_started"', 1, true) end)
      shell.sleep(0.3)
      stop(run)
      run:wait(60)
      assert.same({ { word, "cancelled" } }, rows [[SELECT r.outcome, c.outcome FROM lunadex.run r
        JOIN lunadex.change c ON c.run = r.id ORDER BY id DESC LIMIT 1]])
    end
  end)

  it("survives the end of its session", function()
    local text = [[ on "public.t" { index { expr "slow(b)", name = "t_slow" } } ]]
    local run = lunadex.start { "apply", lunadex.registry(text), "--target", url, "--record", "--mode", "concurrent",
      "--json" }
    shell.eventually("the build", function() return run:stdout():find('"build_started"', 1, true) end)
    shell.eventually("the history's session to end", function()
      return server:value(database, [[SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'lunadex history' AND datname = current_database()]]) ~= "0"
    end)
    local result = lunadex.result(run:wait(60))
    assert.equal(0, result.status, tostring(result))
    assert.is_nil(result.stdout:find('"warning"', 1, true), result.stdout)
    assert.same({ { "finished", "created" } }, rows [[SELECT r.outcome, c.outcome FROM lunadex.run r
      JOIN lunadex.change c ON c.run = r.id]])
  end)

  it("that cannot be written is a warning, and neither fails the run nor holds it up", function()
    server:psql(database, [[CREATE ROLE builder LOGIN; ALTER TABLE t OWNER TO builder; ALTER TABLE u OWNER TO builder;
      GRANT CREATE ON SCHEMA public TO builder]])
    finally(function()
      server:psql(database, "REASSIGN OWNED BY builder TO postgres; DROP OWNED BY builder; DROP ROLE builder")
    end)
    local text = [[ on "public.t" { index { "a", name = "t_a" }, index { "b", name = "t_b" } }
      on "public.u" { index { "b", name = "u_b" } } ]]
    local path = lunadex.registry(text)
    local as_builder = server:url(database, "builder")
    local result = lunadex.run { "apply", path, "--target", as_builder, "--record", "--only", "t_a" }
    assert.equal(0, result.status, tostring(result))
    assert.matches("warning: the history cannot be written: permission denied", result.stderr, 1, true)
    assert.equal(1, select(2, result.stderr:gsub("warning", "")))
    assert.matches("created 1", result.stdout)
    assert.equal("t", server:value(database, "SELECT to_regnamespace('lunadex') IS NULL"))
    -- It is there, but not for this role.
    assert.equal(0, apply([[ on "public.t" { index { "a", name = "t_a" } } ]], "--record").status)
    result = lunadex.run { "apply", path, "--target", as_builder, "--record", "--only", "t_b", "--json" }
    assert.equal(0, result.status, tostring(result))
    assert.matches('"event":"warning"', result.stdout, 1, true)
    result = lunadex.run { "status", "--target", as_builder }
    assert.equal(0, result.status, tostring(result))
    assert.matches("warning: the history cannot be read: permission denied", result.stderr, 1, true)
    -- Somebody keeps it locked: builds do not wait for those who would write.
    local holder = server:session(database, "holder")
    holder:run "BEGIN; LOCK TABLE lunadex.run, lunadex.change IN ACCESS EXCLUSIVE MODE"
    local began = shell.now()
    result = lunadex.run { "apply", path, "--target", url, "--record", "--mode", "concurrent" }
    local took = shell.now() - began
    holder:run "ROLLBACK"
    holder:close()
    assert.equal(0, result.status, tostring(result))
    assert.matches("created 1, skipped 2", result.stdout, 1, true)
    assert.matches("warning: the history cannot be written: ", result.stderr, 1, true)
    assert.is_true(took < 10, tostring(took))
  end)

  it("holds no secrets", function()
    server:psql(database, "CREATE ROLE secretive SUPERUSER LOGIN PASSWORD 'geheim'")
    finally(function() server:psql(database, "DROP OWNED BY secretive; DROP ROLE secretive") end)
    local result = lunadex.run { "apply", lunadex.registry(mixed), "--record", "--target",
      server:url(database, "secretive", "geheim") }
    assert.equal(0, result.status, tostring(result))
    assert.equal("0", server:value(database, [[SELECT count(*) FROM lunadex.run r, lunadex.change c
      WHERE (r::text || c::text) LIKE '%geheim%']]))
    assert.equal("secretive", server:value(database, "SELECT role FROM lunadex.run"))
  end)

  it("is kept in each of several databases", function()
    local other = server:create_database()
    server:psql(other, "CREATE TABLE t (a int)")
    local path = lunadex.registry(([[
      database "one" { url = %q, on "public.t" { index { "a", name = "t_a" } } }
      database "two" { url = %q, on "public.t" { index { "a", name = "t_a" } } }]]):format(url, server:url(other)))
    local result = lunadex.run { "apply", path, "--record", "--json" }
    assert.equal(0, result.status, tostring(result))
    for _, each in ipairs { database, other } do
      assert.equal("finished", server:value(each, "SELECT outcome FROM lunadex.run"))
      assert.equal("created", server:value(each, "SELECT outcome FROM lunadex.change"))
    end
    server:drop_database(other)
  end)
end)
