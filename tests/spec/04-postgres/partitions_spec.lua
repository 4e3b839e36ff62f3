-- Indexes of partitions that an earlier run left behind: taken over, never a second one beside them.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("apply on partitions", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, [[CREATE TABLE big (a int, b text) PARTITION BY RANGE (a);
      CREATE TABLE b0 PARTITION OF big FOR VALUES FROM (0) TO (10);
      CREATE TABLE b1 PARTITION OF big FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (a);
      CREATE TABLE b1a PARTITION OF b1 FOR VALUES FROM (10) TO (20);
      INSERT INTO big SELECT n % 20, n FROM generate_series(1, 2000) n]])
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function names()
    local found = {}
    for _, row in ipairs(server:psql(database, [[SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
      JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public' AND indisvalid ORDER BY 1]])) do
      found[#found + 1] = row[1]
    end
    return table.concat(found, " ")
  end

  local function apply(more)
    local result = lunadex.run { "apply", lunadex.registry(('on "big" { index { "b", name = "big_b"%s } }'):format(
      more or "")), "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
  end

  local function invalid(name)
    server:psql(database, ([[UPDATE pg_index SET indisvalid = false WHERE indexrelid = '%s'::regclass]]):format(name))
  end

  it("takes over what was left unfinished under the name it would choose", function()
    server:psql(database, "CREATE INDEX ON b0 (b)")
    server:psql(database, "CREATE INDEX ON ONLY b1 (b)")
    invalid "b0_b_idx"
    apply()
    assert.equal("b0_b_idx b1_b_idx b1a_b_idx big_b", names())
  end)

  it("are built where default_tablespace names the database's own", function()
    server:psql(database, ("ALTER DATABASE %s SET default_tablespace = 'pg_default'"):format(database))
    local path = lunadex.registry [[ on "big" { index { "b", name = "big_b" }, primary_key { "a", "b" } } ]]
    local result = lunadex.run { "apply", path, "--target", server:url(database), "--fail-on", "any" }
    assert.equal(0, result.status, tostring(result))
    assert.equal("b0_b_idx b0_pkey b1_b_idx b1_pkey b1a_b_idx b1a_pkey big_b big_pkey", names())
  end)

  it("keep what they belong to while they are a replica identity, clustered on, or relied upon", function()
    server:psql(database, [[
      ALTER TABLE big ADD c int DEFAULT 1 NOT NULL, ALTER a SET NOT NULL, ALTER b SET NOT NULL;
      CREATE UNIQUE INDEX big_identity ON big (a, b);
      ALTER TABLE b1a REPLICA IDENTITY USING INDEX b1a_a_b_idx;
      CREATE INDEX big_clustered ON big (b);
      ALTER TABLE b0 CLUSTER ON b0_b_idx;
      CREATE UNIQUE INDEX big_referenced ON big (a, b, c);
      CREATE TABLE refers (a int, b text, c int, FOREIGN KEY (a, b, c) REFERENCES b1a (a, b, c));
      CREATE INDEX big_stray ON big (c)]])
    local path = lunadex.registry [[ on "big" { description = "nothing declared" } ]]
    local words = { path, "--target", server:url(database), "--drop-strays", "--json" }
    local plan = lunadex.run({ "plan", table.unpack(words) }):json()
    local kept = {}
    for _, finding in ipairs(plan.findings) do kept[finding.live_name] = finding.message:match "kept: (.*)" end
    assert.same({
      big_identity = "it is the replica identity of its table (its part b1a_a_b_idx of public.b1a)",
      big_clustered = "its table is clustered on it (its part b0_b_idx of public.b0)",
      big_referenced = "a foreign key relies on it (its part b1a_a_b_c_idx of public.b1a)",
    }, kept)
    assert.equal(0, lunadex.run({ "apply", table.unpack(words) }).status)
    assert.equal("big_clustered big_identity big_referenced", server:value(database, [[SELECT string_agg(relname, ' '
      ORDER BY relname) FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = 'big'::regclass]]))
    -- Nor is there a replacement that could not let the old one go.
    local result = lunadex.run { "plan", "--target", server:url(database), lunadex.registry [[
      on "big" { index { "a", "b", unique = true, include = { "c" }, name = "big_referenced" } } ]] }
    assert.equal(65, result.status, tostring(result))
    assert.matches("b1a_a_b_c_idx, .* cannot be replaced: foreign keys rely on it: refers_a_b_c_fkey of public.refers",
      result.stdout)
    server:psql(database, [[ALTER TABLE big ADD CONSTRAINT big_key PRIMARY KEY (a, c, b);
      CREATE VIEW shows AS SELECT b1a FROM b1a GROUP BY a, c, b]])
    result = lunadex.run { "plan", "--target", server:url(database), lunadex.registry [[
      on "big" { primary_key { "c", "a", "b", name = "big_key" } } ]] }
    assert.equal(65, result.status, tostring(result))
    assert.matches("b1a_pkey, .* cannot be replaced: it is used by view public.shows", result.stdout)
  end)

  it("gives columns back that a primary key made NOT NULL, when it fails", function()
    local function not_null()
      return server:value(database, [[SELECT coalesce(string_agg(attrelid::regclass || '.' || attname, ' '
        ORDER BY attrelid::regclass::text, attname), '')
        FROM pg_attribute WHERE attnum > 0 AND attnotnull
        AND attrelid IN ('big'::regclass, 'b0'::regclass, 'b1'::regclass, 'b1a'::regclass)]])
    end
    local registry = lunadex.registry [[ on "big" { primary_key { "a", "b" } } ]]
    local arguments = { "apply", registry, "--mode", "concurrent", "--fail-on", "any", "--target",
      server:url(database) }
    server:psql(database, "INSERT INTO big VALUES (1, 'twice'), (1, 'twice')")
    local result = lunadex.run(arguments)
    assert.equal(3, result.status, tostring(result))
    assert.equal("", not_null())
    assert.equal("", names())
    assert.equal("0", server:value(database, "SELECT count(*) FROM pg_constraint WHERE conrelid = 'big'::regclass"))

    -- What was NOT NULL before stays so. Before PostgreSQL 18 the server would take it back everywhere: it is said.
    server:psql(database, "ALTER TABLE b0 ALTER b SET NOT NULL")
    result = lunadex.run(arguments)
    assert.equal(3, result.status, tostring(result))
    if server.version >= 18 then
      assert.equal("b0.b", not_null())
    else
      assert.equal("b0.a b0.b b1.a b1.b b1a.a b1a.b big.a big.b", not_null())
      assert.matches("the columns of big_pkey stay NOT NULL", result.stdout, 1, true)
    end
  end)

  it("and under the name that is declared for the partition", function()
    server:psql(database, "CREATE INDEX CONCURRENTLY own ON b0 (b)")
    invalid "own"
    apply ', partitions = { ["public.b0"] = "own" }'
    assert.equal("b1_b_idx b1a_b_idx big_b own", names())
  end)

  it("takes over what is equal, however it is spelt and stored", function()
    server:psql(database, [[CREATE INDEX one ON b0 (b) WHERE a BETWEEN 1 AND 2 AND b > '';
      CREATE INDEX two ON b1a (b) WITH (fillfactor = 70) WHERE a >= 1 AND a <= 2 AND b > '';
      CREATE INDEX zz ON b1a (b) WHERE a >= 1 AND a <= 2 AND b > '']])
    apply [[, where = "a >= 1 AND a <= 2 AND b > ''"]]
    assert.equal("b1_b_idx big_b one two zz", names())
  end)

  it("makes keys of unique indexes that are equal, and parts of equal keys", function()
    server:psql(database, [[CREATE UNIQUE INDEX one ON b0 (a, b) WITH (fillfactor = 70);
      ALTER TABLE b1a ADD CONSTRAINT two UNIQUE (a, b) WITH (fillfactor = 80)]])
    server:psql(database, "TRUNCATE big")
    local result = lunadex.run { "apply", lunadex.registry [[on "big" { unique_constraint { "a", "b", name = "k" } }]],
      "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.equal("b1_a_b_key k one two", names())
  end)

  it("but says of what has the declared name what it is, when it is something else", function()
    server:psql(database, "CREATE INDEX own ON b0 (a)")
    local result = lunadex.run { "apply", "--fail-on", "any", "--target", server:url(database),
      lunadex.registry 'on "big" { index { "b", name = "big_b", partitions = { ["public.b0"] = "own" } } }' }
    assert.equal(3, result.status, tostring(result))
    assert.matches("the name public.own belongs to an index with another definition", result.stderr, 1, true)
    assert.equal("own", names())
  end)

  it("but not what has that name and is something else", function()
    server:psql(database, "CREATE INDEX b0_b_idx ON b0 (a)")
    invalid "b0_b_idx"
    apply()
    assert.equal("b0_b_idx1 b1_b_idx b1a_b_idx big_b", names())
  end)

  it("that were there before are not taken back when the rest fails", function()
    server:psql(database, [[CREATE TABLE p (a int NOT NULL, b int NOT NULL, c int NOT NULL) PARTITION BY RANGE (a);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
      CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (c);
      CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM (0) TO (20);
      CREATE UNIQUE INDEX p_ab ON ONLY p (a, b); CREATE UNIQUE INDEX p1_ab ON p1 (a, b);
      ALTER INDEX p_ab ATTACH PARTITION p1_ab]])
    local before = server:indexes(database)
    -- p2's unique index would need c, by which it is partitioned.
    local result = lunadex.run { "apply", lunadex.registry [[ on "p" {
      index { "a", "b", unique = true, name = "p_ab" } } ]], "--fail-on", "any", "--target", server:url(database) }
    assert.equal(3, result.status, tostring(result))
    assert.same(before, server:indexes(database))
  end)

  it("leave no head behind when the first of them fails, of an index or of a key", function()
    local before = server:indexes(database)
    for _, text in ipairs { 'index { "a", unique = true, name = "big_a" }', 'primary_key { "a", name = "big_key" }' } do
      local result = lunadex.run { "apply", lunadex.registry('on "big" { ' .. text .. " }"), "--fail-on", "any",
        "--target", server:url(database) }
      assert.equal(3, result.status, tostring(result))
      assert.matches("could not create unique index", result.stderr, 1, true)
      assert.same(before, server:indexes(database))
    end
  end)

  it("tell what stays when a later one fails", function()
    server:psql(database, "DELETE FROM big WHERE a < 10")
    local result = lunadex.run { "apply", lunadex.registry 'on "big" { index { "a", unique = true, name = "big_a" } }',
      "--fail-on", "any", "--target", server:url(database) }
    assert.equal(3, result.status, tostring(result))
    assert.matches("big_a is incomplete: the parts that are finished are kept", result.stderr, 1, true)
    assert.equal("b0_a_idx", names())
  end)

  it("tell only of what lacks something, and leave alone what is attached", function()
    server:psql(database, [[CREATE TABLE a0 PARTITION OF big FOR VALUES FROM (30) TO (40) PARTITION BY RANGE (a);
      CREATE TABLE b2 PARTITION OF big FOR VALUES FROM (40) TO (50); INSERT INTO big VALUES (41), (41);
      DELETE FROM big WHERE a < 20]])
    local result = lunadex.run { "apply", lunadex.registry 'on "big" { index { "a", unique = true, name = "big_a" } }',
      "--fail-on", "any", "--target", server:url(database) }
    assert.equal(3, result.status, tostring(result))
    assert.matches("big_a is incomplete", result.stderr, 1, true)
    assert.equal(1, select(2, result.stderr:gsub("is incomplete", "")), tostring(result))
    assert.not_matches("taken back", result.stdout)
    assert.equal("a0_a_idx b0_a_idx b1_a_idx b1a_a_idx", names())
  end)

  it("that a replacement was to have go with it when it is not wanted any more, nested heads too", function()
    server:psql(database, [[CREATE TABLE b1b PARTITION OF b1 FOR VALUES FROM (5) TO (10);
      CREATE INDEX big_b ON big (b);
      CREATE INDEX big_b_ldx_new ON ONLY big (a); CREATE INDEX b1_n ON ONLY b1 (a); CREATE INDEX b1a_n ON b1a (a);
      ALTER INDEX b1_n ATTACH PARTITION b1a_n]])
    apply()
    assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
    assert.is_nil(server:value(database, "SELECT to_regclass('b1_n')"))
  end)

  it("are not built on a partition that is being detached", function()
    if server.version < 14 then return end
    local reader = server:session(database, "reader")
    reader:run "BEGIN; SELECT count(*) FROM big"
    local detacher = server:session(database, "detacher")
    detacher:send "ALTER TABLE b1 DETACH PARTITION b1a CONCURRENTLY"
    shell.eventually("the detachment to begin", function()
      return server:value(database, "SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == "1"
    end)
    server:value(database, ("SELECT pg_cancel_backend(%d)"):format(detacher.pid))
    assert.has_error(function() detacher:wait() end)
    detacher:close()
    reader:close()
    local function run(command, keys)
      return lunadex.run { command, lunadex.registry(([[ on "big" { index { "b", name = "big_b" },
        unique_constraint { "a", "b", name = "big_key" }, %s } ]]):format(keys)), "--target", server:url(database) }
    end
    local result = run("apply", "")
    assert.equal(0, result.status, tostring(result))
    assert.not_matches("b1a", result.stdout, 1, true)
    assert.equal("b0_a_b_key b0_b_idx b1_a_b_key b1_b_idx big_b big_key", names())
    if server.version >= 18 then
      result = run("plan", 'primary_key { "a", "b" }')
      assert.equal(65, result.status, tostring(result))
      assert.matches("while public.b1a is being detached", result.stdout, 1, true)
    else
      assert.equal(0, run("apply", 'primary_key { "a", "b" }').status)
    end
    server:psql(database, "ALTER TABLE b1 DETACH PARTITION b1a FINALIZE")
    result = run("apply", 'primary_key { "a", "b" }')
    assert.equal(0, result.status, tostring(result))
    assert.equal("b0_a_b_key b0_b_idx b0_pkey b1_a_b_key b1_b_idx b1_pkey big_b big_key big_pkey", names())
  end)

  it("beside a foreign table are built one by one, and for the last statement the plan says what it blocks", function()
    server:psql(database, [[CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
      CREATE FOREIGN TABLE far PARTITION OF big FOR VALUES FROM (20) TO (30) SERVER s]])
    local registry = lunadex.registry [[ on "big" { index { "b", name = "big_b", mode = "concurrent" } } ]]
    local result = lunadex.run { "plan", registry, "--json", "--target", server:url(database) }
    local finding = result:json().findings[1]
    assert.same({ "info", "blocks" }, { finding.level, finding.rule }, tostring(result))
    assert.matches("for a moment in the end: its partition public.far is a foreign table", finding.message, 1, true)
    result = lunadex.run { "apply", registry, "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.matches("puts public.big_b together from the parts that are there", result.stdout, 1, true)
    assert.equal("b0_b_idx b1_b_idx b1a_b_idx big_b", names())
  end)
end)
