-- Steps on a real server: what stands in the catalog afterwards is what counts.
local core = require "lunadex.core"
local pg = require "support.postgres"
local shell = require "support.shell"

local once = { attempts = 1 }

describe("a step", function()
  local server, database, db

  -- Runs one job to its end; returns its "done" event and all others.
  local function finish(job)
    local events = {}
    while true do
      local event = assert(db:poll(60), "no event for a minute")
      if event.job == job and event.event == "done" then return event, events end
      events[#events + 1] = event
    end
  end

  local function step(fields)
    fields.schema = fields.schema or "public"
    fields.retry = fields.retry or once
    return finish(db:perform(fields))
  end

  local function index(relation, name, more)
    local fields = { kind = "index", schema = "public", relation = relation, keys = { { column = "b" } } }
    for key, value in pairs(more or {}) do fields[key] = value end
    return { kind = "build", relation = relation, name = name, fields = fields, mode = "concurrent", lock_timeout = 5 }
  end

  local function sql(text) return server:psql(database, text) end

  local function state(name)
    local row = sql(([[SELECT CASE WHEN indisvalid THEN 'valid' ELSE 'invalid' END FROM pg_index
      WHERE indexrelid = to_regclass('%s')]]):format(name))[1]
    return row and row[1] or "absent"
  end

  local function notes(events)
    local found = {}
    for _, event in ipairs(events) do
      if event.event == "note" then found[#found + 1] = event.text end
    end
    return table.concat(found, "\n")
  end

  setup(function()
    local reason = pg.missing()
    if reason then return end
    server = pg.shared()
    database = server:create_database()
  end)

  before_each(function()
    if not server then return pending(pg.missing()) end
    sql [[
      DROP SCHEMA public CASCADE;
      CREATE SCHEMA public;
      CREATE TABLE t (a int, b int);
      INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 100) i;
      CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN PERFORM pg_sleep(0.02); RETURN $1; END';
    ]]
    db = assert(core.open(server:url(database), { jobs = 1, application_name = "lunadex specs" }))
  end)

  after_each(function()
    if db then db:close() end
    db = nil
  end)

  it("never recommends CASCADE", function()
    sql "CREATE TABLE p (id int CONSTRAINT p_key UNIQUE); CREATE TABLE r (id int REFERENCES p (id))"
    local done = step({ kind = "drop_constraint", relation = "p", name = "p_key" })
    assert.equal("dependent", done.error.code)
    assert.matches("r_id_fkey", done.error.detail, 1, true)
    assert.is_nil(done.error.hint)
  end)

  describe("that builds an index", function()
    for _, mode in ipairs { "concurrent", "blocking", "auto" } do
      it("leaves a valid one, and finds it done the second time: " .. mode, function()
        local build = index("t", "t_b")
        build.mode = mode
        assert.is_true(step(build).ok)
        assert.equal("valid", state "t_b")
        assert.is_true(step(build).ok)
      end)
    end

    it("drops what duplicate keys left invalid, and says how to find them", function()
      local done, events = step(index("t", "t_b", { unique = true }))
      assert.is_false(done.ok)
      assert.equal("duplicate_key", done.error.code)
      assert.matches("keys? .+ in %d+ rows: %(", done.error.detail)
      assert.matches("GROUP BY", done.error.hint)
      assert.equal("absent", state "t_b")
      assert.matches("CREATE UNIQUE INDEX t_b", notes(events))
    end)

    it("replaces an invalid leftover", function()
      server:try(database, "CREATE UNIQUE INDEX CONCURRENTLY t_b ON t (b)")
      assert.equal("invalid", state "t_b")
      assert.is_true(step(index("t", "t_b")).ok)
      assert.equal("valid", state "t_b")
    end)

    it("does not touch what else has the name", function()
      sql "CREATE INDEX t_b ON t (a, b)"
      local done = step(index("t", "t_b"))
      assert.equal("duplicate_name", done.error.code)
      assert.equal("duplicate_name", step(index("t", "t")).error.code)
    end)

    local of_b = { { column = "b" } }

    it("does not take what is not the same for its own work", function()
      local function wants(expected, live, more)
        sql("DROP INDEX IF EXISTS t_b; " .. live)
        local before = sql "SELECT 't_b'::regclass::oid"[1][1]
        local done = step(index("t", "t_b", more))
        assert.equal(expected, done.ok and "ok" or done.error.code, live)
        assert.equal(before, sql "SELECT 't_b'::regclass::oid"[1][1])
        assert.equal("valid", state "t_b")
      end
      sql "ALTER TABLE t ADD c text"
      wants("duplicate_name", "CREATE INDEX t_b ON t (a)", { keys = of_b })
      wants("duplicate_name", "CREATE INDEX t_b ON t (b DESC)", { keys = of_b })
      wants("duplicate_name", "CREATE INDEX t_b ON t (abs(a))", { keys = { { expression = "abs(b)" } } })
      wants("duplicate_name", "CREATE INDEX t_b ON t (b) WHERE a > 1", { where = "a > 2" })
      wants("duplicate_name", "CREATE INDEX t_b ON t (b) INCLUDE (a)", { include = { "c" } })
      wants("duplicate_name", "CREATE INDEX t_b ON t (c)",
        { keys = { { column = "c", opclass = "text_pattern_ops" } } })
      wants("duplicate_name", "CREATE INDEX t_b ON t (c)", { keys = { { column = "c", collation = "C" } } })
      wants("ok", "CREATE INDEX t_b ON t (b) WITH (fillfactor = 70)", { keys = of_b })
      wants("ok", "CREATE INDEX t_b ON t (b) WHERE c = 'x' AND b BETWEEN 1 AND 2",
        { where = "(c = 'x') and b >= 1 and b <= 2" })
      wants("ok", "CREATE INDEX t_b ON t ((b + 1), b)", { keys = { { expression = "b+1" }, { expression = "(b)" } } })
      wants("ok", [[CREATE INDEX t_b ON t (c COLLATE "C" text_pattern_ops)]],
        { keys = { { column = "c", collation = "pg_catalog.C", opclass = "pg_catalog.text_pattern_ops" } } })
      -- Only the relation itself has rows of its type: the server cannot say whether the texts mean the same.
      sql "CREATE FUNCTION f(t) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.a'"
      wants("ok", "CREATE INDEX t_b ON t (f(t))", { keys = { { expression = "f(t)" } } })
      wants("duplicate_name", "CREATE INDEX t_b ON t (f(t), a)", { keys = { { expression = "f(t)" }, of_b[1] } })
      -- What became a constraint meanwhile does the same.
      sql "DROP INDEX t_b; ALTER TABLE t ADD CONSTRAINT t_b UNIQUE (a)"
      assert.is_true(step(index("t", "t_b", { keys = { { column = "a" } }, unique = true })).ok)
      assert.equal("duplicate_name", step(index("t", "t_b", { unique = true })).error.code)
    end)

    it("waits for a build that somebody is at", function()
      local other = server:session(database)
      finally(function() other:close() end)
      other:send "CREATE INDEX CONCURRENTLY t_b ON t (slow(b))"
      shell.eventually("the other build", function() return state "t_b" == "invalid" end)
      local build = index("t", "t_b", { keys = { { expression = "slow(b)" } } })
      local done, events = step(build)
      assert.is_true(done.ok)
      assert.matches("is being built by pid " .. other.pid, notes(events), 1, true)
      other:wait()
      assert.equal("valid", state "t_b")
    end)

    it("is cancelled on the server, and leaves nothing", function()
      local job = db:perform {
        kind = "build", schema = "public", relation = "t", name = "t_b", mode = "concurrent", retry = once,
        fields = index("t", "t_b", { keys = { { expression = "slow(b)" } } }).fields,
      }
      shell.eventually("the build", function() return state "t_b" == "invalid" end)
      db:cancel(job)
      local done = finish(job)
      assert.equal("cancelled", done.error.code)
      assert.equal("absent", state "t_b")
    end)

    it("does not begin while an old transaction holds the table, and names it", function()
      local other = server:session(database, "the writer")
      finally(function() other:close() end)
      other:run "BEGIN; UPDATE t SET a = a"
      shell.run "sleep 1.2"
      local build = index("t", "t_b")
      build.lock_timeout = 1
      local done = step(build)
      assert.equal("lock_timeout", done.error.code)
      assert.is_true(done.error.retryable)
      assert.matches("the writer", done.error.message)
      assert.equal("absent", state "t_b")
    end)

    it("is not lost to an old snapshot that outlasts the lock budget", function()
      local other = server:session(database)
      finally(function() other:close() end)
      sql "CREATE TABLE elsewhere (x int)"
      other:run "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM elsewhere"
      other:send "SELECT pg_sleep(3); COMMIT"
      local build = index("t", "t_b")
      build.lock_timeout = 1
      assert.is_true(step(build).ok)
      assert.equal("valid", state "t_b")
    end)

    it("refuses names the server would cut", function()
      assert.equal("invalid_definition", step(index("t", ("x"):rep(64))).error.code)
    end)
  end)

  describe("that drops an index", function()
    it("says how to bring it back, and is content when it is gone", function()
      sql "CREATE INDEX t_b ON t (b) WHERE a > 1"
      local drop = { kind = "drop", relation = "t", name = "t_b", lock_timeout = 5 }
      local done, events = step(drop)
      assert.is_true(done.ok)
      assert.matches("CREATE INDEX t_b ON public.t USING btree (b) WHERE (a > 1)", notes(events), 1, true)
      assert.is_true(step(drop).ok)
    end)

    it("does not begin while a reader would leave it dead", function()
      sql "CREATE INDEX t_b ON t (b)"
      local other = server:session(database)
      finally(function() other:close() end)
      other:run "BEGIN; SELECT count(*) FROM t"
      shell.run "sleep 1.2"
      assert.equal("lock_timeout", step({ kind = "drop", relation = "t", name = "t_b", lock_timeout = 1 }).error.code)
      assert.equal("valid", state "t_b")
    end)

    it("leaves alone what a constraint or another table owns", function()
      sql "ALTER TABLE t ADD PRIMARY KEY (a); CREATE TABLE u (b int); CREATE INDEX u_b ON u (b)"
      assert.equal("dependent", step({ kind = "drop", relation = "t", name = "t_pkey" }).error.code)
      assert.equal("valid", state "t_pkey")
      assert.equal("undefined", step({ kind = "drop", relation = "t", name = "u_b" }).error.code)
      assert.equal("valid", state "u_b")
    end)
  end)

  it("renames, swaps and alters, once", function()
    sql 'CREATE INDEX one ON t (a); CREATE INDEX two ON t (b)'
    for _ = 1, 2 do
      assert.is_true(step({ kind = "rename", relation = "t", name = "one", other = 'On"e' }).ok)
      assert.is_true(step({ kind = "swap", relation = "t", name = 'On"e', other = "two", spare = "old" }).ok)
    end
    assert.equal("CREATE INDEX old ON public.t USING btree (a)", server:indexes(database)["public.old"])
    local alter = { kind = "alter", relation = "t", name = "old",
      fields = index("t", "old", { keys = { { column = "a" } }, with = { { "fillfactor", "70" } } }).fields }
    assert.is_true(step(alter).ok)
    assert.matches("fillfactor='70'", server:indexes(database)["public.old"])
    alter.fields.with = {}
    assert.is_true(step(alter).ok)
    assert.not_matches("fillfactor", server:indexes(database)["public.old"])
  end)

  describe("that adds a key", function()
    local function key(kind, name, columns, more)
      local keys = {}
      for _, column in ipairs(columns) do keys[#keys + 1] = { column = column } end
      local fields = { kind = kind, keys = keys, unique = kind ~= "foreign_key" or nil }
      for k, v in pairs(more or {}) do fields[k] = v end
      return index("t", name, fields)
    end

    local function constraints()
      local map = {}
      for _, row in ipairs(sql [[SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
          WHERE conrelid = 't'::regclass AND contype <> 'n']]) do
        map[row[1]] = row[2]
      end
      return map
    end

    it("makes a primary key of columns that may hold null", function()
      assert.is_true(step(key("primary_key", "t_pk", { "a" })).ok)
      assert.same({ t_pk = "PRIMARY KEY (a)" }, constraints())
    end)

    it("goes on where a crash left it", function()
      sql [[ALTER TABLE t ADD CONSTRAINT lunadex_not_null CHECK (a IS NOT NULL) NOT VALID;
            CREATE UNIQUE INDEX t_pk ON t (a)]]
      assert.is_true(step(key("primary_key", "t_pk", { "a" })).ok)
      assert.same({ t_pk = "PRIMARY KEY (a)" }, constraints())
    end)

    it("takes everything back when there are nulls", function()
      sql "INSERT INTO t VALUES (NULL, 1)"
      local done = step(key("primary_key", "t_pk", { "a" }))
      assert.equal("invalid_definition", done.error.code)
      assert.same({}, constraints())
      assert.equal("absent", state "t_pk")
    end)

    it("makes a unique constraint of an index that is there", function()
      sql "CREATE UNIQUE INDEX stray ON t (a)"
      local unique = key("unique_constraint", "t_a_key", { "a" }, { deferrable = true })
      unique.use_existing, unique.other = true, "stray"
      for _ = 1, 2 do assert.is_true(step(unique).ok) end
      assert.same({ t_a_key = "UNIQUE (a) DEFERRABLE" }, constraints())
    end)

    it("does not take what is not the same for its own work", function()
      local function wants(expected, live, fields)
        sql("ALTER TABLE t DROP CONSTRAINT IF EXISTS k; ALTER TABLE t ADD CONSTRAINT k " .. live)
        local before = constraints()
        local done = step(fields)
        assert.equal(expected, done.ok and "ok" or done.error.code, live)
        assert.same(before, constraints())
      end
      sql [[CREATE TABLE p (id int PRIMARY KEY, k int UNIQUE); INSERT INTO p SELECT i, i FROM generate_series(0, 100) i;
        CREATE EXTENSION IF NOT EXISTS btree_gist; DELETE FROM t WHERE a > 5]]
      local function foreign(columns, more)
        local to = { schema = "public", relation = "p", columns = columns }
        return key("foreign_key", "k", { "b" }, { references = to, on_delete = more })
      end
      local function exclusion(operator)
        return key("exclusion_constraint", "k", {}, { keys = { { column = "b", operator = operator } }, method = "gist",
          unique = false })
      end
      wants("duplicate_name", "UNIQUE (a)", key("unique_constraint", "k", { "b" }))
      wants("duplicate_name", "UNIQUE (a)", key("unique_constraint", "k", { "a" }, { deferrable = true }))
      wants("duplicate_name", "UNIQUE (a)", key("unique_constraint", "k", { "a" }, { include = { "b" } }))
      wants("ok", "UNIQUE (a) WITH (fillfactor = 70)", key("unique_constraint", "k", { "a" }))
      wants("duplicate_name", "FOREIGN KEY (a) REFERENCES p", foreign { "id" })
      wants("duplicate_name", "FOREIGN KEY (b) REFERENCES p (k)", foreign { "id" })
      wants("duplicate_name", "FOREIGN KEY (b) REFERENCES p", foreign({ "id" }, "cascade"))
      wants("ok", "FOREIGN KEY (b) REFERENCES p", foreign { "id" })
      wants("ok", "FOREIGN KEY (b) REFERENCES p", foreign())
      wants("duplicate_name", "EXCLUDE USING gist (a WITH =)", exclusion "=")
      wants("duplicate_name", "EXCLUDE USING gist (b WITH =)", exclusion "<>")
      wants("ok", "EXCLUDE USING gist (b WITH =)", exclusion "OPERATOR(pg_catalog.=)")
    end)

    it("is made of no index of another definition", function()
      sql "CREATE UNIQUE INDEX stray ON t (a, b)"
      local unique = key("unique_constraint", "t_a_key", { "a" })
      unique.use_existing, unique.other = true, "stray"
      assert.equal("undefined", step(unique).error.code)
      assert.same({}, constraints())
      sql "CREATE UNIQUE INDEX t_pk ON t (a, b)"
      assert.equal("duplicate_name", step(key("primary_key", "t_pk", { "a" })).error.code)
      assert.same({}, constraints())
    end)

    it("puts a key in the place of another in one transaction, once", function()
      for kind, definition in pairs { unique_constraint = "UNIQUE (a, b)", primary_key = "PRIMARY KEY (a, b)" } do
        sql(([[DROP TABLE t; CREATE TABLE t (a int, b int); ALTER TABLE t ADD CONSTRAINT t_key %s (a);
          CREATE UNIQUE INDEX t_key_ldx_new ON t (a, b)]]):format(kind == "primary_key" and "PRIMARY KEY" or "UNIQUE"))
        local new = key(kind, "t_key", { "a", "b" })
        new.use_existing, new.replace, new.other = true, true, "t_key_ldx_new"
        local done, events = step(new)
        assert.is_true(done.ok)
        assert.matches("ADD CONSTRAINT", notes(events), 1, true)
        assert.is_true(step(new).ok)
        assert.same({ t_key = definition }, constraints())
        -- What an earlier version of this program may have left: the old one is gone, the new one is not there.
        sql "ALTER TABLE t DROP CONSTRAINT t_key; CREATE UNIQUE INDEX t_key_ldx_new ON t (a, b)"
        assert.is_true(step(new).ok)
        assert.same({ t_key = definition }, constraints())
      end
      local text = core.describe {
        kind = "build", schema = "public", relation = "t", name = "u", other = "u_new", use_existing = true,
        replace = true, fields = key("unique_constraint", "u", { "a" }).fields,
      }
      assert.matches('ALTER TABLE "public"."t" DROP CONSTRAINT "u", ADD CONSTRAINT "u" UNIQUE USING INDEX "u_new";',
        text, 1, true)
    end)

    it("keeps the old key when the new one cannot take its place", function()
      sql [[ALTER TABLE t ADD CONSTRAINT t_key UNIQUE (a); CREATE TABLE c (a int REFERENCES t (a));
        CREATE UNIQUE INDEX t_key_ldx_new ON t (a, b)]]
      local new = key("unique_constraint", "t_key", { "a", "b" })
      new.use_existing, new.replace, new.other = true, true, "t_key_ldx_new"
      assert.equal("dependent", step(new).error.code)
      assert.same({ t_key = "UNIQUE (a)" }, constraints())
    end)

    it("puts a foreign key in the place of another in one transaction, once", function()
      sql [[CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT i FROM generate_series(0, 9) i;
        ALTER TABLE t ADD CONSTRAINT t_fk FOREIGN KEY (b) REFERENCES p;
        ALTER TABLE t ADD CONSTRAINT t_fk_ldx_new FOREIGN KEY (b) REFERENCES p ON DELETE CASCADE]]
      local new = { kind = "rename", relation = "t", name = "t_fk_ldx_new", other = "t_fk", replace = true,
        fields = key("foreign_key", "t_fk", { "b" },
          { references = { schema = "public", relation = "p", columns = { "id" } }, on_delete = "cascade" }).fields }
      for _ = 1, 2 do
        local done = step(new)
        assert.is_true(done.ok, done.error and done.error.message)
      end
      assert.same({ t_fk = "FOREIGN KEY (b) REFERENCES p(id) ON DELETE CASCADE" }, constraints())
      new.schema = "public"
      assert.matches('DROP CONSTRAINT "t_fk";\nALTER TABLE "public"."t" RENAME CONSTRAINT "t_fk_ldx_new" TO "t_fk";',
        core.describe(new), 1, true)
    end)

    it("of a partitioned relation is described by the statement that it is", function()
      local new = key("unique_constraint", "t_key", { "a" })
      new.schema, new.partitioned = "public", true
      assert.matches('ALTER TABLE "public"."t" ADD CONSTRAINT "t_key" UNIQUE ("a")', core.describe(new), 1, true)
      assert.not_matches("INDEX", core.describe(new), 1, true)
    end)

    it("validates a foreign key, or takes it back", function()
      sql "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT i FROM generate_series(0, 9) i"
      local foreign = key("foreign_key", "t_fk", { "b" },
        { references = { schema = "public", relation = "p", columns = { "id" } }, on_delete = "cascade" })
      sql "INSERT INTO t VALUES (0, 77)"
      local done = step(foreign)
      assert.equal("23503", done.error.native)
      assert.same({}, constraints())
      sql "DELETE FROM t WHERE b = 77"
      for _ = 1, 2 do assert.is_true(step(foreign).ok) end
      assert.same({ t_fk = "FOREIGN KEY (b) REFERENCES p(id) ON DELETE CASCADE" }, constraints())
    end)
  end)

  it("builds a partitioned index piece by piece", function()
    sql [[CREATE TABLE q (a int, b int) PARTITION BY RANGE (a);
          CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (0) TO (10)]]
    local parent = index("q", "q_b")
    parent.only = true
    for _ = 1, 2 do assert.is_true(step(parent).ok) end
    assert.equal("invalid", state "q_b")
    assert.is_true(step(index("q1", "q1_b")).ok)
    local attach = { kind = "attach", relation = "q", name = "q_b", other = "q1_b", other_schema = "public",
      other_relation = "q1" }
    for _ = 1, 2 do assert.is_true(step(attach).ok) end
    assert.equal("valid", state "q_b")
  end)

  it("is described by what it sends", function()
    local build = index("t", "t_b")
    build.schema = "public"
    assert.equal('CREATE INDEX CONCURRENTLY "t_b" ON "public"."t" USING "btree" ("b")', core.describe(build))
  end)
end)
