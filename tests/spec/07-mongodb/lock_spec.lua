-- The run lock of MongoDB: a lease that one run has at a time, that ends by itself, and that grows a fence.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local proxies = require "support.proxy"
local shell = require "support.shell"
local steps = require "support.mongosteps"

describe("the run lock on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, runs

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    runs = {}
  end)
  after_each(function()
    for _, run in ipairs(runs) do run:close() end
    server:drop_database(database)
  end)

  local function open(options)
    local run = steps.open(server, database, options)
    runs[#runs + 1] = run
    return run
  end
  local function lock(run) return run:finish(run.db:lock()) end
  local function unlock(run) return run:finish(run.db:unlock()) end

  local function lease()
    local found = server:command(database, '{"find":"lunadex.lock","filter":{"_id":"run"}}').cursor.firstBatch[1]
    return found or {}
  end
  local function change(update)
    server:command(database, ('{"update":"lunadex.lock","updates":[{"q":{"_id":"run"},"u":%s,"upsert":true}]}')
      :format(update))
  end
  local function expire() change '[{"$set":{"expires":{"$subtract":["$$NOW",1000]}}}]' end

  -- The event that says so; nil: none came in that time.
  local function lost(run, seconds)
    local stop = shell.now() + seconds
    while shell.now() < stop do
      local event = run.db:poll(0.2)
      if event and event.event == "lock_lost" then return event end
    end
  end

  it("is waited for as long as the server may be silent, however short connecting has to be", function()
    local slow <close> = steps.fail(server, { "buildInfo", "findAndModify" },
      { blockConnection = true, blockTimeMS = 600 }, 3)
    local done = lock(open { url = server:url(database) .. "&serverSelectionTimeoutMS=1000" })
    assert.is_true(done.ok, tostring(done.error))
    assert.is_truthy(slow)
  end)

  it("is one run's at a time, and says whose", function()
    local first, second = open(), open()
    assert.is_true(lock(first).ok)
    local refused = lock(second)
    assert.equal("lock_held", refused.error.code)
    assert.matches('^pid %d+ .*@.+ "lunadex specs", since 0:%d%d; its lease ends at %d%d:%d%d:%d%dZ',
      refused.error.detail)
    assert.is_true(unlock(first).ok)
    assert.is_true(lock(second).ok)
  end)

  it("goes to one of many that come at once", function()
    for _ = 1, 8 do open() end
    local jobs, got = {}, 0
    for i, run in ipairs(runs) do jobs[i] = run.db:lock() end
    for i, run in ipairs(runs) do
      local done = run:finish(jobs[i])
      if done.ok then got = got + 1 else assert.equal("lock_held", done.error.code) end
    end
    assert.equal(1, got)
  end)

  it("is renewed while it is held, and its fence only grows", function()
    local run = open()
    assert.is_true(lock(run).ok)
    local before = lease()
    shell.eventually("the lease to be renewed", function() return mongodb.json(lease()) ~= mongodb.json(before) end)
    assert.equal(mongodb.json(before.since), mongodb.json(lease().since))
    assert.is_true(unlock(run).ok)
    assert.is_nil(lease().owner)
    local other = open()
    assert.is_true(lock(other).ok)
    assert.equal(before.fence + 1, lease().fence)
  end)

  it("may be taken over when it has ended", function()
    change('[{"$set":{"owner":"somebody","fence":5,"since":"$$NOW","who":{"pid":1},'
      .. '"expires":{"$add":["$$NOW",60000]}}}]')
    local run = open()
    assert.equal("lock_held", lock(run).error.code)
    expire()
    assert.is_true(lock(run).ok)
    assert.equal(6, lease().fence)
  end)

  it("is not taken where something else has its name, which stays as it is", function()
    for _, make in ipairs {
      '{"insert":"lunadex.lock","documents":[{"_id":"run","owner":"me","expires":"never","who":{"pid":1}}]}',
      '{"insert":"lunadex.lock","documents":[{"_id":"run","owner":"me"}]}',
      '{"insert":"lunadex.lock","documents":[{"_id":"run","owner":"me","fence":"1","expires":{"$date":0}}]}',
      '{"insert":"lunadex.lock","documents":[{"_id":"run","owner":"me","fence":1.5,"expires":{"$date":0}}]}',
      '{"insert":"lunadex.lock","documents":[{"_id":"run","owner":"me","fence":{"$numberLong":"9223372036854775807"},'
        .. '"expires":{"$date":0}}]}',
      '{"insert":"lunadex.lock","documents":[{"_id":"run","owner":"me","fence":1,'
        .. '"expires":{"$timestamp":{"t":1,"i":1}}}]}' } do
      server:try(database, { "drop", "lunadex.lock" })
      server:command(database, make)
      local before = mongodb.json(lease())
      local done = lock(open())
      assert.is_false(done.ok, make)
      assert.equal("dependent", done.error.code, make .. tostring(done.error))
      assert.matches("lunadex.lock is not Lunadex's", done.error.message, 1, true)
      assert.matches("Rename what has that name", done.error.hint, 1, true)
      assert.matches('deleteOne({ _id: "run" })', done.error.hint, 1, true)
      assert.equal(before, mongodb.json(lease()))
      local status = lunadex.run { "status", "--target", server:url(database), "--json" }
      assert.equal(0, status.status, tostring(status))
      assert.equal(mongodb.null, status:json().lock or mongodb.null)
    end
  end)

  it("is not taken where something of its name is no ordinary collection", function()
    for make, kind in pairs { ['"viewOn":"other","pipeline":[]'] = "a view",
      ['"timeseries":{"timeField":"at"}'] = "a time-series collection" } do
      server:try(database, { "drop", "lunadex.lock" })
      server:command(database, '{"create":"lunadex.lock",' .. make .. "}")
      local registry = lunadex.registry [[ on "t" { index { "a" } } ]]
      local result = lunadex.run { "apply", registry, "--target", server:url(database) }
      assert.equal(6, result.status, tostring(result))
      assert.matches("the run lock cannot be taken: lunadex.lock is " .. kind, result.stderr, 1, true)
      assert.matches("make room for it", result.stderr, 1, true)
      assert.equal(0, lunadex.run({ "plan", registry, "--target", server:url(database) }).status)
      local status = lunadex.run { "status", "--target", server:url(database), "--json" }
      assert.equal(0, status.status, tostring(status))
      assert.equal(mongodb.null, status:json().lock or mongodb.null)
    end
  end)

  it("that would not end for years says what ends it", function()
    change('[{"$set":{"owner":"somebody","fence":5,"since":"$$NOW","who":{"pid":1},'
      .. '"expires":{"$add":["$$NOW",86400000000]}}}]')
    local refused = lock(open())
    assert.equal("lock_held", refused.error.code)
    assert.matches("its lease ends at %d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%dZ", refused.error.detail)
    assert.matches('db.getCollection("lunadex.lock").deleteOne({ _id: "run" })', refused.error.hint, 1, true)
  end)

  it("is lost to whoever took it: nothing more is written, and what is theirs stays", function()
    local run = open()
    server:fill(database, "t", 10, { a = "$n" })
    assert.is_true(lock(run).ok)
    change '{"$set":{"owner":"somebody","who":{"pid":4711,"user":"u","host":"h"}}}'
    local event = lost(run, 5)
    assert.equal("lock_lost", event.error.code)
    assert.matches("pid 4711 u@h", event.error.detail, 1, true)
    assert.equal("lock_lost", run:build("t", "t_a", { "a" }).error.code)
    assert.is_nil(run:spec("t", "t_a"))
    assert.is_true(unlock(run).ok)
    assert.equal("somebody", lease().owner)
  end)

  it("is lost with its document", function()
    local run = open()
    assert.is_true(lock(run).ok)
    server:command(database, '{"drop":"lunadex.lock"}')
    assert.matches("removed", lost(run, 5).error.message, 1, true)
  end)

  it("is given back by its owner only", function()
    local run = open()
    assert.is_true(lock(run).ok)
    change '{"$set":{"owner":"somebody"}}'
    unlock(run)
    assert.equal("somebody", lease().owner)
  end)

  it("outlives trouble with the network and elections", function()
    local run = open()
    assert.is_true(lock(run).ok)
    for _, how in ipairs { { closeConnection = true }, { errorCode = 10107 }, { errorCode = 11602 } } do
      local fault <close> = steps.fail(server, { "findAndModify", "aggregate" }, how, 3)
      assert.is_nil(lost(run, 2.5))
      assert.is_truthy(fault)
    end
    local before = mongodb.json(lease())
    shell.eventually("the lease to be renewed", function()
      run.db:poll(0)
      return mongodb.json(lease()) ~= before
    end)
    assert.is_true(unlock(run).ok)
  end)

  it("is given back when the server was away a moment ago", function()
    local link = proxies.start(server)
    finally(function() link:close() end)
    local run = open { url = server:url(database, link.port) }
    assert.is_true(lock(run).ok)
    link:refuse(true)
    link:make "cut"
    -- It cannot be renewed, and the client that found no server looks for none for a while.
    assert.is_nil(lost(run, 2))
    link:refuse(false)
    local given = unlock(run)
    assert.is_true(given.ok, tostring(given.error))
    assert.is_nil(lease().owner)
  end)

  it("says what keeps it from being taken", function()
    local run = open()
    local fault <close> = steps.fail(server, { "findAndModify" }, { errorCode = 8000 }, 99)
    assert.equal("server", lock(run).error.code)
    fault:release()
    assert.is_true(lock(run).ok)
  end)

  -- What holds the lock and says what becomes of it, in a process of its own.
  local function other_process()
    local script = shell.directory "holder" .. "/hold.lua"
    -- The host of the specs is the one that gives scripts the core.
    shell.write_file(script, ([[ it("holds", function()
      local core = require "lunadex.core"
      local db = assert(core.open(%q, { jobs = 1, application_name = "halted" }))
      local locking = db:lock()
      while true do
        local event = db:poll(60)
        if event and event.event == "done" and event.job == locking then
          io.stderr:write(event.ok and "locked\n" or "not locked\n")
        elseif event and event.event == "lock_lost" then
          io.stderr:write("lost: ", event.error.code, "\n")
          local step = db:perform { kind = "build", relation = "t", name = "t_a", retry = { attempts = 1 },
            fields = { kind = "index", relation = "t", method = "", keys = { { column = "a" } } } }
          repeat event = db:poll(60) until event and event.event == "done" and event.job == step
          io.stderr:write("write: ", event.error and event.error.code or "done", "\n")
          os.exit(0)
        end
      end
    end) ]]):format(server:url(database)))
    local holder = shell.start { lunadex.build .. "/lunadex-busted", script }
    shell.eventually("the other process to hold the lock", function() return holder:stderr():find "locked" end)
    return holder
  end

  it("is taken from a holder that was halted, which learns it when it goes on", function()
    local holder = other_process()
    holder:kill("STOP")
    local run = open()
    assert.matches('"halted"', lock(run).error.detail, 1, true)
    expire()
    assert.is_true(lock(run).ok)
    holder:kill("CONT")
    local ended = holder:wait(20)
    assert.matches("lost: lock_lost\nwrite: lock_lost\n", ended.stderr, 1, true)
    assert.is_nil(lost(run, 1.5))
  end)

  it("is lost while a build goes on: that is why it is cancelled", function()
    server:fill(database, "t", 100, { a = "$n" })
    local held <close> = steps.hold(server, steps.scanning)
    local process = lunadex.start { "apply", lunadex.registry 'on "t" { index { "a" } }', "--target",
      server:url(database) }
    held:reached()
    change '{"$set":{"owner":"somebody"}}'
    shell.eventually("the run to hear of it", function() return process:stdout():find("stopping", 1, true) end)
    shell.sleep(1) -- for the request to cancel, which the server hears where it is held
    held:release()
    local result = lunadex.result(process:wait(30))
    assert.equal(1, result.status, tostring(result))
    assert.matches("cancelled: the run lock was lost: another run has taken the lock", result.stdout, 1, true)
  end)

  it("is taken while a build goes on and its run is halted: that run says so, and does not end well", function()
    server:fill(database, "t", 100, { a = "$n" })
    local held <close> = steps.hold(server, steps.scanning)
    local process = lunadex.start { "apply", lunadex.registry 'on "t" { index { "a" } }', "--target",
      server:url(database) }
    held:reached()
    process:kill "STOP"
    expire()
    assert.is_true(lock(open()).ok)
    held:release()
    shell.eventually("the build to end", function()
      local spec = server:indexes(database, "t")[2]
      return spec and not spec.buildUUID
    end)
    process:kill "CONT"
    local result = lunadex.result(process:wait(30))
    assert.equal(1, result.status, tostring(result))
    assert.matches("the run lock was lost", result.stdout .. result.stderr, 1, true)
  end)

  it("is still its run's where the server was away for longer than it lasts, and nobody took it", function()
    if not os.getenv "LUNADEX_TEST_LONG" then return pending "--long" end
    local own = mongodb.start()
    finally(function() own:kill() end)
    for _, name in ipairs { "t", "u" } do own:fill("test", name, 100, { a = "$n" }) end
    local held = steps.hold(own, steps.scanning)
    local process = lunadex.start { "apply", lunadex.registry 'on "t" { index { "a" } } on "u" { index { "a" } }',
      "--jobs", "1", "--target", own:url "test" }
    held:reached()
    own:command("admin", { "fsync" })
    own:kill()
    shell.sleep(35)
    own:restart()
    local result = lunadex.result(process:wait(120))
    assert.equal(0, result.status, tostring(result))
    for _, name in ipairs { "t", "u" } do assert.equal(2, #own:indexes("test", name)) end
  end)

  it("ends by itself half a minute after its holder was last heard of, and not before", function()
    if not os.getenv "LUNADEX_TEST_LONG" then return pending "--long" end
    local holder = other_process()
    holder:kill("STOP")
    local began, run = shell.now(), open()
    shell.eventually("the lease to end", function() return lock(run).ok end, 60)
    assert.is_true(shell.now() - began > 28)
    holder:kill("CONT")
    assert.matches("lost: lock_lost\nwrite: lock_lost\n", holder:wait(20).stderr, 1, true)
  end)
end)
