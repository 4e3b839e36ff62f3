-- What collMod changes of an index that is there: nothing is built again.
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
