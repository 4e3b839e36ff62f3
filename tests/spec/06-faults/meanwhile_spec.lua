-- What is built on changes meanwhile, or does not allow it: tables that are altered or go, duplicates, a full disk.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"

describe("meanwhile", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, registry

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, faults.schema)
    registry = lunadex.registry(faults.registry)
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function apply(url, ...)
    return lunadex.start { "apply", registry, "--mode", "concurrent", "--json", "--target",
      url or server:url(database), ... }
  end

  local function failure(result)
    for _, event in ipairs(result:events()) do
      if event.event == "build_finished" and event.outcome == "failed" then return event end
    end
    error("nothing failed: " .. tostring(result), 2)
  end

  describe("the table", function()
    -- Before anything is sent, between build and swap, and between swap and drop.
    local moments = {
      ["before the build"] = 'CREATE INDEX CONCURRENTLY "t_x_ldx_new"',
      ["before the swap"] = 'RENAME TO "t_x_ldx_old"',
      ["before the drop"] = 'DROP INDEX CONCURRENTLY "public"."t_x_ldx_old"',
    }
    local changes = {
      ["loses the column"] = "ALTER TABLE t DROP COLUMN b",
      ["is renamed"] = "ALTER TABLE t RENAME TO other",
      ["is dropped"] = "DROP TABLE t",
    }
    local short = {
      ["before the build"] = "loses the column", ["before the swap"] = "is renamed", ["before the drop"] = "is dropped",
    }
    for when, text in pairs(moments) do
      for what, sql in pairs(faults.long and changes or { [short[when]] = changes[short[when]] }) do
        it(("%s %s: the run says so and leaves nothing broken"):format(what, when), function()
          local link = proxies.start(server)
          finally(function() link:close() end)
          link:trap("stall", "before", text)
          local run = apply(link:url(database))
          local port = link:fired()
          server:psql(database, sql)
          link:resume(port)
          local result = lunadex.result(run:wait())
          if when == "before the drop" then
            -- The index went with the table or the column, or is dropped: that is what was wanted.
            assert.is_true(result.status == 0 or result.status == 3, tostring(result))
          else
            assert.equal(3, result.status, tostring(result))
            assert.equal("undefined", failure(result).error.code, tostring(result))
          end
          assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
          -- The other table's index is there all the same.
          assert.equal("t", server:value(database, "SELECT " .. faults.has "u_ab"))
          if what == "is renamed" then
            registry = lunadex.registry((faults.registry:gsub('on "t"', 'on "other"')))
            faults.converges(server, database, registry)
          end
        end)
      end
    end

    for what, sql in pairs { ["loses the column"] = "ALTER TABLE t DROP COLUMN b", ["is dropped"] = "DROP TABLE t" } do
      it(what .. " as soon as the build lets it: the build gives way, or is done before", function()
        local gate = faults.close_gate(server, database)
        local run = apply()
        gate:reached()
        -- It queues for the build's lock with a snapshot, for which the build waits in turn.
        local other = server:session(database, "migration")
        other:run "SET deadlock_timeout = '1h'"
        other:send(sql)
        faults.holds(server, database, "the other to queue", ([[SELECT wait_event_type = 'Lock' FROM pg_stat_activity
          WHERE pid = %d]]):format(other.pid))
        gate:open()
        other:wait()
        other:close()
        local result = lunadex.result(run:wait())
        assert.equal(3, result.status, tostring(result))
        assert.equal("undefined", failure(result).error.code, tostring(result))
        assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
        assert.equal("t", server:value(database, "SELECT " .. faults.has "u_ab"))
      end)
    end
  end)

  describe("duplicates", function()
    local unique = [[ on "t" { index { expr "gate(a)", name = "t_a", unique = true, critical = true } } ]]

    it("come after the first scan: what they leave would refuse rows, and is dropped (M11)", function()
      registry = lunadex.registry(unique)
      local gate = faults.close_gate(server, database)
      local run = apply()
      gate:reached()
      -- The index is not yet kept up by writers, so nobody stops them.
      server:psql(database, "INSERT INTO t VALUES (7, 0)")
      gate:open()
      local result = lunadex.result(run:wait())
      assert.equal(3, result.status, tostring(result))
      local failed = failure(result)
      assert.equal("duplicate_key", failed.error.code)
      assert.equal(1, failed.attempts)
      assert.is_truthy(failed.error.detail:find("7", 1, true), failed.error.detail)
      assert.is_truthy(failed.error.hint:find("GROUP BY", 1, true), failed.error.hint)
      assert.same({}, faults.damage(server, database))
      server:psql(database, "INSERT INTO t VALUES (7, 0); DELETE FROM t WHERE a = 7 AND b = 0")
      faults.converges(server, database, registry)
    end)

    it("come while the leftover of an earlier run is there: it is replaced once they are gone", function()
      server:psql(database, "INSERT INTO t VALUES (7, 0)")
      server:try(database, "CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (gate(a))")
      assert.equal("f", server:value(database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass"))
      registry = lunadex.registry(unique)
      local result = lunadex.result(apply():wait())
      assert.equal(3, result.status, tostring(result))
      assert.same({}, faults.damage(server, database))
      server:psql(database, "DELETE FROM t WHERE a = 7 AND b = 0")
      faults.converges(server, database, registry)
    end)
  end)

  describe("the disk is full", function()
    local function fails(code, hint)
      local result = lunadex.result(apply():wait())
      assert.equal(3, result.status, tostring(result))
      local failed = failure(result)
      assert.equal(code, failed.error.code)
      assert.equal(1, failed.attempts)
      if hint then assert.is_truthy(failed.error.hint:find(hint, 1, true), failed.error.hint) end
      assert.same({}, faults.damage(server, database))
    end

    it("where the index goes: it is said once, and what was written is given back", function()
      local directory = shell.directory("tablespace")
      -- A file system of its own, which takes root's rights to have.
      if not shell.run(("mount -t tmpfs -o size=2m,mode=0777 lunadex-test %s"):format(shell.quote(directory))) then
        return pending "a small file system cannot be mounted here; the case below stands for it"
      end
      shell.check(("chown --reference=%s %s"):format(shell.quote(server.data), shell.quote(directory)))
      finally(function()
        server:drop_database(database)
        server:try("postgres", "DROP TABLESPACE small")
        shell.run("umount -l " .. shell.quote(directory))
      end)
      server:psql(database, "INSERT INTO u SELECT i, i FROM generate_series(1, 200000) i")
      server:psql(database, ("CREATE TABLESPACE small LOCATION '%s'"):format(directory))
      registry = lunadex.registry [[ on "u" { index { "a", name = "u_a", tablespace = "small", critical = true } } ]]
      fails("disk_full", "tablespace")
      -- What a dropped file took is given back by the next checkpoint at the latest.
      server:psql(database, "CHECKPOINT")
      faults.holds(server, database, "the space to be free", "SELECT pg_tablespace_size('small') < 100000")
      server:psql(database, "DELETE FROM u WHERE a > 1000; VACUUM FULL u")
      faults.converges(server, database, registry)
    end)

    it("where it is sorted: the same", function()
      server:psql(database, [[
        INSERT INTO u SELECT i, i FROM generate_series(1, 200000) i;
        CREATE ROLE thrifty SUPERUSER LOGIN;
        ALTER ROLE thrifty SET temp_file_limit = '100kB';
        ALTER ROLE thrifty SET maintenance_work_mem = '1MB';
      ]])
      finally(function() server:psql("postgres", "DROP ROLE thrifty") end)
      registry = lunadex.registry [[ on "u" { index { "a", name = "u_a", critical = true } } ]]
      local result = lunadex.result(apply(server:url(database, "thrifty")):wait())
      assert.equal(3, result.status, tostring(result))
      local failed = failure(result)
      assert.equal("53400", failed.error.native)
      assert.equal(1, failed.attempts)
      assert.same({}, faults.damage(server, database))
      faults.converges(server, database, registry)
    end)
  end)

  it("a function of the index misses what it uses: it is built once, and said where that happened", function()
    server:psql(database, [[
      CREATE SCHEMA app;
      CREATE TABLE app.lookup (n int);
      CREATE FUNCTION looks_up(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN $1 + count(*) FROM lookup; END']])
    local path = lunadex.registry [[ on "t" { index { expr "looks_up(a)", name = "t_looks_up", critical = true } } ]]
    local result = lunadex.run { "apply", path, "--mode", "concurrent", "--json", "--target", server:url(database) }
    assert.equal(3, result.status, tostring(result))
    local dropped = 0
    for _, event in ipairs(result:events()) do
      if event.event == "note" and event.text:find("dropped what the failed build left", 1, true) then
        dropped = dropped + 1
      end
    end
    assert.equal(1, dropped)
    local told = failure(result).error
    assert.equal("undefined", told.code)
    assert.matches("It happened here: .*function [%w.]*looks_up", told.hint)
    assert.equal(server.version >= 17, told.hint:find("SET search_path", 1, true) ~= nil, told.hint)
  end)

  it("somebody makes another index of the name of one that is to go: it stays", function()
    server:try(database, "CREATE UNIQUE INDEX CONCURRENTLY t_left ON t (b)") -- fails, and leaves it invalid
    local link = proxies.start(server)
    finally(function() link:close() end)
    link:trap("stall", "before", 'CREATE INDEX CONCURRENTLY "u_ab"')
    local run = apply(link:url(database), "--repair", "--jobs", "1", "--fail-on", "any")
    local port = link:fired()
    server:psql(database, "DROP INDEX t_left")
    server:psql(database, "CREATE INDEX t_left ON t (a, b)")
    link:resume(port)
    local result = lunadex.result(run:wait())
    assert.equal(3, result.status, tostring(result))
    assert.matches("another index since it was looked at", result.stderr, 1, true)
    assert.equal("t", server:value(database, "SELECT " .. faults.has("t_left", "1 2")))
  end)

  describe("a replacement", function()
    -- What a run makes of `declared` where `sql` comes in before it sends `statement`.
    local function run_with(declared, statement, sql)
      local link = proxies.start(server)
      finally(function() link:close() end)
      link:trap("stall", "before", statement)
      registry = lunadex.registry(declared)
      local run = apply(link:url(database), "--fail-on", "any")
      local port = link:fired()
      server:psql(database, sql)
      link:resume(port)
      return lunadex.result(run:wait())
    end
    local function constraint()
      return server:value(database, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 't_key'")
    end

    local constraints = {
      { "UNIQUE (a)", 'unique_constraint { "b", "a", name = "t_key" }', "UNIQUE (a, z)",
        { 'CREATE UNIQUE INDEX CONCURRENTLY "t_key_ldx_new"', 'DROP CONSTRAINT "t_key"' } },
      { "PRIMARY KEY (a)", 'primary_key { "b", "a", name = "t_key" }', "PRIMARY KEY (a, z)",
        { 'DROP CONSTRAINT "t_key"' } },
      { "EXCLUDE USING btree (a WITH =)", 'exclusion_constraint { key { "b", with = "=" }, key { "a", with = "=" }, '
        .. 'name = "t_key" }', "EXCLUDE USING btree (z WITH =)", { 'DROP CONSTRAINT "t_key"' } },
      { "FOREIGN KEY (a) REFERENCES r(id)", 'foreign_key { "a", references = "r", on_delete = "cascade", '
        .. 'name = "t_key" }', "FOREIGN KEY (z) REFERENCES r(id)",
        { 'ADD CONSTRAINT "t_key_ldx_new"', 'DROP CONSTRAINT "t_key"' } },
    }
    for _, case in ipairs(constraints) do
      local old, declared, other, moments = table.unpack(case)
      it("of a constraint that is another one by then leaves that alone: " .. old, function()
        server:psql(database, [[DROP TABLE t; CREATE TABLE t (a int NOT NULL, b int NOT NULL, z int);
          INSERT INTO t SELECT i, i, i FROM generate_series(1, 100) i;
          CREATE TABLE r (id int PRIMARY KEY); INSERT INTO r SELECT i FROM generate_series(1, 100) i]])
        for _, moment in ipairs(moments) do
          server:psql(database, ("ALTER TABLE t DROP CONSTRAINT IF EXISTS t_key, ADD CONSTRAINT t_key %s"):format(old))
          local result = run_with(('on "t" { %s }'):format(declared), moment,
            ("ALTER TABLE t DROP CONSTRAINT t_key, ADD CONSTRAINT t_key %s"):format(other))
          assert.equal(3, result.status, tostring(result))
          assert.matches("t_key of public.t is another constraint since it was looked at: it stays",
            failure(result).error.message, 1, true)
          assert.equal(other, constraint())
          assert.equal("0", server:value(database, [[SELECT count(*) FROM pg_class c FULL JOIN pg_constraint k
            ON k.conname = c.relname WHERE coalesce(relname, conname) ~ '_ldx_']]))
        end
      end)
    end

    describe("of an index", function()
      local swap, build = 'RENAME TO "t_x_ldx_old"', 'CREATE UNIQUE INDEX CONCURRENTLY "t_x_ldx_new"'
      local declared = [[ on "t" { index { "a", "b", unique = true, name = "t_x" } } ]]
      local function indexes()
        return server:value(database, [[SELECT string_agg(format('%s %s%s', relname, indkey,
          CASE WHEN NOT indisvalid THEN ' invalid' END), ', ' ORDER BY relname) FROM pg_index JOIN pg_class c
          ON c.oid = indexrelid WHERE indrelid = 't'::regclass]])
      end

      it("takes nothing for the new one that is not, and keeps the old one", function()
        for sql, left in pairs {
          ["DROP INDEX t_x_ldx_new; CREATE INDEX t_x_ldx_new ON t (b)"] = "t_x 1, t_x_ldx_new 2",
          ["DROP INDEX t_x_ldx_new"] = "t_x 1",
          ["UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_x_ldx_new'::regclass"] = "t_x 1",
        } do
          server:psql(database, "DROP INDEX IF EXISTS t_x_ldx_new")
          local result = run_with(declared, swap, sql)
          assert.equal(3, result.status, sql .. tostring(result))
          assert.equal(left, indexes(), sql)
        end
      end)

      it("keeps what is in its place by then, if that is another one", function()
        for _, case in ipairs {
          { build, "DROP INDEX t_x; CREATE INDEX t_x ON t (b)", "t_x 2", "another index" },
          { swap, "DROP INDEX t_x; CREATE INDEX t_x ON t (b)", "t_x 2", "another index" },
          { swap, "DROP INDEX t_x; CREATE UNIQUE INDEX t_x ON t (a); ALTER TABLE t ADD UNIQUE USING INDEX t_x", "t_x 1",
            "a constraint" },
        } do
          server:psql(database, "DROP INDEX IF EXISTS t_x; CREATE INDEX t_x ON t (a)")
          local result = run_with(declared, case[1], case[2])
          assert.equal(3, result.status, tostring(result))
          assert.matches(case[4] .. " since it was looked at: it stays", failure(result).error.message, 1, true)
          assert.equal(case[3], indexes())
          server:psql(database, "ALTER TABLE t DROP CONSTRAINT IF EXISTS t_x")
        end
      end)

      it("replaces what was only made anew", function()
        for _, sql in ipairs { "REINDEX INDEX CONCURRENTLY t_x", "ALTER TABLE t ALTER a TYPE bigint" } do
          for _, moment in ipairs { swap, 'DROP INDEX CONCURRENTLY "public"."t_x_ldx_old"' } do
            server:psql(database, [[DROP TABLE t; CREATE TABLE t (a int, b int);
              INSERT INTO t SELECT i, i FROM generate_series(1, 100) i; CREATE INDEX t_x ON t (a)]])
            local result = run_with(declared, moment, moment == swap and sql or sql:gsub("t_x", "t_x_ldx_old"))
            assert.equal(0, result.status, sql .. tostring(result))
            assert.equal("t_x 1 2", indexes())
          end
        end
      end)
    end)

    it("of a constraint that was only made anew replaces it", function()
      server:psql(database, "ALTER TABLE t ADD CONSTRAINT t_key UNIQUE (a)")
      local result = run_with([[on "t" { unique_constraint { "b", "a", name = "t_key" } }]],
        'CREATE UNIQUE INDEX CONCURRENTLY "t_key_ldx_new"', "ALTER TABLE t ALTER a TYPE bigint")
      assert.equal(0, result.status, tostring(result))
      assert.equal("UNIQUE (b, a)", constraint())
    end)
  end)

  it("somebody makes the very index: it counts", function()
    local link = proxies.start(server)
    finally(function() link:close() end)
    link:trap("stall", "before", 'CREATE INDEX CONCURRENTLY "u_ab"')
    local run = apply(link:url(database), "--only", "u_ab", "--fail-on", "any")
    local port = link:fired()
    server:psql(database, "CREATE INDEX u_ab ON u (a, b)")
    link:resume(port)
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    faults.converges(server, database, registry)
  end)
  it("the table gets another name or schema in the middle of a build: nothing invalid stays on it", function()
    for _, change in ipairs { "ALTER TABLE t RENAME TO elsewhere", "CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s" } do
      local gate = faults.close_gate(server, database)
      local run = apply(nil, "--only", "t_x", "--retries", "2")
      gate:reached()
      local migration = server:session(database, "migration")
      migration:send(change) -- stands in the queue, and meets the build in a deadlock
      gate:open()
      run:wait()
      pcall(migration.wait, migration)
      migration:close()
      assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), change)
      server:psql(database, [[DROP SCHEMA IF EXISTS s CASCADE; DROP TABLE IF EXISTS t, elsewhere;
        CREATE TABLE t (a int, b int); INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 1000) i;
        CREATE INDEX t_x ON t (a)]])
    end
  end)

  it("a partition is detached, or dropped, in the middle: the rest is finished without it", function()
    server:psql(database, [[CREATE TABLE p (a int, b int) PARTITION BY RANGE (a);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
      CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
      CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30);
      INSERT INTO p SELECT i % 30, i FROM generate_series(1, 300) i]])
    local parts = lunadex.registry [[ on "p" { index { expr "gate(b)", name = "p_b" } } ]]
    local gate = faults.close_gate(server, database)
    local run = lunadex.start { "apply", parts, "--mode", "concurrent", "--fail-on", "any", "--target",
      server:url(database) }
    gate:reached()
    server:psql(database, "ALTER TABLE p DETACH PARTITION p2")
    server:psql(database, "DROP TABLE p3")
    gate:open()
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    assert.matches("public.p2 is no partition of public.p any more", result.stdout, 1, true)
    assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
    assert.equal("t", server:value(database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'p_b'::regclass"))
  end)

  it("somebody is at it: his index counts as his, and ours as ours where his build ends without one", function()
    for _, ends in ipairs { "well", "badly" } do
      server:psql(database, "DROP INDEX IF EXISTS other")
      local gate = faults.close_gate(server, database)
      local builder = server:session(database, "other tool")
      builder:send "CREATE INDEX CONCURRENTLY other ON u (gate(b))"
      local pid = gate:reached()
      local run = lunadex.start { "apply", "--mode", "concurrent", "--json", "--target", server:url(database),
        lunadex.registry [[ on "u" { index { expr "gate(b)", name = "other" } } ]] }
      shell.eventually("it to wait", function() return run:stdout():find("waiting for it", 1, true) end)
      if ends == "badly" then server:value(database, ("SELECT pg_terminate_backend(%s)"):format(pid)) end
      gate:open()
      local result = lunadex.result(run:wait())
      builder:close()
      assert.equal(0, result.status, tostring(result))
      local events = result:events()
      local summary = events[#events].summary
      assert.same(ends == "well" and { 0, 1 } or { 1, 0 }, { summary.created, summary.skipped }, tostring(result))
    end
  end)

  it("somebody renames the index that is being built: it is said that it is not there any more", function()
    local gate = faults.close_gate(server, database)
    local run = apply(nil, "--only", "t_x", "--fail-on", "any")
    gate:reached()
    server:psql(database, "ALTER INDEX t_x_ldx_new RENAME TO elsewhere")
    gate:open()
    local result = lunadex.result(run:wait())
    assert.matches("public.t_x_ldx_new was built, and has been renamed or dropped by somebody since",
      failure(result).error.message, 1, true)
    assert.equal("t", server:value(database, "SELECT " .. faults.has("t_x", "1")))
  end)
end)
