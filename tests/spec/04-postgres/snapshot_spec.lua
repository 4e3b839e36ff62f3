-- snapshot → plan says nothing to do; and drop every index → apply → every definition is what it was, byte for byte.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("snapshot", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function snapshot()
    local path = shell.directory("snapshot") .. "/registry.lua"
    local result = lunadex.run { "snapshot", "-o", path, "--target", url }
    assert.equal(0, result.status, tostring(result))
    return path, result
  end

  local function round_trip()
    local before = server:indexes(database)
    local path = snapshot()
    local result = lunadex.run { "plan", "--detailed-exitcode", path, "--target", url }
    assert.equal(0, result.status, tostring(result) .. shell.read_file(path))
    server:psql(database, [[
      DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT format('%I.%I', n.nspname, c.relname) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname NOT IN ('pg_catalog', 'pg_toast')
          AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid) AND NOT c.relispartition
        LOOP EXECUTE 'DROP INDEX ' || name; END LOOP;
      END $$]])
    result = lunadex.run { "apply", path, "--target", url, "--fail-on", "any" }
    assert.equal(0, result.status, tostring(result))
    assert.same(before, server:indexes(database))
    assert.equal(shell.read_file(path), shell.read_file((snapshot())))
  end

  it("gives back every kind of index", function()
    server:psql(database, [==[
      CREATE TABLE t (a int, b text, c jsonb, d int[], e point, f timestamptz, "Odd ""Name" text);
      CREATE UNIQUE INDEX ON t (a DESC NULLS LAST, b NULLS FIRST) INCLUDE (f) WHERE a > 0 AND b <> 'x';
      CREATE INDEX ON t USING gin (c jsonb_path_ops) WITH (fastupdate = off);
      CREATE INDEX ON t USING gin (d);
      CREATE INDEX ON t USING gist (e);
      CREATE INDEX ON t USING spgist (e);
      CREATE INDEX ON t USING brin (f) WITH (pages_per_range = 32, autosummarize = on);
      CREATE INDEX ON t USING hash (b);
      CREATE INDEX ON t (lower(b) text_pattern_ops, (a + 1) DESC);
      CREATE INDEX ON t (b COLLATE "C", b);
      CREATE INDEX "we""ird.näme
with newline" ON t ("Odd ""Name");
      CREATE INDEX ON t (b) WHERE b IN ('a', E'back\\slash', ']]', 'ümläut');
      CREATE INDEX twice_1 ON t (f); CREATE INDEX twice_2 ON t (f);
      CREATE SCHEMA "Sales.2024"; CREATE TABLE "Sales.2024"."Orders" (id int PRIMARY KEY, n int UNIQUE DEFERRABLE);
      CREATE INDEX ON "Sales.2024"."Orders" (n DESC);
      CREATE MATERIALIZED VIEW mv AS SELECT a, b FROM t; CREATE UNIQUE INDEX ON mv (a, b)]==])
    if pg.version >= 15 then -- the first that has it
      server:psql(database, "CREATE UNIQUE INDEX ON t (a) NULLS NOT DISTINCT")
    end
    round_trip()
  end)

  it("gives back partitioned indexes with the names of their parts", function()
    server:psql(database, [[
      CREATE TABLE m (id int, at date) PARTITION BY RANGE (at);
      CREATE TABLE m1 PARTITION OF m FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
      CREATE TABLE m2 PARTITION OF m FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (id);
      CREATE TABLE m2a PARTITION OF m2 FOR VALUES IN (1);
      CREATE INDEX odd_name ON m1 (id) WITH (fillfactor = 50);
      CREATE INDEX m_id ON m (id);
      ALTER INDEX m2a_id_idx RENAME TO "own Name"]])
    round_trip()
  end)

  it("leaves out what is invalid, and says so", function()
    server:psql(database, "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1); CREATE INDEX fine ON t (a)")
    server:try(database, "CREATE UNIQUE INDEX CONCURRENTLY broken ON t (a)")
    local path, result = snapshot()
    assert.matches("broken", result.stderr, 1, true)
    assert.matches("-- index broken", shell.read_file(path), 1, true)
    assert.is_nil(shell.read_file(path):find('"broken"', 1, true))
  end)

  it("is the same whatever role and database have set", function()
    server:psql(database, [[
      CREATE TABLE t (a int, at timestamptz, x float8, i interval, b bytea);
      CREATE INDEX ON t (at) WHERE at > '2020-01-02 03:04:05+00';
      CREATE INDEX ON t (x) WHERE x > '1.2345678901234567'::float8;
      CREATE INDEX ON t (i) WHERE i > '-1 day 2:03:04'::interval;
      CREATE INDEX ON t (b) WHERE b > '\xff00'::bytea;
      CREATE INDEX ON t (a) WHERE a = NULL]])
    local before = shell.read_file((snapshot()))
    for setting, value in pairs {
      DateStyle = "'German'", IntervalStyle = "'sql_standard'", extra_float_digits = "-5", bytea_output = "'escape'",
      transform_null_equals = "on", quote_all_identifiers = "on", TimeZone = "'Asia/Tokyo'",
    } do
      server:psql(database, ('ALTER DATABASE "%s" SET %s = %s'):format(database, setting, value))
    end
    local path = snapshot()
    assert.equal(before, shell.read_file(path))
    local result = lunadex.run { "plan", "--detailed-exitcode", path, "--target", url }
    assert.equal(0, result.status, tostring(result))
  end)

  it("replaces the file as a whole, and says when it cannot", function()
    server:psql(database, "CREATE TABLE t (a int PRIMARY KEY)")
    local result = lunadex.run { "snapshot", "-o", "/does/not/exist/registry.lua", "--target", url }
    assert.equal(1, result.status, tostring(result))
    assert.matches("/does/not/exist/registry.lua", result.stderr, 1, true)
    local directory = shell.directory "snapshot"
    shell.check(("cd %s && echo old >file && ln -s file link"):format(directory))
    assert.equal(0, lunadex.run({ "snapshot", "-o", directory .. "/link", "--target", url }).status)
    assert.matches("primary_key", shell.read_file(directory .. "/file"), 1, true)
    assert.equal("file\n", shell.check("readlink " .. directory .. "/link"))
    local to_stdout = lunadex.run { "snapshot", "--target", url }
    assert.equal(shell.read_file((snapshot())), to_stdout.stdout)
    -- A pipe, by its name: it is written to, and still there afterwards.
    local named = lunadex.run { "snapshot", "-o", "/dev/stdout", "--target", url }
    assert.equal(to_stdout.stdout, named.stdout, tostring(named))
    assert.is_true((shell.run "test -L /dev/stdout"))
  end)
end)
