-- What the other specs stand on.
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

describe("the guard", function()
  it("stops servers and removes everything when the runner is killed", function()
    local script = [[
      package.path = "tests/?.lua;" .. package.path
      local shell, pg = require "support.shell", require "support.postgres"
      local server = pg.start()
      io.write(shell.scratch(), " ", server.pid, "\n")
      io.flush()
      shell.sleep(600)
    ]]
    if pg.missing() then return pending(pg.missing()) end
    local process = shell.start { "lua5.4", "-e", script }
    local scratch, pid = shell.eventually("the server", function()
      return process:stdout():match("\n$") and process:stdout()
    end):match("(%S+) (%d+)")
    process:kill("KILL")
    shell.eventually("the directory to go", function() return not shell.run("test -e " .. scratch) end)
    assert.is_false((shell.run("kill -0 " .. pid)))
  end)
end)
