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
      CREATE INDEX p_half ON ONLY p (a); CREATE INDEX other_good ON other (a);
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
    assert.same({ "other_good", "other_left", "p_half", "t_declared", "t_left" }, names())

    result = run("plan", "--repair", "--json")
    local planned = {}
    for _, change in ipairs(result:json().changes) do
      if change.action ~= "keep" then planned[#planned + 1] = change.action .. " " .. change.name end
    end
    table.sort(planned)
    assert.same({ "drop other_left", "drop t_left" }, planned)
    result = run("apply", "--repair", "--json")
    assert.equal(0, result.status, tostring(result))
    assert.same({ "other_good", "p_half", "t_declared" }, names())
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
    assert.same({ "other_good", "other_left", "p_half", "t_declared" }, names())
    holder:run "COMMIT"
    builder:wait()
    holder:close()
    builder:close()
    assert.equal("t", server:value(database, "SELECT indisvalid FROM pg_index "
      .. "WHERE indexrelid = 'other_left'::regclass"))
  end)
end)
