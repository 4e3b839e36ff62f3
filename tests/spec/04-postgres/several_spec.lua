-- One registry over several databases: read side by side, all of them or none; changed under one budget.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("several databases", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, one, two

  before_each(function()
    server = pg.shared()
    one, two = server:create_database(), server:create_database()
    for _, database in ipairs { one, two } do
      server:psql(database, [[
        CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 1), (2, 2);
        CREATE TABLE u (a int, b int); INSERT INTO u VALUES (1, 1), (2, 2);
        CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
          AS 'BEGIN PERFORM pg_sleep(0.2); RETURN $1; END']])
    end
  end)
  after_each(function()
    server:drop_database(one)
    server:drop_database(two)
  end)

  local function block(name, url, declarations)
    return ("database %q { url = %q,\n%s\n}\n"):format(name, url, declarations)
  end

  local slow = [[
    on "public.t" { index { expr "slow(a)", name = "t_a" }, index { expr "slow(b)", name = "t_b" } },
    on "public.u" { index { expr "slow(a)", name = "u_a" }, index { expr "slow(b)", name = "u_b" } },]]
  local quick = [[ on "public.t" { index { "a", name = "t_a" } }, ]]

  local function registry(first, second)
    return lunadex.registry(block("one", server:url(one), first or quick) .. block("two", server:url(two),
      second or quick))
  end

  local function indexes(database)
    return server:value(database, [[SELECT count(*) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
      WHERE indisvalid AND relname ~ '^[tu]_']])
  end

  local function locks()
    return server:value("postgres", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
  end

  it("share one budget of jobs, and one with much to do does not keep another waiting", function()
    local more = slow:gsub("_[ab]\"", "%0 .. \"2\""):gsub("slow%(", "1 + slow(")
    local result = lunadex.run { "apply", registry(slow .. more, slow), "--mode", "concurrent", "--jobs", "3",
      "--json" }
    assert.equal(0, result.status, tostring(result))
    local active, most, seen, done = { one = 0, two = 0 }, 0, 0, {}
    local waiting, waits = {}, 0 -- what only waits for other sessions has left its place
    local function set_waiting(event, is)
      local item = event.database .. event.number
      if is ~= (waiting[item] or false) then waits = waits + (is and 1 or -1) end
      waiting[item] = is
    end
    local all = result:events()
    for i, event in ipairs(all) do
      if i < #all then assert.is_truthy(event.database == "one" or event.database == "two", event.event) end
      if event.event == "build_started" then active[event.database] = active[event.database] + 1 end
      if event.event == "build_finished" then
        active[event.database] = active[event.database] - 1
        set_waiting(event, false)
        if done[#done] ~= event.database then done[#done + 1] = event.database end
      end
      if event.event == "progress" then
        set_waiting(event, event.blocker ~= nil and (event.draining or not event.started))
      end
      most = math.max(most, active.one + active.two - waits)
      if active.one > 0 and active.two > 0 then seen = seen + 1 end
      if event.event == "run_finished" and i < #all then
        assert.equal(event.database == "one" and 8 or 4, event.summary.created)
        -- The one with less to do is ready first.
        done.first = done.first or event.database
      end
    end
    assert.equal("two", done.first)
    assert.equal(3, most)
    assert.is_true(seen > 3)
    assert.equal("run_finished", all[#all].event)
    assert.equal(12, all[#all].summary.created)
    assert.equal("8", indexes(one))
    assert.equal("4", indexes(two))
  end)

  it("take turns even at one job", function()
    local result = lunadex.run { "apply", registry(slow, quick), "--jobs", "1", "--json" }
    assert.equal(0, result.status, tostring(result))
    local order = {}
    for _, event in ipairs(result:events()) do
      if event.event == "build_started" then order[#order + 1] = event.database end
    end
    assert.same({ "one", "two", "one", "one", "one" }, order)
  end)

  it("are told apart in every line", function()
    server:psql(two, "INSERT INTO t VALUES (1, 1)")
    local path = registry([[ on "public.t" { index { "a", name = "t_a" }, index { "b", name = "t_b" } }, ]],
      [[ on "public.t" { index { "a", name = "t_a", unique = true, critical = true } }, ]])
    local result = lunadex.run { "apply", path }
    assert.equal(3, result.status, tostring(result))
    for line in result.stdout:gmatch "[^\n]+" do
      assert.is_truthy(line:find "^one: " or line:find "^two: " or line:find "^total 3, created 2", line)
    end
    assert.is_truthy(result.stdout:find("one: [1/2] public.t t_a: created", 1, true), result.stdout)
    assert.is_truthy(result.stdout:find("two: [1/1] public.t t_a (critical): failed", 1, true), result.stdout)
    assert.is_truthy(result.stderr:find("lunadex: two: critical: public.t t_a: ", 1, true), result.stderr)
    assert.is_truthy(result.stderr:find("--database two --only t_a", 1, true), result.stderr)
    -- A plan has a heading for each, in the registry's order.
    result = lunadex.run { "plan", path }
    assert.matches("^one: target .*one: Plan: .*two: target .*two: Plan: ", result.stdout)
    result = lunadex.run { "plan", "--quiet", path }
    assert.equal("one: Plan: nothing to do, 2 kept.\n\ntwo: Plan: 1 to create, 0 kept.\n", result.stdout)
  end)

  it("are all read, or nothing is said or done", function()
    local path = lunadex.registry(block("one", server:url(one), quick)
      .. block("nowhere", server:url("no_such_one"), quick) .. block("two", server:url(two), quick)
      .. block("nobody", server:url(two, "no_such_role"), quick))
    for _, command in ipairs { "plan", "apply" } do
      local result = lunadex.run { command, path }
      assert.equal(5, result.status, tostring(result))
      assert.equal("", result.stdout)
      assert.matches("nowhere: .*no_such_one", result.stderr)
      assert.matches("nobody: .*no_such_role", result.stderr)
      result = lunadex.run { command, path, "--json" }
      assert.equal(5, result.status, tostring(result))
      local events = result:events()
      assert.same({ "nowhere", "nobody" }, { events[1].database, events[2].database })
      assert.same({ "no_database", "authentication" }, { events[1].error.code, events[2].error.code })
      assert.equal(2, #events)
    end
    assert.equal("0", indexes(one))
    assert.equal("0", indexes(two))
  end)

  it("are connected to side by side", function()
    -- The kernel takes the connections, and the server that sleeps does not answer.
    local own = pg.start()
    local postmaster = own:value("postgres", "SELECT pg_read_file('postmaster.pid')"):match "%d+"
    shell.run("kill -STOP " .. postmaster)
    local blocks = {}
    for i = 1, 4 do blocks[i] = block("b" .. i, own:url() .. "?connect_timeout=2", quick) end
    local began = shell.now()
    local result = lunadex.run { "plan", lunadex.registry(table.concat(blocks)) }
    local took = shell.now() - began
    shell.run("kill -CONT " .. postmaster)
    own:stop()
    assert.equal(5, result.status, tostring(result))
    assert.is_true(took < 6, tostring(took))
  end)

  it("are locked together or not at all", function()
    local holder = server:session(two, "first run")
    finally(function() holder:close() end)
    holder:run "SELECT pg_advisory_lock(1819635297, 6579576)"
    local result = lunadex.run { "apply", registry() }
    assert.equal(4, result.status, tostring(result))
    assert.is_truthy(result.stderr:find(("two: pid %d postgres"):format(holder.pid), 1, true), tostring(result))
    assert.equal("0", indexes(one))
    -- Who waits for one holds no other.
    local run = lunadex.start { "apply", registry(), "--wait", "--json" }
    shell.eventually("the run to wait", function() return run:stdout():find('"waiting_for_lock"', 1, true) end)
    assert.is_truthy(run:stdout():find('"database":"two"', 1, true), run:stdout())
    shell.eventually("the other lock to be free", function() return locks() == "1" end, 5)
    local alone = lunadex.run { "apply", registry(), "--database", "one", "--wait", "5s" }
    assert.equal(0, alone.status, tostring(alone))
    holder:run "SELECT pg_advisory_unlock_all()"
    result = lunadex.result(run:wait(30))
    assert.equal(0, result.status, tostring(result))
    assert.equal("1", indexes(two))
    assert.equal("0", locks())
  end)

  it("wait for each other in whatever order they are named, and get there", function()
    local runs = {}
    for i = 1, 4 do
      local a, b = block("one", server:url(one), quick), block("two", server:url(two), quick)
      runs[i] = lunadex.start { "apply", lunadex.registry(i % 2 == 0 and a .. b or b .. a), "--wait", "1min" }
    end
    for _, run in ipairs(runs) do
      local result = lunadex.result(run:wait(90))
      assert.equal(0, result.status, tostring(result))
    end
  end)

  it("may not be one and the same", function()
    local path = lunadex.registry(block("one", server:url(one), quick)
      .. block("again", ("host=localhost port=%d user=postgres dbname=%s"):format(server.port, one), quick))
    local result = lunadex.run { "apply", path, "--wait" }
    assert.equal(65, result.status, tostring(result))
    assert.is_truthy(result.stderr:find('"one" and "again" of the registry are the same', 1, true), tostring(result))
    assert.equal("0", indexes(one))
  end)

  it("go on when one has lost its lock", function()
    local run = lunadex.start { "apply", registry(slow, slow), "--mode", "concurrent", "--json" }
    shell.eventually("builds in both", function()
      local text = run:stdout()
      return text:find('"build_started"[^\n]*"one"') and text:find('"build_started"[^\n]*"two"')
    end)
    server:psql(one, [[SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 6579576
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())]])
    local result = lunadex.result(run:wait(60))
    assert.equal(1, result.status, tostring(result))
    assert.equal("4", indexes(two))
    assert.is_true(tonumber(indexes(one)) < 4)
    assert.equal("0", server:value(one, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
    assert.matches("one: the run lock was lost", result.stderr)
  end)

  it("are all interrupted, and nothing invalid stays", function()
    local run = lunadex.start { "apply", registry(slow, slow), "--mode", "concurrent", "--json" }
    shell.eventually("builds in both", function()
      local text = run:stdout()
      return text:find('"build_started"[^\n]*"one"') and text:find('"build_started"[^\n]*"two"')
    end)
    run:kill "INT"
    local result = lunadex.result(run:wait(30))
    assert.equal(130, result.status, tostring(result))
    for _, database in ipairs { one, two } do
      assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
    end
    assert.equal("0", locks())
    local events = result:events()
    assert.equal(8, events[#events].summary.total)
    assert.equal(8 - events[#events].summary.created, events[#events].summary.cancelled)
  end)
end)
