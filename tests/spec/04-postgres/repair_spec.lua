-- --repair: what failed builds left, told apart from what somebody is at and from what is declared.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("--repair", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
    server:psql(database, [[
      CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1);
      CREATE TABLE other (a int); INSERT INTO other VALUES (1), (1);
      CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);
      CREATE INDEX other_good ON other (a);
    ]])
    for _, sql in ipairs { "CREATE UNIQUE INDEX CONCURRENTLY t_declared ON t (a)",
      "CREATE UNIQUE INDEX CONCURRENTLY t_left ON t ((a + 1))",
      "CREATE UNIQUE INDEX CONCURRENTLY other_left ON other (a)" } do
      assert.is_nil(server:try(database, sql))
    end
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function run(command, ...)
    return lunadex.run { command, lunadex.registry [[ on "t" { index { "a", name = "t_declared" } } ]], "--target", url,
      ... }
  end

  local function names()
    local found = {}
    for name in pairs(server:indexes(database)) do found[#found + 1] = name:gsub("^public%.", "") end
    table.sort(found)
    return found
  end

  it("drops leftovers on any relation; without it they are kept, and it is said how", function()
    local result = run("plan")
    assert.equal(0, result.status, tostring(result))
    assert.matches("t t_left: .-kept, %-%-repair drops it", result.stdout)
    assert.is_nil(result.stdout:find("other_left", 1, true))
    result = run("apply")
    assert.equal(0, result.status, tostring(result))
    assert.same({ "other_good", "other_left", "t_declared", "t_left" }, names())

    result = run("plan", "--repair", "--json")
    local planned = {}
    for _, change in ipairs(result:json().changes) do
      if change.action ~= "keep" then planned[#planned + 1] = change.action .. " " .. change.name end
    end
    table.sort(planned)
    assert.same({ "drop other_left", "drop t_left" }, planned)
    result = run("apply", "--repair", "--json")
    assert.equal(0, result.status, tostring(result))
    assert.same({ "other_good", "t_declared" }, names())
    -- What went can be had back.
    assert.matches("CREATE UNIQUE INDEX other_left ON public.other USING btree (a)", result.stdout, 1, true)
    assert.matches("nothing to do", run("plan", "--repair").stdout, 1, true)
  end)

  it("leaves to others what they are building", function()
    server:psql(database, "DROP INDEX other_left; DELETE FROM other")
    local holder, builder = server:session(database), server:session(database)
    holder:run "BEGIN"
    holder:run "INSERT INTO other VALUES (1)"
    builder:send "CREATE INDEX CONCURRENTLY other_left ON other (a)"
    shell.eventually("the build to begin", function() return server:indexes(database)["public.other_left"] end)
    local result = run("apply", "--repair")
    assert.equal(0, result.status, tostring(result))
    assert.same({ "other_good", "other_left", "t_declared" }, names())
    holder:run "COMMIT"
    builder:wait()
    holder:close()
    builder:close()
    assert.equal("t", server:value(database, "SELECT indisvalid FROM pg_index "
      .. "WHERE indexrelid = 'other_left'::regclass"))
  end)

  describe("and incomplete indexes of partitioned tables:", function()
    before_each(function()
      server:psql(database, [[
        DROP TABLE other; DROP INDEX t_left;
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (19) PARTITION BY RANGE (a);
        CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM (10) TO (19);
      ]])
    end)

    it("those without a part go, keys too; finished parts are named and stay", function()
      server:psql(database, [[
        ALTER TABLE ONLY p ADD CONSTRAINT p_key UNIQUE (a);
        CREATE INDEX p_half ON ONLY p (a);
        CREATE INDEX p2_half ON ONLY p2 ((a + 1)); CREATE INDEX p2a_half ON p2a ((a + 1));
        CREATE INDEX p2a_b ON p2a (a);
      ]])
      assert.same({ "p2_half", "p2a_b", "p2a_half", "p_half", "p_key", "t_declared" }, names())
      local result = run("apply", "--repair")
      assert.equal(0, result.status, tostring(result))
      assert.same({ "p2a_b", "p2a_half", "t_declared" }, names())
      for _, name in ipairs { "p2a_b", "p2a_half" } do
        assert.matches(("public.p2a %s: a part of nothing"):format(name), result.stderr, 1, true)
      end
    end)

    it("those with parts may be somebody's work, and are told", function()
      server:psql(database, [[CREATE INDEX p_part ON ONLY p ((a + 1)); CREATE INDEX p1_part ON p1 ((a + 1));
        ALTER INDEX p_part ATTACH PARTITION p1_part]])
      local result = run("apply", "--repair")
      assert.equal(0, result.status, tostring(result))
      assert.matches("public.p p_part: invalid; .-1 of 2 partitions have their part of it, so it may be "
        .. "somebody's work", result.stderr)
      assert.same({ "p1_part", "p_part", "t_declared" }, names())
      result = run("apply", "--repair", "--drop-strays")
      assert.equal(0, result.status, tostring(result))
      assert.same({ "t_declared" }, names())
    end)

    it("so may those on whose partitions somebody builds", function()
      server:psql(database, "CREATE INDEX p_half ON ONLY p (a); INSERT INTO p VALUES (1)")
      local holder, builder = server:session(database), server:session(database)
      holder:run "BEGIN; INSERT INTO p1 VALUES (2)"
      builder:send "CREATE INDEX CONCURRENTLY p1_half ON p1 (a)"
      shell.eventually("the build to begin", function() return server:indexes(database)["public.p1_half"] end)
      local result = run("plan", "--repair")
      assert.matches("public.p p_half: .-builds on p1, so it may be somebody's work", result.stdout)
      holder:run "COMMIT"
      builder:wait()
      holder:close()
      builder:close()
    end)

    it("but what has a name that only a run of ours gives is nobody else's", function()
      server:psql(database, [[CREATE INDEX p_x_ldx_new ON ONLY p ((a + 1)); CREATE INDEX p1_part ON p1 ((a + 1));
        ALTER INDEX p_x_ldx_new ATTACH PARTITION p1_part]])
      local result = run("apply", "--repair")
      assert.equal(0, result.status, tostring(result))
      assert.same({ "t_declared" }, names())
    end)
  end)
end)
