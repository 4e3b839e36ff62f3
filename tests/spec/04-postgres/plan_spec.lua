-- What a plan says of a real database, to people and to machines.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"

describe("plan", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
    server:psql(database, [[CREATE TABLE t (a int, b text);
      INSERT INTO t SELECT n, n FROM generate_series(1, 5000) n; ANALYZE t;
      CREATE INDEX t_b ON t (b); CREATE INDEX t_stray ON t (a, b)]])
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function plan(text, ...)
    return lunadex.run { "plan", lunadex.registry(text), "--target", url, ... }
  end

  it("has the contract's shape", function()
    local result = plan([[ on "public.t" {
      index { "a", name = "t_a", critical = true, description = "by a", where = "b <> 'x'" },
      index { "b", name = "other" } } ]], "--json")
    assert.equal(0, result.status, tostring(result))
    local object = result:json()
    assert.matches("^postgresql://", object.target)
    local create, keep = object.changes[1], object.changes[2]
    assert.same({ "create", "public.t", "t_a", true, "by a", "not there" },
      { create.action, create.relation, create.name, create.critical, create.description, create.reason })
    assert.matches("WHERE", create.definition, 1, true)
    assert.is_true(create.estimate.rows >= 5000)
    assert.is_true(create.estimate.table_bytes > 0)
    assert.is_true(create.estimate.index_bytes > 0)
    assert.same({ "keep", "other", "t_b", "name-differs" },
      { keep.action, keep.name, keep.live_name, keep.findings[1].rule })
    assert.same({ declared = 2, live = 2, keep = 1, create = 1, replace = 0, rename = 0, alter = 0, rebuild = 0,
      drop = 0, wait = 0, blocked = 0, skipped = 0, put_off = 0, stray = 1, error = 0 }, object.summary)
    local stray
    for _, finding in ipairs(object.findings) do
      if finding.rule == "stray" then stray = finding end
    end
    assert.equal("t_stray", stray.name)
  end)

  it("puts one fact on a line where there is no terminal, without colour", function()
    local result = plan [[ on "t" { index { "a", name = "t_a", critical = true } } ]]
    assert.is_nil(result.stdout:find("\27", 1, true))
    assert.matches("\ncreate public.t t_a: btree (a); ", result.stdout, 1, true)
    assert.matches("; critical\n", result.stdout, 1, true)
    assert.matches("\nstray public.t t_stray: ", result.stdout, 1, true)
  end)

  it("knows of strays on a relation that is named without an index, and misses one that is not there", function()
    local result = plan [[ on "t" { description = "nothing declared" } ]]
    assert.equal(0, result.status, tostring(result))
    assert.matches("\nstray public.t t_b: ", result.stdout, 1, true)
    assert.matches("2 strays kept", result.stdout, 1, true)
    result = plan [[ on "nowhere" {} ]]
    assert.equal(65, result.status, tostring(result))
    assert.matches("nowhere: the relation does not exist", result.stdout, 1, true)
  end)

  it("lets a foreign key have the name of an index: they never meet", function()
    server:psql(database, "CREATE TABLE other (id int PRIMARY KEY)")
    local result = plan [[ on "t" {
      index { "a", name = "same" },
      foreign_key { "a", references = "other", name = "same" } } ]]
    assert.equal(0, result.status, tostring(result))
    assert.matches("2 to create", result.stdout, 1, true)
  end)

  it("says what a name is that is no table", function()
    server:psql(database, "CREATE VIEW seen AS SELECT 1 AS a")
    local result = plan [[ on "seen" { index { "a" } } ]]
    assert.equal(65, result.status, tostring(result))
    assert.matches("seen is a view", result.stdout, 1, true)
  end)

  it("changes nothing, and waits for nobody where all is as it is declared", function()
    local before = server:indexes(database)
    local session = server:session(database, "holder")
    session:run("BEGIN; LOCK t IN ACCESS EXCLUSIVE MODE")
    local result = plan [[ on "t" { index { "b", name = "t_b" } } ]]
    assert.equal(0, result.status, tostring(result))
    assert.matches("stray public.t t_stray: ", result.stdout, 1, true)
    assert.is_nil(result.stderr:find("waiting", 1, true))
    session:run("ROLLBACK")
    session:close()
    assert.same(before, server:indexes(database))
  end)

  it("reads predicates and expressions as the server does", function()
    server:psql(database, [[CREATE INDEX t_p ON t (lower(b)) WHERE a IN (1, 2) AND b IS DISTINCT FROM 'x']])
    local result = plan([[ on "t" { index { expr "LOWER( b )", name = "t_p",
      where = "(a = ANY (ARRAY[1,2])) and b is distinct from 'x'" } } ]], "--detailed-exitcode")
    assert.equal(0, result.status, tostring(result))
  end)

  it("reads what takes rows of the relation as the server does, however they are written", function()
    server:psql(database, [[
      CREATE SCHEMA "S";
      CREATE TABLE "S"."it's" (a int, b text);
      CREATE FUNCTION row_text(r "S"."it's", t text) RETURNS text IMMUTABLE LANGUAGE plpgsql
        AS 'BEGIN IF r.b IS NULL THEN RAISE EXCEPTION ''no b''; END IF; RETURN t || r.b; END';
      CREATE FUNCTION row_fine(r "S"."it's") RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT (r).a > 0';
      CREATE INDEX of_rows ON "S"."it's" (row_text("it's", '("it''s".*)::"S"."it''s"'))
        WHERE row_fine("it's") AND a > 0]])
    for _, row in ipairs { [["it's"]], [["it's".*]], [["it's"::"S"."it's"]] } do
      local result = plan(([=[ on "S.it's" { index { expr [[public.row_text(%s, '("it''s".*)::"S"."it''s"')]],
        name = "of_rows", where = [[row_fine(%s) and (a > 0)]] } } ]=]):format(row, row), "--detailed-exitcode")
      assert.equal(0, result.status, tostring(result))
    end
    local result = plan([=[ on "S.it's" { index { expr [[row_text("it's", 'another')]], name = "of_rows",
      where = [[row_fine("it's") and (a > 0)]] } } ]=], "--detailed-exitcode")
    assert.equal(2, result.status, tostring(result))
  end)

  it("takes a type for the server's, where the relation is called like it", function()
    for _, path in ipairs { "public", "", 'pg_catalog, "$user", public' } do
      server:psql(database, ([[ALTER DATABASE %s SET search_path = %s]]):format(database, path == "" and "''" or path))
      server:psql(database, [[DROP TABLE IF EXISTS public.date, public.text;
        CREATE TABLE public.date (date date, text varchar);
        CREATE TABLE public.text (date date, text text);
        CREATE INDEX date_x ON public.date (text) WHERE date > '2020-02-01' AND text = 'x';
        CREATE INDEX text_x ON public.text ((text || 'x')) WHERE date = any ('{2020-01-01}') ]])
      local result = plan([[
        on "public.date" { index { "text", where = "date > '2020-02-01'::date and text = 'x'", name = "date_x" } }
        on "public.text" { index { expr "text || 'x'", where = "date = any ('{2020-01-01}')", name = "text_x" } }
      ]], "--detailed-exitcode")
      assert.equal(0, result.status, tostring(result))
    end
  end)

  it("says so where an event trigger refuses the copy that texts are compared on", function()
    local text = [[ on "t" { index { "a", where = "b is not null", name = "t_a" } } ]]
    server:psql(database, [[
      CREATE INDEX t_a ON t (a) WHERE b IS NOT NULL;
      CREATE FUNCTION refuses() RETURNS event_trigger LANGUAGE plpgsql AS
        $$BEGIN IF current_query() !~* 'concurrently' THEN RAISE EXCEPTION 'ask the % first', 'dba'; END IF; END$$]])
    finally(function() server:psql(database, "DROP EVENT TRIGGER IF EXISTS refuses") end)
    for _, tag in ipairs { "CREATE TABLE", "CREATE INDEX" } do
      server:psql(database, ([[DROP EVENT TRIGGER IF EXISTS refuses; CREATE EVENT TRIGGER refuses ON ddl_command_start
        WHEN TAG IN ('%s') EXECUTE FUNCTION refuses()]]):format(tag))
      local result = plan(text, "--json")
      assert.equal(65, result.status, tostring(result))
      local finding = result:json().findings[1]
      assert.equal("error", finding.level)
      assert.matches("an event trigger refuses the temporary copy that it takes: ask the dba first", finding.message, 1,
        true)
      -- As the server prints it, there is nothing to try.
      result = plan([[ on "t" { index { "a", where = "b IS NOT NULL", name = "t_a" } } ]], "--json")
      assert.equal(1, result:json().summary.keep, tostring(result))
    end
    server:psql(database, "DROP EVENT TRIGGER refuses")
    assert.equal(1, plan(text, "--json"):json().summary.keep)
  end)

  it("refuses what the server does, also where the relation's name stands within a word", function()
    local result = plan([[ on "t" { index { expr "to_char(now() + a * interval '1 s', 'YYYY')", name = "x" } } ]],
      "--json")
    assert.equal(65, result.status, tostring(result))
    assert.matches("must be marked IMMUTABLE", result:json().findings[1].message, 1, true)
  end)

  it("is not disturbed by names without an encoding, be they of other tables or of what is in the way", function()
    local other = server:create_database(nil, "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    server:psql(other, "SET client_encoding = 'SQL_ASCII';" .. ([[
      CREATE TABLE t (a int, "@" text);
      CREATE INDEX "t_@" ON t ("@") WHERE "@" > '@';
      CREATE TABLE "caf@" (a int, "@" text);
      CREATE INDEX "i_@" ON "caf@" ("@") WHERE "@" > '@']]):gsub("@", "\233"))
    local path, target = lunadex.registry [[ on "t" { index { "a", name = "t_a" } } ]], server:url(other)
    local result = lunadex.run { "apply", path, "--target", target, "--drop-strays" }
    assert.equal(0, result.status, tostring(result))
    assert.equal("t_a", server:value(other, "SELECT string_agg(relname, ' ') FROM pg_index JOIN pg_class ON oid = "
      .. "indexrelid WHERE indrelid = 't'::regclass"))
    result = lunadex.run { "plan", path, "--target", target, "--detailed-exitcode" }
    assert.equal(0, result.status, tostring(result))
    assert.equal(0, lunadex.run({ "snapshot", "--target", target }).status)
    server:drop_database(other)
  end)

  it("tells that a column is missing by the server's code, not by its words", function()
    local result = plan([[ on "t" {
      index { "nope", name = "x" }, index { expr "lower(nope)", name = "y" },
      index { expr "(row(a, b)).f9", name = "z" }, index { expr "nope(b)", name = "f" } } ]], "--json")
    assert.equal(65, result.status, tostring(result))
    local rules = {}
    for _, finding in ipairs(result:json().findings) do
      if finding.level == "error" then rules[finding.name] = finding.rule end
    end
    assert.same({ x = "unknown-column", y = "unknown-column", z = "unknown-column", f = "undefined" }, rules)
  end)

  it("knows a boolean option however it was spelt, and a number for a number", function()
    server:psql(database, "CREATE TABLE o (j jsonb, a int)")
    for i, spelt in ipairs { "1", "TRUE", "t", "yes", "on" } do
      server:psql(database, ("CREATE INDEX o_%d ON o USING gin (j) WITH (fastupdate = %s)"):format(i, spelt))
      local result = plan(([[ on "o" { index { "j", method = "gin", with = { fastupdate = true }, name = "o_%d" } }
        ]]):format(i), "--json")
      local summary = result:json().summary
      assert.same({ 1, 0 }, { summary.keep, summary.alter }, spelt)
      server:psql(database, "DROP INDEX o_" .. i)
    end
    server:psql(database, [[CREATE INDEX o_brin ON o USING brin (a) WITH (pages_per_range = 1, autosummarize = 0);
      CREATE INDEX o_other ON o USING gin (j) WITH (fastupdate = 0)]])
    local result = plan([[ on "o" {
      index { "a", method = "brin", with = { pages_per_range = 1, autosummarize = false }, name = "o_brin" },
      index { "j", method = "gin", with = { fastupdate = true }, name = "o_other" } } ]], "--json")
    local summary = result:json().summary
    assert.same({ 1, 1, 0 }, { summary.keep, summary.alter, summary.replace }, tostring(result))
  end)

  it("says beforehand what the role may not change", function()
    server:psql(nil, "DO $$BEGIN CREATE ROLE ldx_reader LOGIN; EXCEPTION WHEN duplicate_object THEN END$$")
    server:psql(database, "CREATE TABLE own (a int); ALTER TABLE own OWNER TO ldx_reader; "
      .. "REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO ldx_reader; "
      .. "GRANT SELECT ON t TO ldx_reader")
    local registry = lunadex.registry [[ on "t" { index { "a", name = "x" }, index { "a", "b", "a", name = "y" } }
      on "own" { index { "a", name = "z" } } ]]
    local result = lunadex.run { "plan", registry, "--target", server:url(database, "ldx_reader") }
    assert.equal(0, result.status, tostring(result))
    assert.matches("warning permission: .-:1: public.t x: the indexes of public.t cannot be changed: it belongs to "
      .. "postgres, whose rights ldx_reader does not have", result.stdout)
    assert.is_nil(result.stdout:find("t y: the indexes", 1, true))
    assert.matches("ldx_reader may create nothing in the schema public, as it lacks the right CREATE on it (It takes "
      .. "the rights of the table's owner, and CREATE on its schema", result.stdout, 1, true)
    result = lunadex.run { "plan", registry, "--target", url }
    assert.is_nil(result.stdout:find("permission", 1, true))
    server:psql(database, "DROP OWNED BY ldx_reader")
    server:psql(nil, "DROP ROLE ldx_reader")
  end)

  it("takes several databases of one registry in turn, or one of them", function()
    local other = server:create_database()
    server:psql(other, "CREATE TABLE u (a int)")
    local text = ([[
      database "one" { url = "%s", on "t" { index { "a", name = "t_a" } } }
      database "two" { url = "%s", on "u" { index { "a", name = "u_a" } } }
    ]]):format(url, server:url(other))
    local path = lunadex.registry(text)
    local object = lunadex.run({ "plan", "--json", path }):json()
    assert.same({ "one", "two" }, { object.databases[1].database, object.databases[2].database })
    object = lunadex.run({ "plan", "--json", path, "--database", "two" }):json()
    assert.equal("u_a", object.changes[1].name)
    assert.equal(64, lunadex.run({ "plan", path, "--target", url }).status)
    assert.equal(64, lunadex.run({ "plan", path, "--only", "nope" }).status)
    local mistaken = lunadex.run { "plan", path, "--only", "u_a", "--only", "t_aa" }
    assert.equal(64, mistaken.status, tostring(mistaken))
    assert.matches('--only t_aa matches nothing', mistaken.stderr, 1, true)
    assert.matches('Did you mean "t_a"?', mistaken.stderr, 1, true)
    assert.equal(0, lunadex.run({ "plan", path, "--only", "u_a", "--only", "t_a" }).status)
    local result = lunadex.run { "plan", path, "--only", "u_a" }
    assert.equal(0, result.status, tostring(result))
    assert.is_nil(result.stdout:find("t_a", 1, true))
    result = lunadex.run { "apply", "--dry-run", path }
    assert.matches("-- database two: ", result.stdout, 1, true)
    -- A mistake in one is found before the other is touched.
    local wrong = lunadex.registry(text:gsub('"u" { index { "a"', '"u" { index { "nope"'))
    result = lunadex.run { "apply", wrong }
    assert.equal(65, result.status, tostring(result))
    assert.is_nil(server:indexes(database)["public.t_a"])
    -- Mistakes in both are told at once.
    wrong = lunadex.registry((text:gsub('{ "a", name = "(._a)"', '{ "no_%1", name = "%1"')))
    result = lunadex.run { "apply", wrong }
    assert.equal(65, result.status, tostring(result))
    assert.matches('"no_t_a" does not exist.*"no_u_a" does not exist.*nothing was changed', result.stderr)
    result = lunadex.run { "apply", path }
    assert.equal(0, result.status, tostring(result))
    assert.matches("total 2, created 2, skipped 0, failed 0", result.stdout, 1, true)
    server:drop_database(other)
  end)
end)
