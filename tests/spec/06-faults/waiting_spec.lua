-- Others are in the way: locks and old snapshots that outlast every budget, and limits that a role brings along.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"

describe("somebody else", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local scene, server, database, registry

  before_each(function()
    scene = faults.scene()
    server, database, registry = scene.server, scene.database, scene.registry
  end)
  after_each(function() scene:close() end)

  local function apply(url, ...)
    return lunadex.start { "apply", registry, "--mode", "concurrent", "--json", "--fail-on", "any", "--target",
      url or server:url(database), ... }
  end

  local function ends_well(run)
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    faults.settled(server, database, registry)
    scene:no_gap()
    return result
  end

  -- Waits until the run has said that `session` is in its way, in a phase.
  local function blamed(run, session, phase)
    return shell.eventually("the run to name who blocks", function()
      for _, event in ipairs(setmetatable({ stdout = run:stdout():match "^.*\n" or "", stderr = "" },
        { __index = lunadex.result {} }):events()) do
        if event.event == "waiting" and event.blocker_pid == session.pid
          and (not phase or event.phase:find(phase, 1, true)) then
          return event
        end
      end
    end)
  end

  describe("holds a lock on the table past the budget", function()
    for mode, lock in pairs { concurrent = "SHARE UPDATE EXCLUSIVE", blocking = "ROW EXCLUSIVE" } do
      it("of a build, " .. mode .. ": it is tried again, with a word on who it is", function()
        local holder = server:session(database, "holder")
        holder:run("BEGIN; LOCK TABLE t IN " .. lock .. " MODE")
        local run = lunadex.start { "apply", registry, "--mode", mode, "--json", "--lock-timeout", "0.3s", "--only",
          "t_b", "--target", server:url(database) }
        -- Not each of them need say who: an attempt may be over before anybody could look who was in its way.
        shell.eventually("two attempts, and a word on who it is", function()
          local retries, named = 0, 0
          local text = run:stdout():match "^.*\n" or ""
          for _, event in ipairs(lunadex.result { stdout = text, stderr = "" }:events()) do
            if event.event == "retry" then
              retries = retries + 1
              assert.equal("lock_timeout", event.error.code)
              local told = event.error.message .. (event.error.detail or "")
              if told:find("pid " .. holder.pid, 1, true) then named = named + 1 end
            end
          end
          return retries >= 2 and named >= 1
        end)
        assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
        holder:close()
        local result = lunadex.result(run:wait())
        assert.equal(0, result.status, tostring(result))
        faults.converges(server, database, registry)
        scene:no_gap()
      end)
    end

    it("of all attempts: the old index stays, nothing is left over", function()
      local holder = server:session(database, "holder")
      holder:run "BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE"
      local run = apply(nil, "--lock-timeout", "0.3s", "--retries", "2")
      local result = lunadex.result(run:wait())
      assert.equal(3, result.status, tostring(result))
      assert.is_truthy(result.stderr:find('"holder"', 1, true), tostring(result))
      assert.same({}, faults.damage(server, database))
      holder:close()
      faults.converges(server, database, registry)
      scene:no_gap()
    end)

    it("of the swap: the swap is tried again, not the build", function()
      local holder = server:session(database, "holder")
      holder:run "BEGIN; ALTER INDEX t_x SET (fillfactor = 90)"
      local run = apply(nil, "--lock-timeout", "0.3s")
      local built = shell.eventually("an attempt to fail", function()
        -- Of the swap: on a busy machine the build may have been tried again, too.
        local oid = server:value(database, "SELECT coalesce(to_regclass('t_x_ldx_new')::oid, 0)")
        return run:stdout():find('"retry"', 1, true) and oid ~= "0" and oid
      end)
      assert.equal("t", server:value(database, "SELECT " .. faults.has("t_x_ldx_new", "0")))
      holder:close()
      local result = ends_well(run)
      assert.equal(built, server:value(database, "SELECT 't_x'::regclass::oid"))
      for _, event in ipairs(result:events()) do
        if event.event == "retry" then
          assert.equal("lock_timeout", event.error.code)
          assert.is_truthy((event.error.message .. (event.error.detail or "")):find('"holder"', 1, true),
            event.error.message .. (event.error.detail or ""))
        end
      end
    end)
  end)

  it("keeps an old snapshot longer than --drain-timeout: the build is given up, taken back, and tried again", function()
    local old = faults.snapshot(server, database)
    local function limited(retries)
      return apply(nil, "--drain-timeout", "0.5s", "--only", "t_b", "--retries", retries)
    end
    local result = lunadex.result(limited("2"):wait())
    assert.equal(3, result.status, tostring(result))
    local attempts = 1
    for _, event in ipairs(result:events()) do
      if event.event == "retry" then
        attempts = attempts + 1
        assert.equal("lock_timeout", event.error.code)
        assert.matches('"old report"', event.error.message .. (event.error.detail or ""), 1, true)
      end
    end
    assert.equal(2, attempts)
    assert.same({}, faults.damage(server, database))
    assert.equal("f", server:value(database, "SELECT " .. faults.has("t_b")))
    local run = limited("50")
    shell.eventually("an attempt to be given up", function() return run:stdout():find('"retry"', 1, true) end)
    old:close()
    result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    faults.converges(server, database, registry)
    scene:no_gap()
  end)

  it("keeps an old snapshot: what only waits for it leaves its place to the next build, and to no third", function()
    local old = faults.snapshot(server, database)
    local run = apply(nil, "--jobs", "1")
    for _, relation in ipairs { "t", "u" } do faults.phase(server, database, "waiting for old snapshots", relation) end
    assert.equal("2", server:value(database, "SELECT count(*) FROM pg_stat_progress_create_index"))
    assert.equal("f", server:value(database, "SELECT " .. faults.has("t_x_ldx_new")))
    old:close()
    ends_well(run)
  end)

  -- Longer than every budget there is: the lock's is some seconds at most here, and what comes after the work has none.
  describe("keeps an old snapshot", function()
    for _, phase in ipairs { "waiting for writers before build", "waiting for writers before validation",
      "waiting for old snapshots" } do
      it("while a build is " .. phase, function()
        local link = proxies.start(server)
        finally(function() link:close() end)
        local writer = server:session(database, "old writer")
        local gate = faults.close_gate(server, database)
        local run, port
        if phase:find "before build" then
          gate:open()
          link:trap("stall", "before", 'CREATE INDEX CONCURRENTLY "t_x_ldx_new"')
          -- Long enough for somebody to look who is in the way, also on a busy machine; this attempt is given up.
          run = apply(link:url(database), "--lock-timeout", "3s", "--retries", "50")
          port = link:fired()
        else
          run = apply(nil, "--lock-timeout", "0.3s")
          gate:reached()
        end
        local built = server:value(database, "SELECT to_regclass('t_x_ldx_new')::oid")
        writer:run(phase:find "writers" and "BEGIN; INSERT INTO t VALUES (0, 0)"
          or "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
        if port then link:resume(port) end
        gate:open()
        local event = blamed(run, writer, phase)
        assert.is_truthy(event.blocker:find('"old writer"', 1, true), event.blocker)
        if built then
          assert.is_true(event.draining)
          -- Four times the budget.
          faults.holds(server, database, "time to pass", ([[SELECT clock_timestamp() - query_start > interval '1.2 s'
            FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY "t_x_ldx_new"%%'
            AND datname = current_database()]]))
        else
          -- No work has been done yet: the table's lock is not kept while others wait for it.
          faults.holds(server, database, "the attempt to be given up", [[SELECT count(*) > 0 FROM pg_stat_activity
            WHERE query LIKE 'DROP INDEX CONCURRENTLY%' AND datname = current_database()]])
        end
        writer:close()
        ends_well(run)
        if built then -- not begun anew
          assert.equal(built, server:value(database, "SELECT 't_x'::regclass::oid"))
        end
      end)
    end

    it("while an index is dropped: the drop is finished, not given up half-way", function()
      local link = proxies.start(server)
      finally(function() link:close() end)
      link:trap("stall", "before", 'DROP INDEX CONCURRENTLY "public"."t_x_ldx_old"')
      local run = apply(link:url(database), "--lock-timeout", "0.3s")
      local port = link:fired()
      local reader = server:session(database, "old reader")
      reader:run "BEGIN; SELECT count(*) FROM t"
      link:resume(port)
      blamed(run, reader, "waiting for its last users")
      faults.holds(server, database, "time to pass", [[SELECT clock_timestamp() - query_start > interval '1.2 s'
        FROM pg_stat_activity WHERE query LIKE 'DROP INDEX CONCURRENTLY%' AND datname = current_database()]])
      reader:close()
      local waited = false
      for _, each in ipairs(ends_well(run):events()) do
        waited = waited or each.event == "waiting" and each.blocker_pid == reader.pid
        assert.is_false(waited and each.event == "retry") -- what was tried before that waited for a busy machine
      end
      assert.is_true(waited)
    end)

    it("before an index is dropped: the drop does not begin", function()
      local reader = server:session(database, "old reader")
      reader:run "BEGIN; SELECT count(*) FROM t"
      -- Those who have been there for less than a second are gone soon, mostly.
      faults.holds(server, database, "the reader to be old", ([[SELECT clock_timestamp() - xact_start > interval '1 s'
        FROM pg_stat_activity WHERE pid = %d]]):format(reader.pid))
      local run = apply(nil, "--lock-timeout", "0.3s", "--retries", "50")
      blamed(run, reader)
      shell.eventually("the drop to be put off", function() return run:stdout():find('"retry"', 1, true) end)
      assert.equal("t", server:value(database, "SELECT " .. faults.has("t_x_ldx_old", "1")))
      reader:close()
      ends_well(run)
    end)
  end)

  it("reads for longer than there is patience: in the end it is said once who, and of no further attempt", function()
    local reader = server:session(database, "old reader")
    reader:run "BEGIN; SELECT count(*) FROM u ;"
    faults.holds(server, database, "the reader to be old", ([[SELECT clock_timestamp() - xact_start > interval '1 s'
      FROM pg_stat_activity WHERE pid = %d]]):format(reader.pid))
    server:psql(database, "CREATE INDEX u_stray ON u (b)")
    local result = lunadex.run { "apply", lunadex.registry [[ on "u" {} ]], "--drop-strays", "--lock-timeout", "1s",
      "--retries", "1", "--fail-on", "any", "--target", server:url(database) }
    reader:close()
    assert.equal(3, result.status, tostring(result))
    local line = result.stderr:match "[^\n]*is held by[^\n]*"
    assert.matches("Nothing was begun.", line, 1, true)
    assert.not_matches("tried again", line)
    assert.not_matches(";;", line)
    assert.equal(1, select(2, line:gsub("pid " .. reader.pid, "")), line)
  end)

  it("brings a deadlock: the run tries again", function()
    -- The holder waits for what the builder has, the builder for the holder; a build in the waits that follow the work
    -- is the one that gives way, for its deadlock_timeout is the shorter one.
    local holder = server:session(database, "holder")
    holder:run "SET deadlock_timeout = '1h'"
    local gate = faults.close_gate(server, database)
    local run = apply()
    gate:reached()
    holder:run "BEGIN; INSERT INTO t VALUES (0, 0)"
    holder:send "LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE"
    gate:open()
    holder:wait()
    holder:close()
    local result = ends_well(run)
    assert.is_truthy(result.stdout:find('"deadlock"', 1, true), tostring(result))
  end)

  it("limits statements and locks of the role: the run's own limits count", function()
    server:psql(database, [[
      CREATE ROLE limited SUPERUSER LOGIN;
      ALTER ROLE limited SET statement_timeout = '100ms';
      ALTER ROLE limited SET lock_timeout = '100ms';
      ALTER ROLE limited SET idle_in_transaction_session_timeout = '100ms';
      ALTER ROLE limited SET default_transaction_isolation = 'serializable';
    ]])
    finally(function() server:psql("postgres", "DROP ROLE limited") end)
    local gate = faults.close_gate(server, database)
    local run = apply(server:url(database, "limited"))
    gate:reached()
    local old = faults.snapshot(server, database)
    gate:open()
    local pid = faults.phase(server, database, "waiting for old snapshots")
    faults.holds(server, database, "time to pass", ([[SELECT clock_timestamp() - query_start > interval '1 s'
      FROM pg_stat_activity WHERE pid = %s]]):format(pid))
    old:close()
    local result = ends_well(run)
    for _, each in ipairs(result:events()) do assert.not_equal("retry", each.event) end
  end)

  it("starts a run at the same moment: one of them does it, and no harm is done", function()
    local runs = {}
    for i = 1, 4 do runs[i] = apply() end
    local done = 0
    for _, run in ipairs(runs) do
      local result = lunadex.result(run:wait())
      assert.is_true(result.status == 0 or result.status == 4, tostring(result))
      if result.status == 0 then done = done + 1 end
    end
    assert.is_true(done >= 1)
    faults.settled(server, database, registry)
    scene:no_gap()
  end)

  it("locks the table against everybody while a step looks at it: it is told, ends with the budget, and on a signal",
    function()
      for _, how in ipairs { "budget", "signal" } do
        local link = proxies.start(server)
        finally(function() link:close() end)
        link:trap("stall", "before", 'RENAME TO "t_x_ldx_old"')
        local budget = how == "budget" and "0.5s" or "60s"
        local run = apply(link:url(database), "--lock-timeout", budget, "--retries", "2", "--only", "t_x")
        local port = link:fired()
        local holder = server:session(database, "migration")
        holder:send "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE" -- what was sent is in front
        faults.holds(server, database, "the lock to be asked for", ("SELECT true FROM pg_locks WHERE pid = %d "
          .. "AND mode = 'AccessExclusiveLock' AND relation = 't'::regclass"):format(holder.pid))
        link:resume(port)
        holder:wait()
        blamed(run, holder)
        if how == "signal" then run:kill "INT" end
        local result = lunadex.result(run:wait())
        assert.equal(how == "signal" and 130 or 3, result.status, tostring(result))
        holder:close()
        faults.converges(server, database, registry)
        server:psql(database, "DROP INDEX t_x, t_b; CREATE INDEX t_x ON t (a)")
      end
    end)

  it("cannot be seen to be old by who has no right to: it is waited for all the same", function()
    local role = "owner_" .. database
    server:psql(database, ([[CREATE ROLE %s LOGIN; ALTER TABLE t OWNER TO %s; GRANT CREATE ON SCHEMA public TO %s;
      CREATE INDEX t_old ON t (b)]]):format(role, role, role))
    finally(function()
      server:psql(database, ("REASSIGN OWNED BY %s TO postgres; DROP OWNED BY %s; DROP ROLE %s"):format(role, role,
        role))
    end)
    local reader = server:session(database, "reader")
    reader:run "BEGIN; SELECT count(*) FROM t"
    shell.sleep(1.2)
    local run = lunadex.start { "apply", lunadex.registry [[ on "t" { index { "a", name = "t_x" } } ]], "--drop-strays",
      "--json", "--lock-timeout", "0.5s", "--retries", "2", "--target", server:url(database, role) }
    local result = lunadex.result(run:wait())
    assert.equal("t", server:value(database, "SELECT " .. faults.has("t_old")), tostring(result))
    assert.matches("lock_timeout", result.stdout, 1, true)
    reader:close()
    lunadex.run { "apply", lunadex.registry [[ on "t" { index { "a", name = "t_x" } } ]], "--drop-strays", "--target",
      server:url(database, role) }
    assert.equal("0", server:value(database, "SELECT count(*) FROM pg_class WHERE relname = 't_old'"))
  end)

  it("keeps the swap from its lock for good: what was built stays, and the next run goes on from there", function()
    local holder = server:session(database, "holder")
    holder:run "BEGIN; ALTER INDEX t_x SET (fillfactor = 90)"
    local result = lunadex.result(apply(nil, "--lock-timeout", "0.3s", "--retries", "2"):wait())
    assert.equal(3, result.status, tostring(result))
    assert.matches("what was built stays", result.stdout, 1, true)
    local built = server:value(database, "SELECT 't_x_ldx_new'::regclass::oid")
    holder:close()
    faults.converges(server, database, registry)
    assert.equal(built, server:value(database, "SELECT 't_x'::regclass::oid"))
    scene:no_gap()
  end)

  it("is idle with a lock on a leftover: nobody builds it, and the lock has a budget", function()
    server:psql(database, [[CREATE INDEX t_b ON t (b);
      UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_b'::regclass]])
    local holder = server:session(database, "tuner")
    holder:run "BEGIN; ALTER INDEX t_b SET (fillfactor = 90)"
    local result = lunadex.result(apply(nil, "--lock-timeout", "0.5s", "--retries", "1", "--only", "t_b"):wait())
    assert.equal(3, result.status, tostring(result))
    assert.matches('"tuner"', result.stderr, 1, true)
    holder:close()
    faults.converges(server, database, registry)
  end)
  it("builds another index of the table: it is waited for, however young, and neither build meets the other", function()
    local gate = faults.close_gate(server, database)
    local other = server:session(database, "other tool")
    other:send "CREATE INDEX CONCURRENTLY t_other ON t (gate(a))"
    gate:reached()
    local run = apply(nil, "--only", "t_b")
    blamed(run, other)
    assert.equal("0", server:value(database, [[SELECT count(*) FROM pg_locks WHERE NOT granted
      AND relation = 't'::regclass]]))
    gate:open()
    other:wait()
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    assert.equal("t", server:value(database, "SELECT " .. faults.has("t_other") .. " AND " .. faults.has("t_b")))
    faults.converges(server, database, registry)
  end)

  for what, case in pairs {
    ["reads in an old transaction while a strong lock is wanted: others still get to read most of the time"] = {
      mine = "SELECT count(*) FROM u", theirs = "SELECT count(*) FROM u", mode = "concurrent",
      entry = 'unique_constraint { "a", name = "u_key" }', statement = 'ADD CONSTRAINT "u_key"',
      made = "SELECT count(*) FROM pg_constraint WHERE conname = 'u_key'",
    },
    ["writes in an old transaction while a plain build is wanted: others still get to write most of the time"] = {
      mine = "INSERT INTO u VALUES (-1)", theirs = "INSERT INTO u VALUES (-2); DELETE FROM u WHERE a = -2",
      mode = "blocking", entry = 'index { "a", name = "u_a" }', statement = 'CREATE INDEX "u_a"',
      made = "SELECT count(*) FROM pg_index WHERE indexrelid = 'u_a'::regclass AND indisvalid",
    },
  } do
    it(what, function()
      local old = server:session(database, "old one")
      old:run("BEGIN; " .. case.mine)
      local run = lunadex.start { "apply", lunadex.registry(('on "u" { %s }'):format(case.entry)), "--mode", case.mode,
        "--json", "--target", server:url(database) }
      local wants = ([[SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND query LIKE '%%%s%%' AND wait_event_type = 'Lock')]]):format(case.statement)
      faults.holds(server, database, "the lock to be wanted", wants)
      -- The first slice over, it stays away for a while; nobody else waits then.
      faults.holds(server, database, "the rest", "SELECT NOT (" .. wants:gsub("^SELECT ", "") .. ")")
      for _ = 1, 5 do
        server:psql(database, "SET lock_timeout = '200ms'; " .. case.theirs)
        shell.sleep(0.2)
      end
      assert.is_nil(run:stdout():find('"retry"', 1, true)) -- it is one attempt, as long as the budget lasts
      old:close()
      local result = lunadex.result(run:wait())
      assert.equal(0, result.status, tostring(result))
      assert.equal("1", server:value(database, case.made))
    end)
  end

  describe("has more rights than a plain owner", function()
    local role, owner

    before_each(function()
      role = "owner_" .. database
      server:psql(database, ([[CREATE ROLE %s LOGIN NOSUPERUSER; GRANT CREATE ON SCHEMA public TO %s;
        ALTER TABLE t OWNER TO %s; ALTER TABLE u OWNER TO %s]]):gsub("%%s", role))
      owner = server:url(database, role)
    end)
    after_each(function()
      server:psql(database, ("REASSIGN OWNED BY %s TO postgres; DROP OWNED BY %s; DROP ROLE %s"):gsub("%%s", role))
    end)

    -- As it is without an option.
    local function start(url)
      return lunadex.start { "apply", registry, "--json", "--fail-on", "any", "--target", url }
    end

    it("and writes: the build waits, says for whom, and gets there", function()
      local writer = server:session(database, "old writer")
      writer:run "BEGIN; INSERT INTO t VALUES (0, 0)"
      local run = start(owner)
      blamed(run, writer)
      shell.sleep(2)
      assert.is_true(run:running())
      assert.equal("f", server:value(database, "SELECT " .. faults.has("t_b")))
      writer:close()
      ends_well(run)
    end)

    it("and keeps an old snapshot: a build that has done its work waits for it", function()
      server:psql(database, "INSERT INTO t SELECT i, i FROM generate_series(1, 5000) i") -- not to be built in one go
      local gate = faults.close_gate(server, database)
      local run = start(owner)
      gate:reached()
      local old = faults.snapshot(server, database)
      gate:open()
      local event = blamed(run, old, "waiting for old snapshots")
      assert.is_true(event.draining)
      old:close()
      ends_well(run)
    end)

    for _, statement in ipairs { 'RENAME TO "t_x_ldx_old"', 'DROP INDEX CONCURRENTLY "public"."t_x_ldx_old"' } do
      it("and the owner's run is killed before " .. statement .. ": the next one finishes it", function()
        local link = proxies.start(server)
        link:trap("stall", "before", statement)
        local run = start(link:url(database, role))
        link:fired()
        run:kill "KILL"
        run:wait()
        link:close()
        ends_well(start(owner))
      end)
    end
  end)
end)
