-- What the other specs stand on.
local mongodb = require "support.mongodb"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("the shell helper", function()
  it("passes arguments, environment and input on as they are", function()
    local result = shell.call({ "sh", "-c", 'printf "%s|%s|" "$1" "$A"; cat; exit 3', "sh", "it's $HOME\n" }, {
      env = { A = "x y", HOME = false }, stdin = "in\0put",
    })
    assert.same({ status = 3, stdout = "it's $HOME\n|x y|in\0put", stderr = "" }, result)
  end)

  it("starts processes that can be interrupted", function()
    local process = shell.start { "sleep", "60" }
    assert.is_true(process:running())
    shell.eventually("the program to be itself", function()
      return shell.read_file(("/proc/%d/comm"):format(process.pid)) == "sleep\n"
    end)
    process:kill("INT")
    assert.equal(130, process:wait().status)
  end)
end)

describe("a private server", function()
  local reason = pg.missing()
  if reason then return pending(reason) end

  it("gives rows as they are", function()
    local rows = pg.shared():psql(nil, [[SELECT 1, NULL, '', E'a,"b"\nc', '\N '; SELECT ''; SELECT 2]])
    assert.same({ { "1", nil, "", 'a,"b"\nc', "\\N ", n = 5 }, { "", n = 1 }, { "2", n = 1 } }, rows)
    local none, message = pg.shared():try(nil, "SELECT 1/0")
    assert.is_nil(none)
    assert.matches("22012", message)
  end)

  it("keeps sessions open", function()
    local server = pg.shared()
    local database = server:create_database()
    server:psql(database, "CREATE TABLE t (a int)")
    local holder, waiter = server:session(database), server:session(database, "waiter")
    holder:run("BEGIN; LOCK t")
    waiter:send("SELECT count(*) FROM t")
    shell.eventually("the waiter to be blocked", function()
      return server:value(database, ("SELECT pg_blocking_pids(%d)"):format(waiter.pid)) == ("{%d}"):format(holder.pid)
    end)
    holder:close()
    assert.same({ { "0", n = 1 } }, waiter:wait())
    waiter:close()
  end)

  it("asks for a password, has a standby and a pooler, and restarts", function()
    local server = pg.start { auth = "scram-sha-256", settings = { work_mem = "5MB" } }
    assert.equal("5MB", server:value(nil, "SHOW work_mem"))
    local _, message = shell.run("psql -w -X -c 'SELECT 1' -d " .. server:url("postgres", "postgres", "wrong"))
    assert.matches("password authentication failed", message)
    local standby = server:standby()
    assert.equal("t", standby:value(nil, "SELECT pg_is_in_recovery()"))
    standby:stop()
    local url = server:pgbouncer()
    assert.matches("ERROR:  prepared statement", (select(2, shell.run("psql -X -c 'EXECUTE nothing' -d " .. url))))
    server:restart()
    assert.equal("1", server:value(nil, "SELECT 1"))
    server:stop()
    assert.is_nil((server:try(nil, "SELECT 1")))
  end)

  for _, version in ipairs(pg.versions()) do
    it("runs as version " .. version, function()
      if pg.missing(version) then return pending(pg.missing(version)) end
      assert.matches("^" .. version, pg.shared(version):value(nil, "SHOW server_version"))
    end)
  end
end)

describe("a private replica set", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end

  local function alive(pid) return (shell.run("kill -0 " .. pid)) end

  it("keeps the order of fields, and tells failures", function()
    local server = mongodb.shared()
    local database = server:create_database()
    server:insert(database, "t", { { _id = 1, b = "x" }, '{ "_id": 2, "b": { "$numberDecimal": "1.5" } }' })
    server:command(database, { "createIndexes", "t", indexes = {
      { name = "z", key = mongodb.document("z", 1, "a", -1, "m", "hashed") },
    } })
    server:command(database, '{ "createIndexes": "t", "indexes": [{ "key": { "b": 1, "a": 1 }, "name": "b" }] }')
    assert.equal('[{"v":2,"key":{"_id":1},"name":"_id_"},{"v":2,"key":{"z":1,"a":-1,"m":"hashed"},"name":"z"},'
      .. '{"v":2,"key":{"b":1,"a":1},"name":"b"}]', mongodb.json(server:indexes(database, "t")))
    assert.same({}, server:indexes(database, "none"))

    local none, message, code, failure = server:try(database, { "listIndexes", "none" })
    assert.same({ nil, 26, "NamespaceNotFound" }, { none, code, failure.codeName })
    assert.matches("none", message)
    assert.error_matches(function() server:command(database, { "listIndexes", "none" }) end, "none.*code 26")
    assert.error_matches(function() server:insert(database, "t", { { _id = 1 } }) end, "E11000")
    server:drop_database(database)
    assert.same({}, server:indexes(database, "t"))
  end)

  it("fills collections, and shows what is being built", function()
    local server = mongodb.shared()
    local database = server:create_database()
    server:command(database, { "createIndexes", "t", indexes = { { name = "a", key = { a = 1 } } } })
    server:fill(database, "t", 10000, { a = { ["$mod"] = { "$n", 7 } } })
    local found = server:command(database, { "find", "t", filter = { _id = 10000 } }).cursor.firstBatch
    assert.same({ { _id = 10000, a = 10000 % 7 } }, found)

    local function fail_point(mode)
      server:command("admin", { "configureFailPoint", "hangAfterStartingIndexBuild", mode = mode })
    end
    fail_point "alwaysOn"
    local build = server:send(database, { "createIndexes", "t", indexes = { { name = "b", key = { b = 1 } } } })
    shell.eventually("the build to begin", function()
      local last = server:indexes(database, "t")[3]
      return last and last.name == "b" and last.buildUUID
    end)
    assert.is_true(build:running())
    fail_point "off"
    assert.equal(1, build:wait().ok)
    assert.is_nil(server:indexes(database, "t")[3].buildUUID)
    local none, _, code = server:send(database, { "listIndexes", "none" }):wait()
    assert.same({ nil, 26 }, { none, code })
  end)

  it("is killed, comes back, steps down and stops", function()
    local server = mongodb.start { settings = { maxNumActiveUserIndexBuilds = 2 } }
    assert.equal(2, server:command("admin", { "getParameter", maxNumActiveUserIndexBuilds = 1 })
      .maxNumActiveUserIndexBuilds)
    server:insert("test", "t", { { a = 1 } })
    local pid = server.members[1].pid
    server:kill()
    assert.is_false(alive(pid))
    server:restart()
    assert.equal(1, server:command("test", { "count", "t" }).n)
    server:step_down()
    server:insert("test", "t", { { a = 2 } })
    assert.matches("Starting an election", server:log())
    assert.equal(1, server.members[1]:command("admin", { "ping" }).ok)
    pid = server.members[1].pid
    server:stop()
    assert.is_false(alive(pid))
    assert.is_nil((server.members[1]:try("admin", { "ping" })))
  end)

  it("of three has another primary when that steps down or dies", function()
    local server = mongodb.start { members = 3 }
    server:insert("test", "t", { { a = 1 } })
    local first = server:primary()
    local second = server:step_down()
    assert.not_equal(first, second)
    second:kill()
    local third = server:primary()
    assert.not_equal(second, third)
    server:insert("test", "t", { { a = 2 } })
    second:restart()
    assert.is_true(second:command("admin", { "hello" }).secondary)
    assert.equal(2, server:command("test", { "count", "t" }).n)
    local pids = {}
    for i, member in ipairs(server.members) do pids[i] = member.pid end
    server:stop()
    for _, pid in ipairs(pids) do assert.is_false(alive(pid)) end
  end)
end)

describe("the guard", function()
  local script = [[
    package.path = "tests/?.lua;" .. package.path
    local shell, servers = require "support.shell", require(arg[1])
    local server = servers.start()
    io.write(shell.scratch(), " ", (server.members or { server })[1].pid, "\n")
    io.flush()
    shell.sleep(600)
  ]]

  for _, name in ipairs { "support.postgres", "support.mongodb" } do
    it("stops servers and removes everything when the runner is killed: " .. name, function()
      local reason = require(name).missing()
      if reason then return pending(reason) end
      local file = shell.directory("guard") .. "/script.lua"
      shell.write_file(file, script)
      local process = shell.start { "lua5.4", file, name }
      local scratch, pid = shell.eventually("the server", function()
        return process:stdout():match("\n$") and process:stdout()
      end):match("(%S+) (%d+)")
      process:kill("KILL")
      shell.eventually("the directory to go", function() return not shell.run("test -e " .. scratch) end)
      assert.is_false((shell.run("kill -0 " .. pid)))
    end)
  end
end)
