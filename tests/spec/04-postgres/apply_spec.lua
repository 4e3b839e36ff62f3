-- What each kind of change does to a real server, and that a second plan has nothing to do.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("apply", function()
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

  local function run(command, text, ...)
    return lunadex.run { command, lunadex.registry(text), "--target", url, ... }
  end

  local function apply(text, ...)
    local result = run("apply", text, ...)
    assert.equal(0, result.status, tostring(result))
    return result
  end

  -- Applied, it stays applied.
  local function settles(text, ...)
    apply(text, ...)
    local result = run("plan", text, "--detailed-exitcode")
    assert.equal(0, result.status, tostring(result))
    assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
  end

  local function index(name) return server:indexes(database)["public." .. name] end

  local function oid(name)
    return server:value(database, ("SELECT oid FROM pg_class WHERE relname = '%s'"):format(name))
  end

  it("prints what it would do, and does nothing", function()
    server:psql(database, "CREATE TABLE t (a int)")
    local text = [[ on "t" { index { "a", name = "t_a" } } ]]
    local result = apply(text, "--dry-run")
    assert.matches("CREATE INDEX", result.stdout, 1, true)
    assert.is_nil(index "t_a")
    settles(text)
  end)

  it("replaces an index of another definition and leaves nothing behind", function()
    server:psql(database, "CREATE TABLE t (a int, b int); CREATE INDEX t_x ON t (a)")
    local before = oid "t_x"
    local text = [[ on "t" { index { "a", "b", name = "t_x" } } ]]
    settles(text)
    assert.equal("CREATE INDEX t_x ON public.t USING btree (a, b)", index "t_x")
    assert.not_equal(before, oid "t_x")
    assert.equal("1", server:value(database, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'"))
  end)

  it("finishes a replacement that was interrupted before or after its swap", function()
    server:psql(database, [[CREATE TABLE t (a int, b int);
      CREATE INDEX t_x ON t (a); CREATE INDEX t_x_ldx_new ON t (a, b)]])
    local text = [[ on "t" { index { "a", "b", name = "t_x" } } ]]
    local built = oid "t_x_ldx_new"
    settles(text)
    assert.equal(built, oid "t_x")
    assert.equal("1", server:value(database, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'"))
    server:psql(database, "CREATE INDEX t_x_ldx_old ON t (a)")
    settles(text)
    assert.is_nil(index "t_x_ldx_old")
  end)

  it("takes what an interrupted replacement has built for what it is, however it is spelt", function()
    server:psql(database, [[CREATE TABLE t (a int, b int);
      CREATE INDEX t_x ON t (a); CREATE INDEX t_x_ldx_new ON t (a) WHERE a BETWEEN 1 AND 2 AND b > 0;
      ALTER TABLE t ADD CONSTRAINT t_k UNIQUE (a);
      CREATE UNIQUE INDEX t_k_ldx_new ON t (a, b) WITH (fillfactor = 70)]])
    local text = [[ on "t" { index { "a", where = "a >= 1 AND a <= 2 AND b > 0", name = "t_x" },
      unique_constraint { "a", "b", name = "t_k", deferrable = true, with = { fillfactor = 70 } } } ]]
    local built, key = oid "t_x_ldx_new", oid "t_k_ldx_new"
    assert.matches("an interrupted replacement has built the new index already", run("plan", text).stdout, 1, true)
    settles(text)
    assert.same({ built, key }, { oid "t_x", oid "t_k" })
    assert.equal("2", server:value(database, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'"))
  end)

  it("does not call built what an interrupted replacement has left invalid", function()
    server:psql(database, [[CREATE TABLE t (a int, b int); CREATE INDEX t_x ON t (a);
      CREATE INDEX t_x_ldx_new ON t (a, b);
      UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_x_ldx_new'::regclass]])
    local text = [[ on "t" { index { "a", "b", name = "t_x" } } ]]
    local told = run("plan", text).stdout
    assert.matches("has left the new index unfinished: it is built again", told, 1, true)
    assert.not_matches("built the new index already", told, 1, true)
    settles(text)
  end)

  it("but builds again what has other storage than is declared", function()
    server:psql(database, [[CREATE TABLE p (a int) PARTITION BY RANGE (a);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
      CREATE INDEX p_x ON p (a) WITH (fillfactor = 90); CREATE INDEX p_x_ldx_new ON ONLY p (a) WITH (fillfactor = 80)]])
    settles [[ on "p" { index { "a", name = "p_x", with = { fillfactor = 70 } } } ]]
    assert.matches("fillfactor='70'", index "p_x", 1, true)
    assert.equal("2", server:value(database, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'"))
  end)

  it("finishes replacements of names that are nearly as long as they may be", function()
    local one, two = ("x"):rep(60) .. "1", ("x"):rep(60) .. "2"
    server:psql(database, ("CREATE TABLE t (a int, b int, c int); CREATE INDEX %s ON t (a); CREATE INDEX %s ON t (b)")
      :format(one, two))
    local text = ('on "t" { index { "a", "b", name = "%s" }, index { "b", "c", name = "%s" } }'):format(one, two)
    -- Each has temporary names of its own.
    local names = {}
    for name in apply(text, "--dry-run").stdout:gmatch 'CREATE INDEX CONCURRENTLY "([^"]+)"' do
      assert.is_nil(names[name])
      names[#names + 1], names[name] = name, true
    end
    assert.equal(2, #names)
    -- As it is after the swap of the first and before that of the second.
    server:psql(database, ("CREATE INDEX %s ON t (b, c); ALTER INDEX %s RENAME TO %s; CREATE INDEX %s ON t (a, b)")
      :format(names[2], one, (names[1]:gsub("new$", "old")), one))
    local built = oid(names[2])
    settles(text)
    assert.equal(built, oid(two))
    assert.equal("2", server:value(database, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'"))
  end)

  it("replaces constraints", function()
    server:psql(database, [[CREATE TABLE p (id int PRIMARY KEY, k int UNIQUE);
      CREATE TABLE t (a int NOT NULL, b int NOT NULL, CONSTRAINT t_key UNIQUE (a),
        CONSTRAINT t_fk FOREIGN KEY (a) REFERENCES p (id)); INSERT INTO p VALUES (1, 1); INSERT INTO t VALUES (1, 1)]])
    local text = [[ on "t" {
      unique_constraint { "a", "b", name = "t_key" },
      foreign_key { "a", references = { "p", "k" }, on_delete = "cascade", name = "t_fk" } } ]]
    -- What it prints is what the server takes, and the old ones go when the new ones come.
    local printed = apply(text, "--dry-run").stdout
    assert.matches('DROP CONSTRAINT "t_key", ADD CONSTRAINT "t_key" UNIQUE USING INDEX', printed, 1, true)
    assert.matches('RENAME CONSTRAINT "t_fk_ldx_new" TO "t_fk"', printed, 1, true)
    assert.not_matches("COMMIT;\nBEGIN;\nSET LOCAL lock_timeout = %d+;\n[^\n]*RENAME", printed)
    settles(text)
    assert.equal("CREATE UNIQUE INDEX t_key ON public.t USING btree (a, b)", index "t_key")
    assert.same({
      { "t_fk", "FOREIGN KEY (a) REFERENCES p(k) ON DELETE CASCADE", n = 2 }, { "t_key", "UNIQUE (a, b)", n = 2 },
    }, server:psql(database, [[SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
      WHERE conrelid = 't'::regclass AND contype IN ('u', 'f') ORDER BY 1]]))
  end)

  it("builds keys before what refers to them, and takes over an index that is there", function()
    server:psql(database, [[CREATE TABLE a (id int NOT NULL, b int); CREATE TABLE b (id int NOT NULL, u int);
      CREATE UNIQUE INDEX b_u_stray ON b (u)]])
    local existing = oid "b_u_stray"
    settles [[
      on "a" { foreign_key { "b", references = "b" }, primary_key { "id" } }
      on "b" { primary_key { "id" }, unique_constraint { "u", name = "b_u" } } ]]
    assert.equal(existing, oid "b_u")
    assert.equal("t", server:value(database, "SELECT convalidated FROM pg_constraint WHERE conname = 'a_b_fkey'"))
    assert.is_truthy(index "a_pkey")
  end)

  it("changes storage parameters in place", function()
    server:psql(database, "CREATE TABLE t (a int); CREATE INDEX t_a ON t (a)")
    local before = oid "t_a"
    settles [[ on "t" { index { "a", name = "t_a", with = { fillfactor = 70 } } } ]]
    assert.equal(before, oid "t_a")
    assert.matches("fillfactor='70'", index "t_a", 1, true)
  end)

  it("rebuilds what a failed build left, and tells duplicates with a query that finds them", function()
    server:psql(database, "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)")
    server:try(database, "CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a)")
    assert.is_truthy(index "t_a")
    local text = [[ on "t" { index { "a", unique = true, name = "t_a", critical = true } } ]]
    local plan = run("plan", text, "--json"):json()
    assert.equal("rebuild", plan.changes[1].action)
    local result = run("apply", text)
    assert.equal(3, result.status, tostring(result))
    assert.matches("HAVING count(*) > 1", result.stderr, 1, true)
    assert.matches("--only t_a", result.stderr, 1, true)
    assert.is_nil(index "t_a")
    server:psql(database, "DELETE FROM t")
    settles(text)
  end)

  it("renames in a chain when asked", function()
    server:psql(database, "CREATE TABLE t (a int, b int); CREATE INDEX x ON t (a)")
    settles([[ on "t" { index { "a", name = "y" }, index { "b", name = "x" } } ]], "--rename")
    assert.equal("CREATE INDEX x ON public.t USING btree (b)", index "x")
    assert.equal("CREATE INDEX y ON public.t USING btree (a)", index "y")
  end)

  it("renames in longer chains, and in circles through a name in between", function()
    server:psql(database, [[CREATE TABLE t (a int, b int, c int, d int UNIQUE);
      CREATE INDEX i1 ON t (a); CREATE INDEX i2 ON t (b); CREATE INDEX i3 ON t (c)]])
    settles([[ on "t" { index { "a", name = "i2" }, index { "b", name = "i3" }, index { "c", name = "i4" } } ]],
      "--rename")
    local function keys()
      return server:value(database, [[SELECT string_agg(c.relname || ' ' || a.attname, ', ' ORDER BY a.attname)
        FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE relnamespace = 'public'::regnamespace]])
    end
    assert.equal("i2 a, i3 b, i4 c, t_d_key d", keys())
    -- A circle of three, one of two with a constraint in it, and one that waits for a name of the first.
    server:psql(database, "ALTER TABLE t ADD e int; CREATE INDEX i9 ON t (e)")
    local text = [[ on "t" { index { "a", name = "i3" }, index { "b", name = "i4" }, unique_constraint { "d",
      name = "i9" }, index { "c", name = "i2" }, index { "e", name = "t_d_key" } } ]]
    local dry = apply(text, "--rename", "--dry-run").stdout
    assert.matches('RENAME TO "i4_ldx_moved"', dry, 1, true)
    settles(text, "--rename")
    assert.equal("i3 a, i4 b, i2 c, i9 d, t_d_key e", keys())
    -- Foreign keys, whose names are of their relation.
    server:psql(database, [[CREATE TABLE f (a int CONSTRAINT x REFERENCES t (d), b int CONSTRAINT y REFERENCES t (d))]])
    settles([[ on "f" { foreign_key { "a", references = { "t", "d" }, name = "y" },
      foreign_key { "b", references = { "t", "d" }, name = "x" } } ]], "--rename")
  end)

  it("renames in chains and circles across tables, and gives away a name that another table has had", function()
    server:psql(database, [[CREATE TABLE t (a int, b int); CREATE TABLE u (a int); CREATE TABLE v (a int, b int);
      CREATE INDEX i1 ON t (a); CREATE INDEX i2 ON u (a); CREATE INDEX i3 ON v (a); CREATE INDEX i4 ON t (b)]])
    local text = [[
      on "t" { index { "a", name = "i2" }, index { "b", name = "i5" } }
      on "u" { index { "a", name = "i3" } }
      on "v" { index { "a", name = "i1" }, index { "b", name = "i4" } }]]
    -- Without the option the names stay, and what another table's index has is taken.
    local result = run("plan", text)
    assert.equal(65, result.status, tostring(result))
    assert.matches("the name public.i4 is taken by an index of public.t", result.stdout .. result.stderr, 1, true)
    settles(text, "--rename", "--jobs", "4")
    local columns = {}
    for name, definition in pairs(server:indexes(database)) do columns[name] = definition:match("public%.(%S+ .*)$") end
    assert.same({ ["public.i1"] = "v USING btree (a)", ["public.i2"] = "t USING btree (a)",
      ["public.i3"] = "u USING btree (a)", ["public.i4"] = "v USING btree (b)", ["public.i5"] = "t USING btree (b)" },
      columns)
  end)

  it("leaves names as they were if a circle cannot be renamed", function()
    server:psql(database, [[CREATE TABLE t (a int, b int); CREATE INDEX i1 ON t (a); CREATE INDEX i2 ON t (b);
      CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
        IF current_query() LIKE '%"i1" RENAME TO "i2"%' THEN
          RAISE 'not that name' USING ERRCODE = 'insufficient_privilege';
        END IF; END$$;
      CREATE EVENT TRIGGER refusal ON ddl_command_start EXECUTE FUNCTION refuse()]])
    local result = run("apply", [[ on "t" { index { "a", name = "i2" }, index { "b", name = "i1" } } ]], "--rename",
      "--fail-on", "any")
    assert.equal(3, result.status, tostring(result))
    assert.matches("t i2: not that name", result.stderr, 1, true)
    assert.matches("t i1: the name i1 was not freed: btree (a) still has it", result.stderr, 1, true)
    assert.equal("CREATE INDEX i2 ON public.t USING btree (b)", index "i2")
  end)

  it("drops strays only when asked, never what something needs", function()
    server:psql(database, [[CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL, c int NOT NULL);
      CREATE INDEX s ON t (b); CREATE UNIQUE INDEX r ON t (c);
      ALTER TABLE t REPLICA IDENTITY USING INDEX r]])
    local text = [[ on "t" { index { "a", "b", name = "t_ab" } } ]]
    settles(text)
    assert.is_truthy(index "s")
    settles(text, "--drop-strays")
    assert.is_nil(index "s")
    assert.is_truthy(index "r")
    assert.is_truthy(index "t_pkey")
  end)

  it("builds on partitions one by one, attaches them and reuses what fits", function()
    server:psql(database, [[
      CREATE TABLE m (id int, at date) PARTITION BY RANGE (at);
      CREATE TABLE m1 PARTITION OF m FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
      CREATE TABLE m2 PARTITION OF m FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (id);
      CREATE TABLE m2a PARTITION OF m2 FOR VALUES IN (1);
      CREATE TABLE m2b PARTITION OF m2 DEFAULT;
      INSERT INTO m SELECT n % 3, '2024-06-01'::date + n FROM generate_series(1, 500) n;
      CREATE INDEX there ON m1 (id)]])
    local existing = oid "there"
    settles [[ on "m" { index { "id", name = "m_id", partitions = { ["public.m2b"] = "own_name" } } } ]]
    assert.equal(existing, oid "there")
    assert.same({ { "m2_id_idx" }, { "m2a_id_idx" }, { "m_id" }, { "own_name" }, { "there" } }, (function()
      local rows = server:psql(database, [[SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
        WHERE indisvalid AND c.relnamespace = 'public'::regnamespace ORDER BY 1]])
      for _, row in ipairs(rows) do row.n = nil end
      return rows
    end)())
    assert.equal("4", server:value(database, "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid "
      .. "WHERE c.relkind IN ('i', 'I')"))
    -- keys on partitioned tables are one step
    settles [[ on "m" { index { "id", name = "m_id" }, unique_constraint { "id", "at" } } ]]
  end)

  it("completes a partitioned index that somebody left incomplete", function()
    server:psql(database, [[
      CREATE TABLE m (id int) PARTITION BY LIST (id);
      CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);
      CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2);
      CREATE INDEX m_id ON ONLY m (id); CREATE INDEX m1_id ON m1 (id); ALTER INDEX m_id ATTACH PARTITION m1_id]])
    local before = oid "m1_id"
    settles [[ on "m" { index { "id", name = "m_id" } } ]]
    assert.equal(before, oid "m1_id")
  end)

  it("stops at a listener's mistake: what runs is cancelled, the lock given back, the mistake raised", function()
    server:psql(database, [[CREATE TABLE t (a int); CREATE TABLE u (a int); INSERT INTO t VALUES (1);
      CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
        'BEGIN PERFORM pg_sleep(30); RETURN $1; END']])
    local registry = assert(require("lunadex.registry").load { lunadex.registry [[
      on "t" { index { expr "slow(a)", name = "t_a" } }
      on "u" { index { "a", name = "u_a", where = "a > 0" } } ]] })
    local connection <close> = assert(require("lunadex.database").open(url, { jobs = 2 }))
    local plan = assert(require("lunadex.plan").make(registry.databases[1], connection))
    local began, last = shell.now(), nil
    assert.error_matches(function()
      require("lunadex.apply").run(plan, { mode = "concurrent", on_event = function(event)
        last = event.event
        if event.event == "progress" then error("my own mistake") end
      end })
    end, "my own mistake")
    assert.is_true(shell.now() - began < 15)
    assert.equal("progress", last)
    assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
    assert.equal("0", server:value(database, [[SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())]]))
  end)

  it("says who blocks, and gets there when they are gone", function()
    server:psql(database, "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)")
    local session = server:session(database, "nightly report")
    session:run("BEGIN; INSERT INTO t VALUES (0)")
    local process = lunadex.start { "apply", "--json", "--mode", "concurrent",
      lunadex.registry [[ on "t" { index { "a", name = "t_a" } } ]], "--target", url }
    shell.eventually("the waiting event", function() return process:stdout():find('"waiting"', 1, true) end)
    shell.sleep(3)
    session:run("COMMIT")
    session:close()
    local result = lunadex.result(process:wait(30))
    assert.equal(0, result.status, tostring(result))
    local waiting, phases = nil, {}
    for _, event in ipairs(result:events()) do
      if event.event == "waiting" then
        waiting = waiting or event
        -- Once for each that it waits for, not once a second.
        assert.is_nil(phases[event.phase], result.stdout)
        phases[event.phase] = true
      end
    end
    assert.matches("nightly report", waiting.blocker, 1, true)
  end)

  it("keeps a stray where what was to be built beside it was not", function()
    server:psql(database, [[CREATE TABLE needed (a int, b int); INSERT INTO needed VALUES (1, 1), (1, 1);
      CREATE INDEX needed_a ON needed (a)]])
    local result = lunadex.run { "apply", lunadex.registry [[ on "needed" {
      index { "a", "b", name = "needed_ab", unique = true } } ]], "--drop-strays", "--target", server:url(database) }
    assert.matches("kept: needed_ab was not made", result.stdout, 1, true)
    assert.matches("skipped 1, failed 1", result.stdout, 1, true)
    assert.equal("1", server:value(database, "SELECT count(*) FROM pg_class WHERE relname = 'needed_a'"))
  end)
end)
