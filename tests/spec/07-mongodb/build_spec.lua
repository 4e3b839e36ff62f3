-- Builds on a real server: what listIndexes gives afterwards is what counts.
local mongodb = require "support.mongodb"
local steps = require "support.mongosteps"

describe("a step that builds on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, run

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    server:fill(database, "t", 100, { a = "$n", b = { ["$mod"] = { "$n", 10 } }, s = "x" })
    run = steps.open(server, database)
  end)
  after_each(function()
    run:close()
    server:drop_database(database)
  end)

  it("leaves a finished index, and finds it done the second time", function()
    local done = run:build("t", "t_a", { "a", { column = "b", descending = true } })
    assert.is_true(done.ok, tostring(done.error))
    assert.equal('{"v":2,"key":{"a":1,"b":-1},"name":"t_a"}', mongodb.json(run:spec("t", "t_a")))
    assert.is_true(run:build("t", "t_a", { "a", { column = "b", descending = true } }).ok)
  end)

  it("tells what it began to build from what it found", function()
    assert.is_true(run:build("t", "t_a", { "a" }).built)
    assert.is_falsy(run:build("t", "t_a", { "a" }).built)
    assert.is_true(run:build("t", "t_ab", { "a", "b" }, { unique = true }).built)
    assert.is_falsy(run:build("t", "t_ab", { "a", "b" }, { unique = true }).built)
    local held <close> = steps.hold(server, steps.scanning)
    local other = server:send(database, { "createIndexes", "t", indexes = { { key = { b = 1 }, name = "t_b" } } })
    held:reached()
    local job = run:submit(steps.build("t", "t_b", { "b" }))
    run:await(job, function(event) return event.event == "note" end)
    held:release()
    assert.is_falsy(run:finish(job).built)
    assert.is_truthy(other:wait())
  end)

  describe("that joins a build of somebody else's, whose commit quorum is another", function()
    local function join(how)
      local held <close> = steps.hold(server, steps.scanning)
      local other = server:send(database, { "createIndexes", "t", indexes = { { key = { a = 1 }, name = "t_a" } } })
      held:reached()
      local _ <close> = how and steps.fail(server, { "setIndexCommitQuorum" }, how)
      local job = run:submit(steps.build("t", "t_a", { "a" }, nil, {
        commit_quorum = "majority", retry = { attempts = 3, first_delay = 0.05 } }))
      run:await(job, function(event)
        return event.event == "done" or event.event == "note" and event.text:find("commit quorum", 1, true)
      end)
      held:release()
      local done, events = run:finish(job)
      assert.is_true(done.ok, tostring(done.error))
      assert.is_truthy(other:wait())
      return done.attempts, steps.notes(events)
    end
    local set = "that build's commit quorum is majority from now on"

    it("sets it", function()
      local attempts, notes = join()
      assert.equal(1, attempts)
      assert.matches(set, notes, 1, true)
    end)

    it("sets it once the link stands again", function()
      local attempts, notes = join { closeConnection = true }
      assert.equal(2, attempts)
      assert.matches(set, notes, 1, true)
      assert.is_nil(notes:find("cannot be set", 1, true))
    end)

    it("says that it may not, and takes that build as it is", function()
      local attempts, notes = join { errorCode = 13 }
      assert.equal(1, attempts)
      assert.matches("that build keeps its own commit quorum, for it cannot be set", notes, 1, true)
    end)
  end)

  describe("with companions", function()
    local function together(...)
      local companions = {}
      for i, key in ipairs { ... } do companions[i] = steps.index("t", { key }, { name = "t_" .. key }) end
      return { companions = companions }
    end

    it("builds them by one command, and they are found there", function()
      local before = server:command(database, { "serverStatus" }).metrics.commands.createIndexes.total
      assert.is_true(run:build("t", "t_a", { "a" }, nil, together("b", "c")).built)
      for _, key in ipairs { "a", "b", "c" } do assert.is_truthy(run:spec("t", "t_" .. key), key) end
      assert.equal(before + 1, server:command(database, { "serverStatus" }).metrics.commands.createIndexes.total)
      assert.is_falsy(run:build("t", "t_b", { "b" }).built)
    end)

    it("builds its own where one of them cannot be built, and says so", function()
      server:insert(database, "t", { { x = { 1, 2 }, y = { 1, 2 } } })
      local step = steps.build("t", "t_a", { "a" }, nil, together "b")
      step.companions[2] = steps.index("t", { "x", "y" }, { name = "t_xy" })
      local done, events = run:step(step)
      assert.is_true(done.ok, tostring(done.error))
      assert.matches("could not be built together: each is built by itself (cannot index parallel arrays",
        steps.notes(events), 1, true)
      assert.is_truthy(run:spec("t", "t_a"))
      assert.is_nil(run:spec("t", "t_b"))
      assert.is_true(run:build("t", "t_b", { "b" }).ok)
      assert.matches("parallel arrays", run:build("t", "t_xy", { "x", "y" }).error.message)
    end)

    it("is ended with them", function()
      local held <close> = steps.hold(server, "hangAfterStartingIndexBuild")
      local job = run:submit(steps.build("t", "t_a", { "a" }, nil, together "b"))
      held:reached()
      run.db:cancel(job)
      assert.equal("cancelled", run:finish(job).error.code)
      assert.is_nil(run:spec("t", "t_a"))
      assert.is_nil(run:spec("t", "t_b"))
    end)

    it("joins what it began when the link was lost", function()
      local held = steps.hold(server, "hangAfterStartingIndexBuild")
      local lost <close> = steps.fail(server, { "createIndexes" }, { closeConnection = true })
      local step = steps.build("t", "t_a", { "a" }, nil, together "b")
      step.retry = { attempts = 3, first_delay = 0.05 }
      local job = run:submit(step)
      held:reached():release()
      local done = run:finish(job)
      assert.is_true(done.ok, tostring(done.error))
      assert.equal(2, done.attempts)
      assert.is_truthy(run:spec("t", "t_b"))
      assert(lost)
    end)
  end)

  it("makes the collection where there is none", function()
    assert.is_true(run:build("new", "new_a", { "a" }).ok)
    assert.is_truthy(run:spec("new", "new_a"))
  end)

  it("carries every option", function()
    assert.is_true(run:build("t", "t_o", { "a" }, {
      where = '{"b": {"$gt": 5}}', traits = { { "collation", '{"locale":"en","strength":2}' } },
      with = { { "expireAfterSeconds", "3600" }, { "hidden", "true" } },
    }).ok)
    local spec = run:spec("t", "t_o")
    assert.equal('{"b":{"$gt":5}}', mongodb.json(spec.partialFilterExpression))
    assert.equal(2, spec.collation.strength)
    assert.equal(3600, spec.expireAfterSeconds)
    assert.is_true(spec.hidden)
  end)

  it("does not touch what else has the name", function()
    assert.is_true(run:build("t", "t_a", { "a" }).ok)
    for _, wanted in ipairs { { { "b" } }, { { "a" }, { traits = { { "sparse", "true" } } } },
      { { "a" }, { with = { { "expireAfterSeconds", "5" } } } } } do
      local done = run:build("t", "t_a", wanted[1], wanted[2])
      assert.equal("duplicate_name", done.error.code)
      assert.equal('db.t.createIndex({ a: 1 }, { name: "t_a" })', done.error.detail)
    end
    assert.equal('{"v":2,"key":{"a":1},"name":"t_a"}', mongodb.json(run:spec("t", "t_a")))
  end)

  it("says where the same index has another name", function()
    assert.is_true(run:build("t", "t_a", { "a" }).ok)
    local done = run:build("t", "t_b", { "a" })
    assert.equal("duplicate_name", done.error.code)
    assert.matches("under another name", done.error.hint, 1, true)
  end)

  it("refuses what no index can be, in the server's words", function()
    server:command(database, { "create", "v", viewOn = "t", pipeline = {} })
    assert.equal("invalid_definition", run:build("v", "v_a", { "a" }).error.code)
    assert.equal("invalid_definition", run:build("t", "t_x", { { column = "a", opclass = "nonsense" } }).error.code)
  end)

  it("has no other kinds of steps", function()
    for _, step in ipairs { { kind = "rename", other = "y" }, { kind = "swap", other = "y", spare = "z" },
      { kind = "attach", other = "y" }, { kind = "drop_constraint" } } do
      step.relation, step.name = "t", "x"
      assert.equal("unsupported", run:step(step).error.code)
    end
    assert.equal("unsupported", run:step(steps.build("t", "t_u", { "a" }, { kind = "unique_constraint" })).error.code)
  end)

  it("sends the commit quorum that was asked for", function()
    assert.is_true(run:build("t", "t_a", { "a" }, nil, { commit_quorum = "majority" }).ok)
    assert.is_true(run:build("t", "t_b", { "b" }, nil, { commit_quorum = "1" }).ok)
    local done = run:build("t", "t_s", { "s" }, nil, { commit_quorum = "7" })
    assert.is_false(done.ok)
    assert.is_nil(run:spec("t", "t_s"))
  end)

  describe("that somebody else is at", function()
    it("waits for that build, says whose it is, and is done with it", function()
      local held <close> = steps.hold(server, steps.scanning)
      local other = server:send(database, { "createIndexes", "t", indexes = { { key = { a = 1 }, name = "t_a" } } })
      held:reached()
      local job = run:submit(steps.build("t", "t_a", { "a" }))
      local _, events = run:phase(job, "scanning collection")
      assert.matches("t_a is being built by .*127.0.0.1.*: createIndexes t: waiting for it", steps.notes(events))
      held:release()
      local done = run:finish(job)
      assert.is_true(done.ok, tostring(done.error))
      assert.is_truthy(other:wait())
      assert.is_nil(run:spec("t", "t_a").buildUUID)
    end)

    it("is not taken for the same if it is not", function()
      local held <close> = steps.hold(server, steps.scanning)
      local other = server:send(database, { "createIndexes", "t", indexes = { { key = { b = 1 }, name = "t_a" } } })
      held:reached()
      assert.equal("duplicate_name", run:build("t", "t_a", { "a" }).error.code)
      held:release()
      assert.is_truthy(other:wait())
    end)

    it("waits for a client that died long ago", function()
      local held <close> = steps.hold(server, steps.scanning)
      local other = server:send(database, { "createIndexes", "t", indexes = { { key = { a = 1 }, name = "t_a" } } })
      held:reached()
      other:kill()
      local job = run:submit(steps.build("t", "t_a", { "a" }))
      run:phase(job, "scanning collection")
      held:release()
      assert.is_true(run:finish(job).ok)
    end)

    it("is not made anew with the collection that was there before", function()
      server:command(database, { "drop", "t" })
      local done = run:build("t", "t_a", { "a" }, nil, { existing = true })
      assert.equal("undefined", done.error.code)
      assert.matches("t does not exist any more", done.error.message, 1, true)
      assert.same({}, server:indexes(database, "t"))
      assert.is_true(run:build("t", "t_a", { "a" }).ok)
    end)

    it("is theirs to drop: that is respected, not repeated", function()
      local held <close> = steps.hold(server, steps.scanning)
      local job = run:submit(steps.build("t", "t_a", { "a" }, nil, { retry = { attempts = 3, first_delay = 0.1 } }))
      held:reached()
      local drop = server:send(database, { "dropIndexes", "t", index = "t_a" })
      steps.runs(server, "dropIndexes")
      held:release()
      assert.is_truthy(drop:wait())
      local done = run:finish(job)
      assert.is_false(done.ok)
      assert.equal(1, done.attempts)
      assert.matches("somebody else ended it", tostring(done.error):lower(), 1, true)
      assert.is_nil(run:spec("t", "t_a"))
    end)
  end)

  describe("when a command fails", function()
    for _, command in ipairs { "listIndexes", "createIndexes" } do
      it(("as %s does with the link: tries again"):format(command), function()
        local fault <close> = steps.fail(server, { command }, { closeConnection = true })
        local done = run:build("t", "t_a", { "a" }, nil, { retry = { attempts = 3, first_delay = 0.1 } })
        assert.is_true(done.ok, tostring(done.error))
        assert.equal(2, done.attempts)
        assert.is_truthy(fault)
      end)

      it(("as %s does after a step-down: tries again"):format(command), function()
        local fault <close> = steps.fail(server, { command }, { errorCode = 10107 })
        local done = run:build("t", "t_a", { "a" }, nil, { retry = { attempts = 3, first_delay = 0.1 } })
        assert.is_true(done.ok, tostring(done.error))
        assert.equal(2, done.attempts)
        assert.is_truthy(fault)
      end)

      it(("as %s does for good: says so"):format(command), function()
        local fault <close> = steps.fail(server, { command }, { errorCode = 8000 }, 9)
        assert.equal("server", run:build("t", "t_a", { "a" }).error.code)
        fault:release()
        assert.is_nil(run:spec("t", "t_a"))
      end)
    end
  end)
end)
