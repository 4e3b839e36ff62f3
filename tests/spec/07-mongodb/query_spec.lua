-- Commands of scripts, and what is measured.
local engine = require "support.engine"
local mongodb = require "support.mongodb"

describe("on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, db

  setup(function()
    server = mongodb.shared()
    database = server:create_database()
    server:fill(database, "users", 3000, { email = { ["$concat"] = { "user", { ["$toString"] = "$n" } } },
      city = { ["$toString"] = { ["$mod"] = { "$n", 3 } } } })
    db = engine.open(server:url(database))
  end)
  teardown(function() db:close() end)

  local function rows(text)
    local result = assert(db:run("query", text))
    local list = {}
    for i, row in ipairs(result) do list[i] = row[1] end
    return list, result
  end

  local function fails(text, code, ...)
    local _, err = db:run("query", text, ...)
    assert.equal(code, err and err.code, text)
    return err
  end

  it("a command's documents are rows, however many", function()
    local list, result = rows '{ "find": "users", "filter": { "_id": { "$lte": 2 } }, "projection": { "_id": 1 } }'
    assert.same({ '{"_id": 1}', '{"_id": 2}' }, list)
    assert.same({ "document" }, result.columns)
    assert.equal(3000, #rows '{ "find": "users", "batchSize": 100 }')
    assert.same({}, (rows '{ "find": "users", "filter": { "_id": -1 } }'))
  end)

  it("a command without a cursor gives its reply", function()
    assert.same({ '{"n": 3000, "ok": 1.0}' }, (rows '{ "count": "users" }'))
    local parameter = rows('{ "getParameter": 1, "maxNumActiveUserIndexBuilds": 1, "$db": "admin" }')
    assert.matches("maxNumActiveUserIndexBuilds", parameter[1])
  end)

  it("operators that extended JSON has words for are operators all the same", function()
    assert.equal(3000, #rows '{ "find": "users", "filter": { "email": { "$type": 2 } } }')
    assert.equal(3000, #rows '{ "find": "users", "filter": { "email": { "$type": ["string", "int"] } } }')
    assert.equal(0, #rows '{ "find": "users", "filter": { "email": { "$type": "int" } } }')
  end)

  it("what is no command is refused", function()
    fails("[1]", "usage")
    fails("{ nonsense", "usage")
    fails("{}", "usage")
    fails('{ "ping": 1 }', "usage", { 1 })
    fails('{ "noSuchCommand": 1 }', "unsupported")
    assert.equal("67", fails('{ "createIndexes": "users", "indexes": [{ "key": { "a": 0 }, "name": "x" }] }',
      "invalid_definition").native)
  end)

  it("a query ends when it is cancelled", function()
    local slow = '{ "find": "users", "filter": { "$where": "sleep(1000) || true" } }'
    local job = db.db:query(slow)
    db.db:poll(0.3)
    local begun = os.time()
    db.db:cancel(job)
    local done = db:finish(job)
    assert.equal("cancelled", done.error and done.error.code)
    assert.is_true(os.time() - begun < 5)
  end)

  it("sizes, use and the size of an index to be are measured", function()
    server:command(database, [[{ "createIndexes": "users", "indexes": [{ "key": { "email": 1 }, "name": "email.1" },
      { "key": { "city": 1 }, "name": "city_1" }] }]])
    for _ = 1, 3 do
      server:command(database, '{ "find": "users", "filter": { "email": "user7" } }')
    end
    local users = assert(db:run "catalog"):relation(nil, "users")
    local by = {}
    for _, index in ipairs(users:indexes()) do by[index.name] = index end
    local function estimate(keys, more)
      local fields = { kind = "index", relation = "users", method = "", keys = keys }
      for name, value in pairs(more or {}) do fields[name] = value end
      return { relation = users, fields = fields }
    end
    local measured = assert(db:run("measure", {
      { relation = users, index = by["email.1"] }, { relation = users, index = by.city_1 },
      estimate { { column = "email" } }, estimate { { column = "city" } },
      estimate({ { column = "email" } }, { where = '{"city": "1"}' }),
      estimate { { column = "none", opclass = "text" } },
    }))
    local email, city = measured[1], measured[2]
    assert.equal(3000, email.rows)
    assert.is_true(email.table_bytes > 100000)
    assert.equal(3, email.scans)
    assert.equal(0, city.scans)
    assert.is_true(email.scans_since >= 0 and email.scans_since < 600)
    assert.is_true(email.index_bytes > 4096)
    local guess = measured[3].index_bytes
    assert.is_true(guess > 30000 and guess < 120000, guess)
    assert.is_true(measured[4].index_bytes < guess / 2)
    assert.is_true(math.abs(measured[5].index_bytes * 3 / guess - 1) < 0.3)
    assert.equal(0, measured[6].index_bytes)
  end)
end)
