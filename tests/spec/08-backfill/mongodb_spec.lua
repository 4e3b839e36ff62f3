-- Backfills on MongoDB: what they change, what they refuse, what they keep.
local core = require "lunadex.core"
local engine = require "support.engine"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local proxies = require "support.proxy"
local shell = require "support.shell"

describe("a backfill on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database

  before_each(function()
    server = mongodb.shared()
    database = server:create_database()
  end)
  after_each(function() server:drop_database(database) end)

  local function backfill(text, ...)
    local words = { "backfill", "run", lunadex.registry(text), "--target", server:url(database), ... }
    return lunadex.run(words)
  end

  local function does(text, ...)
    local result = backfill(text, ...)
    assert.equal(0, result.status, tostring(result))
    return result
  end

  local function count(collection, filter)
    return server:command(database, { "count", collection, query = filter or mongodb.document() }).n
  end

  local function find(collection, filter)
    return server:command(database, { "find", collection, filter = filter or mongodb.document(),
      sort = { _id = 1 } }).cursor.firstBatch
  end

  -- What is kept of it.
  local function kept(name)
    local entry = find("lunadex.backfills", { _id = name })[1]
    local sums = server:command(database, { "aggregate", "lunadex.backfill_ranges", cursor = mongodb.document(),
      pipeline = { { ["$match"] = { ["_id.backfill"] = name } }, { ["$group"] = { _id = "$_id.generation",
        seen = { ["$sum"] = "$seen" }, changed = { ["$sum"] = "$changed" }, failed = { ["$sum"] = "$failed" },
        ranges = { ["$sum"] = 1 } } } } }).cursor.firstBatch
    assert.is_true(#sums <= 1, "ranges of an older start are left")
    return entry, sums[1]
  end

  describe("(row E)", function()
    local text = [[
      backfill "users_enabled" { on = "users", where = { enabled = { ["$exists"] = false } }, set = { enabled = true },
        verify = true }]]

    it("gives users the default that the object mapper only pretends, and leaves those alone that have one", function()
      server:fill(database, "users", 3000, { name = { ["$concat"] = { "user", { ["$toString"] = "$n" } } } })
      server:insert(database, "users", { { _id = 9001, enabled = false }, { _id = 9002, enabled = true },
        { _id = 9003, enabled = mongodb.null } })
      assert.equal(1, count("users", { enabled = true }))
      does(text)
      assert.equal(3001, count("users", { enabled = true }))
      assert.same({ 1, 1 }, { count("users", { enabled = false }),
        count("users", { enabled = { ["$type"] = "null" } }) })
      local entry, sums = kept "users_enabled"
      assert.same({ "finished", 3003, 3000 }, { entry.outcome, sums.seen, sums.changed })
      does(text)
      assert.equal(1, kept("users_enabled").attempts)
    end)
  end)

  -- One of each type that an _id may have, in the order of the index.
  local ids = { '{"$minKey":1}', "null", '{"$numberDecimal":"NaN"}', '{"$numberDouble":"-Infinity"}', "-5", "0", "7.5",
    '{"$numberLong":"9007199254740993"}', '{"$numberDecimal":"1E+40"}', '""', '"a"', '"a\\u0000b"', '{"$symbol":"s"}',
    '"ä"', "{}", '{"a":1,"b":2}', '{"b":1,"a":{"c":[1,{"d":null}]}}', '{"$binary":{"base64":"AAAA","subType":"00"}}',
    '{"$uuid":"c8edabc3-f738-4ca3-b68d-ab92a91478a3"}', '{"$oid":"5f0000000000000000000000"}', "false", "true",
    '{"$date":{"$numberLong":"-5"}}', '{"$date":"2026-01-31T10:00:00Z"}', '{"$timestamp":{"t":1,"i":1}}',
    '{"$code":"x"}', '{"$maxKey":1}' }

  local clustered = { key = { _id = 1 }, unique = true }

  local function walks(options)
    server:command(database, { "create", "c", clusteredIndex = options.clusteredIndex })
    local documents = {}
    for i, id in ipairs(ids) do documents[i] = ('{"_id":%s,"times":0}'):format(id) end
    server:insert(database, "c", documents)
    local done = 0
    for _, batch in ipairs { 1, 2, 3, 5, #ids, 100 } do
      does(([[backfill "n" { on = "c", set = { ["$inc"] = { times = 1 } }, batch = %d }]]):format(batch), "--restart")
      done = done + 1
      assert.equal(#ids, count("c", { times = done }), "batches of " .. batch)
      assert.equal(#ids, (select(2, kept "n")).seen)
    end
    -- A sample cuts it into ranges only where they are worth it.
    server:fill(database, "numbers", 4000)
    server:command(database, { "aggregate", "numbers", cursor = mongodb.document(),
      pipeline = { { ["$merge"] = { into = "c" } } } })
    does([[backfill "n" { on = "c", set = { ["$inc"] = { m = 1 } }, batch = 700 }]], "--restart", "--jobs", "4")
    local total = count "c"
    assert.is_true(total > 4000)
    assert.equal(total, count("c", { m = 1 }))
    local _, sums = kept "n"
    assert.same({ total, total }, { sums.seen, sums.changed })
    assert.is_true(sums.ranges > 1)
    does([[backfill "t" { on = "c", batch = 700, transform = function(row) return { t = row.m } end }]],
      "--jobs", "2")
    assert.equal(total, count("c", { t = 1 }))
  end

  it("walks an _id of any type, by batches of every size and several ranges", function() walks {} end)

  it("walks a clustered collection the same way", function() walks { clusteredIndex = clustered } end)

  it("reads no more of a clustered collection than its batches, whatever its keys are", function()
    server:command(database, { "create", "k", clusteredIndex = clustered })
    server:insert(database, "k", { { _id = 1 }, { _id = "a" } })
    server:fill(database, "documents", 3000, { _id = { n = "$n" } })
    server:command(database, { "aggregate", "documents", cursor = mongodb.document(),
      pipeline = { { ["$merge"] = { into = "k" } } } })
    server:command(database, { "profile", 2 })
    finally(function() server:command(database, { "profile", 0 }) end)
    does [[backfill "b" { on = "k", set = { ["$inc"] = { times = 1 } }, batch = 100 }]]
    assert.equal(3002, count("k", { times = 1 }))
    local most = server:command(database, { "aggregate", "system.profile", cursor = mongodb.document(), pipeline = {
      { ["$match"] = { ns = database .. ".k", appName = "lunadex backfill b" } },
      { ["$group"] = { _id = mongodb.null, most = { ["$max"] = "$docsExamined" }, n = { ["$sum"] = 1 } } } } })
      .cursor.firstBatch[1]
    assert.is_true(most.n > 60)
    assert.is_true(most.most <= 110, tostring(most.most))
  end)

  it("goes along keys that are no UTF-8, and keeps such texts as they are", function()
    local old = core.value("text", "caf\xe9")
    local by_hand <close> = engine.open(server:url(database))
    assert(by_hand:run("query", core.document("insert", "c", "documents", {
      { _id = old, text = old }, { _id = { a = old }, text = old }, { _id = "cafe", text = "plain" },
      { _id = "z", text = old } })))
    for _, batch in ipairs { 1, 2, 5 } do
      does(([[backfill "b" { on = "c", set = { ["$inc"] = { times = 1 } }, batch = %d }]]):format(batch), "--restart")
      does(([[backfill "t" { on = "c", batch = %d, transform = function(row)
        return { made = (row.made or 0) + 1, copy = row.text }
      end }]]):format(batch), "--restart")
    end
    assert.equal(4, count("c", { times = 3, made = 3 }))
    local rows = by_hand:run("query", core.document("find", "c", "filter", { text = old, copy = old }))
    assert.equal(3, #rows)
  end)

  it("is refused where ranges of it are gone, for nobody knows what they had done", function()
    server:fill(database, "c", 10)
    local text = [[backfill "b" { on = "c", set = { ["$inc"] = { times = 1 } }%s }]]
    does(text:format "")
    server:command(database, '{"delete":"lunadex.backfill_ranges","deletes":[{"q":{},"limit":0}]}')
    local result = backfill(text:format [[, where = { a = 1 }]], "--carry-on")
    assert.equal(6, result.status, tostring(result))
    assert.matches("of its 1 ranges only 0 are left", result.stderr, 1, true)
    does(text:format "", "--restart")
    assert.equal(10, count("c", { times = 2 }))
  end)

  it("is refused where another collection has its name by now, until it is said what to do", function()
    for _, name in ipairs { "c", "d" } do server:fill(database, name, 3000) end
    local function set(id, times)
      local update = { q = { _id = id }, u = { ["$set"] = { times = times } } }
      server:command(database, { "update", "c", updates = { update } })
    end
    set(2000, "x")
    local text = [[backfill "b" { on = "c", set = { ["$inc"] = { times = 1 } }, batch = 300 }]]
    local function rename(from, to)
      server:command("admin", { "renameCollection", database .. "." .. from, to = database .. "." .. to })
    end
    local function swap()
      rename("c", "third")
      rename("d", "c")
      rename("third", "d")
    end
    local function refused(status, message, ...)
      local result = backfill(text, ...)
      assert.equal(status, result.status, tostring(result))
      assert.matches(message, result.stderr, 1, true)
    end
    refused(3, "row 2000: ")
    local done = count("c", { times = 1 })
    swap()
    for _ = 1, 2 do
      refused(6, "c is not the relation any more that it was begun on, but another one of that name\nThat was dropped")
    end
    assert.same({ 0, done }, { count("c", { times = 1 }), count("d", { times = 1 }) })
    set(2500, "x")
    refused(3, "row 2500: ", "--carry-on")
    -- It is on that one now.
    swap()
    refused(6, "c is not the relation any more that it was begun on")
    swap()
    set(2500, 0)
    does(text)
    assert.same({ 3000 - done, done }, { count("c", { times = 1 }), count("d", { times = 1 }) })
    swap()
    assert.matches("finished before", does(text).stdout, 1, true)
    set(2000, 0)
    does(text, "--restart")
    assert.same({ 3000, done }, { count("c", { times = { ["$gt"] = 0 } }), count("c", { times = 2 }) })
  end)

  it("orders texts as the collection does", function()
    server:command(database, { "create", "c", collation = { locale = "sv", strength = 1 } })
    server:insert(database, "c", { { _id = "Z" }, { _id = "å" }, { _id = "b" }, { _id = "C" }, { _id = "ö" },
      { _id = "a" } })
    does [[backfill "n" { on = "c", set = { ["$inc"] = { times = 1 } }, batch = 2 }]]
    assert.equal(6, count("c", { times = 1 }))
    server:command(database, { "create", "k", collation = { locale = "sv", strength = 1 }, clusteredIndex = clustered })
    server:insert(database, "k", { { _id = "Z" }, { _id = 7 }, { _id = "å" }, { _id = "b" }, { _id = { a = "x" } },
      { _id = "C" }, { _id = "ö" }, { _id = "a" } })
    does [[backfill "k" { on = "k", set = { ["$inc"] = { times = 1 } }, batch = 2 }]]
    assert.equal(8, count("k", { times = 1 }))
  end)

  it("takes updates, pipelines, JSON and extended JSON", function()
    server:insert(database, "c", { '{"_id": 1, "price": 3, "quantity": 4, "at": {"$date": "2026-01-01T00:00:00Z"}}',
      '{"_id": 2, "price": 5, "quantity": 2, "at": {"$date": "2026-02-01T00:00:00Z"}}' })
    does [==[
      backfill "total" { on = "c",
        set = { { ["$set"] = { total = { ["$multiply"] = { "$price", "$quantity" } } } }, { ["$unset"] = "price" } } }
      backfill "old" { on = "c", where = { at = { ["$lt"] = { ["$date"] = "2026-01-15T00:00:00Z" } } },
        set = { old = true, seen = { ["$date"] = "2026-03-01T00:00:00Z" } } }
      backfill "json" { on = "c", where = [[{ "quantity": { "$type": "int", "$in": [2, 3] } }]],
        set = [[{ "$push": { "list": { "z": 1, "a": 2 } } }]] }
    ]==]
    local first, second = table.unpack(find "c")
    assert.same({ 12, true, "2026-03-01T00:00:00Z" }, { first.total, first.old, first.seen["$date"] })
    assert.same({ nil, nil }, { first.price, first.list })
    assert.same({ 10, nil }, { second.total, second.old })
    assert.equal('[{"z":1,"a":2}]', mongodb.json(second.list))
  end)

  it("is done again from the start, or goes on, when it is another one", function()
    server:fill(database, "c", 10)
    does [[backfill "b" { on = "c", set = { ["$inc"] = { times = 1 } } }]]
    local changed = [[backfill "b" { on = "c", set = { ["$inc"] = { times = 10 } } }]]
    local result = backfill(changed)
    assert.equal(6, result.status, tostring(result))
    assert.matches("another one than under this name before", result.stdout .. result.stderr, 1, true)
    does(changed, "--restart")
    assert.equal(10, count("c", { times = 11 }))
    assert.equal(2, (kept "b").generation)
  end)

  describe("with a transform", function()
    it("records exactly the documents that it fails on", function()
      server:fill(database, "c", 10000, { text = { ["$cond"] = { { ["$eq"] = { { ["$mod"] = { "$n", 97 } }, 0 } },
        { ["$literal"] = "bad" }, { ["$toString"] = "$n" } } } })
      does([[backfill "parse" { on = "c", columns = "text", batch = 900, errors = 200,
        transform = function(row) return { number = tonumber(row.text) or error("no number: " .. row.text) } end }]],
        "--jobs", "2")
      local keys = {}
      for _, each in ipairs(server:command(database, { "find", "lunadex.backfill_errors", sort = { _id = 1 },
        batchSize = 1000 }).cursor.firstBatch) do
        keys[#keys + 1] = each._id.key
        assert.matches("registry.lua:2: no number: bad", each.message, 1, true)
      end
      local wanted = {}
      for n = 97, 10000, 97 do wanted[#wanted + 1] = n end
      assert.same(wanted, keys)
      assert.equal(10000 - #wanted, count("c", { ["$expr"] = { ["$eq"] = { "$number", "$_id" } } }))
      local _, sums = kept "parse"
      assert.same({ 10000, 10000 - #wanted, #wanted }, { sums.seen, sums.changed, sums.failed })
    end)

    it("ends at the first one that may not fail, of which nothing stays", function()
      server:fill(database, "c", 100)
      local result = backfill [[backfill "parse" { on = "c", batch = 10,
        transform = function(row) if row._id == 55 then error "odd" end return { times = 1 } end }]]
      assert.equal(3, result.status, tostring(result))
      assert.matches("row 55: .*odd", result.stdout .. result.stderr)
      -- How many batches came before is a matter of time; of this one nothing is left.
      local done = select(2, kept "parse").changed
      assert.is_true(done < 55)
      assert.same({ done, done }, { count("c", { times = 1 }), count("c", { times = 1, _id = { ["$lte"] = done } }) })
      assert.equal("failed", (kept "parse").outcome)
    end)

    it("gets documents as they are and gives fields, also nested ones, dates and null", function()
      server:insert(database, "c", { '{"_id": {"$oid": "5f0000000000000000000001"}, "a": {"x": [1, 2]}, "gone": null,'
        .. '"at": {"$date": "2026-01-01T00:00:00Z"}}', '{"_id": 2}' })
      does [[backfill "b" { on = "c", transform = function(row)
        if not row.a then return nil end
        local changes = { ["a.y"] = row.a.x[2], copy = row.at, list = { row.at, { b = null } }, none = null,
          when = { ["$date"] = "2026-02-01T00:00:00Z" }, was_null = row.gone == null }
        row._id = 2
        return changes
      end }]]
      local second, first = table.unpack(find "c")
      assert.equal('{"_id":2}', mongodb.json(second))
      assert.equal('{"x":[1,2],"y":2}', mongodb.json(first.a))
      assert.same({ "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", mongodb.null, true },
        { first.copy["$date"], first.when["$date"], first.none, first.was_null })
      assert.equal('[{"$date":"2026-01-01T00:00:00Z"},{"b":null}]', mongodb.json(first.list))
    end)

    it("takes fewer documents at a time where they are more than one result may be", function()
      server:fill(database, "c", 20, { text = { ["$literal"] = ("x"):rep(15000000) } })
      local result = does([[backfill "b" { on = "c", transform = function(row) return { length = #row.text } end }]],
        "--json")
      assert.matches('"code":"too_large"', result.stdout, 1, true)
      assert.equal(20, count("c", { length = 15000000 }))
    end)

    it("sends what a link takes at a time", function()
      server:fill(database, "c", 60, { text = { ["$literal"] = ("x"):rep(1000000) } })
      local result = does([[backfill "b" { on = "c",
        transform = function(row) return { text = row.text .. "y" } end }]], "--json")
      assert.is_nil(result.stdout:find('"event":"retry"', 1, true), tostring(result))
      assert.equal(60, count("c", { ["$expr"] = { ["$eq"] = { { ["$strLenBytes"] = "$text" }, 1000001 } } }))
    end)

    it("has what no document takes recorded", function()
      server:fill(database, "c", 10)
      does [[backfill "b" { on = "c", errors = 9, transform = function(row)
        local ring, deep = {}, { row }
        ring.ring = ring
        for _ = 1, 200 do deep = { deep } end
        return ({ { _id = 5 }, { ["$set"] = 1 }, { a = function() end }, { b = { row, function() end } },
          { c = "\xff" }, { d = 1 }, row, { e = ring }, { f = deep }, { g = ("x"):rep(17000000) } })[row._id]
      end }]]
      assert.equal(1, count("c", { d = 1 }))
      local messages = {}
      for i, each in ipairs(find "lunadex.backfill_errors") do messages[i] = each.message end
      assert.same({ "transform gave _id, which nothing can change",
        'transform gave "$set", which is no name of a field', "transform gave a, which holds a function",
        "transform gave b, which holds a function", "transform gave c, which holds a text that is not valid UTF-8",
        "transform gave a whole document; expected the fields that change",
        "transform gave a table that holds itself, or more than a document may",
        "transform gave a table that holds itself, or more than a document may",
        "transform gave a table that holds itself, or more than a document may" }, messages)
    end)
  end)

  it("finds the documents that its update fails on, and leaves them as they are", function()
    server:fill(database, "c", 1000, { times = { ["$cond"] = { { ["$in"] = { "$n", { 77, 512 } } }, "text",
      { ["$literal"] = 1 } } } })
    local text = [[backfill "b" { on = "c", set = { ["$inc"] = { times = 1 } }, errors = %d, batch = 300 }]]
    local result = backfill(text:format(1))
    assert.equal(3, result.status, tostring(result))
    assert.matches("row 512: Cannot apply $inc to a value of non-numeric type", result.stdout .. result.stderr, 1, true)
    local path = lunadex.registry(text:format(2))
    result = lunadex.run { "backfill", "run", path, "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.same({ 998, 2 }, { count("c", { times = 2 }), count("c", { times = "text" }) })
    assert.same({ 77, 512 }, { find("lunadex.backfill_errors")[1]._id.key, find("lunadex.backfill_errors")[2]._id.key })
    local status = lunadex.run { "backfill", "status", path, "--json", "--target", server:url(database) }
    assert.equal(0, status.status, tostring(status))
    assert.matches('"key":"77"', (status.stdout:gsub(" ", "")), 1, true)
    local query = shell.read_file "docs/backfills.md":match '"lunadex.backfill_errors"%)%.aggregate%((%b[])%)'
    query = query:gsub("users_enabled", "b"):gsub('"users"', '"c"')
    local rows = server:command(database, ('{"aggregate":"lunadex.backfill_errors","cursor":{},"pipeline":%s}')
      :format(query)).cursor.firstBatch
    assert.same({ 2, 77, "text" }, { #rows, rows[1].document[1]._id, rows[1].document[1].times })
  end)

  it("leaves that document as it is that failed, and no other that has come into its place", function()
    server:fill(database, "c", 100, { times = { ["$cond"] = { { ["$in"] = { "$n", { 1, 50, 51 } } }, "text",
      { ["$literal"] = 1 } } } })
    local first = find("c")[1]._id
    assert.same("text", find("c", { _id = first })[1].times)
    local link = proxies.start(server)
    finally(function() link:close() end)
    link:trap("stall", "before", "abortTransaction")
    local path = lunadex.registry [[
      backfill "b" { on = "c", set = { ["$inc"] = { times = 1 } }, errors = 2, batch = 1 }]]
    local run = lunadex.start { "backfill", "run", path, "--target", server:url(database, link.port) }
    local port = link:fired()
    server:command(database, { "delete", "c", deletes = { { q = { _id = first }, limit = 1 } } })
    link:resume(port)
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    assert.same({ 97, 2, 2 }, { count("c", { times = 2 }), count("c", { times = "text" }),
      count "lunadex.backfill_errors" })
  end)

  it("says what verify finds", function()
    server:fill(database, "c", 10)
    local result = backfill [[backfill "b" { on = "c", where = { _id = { ["$lt"] = 5 } }, set = { a = 1 },
      verify = { a = { ["$exists"] = false } } }]]
    assert.equal(3, result.status, tostring(result))
    assert.matches("verify counts 6", result.stdout .. result.stderr, 1, true)
  end)

  it("shows beforehand what it would do, and changes nothing", function()
    server:fill(database, "c", 50, { v = "$n" })
    local before = mongodb.json(find "c")
    local result = does([[backfill "b" { on = "c", where = { v = { ["$gt"] = 20 } },
      set = { ["$mul"] = { v = 10 } } }]], "--dry-run")
    assert.matches("30", result.stdout, 1, true)
    assert.matches("210", result.stdout, 1, true)
    assert.equal(before, mongodb.json(find "c"))
    server:insert(database, "d", { { _id = 1 }, { _id = 2, enabled = mongodb.null } })
    local text = [[backfill "e" { on = "d", set = { enabled = true } }]]
    result = does(text, "--dry-run")
    assert.matches("1: enabled: (missing) → true\n  2: enabled: null → true\n", result.stdout, 1, true)
    result = does(text, "--dry-run", "--json")
    assert.matches('"before":{"_id":1}', result.stdout, 1, true)
    assert.matches('"enabled":null', result.stdout, 1, true)
    result = does([[backfill "b" { on = "c", transform = function(row) return { w = row.v + 1000 } end }]], "--dry-run")
    assert.matches("1001", result.stdout, 1, true)
    assert.equal(before, mongodb.json(find "c"))
  end)

  describe("is refused before anything is begun", function()
    local function refused(text, message, status)
      local result = backfill(text)
      assert.equal(status or 6, result.status, tostring(result))
      assert.matches(message, result.stdout .. result.stderr, 1, true)
    end

    before_each(function() server:fill(database, "c", 5) end)

    it("by the server, that judges filter and update", function()
      refused([[backfill "b" { on = "c", where = { a = { ["$nosuch"] = 1 } }, set = { b = 1 } }]],
        "unknown operator: $nosuch", 65)
      refused([[backfill "b" { on = "c", set = { ["$incr"] = { b = 1 } } }]], "Unknown modifier: $incr", 65)
      refused([[backfill "b" { on = "c", set = { { ["$set"] = { b = { ["$nosuch"] = 1 } } } } }]],
        "Unrecognized expression '$nosuch'", 65)
      refused([[backfill "b" { on = "c", set = { b = 1 }, verify = { ["$nosuch"] = 1 } }]],
        "unknown top level operator: $nosuch", 65)
      -- Only a batch has a hint, and only a transform's a projection: neither is taken for a document's fault.
      server:command(database, '{ "createIndexes": "c", "indexes": [{ "name": "a", "key": { "a": "text" } }] }')
      refused([[backfill "b" { on = "c", where = { ["$text"] = { ["$search"] = "x" } }, set = { b = 1 }, errors = 5 }]],
        "registry.lua:1: text and hint not allowed", 65)
      refused([[backfill "b" { on = "c", columns = { "a", "a.b" }, transform = function() end, errors = 5 }]],
        "registry.lua:1: Path collision at a.b", 65)
      assert.equal(0, count "lunadex.backfill_errors")
    end)

    it("where its target says what no transaction does", function()
      local path = lunadex.registry [[backfill "b" { on = "c", set = { ["$inc"] = { b = 1 } } }]]
      local result = lunadex.run { "backfill", "run", path, "--target",
        server:url(database) .. "&readPreference=secondary" }
      assert.equal(64, result.status, tostring(result))
      assert.matches("take readPreference and w=0 out of the target", result.stderr, 1, true)
    end)

    it("where it would change the key, or cannot carry it", function()
      for _, set in ipairs { '{ _id = 1 }', '{ ["$inc"] = { ["_id.n"] = 1 } }', '{ ["$unset"] = { _id = 1 } }',
        '{ ["$rename"] = { a = "_id" } }', '{ { ["$unset"] = "a" }, { ["$set"] = { _id = 5 } } }' } do
        refused(('backfill "b" { on = "c", set = %s, repeatable = true }'):format(set), "it changes _id")
      end
      server:insert(database, "c", { '{ "_id": { "$code": "f()", "$scope": { "x": 1 } } }' })
      refused([[backfill "b" { on = "c", set = { b = 1 } }]], "an _id of a type of long ago")
    end)

    it("where there is nothing that it could be on", function()
      refused([[backfill "b" { on = "missing", set = { b = 1 } }]], "there is no collection missing\nRun the migration",
        65)
      server:command(database, { "create", "orders" })
      refused([[backfill "b" { on = "oders", set = { b = 1 } }]], "there is no collection oders\nDid you mean orders?",
        65)
      server:command(database, { "create", "v", viewOn = "c", pipeline = {} })
      refused([[backfill "b" { on = "v", set = { b = 1 } }]], "v is a view")
      server:command(database, { "create", "s", timeseries = { timeField = "t" } })
      refused([[backfill "b" { on = "s", set = { b = 1 } }]], "s is a time series collection")
    end)

    it("by the registry, which knows what updates look like", function()
      refused([[backfill "b" { on = "c", set = { ["$inc"] = { times = 1 }, b = 2 } }]], "mixes fields with operators",
        65)
      refused([[backfill "b" { on = "c", set = {} }]], "is empty", 65)
      refused([[backfill "b" { on = "c", set = { { a = 1 } } }]], "holds what is no stage of a pipeline", 65)
      refused([[backfill "b" { on = "c", where = "a = 1", set = { a = 1 } }]], "has a at byte 1", 65)
    end)

    it("on a capped collection, to which no transaction may write, unless doing it twice does no harm", function()
      server:command(database, { "create", "log", capped = true, size = 100000 })
      server:insert(database, "log", { { _id = 1, times = 1 }, { _id = 2, times = 1 } })
      refused([[backfill "b" { on = "log", set = { ["$inc"] = { times = 1 } } }]],
        "no transaction may write to a capped")
      does [[backfill "b" { on = "log", set = { times = 2 } }]]
      assert.equal(2, count("log", { times = 2 }))
      does [[backfill "c" { on = "log", set = { { ["$set"] = { times = 3 } } }, repeatable = true }]]
      assert.equal(2, count("log", { times = 3 }))
    end)
  end)

  describe("that runs", function()
    local process, registry, at_once, url

    before_each(function()
      server:fill(database, "c", 5000)
      registry = lunadex.registry [[backfill "slow" { on = "c", batch = 1, set = { ["$inc"] = { times = 1 } } }]]
      at_once = lunadex.registry [[backfill "slow" { on = "c", set = { ["$inc"] = { times = 1 } } }]]
      url = server:url(database)
    end)
    after_each(function()
      if process and process:running() then process:kill "KILL" end
    end)

    local function start()
      process = lunadex.start { "backfill", "run", registry, "--target", url, "--json" }
      shell.eventually("the first batches", function() return count("c", { times = 1 }) > 10 end)
    end

    local function command(word)
      local result = lunadex.run { "backfill", word, registry, "--only", "slow", "--target", url }
      assert.equal(0, result.status, tostring(result))
    end

    it("pauses, goes on, and is aborted from elsewhere; resume takes that back", function()
      start()
      command "pause"
      shell.eventually("it to hold", function() return process:stdout():find('"paused"', 1, true) end)
      local stands = (select(2, kept "slow")).seen
      assert.is_true(stands < 5000)
      command "resume"
      shell.eventually("it to go on", function() return (select(2, kept "slow")).seen > stands end)
      command "abort"
      process:wait(60)
      assert.equal("aborted", (kept "slow").outcome)
      local result = lunadex.run { "backfill", "run", registry, "--target", url }
      assert.equal(6, result.status, tostring(result))
      command "resume"
      result = lunadex.run { "backfill", "run", at_once, "--target", url }
      assert.equal(0, result.status, tostring(result))
      assert.equal(5000, count("c", { times = 1 }))
    end)

    it("does not take a collection that was renamed for one at its end", function()
      start()
      server:command("admin", { "renameCollection", database .. ".c", to = database .. ".other" })
      assert.equal(65, process:wait(60).status)
      assert.matches("c was dropped or renamed meanwhile", process:stdout(), 1, true)
      assert.equal("failed", (kept "slow").outcome)
      server:command("admin", { "renameCollection", database .. ".other", to = database .. ".c" })
      local result = lunadex.run { "backfill", "run", at_once, "--target", url }
      assert.equal(0, result.status, tostring(result))
      assert.equal(5000, count("c", { times = 1 }))
    end)

    it("keeps another run out; interrupted, it lets it in at once", function()
      start()
      local other = lunadex.run { "backfill", "run", registry, "--target", url }
      assert.equal(4, other.status, tostring(other))
      process:kill "INT"
      assert.equal(130, process:wait(60).status)
      other = lunadex.run { "backfill", "run", at_once, "--target", url }
      assert.equal(0, other.status, tostring(other))
      assert.equal(5000, count("c", { times = 1 }))
      assert.equal(2, (kept "slow").attempts)
    end)
  end)

  it("on a server without transactions is refused, unless it may be done twice; killed, it is completed", function()
    local shared = server
    server = mongodb.start { standalone = true }
    server:fill(database, "c", 20000)
    for _, set in ipairs { '{ ["$inc"] = { times = 1 } }', "{ { [\"$set\"] = { times = 1 } } }",
      '{ ["$set"] = { times = 1 }, ["$push"] = { list = 1 } }' } do
      local result = backfill(([[backfill "b" { on = "c", set = %s }]]):format(set))
      assert.equal(6, result.status, tostring(result))
      assert.matches("has no transactions: a batch that is killed would be done twice",
        result.stdout .. result.stderr, 1, true)
    end
    assert.equal(0, count("c", { times = { ["$exists"] = true } }))
    local path = lunadex.registry [[backfill "b" { on = "c", set = { times = 1 }, batch = 10, jobs = 2, verify = {
      times = { ["$ne"] = 1 } } }]]
    assert.matches("\n  1: was not tried\n", does(shell.read_file(path), "--dry-run").stdout, 1, true)
    local process = lunadex.start { "backfill", "run", path, "--target", server:url(database) }
    shell.eventually("the first batches", function() return count("c", { times = 1 }) > 100 end)
    process:kill "KILL"
    process:wait()
    assert.is_true(count("c", { times = 1 }) < 20000)
    server:command(database, '{"update":"lunadex.backfills","updates":[{"q":{},"u":{"$unset":{"lease":1}}}]}')
    does((shell.read_file(path):gsub("batch = 10,", "")))
    assert.equal(20000, count("c", { times = 1 }))
    local entry, sums = kept "b"
    assert.same({ "finished", 2, 20000 }, { entry.outcome, entry.attempts, sums.seen })
    does([[backfill "b" { on = "c", set = { { ["$set"] = { times = 2 } } }, repeatable = true }]], "--restart")
    assert.equal(20000, count("c", { times = 2 }))
    does([[backfill "b" { on = "c", transform = function(row) return { times = 3 } end, repeatable = true }]],
      "--restart")
    assert.equal(20000, count("c", { times = 3 }))
    server:stop()
    server = shared
  end)

  it("holds while the oplog is full and reaches back too little", function()
    local shared = server
    server = mongodb.start { oplog = 1 }
    server:fill(database, "c", 300)
    server:fill(database, "noise", 300, { text = { ["$literal"] = ("x"):rep(10000) } })
    local path = lunadex.registry [[backfill "b" { on = "c", set = { times = 1 }, throttle = { oplog = "1h" } }]]
    local process = lunadex.start { "backfill", "run", path, "--json", "--target", server:url(database) }
    shell.eventually("it to hold", function()
      return process:stdout():find("the oplog reaches back [^\"]*; the limit is 1 h 00 min")
    end)
    assert.equal(0, count("c", { times = 1 }))
    server:command("admin", '{"replSetResizeOplog":1,"size":{"$numberDouble":"990"}}')
    local result = lunadex.result(process:wait(120))
    assert.equal(0, result.status, tostring(result))
    assert.equal(300, count("c", { times = 1 }))
    server:stop()
    server = shared
    result = backfill [[backfill "b" { on = "c", set = { times = 1 }, throttle = { dead = 0.2 } }]]
    assert.equal(6, result.status, tostring(result))
  end)

  it("holds while a member is too far behind, and goes on afterwards", function()
    local shared = server
    server = mongodb.start { members = 3 }
    server:fill(database, "c", 1000)
    local primary, behind = server:primary(), nil
    for _, member in ipairs(server.members) do
      if member ~= primary then behind = member end
    end
    local path = lunadex.registry [[backfill "b" { on = "c", set = { times = 1 }, batch = 1, throttle = { lag = 1 } }]]
    behind:command("admin", '{"configureFailPoint":"rsSyncApplyStop","mode":"alwaysOn"}')
    local process = lunadex.start { "backfill", "run", path, "--json", "--target", server:url(database) }
    shell.eventually("it to hold", function()
      return process:stdout():find(("127.0.0.1:%d is "):format(behind.port), 1, true)
    end)
    shell.eventually("batches to end", function()
      local before = select(2, kept "b").seen
      shell.sleep(0.1)
      return select(2, kept "b").seen == before
    end)
    local stands = select(2, kept "b").seen
    assert.is_true(stands < 1000)
    shell.eventually("its status to say so", function()
      local status = lunadex.run { "backfill", "status", path, "--target", server:url(database) }
      return status.stdout:find("behind; the limit is 1", 1, true)
    end)
    behind:command("admin", '{"configureFailPoint":"rsSyncApplyStop","mode":"off"}')
    local result = lunadex.result(process:wait(120))
    assert.equal(0, result.status, tostring(result))
    assert.equal(1000, count("c", { times = 1 }))
    server:stop()
    server = shared
  end)
end)
