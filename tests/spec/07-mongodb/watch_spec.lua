-- What is seen of running builds, and that they can be cancelled: both as the server has them.
local mongodb = require "support.mongodb"
local proxies = require "support.proxy"
local shell = require "support.shell"
local steps = require "support.mongosteps"

describe("a running build on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, run

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    server:fill(database, "t", 100, { a = "$n", b = { "$n", { ["$add"] = { "$n", 1000 } } } })
    run = steps.open(server, database)
  end)
  after_each(function()
    run:close()
    server:drop_database(database)
  end)

  -- The progress of the index t_NAME while the server is at that fail point.
  local function progress(point, data, pattern, key)
    local held <close> = steps.hold(server, point, data)
    local job = run:submit(steps.build("t", "t_" .. key, { key }))
    held:reached()
    local seen = run:phase(job, pattern)
    held:release()
    assert.is_true(run:finish(job).ok)
    return seen
  end

  it("shows how many documents are read", function()
    local seen = progress("hangIndexBuildDuringCollectionScanPhaseBeforeInsertion", { fieldsToMatch = { a = 50 } },
      "^scanning collection$", "a")
    assert.same({ 49, 100, "documents", true, false },
      { seen.done, seen.total, seen.unit, seen.started, seen.draining })
  end)

  it("shows how many keys are loaded", function()
    local seen = progress("hangIndexBuildDuringBulkLoadPhase", { iteration = 50, indexNames = { "t_b" } },
      "^inserting keys", "b")
    assert.same({ 50, 200, "keys", true }, { seen.done, seen.total, seen.unit, seen.started })
  end)

  -- An insert that goes on holding the collection's lock.
  local function locked()
    local held = steps.hold(server, "hangAfterCollectionInserts", { collectionNS = database .. ".t" })
    local insert = server:send(database, { "insert", "t", documents = { { _id = "x" } } })
    held:reached()
    return held, insert
  end

  it("shows for whom it waits to get the lock, which is what the budget is for", function()
    local held <close>, insert = locked()
    local job = run:submit(steps.build("t", "t_a", { "a" }))
    -- The server tells of operations and of locks one after the other: a look in between names nobody.
    local seen = run:await(job, function(event)
      return event.event == "progress" and event.phase == "waiting for the collection's lock"
        and event.blocker:find "127.0.0.1:%d+, op %d+, since 0:"
    end)
    assert.is_false(seen.started)
    local step = steps.build("t", "t_a2", { "b" })
    step.lock_timeout = 2 -- within which the watcher looks, also on a machine that is busy
    local done = run:finish(run:submit(step))
    assert.equal("lock_timeout", done.error.code)
    assert.matches("blocked by ", done.error.detail)
    held:release()
    assert.is_truthy(insert:wait())
    assert.is_true(run:finish(job).ok)
    assert.is_nil(run:spec("t", "t_a2"))
  end)

  it("is queued where the server runs as many as it does at a time", function()
    local held <close> = steps.hold(server, steps.scanning)
    local others = {}
    for i = 1, 3 do
      local name = "other" .. i
      server:insert(database, name, { '{"a":1}' })
      others[i] = server:send(database, { "createIndexes", name, indexes = { { key = { a = 1 }, name = "a" } } })
    end
    shell.eventually("three builds to run", function()
      local reply = server:command("admin", { "aggregate", cursor = mongodb.document(), pipeline = {
        { ["$currentOp"] = { allUsers = true, localOps = true } },
        { ["$match"] = { desc = { ["$regex"] = "^IndexBuilds" }, ["command.createIndexes"] = { ["$exists"] = true } } },
      } })
      return #reply.cursor.firstBatch == 3
    end)
    local step = steps.build("t", "t_a", { "a" })
    step.lock_timeout = 0.5
    local job = run:submit(step)
    local seen = run:phase(job, "^queued$")
    assert.equal("3 other builds: the server runs no more than 3 at a time", seen.blocker)
    -- The budget for locks is not for the work of others.
    shell.sleep(1)
    held:release()
    assert.is_true(run:finish(job).ok)
    for _, other in ipairs(others) do assert.is_truthy(other:wait()) end
  end)

  it("is in nobody's way where one build of a run waits for another of the same run", function()
    local run_two = steps.open(server, database, { jobs = 3 })
    assert.is_true(run_two:build("t", "t_a", { "a" }).ok)
    local held <close> = steps.hold(server, steps.scanning)
    local building = run_two:submit(steps.build("t", "t_b", { "b" }))
    held:reached()
    local converting = run_two:submit(steps.alter("t", "t_a", { "a" }, { unique = true }))
    local event = run_two:phase(converting, "waiting for another build of this run")
    assert.same({ "", 0 }, { event.blocker or "", event.blocker_pid or 0 })
    held:release()
    assert.is_true(run_two:finish(building).ok)
    local done, events = run_two:finish(converting)
    assert.is_true(done.ok, tostring(done.error))
    assert.matches("an index of t is being built by this run: waiting for it", steps.notes(events), 1, true)
    run_two:close()
  end)

  it("says so when it waits for another build before it is converted", function()
    assert.is_true(run:build("t", "t_a", { "a" }).ok)
    local held <close> = steps.hold(server, steps.scanning)
    local other = server:send(database, { "createIndexes", "t", indexes = { { key = { b = 1 }, name = "t_b" } } })
    held:reached()
    local job = run:submit(steps.alter("t", "t_a", { "a" }, { unique = true }))
    local seen = run:phase(job, "^waiting for another build of the collection$")
    assert.matches("createIndexes t", seen.blocker, 1, true)
    assert.is_true(seen.started)
    -- How long it has been at it is another time by now; it is told once for all that.
    run:await(job, function(event) return event.event == "progress" and event.blocker ~= seen.blocker end)
    held:release()
    local done, events = run:finish(job)
    assert.is_true(done.ok, tostring(done.error))
    assert.equal(1, select(2, steps.notes(events):gsub("an index of t is being built by 127", "")))
    assert.is_truthy(other:wait())
  end)

  it("says so, too, where the server does not tell whose build that is", function()
    assert.is_true(run:build("t", "t_a", { "a" }).ok)
    local held <close> = steps.hold(server, steps.scanning)
    local other = server:send(database, { "createIndexes", "t", indexes = { { key = { b = 1 }, name = "t_b" } } })
    held:reached()
    local silent <close> = steps.fail(server, { "aggregate" }, { errorCode = 13 }, 100000)
    local job = run:submit(steps.alter("t", "t_a", { "a" }, { unique = true }))
    local note = run:await(job, function(event) return event.event == "note" or event.event == "done" end)
    assert.equal("an index of t is being built by somebody: waiting for it", note.text)
    silent:release()
    held:release()
    assert.is_true(run:finish(job).ok)
    assert.is_truthy(other:wait())
  end)

  describe("that is cancelled", function()
    local function gone(name)
      return shell.eventually("nothing to be left", function() return not run:spec("t", name) end)
    end

    it("is ended on the server, which leaves nothing of it", function()
      local held <close> = steps.hold(server, steps.scanning)
      local job = run:submit(steps.build("t", "t_a", { "a" }))
      held:reached()
      run.db:cancel(job)
      shell.sleep(1)
      held:release()
      local done = run:finish(job)
      assert.equal("cancelled", done.error.code)
      assert.is_nil(run:spec("t", "t_a"))
    end)

    it("is ended beside others of the same collection", function()
      for _ = 1, 5 do
        local jobs = {}
        do
          local _ <close> = steps.hold(server, steps.scanning)
          for i, key in ipairs { "a", "b" } do
            jobs[i] = run:submit(steps.build("t", "t_" .. key, { key }, { unique = key == "a" }))
            run:phase(jobs[i], "scanning")
          end
          run.db:cancel()
          shell.sleep(1.2)
        end
        for _, job in ipairs(jobs) do assert.equal("cancelled", run:finish(job).error.code) end
        gone "t_a"
        gone "t_b"
      end
    end)

    it("while it waits for a lock, is ended at once", function()
      local held <close>, insert = locked()
      local job = run:submit(steps.build("t", "t_a", { "a" }))
      run:phase(job, "lock")
      local begun = shell.now()
      run.db:cancel(job)
      assert.equal("cancelled", run:finish(job).error.code)
      assert.is_true(shell.now() - begun < 5)
      held:release()
      assert.is_truthy(insert:wait())
      gone "t_a"
    end)

    it("goes on if somebody else began it", function()
      local held <close> = steps.hold(server, steps.scanning)
      local other = server:send(database, { "createIndexes", "t", indexes = { { key = { a = 1 }, name = "t_a" } } })
      held:reached()
      local job = run:submit(steps.build("t", "t_a", { "a" }))
      run:phase(job, "scanning")
      run.db:cancel(job)
      local done, events = run:finish(job)
      assert.equal("cancelled", done.error.code)
      assert.matches("the build of t_a goes on: .* asked for it, too", steps.notes(events))
      held:release()
      assert.is_truthy(other:wait())
      assert.is_nil(run:spec("t", "t_a").buildUUID)
    end)

    it("is ended where this program began it over a link that it lost", function()
      local proxy = proxies.start(server)
      local through = steps.open(server, database, { url = server:url(database, proxy.port) })
      local held <close> = steps.hold(server, steps.scanning)
      local step = steps.build("t", "t_a", { "a" })
      step.retry = { attempts = 5, first_delay = 0.1 }
      local job = through:submit(step)
      held:reached()
      proxy:make "cut"
      through:await(job, function(event) return event.event == "retry" end)
      through:phase(job, "scanning")
      through.db:cancel(job)
      shell.sleep(1.5)
      held:release()
      assert.equal("cancelled", through:finish(job).error.code)
      through:close()
      gone "t_a"
      proxy:close()
    end)

    it("is not made unique, and its refusal of duplicates can be taken back", function()
      local held <close> = steps.hold(server, "hangAfterCollModIndexUniqueFullIndexScan")
      local job = run:submit(steps.build("t", "t_a", { "a" }, { unique = true }))
      held:reached()
      run.db:cancel(job)
      shell.sleep(1)
      held:release()
      assert.equal("cancelled", run:finish(job).error.code)
      assert.is_true(run:step(steps.take_back("t", "t_a", { "a" })).ok)
      local spec = run:spec("t", "t_a")
      assert.is_nil(spec.unique)
      assert.is_nil(spec.prepareUnique)
    end)
  end)
end)
