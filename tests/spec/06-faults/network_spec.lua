-- The link to the server is cut, reset, or goes silent, in every phase of a run.
local core = require "lunadex.core"
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"

-- What the client sends in the phases of a run, in their order. Where a status stands the run lock goes with the link,
-- and the run ends so: its next statement could meet another run's.
local connects = { text = "application_name", what = "connects" }
local locks = { text = "pg_try_advisory_lock", what = "takes the run lock" }
local reads = { text = "pg_catalog.pg_opclass", what = "reads the catalog" }
local resolves = { text = "pg_temp", what = "asks what the declarations mean" }
local builds = { text = 'CREATE INDEX CONCURRENTLY "t_x_ldx_new"', what = "builds" }
local looks_at_builds = { text = "pg_stat_activity a ON a.pid = w.pid", status = 1, what = "looks at its builds" }
local swaps = { text = 'RENAME TO "t_x_ldx_old"', what = "swaps" }
local drops = { text = 'DROP INDEX CONCURRENTLY "public"."t_x_ldx_old"', what = "drops" }

-- An index that is kept, and is known for what it is declared to be only where the server has been asked.
local kept = "CREATE TABLE v (LIKE t); CREATE INDEX v_p ON v (a) WHERE b IN (1, 2);"
local keeps = [[ on "v" { index { "a", where = "b in (1, 2)", name = "v_p" } } ]]

local phases = { connects, locks, reads, resolves, builds, looks_at_builds, swaps, drops }

describe("the network", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local scene, server, database, registry, link, v_p

  before_each(function()
    scene = faults.scene { schema = kept, registry = keeps }
    server, database, registry = scene.server, scene.database, scene.registry
    v_p = server:value(database, "SELECT 'v_p'::regclass::oid")
    link = proxies.start(server)
  end)
  after_each(function()
    link:close()
    scene:close()
  end)

  local function apply()
    return lunadex.start { "apply", registry, "--mode", "concurrent", "--json", "--fail-on", "any", "--target",
      link:url(database) }
  end

  local function ends_well(run)
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    faults.settled(server, database, registry)
    assert.equal(v_p, server:value(database, "SELECT 'v_p'::regclass::oid"), "what was to be kept was replaced")
    scene:no_gap()
    return result
  end

  for _, how in ipairs { "cut", "reset" } do
    for _, when in ipairs(faults.long and { "before", "after" } or { how == "cut" and "after" or "before" }) do
      it(("%s in phase after phase, %s a statement is sent: the same run gets there"):format(how, when), function()
        local survived = {}
        for _, phase in ipairs(phases) do
          if not phase.status then survived[#survived + 1] = phase end
        end
        for _, phase in ipairs(survived) do link:trap(how, when, phase.text) end
        local run = apply()
        for _ in ipairs(survived) do link:fired() end
        ends_well(run)
      end)
    end

    for i, phase in ipairs(phases) do
      if phase.status and (faults.long or how == "cut") then
        local when = (i % 2 == 0) == (how == "cut") and "before" or "after"
        it(("%s while it %s, %s that is sent: the run ends, and the next one gets there"):format(how, phase.what, when),
          function()
            link:trap(how, when, phase.text)
            local result = lunadex.result(apply():wait())
            link:fired()
            assert.equal(phase.status, result.status, tostring(result))
            assert.same({}, faults.damage(server, database))
            faults.converges(server, database, registry)
            scene:no_gap()
          end)
      end
    end
  end

  it("silent in phase after phase, and back again: the run goes on as if nothing had been", function()
    for _, phase in ipairs(phases) do link:trap("stall", "before", phase.text) end
    local run = apply()
    local stalled = {}
    for _, phase in ipairs(phases) do
      table.insert(stalled, link:fired())
      assert.is_true(run:running())
      -- Builds are looked at only while there are some.
      if phase ~= builds then
        for _, port in ipairs(stalled) do link:resume(port) end
        stalled = {}
      end
    end
    ends_well(run)
  end)

  it("silent while it builds: it is told since when, and for how long it was", function()
    local gate = faults.close_gate(server, database)
    local run = apply()
    gate:reached()
    link:make "stall"
    shell.eventually("the silence to be told", function()
      return run:stdout():find "the server has not answered since %d%d:%d%d:%d%dZ"
    end)
    link:make "resume"
    shell.eventually("its end to be told", function()
      return run:stdout():find "the server answers again, after %d+ s"
    end)
    gate:open()
    ends_well(run)
  end)

  for _, phase in ipairs { "building", "waiting for old snapshots" } do
    for _, how in ipairs(faults.long and { "cut", "reset", "stall" } or { phase == "building" and "cut" or "stall" }) do
      it(("%s in the middle of %s: the server goes on, and that build is the one"):format(how, phase), function()
        local gate = faults.close_gate(server, database)
        local run = apply()
        local builder = gate:reached()
        local built = server:value(database, "SELECT 't_x_ldx_new'::regclass::oid")
        local old
        if phase ~= "building" then
          old = faults.snapshot(server, database)
          gate:open()
          builder = faults.phase(server, database, phase)
        end
        assert.equal(1, link:make(how, builder))
        if how ~= "stall" then
          shell.eventually("the run to find the build", function()
            return run:stdout():find("is being built by pid " .. builder, 1, true)
          end)
        end
        gate:open()
        if old then old:close() end
        faults.holds(server, database, "the build to end", "SELECT " .. faults.has("t_x_ldx_new") .. " OR "
          .. faults.has("t_x", "0"))
        if how == "stall" then link:make "resume" end
        ends_well(run)
        assert.equal(built, server:value(database, "SELECT 't_x'::regclass::oid"))
      end)
    end
  end

  it("not there when the run begins: each attempt is told, and it gets there when it is", function()
    link:refuse(true)
    local run = apply()
    shell.eventually("the first attempt to be told", function()
      return run:stderr():find "attempt 1 failed, next in [^,]*, for up to 60 s in all: "
    end)
    link:refuse(false)
    ends_well(run)
  end)

  it("not there: what only reads says so at once, and so does a run that is to try once", function()
    link:refuse(true)
    for _, words in ipairs { { "plan" }, { "status" }, { "apply", "--retries", "1" }, { "apply", "--dry-run" } } do
      if words[1] ~= "status" then table.insert(words, 2, registry) end
      local result = lunadex.run { words[1], "--target", link:url(database), table.unpack(words, 2) }
      assert.equal(5, result.status, tostring(result))
      assert.is_nil(result.stderr:find("attempt", 1, true), tostring(result))
    end
  end)

  it("gone for good while it builds: the run gives up, and the next one takes the build over", function()
    local gate = faults.close_gate(server, database)
    local run = apply()
    gate:reached()
    local built = server:value(database, "SELECT 't_x_ldx_new'::regclass::oid")
    link:refuse(true)
    link:make "cut"
    local result = lunadex.result(run:wait())
    assert.equal(1, result.status, tostring(result))
    local next_run = lunadex.start { "apply", registry, "--target", server:url(database) }
    shell.eventually("the next run to find the build", function()
      return next_run:stdout():find("being built by", 1, true)
    end)
    gate:open()
    ends_well(next_run)
    assert.equal(built, server:value(database, "SELECT 't_x'::regclass::oid"))
  end)

  it("swallows a client: the server looks for its end, and does not keep its lock for hours", function()
    local db <close> = assert(core.open(server:url(database), { jobs = 1 }))
    db:query [[SELECT current_setting('tcp_keepalives_idle')::int + current_setting('tcp_keepalives_interval')::int
      * current_setting('tcp_keepalives_count')::int AS seconds]]
    local event
    repeat event = assert(db:poll(60), "no answer") until event.event == "done"
    assert.is_true(event.ok, tostring(event.error))
    assert.equal(90, event.result[1].seconds)
  end)

  it("cut while an index is dropped: what brings it back has been told", function()
    server:psql(database, "CREATE INDEX u_stray ON u (b)")
    link:trap("cut", "after", 'DROP INDEX CONCURRENTLY "public"."u_stray"')
    local result = lunadex.result(lunadex.start({ "apply", registry, "--drop-strays", "--quiet", "--target",
      link:url(database) }):wait())
    link:fired()
    assert.equal(0, result.status, tostring(result))
    assert.matches("u_stray; to bring it back: CREATE INDEX u_stray ON public.u USING btree (b)", result.stderr, 1,
      true)
    faults.settled(server, database, registry)
  end)

  -- Both texts stand in the server's queue: that of the dead client is first.
  for what, case in pairs {
    swap = { lock = "ALTER INDEX t_x SET (fillfactor = 90)", text = '%RENAME TO "t_x_ldx_old"%' },
    build = { lock = "LOCK TABLE u IN SHARE MODE", text = 'CREATE INDEX CONCURRENTLY "u_ab"%' },
  } do
    it(("cut while a %s waits for its lock: it is done once, and counts"):format(what), function()
      local stalled
      if what == "build" then
        link:trap("stall", "before", 'CREATE INDEX CONCURRENTLY "u_ab"')
      end
      local holder = server:session(database, "holder")
      if what == "swap" then holder:run("BEGIN; " .. case.lock) end
      local run = lunadex.start { "apply", registry, "--mode", "concurrent", "--json", "--fail-on", "any", "--only",
        what == "swap" and "t_x" or "u_ab", "--target", link:url(database) }
      if what == "build" then
        stalled = link:fired()
        holder:run("BEGIN; " .. case.lock)
        link:resume(stalled)
      end
      local waiting = ([[SELECT pid FROM pg_stat_activity WHERE query LIKE '%s' AND wait_event_type = 'Lock'
        AND datname = current_database() ORDER BY query_start]]):format(case.text)
      local pid = shell.eventually("it to wait", function() return server:value(database, waiting) end)
      link:make("cut", pid)
      shell.eventually("the next attempt", function() return run:stdout():find('"retry"', 1, true) end)
      shell.sleep(2.5) -- until it looks, and waits as well
      holder:close()
      local result = lunadex.result(run:wait())
      assert.equal(0, result.status, tostring(result))
      faults.converges(server, database, registry)
    end)
  end
end)
