-- Keys as far as they can be made without blocking anybody: on partitioned tables part by part, replaced in one
-- transaction, taken back when they fail for good, and finished by the next run wherever one was killed.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("keys", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  local function create_database()
    database = server:create_database()
    url = server:url(database)
  end

  before_each(function()
    server = pg.shared()
    create_database()
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function sql(text) return server:psql(database, text) end

  local function run(command, text, ...)
    return lunadex.run { command, lunadex.registry(text), "--target", url, ... }
  end

  local function apply(text, ...)
    local result = run("apply", text, ...)
    assert.equal(0, result.status, tostring(result))
    return result
  end

  -- Applied once, it is what it should be.
  local function settles(text)
    local result = apply(text)
    local again = run("plan", text, "--detailed-exitcode")
    assert.equal(0, again.status, tostring(result) .. tostring(again))
    assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
    assert.equal("0", server:value(database, [[SELECT count(*) FROM pg_constraint
      WHERE conname = 'lunadex_not_null' OR conname LIKE '%\_ldx\_%' OR NOT convalidated]]))
  end

  local function row_texts(query)
    local texts = {}
    for _, row in ipairs(sql(query)) do texts[#texts + 1] = table.concat(row, " ") end
    return texts
  end

  -- Every key: relation, name, definition, and the index its own is attached to.
  local function keys()
    return row_texts [[SELECT c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid), coalesce('of ' ||
        (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = c.conindid)::text, 'on top')
      FROM pg_constraint c WHERE c.contype IN ('p', 'u') AND connamespace = 'public'::regnamespace
      ORDER BY c.conrelid::regclass::text COLLATE "C", 2]]
  end

  -- Every constraint but those that come with a column.
  local function constraints()
    return row_texts [[SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint
      WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
      ORDER BY conrelid::regclass::text COLLATE "C", 2]]
  end

  local function oid(name) return server:value(database, ("SELECT '%s'::regclass::oid"):format(name)) end

  -- What a dry run prints, one text for each statement or transaction.
  local function statements(text)
    local list, open = {}, nil
    for line in apply(text, "--dry-run").stdout:gmatch "[^\n]+" do
      if line == "BEGIN;" then open = "" end
      if open then
        open = open .. line .. "\n"
        if line == "COMMIT;" then list[#list + 1], open = open, nil end
      elseif not line:find "^%-%-" then
        list[#list + 1] = line
      end
    end
    return list
  end

  -- Killed after each statement it would send (every third, but for --long), then run again: the same comes of it.
  local function survives(setup, text)
    sql(setup)
    local list = statements(text)
    settles(text)
    local wanted = constraints()
    for sent = 1, #list - 1, faults.long and 1 or 3 do
      server:drop_database(database)
      create_database()
      sql(setup)
      for i = 1, sent do sql(list[i]) end
      settles(text)
      assert.same(wanted, constraints(), ("after %d of %d: %s"):format(sent, #list, list[sent]))
    end
    return list
  end

  it("over columns that may hold null say in a dry run how that is proved, and it can be done by hand", function()
    local setup = "CREATE TABLE t (a int, b int NOT NULL); INSERT INTO t SELECT i, i FROM generate_series(1, 9) i"
    local text = [[ on "t" { primary_key { "a", "b", name = "k" } } ]]
    local list = survives(setup, text)
    assert.matches('CHECK ("a" IS NOT NULL) NOT VALID', list[1], 1, true)
    assert.matches('VALIDATE CONSTRAINT', list[2], 1, true)
    assert.matches('ALTER COLUMN "a" SET NOT NULL', list[#list], 1, true)
    server:drop_database(database)
    create_database()
    sql(setup)
    sql(apply(text, "--dry-run").stdout)
    settles(text)
    assert.same({ "a", "b" }, row_texts [[SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0
      AND attnotnull ORDER BY 1]])
    assert.same({ "t k PRIMARY KEY (a, b)" }, constraints())
  end)

  local tree = [[
    CREATE TABLE p (a int, b int, c int) PARTITION BY RANGE (a);
    CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (10);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (b);
    CREATE TABLE p1a (c int, b int, a int);
    ALTER TABLE p1 ATTACH PARTITION p1a FOR VALUES FROM (0) TO (100);
    CREATE TABLE p1b PARTITION OF p1 DEFAULT;
    INSERT INTO p SELECT i % 20, i, i FROM generate_series(0, 199) i;]]

  it("that are not declared any more leave no check behind that refuses nulls", function()
    sql [[CREATE TABLE n (id int, x int); CREATE TABLE m (id int);
      ALTER TABLE n ADD CONSTRAINT lunadex_not_null CHECK (id IS NOT NULL) NOT VALID;
      ALTER TABLE m ADD CONSTRAINT lunadex_not_null CHECK (id IS NOT NULL) NOT VALID]]
    local text = [[ on "n" { index { "x", name = "n_x" } } ]]
    local function left()
      return server:value(database, [[SELECT coalesce(string_agg(conrelid::regclass::text, ' '), '') FROM pg_constraint
        WHERE conname = 'lunadex_not_null']])
    end
    assert.matches("lunadex_not_null: .+left by an interrupted primary key", run("plan", text).stdout)
    assert.equal(2, run("plan", text, "--detailed-exitcode").status)
    -- Its key is still wanted: it goes on from there.
    assert.not_matches("lunadex_not_null", run("plan", [[ on "n" { primary_key { "id" } } ]]).stdout, 1, true)
    local told = apply(text)
    assert.matches('ALTER TABLE "public"."n" ADD CONSTRAINT "lunadex_not_null" CHECK', told.stdout, 1, true)
    assert.equal("m", left())
    assert.equal(0, run("plan", text, "--detailed-exitcode").status)
    apply(text, "--repair")
    assert.equal("", left())
  end)

  it("are made one after the other where tables inherit from one another", function()
    sql [[CREATE TABLE par (id int, x int); CREATE TABLE par2 (id int, y int);
      CREATE TABLE chi () INHERITS (par, par2); CREATE TABLE lone (id int);
      INSERT INTO par SELECT i FROM generate_series(1, 1000) i;
      INSERT INTO chi SELECT i FROM generate_series(1, 1000) i;
      INSERT INTO par2 SELECT i FROM generate_series(1, 1000) i]]
    local text = [[ on "chi" { primary_key { "id" }, index { "x" } } on "par" { primary_key { "id" } }
      on "par2" { index { "y" }, primary_key { "id" } } on "lone" { primary_key { "id" } } ]]
    local waits = {}
    for _, change in ipairs(run("plan", text, "--jobs", "8", "--json"):json().changes) do
      waits[change.name] = change.waits
    end
    -- Whichever comes first, the two others come later; the indexes hold up nobody else's.
    local waiting = 0
    for _, name in ipairs { "chi_pkey", "par_pkey", "par2_pkey" } do
      if waits[name] then waiting = waiting + 1 end
    end
    assert.is_true(waiting >= 2, table.concat { tostring(waits.chi_pkey), tostring(waits.par_pkey) })
    assert.is_nil(waits.lone_pkey)
    apply(text, "--jobs", "8", "--mode", "concurrent")
    assert.equal("0", server:value(database, "SELECT count(*) FROM pg_constraint WHERE conname = 'lunadex_not_null'"))
    assert.equal("4", server:value(database, [[SELECT count(*) FROM pg_constraint WHERE contype = 'p'
      AND connamespace = 'public'::regnamespace]]))
  end)

  describe("of a partitioned table", function()
    local both = [[ on "p" { primary_key { "a", "b" },
      unique_constraint { "b", "a", name = "p_ba", deferrable = true } } ]]

    it("are made of indexes that are built concurrently, part by part", function()
      sql(tree)
      for _, statement in ipairs(statements(both)) do
        local built = statement:find "^CREATE UNIQUE INDEX CONCURRENTLY"
          or statement:find "ADD CONSTRAINT .* USING INDEX"
        assert.is_truthy(built or statement:find "lunadex_not_null" or statement:find "ALTER TABLE ONLY"
          or statement:find "ATTACH PARTITION", statement)
      end
      settles(both)
      assert.same({
        "p p_ba UNIQUE (b, a) DEFERRABLE on top", "p p_pkey PRIMARY KEY (a, b) on top",
        "p0 p0_b_a_key UNIQUE (b, a) DEFERRABLE of p_ba", "p0 p0_pkey PRIMARY KEY (a, b) of p_pkey",
        "p1 p1_b_a_key UNIQUE (b, a) DEFERRABLE of p_ba", "p1 p1_pkey PRIMARY KEY (a, b) of p_pkey",
        "p1a p1a_b_a_key UNIQUE (b, a) DEFERRABLE of p1_b_a_key", "p1a p1a_pkey PRIMARY KEY (a, b) of p1_pkey",
        "p1b p1b_b_a_key UNIQUE (b, a) DEFERRABLE of p1_b_a_key", "p1b p1b_pkey PRIMARY KEY (a, b) of p1_pkey",
      }, keys())
      assert.equal("0", server:value(database, [[SELECT count(*) FROM pg_attribute WHERE attname IN ('a', 'b')
        AND attrelid::regclass::text LIKE 'p%' AND attrelid::regclass::text NOT LIKE 'p%\_%' AND NOT attnotnull]]))
    end)

    it("let everybody write while a partition's index is built", function()
      sql(tree)
      sql "ALTER TABLE ONLY p ADD CONSTRAINT p_ba UNIQUE (b, a)"
      -- The build of p1b waits for this one to end, as long as it takes.
      local old = server:session(database)
      finally(function() old:close() end)
      old:run "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class"
      local process = lunadex.start { "apply", "--mode", "concurrent", "--target", url,
        lunadex.registry [[ on "p" { unique_constraint { "b", "a", name = "p_ba" } } ]] }
      shell.eventually("a build", function()
        return server:value(database, "SELECT phase FROM pg_stat_progress_create_index") == "waiting for old snapshots"
      end)
      sql "SET lock_timeout = '1s'; INSERT INTO p SELECT i % 20, i, 0 FROM generate_series(1000, 1100) i"
      old:run "COMMIT"
      local result = lunadex.result(process:wait(60))
      assert.equal(0, result.status, tostring(result))
      assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
      assert.equal(5, #keys())
    end)

    it("are refused part by part before the first build", function()
      sql(tree)
      local building = false
      for _, statement in ipairs(statements [[ on "p" { unique_constraint { "b", "a", name = "p_ba" } } ]]) do
        if statement:find "CREATE UNIQUE INDEX" then building = true end
        assert.is_false(building and statement:find "ALTER TABLE ONLY" ~= nil, statement)
      end
    end)

    it("take over the constraints and indexes that partitions have", function()
      sql(tree)
      sql [[ALTER TABLE p ALTER a SET NOT NULL, ALTER b SET NOT NULL;
        ALTER TABLE p0 ADD CONSTRAINT mine PRIMARY KEY (a, b); CREATE UNIQUE INDEX loose ON p1a (a, b);
        ALTER TABLE p1 ADD CONSTRAINT whole UNIQUE (b, a) DEFERRABLE;
        ALTER TABLE p0 ADD CONSTRAINT not_it UNIQUE (b, a)]]
      local before = { oid "mine", oid "loose", oid "whole" }
      settles(both)
      assert.same(before, { oid "mine", oid "loose", oid "whole" })
      assert.same({
        "p p_ba UNIQUE (b, a) DEFERRABLE on top", "p p_pkey PRIMARY KEY (a, b) on top",
        "p0 mine PRIMARY KEY (a, b) of p_pkey", "p0 not_it UNIQUE (b, a) on top",
        "p0 p0_b_a_key UNIQUE (b, a) DEFERRABLE of p_ba",
        "p1 p1_pkey PRIMARY KEY (a, b) of p_pkey", "p1 whole UNIQUE (b, a) DEFERRABLE of p_ba",
        "p1a loose PRIMARY KEY (a, b) of p1_pkey", "p1a p1a_b_a_key UNIQUE (b, a) DEFERRABLE of whole",
        "p1b p1b_b_a_key UNIQUE (b, a) DEFERRABLE of whole", "p1b p1b_pkey PRIMARY KEY (a, b) of p1_pkey",
      }, keys())
    end)

    it("are completed after a kill between any two statements", function()
      survives(tree .. "ALTER TABLE p ALTER a SET NOT NULL, ALTER b SET NOT NULL",
        [[ on "p" { primary_key { "a", "b" } } ]])
    end)

    it("are completed after a kill while the columns are proven to hold no null", function()
      for _, left in ipairs {
        "ALTER TABLE p ADD CONSTRAINT lunadex_not_null CHECK (a IS NOT NULL AND b IS NOT NULL) NOT VALID",
        "ALTER TABLE p ADD CONSTRAINT lunadex_not_null CHECK (a IS NOT NULL AND b IS NOT NULL)",
      } do
        sql(tree .. left)
        settles [[ on "p" { primary_key { "a", "b" } } ]]
        sql "DROP TABLE p"
      end
    end)

    it("are completed after a kill in the middle of a partition's build", function()
      sql(tree)
      sql [[ALTER TABLE ONLY p ADD CONSTRAINT p_ba UNIQUE (b, a); CREATE UNIQUE INDEX p0_b_a_key ON p0 (b, a);
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'p0_b_a_key'::regclass]]
      local before = oid "p0_b_a_key"
      settles [[ on "p" { unique_constraint { "b", "a", name = "p_ba" } } ]]
      assert.not_equal(before, oid "p0_b_a_key")
      assert.equal(5, #keys())
    end)

    it("are completed after real kills", function()
      sql(tree)
      sql "INSERT INTO p SELECT i % 20, i, i FROM generate_series(200, 60000) i"
      local registry = lunadex.registry(both)
      for _, delay in ipairs { 0.05, 0.1, 0.15, 0.2, 0.3, 0.4 } do
        local process = lunadex.start { "apply", "--mode", "concurrent", registry, "--target", url }
        shell.sleep(delay)
        process:kill(9)
        process:wait(10)
        shell.eventually("the killed run's sessions", function()
          return server:value(database, [[SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND application_name LIKE 'lunadex%']]) == "0"
        end)
      end
      settles(both)
      assert.equal(10, #keys())
    end)

    it("say which part failed, leave nothing invalid on it, and go on from there", function()
      sql(tree)
      sql "INSERT INTO p1a VALUES (1, 50, 10), (1, 50, 10)"
      local text = [[ on "p" { unique_constraint { "b", "a", name = "p_ba", critical = true } } ]]
      local result = run("apply", text)
      assert.equal(3, result.status, tostring(result))
      assert.matches("HAVING count(*) > 1", result.stderr, 1, true)
      assert.is_nil(server:indexes(database)["public.p1a_b_a_key"])
      local before = oid "p0_b_a_key"
      sql "DELETE FROM p1a WHERE b = 50"
      settles(text)
      assert.equal(before, oid "p0_b_a_key")
    end)

    it("fail before anything is built where the server refuses a part, and are taken back", function()
      sql(tree)
      local result = run("apply", [[ on "p" { unique_constraint { "a", "c", name = "p_ac", critical = true } } ]])
      assert.equal(3, result.status, tostring(result))
      assert.matches('lacks column "b"', result.stderr, 1, true)
      assert.same({}, keys())
      assert.same({}, server:indexes(database))
    end)

    it("are not begun where they cannot be", function()
      sql(tree)
      sql "ALTER TABLE p1a ADD CONSTRAINT own PRIMARY KEY (c, a, b)"
      local text = [[ on "p" { primary_key { "a", "b" } } ]]
      local result = run("apply", text)
      assert.equal(65, result.status, tostring(result))
      assert.matches("the partition public.p1a has a primary key of its own, own: PRIMARY KEY (c, a, b)", result.stderr,
        1, true)
      sql [[DROP TABLE p1; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
        CREATE FOREIGN TABLE far PARTITION OF p FOR VALUES FROM (20) TO (30) SERVER s]]
      result = run("plan", text, "--json")
      assert.equal("foreign-partition", result:json().findings[1].rule, tostring(result))
      assert.same({}, keys())
    end)
  end)

  it("are not taken for done because another has their name", function()
    sql "CREATE TABLE t (a int NOT NULL, b int NOT NULL, CONSTRAINT t_key UNIQUE (a))"
    local core = require "lunadex.core"
    local db = assert(core.open(url, { jobs = 1 }))
    finally(function() db:close() end)
    local function build(columns)
      local fields = { kind = "unique_constraint", schema = "public", relation = "t", keys = {} }
      for i, column in ipairs(columns) do fields.keys[i] = { column = column } end
      db:perform { kind = "build", schema = "public", relation = "t", name = "t_key", fields = fields,
        retry = { attempts = 1 } }
      while true do
        local event = assert(db:poll(60))
        if event.event == "done" then return event end
      end
    end
    assert.is_true(build({ "a" }).ok)
    local done = build { "b" }
    assert.equal("duplicate_name", done.error.code)
    assert.matches("UNIQUE (a)", done.error.message, 1, true)
  end)

  describe("that are replaced", function()
    -- Lets nothing through that renames a constraint or index, as a policy of the database's owner may.
    local guard = [[CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
        IF current_query() LIKE '%RENAME%' THEN
          RAISE 'no renames here' USING ERRCODE = 'insufficient_privilege';
        END IF;
      END$$;
      CREATE EVENT TRIGGER no_renames ON ddl_command_start EXECUTE FUNCTION refuse();]]

    local function stays(setup, text, wanted)
      sql(setup)
      local before = constraints()
      sql(guard)
      local result = run("apply", text, "--fail-on", "any", "--retries", "1")
      assert.equal(3, result.status, tostring(result))
      assert.matches("no renames here", result.stderr, 1, true)
      assert.same(before, constraints())
      assert.same({}, row_texts [[SELECT relname FROM pg_class
        WHERE relname LIKE '%\_ldx\_%' OR relname = 'p0_a_b_c_key']])
      sql "DROP EVENT TRIGGER no_renames"
      settles(text)
      assert.equal(wanted, server:value(database, [[SELECT pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conname = 'k' ]]))
    end

    local foreign_key = [[CREATE TABLE r (id int PRIMARY KEY); INSERT INTO r VALUES (1);
      CREATE TABLE t (a int, CONSTRAINT k FOREIGN KEY (a) REFERENCES r); INSERT INTO t VALUES (1);]]
    local cascading = [[ on "t" { foreign_key { "a", references = "r", on_delete = "cascade", name = "k" } } ]]
    local unique = tree .. "ALTER TABLE p ADD CONSTRAINT k UNIQUE (a, b);"
    local wider = [[ on "p" { unique_constraint { "a", "b", "c", name = "k" } } ]]

    it("leave no second foreign key when they may not take the place of the first", function()
      stays(foreign_key, cascading, "FOREIGN KEY (a) REFERENCES r(id) ON DELETE CASCADE")
    end)

    it("leave no second unique constraint of a partitioned table either", function()
      stays(unique, wider, "UNIQUE (a, b, c)")
    end)

    it("keep what they took over when they may not take the place of the first", function()
      sql(unique)
      sql "ALTER TABLE p0 ADD CONSTRAINT mine UNIQUE (a, b, c)"
      sql(guard)
      local before = oid "mine"
      assert.equal(3, run("apply", wider, "--fail-on", "any", "--retries", "1").status)
      assert.equal(before, oid "mine")
      sql "DROP EVENT TRIGGER no_renames"
      settles(wider)
      assert.equal(before, oid "mine")
    end)

    it("are finished after a kill between any two statements", function()
      local list = survives(foreign_key, cascading)
      assert.equal(3, #list)
      server:drop_database(database)
      create_database()
      survives(unique, wider)
    end)

    it("lose what an earlier run began towards another definition", function()
      sql(foreign_key .. "ALTER TABLE t ADD CONSTRAINT k_ldx_new FOREIGN KEY (a) REFERENCES r ON DELETE SET NULL")
      settles(cascading)
      sql "DROP TABLE t"
      sql(unique .. "ALTER TABLE ONLY p ADD CONSTRAINT k_ldx_new UNIQUE (c, b, a)")
      settles(wider)
      assert.equal(5, #keys() - 1) -- and that of r
    end)

    it("are finished like indexes of partitioned tables", function()
      survives(tree .. "CREATE INDEX k ON p (a)", [[ on "p" { index { "a", "b", name = "k" } } ]])
      assert.same({ "k", "p0_a_b_idx", "p1_a_b_idx", "p1a_a_b_idx", "p1b_a_b_idx" },
        row_texts [[SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
          WHERE c.relnamespace = 'public'::regnamespace ORDER BY c.relname COLLATE "C"]])
    end)

    it("go and come in one transaction where there can be but one", function()
      sql(tree .. [[ALTER TABLE p ADD CONSTRAINT k PRIMARY KEY (a, b, c)]])
      local text = [[ on "p" { primary_key { "a", "b", name = "k", critical = true } } ]]
      assert.matches('lock_timeout = %d+;\nALTER TABLE "public"."p" DROP CONSTRAINT "k", '
        .. 'ADD CONSTRAINT "k" PRIMARY KEY %("a", "b"%);\nCOMMIT;\n$', apply(text, "--dry-run").stdout)
      -- The new one fails: the old one never went.
      sql "INSERT INTO p VALUES (1, 1000, 1), (1, 1000, 2)"
      local before = oid "k"
      local result = run("apply", text)
      assert.equal(3, result.status, tostring(result))
      assert.equal(before, oid "k")
      assert.equal("0", server:value(database,
        "SELECT count(*) FROM pg_constraint WHERE conname = 'lunadex_not_null'"))
      sql "DELETE FROM p WHERE b = 1000"
      result = apply(text)
      assert.matches("to bring it back: ALTER TABLE", result.stdout .. result.stderr, 1, true)
      assert.equal("PRIMARY KEY (a, b)", server:value(database, [[SELECT pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conname = 'k']]))
      settles(text)
    end)

    it("do not wait for the table's lock longer than its budget", function()
      sql(tree .. [[ALTER TABLE p ADD CONSTRAINT k PRIMARY KEY (a, b)]])
      local reader = server:session(database, "the reader")
      finally(function() reader:close() end)
      reader:run "BEGIN; SELECT count(*) FROM p"
      local before, started = oid "k", os.time()
      local result = run("apply", [[ on "p" { primary_key { "b", "a", name = "k", critical = true } } ]],
        "--lock-timeout", "1s", "--retries", "1")
      assert.equal(3, result.status, tostring(result))
      assert.is_true(os.time() - started < 10)
      assert.matches("the reader", result.stdout .. result.stderr, 1, true)
      assert.equal(before, oid "k")
    end)

    it("are refused beforehand while a foreign key relies on them", function()
      sql [[CREATE TABLE t (a int NOT NULL, b int NOT NULL, CONSTRAINT k UNIQUE (a));
        CREATE TABLE child (a int, CONSTRAINT child_fk FOREIGN KEY (a) REFERENCES t (a))]]
      local text = [[ on "t" { unique_constraint { "a", "b", name = "k" } } ]]
      local result = run("apply", text)
      assert.equal(65, result.status, tostring(result))
      assert.matches("cannot be replaced: foreign keys rely on it: child_fk of public.child", result.stderr, 1, true)
      assert.same({ "t k UNIQUE (a) on top" }, keys())
      sql "ALTER TABLE child DROP CONSTRAINT child_fk"
      settles(text)
      sql(tree .. [[ALTER TABLE p ADD CONSTRAINT p_pkey PRIMARY KEY (a, b);
        CREATE TABLE other (x int, y int, CONSTRAINT other_fk FOREIGN KEY (y, x) REFERENCES p (b, a))]])
      result = run("plan", [[ on "p" { primary_key { "a", "c", name = "p_pkey" } } ]], "--json")
      local finding = result:json().findings[1]
      assert.equal("referenced", finding.rule, tostring(result))
      assert.matches("other_fk of public.other", finding.message, 1, true)
    end)

    it("are refused beforehand while a view groups by them", function()
      sql [[CREATE TABLE t (a int NOT NULL, b int NOT NULL, CONSTRAINT k PRIMARY KEY (a));
        CREATE VIEW v AS SELECT a, b FROM t GROUP BY a; CREATE MATERIALIZED VIEW m AS SELECT a, b FROM t GROUP BY a]]
      local text = [[ on "t" { primary_key { "a", "b", name = "k" } } ]]
      local result = run("apply", text)
      assert.equal(65, result.status, tostring(result))
      assert.matches("cannot be replaced: it is used by materialized view public.m, view public.v", result.stderr, 1,
        true)
      sql "DROP VIEW v; DROP MATERIALIZED VIEW m"
      settles(text)
    end)

    it("are refused beforehand while a rule names them in ON CONFLICT", function()
      sql [[CREATE TABLE t (a int NOT NULL, b int NOT NULL, CONSTRAINT k UNIQUE (a)); CREATE TABLE other (a int);
        CREATE RULE r AS ON INSERT TO other DO INSTEAD
          INSERT INTO t VALUES (NEW.a, 0) ON CONFLICT ON CONSTRAINT k DO NOTHING]]
      local text = [[ on "t" { unique_constraint { "a", "b", name = "k" } } ]]
      local result = run("apply", text)
      assert.equal(65, result.status, tostring(result))
      assert.matches("cannot be replaced: it is used by rule r on table public.other", result.stderr, 1, true)
      assert.matches("or names it in ON CONFLICT", result.stderr, 1, true)
      sql "DROP RULE r ON other"
      settles(text)
    end)
  end)

  it("are checked as long as it takes: the budget for the lock is not about that", function()
    sql [[CREATE TABLE r (id int PRIMARY KEY); INSERT INTO r SELECT generate_series(1, 600000);
      CREATE TABLE t (a int); INSERT INTO t SELECT id FROM r, generate_series(1, 3)]]
    -- A check that is slow whatever the machine: a hash of every row would not fit, so it sorts.
    sql(("ALTER DATABASE %s SET work_mem = '64kB'"):format(database))
    settles [[ on "t" { foreign_key { "a", references = "r", name = "t_fk", lock_timeout = 0.2 } } ]]
  end)

  describe("that block", function()
    local function rules(text)
      local result = run("plan", text, "--json")
      local found = {}
      for _, finding in ipairs(result:json().findings) do found[#found + 1] = finding.level .. " " .. finding.rule end
      return table.concat(found, ", "), result
    end

    it("say so in the plan, and the others do not", function()
      sql(tree .. [[CREATE TABLE r (id int PRIMARY KEY); ALTER TABLE p ADD CONSTRAINT k PRIMARY KEY (a, b);
        CREATE TABLE x (at int4range, a int, b int)]])
      assert.equal("", (rules [[ on "p" { unique_constraint { "a", "c" } }
        on "x" { primary_key { "a" }, unique_constraint { "b" }, foreign_key { "a", references = "r" } } ]]))
      local found, result = rules [[ on "p" { primary_key { "a", "c", name = "k" } } ]]
      assert.equal("warning blocks", found)
      assert.matches("reads and writes of public.p are blocked", result.stdout, 1, true)
      assert.equal("warning blocks",
        (rules [[ on "x" { exclusion_constraint { key { "at", with = "&&" }, method = "gist" } } ]]))
      local text = run("plan", [[ on "p" { primary_key { "a", "c", name = "k" } } ]])
      assert.matches("are blocked", text.stdout, 1, true)
    end)

    it("without overlaps", function()
      if server.version < 18 then return end
      sql [[CREATE EXTENSION btree_gist; CREATE TABLE x (at int4range NOT NULL, a int, b int);
        ALTER TABLE x ADD CONSTRAINT k PRIMARY KEY (a, at WITHOUT OVERLAPS);
        INSERT INTO x SELECT int4range(i, i + 1), i, i FROM generate_series(1, 9) i]]
      local text = [[ on "x" { primary_key { "b", "at", without_overlaps = true, name = "k", critical = true } } ]]
      assert.equal("warning blocks", (rules(text)))
      local before = oid "k"
      sql "INSERT INTO x VALUES ('[1,9)', 77, 1)"
      assert.equal(3, run("apply", text).status)
      assert.equal(before, oid "k")
      sql "DELETE FROM x WHERE a = 77"
      settles(text)
    end)

    it("are foreign keys of partitioned tables before PostgreSQL 18, which are shown as they are sent", function()
      sql(tree .. "CREATE TABLE r (id int PRIMARY KEY); INSERT INTO r SELECT generate_series(0, 19)")
      local text = [[ on "p" { foreign_key { "a", references = "r", name = "p_fk" } } ]]
      local later = server.version >= 18
      assert.equal(later and "" or "warning blocks", (rules(text)))
      local printed = table.concat(statements(text), "\n")
      server:psql("postgres", ("ALTER DATABASE %s SET log_statement = 'ddl'"):format(database))
      local log = #shell.read_file(server.log)
      settles(text)
      local sent = shell.read_file(server.log):sub(log + 1)
      for _, seen in ipairs { printed, sent } do
        assert.matches('ADD CONSTRAINT "p_fk" FOREIGN KEY', seen, 1, true)
        assert.equal(later, seen:find("NOT VALID", 1, true) ~= nil, seen)
        assert.equal(later, seen:find('VALIDATE CONSTRAINT "p_fk"', 1, true) ~= nil, seen)
      end
    end)
  end)

  it("that fail leave no check for nulls behind, and take no other for proof", function()
    sql "CREATE TABLE t (a int, b int); INSERT INTO t SELECT i, i FROM generate_series(1, 9) i"
    local reader = server:session(database, "reader")
    reader:run "BEGIN; SELECT count(*) FROM t"
    local text = [[ on "t" { primary_key { "b", name = "k" } } ]]
    local result = run("apply", text, "--retries", "2", "--lock-timeout", "0.3s", "--mode", "concurrent")
    assert.matches("failed 1", result.stdout, 1, true)
    reader:close()
    assert.same({}, constraints())
    sql "ALTER TABLE t ADD CONSTRAINT lunadex_not_null CHECK (a IS NOT NULL); UPDATE t SET b = NULL WHERE a = 5"
    result = run("apply", text, "--mode", "concurrent", "--fail-on", "any")
    assert.equal(3, result.status)
    assert.matches("holds nulls", result.stderr, 1, true)
    assert.same({}, constraints())
  end)

  it("that are primary validate what says from PostgreSQL 18 that their columns hold no null", function()
    if server.version < 18 then return end
    sql [[CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 1), (2, 2);
      ALTER TABLE t ADD CONSTRAINT a_filled NOT NULL a NOT VALID]]
    settles [[ on "t" { primary_key { "a" } } ]]
    sql [[CREATE TABLE u (a int); INSERT INTO u VALUES (1), (NULL);
      ALTER TABLE u ADD CONSTRAINT a_filled NOT NULL a NOT VALID]]
    local result = run("apply", [[ on "u" { primary_key { "a" } } ]], "--fail-on", "any")
    assert.equal(3, result.status, tostring(result))
    assert.matches("holds nulls", result.stderr, 1, true) -- before the build
    assert.is_nil(result.stderr:find("dropped the index", 1, true))
  end)

  it("that are primary are refused beforehand where NOT NULL is not inherited, here or below", function()
    if server.version < 18 then return end
    sql [[CREATE TABLE t (a int, CONSTRAINT t_lone NOT NULL a NO INHERIT);
      CREATE TABLE parent (a int, b int); CREATE TABLE child () INHERITS (parent);
      CREATE TABLE grandchild (CONSTRAINT lone NOT NULL b NO INHERIT) INHERITS (child);
      CREATE TABLE p (a int) PARTITION BY RANGE (a);
      CREATE TABLE p1 PARTITION OF p (CONSTRAINT part_lone NOT NULL a NO INHERIT) FOR VALUES FROM (0) TO (9)]]
    for relation, case in pairs {
      t = { "a", "a cannot be a column of a primary key: the constraint t_lone of public.t, NOT NULL, is NO INHERIT",
        "ALTER TABLE public.t ALTER CONSTRAINT t_lone INHERIT" },
      parent = { "b", "lone of public.grandchild", "ALTER TABLE public.grandchild ALTER CONSTRAINT lone INHERIT" },
      p = { "a", "part_lone of public.p1", "ALTER TABLE public.p1 ALTER CONSTRAINT part_lone INHERIT" },
    } do
      local text = ('on "%s" { primary_key { "%s" } }'):format(relation, case[1])
      local result = run("plan", text)
      assert.equal(65, result.status, tostring(result))
      assert.matches(case[2], result.stdout .. result.stderr, 1, true)
      assert.matches(case[3], (result.stdout .. result.stderr):gsub('"', ""), 1, true)
      sql(case[3])
      settles(text)
    end
    -- Other columns, and what only a parent has, are no concern of a key.
    sql [[CREATE TABLE q (a int, b int); CREATE TABLE r (CONSTRAINT r_lone NOT NULL b NO INHERIT) INHERITS (q)]]
    settles [[ on "q" { primary_key { "a" } } ]]
  end)
end)
