-- What an index or a key of PostgreSQL may be, one line a feature, each through the round trip (support.round_trip):
-- Lunadex recognises what PostgreSQL makes of the statement, makes the same itself, and gives it back from a snapshot.
local pg = require "support.postgres"
local round_trip = require "support.round_trip"

-- { feature, statement, items of on "t" { … }, since = version, more = SQL before, names = names that were chosen }
local features = {
  -- methods
  { "btree", "CREATE INDEX x ON t (a)", 'index { "a", name = "x" }' },
  { "hash", "CREATE INDEX x ON t USING hash (b)", 'index { "b", method = "hash", name = "x" }' },
  { "gin", "CREATE INDEX x ON t USING gin (j)", 'index { "j", method = "gin", name = "x" }' },
  { "gist", "CREATE INDEX x ON t USING gist (r)", 'index { "r", method = "gist", name = "x" }' },
  { "spgist", "CREATE INDEX x ON t USING spgist (p)", 'index { "p", method = "spgist", name = "x" }' },
  { "brin", "CREATE INDEX x ON t USING brin (at)", 'index { "at", method = "brin", name = "x" }' },
  { "an extension's method", "CREATE INDEX x ON t USING bloom (a ext.int4_ops) WITH (length = 80, col1 = 4)",
    [[index { key { "a", opclass = "ext.int4_ops" }, method = "bloom", with = { { "length", 80 }, { "col1", 4 } },
      name = "x" }]] },
  -- keys
  { "several keys", "CREATE INDEX x ON t (a, b, at)", 'index { "a", "b", "at", name = "x" }' },
  { "an expression", "CREATE INDEX x ON t (lower(b))", 'index { expr "LOWER( b )", name = "x" }' },
  { "expressions and columns", "CREATE INDEX x ON t (a, (a + 1), lower(b), b)",
    'index { "a", expr "a+1", expr "lower(b)", "b", name = "x" }' },
  { "descending", "CREATE INDEX x ON t (a DESC, b)", 'index { desc "a", asc "b", name = "x" }' },
  { "nulls first and last", "CREATE INDEX x ON t (a DESC NULLS LAST, b NULLS FIRST)",
    'index { key { "a", desc = true, nulls = "last" }, key { "b", nulls = "first" }, name = "x" }' },
  { "defaults written out", "CREATE INDEX x ON t (a, b DESC)",
    [[index { key { "a", opclass = "int4_ops", nulls = "last" }, key { "b", desc = true, nulls = "first",
      collate = "default" }, name = "x" }]] },
  { "an opclass", "CREATE INDEX x ON t (b text_pattern_ops)",
    'index { key { "b", opclass = "text_pattern_ops" }, name = "x" }' },
  { "an opclass with parameters", "CREATE INDEX x ON t USING gist (b gist_trgm_ops (siglen = 32))",
    'index { key { "b", opclass = { "gist_trgm_ops", siglen = 32 } }, method = "gist", name = "x" }' },
  { "brin's bloom and minmax-multi", [[CREATE INDEX x ON t USING brin (a int4_bloom_ops (n_distinct_per_range = 50),
      at timestamptz_minmax_multi_ops (values_per_range = 16))]],
    [[index { key { "a", opclass = { "int4_bloom_ops", n_distinct_per_range = 50 } },
      key { "at", opclass = { "timestamptz_minmax_multi_ops", values_per_range = 16 } }, method = "brin",
      name = "x" }]],
    since = 14 },
  { "an opclass in another schema", 'CREATE INDEX x ON t (b lib."Text.Ops")',
    [[index { key { "b", opclass = 'lib."Text.Ops"' }, name = "x" }]] },
  { "a collation", 'CREATE INDEX x ON t (b COLLATE "C", b COLLATE "de-DE-x-icu")',
    [[index { key { "b", collate = '"C"' }, key { "b", collate = '"de-DE-x-icu"' }, name = "x" }]] },
  { "a collation that is not deterministic", "CREATE INDEX x ON t (b COLLATE lib.loose)",
    'index { key { "b", collate = "lib.loose" }, name = "x" }' },
  { "a column of its own collation", 'CREATE INDEX x ON t (own, own COLLATE "C")',
    [[index { "own", key { "own", collate = '"C"' }, name = "x" }]] },
  { "a whole row", "CREATE INDEX x ON t ((t IS NULL), (t.a + 1))",
    'index { expr "t IS NULL", expr "t.a + 1", name = "x" }' },
  { "a function of the relation's row type", "CREATE INDEX x ON t (lib.of_row(t))",
    'index { expr "lib.of_row(t.*)", name = "x" }',
    more = "CREATE FUNCTION lib.of_row(t) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';" },
  { "a generated column", "CREATE INDEX x ON t (double)", 'index { "double", name = "x" }' },
  { "a field of a composite", 'CREATE INDEX x ON t (((pair)."B b"))', [[index { expr '(pair)."B b"', name = "x" }]] },
  -- columns beside the keys
  { "include", "CREATE INDEX x ON t (a) INCLUDE (b, at)", 'index { "a", include = { "b", "at" }, name = "x" }' },
  { "include in gist", "CREATE INDEX x ON t USING gist (r) INCLUDE (a)",
    'index { "r", method = "gist", include = { "a" }, name = "x" }' },
  -- uniqueness
  { "unique", "CREATE UNIQUE INDEX x ON t (a)", 'index { "a", unique = true, name = "x" }' },
  { "nulls not distinct", "CREATE UNIQUE INDEX x ON t (a) NULLS NOT DISTINCT",
    'index { "a", unique = true, nulls_distinct = false, name = "x" }', since = 15 },
  -- predicates
  { "IN on varchar", "CREATE INDEX x ON t (a) WHERE v IN ('new', 'it''s')",
    [[index { "a", where = "v IN ('new', 'it''s')", name = "x" }]] },
  { "BETWEEN and AND", "CREATE INDEX x ON t (a) WHERE a BETWEEN 1 AND 2 AND b <> 'x'",
    [[index { "a", where = "a BETWEEN 1 AND 2 AND b <> 'x'", name = "x" }]] },
  { "NOT BETWEEN or", "CREATE INDEX x ON t (a) WHERE a NOT BETWEEN -1 AND 2 OR b IS NULL",
    [[index { "a", where = "a NOT BETWEEN -1 AND 2 OR b IS NULL", name = "x" }]] },
  { "parentheses that change nothing", "CREATE INDEX x ON t (a) WHERE (a > 0 AND b <> 'x') AND double > 1",
    [[index { "a", where = "(a > 0 AND b <> 'x') AND double > 1", name = "x" }]] },
  { "rows", "CREATE INDEX x ON t (a) WHERE (a, b) = (1, 'x') AND (a, double) > (1, 2)",
    [[index { "a", where = "(a, b) = (1, 'x') AND (a, double) > (1, 2)", name = "x" }]] },
  { "casts", "CREATE INDEX x ON t (a) WHERE a::text = '1' AND CAST(b AS varchar(5)) <> 'y'::varchar",
    [[index { "a", where = "a::text = '1' AND CAST(b AS varchar(5)) <> 'y'::varchar", name = "x" }]] },
  { "arrays", "CREATE INDEX x ON t (a) WHERE a = ANY ('{1,2}') AND v <> ALL (ARRAY['p', 'q'])",
    [[index { "a", where = "a = ANY ('{1,2}') AND v <> ALL (ARRAY['p', 'q'])", name = "x" }]] },
  { "CASE, COALESCE, IS DISTINCT FROM", [[CREATE INDEX x ON t (a) WHERE CASE WHEN a > 0 THEN b ELSE '' END <> ''
      AND coalesce(a, -1) IS DISTINCT FROM 5]],
    [[index { "a", where = "CASE WHEN a > 0 THEN b ELSE '' END <> '' AND coalesce(a, -1) IS DISTINCT FROM 5",
      name = "x" }]] },
  { "times and zones", [[CREATE INDEX x ON t (a) WHERE at AT TIME ZONE 'UTC' > timestamp '2020-01-01'
      - interval '1 day']],
    [[index { "a", where = "at AT TIME ZONE 'UTC' > timestamp '2020-01-01' - interval '1 day'", name = "x" }]] },
  { "jsonb", [[CREATE INDEX x ON t (a) WHERE j @> '{"a": 1}' AND j ->> 'b' = 'c' AND j ? 'd']],
    [==[index { "a", where = [[j @> '{"a": 1}' AND j ->> 'b' = 'c' AND j ? 'd']], name = "x" }]==] },
  { "an operator of another schema", "CREATE INDEX x ON t (a) WHERE b OPERATOR(lib.===) 'x'",
    [[index { "a", where = "b OPERATOR(lib.===) 'x'", name = "x" }]] },
  { "a function of another schema", "CREATE INDEX x ON t (lib.lower(b)) WHERE lib.normal(b) <> lower(b)",
    [[index { expr "lib.lower(b)", where = "lib.normal(b) <> lower(b)", name = "x" }]] },
  { "an enum and a domain", "CREATE INDEX x ON t (color) WHERE color IN ('red', 'green') AND label = 'x'",
    [[index { "color", where = "color IN ('red', 'green') AND label = 'x'", name = "x" }]] },
  -- storage
  { "storage parameters", "CREATE INDEX x ON t (a) WITH (fillfactor = 70, deduplicate_items = off)",
    'index { "a", with = { { "fillfactor", 70 }, { "deduplicate_items", "off" } }, name = "x" }' },
  { "a tablespace", "CREATE INDEX x ON t (a) TABLESPACE round_trip",
    'index { "a", tablespace = "round_trip", name = "x" }' },
  -- names
  { "no name", "CREATE INDEX ON t (a, lower(b))", 'index { "a", expr "lower(b)" }' },
  { "an odd name", [[CREATE INDEX "We.ird ""näme"" it's" ON t ("Odd ""Column""")]],
    [==[index { [[Odd "Column"]], name = [[We.ird "näme" it's]] }]==], names = { [[We.ird "näme" it's]] } },
  { "a name of 63 bytes with a newline", ('CREATE INDEX "%s\n%s" ON t (a)'):format(("é"):rep(20), ("x"):rep(22)),
    ([[index { "a", name = "%s\n%s" }]]):format(("é"):rep(20), ("x"):rep(22)) },
  -- as SQL
  { "a definition as SQL", "CREATE INDEX x ON t (a DESC) WHERE b <> 'x'",
    "index { sql = [[create index concurrently if not exists x on t using btree (a desc) where (b <> 'x');]] }" },
  { "a key as SQL", "ALTER TABLE t ADD CONSTRAINT x UNIQUE (a, b)",
    "constraint { sql = [[ALTER TABLE t ADD CONSTRAINT x UNIQUE (a, b)]] }" },
  -- keys
  { "a unique constraint", "ALTER TABLE t ADD CONSTRAINT x UNIQUE (a, b) INCLUDE (at) DEFERRABLE INITIALLY DEFERRED",
    [[unique_constraint { "a", "b", include = { "at" }, deferrable = true, initially_deferred = true, name = "x" }]] },
  { "a unique constraint, nulls not distinct", "ALTER TABLE t ADD CONSTRAINT x UNIQUE NULLS NOT DISTINCT (a)",
    'unique_constraint { "a", nulls_distinct = false, name = "x" }', since = 15 },
  { "a primary key", "ALTER TABLE t ADD CONSTRAINT x PRIMARY KEY (b, a)", 'primary_key { "b", "a", name = "x" }' },
  { "an exclusion constraint", "ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING gist (r WITH &&, a WITH =) WHERE (a > 0)",
    [[exclusion_constraint { key { "r", with = "&&" }, key { "a", with = "=" }, method = "gist", where = "a > 0",
      name = "x" }]] },
  { "a foreign key", "ALTER TABLE t ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES other",
    'foreign_key { "a", references = "other", name = "x" }' },
  { "a foreign key's actions", [[ALTER TABLE t ADD CONSTRAINT x FOREIGN KEY (b, a) REFERENCES other (k2, k1) MATCH FULL
      ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE]],
    [[foreign_key { "b", "a", references = { "other", "k2", "k1" }, match = "full", on_update = "cascade",
      on_delete = "set null", deferrable = true, name = "x" }]] },
  { "set null of some columns",
    "ALTER TABLE t ADD CONSTRAINT x FOREIGN KEY (a, b) REFERENCES other (k1, k2) ON DELETE SET NULL (b)",
    [[foreign_key { "a", "b", references = { "other", "k1", "k2" }, on_delete = "set null",
      on_delete_columns = { "b" }, name = "x" }]], since = 15 },
  -- several at once
  { "a duplicate on purpose", "CREATE INDEX x ON t (a); CREATE INDEX y ON t (a)",
    'index { "a", name = "x" }, index { "a", name = "y", duplicate_of = "x" }', names = { "x", "y" } },
  { "a unique index beside a constraint", "ALTER TABLE t ADD CONSTRAINT x UNIQUE (a); CREATE UNIQUE INDEX y ON t (a)",
    'unique_constraint { "a", name = "x" }, index { "a", unique = true, name = "y" }', names = { "x", "y" } },
}

local relation = [[
CREATE TABLE t (gone int, a int, b text, v varchar(20), j jsonb, r int4range, p point, at timestamptz,
  own text COLLATE "de-DE-x-icu", double int GENERATED ALWAYS AS (a * 2) STORED, pair lib."Pair", color lib.color,
  label lib.label, "Odd ""Column""" text);
ALTER TABLE t DROP COLUMN gone;
CREATE TABLE other (k1 int PRIMARY KEY, k2 text, UNIQUE (k1, k2));
]]

-- Other relations than the table above: { feature, relation, statements, registry, since = version }.
local relations = {
  { "an unlogged table", "CREATE UNLOGGED TABLE t (a int);", "CREATE INDEX x ON t (a)",
    'on "t" { index { "a", name = "x" } }' },
  { "a materialised view",
    "CREATE TABLE base.m (a int); CREATE MATERIALIZED VIEW v AS SELECT a, a + 1 AS b FROM base.m;",
    "CREATE UNIQUE INDEX x ON v (a); CREATE INDEX y ON v (b)",
    'on "v" { index { "a", unique = true, name = "x" }, index { "b", name = "y" } }' },
  { "a parent of inheritance", "CREATE TABLE t (a int); CREATE TABLE base.child () INHERITS (t);",
    "CREATE INDEX x ON t (a)", 'on "t" { index { "a", name = "x" } }' },
  { "the same name in two schemas", "CREATE TABLE t (a int); CREATE TABLE sales.t (a int);",
    "CREATE INDEX x ON t (a); CREATE INDEX x ON sales.t (a)",
    'on "public.t" { index { "a", name = "x" } } on "sales.t" { index { "a", name = "x" } }' },
  { "odd names", [[CREATE TABLE "a.b"."it's ""odd"".
name" ("select" int);]], [[CREATE INDEX x ON "a.b"."it's ""odd"".
name" ("select")]], [==[on '"a.b"."it\'s ""odd"".\nname"' { index { "select", name = "x" } }]==] },
  { "a partitioned table, children with columns in another order", [[
      CREATE TABLE t (a int, b text) PARTITION BY RANGE (a);
      CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
      CREATE TABLE t2 (gone int, b text, a int); ALTER TABLE t2 DROP COLUMN gone;
      ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20);]],
    "CREATE INDEX x ON t (b, (a + 1)) INCLUDE (a) WHERE b <> 'x'",
    [[on "t" { index { "b", expr "a + 1", include = { "a" }, where = "b <> 'x'", name = "x" } }]] },
  { "partitions of partitions, with names of their own", [[
      CREATE TABLE t (a int, b text) PARTITION BY LIST (a);
      CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1) PARTITION BY HASH (b);
      CREATE TABLE t1a PARTITION OF t1 FOR VALUES WITH (modulus 2, remainder 0);
      CREATE TABLE t2 PARTITION OF t DEFAULT;]],
    [[CREATE UNIQUE INDEX x ON t (a, b); ALTER INDEX t1_a_b_idx RENAME TO first; ALTER INDEX t1a_a_b_idx RENAME TO
      "First A"]],
    [[on "t" { index { "a", "b", unique = true, name = "x", partitions = { ["public.t1"] = "first",
      ["public.t1a"] = "First A" } } }]], names = { "first", "First A" } },
  { "keys of a partitioned table", [[
      CREATE TABLE t (a int, b text) PARTITION BY HASH (a);
      CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (modulus 1, remainder 0);
      CREATE TABLE other (k int PRIMARY KEY);]],
    "ALTER TABLE t ADD CONSTRAINT x PRIMARY KEY (a), ADD CONSTRAINT y FOREIGN KEY (a) REFERENCES other",
    [[on "t" { primary_key { "a", name = "x" }, foreign_key { "a", references = "other", name = "y" } }
      on "other" { primary_key { "k", name = "other_pkey" } }]] },
  { "keys without overlaps, and of a period", "CREATE TABLE t (a int4range, at daterange, b int4range);",
    [[ALTER TABLE t ADD CONSTRAINT x PRIMARY KEY (a, at WITHOUT OVERLAPS);
      ALTER TABLE t ADD CONSTRAINT y UNIQUE (b, a, at WITHOUT OVERLAPS) DEFERRABLE;
      ALTER TABLE t ADD CONSTRAINT z FOREIGN KEY (b, PERIOD at) REFERENCES t (a, PERIOD at)]],
    [[on "t" { primary_key { "a", "at", without_overlaps = true, name = "x" },
      unique_constraint { "b", "a", "at", without_overlaps = true, deferrable = true, name = "y" },
      foreign_key { "b", "at", references = { "t", "a", "at" }, period = true, name = "z" } }]],
    names = { "z" }, since = 18 },
  { "foreign keys that are not enforced", [[
      CREATE TABLE other (k int PRIMARY KEY);
      CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 1);
      CREATE TABLE p (a int) PARTITION BY LIST (a);
      CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);]],
    [[ALTER TABLE t ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES other NOT ENFORCED;
      ALTER TABLE p ADD CONSTRAINT y FOREIGN KEY (a) REFERENCES other NOT ENFORCED]],
    [[on "t" { foreign_key { "a", references = "other", not_enforced = true, name = "x" } }
      on "p" { foreign_key { "a", references = "other", not_enforced = true, name = "y" } }
      on "other" { primary_key { "k", name = "other_pkey" } }]], since = 18 },
  { "beside constraints that are no keys", [[
      CREATE TABLE t (a int CONSTRAINT "Not Null" NOT NULL, b int, c int GENERATED ALWAYS AS (a + 1) VIRTUAL,
        CONSTRAINT positive CHECK (a > 0) NOT ENFORCED);
      INSERT INTO t VALUES (1, NULL);
      ALTER TABLE t ADD CONSTRAINT later NOT NULL b NOT VALID;
      CREATE TABLE child () INHERITS (t);
      CREATE TABLE u (b int CONSTRAINT own NOT NULL NO INHERIT);]],
    "ALTER TABLE t ADD CONSTRAINT x PRIMARY KEY (a); CREATE INDEX y ON t (b)",
    'on "t" { primary_key { "a", name = "x" }, index { "b", name = "y" } }', since = 18 },
  { "an exclusion constraint of a partitioned table", [[
      CREATE TABLE t (a int, at daterange) PARTITION BY LIST (a);
      CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);]],
    "ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING gist (a WITH =, at WITH &&)",
    [[on "t" { exclusion_constraint { key { "a", with = "=" }, key { "at", with = "&&" }, method = "gist",
      name = "x" } }]], since = 17 },
}

local function names_of(feature)
  local named = { x = true, y = true }
  for _, name in ipairs(feature.names or {}) do named[name] = true end
  return named
end

for _, version in ipairs(pg.versions()) do
  describe("PostgreSQL " .. version, function()
    local reason = pg.missing(version)
    if reason then return pending(reason) end
    local trip
    setup(function() trip = round_trip.new(version) end)
    teardown(function() trip:stop() end)

    local function check(subject)
      local failure = trip:run(subject)
      assert(not failure, failure and failure.stage .. "\n" .. failure.text)
    end

    for _, feature in ipairs(features) do
      if version >= (feature.since or 0) then
        it(feature[1], function()
          check { setup = relation .. (feature.more or ""), statements = { feature[2] },
            registry = 'on "t" { ' .. feature[3] .. " }", named = names_of(feature) }
        end)
      end
    end

    for _, feature in ipairs(relations) do
      if version >= (feature.since or 0) then
        it(feature[1], function()
          check { setup = feature[2], statements = { feature[3] }, registry = feature[4], named = names_of(feature) }
        end)
      end
    end

    -- What belongs to a constraint, an extension or the system is nobody's stray.
    it("indexes that are owned by something else", function()
      check { setup = [[
          CREATE TABLE t (a int PRIMARY KEY, b text UNIQUE, big text);
          CREATE TABLE owned (a int PRIMARY KEY, b int); CREATE INDEX ON owned (b);
          ALTER EXTENSION pg_trgm ADD TABLE owned;
        ]], statements = { "CREATE INDEX x ON t (big)" }, named = { x = true },
        registry = [[on "t" { primary_key { "a", name = "t_pkey" }, unique_constraint { "b", name = "t_b_key" },
          index { "big", name = "x" } }]] }
    end)
  end)
end
