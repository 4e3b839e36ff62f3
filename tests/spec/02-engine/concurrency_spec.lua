-- The engine seen through Lua, under load: many jobs, cancellation that races with the end, retries, lost links, ends
-- at any moment. On the scripted driver and on a real server; what runs under ThreadSanitizer is this.
local core = require "lunadex.core"
local database = require "lunadex.database"
local pg = require "support.postgres"
local shell = require "support.shell"
local task = require "lunadex.task"

-- Polls until no job is left; gives each job's "done" event, of which there may be but one.
local function drain(db)
  local ended, deadline = {}, core.now() + 120
  while db:pending() > 0 do
    assert(core.now() < deadline, "jobs do not end")
    local event = db:poll(1)
    if event and event.event == "done" then
      assert.is_nil(ended[event.job])
      ended[event.job] = event
    end
  end
  assert.is_nil(db:poll(0))
  return ended
end

-- What a driver needs to say of itself:
--   url()          a target of its own
--   echo(n)        SQL, parameters → one row whose value is read(row) = n
--   slow           SQL that does not end by itself within the test
local drivers = {}

do
  local serial = 0
  drivers.fake = {
    url = function(script)
      serial = serial + 1
      return ("fake:load%d?%s"):format(serial, script or "")
    end,
    echo = function(n) return ("echo %d"):format(n) end,
    read = function(row) return math.tointeger(tonumber(row.text:match "%d+")) end,
    script_of_slow = "query=hang*",
    slow = "x",
  }
end

do
  local server, name
  drivers.postgres = {
    missing = pg.missing,
    setup = function()
      server = pg.shared()
      name = server:create_database()
      server:psql(name, "CREATE TABLE t (a int, b int)")
    end,
    teardown = function() server:drop_database(name) end,
    url = function() return server:url(name) end,
    echo = function(n) return "SELECT $1::int AS n", { n } end,
    read = function(row) return row.n end,
    slow = "SELECT pg_sleep(3600)",
    server = function() return server, name end,
  }
end

for driver_name, driver in pairs(drivers) do
  describe("under load, " .. driver_name, function()
    local reason = driver.missing and driver.missing()
    if reason then return pending(reason) end
    if driver.setup then setup(driver.setup) end
    if driver.teardown then teardown(driver.teardown) end

    it("every task gets its own answers", function()
      local db <close> = assert(database.open(driver.url(), { jobs = 8 }))
      local wrong, right = {}, 0
      task.run(function()
        local tasks = {}
        for i = 1, 40 do
          tasks[i] = task.spawn(function()
            for j = 1, 15 do
              local n = i * 100 + j
              local rows, err = db:query(driver.echo(n))
              if rows and driver.read(rows[1]) == n then
                right = right + 1
              else
                wrong[#wrong + 1] = tostring(err or driver.read(rows[1]))
              end
            end
          end)
        end
        for _, each in ipairs(tasks) do each:join() end
      end)
      assert.same({}, wrong)
      assert.equal(600, right)
    end)

    it("several databases share one loop", function()
      local a <close> = assert(database.open(driver.url(), { jobs = 3 }))
      local b <close> = assert(database.open(driver.url(), { jobs = 3 }))
      local right = 0
      task.run(function()
        local tasks = {}
        for i = 1, 20 do
          tasks[i] = task.spawn(function()
            for j, db in ipairs { a, b, a } do
              local rows = assert(db:query(driver.echo(i * 10 + j)))
              if driver.read(rows[1]) == i * 10 + j then right = right + 1 end
            end
          end)
        end
        for _, each in ipairs(tasks) do each:join() end
      end)
      assert.equal(60, right)
    end)

    it("a cancelled job ends once, done or cancelled, and spoils no other", function()
      local db <close> = assert(core.open(driver.url(), { jobs = 4 }))
      math.randomseed(7)
      for round = 1, 20 do
        local jobs, cancelled = {}, {}
        for i = 1, 30 do jobs[i] = db:query(driver.echo(i)) end
        -- Some are queued by now, some run, some are done: every moment of a job's life gets hit.
        for _ = 1, math.random(0, 20) do db:poll(0.001) end
        for i = 1, 30, 3 do
          cancelled[jobs[i]] = true
          db:cancel(jobs[i])
        end
        local ended = drain(db)
        for i, job in ipairs(jobs) do
          local event = ended[job] -- nil: it was polled above
          if event and not event.ok then
            assert.equal("cancelled", event.error.code, round .. ": " .. tostring(event.error))
            assert.is_true(cancelled[job], "a job was cancelled in another's stead")
          elseif event then
            assert.equal(i, driver.read(event.result[1]))
          end
        end
      end
      -- The sessions are as good as new.
      for i = 1, 8 do db:query(driver.echo(i)) end
      for _, event in pairs(drain(db)) do assert.is_true(event.ok, tostring(event.error)) end
    end)

    it("all that runs or waits is cancelled at once, from any state", function()
      local db <close> = assert(core.open(driver.url(driver.script_of_slow), { jobs = 4 }))
      for polls = 0, 8, 2 do
        for _ = 1, 10 do db:query(driver.slow) end
        for _ = 1, polls do db:poll(0.02) end
        db:cancel()
        for _, event in pairs(drain(db)) do assert.equal("cancelled", event.error.code, tostring(event.error)) end
      end
    end)

    it("an end at any moment is an end", function()
      for polls = 0, 12 do
        local db = assert(core.open(driver.url(driver.script_of_slow), { jobs = 4 }))
        db:lock()
        db:catalog()
        for _ = 1, 3 do db:query(driver.slow) end
        db:query(driver.echo(1))
        for _ = 1, polls do db:poll(0.005) end
        db:close()
      end
    end)
  end)
end

describe("retries, fake", function()
  it("of many steps at once do not get in each other's way", function()
    local url = drivers.fake.url "perform=fail(deadlock)*50"
    local db <close> = assert(core.open(url, { jobs = 6 }))
    for i = 1, 40 do
      db:perform {
        kind = "drop", schema = "public", relation = "t", name = "i" .. i,
        retry = { attempts = 60, first_delay = 0.001, max_delay = 0.002 },
      }
    end
    local attempts = 0
    for _, event in pairs(drain(db)) do
      assert.is_true(event.ok, tostring(event.error))
      attempts = attempts + event.attempts
    end
    assert.equal(40 + 50, attempts)
  end)

  it("end with cancellation, whatever they are at", function()
    local db <close> = assert(core.open(drivers.fake.url "perform=fail(deadlock)*", { jobs = 4 }))
    for polls = 0, 30, 3 do
      for i = 1, 8 do
        db:perform {
          kind = "drop", schema = "public", relation = "t", name = "i" .. i,
          retry = { attempts = 1000000, first_delay = 0.001, max_delay = 0.5 },
        }
      end
      for _ = 1, polls do db:poll(0.002) end
      db:cancel()
      for _, event in pairs(drain(db)) do assert.equal("cancelled", event.error.code) end
    end
  end)
end)

describe("retries, postgres", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  setup(drivers.postgres.setup)
  teardown(drivers.postgres.teardown)

  local function build(name)
    return {
      kind = "build", schema = "public", relation = "t", name = name, mode = "blocking", lock_timeout = 0.05,
      fields = { kind = "index", schema = "public", relation = "t", keys = { { column = "a" } } },
      retry = { attempts = 1000, first_delay = 0.01, max_delay = 0.05 },
    }
  end

  it("go on until the lock is free, for all who wait for it", function()
    local server, name = drivers.postgres.server()
    local holder = server:session(name)
    holder:run "BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE"
    local db <close> = assert(core.open(server:url(name), { jobs = 3 }))
    local retried, open = {}, 3
    for i = 1, open do db:perform(build("waits_" .. i)) end
    local ended, deadline = {}, core.now() + 120
    while open > 0 do
      assert(core.now() < deadline, "the steps do not end")
      local event = db:poll(1)
      if event and event.event == "retry" then
        assert.equal("lock_timeout", event.error.code)
        retried[event.job] = true
        -- Once each has been turned away the table is given free.
        local count = 0
        for _ in pairs(retried) do count = count + 1 end
        if count == 3 and holder then
          holder:run "COMMIT"
          holder:close()
          holder = nil
        end
      elseif event and event.event == "done" then
        ended[event.job], open = event, open - 1
      end
    end
    for _, event in pairs(ended) do
      assert.is_true(event.ok, tostring(event.error))
      assert.is_true(event.attempts > 1)
    end
    local built = server:indexes(name)
    for i = 1, 3 do assert.is_string(built["public.waits_" .. i]) end
  end)

  it("follow links that are cut again and again", function()
    local server, name = drivers.postgres.server()
    local db <close> = assert(core.open(server:url(name), { jobs = 4, application_name = "cut me" }))
    local killer = server:session("postgres")
    local cut = { terminated = true, link_lost = true, connect = true }
    local ok, lost = 0, 0
    for _ = 1, 8 do
      for i = 1, 20 do db:query("SELECT $1::int, pg_sleep(0.01)", { i }) end
      killer:run "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'cut me%'"
      for _, event in pairs(drain(db)) do
        if event.ok then
          ok = ok + 1
        else
          -- A query may have run: it is told, not sent again.
          assert(cut[event.error.code], tostring(event.error))
          lost = lost + 1
        end
      end
    end
    killer:close()
    assert.equal(160, ok + lost)
    assert.is_true(ok > 0)
    local job = db:query "SELECT 1"
    assert.is_true(drain(db)[job].ok)
    -- Nobody is left behind on the server once the database is closed.
    db:close()
    shell.eventually("the sessions to end", function()
      return server:value("postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'cut me%'") == "0"
    end)
  end)
end)
