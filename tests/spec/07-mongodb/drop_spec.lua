-- What is dropped, and what never is.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local steps = require "support.mongosteps"

describe("a step that drops on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, run

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    server:fill(database, "t", 20, { a = "$n", b = "$n" })
    run = steps.open(server, database)
  end)
  after_each(function()
    run:close()
    server:drop_database(database)
  end)

  local function create(name, key, more)
    server:command(database, ('{"createIndexes":"t","indexes":[{"key":%s,"name":"%s"%s}]}')
      :format(key, name, more or ""))
  end
  local function drop(name) return run:step { kind = "drop", relation = "t", name = name } end

  it("drops it, says how to bring it back, and has nothing to do the second time", function()
    create("t_a", '{"a":1,"b":-1}', ',"unique":true,"partialFilterExpression":{"a":{"$gt":5.5}},"hidden":true,'
      .. '"collation":{"locale":"en"},"background":true')
    local before = mongodb.json(run:spec("t", "t_a"))
    local done, events = drop "t_a"
    assert.is_true(done.ok, tostring(done.error))
    assert.is_nil(run:spec("t", "t_a"))
    local undo = steps.notes(events):match "^drops t_a; to bring it back: db%.t%.createIndex%((.*)%)$"
    -- What mongosh reads as two arguments.
    local key, options = undo:match "^({ .- }), ({.*})$"
    local spec = mongodb.of_shell(options):gsub("^{", '{"key":' .. mongodb.of_shell(key) .. ",")
    server:command(database, ('{"createIndexes":"t","indexes":[%s]}'):format(spec))
    assert.equal(before, mongodb.json(run:spec("t", "t_a")))
    assert.is_true(drop "t_a".ok)
    assert.is_true(drop "t_a".ok)
    assert.is_true(run:step({ kind = "drop", relation = "nothing", name = "t_a" }).ok)
  end)

  it("leaves another one that has the name by now", function()
    local function fields(column, more)
      local result = { kind = "index", method = "", relation = "t", keys = { { column = column } } }
      for name, value in pairs(more or {}) do result[name] = value end
      return result
    end
    create("t_a", '{"a":1}', ',"partialFilterExpression":{"b":{"$gt":2}}')
    local filter = '{"b": {"$gt": 2}}'
    for _, meant in ipairs { fields("b", { where = filter }), fields("a"), fields("a", { where = filter,
      unique = true }), fields("a", { where = filter, with = { { "hidden", "true" } } }) } do
      local done = run:step { kind = "drop", relation = "t", name = "t_a", fields = meant }
      assert.equal("dependent", done.error and done.error.code)
    end
    assert.is_truthy(run:spec("t", "t_a"))
    local meant = fields("a", { where = filter })
    assert.is_true(run:step({ kind = "drop", relation = "t", name = "t_a", fields = meant }).ok)
  end)

  it("knows what is meant, whatever it is", function()
    server:command(database, '{"create":"c","collation":{"locale":"fr_CA"}}')
    server:command(database, [[{"createIndexes":"c","indexes":[
      {"key":{"a":1},"name":"plain"}, {"key":{"b":1.0,"c":-1},"name":"simple","collation":{"locale":"simple"}},
      {"key":{"d":1},"name":"ttl","expireAfterSeconds":3600.0,"hidden":true,"sparse":false,"background":true},
      {"key":{"e":"text","f":"text"},"name":"words","weights":{"e":3},"collation":{"locale":"simple"}},
      {"key":{"$**":1},"name":"all","wildcardProjection":{"g.h":1}},
      {"key":{"i":1},"name":"some","partialFilterExpression":{"k":{"$in":[3,1]},"j":{"$exists":true}}},
      {"key":{"l":"2dsphere","m":1},"name":"place"},
      {"key":{"n":"hashed"},"name":"hash","collation":{"locale":"simple"}}]}]])
    server:command(database, '{"create":"measured","timeseries":{"timeField":"at","metaField":"m"}}')
    server:command(database, [[{"createIndexes":"measured","indexes":[{"key":{"m.id":1},"name":"by_id"},
      {"key":{"m":1,"at":-1},"name":"latest"}]}]])
    local function apply(...)
      local result = lunadex.run { "apply", lunadex.registry 'on "c" { } on "measured" { }', "--drop-strays",
        "--fail-on", "any", "--target", server:url(database), ... }
      assert.equal(0, result.status, tostring(result))
      return result.stdout
    end
    local first = apply "--hide-first"
    assert.matches("altered 9", first, 1, true)
    assert.matches("dropped 1", first, 1, true) -- which was hidden already
    assert.matches("dropped 9", apply "--hide-first", 1, true)
    assert.equal(1, #server:indexes(database, "c"))
  end)

  it("never drops the index on _id", function()
    assert.equal("dependent", drop "_id_".error.code)
  end)

  it("never drops the index of the shard key, or the last that can stand in for it", function()
    create("t_a", '{"a":1}')
    create("t_ab", '{"a":1,"b":1}')
    create("t_b", '{"b":1}')
    server:shard(database, "t", '{"a":1}')
    assert.equal("dependent", drop "t_a".error.code)
    assert.is_true(drop "t_b".ok)
    assert.is_true(drop "t_ab".ok)
    create("t_ab", '{"a":1,"b":1}')
    server:command(database, { "dropIndexes", "t", index = "t_a" })
    assert.equal("dependent", drop "t_ab".error.code)
    assert.is_truthy(run:spec("t", "t_ab"))
  end)

  it("drops that of a time-series collection", function()
    server:command(database, '{"create":"measured","timeseries":{"timeField":"at","metaField":"m"}}')
    server:command(database, '{"createIndexes":"measured","indexes":[{"key":{"m.id":1},"name":"by_id"}]}')
    local done, events = run:step { kind = "drop", relation = "measured", name = "by_id" }
    assert.is_true(done.ok, tostring(done.error))
    assert.matches('db.measured.createIndex({ "m.id": 1 }, { name: "by_id" })', steps.notes(events), 1, true)
    local reply = server:command(database, { "listIndexes", "measured" })
    assert.is_nil(mongodb.json(reply.cursor.firstBatch):find("by_id", 1, true))
  end)

  it("never ends a build", function()
    local held <close> = steps.hold(server, steps.scanning)
    local other = server:send(database, { "createIndexes", "t", indexes = { { key = { a = 1 }, name = "t_a" } } })
    held:reached()
    local done = drop "t_a"
    assert.equal("lock_timeout", done.error.code)
    assert.matches("t_a is being built by .*createIndexes t", done.error.message)
    held:release()
    assert.is_truthy(other:wait())
    assert.is_truthy(run:spec("t", "t_a"))
  end)

  it("drops beside a build of the same collection", function()
    create("t_a", '{"a":1}')
    local held <close> = steps.hold(server, steps.scanning)
    local other = server:send(database, { "createIndexes", "t", indexes = { { key = { b = 1 }, name = "t_b" } } })
    held:reached()
    assert.is_true(drop "t_a".ok)
    held:release()
    assert.is_truthy(other:wait())
  end)

  it("tries again what a lost link or a step-down kept from it", function()
    for _, how in ipairs { { closeConnection = true }, { errorCode = 10107 } } do
      create("t_a", '{"a":1}')
      local fault <close> = steps.fail(server, { "dropIndexes" }, how)
      local done = run:step { kind = "drop", relation = "t", name = "t_a", retry = { attempts = 3, first_delay = 0.1 } }
      assert.is_true(done.ok, tostring(done.error))
      assert.equal(2, done.attempts)
      assert.is_nil(run:spec("t", "t_a"))
      assert.is_truthy(fault)
    end
  end)
end)
