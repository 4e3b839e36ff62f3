-- Programs, sessions and servers end in the middle of a backfill that must not be done twice.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"

local ROWS = faults.long and 200000 or 20000

local schema = ([[
  CREATE TABLE accounts (id bigint PRIMARY KEY, balance int NOT NULL, touched int NOT NULL DEFAULT 0);
  INSERT INTO accounts SELECT i * 5 - 3000, i %% 100 FROM generate_series(1, %d) i;
  CREATE TABLE counter (touched bigint NOT NULL);
  INSERT INTO counter VALUES (0);
  ANALYZE accounts;
]]):format(ROWS)

-- Somebody who changes the same rows all the time, and counts how often.
local writer = ([[
  DO $$ DECLARE chosen bigint; BEGIN
    LOOP
      chosen := (1 + floor(random() * %d))::int * 5 - 3000;
      UPDATE accounts SET touched = touched + 1 WHERE id = chosen;
      UPDATE counter SET touched = touched + 1;
      COMMIT;
    END LOOP;
  END $$]]):format(ROWS)

local text = [[
  backfill "interest" { on = "public.accounts", set = "balance = balance + 1", batch = 100 }
]]

describe("a backfill that must not be done twice", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, registry, load

  setup(function() registry = lunadex.registry(text) end)
  before_each(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, schema)
  end)
  after_each(function()
    if load then load:kill "INT" end
    load = nil
    if server then server:drop_database(database) end
  end)

  local function write()
    load = shell.start { "psql", "-X", "-q", "-d", server:url(database), "-c", writer }
  end

  local function start(...)
    return lunadex.start { "backfill", "run", registry, "--jobs", "4", "--json", "--target", server:url(database), ... }
  end

  local function begun()
    shell.eventually("the first batch", function()
      return server:try(database, "SELECT 1 / count(*) FROM lunadex.backfill_range WHERE seen > 0")
    end)
  end

  local function count(result, name)
    local number = 0
    for _, event in ipairs(result:events()) do
      if event.event == name then number = number + 1 end
    end
    return number
  end

  -- How often each row was changed: once for every time that it was begun from the start.
  local function exact(times)
    if load then
      load:kill "INT"
      load:wait()
      load = nil
      assert.equal("t", server:value(database,
        "SELECT touched > 0 AND touched = (SELECT sum(a.touched) FROM accounts a) FROM counter"))
    end
    times = times or server:value(database, "SELECT generation FROM lunadex.backfill")
    assert.same({ { times, n = 1 } }, server:psql(database,
      "SELECT DISTINCT balance - ((id + 3000) / 5 % 100) FROM accounts"))
    assert.same({ { tostring(ROWS * 1), "finished", n = 2 } }, server:psql(database, [[
      SELECT sum(r.changed), b.outcome FROM lunadex.backfill b JOIN lunadex.backfill_range r
          ON r.backfill = b.id AND r.generation = b.generation GROUP BY b.id]]))
  end

  local function completes()
    local result = lunadex.result(start():wait())
    assert.equal(0, result.status, tostring(result))
    exact()
  end

  it("is done once for every row, however often the program is killed", function()
    write()
    local from = shell.now()
    local result = lunadex.result(start():wait())
    assert.equal(0, result.status, tostring(result))
    local whole = shell.now() - from
    local kills = 0
    local again = true
    while kills < (faults.long and 200 or 12) do
      -- What is finished is begun again; what was killed goes on.
      local run = start(again and "--restart" or nil)
      shell.sleep(whole * math.random())
      if run:running() then kills = kills + 1 end
      run:kill "KILL"
      again = run:wait().status == 0
    end
    completes()
    assert.is_true(tonumber(server:value(database, "SELECT attempts + generation FROM lunadex.backfill")) > 2)
  end)

  it("is done once by two runs at the same time, where the lock keeps neither out", function()
    -- A batch that is under way until the gate is open.
    server:psql(database, [[
      CREATE TABLE gate ();
      CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP;
        RETURN NEW;
      END $$;
      CREATE TRIGGER pass BEFORE UPDATE ON accounts FOR EACH ROW WHEN (OLD.id = 2000) EXECUTE FUNCTION pass()]])
    local first = start()
    faults.holds(server, database, "a batch to be under way",
      "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    -- The session that has the lock is lost, and a second run is there before it is taken again.
    first:kill "STOP"
    server:psql(database, [[SELECT pg_terminate_backend(pid) FROM pg_locks
      WHERE locktype = 'advisory' AND classid = 1819635298]])
    local second = start()
    shell.eventually("the second to meet the first", function()
      return second:stdout():find('could not obtain lock on row in relation \\"backfill_range', 1, true)
    end)
    first:kill "CONT"
    server:psql(database, "INSERT INTO gate DEFAULT VALUES")
    first:wait()
    second:wait()
    completes()
  end)

  it("is done once where the answer to a commit is lost", function()
    local link = proxies.start(server)
    finally(function() link:close() end)
    -- First those of what is done once: tables, claim, beginning.
    for _, statement in ipairs { "CREATE TABLE lunadex.backfill", "INSERT INTO lunadex.backfill", "WITH begun AS" } do
      link:trap("cut", "after", statement)
    end
    for _ = 1, 3 do
      link:trap("cut", "after", "COMMIT")
      link:trap("reset", "before", "COMMIT")
      link:trap("cut", "after", 'UPDATE "public"."accounts"')
    end
    local result = lunadex.run { "backfill", "run", registry, "--jobs", "4", "--json", "--target", link:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.is_true(count(result, "retry") >= 11, tostring(result))
    exact "1"
    assert.equal("1", server:value(database, "SELECT generation FROM lunadex.backfill"))
  end)

  it("is begun once, also where another run has begun and ended it before the first one could", function()
    local link = proxies.start(server)
    finally(function() link:close() end)
    link:trap("stall", "before", "WITH begun AS")
    local first = lunadex.start { "backfill", "run", registry, "--json", "--target", link:url(database) }
    local port = link:fired()
    server:psql(database, [[SELECT pg_terminate_backend(pid) FROM pg_locks
      WHERE locktype = 'advisory' AND classid = 1819635298]])
    completes()
    link:resume(port)
    local result = lunadex.result(first:wait())
    assert.equal(4, result.status, tostring(result))
    assert.matches("another run has begun it", result.stdout, 1, true)
    exact "1"
  end)

  it("goes on where its sessions are ended", function()
    write()
    local holder = server:session(database, "holder")
    holder:run "BEGIN; UPDATE accounts SET touched = touched WHERE id = 2000"
    local run = start()
    for _ = 1, 3 do
      faults.holds(server, database, "a batch to wait for the holder", [[SELECT count(*) > 0
        FROM pg_stat_activity WHERE application_name = 'lunadex backfill interest' AND wait_event_type = 'Lock']])
      server:psql(database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lunadex backfill interest'")
    end
    holder:close()
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    assert.is_true(count(result, "retry") >= 3, tostring(result))
    exact()
  end)

  it("goes on after a crash of the server, which takes back what was not on its disk", function()
    server = pg.start { settings = { fsync = "on", full_page_writes = "on", wal_writer_delay = "10s" } }
    database = server:create_database()
    server:psql(database, schema)
    server:psql(database, "CHECKPOINT")
    local run = start()
    begun()
    server:stop "immediate"
    server:launch()
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    exact()
    server:stop()
    server = nil
  end)

  it("goes on when a lock is given back", function()
    local holder = server:session(database, "holder")
    holder:run "BEGIN; UPDATE accounts SET touched = touched WHERE id = 2000"
    local run = start()
    shell.eventually("a batch that had to be given up", function() return run:stdout():find '"lock_timeout"' end)
    holder:run "COMMIT"
    holder:close()
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    exact()
  end)

  it("goes on after a deadlock", function()
    local holder = server:session(database, "holder")
    holder:run "BEGIN; UPDATE accounts SET touched = touched + 1 WHERE id = (SELECT max(id) FROM accounts)"
    local run = lunadex.start { "backfill", "run", registry, "--json", "--target", server:url(database) }
    local last = "SELECT id FROM accounts ORDER BY id DESC OFFSET 50 LIMIT 1"
    faults.holds(server, database, "the last batch to wait for the holder", [[SELECT count(*) > 0
      FROM pg_stat_activity WHERE application_name = 'lunadex backfill interest' AND wait_event_type = 'Lock']])
    holder:send(("UPDATE accounts SET touched = touched + 1 WHERE id = (%s); COMMIT"):format(last))
    pcall(holder.wait, holder) -- the server may choose either
    holder:close()
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    exact()
  end)
end)
