-- What runs have done, in collections of the database itself; and what a step would send, as text.
local core = require "lunadex.core"
local mongodb = require "support.mongodb"
local steps = require "support.mongosteps"

describe("the history on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, run

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    run = steps.open(server, database)
  end)
  after_each(function()
    run:close()
    server:drop_database(database)
  end)

  local function history(what, parameters)
    if what == "change" then parameters.n = 11 end
    local done = run:finish(run.db:history(what, parameters))
    return done.result, done.error
  end

  local function read()
    return assert(history "read")
  end

  it("has no columns where none was ever recorded", function()
    assert.same({}, read().columns)
  end)

  it("gives no run a number that does not hold the lock", function()
    assert.equal(0, #assert(history("run", { "1.0", 1, 2 })))
  end)

  it("keeps runs and their changes, and tells them as they are", function()
    assert.is_true(run:finish(run.db:lock()).ok)
    local id = assert(history("run", { "1.0", 3, 2 }))[1].id
    assert.equal(1, id)
    local first = { id, 1, "create", "users", "$name", "{ $a: 1 }", true }
    assert(history("change", first))
    local seen = read()[1]
    assert.same({ 1, "running", "1.0", 3, 2, 0, 0, "create users $name" },
      { seen.id, seen.outcome, seen.version, seen.existing, seen.planned, seen.done, seen.failed, seen.unfinished })
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", seen.started)
    assert.is_nil(seen.seconds)
    assert.matches(".@.", seen.who)
    assert(history("change", { id, 1, "create", "users", "$name", "{ $a: 1 }", true, 1.5, 2, "created", nil }))
    assert(history("change", { id, 2, "create", "users", "b", "", false, 0.5, 1, "failed", "$no" }))
    assert(history("change", { id, 2, "create", "users", "b", "", false, 0.5, 1, "failed", "$no" }))
    assert(history("end", { id, "failed", "$why" }))
    seen = read()[1]
    assert.same({ "failed", "$why", 1, 1 }, { seen.outcome, seen.error, seen.done, seen.failed })
    assert.is_nil(seen.unfinished)
    assert.is_true(seen.seconds >= 0)
    local change = server:command(database, '{"find":"lunadex.changes","sort":{"_id":1}}').cursor.firstBatch
    assert.equal(2, #change)
    assert.equal("$name", change[1].name)
    assert.equal("$no", change[2].error)
  end)

  it("says of a run whose lease has ended that it was killed, and lists the last ten", function()
    assert.is_true(run:finish(run.db:lock()).ok)
    for i = 1, 12 do assert.equal(i, assert(history("run", { "1.0", 0, 1 }))[1].id) end
    assert(history("change", { 12, 1, "create", "users", "a", "", true }))
    assert.equal("running", read()[1].outcome)
    assert.is_true(run:finish(run.db:unlock()).ok)
    local runs = read()
    assert.equal(10, #runs)
    assert.equal(12, runs[1].id)
    assert.equal(3, runs[10].id)
    assert.equal("killed", runs[1].outcome)
    assert.equal("create users a", runs[1].unfinished)
  end)

  it("is not part of the catalog", function()
    assert.is_true(run:finish(run.db:lock()).ok)
    assert(history("run", { "1.0", 0, 1 }))
    assert(history("change", { 1, 1, "create", "users", "a", "", true }))
    local catalog = run:finish(run.db:catalog()).result
    assert.is_nil(catalog:relation(nil, "lunadex.runs"))
    assert.is_nil(catalog:relation(nil, "lunadex.changes"))
    assert.is_nil(catalog:relation(nil, "lunadex.lock"))
  end)

  it("says as what the server refused a row of it", function()
    assert.is_true(run:finish(run.db:lock()).ok)
    server:command(database, [[{"createIndexes":"lunadex.runs","indexes":[
      {"key":{"fence":1},"name":"one_of_each_lease","unique":true}]}]])
    assert(history("run", { "1.0", 0, 1 }))
    local rows, err = history("run", { "1.0", 0, 1 })
    assert.same({ nil, "duplicate_key", "11000" }, { rows, err and err.code, err and err.native })
    assert.matches("one_of_each_lease", err.message, 1, true)
  end)

  it("says what keeps it from being written", function()
    assert.is_true(run:finish(run.db:lock()).ok)
    for _, what in ipairs { "find", "update" } do
      local fault <close> = steps.fail(server, { what }, { errorCode = 8000 }, 9)
      local rows, err = history("run", { "1.0", 0, 1 })
      assert.is_nil(rows)
      assert.equal("server", err.code)
      assert.is_truthy(fault)
    end
  end)
end)

describe("what a step sends to MongoDB", function()
  local function text(step) return core.describe(step, "mongodb://localhost/x") end

  it("reads as in mongosh", function()
    assert.equal('db.users.createIndex({ email: 1, "a.b": -1 }, { name: "u" })',
      text(steps.build("users", "u", { "email", { column = "a.b", descending = true } })))
    assert.equal('db.getCollection("odd name").createIndex({ x: "hashed" }, { name: "h", hidden: true }, "majority")',
      text(steps.build("odd name", "h", { { column = "x", opclass = "hashed" } }, { with = { { "hidden", "true" } } },
        { commit_quorum = "majority" })))
    -- The format is told where a server would choose another.
    for format, told in pairs { [1] = ', v: 1', [2] = '' } do
      assert.equal(('db.users.createIndex({ a: 1 }, { name: "u"%s })'):format(told),
        text(steps.build("users", "u", { "a" }, { with = { { "v", tostring(format) } } })))
    end
    assert.equal(table.concat({
      'db.users.createIndex({ email: 1 }, { name: "u", prepareUnique: true })',
      'db.runCommand({ collMod: "users", index: { name: "u", unique: true }, dryRun: true })',
      'db.runCommand({ collMod: "users", index: { name: "u", unique: true } })',
    }, ";\n"), text(steps.build("users", "u", { "email" }, { unique = true })))
    assert.equal('db.runCommand({ collMod: "users", index: { name: "u", expireAfterSeconds: 60, hidden: false } });\n'
      .. 'db.runCommand({ collMod: "users", index: { name: "u", prepareUnique: false } })',
      text(steps.alter("users", "u", { "at" }, { with = { { "expireAfterSeconds", "60" } } })))
    assert.equal('db.stats_.dropIndex("u")', text { kind = "drop", relation = "stats_", name = "u" })
    -- What mongosh would take for a method of its own, of a database or, after a dot, of a collection.
    for _, name in ipairs { "stats", "watch", "getUsers", "users.find", "_x", "1st", "constructor" } do
      assert.equal(('db.getCollection("%s").dropIndex("u")'):format(name),
        text { kind = "drop", relation = name, name = "u" })
    end
  end)
end)
