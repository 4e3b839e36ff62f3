-- What the server does, as measured before any of this was designed, and what the program makes of it. Where a version
-- does otherwise one of these fails, and docs/safety.md is to be read again.
--
-- Elsewhere: M3 waiting_spec (old snapshots, limits of a role), M6 network_spec and signal_spec (the build goes on),
-- M9 04-postgres/apply_spec and partitions_spec, M11 meanwhile_spec.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("fact", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, watch

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, faults.schema)
  end)
  after_each(function()
    if watch then watch:stop() end
    watch = nil
    server:drop_database(database)
  end)

  local function apply(text, ...)
    return lunadex.start { "apply", lunadex.registry(text), "--mode", "concurrent", "--json", "--fail-on", "any",
      "--target", server:url(database), ... }
  end

  local function done(run)
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    assert.same({}, faults.damage(server, database))
    return result
  end

  local function valid(name)
    return server:value(database, "SELECT " .. faults.has(name)) == "t"
  end

  local function invalid(name)
    return server:value(database, ("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass('%s')"):format(
      name)) == "t"
  end

  local function tell(result, what)
    for _, event in ipairs(result:events()) do
      if event.event == what then return event end
    end
  end

  it("M1: two concurrent builds on one table end in a deadlock; the program never has two", function()
    local gate = faults.close_gate(server, database)
    local sessions = {}
    for i = 1, 2 do
      sessions[i] = server:session(database)
      sessions[i]:send(("CREATE INDEX CONCURRENTLY raw_%d ON t (gate(b))"):format(i))
      -- The first stands before the gate, the second behind the lock of the first.
      if i == 1 then gate:reached() end
    end
    faults.holds(server, database, "the second to wait", [[SELECT count(*) = 2 FROM pg_stat_activity
      WHERE query LIKE 'CREATE INDEX CONCURRENTLY raw%' AND wait_event_type = 'Lock']])
    gate:open()
    local deadlocks = 0
    for _, session in ipairs(sessions) do
      local ok, message = pcall(session.wait, session)
      if not ok and message:find("40P01", 1, true) then deadlocks = deadlocks + 1 end
      session:close()
    end
    assert.equal(1, deadlocks)
    server:psql(database, "DROP INDEX IF EXISTS raw_1, raw_2")

    local text = [[ on "t" {
      index { "b", name = "t_1" }, index { "a", "b", name = "t_2" }, index { "b", "a", name = "t_3" },
      index { expr "a + 1", name = "t_4" }, index { "a", where = "b > 5", name = "t_5" },
      index { "b", unique = false, where = "a > 5", name = "t_6" },
    } ]]
    local result = done(apply(text, "--jobs", "4"))
    assert.is_nil(tell(result, "retry"))
  end)

  it("M1: another tool's build meets ours: whoever loses, ours gets there", function()
    local gate = faults.close_gate(server, database)
    local run = apply(faults.registry)
    gate:reached()
    local other = server:session(database, "another tool")
    other:send "CREATE INDEX CONCURRENTLY theirs ON t (a, b)"
    faults.holds(server, database, "theirs to wait", [[SELECT count(*) = 1 FROM pg_stat_activity
      WHERE query LIKE 'CREATE INDEX CONCURRENTLY theirs%' AND wait_event_type = 'Lock']])
    gate:open()
    pcall(other.wait, other)
    other:close()
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    -- Theirs may have been the victim: that is for its owner to clear up.
    server:psql(database, "DROP INDEX IF EXISTS theirs")
    assert.same({}, faults.damage(server, database))
  end)

  it("M2: a build of an expression makes all others wait, and it is said for whom; plain ones go first", function()
    local gate = faults.close_gate(server, database)
    local long, short = server:session(database), server:session(database)
    long:send "CREATE INDEX CONCURRENTLY raw_long ON t (gate(b))"
    local builder = gate:reached()
    short:send "CREATE INDEX CONCURRENTLY raw_short ON u (b)"
    local pid = faults.phase(server, database, "waiting for old snapshots", "u")
    assert.equal(builder, server:value(database,
      ("SELECT current_locker_pid FROM pg_stat_progress_create_index WHERE pid = %s"):format(pid)))
    server:psql(database, "CREATE TABLE v (LIKE t)")
    local run = apply [[ on "v" { index { "a", name = "v_a" } } ]]
    shell.eventually("a word on who it waits for", function()
      return run:stdout():find('"event":"waiting"[^\n]*waiting for old snapshots[^\n]*pid ' .. builder)
    end)
    gate:open()
    long:wait()
    short:wait()
    long:close()
    short:close()
    done(run)
    server:psql(database, "DROP INDEX raw_long, raw_short, v_a")

    local result = done(apply([[
      on "t" { index { expr "b + 1", name = "t_e" }, index { "b", name = "t_b" } }
      on "u" { index { "a", where = "b > 5", name = "u_p" }, index { "b", name = "u_b" } }
      on "v" { index { "a", name = "v_a" } }
    ]], "--jobs", "1"))
    local order = {}
    for _, event in ipairs(result:events()) do
      if event.event == "build_started" then order[#order + 1] = event.name end
    end
    assert.equal(5, #order)
    for i, name in ipairs(order) do assert.equal(i > 3, name == "t_e" or name == "u_p", name) end
  end)

  it("M2: plain builds are not held up by a build of an expression of the same run", function()
    local gate = faults.close_gate(server, database)
    local run = apply [[
      on "t" { index { expr "gate(b)", name = "t_x" } }
      on "u" { index { "a", name = "u_a" }, index { "b", name = "u_b" } }
    ]]
    gate:reached()
    shell.eventually("the plain ones", function() return valid "u_a" and valid "u_b" end)
    gate:open()
    done(run)
  end)

  it("M4: IF NOT EXISTS is content with an invalid index; the program is not", function()
    server:psql(database, "INSERT INTO t VALUES (1, 1)")
    server:try(database, "CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a)")
    assert.is_true(invalid "t_a")
    server:psql(database, "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a)")
    assert.is_true(invalid "t_a")
    server:psql(database, "DELETE FROM t WHERE a = 1 AND b = 1 AND ctid <> (SELECT min(ctid) FROM t WHERE a = 1)")
    done(apply [[ on "t" { index { sql = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a)" } } ]])
    assert.is_true(valid "t_a")
  end)

  it("M5: who waits in pg_advisory_lock deadlocks a build of the holder; a second run does not wait there", function()
    local holder, waiter = server:session(database), server:session(database)
    holder:run "SELECT pg_advisory_lock(1)"
    waiter:send "SELECT pg_advisory_lock(1)"
    faults.holds(server, database, "the waiter", ([[SELECT wait_event_type = 'Lock' FROM pg_stat_activity
      WHERE pid = %d]]):format(waiter.pid))
    holder:send "CREATE INDEX CONCURRENTLY raw ON t (b)"
    local _, first = pcall(holder.wait, holder)
    holder:close()
    local _, second = pcall(waiter.wait, waiter)
    waiter:close()
    assert.is_truthy((tostring(first) .. tostring(second)):find("40P01", 1, true))
    server:psql(database, "DROP INDEX IF EXISTS raw")

    local gate = faults.close_gate(server, database)
    local run = apply(faults.registry)
    gate:reached()
    assert.equal(4, apply(faults.registry):wait().status)
    gate:open()
    assert.is_nil(tell(done(run), "retry"))
  end)

  it("M7: a drop that is cancelled leaves a good index dead; the next run finishes what it wanted", function()
    for _, wanted in ipairs { true, false } do
      local reader = server:session(database, "reader")
      reader:run "BEGIN; SELECT count(*) FROM t"
      assert.is_nil(server:try(database, "SET lock_timeout = '200ms'; DROP INDEX CONCURRENTLY t_x"))
      assert.is_true(invalid "t_x")
      reader:close()
      done(apply(wanted and [[ on "t" { index { "a", name = "t_x" } } ]] or [[ on "t" { } ]], "--drop-strays"))
      assert.equal(wanted, valid "t_x")
    end
  end)

  it("M8: what a definition means is asked under ACCESS SHARE: no writer is in the way", function()
    local holder = server:session(database, "writer")
    holder:run "BEGIN; LOCK TABLE t IN EXCLUSIVE MODE"
    local result = lunadex.run { "plan", lunadex.registry(faults.registry), "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    holder:close()
  end)

  it("M10: a REINDEX that is cancelled leaves an index of another name; it is no obstacle, and found", function()
    server:psql(database, "CREATE INDEX t_g ON t (gate(b))")
    local gate = faults.close_gate(server, database)
    local reindex = server:session(database)
    reindex:send "REINDEX INDEX CONCURRENTLY t_g"
    server:psql(database, ("SELECT pg_cancel_backend(%s)"):format(gate:reached()))
    pcall(reindex.wait, reindex)
    reindex:close()
    gate:open()
    assert.is_true(invalid "t_g_ccnew")
    local text = [[ on "t" { index { expr "gate(b)", name = "t_g" }, index { "a", name = "t_x" } } ]]
    local status = lunadex.run { "status", "--target", server:url(database) }
    assert.is_truthy(status.stdout:find("t_g_ccnew", 1, true), tostring(status))
    local before = server:value(database, "SELECT 't_g'::regclass::oid")
    local result = lunadex.result(apply(text, "--drop-strays"):wait())
    assert.equal(0, result.status, tostring(result))
    assert.same({}, faults.damage(server, database))
    assert.equal(before, server:value(database, "SELECT 't_g'::regclass::oid"))
  end)

  it("M12: VACUUM and ANALYZE stand in line behind a build", function()
    local gate = faults.close_gate(server, database)
    local run = apply(faults.registry)
    gate:reached()
    for _, command in ipairs { "VACUUM", "ANALYZE" } do
      local rows, message = server:try(database, ("SET lock_timeout = '100ms'; %s t"):format(command))
      assert.is_nil(rows)
      assert.is_truthy(message:find("55P03", 1, true), message)
    end
    gate:open()
    done(run)
  end)

  it("M13: an index is renamed while it is read, and so the swap waits for no reader", function()
    local reader = server:session(database, "reader")
    reader:run "BEGIN; SET LOCAL enable_seqscan = off; SELECT b FROM t WHERE a = 5"
    watch = faults.watch(server, database, faults.has_t_x)
    local run = apply(faults.registry)
    faults.holds(server, database, "the swap", "SELECT " .. faults.has("t_x", "0"))
    reader:run "SELECT b FROM t WHERE a = 5"
    reader:close()
    done(run)
    local _, gaps = watch:stop()
    watch = nil
    assert.same({}, gaps)
  end)

  it("M13: what a constraint needs is not dropped", function()
    server:psql(database, [[
      CREATE UNIQUE INDEX t_a ON t (a);
      CREATE TABLE v (a int REFERENCES t (a));
    ]])
    local rows, message = server:try(database, "DROP INDEX CONCURRENTLY t_a")
    assert.is_nil(rows)
    assert.is_truthy(message:find("2BP01", 1, true), message)
    done(apply([[ on "t" { index { "a", name = "t_x" } } ]], "--drop-strays"))
    assert.is_true(valid "t_a")
  end)
end)
