-- What hangs on an index goes over to the one that takes its place.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"

describe("a replacement", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
    server:psql(database, [[
      CREATE TABLE t (a int NOT NULL, b int NOT NULL, c text);
      INSERT INTO t SELECT n, n, 'x' FROM generate_series(1, 100) n;
      CREATE UNIQUE INDEX t_id ON t (a);
      COMMENT ON INDEX t_id IS 'it''s ours';
    ]])
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function apply(text)
    return lunadex.run { "apply", lunadex.registry(text), "--target", url, "--fail-on", "any" }
  end

  local function marks()
    local row = server:psql(database, [[SELECT indisreplident, indisclustered, obj_description(indexrelid, 'pg_class'),
      pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid = 't_id'::regclass]])[1]
    row.n = nil
    return row
  end

  it("inherits replica identity, clustering and comment", function()
    server:psql(database, "ALTER TABLE t REPLICA IDENTITY USING INDEX t_id; ALTER TABLE t CLUSTER ON t_id")
    -- Whoever sends the statements himself is told that they are not all.
    local dry = lunadex.run { "apply", "--dry-run", "--target", url,
      lunadex.registry [[ on "t" { index { "a", "b", unique = true, name = "t_id" } } ]] }
    assert.matches("\n%-%- not shown: [^\n]* the replica identity of public.t and what public.t is clustered on, and "
      .. "[^\n]* the old one's comments", dry.stdout)
    local result = apply [[ on "t" { index { "a", "b", unique = true, name = "t_id" } } ]]
    assert.equal(0, result.status, tostring(result))
    assert.same({ "t", "t", "it's ours", "CREATE UNIQUE INDEX t_id ON public.t USING btree (a, b)" }, marks())
    assert.equal("i", server:value(database, "SELECT relreplident FROM pg_class WHERE oid = 't'::regclass"))
    assert.is_nil(server:indexes(database)["public.t_id_ldx_old"])
  end)

  it("that cannot be clustered on says that the table is on none any more", function()
    for _, words in ipairs { '"a", "b", unique = true, where = "a > 0"', '"a", method = "brin"' } do
      server:psql(database, "ALTER TABLE t CLUSTER ON t_id")
      local result = apply(('on "t" { index { %s, name = "t_id" } }'):format(words))
      assert.equal(0, result.status, tostring(result))
      assert.matches('public.t was clustered on t_id; it is on none any more', tostring(result), 1, true)
      assert.equal("f", marks()[2])
      server:psql(database, "DROP INDEX t_id; CREATE UNIQUE INDEX t_id ON t (a)")
    end
  end)

  it("inherits them where a key is replaced, too, and the comment on the constraint", function()
    for _, case in ipairs {
      { "UNIQUE (a)", 'unique_constraint { "a", "b", name = "k" }', "UNIQUE (a, b)", true },
      { "PRIMARY KEY (a)", 'primary_key { "a", "b", name = "k" }', "PRIMARY KEY (a, b)", true },
      -- Built beside the old one, which it follows by its name; never a replica identity.
      { "EXCLUDE USING btree (a WITH =)", 'exclusion_constraint { key { "a", with = "=" }, key { "b", with = "=" }, '
        .. 'name = "k" }', "EXCLUDE USING btree (a WITH =, b WITH =)", false },
    } do
      server:psql(database, ([[ALTER TABLE t ADD CONSTRAINT k %s; ALTER TABLE t CLUSTER ON k;
        COMMENT ON INDEX k IS 'index'; COMMENT ON CONSTRAINT k ON t IS 'constraint';]]):format(case[1])
        .. (case[4] and "ALTER TABLE t REPLICA IDENTITY USING INDEX k" or ""))
      local result = apply(('on "t" { index { "a", unique = true, name = "t_id" }, %s }'):format(case[2]))
      assert.equal(0, result.status, tostring(result))
      local row = server:psql(database, [[SELECT pg_get_constraintdef(c.oid), indisreplident, indisclustered,
        obj_description(indexrelid, 'pg_class'), obj_description(c.oid, 'pg_constraint')
        FROM pg_index i JOIN pg_constraint c ON c.conindid = i.indexrelid WHERE indexrelid = 'k'::regclass]])[1]
      assert.same({ case[3], case[4] and "t" or "f", "t", "index", "constraint", n = 5 }, row)
      server:psql(database, "ALTER TABLE t DROP CONSTRAINT k")
    end
  end)

  it("is refused beforehand where it cannot be the replica identity", function()
    server:psql(database, "ALTER TABLE t REPLICA IDENTITY USING INDEX t_id")
    for _, words in ipairs { '"a"', '"a", unique = true, where = "a > 5"', 'expr "a + 1", unique = true' } do
      local result = apply(('on "t" { index { %s, name = "t_id" } }'):format(words))
      assert.equal(65, result.status, tostring(result))
      assert.matches("t_id is the replica identity of public.t", result.stderr, 1, true)
    end
    -- What only the server knows: the old one stays as it is.
    local result = apply [[ on "t" { index { "c", "a", unique = true, name = "t_id" } } ]]
    assert.equal(3, result.status, tostring(result))
    assert.matches("null", result.stderr, 1, true)
    assert.same({ "t", "f", "it's ours", "CREATE UNIQUE INDEX t_id ON public.t USING btree (a)" }, marks())
    assert.is_nil(server:indexes(database)["public.t_id_ldx_new"])
  end)

  it("what an earlier one left under the name that the old one is to have goes first", function()
    server:psql(database, [[CREATE TABLE s (a int, b int); CREATE INDEX s_x ON s (a);
      CREATE INDEX s_x_ldx_old ON s (b)]])
    local registry = lunadex.registry [[ on "s" { index { "a", "b", name = "s_x" } } ]]
    local result = lunadex.run { "apply", registry, "--fail-on", "any", "--mode", "concurrent", "--target",
      server:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.equal("s_x", server:value(database, [[SELECT string_agg(c.relname, ' ') FROM pg_index i JOIN pg_class c
      ON c.oid = i.indexrelid WHERE i.indrelid = 's'::regclass]]))
  end)

  it("what hangs on the parts of a partitioned one goes over, or it is refused", function()
    server:psql(database, [[CREATE TABLE p (a int NOT NULL, b int NOT NULL) PARTITION BY RANGE (a);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
      CREATE UNIQUE INDEX p_x ON p (a);
      ALTER TABLE p1 REPLICA IDENTITY USING INDEX p1_a_idx; COMMENT ON INDEX p1_a_idx IS 'ours']])
    local plain = lunadex.registry [[ on "p" { index { "a", "b", name = "p_x" } } ]]
    local refused = lunadex.run { "plan", plain, "--target", server:url(database) }
    assert.matches("p1_a_idx is the replica identity of public.p1", refused.stdout .. refused.stderr, 1, true)
    local unique = lunadex.registry [[ on "p" { index { "a", "b", unique = true, name = "p_x" } } ]]
    local result = lunadex.run { "apply", unique, "--fail-on", "any", "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.equal("true ours i", server:value(database, [[SELECT concat_ws(' ', i.indisreplident::text,
      obj_description(i.indexrelid, 'pg_class'), r.relreplident) FROM pg_index i JOIN pg_class r ON r.oid = i.indrelid
      WHERE r.relname = 'p1']]))
  end)
  it("is told with the tablespace of what goes", function()
    if server.version < 15 then return pending "PostgreSQL 15 makes tablespaces within its data directory" end
    server:psql(database, [[SET allow_in_place_tablespaces = on; CREATE TABLESPACE "Odd ""Place" LOCATION '']])
    finally(function()
      server:drop_database(database)
      server:psql("postgres", [[DROP TABLESPACE "Odd ""Place"]])
    end)
    server:psql(database, [[CREATE TABLE placed (a int, b int);
      CREATE INDEX placed_a ON placed (a) TABLESPACE "Odd ""Place";
      ALTER TABLE placed ADD CONSTRAINT placed_key UNIQUE (b) USING INDEX TABLESPACE "Odd ""Place"]])
    local path = lunadex.registry [[ on "placed" { index { "a", "b", name = "placed_a" },
      unique_constraint { "b", "a", name = "placed_key" } } ]]
    local result = lunadex.run { "apply", path, "--target", server:url(database), "--fail-on", "any" }
    assert.equal(0, result.status, tostring(result))
    local ways = {}
    for sql in result.stdout:gmatch "to bring it back: ([^\n]+)" do ways[#ways + 1] = sql end
    assert.equal(2, #ways, tostring(result))
    server:psql(database, "ALTER TABLE placed DROP CONSTRAINT placed_key; " .. table.concat(ways, "; "))
    assert.equal("2", server:value(database, [[SELECT count(*) FROM pg_class c JOIN pg_tablespace t
      ON t.oid = c.reltablespace WHERE t.spcname = 'Odd "Place' AND c.relname IN ('placed_a_ldx_old', 'placed_key')]]))
  end)

  it("statistics targets of expressions that stay go over", function()
    server:psql(database, [[CREATE TABLE s (a text, b int); CREATE INDEX s_x ON s (lower(a), (b + 1));
      ALTER INDEX s_x ALTER COLUMN 1 SET STATISTICS 777; ALTER INDEX s_x ALTER COLUMN 2 SET STATISTICS 333]])
    local result = lunadex.run { "apply", lunadex.registry [[ on "s" {
      index { expr "lower(a)", expr "b + 2", name = "s_x" } } ]], "--fail-on", "any", "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.equal("1 777", server:value(database, [[SELECT string_agg(attnum || ' ' || attstattarget, ', ')
      FROM pg_attribute WHERE attrelid = 's_x'::regclass AND attstattarget >= 0]]))
  end)
end)
