-- What happens to servers, links and members while something is built: afterwards there is one index, as declared.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local shell = require "support.shell"
local steps = require "support.mongosteps"

local patient = { attempts = 60, first_delay = 0.2, factor = 1.5, max_delay = 1 }

describe("while MongoDB builds", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, run

  after_each(function()
    if run then run:close() end
    run = nil
  end)

  local function start(more, options)
    local step = steps.build("t", "t_a", { "a" }, more, options)
    step.retry = patient
    return run:submit(step)
  end

  describe("on one server", function()
    setup(function() server = mongodb.start() end)
    teardown(function() server:stop() end)
    before_each(function()
      server:try("test", { "drop", "t" })
      server:fill("test", "t", 1000, { a = "$n" })
      run = steps.open(server, "test")
    end)

    for _, signal in ipairs { "KILL", "TERM" } do
      for _, unique in ipairs { false, true } do
        local ending = unique and ", and made unique" or ""
        it(("it gets SIG%s: the build is joined when it is back%s"):format(signal, ending), function()
          -- In good order a server ends only where its build can be interrupted.
          local held = steps.hold(server, "hangIndexBuildDuringCollectionScanPhaseBeforeInsertion",
            { fieldsToMatch = { a = 500 } })
          local more = unique and { unique = true } or nil
          local job = start(more)
          held:reached()
          -- What was not on disk yet would not be gone on with.
          server:command("admin", { "fsync" })
          server:restart(signal)
          local done = run:finish(job)
          assert.is_true(done.ok, tostring(done.error))
          assert.is_true(done.attempts > 1)
          run:stands(more)
        end)
      end
    end

    it("its primary steps down for a second: the build is joined", function()
      local held <close> = steps.hold(server, steps.scanning)
      local job = start { unique = true }
      held:reached()
      local down = server:send("admin", { "replSetStepDown", 2, force = true })
      run:await(job, function(event) return event.event == "retry" end)
      held:release()
      assert.is_truthy(down:wait())
      local done = run:finish(job)
      assert.is_true(done.ok, tostring(done.error))
      run:stands { unique = true }
    end)

    it("is to be like an older version, which makes no index unique: that is built at once, or replaced", function()
      server:command("admin", { "setFeatureCompatibilityVersion", "5.0" })
      finally(function() server:command("admin", { "setFeatureCompatibilityVersion", "6.0" }) end)
      server:command("test", '{"createIndexes":"t","indexes":[{"name":"old","key":{"_id":1,"a":1}}]}')
      local path = lunadex.registry
        [[on "t" { index { "a", unique = true }, index { "_id", "a", name = "old", unique = true } }]]
      local result = lunadex.run { "apply", path, "--target", server:url "test", "--fail-on", "any" }
      assert.equal(0, result.status, tostring(result))
      assert.matches("a_1 is built unique at once, for the server does not convert indexes", result.stdout, 1, true)
      assert.matches("t old: replaced", result.stdout, 1, true)
      result = lunadex.run { "plan", path, "--target", server:url "test", "--detailed-exitcode" }
      assert.equal(0, result.status, tostring(result))
      -- Who may not ask for the version is told when it comes to it.
      server:command("test", '{"createIndexes":"t","indexes":[{"name":"t_a","key":{"a":1}}]}')
      local step = steps.build("t", "t_a", { "a" }, { unique = true })
      step.kind = "alter"
      local done = run:finish(run:submit(step))
      assert.matches("featureCompatibilityVersion has to be 6.0", done.error.hint, 1, true)
    end)

    it("there is no primary yet when a run begins: each attempt is told, and it gets there when there is", function()
      server:primary():command("admin", { "replSetStepDown", 60, force = true })
      local process = lunadex.start { "apply", lunadex.registry 'on "t" { index { "a", name = "t_a" } }', "--target",
        server:url "test" .. "&serverSelectionTimeoutMS=300" }
      shell.eventually("the first attempt to be told", function()
        return process:stderr():find "attempt 1 failed, next in [^,]*, for up to 60 s in all: the replica set has no"
      end)
      server.members[1]:command("admin", { "replSetFreeze", 0 })
      server:settled()
      local result = lunadex.result(process:wait(60))
      assert.equal(0, result.status, tostring(result))
      run:stands()
    end)

    it("somebody ends the operation: that is said, and nothing is left", function()
      local held <close> = steps.hold(server, steps.scanning)
      local job = start()
      held:reached()
      local reply = server:command("admin", { "aggregate", cursor = mongodb.document(), pipeline = {
        { ["$currentOp"] = { allUsers = true } },
        { ["$match"] = { ["command.createIndexes"] = "t", desc = { ["$regex"] = "^conn" } } },
      } })
      server:command("admin", { "killOp", op = reply.cursor.firstBatch[1].opid })
      held:release()
      local done = run:finish(job)
      assert.same({ "server", "11601" }, { done.error.code, done.error.native }, tostring(done.error))
      assert.matches("Somebody else ended it", done.error.hint, 1, true)
      assert.equal(1, #server:indexes("test", "t"))
    end)

    it("the collection is dropped: that is said", function()
      local held <close> = steps.hold(server, steps.scanning)
      local job = start()
      held:reached()
      local drop = server:send("test", { "drop", "t" })
      steps.runs(server, "drop")
      held:release()
      assert.is_truthy(drop:wait())
      local done = run:finish(job)
      -- IndexBuildAborted
      assert.same({ "server", "276" }, { done.error.code, done.error.native }, tostring(done.error))
      assert.matches("Somebody else ended it", done.error.hint, 1, true)
    end)

    it("a second run builds the same: both are done, and it is built once", function()
      local other = steps.open(server, "test")
      local before = #server:log()
      local held <close> = steps.hold(server, steps.scanning)
      local first = start { unique = true }
      held:reached()
      local step = steps.build("t", "t_a", { "a" }, { unique = true })
      step.retry = patient
      local second = other:submit(step)
      other:phase(second, "scanning")
      held:release()
      local done, again = run:finish(first), other:finish(second)
      assert.is_true(done.ok, tostring(done.error))
      assert.is_true(again.ok, tostring(again.error))
      other:close()
      run:stands { unique = true }
      -- "Index build: starting"
      assert.equal(1, select(2, server:log():sub(before + 1):gsub('"id":20384', "")), "builds begun")
    end)

    it("somebody changes the index while it is being made unique: the next attempt looks again", function()
      local held <close> = steps.hold(server, "hangAfterCollModIndexUniqueReleaseIXLock", { nss = "test.t" })
      local job = start { unique = true }
      held:reached()
      for _, hidden in ipairs { true, false } do
        server:command("test", { "collMod", "t", index = { name = "t_a", hidden = hidden } })
      end
      held:release()
      local done = run:finish(job)
      assert.is_true(done.ok, tostring(done.error))
      run:stands { unique = true }
    end)

    it("it does not answer for a while: the build goes on", function()
      local held <close> = steps.hold(server, steps.scanning)
      local job = start()
      held:reached()
      server:kill "STOP"
      shell.sleep(3)
      server:kill "CONT"
      held:release()
      local done = run:finish(job)
      assert.is_true(done.ok, tostring(done.error))
      run:stands()
    end)
  end)

  describe("in a set of three", function()
    setup(function() server = mongodb.start { members = 3 } end)
    teardown(function() server:stop() end)
    before_each(function()
      server:try("test", { "drop", "t" })
      server:fill("test", "t", 1000, { a = "$n" })
      run = steps.open(server, "test", { jobs = 3 })
    end)

    local function lock() return run:finish(run.db:lock()) end

    it("another becomes primary: the build is joined there, and the lock is still held", function()
      assert.is_true(lock().ok)
      local held = {}
      for i, member in ipairs(server.members) do held[i] = steps.hold(member, steps.scanning) end
      local job = start { unique = true }
      held[1]:reached()
      local before = server:primary()
      assert.not_equal(before, server:step_down())
      run:await(job, function(event) return event.event == "retry" end)
      for _, point in ipairs(held) do point:release() end
      local done = run:finish(job)
      assert.is_true(done.ok, tostring(done.error))
      run:stands { unique = true }
      assert.is_nil(run.events.others)
      assert.is_true(run:finish(run.db:unlock()).ok)
    end)

    it("the primary dies: the build is joined on the next one", function()
      assert.is_true(lock().ok)
      local job
      do
        local held <close> = steps.hold(server:primary(), steps.scanning)
        job = start()
        held:reached()
        server:primary():kill()
        held.name = nil
      end
      -- The dead one votes for the commit, too.
      run:phase(job, "waiting for other members to finish")
      for _, member in ipairs(server.members) do
        if not member.pid then member:start() end
      end
      local done = run:finish(job)
      assert.is_true(done.ok, tostring(done.error))
      run:stands()
      assert.is_nil(run.events.others)
      server:settled()
    end)

    it("a member is dead: it is said for whom the build waits; another quorum, given later, ends that", function()
      local dead
      for _, member in ipairs(server.members) do
        if member ~= server:primary() then dead = member end
      end
      server:try("test", { "drop", "measured" })
      server:command("test", '{"create":"measured","timeseries":{"timeField":"at","metaField":"m"}}')
      server:command("test", '{"insert":"measured","documents":[{"at":{"$date":0},"m":{"id":1}}]}')
      dead:kill()
      local job = start()
      local seen = run:phase(job, "^waiting for other members to finish$")
      assert.is_true(seen.draining)
      local name = ("127.0.0.1:%d "):format(dead.port)
      assert.equal(name, seen.blocker:sub(1, #name))
      -- The others take some time to miss it.
      local missed = name .. "(not reachable/healthy)"
      if seen.blocker ~= missed then run:await(job, function(event) return event.blocker == missed end) end
      local told = lunadex.run({ "status", "--json", "--target", server:url "test" }):json().builds[1]
      assert.same({ "waiting for other members to finish", missed }, { told.phase, told.blocker })
      local step = steps.build("t", "t_b", { "_id", "a" }, nil, { commit_quorum = "majority" })
      assert.is_true(run:step(step).ok)
      -- Whoever joins a build with a quorum of his own sets it, here also that of an index which is built with it.
      local sent = server:send("test", [[{ "createIndexes": "t", "indexes": [{ "key": { "c": 1 }, "name": "t_c" },
        { "key": { "d": 1 }, "name": "t_d" }] }]])
      shell.eventually("that build to begin", function() return run:spec("t", "t_d") end)
      local done, events = run:step(steps.build("t", "t_d", { "d" }, nil, { commit_quorum = "majority" }))
      assert.is_true(done.ok, tostring(done.error))
      assert.matches("that build's commit quorum is majority from now on", steps.notes(events), 1, true)
      assert.is_truthy(sent:wait())
      -- Of a time series as well, which the server keeps in a collection of another name.
      local by_id = steps.build("measured", "by_id", { "m.id" })
      local series = run:submit(by_id)
      assert.equal(name, run:phase(series, "^waiting for other members to finish$").blocker:sub(1, #name))
      by_id.commit_quorum = "majority"
      done, events = run:step(by_id)
      assert.is_true(done.ok, tostring(done.error))
      assert.matches("that build's commit quorum is majority from now on", steps.notes(events), 1, true)
      assert.is_true(run:finish(series).ok)
      dead:start()
      assert.is_true(run:finish(job).ok)
      server:settled()
    end)

    it("a member that is hidden, and can never be primary, is dead: it has a vote, too", function()
      local primary, place = server:primary(), nil
      for i, member in ipairs(server.members) do
        if member ~= primary then place = i end
      end
      local function configure(priority, hidden)
        local config = server:command("admin", { "replSetGetConfig" }).config
        config.version = config.version + 1
        config.members[place].priority, config.members[place].hidden = priority, hidden
        server:command("admin", { "replSetReconfig", config })
      end
      configure(0, true)
      local dead = server.members[place]
      dead:kill()
      local job = start()
      local name = ("127.0.0.1:%d "):format(dead.port)
      assert.equal(name, run:phase(job, "^waiting for other members to finish$").blocker:sub(1, #name))
      dead:start()
      assert.is_true(run:finish(job).ok)
      server:settled()
      configure(1, false)
    end)
  end)
end)
