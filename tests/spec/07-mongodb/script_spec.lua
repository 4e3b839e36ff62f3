-- The public API on MongoDB, as scripts see it: commands, documents and their types, rows, transactions, one index.
local lunadex = require "lunadex"
local mongodb = require "support.mongodb"

local bson = lunadex.bson

describe("a script on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, db

  setup(function()
    server = mongodb.shared()
    database = server:create_database()
    server:fill(database, "users", 3000, { email = { ["$concat"] = { "user", { ["$toString"] = "$n" } } } })
    db = assert(lunadex.connect(server:url(database), { jobs = 3 }))
  end)
  teardown(function() db:close() end)

  local function query(...)
    local rows, err = db:query(...)
    assert.is_nil(err and tostring(err))
    return rows
  end

  it("gives a command's documents as rows, and its reply where there is no cursor", function()
    local rows = query("find", "users", { filter = { _id = { ["$lte"] = 2 } }, projection = { _id = 1, email = 1 },
      sort = { _id = 1 } })
    assert.same({ 2, "find" }, { #rows, rows.command })
    assert.same({ "_id", "email", _id = 1, email = "user1" }, rows[1])
    assert.equal(3000, #query("find", "users", { batchSize = 100 }))
    assert.equal(3000, query("count", "users")[1].n)
    assert.equal(3000, query("aggregate", "users", { pipeline = { { ["$count"] = "n" } }, cursor = {} })[1].n)
    assert.is_number(query("getParameter", 1, { maxNumActiveUserIndexBuilds = 1, ["$db"] = "admin" })[1]
      .maxNumActiveUserIndexBuilds)
    assert.equal(3000, #query("find", "users", { filter = { email = { ["$type"] = { "string", "int" } } } }))
  end)

  it("blames who calls for a command that is none", function()
    for _, arguments in ipairs { { 5 }, { "find", "users", 7 }, { "find", "users", { "filter" } },
      { "find", "users", { filter = print } } } do
      local ok, message = pcall(function()
        local rows = db:query(table.unpack(arguments))
        return rows
      end)
      assert.is_false(ok)
      assert.matches("script_spec.lua:%d+: bad argument #%d to 'query' %(", message)
    end
  end)

  it("takes values as texts of extended JSON", function()
    local document = [[{ "z": { "$date": "2026-01-31T10:00:00Z" },
      "a": [1, 2.0, { "$numberLong": "5" }, { "$minKey": 1 }], "\u00e4": null }]]
    query("insert", "texts", { documents = {
      { _id = 1, value = bson.json(document) }, bson.json '{ "_id": 2, "n": 5 }' } })
    local back = query("find", "texts", { filter = bson.json '{ "_id": { "$in": [1] } }' })[1].value
    assert.same({ "z", "a", "ä" }, { back[1], back[2], back[3] })
    assert.equal(bson.date(1769853600000), back.z)
    assert.same({ "integer", "float", "integer" }, { math.type(back.a[1]), math.type(back.a[2]), math.type(back.a[3]) })
    assert.same({ bson.min_key, lunadex.null }, { back.a[4], back["ä"] })
    assert.equal(5, query("find", "texts", { filter = { n = bson.json "5" } })[1].n)
    for _, text in ipairs { "", "{", "5, 6", '5, "w": 6', "}", "nothing" } do
      local rows, err = db:query("find", "texts", { filter = { n = bson.json(text) } })
      assert.same({ nil, "usage" }, { rows, err.code }, text)
    end
  end)

  it("is told what was not confirmed as its write concern asks, which is no success", function()
    local concern = { w = 2, wtimeout = 50 } -- the set has one member
    for _, command in ipairs {
      { "insert", "unsure", { documents = { { _id = 1 } }, writeConcern = concern } },
      { "update", "unsure", { updates = { { q = { _id = 1 }, u = { n = 1 } } }, writeConcern = concern } },
      { "findAndModify", "unsure", { query = { _id = 1 }, update = { n = 2 }, writeConcern = concern } },
      { "createIndexes", "unsure", { indexes = { { key = { n = 1 }, name = "n" } }, writeConcern = concern } },
      { "delete", "unsure", { deletes = { { q = {}, limit = 0 } }, writeConcern = concern } },
    } do
      local rows, err = db:query(table.unpack(command))
      assert.same({ nil, "link_lost", "verify", "100" }, { rows, err.code, err.retry, err.native }, command[1])
      assert.matches("it was done, but not confirmed as its write concern asks: ", err.message, 1, true)
    end
    assert.same({ 0, 2 }, { #query("find", "unsure"), #query("listIndexes", "unsure") })
    -- The document's own error goes first.
    query("insert", "unsure", { documents = { { _id = 1 } } })
    local _, err = db:query("insert", "unsure", { documents = { { _id = 1 }, { _id = 2 } }, writeConcern = concern,
      ordered = false })
    assert.equal("duplicate_key", err.code)
  end)

  it("gives documents as they are, also with fields that a server's replies have", function()
    local names = { "_id", "operationTime", "$clusterTime", "writeErrors" }
    query("insert", "replies", { documents = { bson.document("_id", 1, "operationTime", 5, "$clusterTime", 6,
      "writeErrors", { { index = 0, code = 11000, errmsg = "E11000" } }) } })
    local function check(document)
      local found = {}
      for name in pairs(document) do found[#found + 1] = name end
      assert.same(names, found)
      assert.same({ 5, 6 }, { document.operationTime, document["$clusterTime"] })
      assert.equal("E11000", document.writeErrors[1].errmsg)
    end
    check(query("find", "replies")[1])
    check(query("aggregate", "replies", { pipeline = { { ["$match"] = {} } }, cursor = {} })[1])
    for document in db:rows("find", "replies", {}, { batch = 1 }) do check(document) end
    local reply = query("count", "replies")[1]
    assert.same({ 1, nil, nil }, { reply.n, reply.operationTime, reply["$clusterTime"] })
  end)

  it("gives a text that is no UTF-8 back as it came, and sends none by mistake", function()
    local old = bson.text "caf\xe9\0"
    query("insert", "old", { documents = { { _id = old, list = { old } }, { _id = bson.text "café" } } })
    local row = query("find", "old", { filter = { list = old } })[1]
    assert.same({ "text", "caf\xe9\0" }, { row._id.type, row._id.value })
    assert.equal(old, row.list[1])
    row.n = 1
    query("update", "old", { updates = { { q = { _id = row._id }, u = row } } })
    assert.equal(1, query("find", "old", { filter = { _id = old, list = old } })[1].n)
    assert.equal("café", query("find", "old", { filter = { _id = "café" } })[1]._id)
    local rows, err = db:query("find", "old", { filter = { _id = "caf\xe9" } })
    assert.same({ nil, "usage" }, { rows, err.code })
    assert.matches("the field _id holds a text that is not valid UTF-8", err.message, 1, true)
  end)

  it("keeps types and the order of fields", function()
    local value = bson.document("_id", bson.object_id "507f1f77bcf86cd799439011", "z", 1, "a", 2.0,
      "long", bson.long(5), "large", math.maxinteger, "date", bson.date(1700000000123),
      "decimal", bson.decimal "0.10", "bytes", bson.binary("a\0b", 5), "none", lunadex.null, "yes", true,
      "list", { 1, "two", { three = 3 }, {} }, "empty", bson.array {}, "nothing", {},
      "pattern", bson.regex("^a", "i"), "stamp", bson.timestamp(7, 8), "low", bson.min_key, "high", bson.max_key,
      "text", "äöü", "nested", bson.document("y", 1, "x", bson.document("q", 1, "p", 2)))
    query("insert", "kinds", { documents = { value } })
    local back = query("find", "kinds")[1]
    local order = {}
    for name in pairs(back) do order[#order + 1] = name end
    assert.equal("_id z a long large date decimal bytes none yes list empty nothing pattern stamp low high text nested",
      table.concat(order, " "))
    assert.equal("integer", math.type(back.z))
    assert.equal("float", math.type(back.a))
    assert.equal(math.maxinteger, back.large)
    assert.equal(bson.object_id "507F1F77BCF86CD799439011", back._id)
    assert.equal("object_id(507f1f77bcf86cd799439011)", tostring(back._id))
    assert.same({ 1700000000123, "0.10", "a\0b", 5 }, { back.date.value, back.decimal.value, back.bytes.value,
      back.bytes.subtype })
    assert.equal(lunadex.null, back.none)
    assert.same({ "^a", "i" }, { back.pattern.value, back.pattern.options })
    assert.equal(bson.timestamp(7, 8), back.stamp)
    assert.same({ "y", "x" }, { back.nested[1], back.nested[2] })
    assert.same({ "q", "p" }, { back.nested.x[1], back.nested.x[2] })
    -- The server has the same types that were sent, and gets them back when a document is written again.
    local types = {}
    local projection = { _id = 0 }
    for _, name in ipairs(back) do projection["t_" .. name] = { ["$type"] = "$" .. name } end
    local function types_of()
      local row = query("aggregate", "kinds", { pipeline = { { ["$project"] = projection } }, cursor = {} })[1]
      types = {}
      for _, name in ipairs(back) do types[#types + 1] = row["t_" .. name] end
      return table.concat(types, " ")
    end
    local expected = "objectId int double long long date decimal binData null bool array array object regex "
      .. "timestamp minKey maxKey string object"
    assert.equal(expected, types_of())
    back.z, back.added = nil, 1
    query("update", "kinds", { updates = { { q = { _id = back._id }, u = back } } })
    local again = query("find", "kinds")[1]
    order = {}
    for name in pairs(again) do order[#order + 1] = name end
    assert.equal("_id a long large date decimal bytes none yes list empty nothing pattern stamp low high text nested"
      .. " added", table.concat(order, " "))
  end)

  it("gets nil and an error, and raises what is a mistake of its own", function()
    local function fails(code, ...)
      local rows, err = db:query(...)
      assert.same({ nil, code }, { rows, err and err.code })
      return err
    end
    fails("unsupported", "noSuchCommand")
    assert.equal("67", fails("invalid_definition", "createIndexes", "users",
      { indexes = { { key = { a = 0 }, name = "x" } } }).native)
    assert.equal("11000", fails("duplicate_key", "insert", "users", { documents = { { _id = 1 } } }).native)
    fails("usage", "find", "users", { filter = { a = "\xff" } })
    fails("usage", "find", "users", { filter = { a = bson.decimal "x" } })
    assert.has_error(function() db:query("find", "users", { filter = { a = print } }) end)
    assert.has_error(function() db:query("find", "users", { filter = { a = { 1, x = 2 } } }) end)
    assert.has_error(function() db:query("find", "users", { filter = { ["a\0b"] = 1 } }) end)
    assert.has_error(function() db:query(nil, "users") end)
    assert.has_error(function() bson.object_id "123" end)
    assert.has_error(function() bson.document("a") end)
    assert.has_error(function() bson.date "today" end)
    local itself = {}
    itself.a = itself
    assert.has_error(function() db:query("find", "users", { filter = itself }) end)
  end)

  it("reads rows in batches, and may leave early", function()
    local count = 0
    for user in db:rows("find", "users", { projection = { _id = 1 } }, { batch = 7 }) do
      count = count + (user._id and 1 or 0)
    end
    assert.equal(3000, count)
    for user in db:rows("find", "users", { batchSize = 2 }, { batch = 2 }) do
      if user._id > 4 then break end
    end
    for _ in db:rows("find", "users", { filter = { _id = -1 } }) do error "there is no such document" end
    for reply in db:rows("count", "users") do assert.equal(3000, reply.n) end
    assert.equal(0, db.open_rows)
  end)

  it("has transactions, of which all is written or nothing", function()
    local function count() return #query("find", "accounts") end
    query("create", "accounts")
    assert.equal("done", db:transaction(function(tx)
      assert(tx:query("insert", "accounts", { documents = { { _id = 1 }, { _id = 2 } } }))
      assert.equal(2, #assert(tx:query("find", "accounts")))
      local seen = 0
      for _ in tx:rows("find", "accounts", { batchSize = 1 }, { batch = 1 }) do seen = seen + 1 end
      assert.equal(2, seen)
      assert.equal(0, count())
      return "done"
    end))
    assert.equal(2, count())
    local result, err = db:transaction(function(tx)
      assert(tx:query("insert", "accounts", { documents = { { _id = 3 } } }))
      return tx:query("insert", "accounts", { documents = { { _id = 1 } } })
    end)
    assert.same({ nil, "duplicate_key", 2 }, { result, err and err.code, count() })
    assert.is_false((pcall(db.transaction, db, function(tx)
      assert(tx:query("insert", "accounts", { documents = { { _id = 3 } } }))
      error "no"
    end)))
    assert.equal(2, count())
  end)

  it("cancels a command on the server", function()
    local slow = { filter = { ["$where"] = "sleep(200) || true" } }
    local work = lunadex.spawn(function()
      local _, err = db:query("find", "users", slow)
      return err and err.code
    end)
    lunadex.sleep(0.3)
    work:cancel()
    assert.equal("cancelled", work:join())
  end)

  it("builds one index, and drops it", function()
    assert.equal("created", db:build("users", { "email", name = "by_email" }))
    assert.equal("exists", db:build("users", { "email" }))
    assert.equal("dropped", db:drop("users", "by_email"))
    assert.equal("absent", db:drop("users", "by_email"))
    -- An index may be called as its collection is.
    assert.equal("created", db:build("users", { "email", name = "by_email" }))
    assert.equal("created", db:build("users", { "n", name = "users" }))
    assert.equal("dropped", db:drop("users", "users"))
    assert.equal("exists", db:build("users", { "email" }))
    assert.equal("dropped", db:drop("users", "by_email"))
    assert(db:build("users", { "email", name = "by_email" }))
    local renamed, err = db:rename("users", "by_email", "x")
    assert.is_nil(renamed)
    assert.equal("unsupported", err.code)
  end)
end)
