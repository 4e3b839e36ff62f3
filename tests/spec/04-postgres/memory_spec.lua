-- valgrind over whole runs on a real server: nothing lost, nothing read or written that is not ours, however the run
-- ends. What sanitizers do not see, the uninstrumented libraries, is seen here.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

-- 66 is no exit status of lunadex.
local valgrind = {
  "valgrind", "-q", "--leak-check=full", "--show-leak-kinds=definite,indirect",
  "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=66", "--num-callers=30",
}

describe("under valgrind", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  if not shell.run "command -v valgrind" then return pending "valgrind is not installed" end
  -- The sanitizers' allocators and valgrind's exclude each other.
  if lunadex.build:find "build%-[at]san$" then return pending "a build with sanitizers" end
  local server, database

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    server:psql_file(database, "registry/shop/schema.sql")
    server:psql_file(database, "registry/shop/legacy.sql")
  end)
  after_each(function() server:drop_database(database) end)

  local function run(status, ...)
    local result = lunadex.run { under = valgrind, seconds = 300, env = { DATABASE_URL = server:url(database) }, ... }
    assert.equal(status, result.status, tostring(result))
    assert.is_nil(result.stderr:find("==%d+==", 1, false), result.stderr)
    return result
  end

  it("plan, apply, plan again, snapshot and status lose nothing", function()
    run(2, "plan", "registry/shop/shop.lua", "--detailed-exitcode")
    run(0, "apply", "registry/shop/shop.lua")
    run(0, "plan", "registry/shop/shop.lua", "--detailed-exitcode", "--json")
    run(0, "snapshot")
    run(0, "status")
  end)

  it("neither do failures", function()
    server:psql(database, "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)")
    local text = [[ on "t" { index { "a", unique = true, critical = true }, index { "a", name = "good" } } ]]
    run(3, "apply", lunadex.registry(text))
    run(65, "plan", lunadex.registry 'on "t" { indx { "a" } }')
    run(5, "plan", lunadex.registry(text), "--target", "postgresql://postgres@127.0.0.1:1/x")
    run(5, "plan", lunadex.registry(text), "--target", server:url "no such database")
  end)

  it("nor an interrupt in the middle of a build", function()
    server:psql(database, "CREATE TABLE t (a int)")
    local holder = server:session(database)
    holder:run "BEGIN; INSERT INTO t VALUES (1)"
    local process = lunadex.start {
      "apply", lunadex.registry 'on "t" { index { "a", name = "t_a" } }', under = valgrind,
      env = { DATABASE_URL = server:url(database) },
    }
    shell.eventually("the build to wait", function()
      return server:value("postgres", ([[SELECT count(*) FROM pg_stat_activity
        WHERE datname = '%s' AND wait_event_type = 'Lock']]):format(database)) ~= "0"
    end)
    process:kill "INT"
    holder:close()
    local result = process:wait(120)
    assert.equal(130, result.status, result.stdout .. result.stderr)
    assert.is_nil(result.stderr:find("==%d+==", 1, false), result.stderr)
  end)
end)
