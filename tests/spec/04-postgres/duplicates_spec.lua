-- Duplicates that keep something unique from being built: which, how many, where, before the build or after it.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"

describe("duplicates", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
    server:psql(database, [[
      CREATE TABLE t (a int, b text, c text COLLATE "C");
      INSERT INTO t SELECT n, 'b' || n, 'c' || n FROM generate_series(1, 1000) n;
      INSERT INTO t VALUES (7, 'b7', 'C7'), (7, 'b7', 'c7'), (8, 'b8', NULL), (NULL, 'x', NULL), (NULL, 'x', NULL);
    ]])
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function apply(text, ...)
    return lunadex.run { "apply", lunadex.registry(text), "--target", url, "--fail-on", "any", ... }
  end

  -- The query that the message gives, with its text put to use.
  local function given_query(result)
    return assert(result.stderr:match "Find them all: (SELECT .- DESC)", tostring(result))
  end

  it("are told with figures, samples and a query after a build failed", function()
    local result = apply [[ on "t" { index { "a", "b", unique = true, name = "t_ab" } } ]]
    assert.equal(3, result.status, tostring(result))
    assert.matches("2 keys are in 5 rows: (7, b7) 3 times, (8, b8) 2 times", result.stderr, 1, true)
    assert.same({ { "7", "b7", "3", n = 3 }, { "8", "b8", "2", n = 3 } }, server:psql(database, given_query(result)))
    assert.is_nil(server:indexes(database)["public.t_ab"])
  end)

  it("are looked for before the build when asked, and nothing is begun then", function()
    server:psql(database, "CREATE TABLE log (tag text); CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql "
      .. "AS $$BEGIN INSERT INTO log VALUES (tg_tag); END$$; "
      .. "CREATE EVENT TRIGGER note ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION note()")
    local text = [[ on "t" { index { "a", unique = true, name = "t_a" }, index { "b", name = "t_b" },
      unique_constraint { "b", name = "t_u" } } ]]
    local result = apply(text, "--check-duplicates", "--mode", "blocking")
    assert.equal(3, result.status, tostring(result))
    assert.matches("t_a: public.t holds keys more than once: nothing was begun; 2 keys are in 5 rows: (7) 3 times",
      result.stderr, 1, true)
    assert.matches("t_u: public.t holds keys more than once: nothing was begun; 3 keys are in 7 rows: (b7) 3 times",
      result.stderr, 1, true)
    assert.equal("1", server:value(database, "SELECT count(*) FROM log"))
    server:psql(database, "DROP EVENT TRIGGER note; "
      .. "DELETE FROM t WHERE ctid NOT IN (SELECT min(ctid) FROM t GROUP BY b)")
    result = apply(text, "--check-duplicates")
    assert.equal(0, result.status, tostring(result))
  end)

  it("are what the index takes for equal: its predicate, expressions, collation and nulls", function()
    local function refused(words)
      local result = apply(([[ on "t" { index { %s, unique = true, name = "x" } } ]]):format(words),
        "--check-duplicates")
      assert.equal(3, result.status, tostring(result))
      local rows = server:psql(database, given_query(result))
      return result.stderr:match "(%d+ keys? %l+ in %d+ rows: .-)%s*;", #rows
    end
    local function accepted(words)
      local result = apply(([[ on "t" { index { %s, unique = true, name = "x" } } ]]):format(words),
        "--check-duplicates")
      assert.equal(0, result.status, tostring(result))
      server:psql(database, "DROP INDEX x")
    end
    accepted [["a", where = "a > 8"]]
    accepted [["c", where = "c <> 'c7' AND c IS NOT NULL"]]
    assert.same({ "1 key is in 2 rows: (c7) 2 times", 1 }, { refused [["c"]] })
    assert.same({ "1 key is in 3 rows: (c7) 3 times", 1 }, { refused [[expr "lower(c)"]] })
    if server.version >= 15 then
      assert.same({ "2 keys are in 5 rows: (NULL) 3 times, (c7) 2 times", 2 },
        { refused [["c", nulls_distinct = false]] })
    end
    server:psql(database, [[CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)]])
    assert.matches("^1 key is in 3 rows", (refused [[key { "c", collate = "public.ci" }]]))
  end)

  -- What is listed: of each key as JSON the number of its rows, and the first of them.
  local function listed(...)
    local groups = {}
    local result = apply(...)
    assert.equal(3, result.status, tostring(result))
    for _, event in ipairs(result:events()) do
      for _, group in ipairs(event.event == "duplicates" and event.groups or {}) do
        local one = groups[group.group] or { key = group.key, ids = {} }
        table.move(group.ids, 1, #group.ids, #one.ids + 1, one.ids)
        groups[group.group] = one
      end
    end
    return groups
  end

  it("are listed one and all where events are printed, before a build or after it", function()
    for _, option in ipairs { "--check-duplicates", "--mode=concurrent" } do
      local groups = listed([[ on "t" { index { expr "lower(c)", "a", unique = true, name = "t_a" } } ]], "--json",
        option)
      assert.equal(1, #groups)
      assert.same({ ["lower(c)"] = "c7", a = 7 }, groups[1].key)
      local places = {}
      for i, id in ipairs(groups[1].ids) do
        assert.equal("t", id.tableoid)
        places[i] = id.ctid
      end
      table.sort(places)
      assert.equal(server:value(database, "SELECT string_agg(ctid::text, ' ' ORDER BY ctid::text COLLATE \"C\") "
        .. "FROM t WHERE a = 7"), table.concat(places, " "))
    end
    server:psql(database, "ALTER TABLE t ADD COLUMN \"the id\" int GENERATED ALWAYS AS IDENTITY, "
      .. "ADD PRIMARY KEY (\"the id\"); INSERT INTO t SELECT n % 3000, 'x' FROM generate_series(10000, 60000) n")
    local groups = listed([[ on "t" { index { "a", where = "b = 'x'", unique = true, name = "t_a" } } ]], "--json")
    assert.equal("3000", server:value(database, "SELECT count(DISTINCT a) FROM t WHERE b = 'x'"))
    assert.equal(3000, #groups)
    local rows, seen = 0, {}
    for _, group in ipairs(groups) do
      assert.is_nil(seen[group.key.a])
      seen[group.key.a] = true
      rows = rows + #group.ids
      if group.key.a == 5 then
        local ids = {}
        for i, id in ipairs(group.ids) do ids[i] = math.tointeger(id["the id"]) end
        table.sort(ids)
        assert.equal(server:value(database, "SELECT string_agg(\"the id\"::text, ',' ORDER BY \"the id\") FROM t "
          .. "WHERE b = 'x' AND a = 5"), table.concat(ids, ","))
      end
    end
    assert.equal(50001, rows)
  end)

  it("that row-level security hides are not taken for none", function()
    local role = "owner_" .. database
    server:psql(database, ([[CREATE ROLE %s LOGIN; GRANT CREATE ON SCHEMA public TO %s; ALTER TABLE t OWNER TO %s;
      ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
      CREATE POLICY few ON t USING (a = 1)]]):gsub("%%s", role))
    finally(function()
      server:psql(database, ("REASSIGN OWNED BY %s TO postgres; DROP OWNED BY %s; DROP ROLE %s"):gsub("%%s", role))
    end)
    url = server:url(database, role)
    local text = [[ on "t" { index { "a", unique = true, name = "t_a" } } ]]
    local result = apply(text, "--check-duplicates", "--mode", "concurrent", "--retries", "1")
    assert.equal(3, result.status, tostring(result))
    assert.matches("query would be affected by row-level security policy", result.stderr, 1, true)
    result = apply(text, "--mode", "concurrent", "--retries", "1")
    assert.equal(3, result.status, tostring(result))
    assert.matches("duplicates cannot be shown to this role: .*row%-level security", result.stderr)
  end)
end)
