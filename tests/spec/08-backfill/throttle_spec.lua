-- What holds a backfill up, and lets it go on.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("a throttled backfill", function()
  local reason = pg.missing()
  if reason then return pending(reason) end

  local function orders(server, database, rows)
    server:psql(database, ([[
      CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
      INSERT INTO orders SELECT i FROM generate_series(1, %d) i;
      ANALYZE orders]]):format(rows))
  end

  local function start(server, database, throttle, user)
    return lunadex.start { "backfill", "run", lunadex.registry(([[
      backfill "b" { on = "orders", set = "n = n + 1", batch = 3, throttle = { %s } }]]):format(throttle)), "--json",
      "--target", server:url(database, user) }
  end

  local function says(run, text)
    shell.eventually("it to say " .. text, function() return run:stdout():find(text, 1, true) end)
  end

  -- Gives what it has done when it does no more.
  local function stands(server, database)
    local before
    return shell.eventually("its last batch", function()
      local seen = server:value(database, "SELECT coalesce(sum(seen), 0) FROM lunadex.backfill_range")
      if seen == before then return seen end
      before = seen
    end)
  end

  local function ends_well(run, server, database)
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    assert.equal("t", server:value(database, "SELECT bool_and(n = 1) FROM orders"))
  end

  it("holds while a standby is behind, also one whose lag it may not see", function()
    local server = pg.start()
    local standby = server:standby()
    finally(function()
      standby:stop "immediate"
      server:stop "immediate"
    end)
    local database = "postgres"
    orders(server, database, 4000)
    server:psql(database, [[CREATE ROLE small LOGIN; ALTER TABLE orders OWNER TO small;
      GRANT CREATE ON DATABASE postgres TO small]])
    local blind = start(server, database, [[lag = "200ms"]], "small")
    says(blind, "the strain on the server cannot be measured: the role may not see how far standbys are")
    assert.equal("0", stands(server, database))
    blind:kill "INT"
    assert.equal(130, blind:wait().status)

    standby:psql(database, "SELECT pg_wal_replay_pause()")
    local run = start(server, database, [[lag = "200ms"]])
    says(run, " behind; the limit is 0.20 s")
    local done = tonumber(stands(server, database))
    assert.is_true(done < 4000)
    local status = lunadex.run { "backfill", "status", lunadex.registry "", "--target", server:url(database) }
    assert.matches("waits: standby ", status.stdout, 1, true)
    assert.equal(tostring(done), server:value(database, "SELECT sum(seen) FROM lunadex.backfill_range"))
    standby:psql(database, "SELECT pg_wal_replay_resume()")
    says(run, '"event":"resumed"')
    ends_well(run, server, database)
  end)

  describe("on one server", function()
    local server, database

    before_each(function()
      server = pg.shared()
      database = server:create_database()
      orders(server, database, 300)
    end)
    after_each(function() server:drop_database(database) end)

    it("holds while sessions wait for locks", function()
      server:psql(database, "CREATE TABLE other (n int)")
      local holder, waiter = server:session(database, "holder"), server:session(database, "waiter")
      holder:run "BEGIN; LOCK TABLE other"
      waiter:send "SELECT * FROM other"
      shell.eventually("somebody to wait", function()
        return server:value(database, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'other'::regclass")
      end)
      local run = start(server, database, "waiters = 0")
      says(run, "1 session waits for locks; the limit is 0")
      assert.equal("0", stands(server, database))
      holder:run "COMMIT"
      ends_well(run, server, database)
      holder:close()
      waiter:close()
    end)

    it("holds while more WAL is written than may be", function()
      local writer = shell.start { "psql", "-X", "-q", "-d", server:url(database), "-c", [[
        CREATE TABLE noise (t text);
        DO $$ BEGIN LOOP
          INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 100);
          COMMIT;
        END LOOP; END $$]] }
      -- Two looks make a rate: the first batches are done by then.
      server:psql(database, "INSERT INTO orders SELECT i FROM generate_series(301, 6000) i")
      local run = start(server, database, [[wal = "100kB"]])
      says(run, "of WAL a second; the limit is 100 kB")
      writer:kill "INT"
      writer:wait()
      says(run, '"event":"resumed"')
      run:kill "INT"
      run:wait()
    end)

    it("holds while a vacuum has to come first", function()
      server:psql(database, "ALTER TABLE orders SET (autovacuum_enabled = off); UPDATE orders SET n = 0")
      -- A session tells of them when it has ended, which psql does not wait for.
      shell.eventually("the dead rows to be counted", function()
        return server:value(database, "SELECT n_dead_tup >= 300 FROM pg_stat_user_tables") == "t"
      end)
      local run = start(server, database, [[dead = "20%"]])
      says(run, "of the rows of public.orders are dead; the limit is 20 %")
      assert.equal("0", stands(server, database))
      shell.eventually("it to come to its end", function()
        server:psql(database, "VACUUM orders")
        return not run:running()
      end)
      ends_well(run, server, database)
      run = start(server, database, [[oplog = "1h"]])
      assert.equal(6, run:wait().status)
      assert.matches("this kind of database has nothing for its throttle's oplog", run:stdout(), 1, true)
    end)

    it("is aborted while it holds also where somebody has locked a partition", function()
      server:psql(database, [[
        DROP TABLE orders;
        CREATE TABLE orders (id int PRIMARY KEY, n int NOT NULL DEFAULT 0) PARTITION BY RANGE (id);
        CREATE TABLE orders_1 PARTITION OF orders DEFAULT WITH (autovacuum_enabled = off);
        INSERT INTO orders SELECT i FROM generate_series(1, 300) i;
        UPDATE orders SET n = 0]])
      shell.eventually("the dead rows to be counted", function()
        return server:value(database, "SELECT n_dead_tup >= 300 FROM pg_stat_user_tables WHERE relname = 'orders_1'")
          == "t"
      end)
      local run = start(server, database, [[dead = "20%"]])
      says(run, "of the rows of public.orders are dead; the limit is 20 %")
      local holder = server:session(database, "holder")
      holder:run "BEGIN; LOCK TABLE orders_1"
      assert.equal(0, lunadex.run { "backfill", "abort", "--target", server:url(database) }.status)
      local status = run:wait(60).status
      holder:close()
      assert.equal(3, status)
    end)

    it("holds out of its hours, and while a function says so", function()
      local hour = os.date("*t").hour
      local run = start(server, database, ([[window = { "%02d:00", "%02d:00" }]]):format((hour + 2) % 24,
        (hour + 3) % 24))
      says(run, "it is not between ")
      assert.equal("0", stands(server, database))
      run:kill "INT"
      run:wait()
      for text, says_what in pairs {
        ['return "deployment under way"'] = "deployment under way",
        ["return nothing.at.all"] = "its check failed: ",
        ["while true do end"] = "its check failed: ",
      } do
        run = start(server, database, ("check = function() %s end"):format(text))
        says(run, says_what)
        assert.equal("0", stands(server, database))
        run:kill "INT"
        run:wait()
      end
      run = start(server, database, "check = function() return false end")
      shell.eventually("it to go on where it was", function() return not run:running() end)
      local result = lunadex.result(run:wait())
      assert.equal(0, result.status, tostring(result))
    end)
  end)
end)
