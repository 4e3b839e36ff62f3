-- One run at a time in a database: who comes second is told who is first, or waits for the first one's end.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("the run lock", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url, path, holder

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)")
    url = server:url(database)
    path = lunadex.registry [[ on "public.t" { index { "a", name = "t_a" } } ]]
  end)
  after_each(function()
    if holder then holder:close() end
    holder = nil
    server:drop_database(database)
  end)

  local function hold()
    holder = server:session(database, "first run")
    holder:run "SELECT pg_advisory_lock(1819635297, 6579576)"
  end

  -- The events so far of a run with --json that goes on.
  local function events(run)
    return lunadex.result({ stdout = run:stdout():match "^.*\n" or "", stderr = "" }):events()
  end

  local function waits(run)
    return shell.eventually("the run to wait", function()
      for _, event in ipairs(events(run)) do
        if event.event == "waiting_for_lock" then return event end
      end
    end)
  end

  it("ends who comes second at once, with a word on who holds it", function()
    hold()
    local result = lunadex.run { "apply", path, "--target", url }
    assert.equal(4, result.status, tostring(result))
    assert.is_truthy(result.stderr:find(("pid %d postgres"):format(holder.pid), 1, true), tostring(result))
    assert.is_truthy(result.stderr:find('"first run", since 0:0', 1, true), tostring(result))
    result = lunadex.run { "apply", path, "--target", url, "--json" }
    assert.equal(4, result.status, tostring(result))
    local failure = result:events()[1].error
    assert.equal("lock_held", failure.code)
    assert.matches('^pid %d+ postgres@127.0.0.1 "first run", since', failure.detail)
  end)

  it("is waited for with --wait, by asking again and again and never in the server", function()
    -- A build that waits for a writer: whoever blocked in the server would make it wait for ever, or deadlock.
    local writer = server:session(database, "writer")
    writer:run "BEGIN; INSERT INTO t VALUES (0)"
    local first = lunadex.start { "apply", path, "--mode", "concurrent", "--target", url, "--json" }
    shell.eventually("the first run's build", function()
      return server:value(database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") ~= "0"
        and first:stdout():find('"build_started"', 1, true)
    end)
    -- What stands after --wait is no time, but the registry.
    local second = lunadex.start { "apply", "--wait", path, "--target", url, "--json" }
    local third = lunadex.start { "apply", "--target", url, path, "--wait" }
    local event = waits(second)
    assert.matches('^pid %d+ postgres@127.0.0.1 "lunadex apply", since 0:', event.blocker)
    assert.equal(url, event.target)
    shell.sleep(2.5)
    assert.equal("0", server:value(database, [[SELECT count(*) FROM pg_locks
      WHERE locktype = 'advisory' AND NOT granted]]))
    assert.equal("0", server:value(database, [[SELECT count(*) FROM pg_stat_activity
      WHERE application_name = 'lunadex apply' AND state LIKE 'idle in%' AND datname = current_database()]]))
    writer:run "COMMIT"
    writer:close()
    for _, run in ipairs { first, second, third } do
      local result = lunadex.result(run:wait(60))
      assert.equal(0, result.status, tostring(result))
    end
    local names = {}
    for _, each in ipairs(events(second)) do
      if each.event ~= "waiting_for_lock" then names[#names + 1] = each.event end
    end
    -- Planned only after the wait: what the first one has built is there.
    assert.same({ "lock_taken", "run_started", "build_finished", "run_finished" }, names)
    assert.matches('another run holds the lock, this one waits: pid %d+ postgres', third:stdout())
    assert.matches("took the lock after ", third:stdout())
    assert.matches("total 1, created 0, skipped 1, failed 0", third:stdout())
  end)

  it("is given up after the time of --wait, with status 4", function()
    hold()
    local began = shell.now()
    local result = lunadex.run { "apply", path, "--wait", "2s", "--target", url }
    local took = shell.now() - began
    assert.equal(4, result.status, tostring(result))
    assert.is_true(took >= 2 and took < 10, tostring(took))
    assert.is_truthy(result.stderr:find(("pid %d postgres"):format(holder.pid), 1, true), tostring(result))
    assert.matches("still after 2", result.stderr)
    assert.is_nil(server:indexes(database)["public.t_a"])
    result = lunadex.run { "apply", path, "--wait=soon", "--target", url }
    assert.equal(64, result.status, tostring(result))
  end)

  it("is waited for by a run that can be interrupted", function()
    hold()
    for signal, status in pairs { INT = 130, TERM = 143 } do
      local run = lunadex.start { "apply", path, "--wait", "--target", url, "--json" }
      waits(run)
      local began = shell.now()
      run:kill(signal)
      local result = run:wait(10)
      assert.equal(status, result.status, result.stdout .. result.stderr)
      assert.is_true(shell.now() - began < 2)
    end
    assert.is_nil(server:indexes(database)["public.t_a"])
  end)

  it("is waited for by a run that survives the end of its session", function()
    hold()
    local run = lunadex.start { "apply", path, "--wait", "--target", url, "--json" }
    waits(run)
    server:psql(database, [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE application_name = 'lunadex apply' AND datname = current_database()]])
    shell.sleep(1.5)
    holder:close()
    holder = nil
    local result = lunadex.result(run:wait(30))
    assert.equal(0, result.status, tostring(result))
    assert.is_truthy(server:indexes(database)["public.t_a"])
  end)
end)
