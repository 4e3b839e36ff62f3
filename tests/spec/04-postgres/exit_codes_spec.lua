-- What a caller can tell from the exit status, from standard output with --json, and that no password is in either.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("exit status", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, path

  setup(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, "CREATE TABLE t (a int)")
    path = lunadex.registry [[ on "public.t" { index { "a", name = "t_a" } } ]]
  end)
  teardown(function()
    if database then server:drop_database(database) end
  end)

  local function check(status, arguments)
    local result = lunadex.run(arguments)
    assert.equal(status, result.status, tostring(result))
    assert.is_nil((result.stdout .. result.stderr):find("geheim", 1, true), tostring(result))
    return result
  end

  it("0 for help and version", function()
    assert.is_truthy(check(0, { "--help" }).stdout:find("examples:", 1, true))
    assert.equal(check(0, { "plan", "--help" }).stdout, check(0, { "help", "plan" }).stdout)
    assert.equal(check(0, { "--help" }).stdout, check(0, { "help" }).stdout)
    assert.is_truthy(check(0, { "plan", "--help" }).stdout:find("--detailed-exitcode", 1, true))
    assert.matches("^lunadex %d", check(0, { "--version" }).stdout)
  end)

  it("64 for wrong usage, without a traceback", function()
    check(64, {})
    for _, words in ipairs {
      { "pla" }, { "plan", "--nope" }, { "apply", "--jobs", "many" }, { "apply", "--lock-timeout", "soon" },
      { "apply", "--fail-on", "monday" }, { "plan", path, "--target", "nonsense://x" },
      { "plan", path, "--target", server:url(database), "--database", "nope" },
      { "plan", path, "--target", server:url(database), "--only", "nope" },
      { "check", path, "--offline", "--database", "a", "--database", "b" },
    } do
      local result = check(64, words)
      assert.is_nil(result.stderr:find("traceback", 1, true), tostring(result))
    end
    check(64, { "plan", path }) -- no target at all
    local result = check(64, { "plan", "--json", "--nope" })
    assert.equal("usage", result:events()[1].error.code)
  end)

  it("64 for a target with a password in the wrong place, without telling it", function()
    check(64, { "plan", path, "--target", "postgresql://app:geheim" })
    check(64, { "plan", path, "--target", "postgresql://app:geheim/shop" })
    check(64, { "plan", path, "--target", "dbname=postgresql://app:geheim@db/shop" })
    check(64, { "plan", path, env = { PGHOST = "db", PGDATABASE = "postgresql://app:geheim@db/shop" } })
  end)

  it("65 for a wrong registry, and nothing is changed", function()
    local wrong = lunadex.registry [[ on "public.t" { index { "a", uniqe = true }, index { "a", name = "fine" } } ]]
    assert.is_truthy(check(65, { "apply", wrong, "--target", server:url(database) }).stderr:find("uniqe", 1, true))
    wrong = lunadex.registry [[
      on "public.t" { index { "nope" }, index { "a", name = "fine" } }
      on "public.nowhere" { index { "a" } } ]]
    check(65, { "apply", wrong, "--target", server:url(database) })
    local result = check(65, { "plan", "--json", wrong, "--target", server:url(database) })
    local rules = {}
    for _, finding in ipairs(result:json().findings) do rules[finding.rule] = finding.level end
    assert.same({ ["missing-relation"] = "error", ["unknown-column"] = "error" }, rules)
    assert.is_nil(server:indexes(database)["public.fine"])
    check(65, { "plan", "/does/not/exist.lua", "--target", server:url(database) })
  end)

  it("2 for changes, when asked", function()
    check(0, { "plan", path, "--target", server:url(database) })
    check(2, { "plan", "--detailed-exitcode", path, "--target", server:url(database) })
  end)

  it("5 when it cannot connect, with a word for what is wrong", function()
    local closed = shell.free_port()
    local result = check(5, { "plan", "--json", path, "--target",
      ("postgresql://app:geheim@127.0.0.1:%d/shop"):format(closed) })
    assert.equal("connect", result:events()[1].error.code)
    check(5, { "plan", path, "--target", ("host=127.0.0.1 port=%d password=geheim"):format(closed) })
    result = check(5, { "plan", "--json", path, "--target", server:url("no_such_database") })
    assert.equal("no_database", result:events()[1].error.code)
    result = check(5, { "plan", "--json", path, "--target", server:url(database, "no_such_role", "geheim") })
    assert.equal("authentication", result:events()[1].error.code)
    server:psql(database, "CREATE ROLE outsider LOGIN")
    local closed_database = server:create_database()
    server:psql(database, ('REVOKE CONNECT ON DATABASE "%s" FROM public'):format(closed_database))
    result = check(5, { "plan", path, "--target", server:url(closed_database, "outsider", "geheim") })
    assert.is_truthy(result.stderr:find("CONNECT", 1, true), tostring(result))
    server:drop_database(closed_database)
    server:psql(database, "DROP ROLE outsider")
    -- Nor is it tried again what stays as it is.
    result = check(5, { "apply", path, "--target", server:url("no_such_database") })
    assert.is_nil(result.stderr:find("attempt", 1, true), tostring(result))
    check(5, { "status", "--target", server:url("no_such_database") })
    check(5, { "snapshot", "--target", server:url("no_such_database") })
  end)

  it("4 when another run is at it", function()
    local other = server:create_database()
    server:psql(other, "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)")
    -- A writer's transaction keeps the first run waiting.
    local session = server:session(other, "writer")
    session:run("BEGIN; INSERT INTO t VALUES (0)")
    local first = lunadex.start { "apply", path, "--mode", "concurrent", "--target", server:url(other) }
    shell.eventually("the run lock", function()
      return server:value(other, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") ~= "0"
    end)
    local second = check(4, { "apply", path, "--target", server:url(other) })
    assert.is_truthy(second.stderr:find("pid", 1, true), tostring(second))
    session:run("COMMIT")
    session:close()
    local result = first:wait()
    assert.equal(0, result.status, result.stdout .. result.stderr)
    server:drop_database(other)
  end)

  it("6 through a pooler and on a standby", function()
    local replica = pg.start()
    local standby = replica:standby()
    replica:stop()
    assert.equal(6, lunadex.run({ "apply", path, "--target", standby:url() }).status)
    standby:stop()
    if shell.run("PATH=$PATH:/usr/sbin command -v pgbouncer") then
      local own = pg.start()
      local url = own:pgbouncer("postgres")
      local result = lunadex.run { "apply", path, "--target", url }
      assert.equal(6, result.status, tostring(result))
      own:stop()
    end
  end)

  it("130 and 143 when interrupted, and nothing invalid stays", function()
    for signal, status in pairs { INT = 130, TERM = 143 } do
      local other = server:create_database()
      server:psql(other, "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)")
      local session = server:session(other, "writer")
      session:run("BEGIN; INSERT INTO t VALUES (0)")
      local run = lunadex.start { "apply", path, "--mode", "concurrent", "--target", server:url(other) }
      shell.eventually("the run lock", function()
        return server:value(other, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") ~= "0"
      end)
      shell.sleep(0.5)
      run:kill(signal)
      shell.sleep(0.2)
      -- As long as the writer is there, nothing can be dropped from its table.
      session:run("COMMIT")
      session:close()
      local result = run:wait(30)
      assert.equal(status, result.status, result.stdout .. result.stderr)
      assert.equal("0", server:value(other, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
      assert.equal("0", server:value(other, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))
      server:drop_database(other)
    end
  end)

  it("130 at once when interrupted while it connects", function()
    -- The kernel takes the connection, and the server that sleeps does not answer.
    local own = pg.start()
    local postmaster = own:value("postgres", "SELECT pg_read_file('postmaster.pid')"):match "%d+"
    shell.run("kill -STOP " .. postmaster)
    local run = lunadex.start { "plan", path, "--target", own:url() }
    shell.sleep(0.5)
    run:kill "INT"
    local ok, result = pcall(run.wait, run, 4)
    shell.run("kill -CONT " .. postmaster)
    own:stop()
    assert.is_true(ok)
    assert.equal(130, result.status, result.stdout .. result.stderr)
  end)

  it("6 where the role's transactions are read-only, and says that it is the role's", function()
    server:psql(database, "CREATE ROLE reader LOGIN; ALTER ROLE reader SET default_transaction_read_only = on")
    local result = check(6, { "apply", path, "--target", server:url(database, "reader", "geheim") })
    server:psql(database, "DROP ROLE reader")
    assert.is_truthy(result.stderr:find("default_transaction_read_only", 1, true), tostring(result))
    assert.is_nil(result.stderr:find("primary", 1, true), tostring(result))
  end)

  it("6 where the right to compare expressions is missing", function()
    server:psql(database, "CREATE ROLE ldx_limited LOGIN; CREATE TABLE mine (a int); CREATE INDEX ON mine ((a + 2));"
      .. "ALTER TABLE mine OWNER TO ldx_limited")
    server:psql(database, ("REVOKE TEMPORARY ON DATABASE %s FROM PUBLIC"):format(database))
    finally(function() server:psql(database, "DROP OWNED BY ldx_limited; DROP ROLE ldx_limited") end)
    local result = check(6, { "plan", lunadex.registry [[ on "mine" { index { expr "a + 1" } } ]], "--target",
      server:url(database, "ldx_limited") })
    assert.matches("GRANT TEMPORARY ON DATABASE", result.stderr, 1, true)
  end)

  it("1 when the result cannot be written, on a full disk say", function()
    for _, words in ipairs { "plan --json " .. path, "plan " .. path, "snapshot", "status --json" } do
      for _, place in ipairs { ">/dev/full", ">&-" } do
        local result = shell.call { "sh", "-c", ("%s %s --target '%s' %s"):format(lunadex.program, words,
          server:url(database), place) }
        assert.equal(1, result.status, words .. place)
        assert.is_truthy(result.stderr:find("cannot write standard output", 1, true), words .. place)
      end
    end
  end)

  it("goes on when nobody reads any more", function()
    local other = server:create_database()
    server:psql(other, "CREATE TABLE t (a int)")
    shell.run(("%s apply %s --target %s | true"):format(shell.quote(lunadex.program), shell.quote(path),
      shell.quote(server:url(other))))
    assert.is_truthy(server:indexes(other)["public.t_a"])
    server:drop_database(other)
  end)

  it("goes on when who reads does not read, and tells all in the end", function()
    local other = server:create_database()
    server:psql(other, "CREATE TABLE t (a int, b int)")
    -- Each event carries the description: the first one is more than a pipe holds.
    local long = lunadex.registry(([[ local text = ("long "):rep(30000)
      on "public.t" { index { "a", name = "t_a", description = text }, index { "b", name = "t_b", description = text },
        index { "a", "b", name = "t_ab", description = text } } ]]))
    local place = shell.directory "reader"
    local reader = shell.start({ "sh", "-c", ([[ %s apply %s --json --jobs 1 --target '%s' |
      { while [ ! -e %s/go ]; do sleep 0.02; done; cat; } ]]):format(lunadex.program, long, server:url(other), place) })
    shell.eventually("all are built and the sessions gone", function()
      return server:value(other, [[SELECT count(*) = 3 AND NOT EXISTS (SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend')
        FROM pg_index WHERE indrelid = 't'::regclass AND indisvalid]]) == "t"
    end)
    shell.write_file(place .. "/go", "")
    local events = lunadex.result(reader:wait()):events()
    assert.equal(3, events[#events].summary.created)
    server:drop_database(other)
  end)
end)
