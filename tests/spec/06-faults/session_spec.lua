-- Server processes end under the program: one of its sessions, or all of them with the server.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"

describe("the server ends", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local scene, server, database, registry

  before_each(function()
    scene = faults.scene()
    server, database, registry = scene.server, scene.database, scene.registry
  end)
  after_each(function() scene:close() end)

  local function apply(url)
    return lunadex.start { "apply", registry, "--mode", "concurrent", "--json", "--target",
      url or server:url(database) }
  end

  local function terminate(pid)
    assert.equal("t", server:value(database, ("SELECT pg_terminate_backend(%s)"):format(pid)))
    faults.holds(server, database, "the process to end",
      ("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s"):format(pid))
  end

  local function count(result, name)
    local n = 0
    for _, event in ipairs(result:events()) do
      if event.event == name then n = n + 1 end
    end
    return n
  end

  describe("a builder's session", function()
    it("while it scans the table: the same run builds again", function()
      local gate = faults.close_gate(server, database)
      local run = apply()
      terminate(gate:reached())
      gate:reached()
      gate:open()
      local result = lunadex.result(run:wait())
      assert.equal(0, result.status, tostring(result))
      assert.is_true(count(result, "retry") >= 1)
      faults.settled(server, database, registry)
      scene:no_gap()
    end)

    for _, phase in ipairs { "waiting for writers before build", "waiting for writers before validation",
      "waiting for old snapshots" } do
      it("while it is " .. phase .. ": the same run builds again", function()
        local blocker = phase:find "writers" and server:session(database, "writer")
        local gate = faults.close_gate(server, database)
        local run
        if phase == "waiting for writers before build" then
          gate:open()
          -- The lock of t is what the look before the build would see: the writer comes between the two.
          local link = proxies.start(server)
          finally(function() link:close() end)
          link:trap("stall", "before", 'CREATE INDEX CONCURRENTLY "t_x_ldx_new"')
          run = apply(link:url(database))
          local port = link:fired()
          blocker:run "BEGIN; INSERT INTO t VALUES (0, 0)"
          link:resume(port)
        else
          run = apply()
          gate:reached()
          -- Both begin when the look before the build, which would have waited for them, is over.
          if blocker then blocker:run "BEGIN; INSERT INTO t VALUES (0, 0)" end
          blocker = blocker or faults.snapshot(server, database)
          gate:open()
        end
        terminate(faults.phase(server, database, phase))
        shell.eventually("the retry", function() return run:stdout():find('"retry"', 1, true) end)
        blocker:close()
        local result = lunadex.result(run:wait())
        assert.equal(0, result.status, tostring(result))
        faults.settled(server, database, registry)
        scene:no_gap()
      end)
    end

    it("while it drops what was replaced: the same run drops on", function()
      local link = proxies.start(server)
      finally(function() link:close() end)
      link:trap("stall", "before", 'DROP INDEX CONCURRENTLY "public"."t_x_ldx_old"')
      local run = apply(link:url(database))
      local port = link:fired()
      -- Whoever reads the table comes too late to be waited for before the drop, and so is waited for in it.
      local reader = server:session(database, "reader")
      reader:run "BEGIN; SELECT count(*) FROM t"
      link:resume(port)
      terminate(shell.eventually("the drop to wait", function()
        return server:value(database, [[SELECT pid FROM pg_stat_activity
          WHERE query LIKE 'DROP INDEX CONCURRENTLY%' AND wait_event_type = 'Lock' AND datname = current_database()]])
      end))
      reader:close()
      local result = lunadex.result(run:wait())
      assert.equal(0, result.status, tostring(result))
      faults.settled(server, database, registry)
      scene:no_gap()
    end)
  end)

  describe("the session that watches and holds the run lock", function()
    local function lost(result)
      assert.equal(1, result.status, tostring(result))
      assert.is_truthy(tostring(result):find("run lock was lost", 1, true), tostring(result))
    end

    it("while something is built: the run stops, and leaves nothing invalid", function()
      local gate = faults.close_gate(server, database)
      local run = apply()
      gate:reached()
      terminate(faults.run_lock(server, database))
      lost(lunadex.result(run:wait()))
      assert.same({}, faults.damage(server, database))
      gate:open()
      faults.converges(server, database, registry)
      scene:no_gap()
    end)

    it("while the run waits to swap: what was built stays for the next run", function()
      local holder = server:session(database, "holder")
      holder:run "BEGIN; ALTER INDEX t_x SET (fillfactor = 90)"
      local run = apply()
      faults.holds(server, database, "the swap to wait", [[SELECT count(*) = 1 FROM pg_stat_activity
        WHERE query LIKE '%RENAME TO "t_x_ldx_old"%' AND wait_event_type = 'Lock' AND datname = current_database()]])
      local built = server:value(database, "SELECT 't_x_ldx_new'::regclass::oid")
      terminate(faults.run_lock(server, database))
      lost(lunadex.result(run:wait()))
      holder:close()
      faults.converges(server, database, registry)
      assert.equal(built, server:value(database, "SELECT 't_x'::regclass::oid"))
      scene:no_gap()
    end)

    it("while the run plans: nothing is begun", function()
      local link = proxies.start(server)
      finally(function() link:close() end)
      link:trap("stall", "before", "pg_catalog.pg_index")
      local run = apply(link:url(database))
      local port = link:fired()
      terminate(faults.run_lock(server, database))
      -- Another run may have the lock from now on.
      local other = server:session(database, "another run")
      other:run "SELECT pg_advisory_lock(1819635297, 6579576)"
      link:resume(port)
      local result = lunadex.result(run:wait())
      assert.equal(0, count(result, "build_started"), tostring(result))
      lost(result)
      other:close()
      faults.converges(server, database, registry)
      scene:no_gap()
    end)
  end)

  describe("altogether", function()
    for _, phase in ipairs { "building", faults.long and "waiting for old snapshots" or nil } do
      it("in the middle of " .. phase .. ": the next run completes it", function()
        local own = pg.start()
        finally(function() own:stop() end)
        own:psql("postgres", faults.schema)
        local gate = faults.close_gate(own, "postgres")
        local run = apply(own:url())
        gate:reached()
        if phase ~= "building" then
          local old = faults.snapshot(own, "postgres")
          gate:open()
          faults.phase(own, "postgres", phase)
          own:stop "immediate"
          pcall(old.close, old)
        else
          own:stop "immediate"
          pcall(gate.open, gate)
        end
        own:launch()
        -- The lock went with the server.
        local result = lunadex.result(run:wait())
        assert.equal(1, result.status, tostring(result))
        assert.equal("t", own:value("postgres", "SELECT " .. faults.has("t_x", "1")))
        faults.converges(own, "postgres", registry)
      end)
    end
  end)
  it("refuses more connections than the role may have: those that there are do all the work", function()
    local role = "few_" .. database
    server:psql(database, ([[CREATE ROLE %s LOGIN CONNECTION LIMIT 2; ALTER TABLE t OWNER TO %s;
      ALTER TABLE u OWNER TO %s; GRANT CREATE ON SCHEMA public TO %s]]):format(role, role, role, role))
    local two = lunadex.registry [[ on "t" { index { expr "gate(b)", name = "t_g" } }
      on "u" { index { expr "gate(b)", name = "u_g" } } ]]
    local gate = faults.close_gate(server, database)
    local run = lunadex.start { "apply", two, "--mode", "concurrent", "--jobs", "2", "--fail-on", "any", "--target",
      server:url(database, role) }
    gate:reached()
    shell.eventually("the other one to want a connection", function()
      return run:stdout():find("waits for a connection", 1, true)
    end)
    gate:open()
    local result = lunadex.result(run:wait())
    server:psql(database, ("REASSIGN OWNED BY %s TO postgres; DROP OWNED BY %s; DROP ROLE %s"):format(role, role, role))
    assert.equal(0, result.status, tostring(result))
    faults.settled(server, database, two)
  end)
end)
