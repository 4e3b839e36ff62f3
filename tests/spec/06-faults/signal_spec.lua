-- The program is told to stop: what it leaves, and what the next run makes of it. What it does to its exit status and
-- with a closed standard output is in 04-postgres/exit_codes_spec.lua.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"

describe("told to stop", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local scene, server, database, registry

  before_each(function()
    scene = faults.scene()
    server, database, registry = scene.server, scene.database, scene.registry
  end)
  after_each(function() scene:close() end)

  local function apply(url, more)
    local words = { "apply", registry, "--mode", "concurrent", "--json", "--target", url or server:url(database) }
    for key, value in pairs(more or {}) do words[key] = value end
    return lunadex.start(words)
  end

  local function heard(run)
    shell.eventually("the signal to be heard", function()
      return shell.read_file(("/proc/%d/status"):format(run.pid)):match "ShdPnd:%s*0+%s"
    end)
  end

  local signals = { INT = 130, TERM = 143, HUP = 129 }

  for signal, status in pairs(signals) do
    it("by SIG" .. signal .. " while it builds: nothing invalid stays", function()
      local gate = faults.close_gate(server, database)
      local run = apply()
      gate:reached()
      run:kill(signal)
      local result = lunadex.result(run:wait())
      assert.equal(status, result.status, tostring(result))
      assert.same({}, faults.damage(server, database))
      assert.matches('"event":"stopping"[^\n]*"signal":' .. status - 128, result.stdout)
      gate:open()
      faults.converges(server, database, registry)
      scene:no_gap()
    end)
  end

  it("twice in one moment, as by a wrapper that forwards what the terminal sends anyway: that is once", function()
    local gate = faults.close_gate(server, database)
    local run = apply()
    gate:reached()
    run:kill "INT"
    run:kill "INT"
    local result = lunadex.result(run:wait())
    assert.equal(130, result.status, tostring(result))
    assert.same({}, faults.damage(server, database))
    gate:open()
    faults.converges(server, database, registry)
  end)

  it("while it waits for old snapshots: nothing invalid stays", function()
    local gate = faults.close_gate(server, database)
    local run = apply()
    gate:reached()
    local old = faults.snapshot(server, database)
    gate:open()
    faults.phase(server, database, "waiting for old snapshots")
    run:kill "INT"
    local result = lunadex.result(run:wait())
    old:close()
    assert.equal(130, result.status, tostring(result))
    assert.same({}, faults.damage(server, database))
    faults.converges(server, database, registry)
    scene:no_gap()
  end)

  it("between a build and its swap: what was built is kept for the next run", function()
    local link = proxies.start(server)
    finally(function() link:close() end)
    link:trap("stall", "before", 'RENAME TO "t_x_ldx_old"')
    local run = apply(link:url(database))
    local port = link:fired()
    local built = server:value(database, "SELECT 't_x_ldx_new'::regclass::oid")
    run:kill "TERM"
    heard(run)
    link:resume(port)
    local result = lunadex.result(run:wait())
    assert.equal(143, result.status, tostring(result))
    faults.converges(server, database, registry)
    assert.equal(built, server:value(database, "SELECT 't_x'::regclass::oid"))
    scene:no_gap()
  end)

  it("while it drops what was replaced: the next run finishes that", function()
    local link = proxies.start(server)
    finally(function() link:close() end)
    link:trap("stall", "before", 'DROP INDEX CONCURRENTLY "public"."t_x_ldx_old"')
    local run = apply(link:url(database))
    local port = link:fired()
    local reader = server:session(database, "reader")
    reader:run "BEGIN; SELECT count(*) FROM t"
    link:resume(port)
    faults.holds(server, database, "the drop to wait", [[SELECT NOT indisvalid FROM pg_index
      WHERE indexrelid = 't_x_ldx_old'::regclass]])
    run:kill "INT"
    local result = lunadex.result(run:wait())
    assert.equal(130, result.status, tostring(result))
    -- Nobody can drop it as long as the reader is there: it is told how to.
    assert.is_truthy(result.stdout:find("DROP INDEX CONCURRENTLY", 1, true), tostring(result))
    reader:close()
    faults.converges(server, database, registry)
    scene:no_gap()
  end)

  it("by SIGHUP under nohup: it goes on", function()
    local gate = faults.close_gate(server, database)
    local run = apply(nil, { under = { "nohup" } })
    gate:reached()
    run:kill "HUP"
    gate:open()
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    faults.settled(server, database, registry)
    scene:no_gap()
  end)

  it("while the network is silent: it says so at once, and later for what it still waits", function()
    local gate = faults.close_gate(server, database)
    local link = proxies.start(server)
    finally(function()
      link:close()
      gate:open()
    end)
    local run = lunadex.start { "apply", registry, "--mode", "concurrent", "--target", link:url(database) }
    gate:reached()
    link:make "stall"
    run:kill "INT"
    shell.eventually("the signal to be told of", function()
      return run:stderr():find("stopping: what runs is cancelled and cleaned up; a second signal ends at once", 1, true)
    end)
    shell.eventually("it to say for what it waits", function()
      return run:stderr():find("still waiting for [^\n]*the build of t_x_ldx_new on public.t[,;]")
    end, 15)
    run:kill "INT"
    assert.equal(130, run:wait().status)
  end)

  it("by a second signal: out at once, and the next run takes the build over", function()
    local gate = faults.close_gate(server, database)
    local link = proxies.start(server)
    finally(function() link:close() end)
    local run = apply(link:url(database))
    gate:reached()
    local built = server:value(database, "SELECT 't_x_ldx_new'::regclass::oid")
    -- So that the first one does not come through.
    link:make "stall"
    run:kill "INT"
    heard(run)
    shell.sleep(0.5) -- so that the next is another press
    run:kill "INT"
    assert.equal(130, run:wait().status)
    -- As long as the network swallows its end, the server takes it for alive.
    link:close()
    gate:open()
    faults.converges(server, database, registry)
    assert.equal(built, server:value(database, "SELECT 't_x'::regclass::oid"))
    scene:no_gap()
  end)

  it("between the index of a key and its constraint: the index stays, and the next run takes it over", function()
    local link = proxies.start(server)
    finally(function() link:close() end)
    local text = lunadex.registry [[ on "t" { unique_constraint { "a", name = "t_key" } } ]]
    link:trap("stall", "before", 'ADD CONSTRAINT "t_key"')
    local run = lunadex.start { "apply", text, "--json", "--mode", "concurrent", "--target", link:url(database) }
    local port = link:fired()
    local built = server:value(database, "SELECT 't_key'::regclass::oid")
    local reader = server:session(database, "reader")
    reader:run "BEGIN; SELECT count(*) FROM t"
    link:resume(port)
    faults.holds(server, database, "the key to wait", [[SELECT EXISTS (SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND query LIKE '%ADD CONSTRAINT "t_key"%' AND wait_event_type = 'Lock')]])
    run:kill "INT"
    local result = lunadex.result(run:wait())
    assert.equal(130, result.status, tostring(result))
    reader:close()
    assert.equal(built, server:value(database, "SELECT 't_key'::regclass::oid"), tostring(result))
    faults.converges(server, database, text)
    assert.equal(built, server:value(database, "SELECT conindid FROM pg_constraint WHERE conname = 't_key'"))
  end)

  describe("while it builds an index in parts", function()
    local parts

    -- Where rows are, the build stands at the gate.
    before_each(function()
      server:psql(database, [[
        CREATE TABLE p (a int, b int) PARTITION BY RANGE (a);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (a);
        CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM (10) TO (20)]])
      parts = lunadex.registry [[ on "p" { index { expr "gate(b)", name = "p_x" } } ]]
    end)

    local function interrupted(meanwhile)
      local gate = faults.close_gate(server, database)
      local run = lunadex.start { "apply", parts, "--mode", "concurrent", "--json", "--target", server:url(database) }
      gate:reached()
      if meanwhile then meanwhile() end
      local began = os.time()
      run:kill "TERM"
      local result = lunadex.result(run:wait())
      gate:open()
      assert.equal(143, result.status, tostring(result))
      assert.is_true(os.time() - began < 10, tostring(result))
      return result
    end

    it("heads without a part go again", function()
      server:psql(database, "INSERT INTO p VALUES (1, 1)")
      interrupted()
      assert.same({}, faults.damage(server, database))
      assert.is_nil(server:value(database, "SELECT to_regclass('p_x')"))
      faults.converges(server, database, parts)
    end)

    it("a head with parts stays, is told, and the next run goes on from there", function()
      server:psql(database, "INSERT INTO p VALUES (11, 1)")
      local result = interrupted()
      assert.matches("p_x is incomplete: the parts that are finished are kept", result.stdout, 1, true)
      assert.is_nil(result.stdout:find("p2_gate_idx is incomplete", 1, true), tostring(result))
      local kept = "SELECT 'p1_gate_idx'::regclass::oid"
      local built = server:value(database, kept)
      assert.same({ "p_x is not valid" }, faults.damage(server, database))
      faults.converges(server, database, parts)
      assert.equal(built, server:value(database, kept))
    end)

    it("a head that cannot be dropped now is told, and holds nothing up", function()
      server:psql(database, "INSERT INTO p VALUES (1, 1)")
      local reader = server:session(database, "reader")
      local result = interrupted(function() reader:run "BEGIN; SELECT FROM p" end)
      assert.matches("p2_gate_idx could not be taken back now", result.stdout, 1, true)
      reader:close()
      faults.converges(server, database, parts)
    end)
  end)
end)
