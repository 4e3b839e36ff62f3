-- Reading while somebody locks what is read: whom it waits for is said, and what comes of it is right.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("reading beside a lock", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url, holder

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
    server:psql(database, [[CREATE TABLE t (a int, b text); CREATE INDEX t_b ON t (b);
      CREATE TABLE other (a int); CREATE INDEX other_p ON other (a) WHERE a > 0]])
    holder = server:session(database, "holder")
  end)
  after_each(function()
    holder:close()
    server:drop_database(database)
  end)

  -- Starts a command, and waits until it has said this on standard error.
  local function start_until(text, arguments)
    table.move({ "--target", url }, 1, 2, #arguments + 1, arguments)
    local process = lunadex.start(arguments)
    shell.eventually("the command to say: " .. text, function()
      return process:stderr():find(text, 1, true) or not process:running()
    end)
    assert.matches(text, process:stderr(), 1, true)
    assert.is_true(process:running())
    return process
  end

  local function ends(process, status)
    local result = lunadex.result(process:wait())
    assert.equal(status, result.status, tostring(result))
    return result
  end

  local locked = 'waiting: public.other is locked by pid %d postgres@127.0.0.1 "holder", idle in transaction since 0:0'
  local registry = [[ on "t" { index { "a", name = "t_a" } } ]]

  for _, command in ipairs { "plan", "apply", "snapshot" } do
    it("says whom " .. command .. " waits for, also on a relation that is not declared", function()
      holder:run("BEGIN; LOCK other IN ACCESS EXCLUSIVE MODE")
      local process = start_until(locked:format(holder.pid),
        command == "snapshot" and { command } or { command, lunadex.registry(registry) })
      holder:run("ROLLBACK")
      local result = ends(process, 0)
      assert.matches(command == "plan" and "1 to create" or command == "apply" and "created 1" or "other_p",
        result.stdout, 1, true)
      assert.is_nil(result.stderr:find("attempt", 1, true))
    end)
  end

  it("says who stands before it in the queue", function()
    local reader = server:session(database, "reader")
    reader:run("BEGIN; LOCK other IN ACCESS SHARE MODE")
    holder:send("BEGIN; LOCK other IN ACCESS EXCLUSIVE MODE")
    shell.eventually("the holder to wait", function()
      return server:value(database, "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = " .. holder.pid) == "1"
    end)
    local process = start_until("public.other is about to be locked by pid " .. holder.pid,
      { "plan", lunadex.registry(registry) })
    reader:close()
    holder:wait()
    holder:run("ROLLBACK")
    ends(process, 0)
  end)

  describe("of a prepared transaction", function()
    local own

    before_each(function()
      own = pg.start { settings = { max_prepared_transactions = 2 } }
      own:psql("postgres", [[CREATE TABLE other (a int); CREATE INDEX other_p ON other (a) WHERE a > 0;
        CREATE TABLE t (a int)]])
      url = own:url "postgres"
    end)
    after_each(function() own:stop() end)

    it("says which it waits for", function()
      own:psql("postgres", "BEGIN; LOCK other IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'forgotten'")
      local process = start_until('is locked by postgres "prepared transaction forgotten"',
        { "plan", lunadex.registry(registry) })
      own:psql("postgres", "ROLLBACK PREPARED 'forgotten'")
      ends(process, 0)
    end)

    it("says to whoever applies that it blocks, and makes up no process for it", function()
      own:psql("postgres", "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'forgotten'")
      local process = lunadex.start { "apply", "--json", lunadex.registry [[ on "t" { index { "a", name = "t_a" } } ]],
        "--target", url }
      local line = shell.eventually("the run to name it", function()
        return process:stdout():match '[^\n]*"event":"waiting"[^\n]*\n'
      end)
      local event = lunadex.result { stdout = line, stderr = "" }:events()[1]
      assert.equal('postgres "prepared transaction forgotten"', event.blocker:match "^[^,]*")
      assert.is_nil(event.blocker_pid)
      own:psql("postgres", "ROLLBACK PREPARED 'forgotten'")
      ends(process, 0)
    end)

    it("shows in status that it blocks a build, and not the session that left it", function()
      local left, builder = own:session("postgres", "left it"), own:session("postgres", "builder")
      left:run("BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'forgotten'")
      builder:send "CREATE INDEX CONCURRENTLY new ON other (a)"
      local build
      shell.eventually("the build to wait", function()
        for _, row in ipairs(lunadex.run({ "status", "--json", "--target", url }):json().builds) do
          if row.blocker then build = row end
        end
        return build
      end)
      assert.same({ "public.other", "new" }, { build.relation, build.name })
      assert.matches("^postgres \"prepared transaction forgotten\", since 0:%d%d: "
        .. "COMMIT PREPARED or ROLLBACK PREPARED 'forgotten' ends it$", build.blocker)
      -- Whoever may not see what others do still sees where.
      own:psql("postgres", "CREATE ROLE reader LOGIN")
      local status = lunadex.run({ "status", "--json", "--target", own:url("postgres", "reader") }):json()
      local seen, unfinished = status.builds[1], status.invalid[1]
      assert.same({ 1, "public.other", builder.pid }, { #status.builds, seen.relation, seen.pid })
      assert.same({ 1, "new", "being_built", builder.pid },
        { #status.invalid, unfinished.name, unfinished.kind, unfinished.pid })
      own:psql("postgres", "ROLLBACK PREPARED 'forgotten'")
      builder:wait()
      builder:close()
      left:close()
    end)
  end)

  it("asks the server again after a lock that was not had, and keeps what is live as it is declared", function()
    holder:run("BEGIN; LOCK t IN ACCESS EXCLUSIVE MODE")
    local path = lunadex.registry [[ on "t" { index { key { "b", collate = "default" }, name = "t_b" } } ]]
    local process = start_until("waiting: public.t is locked by pid " .. holder.pid, { "plan", path, "--json" })
    shell.eventually("an attempt to fail", function()
      return process:stderr():find("attempt 1 failed, .*: public.t is locked by pid " .. holder.pid)
    end)
    holder:run("ROLLBACK")
    assert.equal(1, ends(process, 0):json().summary.keep)
  end)

  if faults.long then
    it("ends with the name of who has it, when it has been tried often enough", function()
      holder:run("BEGIN; LOCK other IN ACCESS EXCLUSIVE MODE")
      local result = lunadex.run { "plan", lunadex.registry(registry), "--target", url }
      assert.equal(1, result.status, tostring(result))
      assert.matches("lunadex: public.other is locked by pid " .. holder.pid, result.stderr, 1, true)
    end)
  end

  it("stops at a signal", function()
    holder:run("BEGIN; LOCK other IN ACCESS EXCLUSIVE MODE")
    local process = start_until(locked:format(holder.pid), { "plan", lunadex.registry(registry) })
    process:kill "INT"
    ends(process, 130)
  end)
end)
