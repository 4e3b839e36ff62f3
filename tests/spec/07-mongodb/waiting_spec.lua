-- Others have the collection that a step wants for itself: it waits, and holds up nobody.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local shell = require "support.shell"
local steps = require "support.mongosteps"

describe("on MongoDB, a step that wants the collection", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, run

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    server:fill(database, "t", 20, { a = "$n", b = "$n" })
    server:command(database, { "createIndexes", "t", indexes = {
      { key = { a = 1 }, name = "t_a" }, { key = { b = 1 }, name = "t_b" },
    } })
    run = steps.open(server, database, { jobs = 3 })
  end)
  after_each(function()
    run:close()
    server:drop_database(database)
  end)

  local function each_kind()
    return {
      steps.build("t", "t_ab", { "a", "b" }),
      steps.alter("t", "t_a", { "a" }, { with = { { "hidden", "true" } } }),
      { kind = "drop", relation = "t", name = "t_b" },
    }
  end
  local function assert_done()
    assert.is_truthy(run:spec("t", "t_ab"))
    assert.is_true(run:spec("t", "t_a").hidden)
    assert.is_nil(run:spec("t", "t_b"))
  end
  -- By one member: an insert that is held up keeps all later writes from being confirmed by a majority.
  local function write()
    local update = { q = { a = 1 }, u = { ["$set"] = { touched = true } } }
    return { "update", "t", updates = { update }, writeConcern = { w = 1 } }
  end

  -- Who waits for a lock of the collection.
  local function queue()
    for _, lock in ipairs(server:command("admin", { "lockInfo" }).lockInfo) do
      if lock.resourceId:find(database .. ".t}", 1, true) then return #lock.pending end
    end
    return 0
  end

  local function transaction(id)
    return server:transaction(database, { "insert", "t", documents = { { _id = id or "x", a = -1, b = -1 } } })
  end
  -- The `count`th that is open.
  local function old_transaction(id, count)
    local open = transaction(id)
    shell.eventually("a transaction of more than a second", function()
      local reply = server:command("admin", { "aggregate", cursor = mongodb.document(), pipeline = {
        { ["$currentOp"] = { allUsers = true, idleSessions = true } },
        { ["$match"] = { ["transaction.timeOpenMicros"] = { ["$gt"] = 1100000 } } },
      } })
      return #reply.cursor.firstBatch == (count or 1)
    end)
    return open
  end
  local function waits(job)
    return run:await(job, function(event)
      if event.event == "done" then error("ended before: " .. tostring(event.error), 0) end
      return event.event == "progress" and event.phase == "waiting for the collection's lock"
        and (event.blocker or ""):find "^127%.0%.0%.1:%d+" ~= nil
    end)
  end

  it("sends nothing while a transaction has the collection", function()
    local jobs = {}
    do
      local _ <close> = old_transaction()
      for i, step in ipairs(each_kind()) do jobs[i] = run:submit(step) end
      for _, job in ipairs(jobs) do
        local seen = waits(job)
        assert.matches("in a transaction, since 0:0", seen.blocker, 1, true)
        assert.is_false(seen.started)
        assert.is_nil(seen.blocker_pid)
      end
      assert.equal(0, queue())
      assert.is_truthy(server:command(database, write()))
      assert.equal(0, queue())
    end
    for _, job in ipairs(jobs) do assert.is_true(run:finish(job).ok) end
    assert_done()
  end)

  it("tells of the next transaction that is in its way when the first is gone", function()
    local first <close> = old_transaction()
    server.client = nil -- the next has a link of its own: by that they are told apart
    local second <close> = old_transaction("y", 2)
    local process = lunadex.start { "apply", "--json", "--target", server:url(database),
      lunadex.registry [[ on "t" { index { "a", "b", name = "t_ab" } } ]] }
    local function who(event) return event.blocker:match "^127%.0%.0%.1:%d+" end
    -- The word on somebody who is not `other`; what is told after a minute is a reminder.
    local function told(other)
      return shell.eventually("a word on who is in the way", function()
        local lines = process:stdout():match "^.*\n" or ""
        for _, event in ipairs(lunadex.result { stdout = lines, stderr = "" }:events()) do
          if event.event == "waiting" and who(event) and who(event) ~= other then return event end
        end
      end, 50)
    end
    local event = told()
    local lock = lunadex.run({ "status", "--json", "--target", server:url(database) }):json().lock
    assert.same({ "t", who(event) }, { lock.relation, who(lock) })
    assert.matches("in a transaction", lock.blocker, 1, true)
    assert.matches("changes of t wait for 127", lunadex.run({ "status", "--target", server:url(database) }).stdout, 1,
      true)
    first:abort()
    told(who(event))
    second:abort()
    local result = lunadex.result(process:wait())
    assert.equal(0, result.status, tostring(result))
  end)

  it("gives up when its time is over, and names who has it", function()
    local _ <close> = old_transaction()
    local step = each_kind()[3]
    step.lock_timeout = 0.3
    local done, events = run:finish(run:submit(step))
    assert.equal("lock_timeout", done.error.code)
    assert.matches("^t is held by 127%.0%.0%.1:%d+.*, in a transaction, since 0:%d", done.error.message)
    assert.equal("", steps.notes(events))
  end)

  it("leaves alone what has become another one meanwhile", function()
    local open <close> = old_transaction()
    local job = run:submit { kind = "drop", relation = "t", name = "t_b",
      fields = { kind = "index", relation = "t", name = "t_b", method = "", keys = { { column = "b" } } } }
    waits(job)
    local other = server:send(database, { "collMod", "t", index = { name = "t_b", hidden = true } })
    shell.eventually("it to stand in the queue", function() return queue() == 1 end)
    open:abort()
    assert.is_truthy(other:wait())
    assert.equal("dependent", run:finish(job).error.code)
    assert.is_true(run:spec("t", "t_b").hidden)
  end)

  it("stands in the queue for a moment only, whoever it is that cannot be seen", function()
    local held <close> = steps.hold(server, "hangAfterCollectionInserts", { collectionNS = database .. ".t" })
    local insert = server:send(database, { "insert", "t", documents = { { _id = "x" } } })
    held:reached()
    local jobs = {}
    for i, step in ipairs(each_kind()) do
      jobs[i] = run:submit(step)
      assert.is_false(waits(jobs[i]).started)
      -- Without an end of our waiting it would wait until the insert is let go.
      assert.is_truthy(server:send(database, write()):wait(30))
    end
    held:release()
    assert.is_truthy(insert:wait())
    for _, job in ipairs(jobs) do assert.is_true(run:finish(job).ok) end
    assert_done()
  end)

  it("tells for whom a build waits at its end, and does not lose it", function()
    local job
    do
      local held <close> = steps.hold(server, "hangAfterIndexBuildSecondDrain")
      local step = steps.build("t", "t_ab", { "a", "b" })
      step.lock_timeout = 0.5
      job = run:submit(step)
      held:reached()
      local _ <close> = transaction()
      held:release()
      local seen = waits(job)
      assert.same({ true, true }, { seen.started, seen.draining })
      assert.matches("in a transaction", seen.blocker, 1, true)
      local told = lunadex.run({ "status", "--json", "--target", server:url(database) }):json().builds[1]
      assert.same({ "t_ab", "waiting for the collection's lock" }, { told.name, told.phase })
      assert.matches("in a transaction", told.blocker, 1, true)
      shell.sleep(0.6) -- longer than its time for locks
    end
    assert.is_true(run:finish(job).ok)
    assert.is_truthy(run:spec("t", "t_ab"))
  end)
end)
