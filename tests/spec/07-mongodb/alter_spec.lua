-- What collMod changes of an index that is there: nothing is built again.
local core = require "lunadex.core"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local steps = require "support.mongosteps"

describe("a step that alters on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, run

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    server:fill(database, "t", 20, { a = "$n" })
    server:command(database, '{"createIndexes":"t","indexes":[{"key":{"a":1},"name":"t_a"}]}')
    run = steps.open(server, database)
  end)
  after_each(function()
    run:close()
    server:drop_database(database)
  end)

  local function alter(more) return run:step(steps.alter("t", "t_a", { "a" }, more)) end
  local function options(...) return { with = { ... } } end
  local function spec() return mongodb.json(run:spec("t", "t_a")) end

  it("makes a plain index TTL, and changes after how long it deletes", function()
    assert.is_true(alter(options { "expireAfterSeconds", "3600" }).ok)
    assert.equal('{"v":2,"key":{"a":1},"name":"t_a","expireAfterSeconds":3600}', spec())
    assert.is_true(alter(options { "expireAfterSeconds", "60" }).ok)
    assert.equal(60, run:spec("t", "t_a").expireAfterSeconds)
  end)

  it("hides, and brings back", function()
    assert.is_true(alter(options { "hidden", "true" }).ok)
    assert.is_true(run:spec("t", "t_a").hidden)
    assert.is_true(alter().ok)
    assert.equal('{"v":2,"key":{"a":1},"name":"t_a"}', spec())
  end)

  it("hides that of a time-series collection", function()
    server:command(database, '{"create":"measured","timeseries":{"timeField":"at","metaField":"m"}}')
    server:command(database, '{"createIndexes":"measured","indexes":[{"key":{"m.id":1},"name":"by_id"}]}')
    local done = run:step(steps.alter("measured", "by_id", { "m.id" }, options { "hidden", "true" }))
    assert.is_true(done.ok, tostring(done.error))
    local reply = server:command(database, { "listIndexes", "measured" })
    assert.matches('"name":"by_id","hidden":true', mongodb.json(reply.cursor.firstBatch), 1, true)
  end)

  it("changes all that differs, and nothing that does not", function()
    local wanted = { with = { { "expireAfterSeconds", "60" }, { "hidden", "true" } }, unique = true }
    local done = alter(wanted)
    assert.is_true(done.ok, tostring(done.error))
    local after = run:spec("t", "t_a")
    assert.same({ 60, true, true }, { after.expireAfterSeconds, after.hidden, after.unique })
    local fault <close> = steps.fail(server, { "collMod" }, { errorCode = 8000 }, 99)
    assert.is_true(alter(wanted).ok)
    assert.is_truthy(fault)
  end)

  it("sends what a dry run says", function()
    local states = { {}, options { "hidden", "true" }, options({ "expireAfterSeconds", "60" }, { "hidden", "true" }),
      options { "expireAfterSeconds", "90" }, { with = { { "expireAfterSeconds", "3600" } }, unique = true } }
    for i = 2, #states do
      local step = steps.alter("t", "t_a", { "a" }, states[i])
      step.old_fields = steps.index("t", { { column = "a" } }, states[i - 1])
      local said = mongodb.of_shell(core.describe(step, server:url(database)))
        :gsub("db%.runCommand%((.-)%)", "%1"):gsub("%s", "")
      server:command(database, { "profile", 2 })
      local done = run:step(step)
      assert.is_true(done.ok, tostring(done.error))
      server:command(database, { "profile", 0 })
      local sent = server:command(database, { "find", "system.profile", sort = { ts = 1 },
        filter = { ["command.collMod"] = "t" } }).cursor.firstBatch
      for place, entry in ipairs(sent) do
        sent[place] = mongodb.json(mongodb.document("collMod", entry.command.collMod, "index", entry.command.index))
      end
      -- The server keeps no profile of a dry run.
      assert.equal((said:gsub("[^;]+dryRun[^;]+;", "")), table.concat(sent, ";"))
      server:command(database, { "drop", "system.profile" })
    end
  end)

  it("lets a plain one no longer refuse what an interrupted conversion had it refuse", function()
    server:command(database, '{"collMod":"t","index":{"name":"t_a","prepareUnique":true}}')
    assert.is_true(run:spec("t", "t_a").prepareUnique)
    local done = alter(options { "hidden", "true" })
    assert.is_true(done.ok, tostring(done.error))
    assert.equal('{"v":2,"key":{"a":1},"name":"t_a","hidden":true}', spec())
    server:command(database, '{"collMod":"t","index":{"name":"t_a","prepareUnique":true}}')
    assert.is_true(alter(options { "hidden", "true" }).ok)
    assert.equal('{"v":2,"key":{"a":1},"name":"t_a","hidden":true}', spec())
  end)

  it("says what cannot be undone in place", function()
    assert.is_true(alter({ with = { { "expireAfterSeconds", "60" } }, unique = true }).ok)
    assert.equal("unsupported", alter(options { "expireAfterSeconds", "60" }).error.code)
    assert.equal("unsupported", alter({ unique = true }).error.code)
  end)

  describe("what was looked at", function()
    local filter = '{"b": {"$gt": 2}}'
    -- What collMod makes of any index.
    local wanted = { with = { { "expireAfterSeconds", "60" }, { "hidden", "true" } }, unique = true }

    local function put(key, more)
      server:try(database, '{"dropIndexes":"t","index":"t_a"}')
      server:command(database, ('{"createIndexes":"t","indexes":[{"key":%s,"name":"t_a"%s}]}'):format(key, more or ""))
    end

    -- Planned as that on `a` that has `more`, to be as `to` says besides.
    local function planned(more, to)
      local step = steps.alter("t", "t_a", { "a" }, to or wanted)
      step.fields.where = more and more.where
      step.old_fields = steps.index("t", { { column = "a" } }, more)
      return step
    end

    it("is what is changed: another one that has the name by now is left alone", function()
      for _, case in ipairs {
        { '{"b":1}' }, { '{"a":-1}' }, { '{"a":1,"b":1}' }, { '{"a":"hashed"}' },
        { '{"a":1}', ',"partialFilterExpression":{"b":{"$gt":2}}' }, { '{"a":1}', "", { where = filter } },
        { '{"a":1}', ',"partialFilterExpression":{"b":{"$gt":3}}', { where = filter } },
        { '{"a":1}', ',"collation":{"locale":"en"}' }, { '{"a":1}', ',"sparse":true' },
        { '{"a":1}', ',"expireAfterSeconds":30' }, { '{"a":1}', "", { with = { { "expireAfterSeconds", "30" } } } },
        { '{"a":1}', ',"hidden":true', nil, { with = { { "expireAfterSeconds", "60" } } } },
        { '{"a":1}', ',"unique":true', nil, { with = { { "hidden", "true" } } } },
      } do
        put(case[1], case[2])
        local before = spec()
        local done = run:step(planned(case[3], case[4]))
        assert.equal("dependent", done.error and done.error.code, before)
        assert.matches("t_a of t is another index since it was looked at: it stays", done.error.message, 1, true)
        assert.equal(before, spec())
      end
    end)

    it("is known again, also where an attempt before has done a part of it", function()
      for _, case in ipairs {
        { "" }, { ',"expireAfterSeconds":60' }, { ',"expireAfterSeconds":60,"hidden":true' }, { ',"hidden":true' },
        { ',"hidden":true,"prepareUnique":true' }, { ',"unique":true' }, { ',"unique":true', { unique = true } },
        { ',"partialFilterExpression":{"b":{"$gt":2}}', { where = filter } },
        { ',"sparse":true,"collation":{"locale":"simple"}', { traits = { { "sparse", "true" } } } },
      } do
        put('{"a":1}', case[1])
        local done = run:step(planned(case[2]))
        assert.is_true(done.ok, case[1] .. ": " .. tostring(done.error))
        local after = run:spec("t", "t_a")
        assert.same({ 60, true, true }, { after.expireAfterSeconds, after.hidden, after.unique })
      end
    end)

    it("is known again in a collection with a collation", function()
      server:command(database, '{"create":"c","collation":{"locale":"fr"}}')
      server:command(database, '{"createIndexes":"c","indexes":[{"key":{"a":1},"name":"as_it_is"},'
        .. '{"key":{"a":1},"name":"simple","collation":{"locale":"simple"}}]}')
      local path = lunadex.registry [[on "c" { index { "a", name = "as_it_is", hidden = true },
        index { "a", name = "simple", collation = { locale = "simple" }, expire_after = 60 } }]]
      local result = lunadex.run { "apply", path, "--target", server:url(database), "--fail-on", "any" }
      assert.equal(0, result.status, tostring(result))
      assert.matches("altered 2", result.stdout, 1, true)
    end)

    it("is all that is to refuse duplicates no more after the last attempt", function()
      local take_back = steps.take_back("t", "t_a", { "a" })
      take_back.old_fields = steps.index("t", { { column = "a" } })
      for key, stays in pairs { ['{"b":1}'] = true, ['{"a":1}'] = false } do
        put(key, ',"prepareUnique":true')
        local done = run:step(take_back)
        assert.is_true(done.ok, tostring(done.error))
        assert.equal(stays or nil, run:spec("t", "t_a").prepareUnique)
      end
    end)

    it("was being built: where that comes to another one, it is left alone", function()
      server:command(database, '{"dropIndexes":"t","index":"t_a"}')
      local held <close> = steps.hold(server, steps.scanning)
      local other = server:send(database, { "createIndexes", "t", indexes = { { key = { b = 1 }, name = "t_a" } } })
      held:reached()
      local job = run:submit(planned())
      run:await(job, function(event) return event.event == "note" end)
      held:release()
      assert.is_truthy(other:wait())
      assert.equal("dependent", run:finish(job).error.code)
      assert.equal('{"v":2,"key":{"b":1},"name":"t_a"}', spec())
    end)

    it("had to wait for another build: where it is another one by then, it is left alone", function()
      local busy <close> = steps.hold(server, "failCommand", { failCommands = { "collMod" },
        appName = "lunadex specs", errorCode = 12587 })
      local job = run:submit(planned())
      busy:reached()
      put '{"b":1}'
      busy:release()
      assert.equal("dependent", run:finish(job).error.code)
      assert.equal('{"v":2,"key":{"b":1},"name":"t_a"}', spec())
    end)
  end)

  it("needs the index to be there", function()
    assert.equal("undefined", run:step(steps.alter("t", "t_b", { "a" })).error.code)
    assert.equal("undefined", run:step(steps.alter("nothing", "t_b", { "a" })).error.code)
  end)

  it("waits for its build", function()
    server:command(database, '{"dropIndexes":"t","index":"t_a"}')
    local held <close> = steps.hold(server, steps.scanning)
    local other = server:send(database, { "createIndexes", "t", indexes = { { key = { a = 1 }, name = "t_a" } } })
    held:reached()
    local job = run:submit(steps.alter("t", "t_a", { "a" }, options { "hidden", "true" }))
    local note = run:await(job, function(event) return event.event == "note" end)
    assert.matches("t_a is being built by", note.text, 1, true)
    held:release()
    assert.is_true(run:finish(job).ok)
    assert.is_truthy(other:wait())
    assert.is_true(run:spec("t", "t_a").hidden)
  end)

  it("tries again what a lost link or a step-down kept from it", function()
    for _, how in ipairs { { closeConnection = true }, { errorCode = 10107 }, { errorCode = 11602 } } do
      local fault <close> = steps.fail(server, { "collMod" }, how)
      local step = steps.alter("t", "t_a", { "a" }, options { "hidden", "true" })
      step.retry = { attempts = 3, first_delay = 0.1 }
      local done = run:step(step)
      assert.is_true(done.ok, tostring(done.error))
      assert.equal(2, done.attempts)
      assert.is_true(alter().ok)
      assert.is_truthy(fault)
    end
  end)
end)
