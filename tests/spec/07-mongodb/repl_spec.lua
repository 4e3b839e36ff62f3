-- The REPL on MongoDB.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local shell = require "support.shell"
local terminal = require "support.terminal"

describe("the REPL on MongoDB", function()
  local reason = mongodb.missing() or terminal.missing()
  if reason then return pending(reason) end
  local server, database, url, t

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    url = server:url(database)
    server:fill(database, "users", 100)
    server:command(database, [[{ "createIndexes": "users",
      "indexes": [{ "key": { "age": 1 }, "name": "age_1", "unique": false, "sparse": true }] }]])
  end)
  after_each(function()
    if t then t:close() end
    t = nil
    server:drop_database(database)
  end)

  local function feed(text, ...)
    return lunadex.run { "repl", "--target", url, stdin = text, ... }
  end

  it("shows collections, indexes, documents and plans", function()
    local result = feed([[
\d
\d users
\di age*
db:query("find", "users", { projection = { _id = 0, n = 1 }, limit = 2, sort = { _id = 1 } })
db:query("find", "nothing")
{ lunadex.bson.date(1767225600123), lunadex.bson.date(-1), lunadex.bson.timestamp(7, 2), lunadex.bson.regex("^a", "i") }
lunadex.bson.binary("a\0b")
\explain find users { filter = { _id = 7 } }
\explain find users { filter = { nothing = 7 } }
\explain analyze count users { query = { _id = 7 } }
\explain aggregate users { pipeline = { { ["$match"] = { age = 7 } } } }
\explain aggregate users { pipeline = { { ["$match"] = { age = 8 } } }, cursor = { batchSize = 1 } }
\status
]])
    assert.equal(0, result.status, tostring(result))
    assert.matches("users     collection   100", result.stdout, 1, true)
    assert.matches("_id_   { _id: 1 }", result.stdout, 1, true)
    assert.matches("the server's own", result.stdout, 1, true)
    assert.matches("age_1  { age: 1 } sparse", result.stdout, 1, true)
    assert.matches("users     age_1  { age: 1 } sparse", result.stdout, 1, true)
    assert.matches("\n(0 rows)\n", result.stdout, 1, true)
    assert.matches("{ date(2026-01-01T00:00:00.123Z), date(1969-12-31T23:59:59.999Z), timestamp(7, 2), regex(/^a/i) }\n"
      .. "binary(610062)\n", result.stdout, 1, true)
    assert.matches("IDHACK\n", result.stdout, 1, true)
    assert.matches("COLLSCAN\n\nno index is used\n", result.stdout, 1, true)
    assert.equal(2, select(2, result.stdout:gsub("IXSCAN, age_1\n", "")))
    assert.matches("nothing is being built", result.stdout, 1, true)
    for _, input in ipairs { "select 1", "find", "find users 7", "find users {" } do
      result = feed("\\explain " .. input)
      assert.equal(65, result.status, input .. tostring(result))
    end
  end)

  it("shows replies of nested documents line by line, and small ones as tables", function()
    local reply = feed('db:query("explain", lunadex.bson.document("find", "users", "filter", { age = 7 }))\n').stdout
    assert.matches("^{\n  explainVersion = \"1\",\n  queryPlanner = {\n    namespace = \"", reply)
    assert.matches("\n    winningPlan = {\n      stage = \"FETCH\",\n      inputStage = {\n        stage = \"IXSCAN\",",
      reply, 1, true)
    assert.matches("\n}\n%(1 row%)\n$", reply)
    assert.not_matches("{ … }", reply, 1, true)
    for line in reply:gmatch "[^\n]+" do assert.is_true(#line <= 100 or not line:find("{", 1, true), line) end
    server:command(database, [[{ "insert": "tags", "documents": [{ "_id": 1, "tags": ["a", "b"] },
      { "_id": 2, "tags": [] }] }]])
    assert.equal('_id  tags\n  1  { "a", "b" }\n  2  {}\n(2 rows)\n', feed('db:query("find", "tags")\n').stdout)
  end)

  it("says that no SQL is spoken", function()
    for _, input in ipairs { "select 1;", "SELECT * FROM users", "/* so */ select 1;" } do
      local result = feed(input .. "\n")
      assert.equal(65, result.status)
      assert.matches("lunadex: MongoDB speaks no SQL\n", result.stderr, 1, true)
    end
  end)

  -- Each is one way to write.
  local ways = {
    'db:query("insert", "users", { documents = { { a = 1 } } })', 'db:query("drop", "users")',
    'db:query("update", "users", { updates = { { q = {}, u = { ["$set"] = { a = 1 } }, multi = true } } })',
    'db:query("delete", "users", { deletes = { { q = {}, limit = 0 } } })',
    'db:query("aggregate", "users", { pipeline = { { ["$out"] = "others" } }, cursor = {} })',
    'db:query("aggregate", "users", { pipeline = { { ["$match"] = {} }, { ["$merge"] = "others" } }, cursor = {} })',
    'db:query("findAndModify", "users", { query = {}, remove = true })',
    'db:query("mapReduce", "users", { map = "function() {}", reduce = "function() {}", out = "others" })',
    'for _ in db:rows("insert", "users", { documents = { { a = 1 } } }) do end',
    'db:query("createIndexes", "users", { indexes = { { key = { b = 1 }, name = "b_1" } } })',
    'db:transaction(function(tx) return tx:query("delete", "users", { deletes = { { q = {}, limit = 0 } } }) end)',
    'db:build("users", { "b" })', 'db:drop("users", "age_1")', "db:lock()",
    'db:query("renameCollection", "x.y", { to = "x.z" })', 'db:query("dropDatabase", 1)',
  }
  it("that only reads refuses whatever writes", function()
    for _, way in ipairs(ways) do
      local result = feed(way .. "\n")
      assert.equal(6, result.status, way .. "\n" .. tostring(result))
      assert.matches("Start lunadex repl --write", result.stderr, 1, true)
    end
    local result = feed [[
      db:query("count", "users")[1].n, #db:query("listCollections", 1), #db:query("listIndexes", "users")]]
    assert.equal("100\n1\n2\n", result.stdout, tostring(result))
  end)

  it("completes, cancels what runs, and may write if told so", function()
    t = terminal.start { "repl", "--write", "--target", url }
    local prompt = database .. "! "
    t:rests(prompt)
    t:type("\\d us"):press("Tab"):shows(prompt .. "\\d users\n")
    t:press("C-u"):type("\\explain find users { filter = { ag"):press("Tab"):shows "{ filter = { age\n"
    t:press("C-u"):enter([[db:query("find", "users", { filter = { ["$where"] = "sleep(600000) || true" } })]])
    shell.eventually("the query to run", function()
      return #server:command("admin", '{ "currentOp": 1, "command.find": "users", "active": true }').inprog > 0
    end)
    t:press("C-c"):rests(prompt)
    t:enter('db:build("users", { "b" })'):shows "\ncreated\n"
    t:enter("#db:query('listIndexes', 'users')"):shows "\n3\n"
    t:press("C-d")
    assert.equal(0, t:ended())
  end)
end)
