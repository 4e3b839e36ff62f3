-- Declared models, an administrative script, and what is to be known of a sharded collection (REQUIREMENTS, row B).
-- The server is a replica set: what makes it a part of a cluster are documents written by hand.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"

describe("models on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = mongodb.shared()
    database = server:create_database()
    url = server:url(database)
  end)
  after_each(function() server:drop_database(database) end)

  local function shard(collection, key) server:shard(database, collection, key) end

  local function run(command, text, ...)
    return lunadex.run { command, lunadex.registry(text), "--target", url, ... }
  end

  -- "warning scattered-query a, …": the findings of a plan.
  local function findings(text, ...)
    local result = run("plan", text, "--json", ...)
    local list = {}
    for i, finding in ipairs(result:json().findings) do
      list[i] = ("%s %s %s"):format(finding.level, finding.rule, finding.name or finding.message:match '"(%w+)"')
    end
    table.sort(list)
    return table.concat(list, ", "), result.status
  end

  it("are ensured by one command, before the code that needs them is deployed", function()
    local environment = { MONGODB_URI = url }
    server:fill(database, "users", 20000, { email = { ["$toString"] = "$n" }, tenant = 1 })
    local result = lunadex.run { "apply", "registry/models", env = environment }
    assert.equal(0, result.status, tostring(result))
    local again = lunadex.run { "apply", "registry/models", env = environment }
    assert.matches("total 9, created 0, skipped 9", again.stdout, 1, true)
  end)

  it("have no unique index that shards cannot enforce", function()
    shard("t", '{"tenant":1,"user":1}')
    shard("h", '{"user":"hashed"}')
    local text = [[
      on "t" {
        index { "email", name = "wrong", unique = true }, index { "user", "tenant", name = "order", unique = true },
        index { "tenant", name = "part", unique = true }, index { "mail", name = "plain" },
        index { "tenant", "user", "email", name = "right", unique = true },
        index { "tenant", "user", name = "collated", unique = true, collation = { locale = "en" } },
        index { "x", name = "allowed", unique = true, allow = { ["unique-on-sharded"] = "made by hand" } },
      }
      on "h" { index { "user", name = "hashed", unique = true } }
      on "free" { index { "email", name = "free", unique = true } }
    ]]
    local shown, status = findings(text)
    assert.equal("error unique-on-sharded collated, error unique-on-sharded order, error unique-on-sharded part, "
      .. "error unique-on-sharded wrong, info new-collection free, info unique-on-sharded allowed", shown)
    assert.equal(6, status)
    local result = run("apply", text)
    assert.equal(6, result.status, tostring(result))
    assert.matches('t wrong: a unique index of a collection that is sharded by {"tenant": 1, "user": 1}', result.stderr,
      1, true)
    local function built(collection)
      local names = {}
      for i, index in ipairs(server:indexes(database, collection)) do names[i] = index.name end
      table.sort(names)
      return table.concat(names, " ")
    end
    assert.same({ "_id_ free", "_id_ hashed" }, { built "free", built "h" })
    assert.is_nil(built("t"):find("wrong", 1, true))
    assert.truthy(built("t"):find("plain right", 1, true))
    -- One that was there before is told of, and holds nothing up.
    server:command(database, '{"createIndexes":"late","indexes":[{"name":"before","key":{"x":1},"unique":true}]}')
    shard("late", '{"tenant":1}')
    local late = [[ on "late" { index { "x", name = "before", unique = true } } ]]
    assert.same({ "warning unique-on-sharded before", 0 }, { findings(late) })
    assert.is_nil(findings(late, "--without", "unique-on-sharded"):find("warning", 1, true))
  end)

  it("have no query that goes to all shards unnoticed", function()
    shard("t", '{"tenant":1,"user":1}')
    shard("h", '{"user":"hashed"}')
    assert.equal("warning scattered-query a, warning scattered-query b, warning scattered-query c, "
      .. "warning scattered-query d, warning scattered-query g, warning scattered-query words", (findings [[
      on "t" {
        query { { user = 1 }, name = "a" }, query { { tenant = { ["$ne"] = 1 } }, name = "b" },
        query { { ["$or"] = { { tenant = 1 }, { user = 2 } } }, name = "c" },
        query { { ["$or"] = { { tenant = 1 }, { tenant = 2, x = 5 } } }, name = "either" },
        query { { tenant = { ["$exists"] = true } }, name = "g" },
        query { { tenant = 1, ["$text"] = { ["$search"] = "x" } }, name = "words" },
        query { { tenant = 1, user = 2, ["$text"] = { ["$search"] = "x" } }, name = "whole" },
        query { { tenant = 1 }, name = "fine" }, query { { tenant = { ["$gt"] = 5 }, user = 1 }, name = "range" },
        query { { ["$and"] = { { tenant = 5 }, { x = 1 } } }, name = "nested" },
        query { { tenant = { ["$in"] = { 1, 2 } } }, name = "choice" },
      }
      on "h" { query { { user = { ["$gt"] = 5 } }, name = "d" }, query { { user = 5 }, name = "e" } }
      on "free" { query { { x = 1 }, name = "f" } }]]))
  end)

  it("have an index for every query that is to have one", function()
    server:command(database, '{"createIndexes":"t","indexes":[{"name":"live","key":{"live":1}},'
      .. '{"name":"words","key":{"text":"text"}}]}')
    assert.equal("warning unserved-query 1, warning unserved-query 2, warning unserved-query 3, "
      .. "warning unserved-query 4, warning unserved-query 5, warning unserved-query 6, warning unserved-query 7, "
      .. "warning unserved-query 8", (findings([[
      on "t" {
        index { "a", "b", name = "ab" }, index { "p", partial = { status = "open" }, name = "p" },
        index { "s", sparse = true, name = "s" }, index { "hid", hidden = true },
        index { key { "h", type = "hashed" } }, index { { at = "2dsphere" } },
        index { "w.$**" }, index { "e", partial = { e = { ["$exists"] = true } } },
        query { { b = 1 }, name = "1", expect_index = true },
        query { { p = 1 }, name = "2", expect_index = true },
        query { { hid = 1 }, name = "3", expect_index = true },
        query { { h = { ["$gt"] = 1 } }, name = "4", expect_index = true },
        query { { a = { ["$size"] = 1 } }, name = "5", expect_index = true },
        query { { a = 1 }, name = "6", expect_index = "nowhere" },
        query { { a = 1 }, name = "7", expect_index = "p" },
        query { {}, sort = { "s" }, name = "8", expect_index = true },
        query { { b = 1 }, name = "unasked" },
        query { { a = 1, b = { ["$gt"] = 5 } }, name = "fine", expect_index = "ab" },
        query { {}, sort = { { a = -1 } }, name = "sorted", expect_index = true },
        query { { p = { ["$gt"] = 1 }, status = "open" }, name = "partial", expect_index = true },
        query { { e = 5 }, name = "existing", expect_index = true },
        query { { s = 1 }, name = "sparse", expect_index = true },
        query { { h = 1 }, name = "hashed", expect_index = true },
        query { { at = { ["$nearSphere"] = { 1, 2 } } }, name = "near", expect_index = true },
        query { { ["$text"] = { ["$search"] = "x" } }, name = "words", expect_index = true },
        query { { ["w.x"] = 1 }, name = "wild", expect_index = true },
        query { { live = 1 }, name = "live", expect_index = true },
      }]]):gsub("info [^,]*, ", "")))
  end)

  it("are told what the server does with the indexes that will be left", function()
    server:insert(database, "t", { '{"a":1,"tags":["x","y"]}' })
    server:command(database, [[{"createIndexes":"t","indexes":[{"name":"stray","key":{"s":1}},
      {"name":"theirs","key":{"b":1}}, {"name":"tags","key":{"tags":1}}, {"name":"shown","key":{"h":1}},
      {"name":"turned","key":{"r":1}}, {"name":"ttl","key":{"at":1},"expireAfterSeconds":60},
      {"name":"_english","key":{"c":1},"collation":{"locale":"en"}}]}]])
    local text = [[
      on "t" {
        index { "b", name = "ours" }, index { "tags" }, index { "h", name = "shown", hidden = true },
        index { "x", name = "turned" }, index { "at", expire_after = 120 },
        index { "c", name = "_english", collation = { locale = "en" } },
        query { { s = 1 }, name = "stray", expect_index = true },
        query { { b = 1 }, name = "named", expect_index = "ours" },
        query { { tags = { ["$ne"] = null } }, name = "arrays", expect_index = true },
        query { {}, sort = { "tags" }, name = "sorted", expect_index = true },
        query { { h = 1 }, name = "hidden", expect_index = true },
        query { { r = 1 }, name = "replaced", expect_index = true },
        query { { x = 1 }, name = "replacing", expect_index = "turned" },
        query { { at = 1 }, name = "altered", expect_index = true },
        query { { c = "text" }, name = "collated", expect_index = true },
        query { { c = 5 }, name = "number", expect_index = true },
        query { { ["$or"] = { { b = 1 }, { x = 2 } } }, name = "both", expect_index = true },
        query { { ["$or"] = { { b = 1 }, { r = 2 } } }, name = "half", expect_index = true },
      }]]
    local function unserved(...)
      local list = {}
      for name in findings(text, ...):gmatch "unserved%-query (%w+)" do list[#list + 1] = name end
      return table.concat(list, " ")
    end
    assert.equal("arrays collated half hidden replaced", unserved())
    assert.equal("arrays collated half hidden replaced stray", unserved "--drop-strays")
  end)

  it("are told which queries the server would refuse", function()
    server:command(database, '{"createIndexes":"t","indexes":[{"name":"a","key":{"a":1}}]}')
    local text = [[
      on "%s" {
        query { { a = { ["$in"] = 5 } }, name = "list", expect_index = true },
        query { { a = { ["$regex"] = "(" } }, name = "pattern", expect_index = true },
        query { { a = { ["$mod"] = { 0, 0 } } }, name = "divisor", expect_index = true },
        query { { a = { ["$foo"] = 1 } }, name = "operator", expect_index = "a" },
        query { { a = 1, b = { ["$ne"] = 1 } }, name = "fine", expect_index = true },
      }]]
    local result = run("plan", text:format "t")
    assert.equal(0, result.status, tostring(result))
    for _, words in ipairs { '"list" cannot be planned: $in needs an array', '"pattern" cannot be planned: Regular',
      '"divisor" cannot be planned: divisor cannot be 0', '"operator" cannot be planned: unknown operator: $foo' } do
      assert.matches(words, result.stdout, 1, true)
    end
    assert.is_nil(result.stdout:find('"fine"', 1, true))
    assert.matches('"list" cannot be planned: $in needs an array', run("plan", text:format "none").stdout, 1, true)
  end)

  it("are told what the server does for views, and for ranges of time", function()
    server:command(database, '{"createIndexes":"t","indexes":[{"name":"a","key":{"a":1}}]}')
    server:command(database, '{"create":"v","viewOn":"t","pipeline":[{"$match":{"x":1}}]}')
    server:command(database, '{"create":"ts","timeseries":{"timeField":"at","metaField":"from"}}')
    assert.equal("warning unserved-query everything, warning unserved-query other, warning unserved-query unnamed",
      (findings [[
      on "v" {
        query { { a = 1 }, name = "fine", expect_index = true },
        query { { a = 1 }, name = "named", expect_index = "a" },
        query { { a = 1 }, name = "unnamed", expect_index = "b" },
        query { { b = 1 }, name = "other", expect_index = true },
      }
      on "ts" {
        query { { at = { ["$gt"] = { ["$date"] = "2020-01-01T00:00:00Z" } } }, name = "time", expect_index = true },
        query { { v = 1 }, name = "everything", expect_index = true },
      }]]))
  end)

  it("are told of views no more than is known before all that these read is built", function()
    local function make()
      server:command(database, '{"create":"v","viewOn":"t","pipeline":[{"$match":{"x":1}}]}')
      server:command(database, '{"create":"vv","viewOn":"v","pipeline":[{"$project":{"a":1}}]}')
      server:command(database, [[{"create":"joined","viewOn":"other","pipeline":[
        {"$lookup":{"from":"v","localField":"a","foreignField":"a","as":"all"}}]}]])
    end
    local text = [[
      on "t" { index { "a", name = "a" }, query { { _id = 1 }, name = "own", expect_index = true } }
      on "v" {
        query { { a = 1 }, name = "v", expect_index = "a" }, query { { b = 1 }, name = "v2", expect_index = true },
      }
      on "vv" { query { { a = 1 }, name = "vv", expect_index = true } }
      on "joined" { query { { _id = 5 }, name = "joined", expect_index = "_id_" } }
    ]]
    -- Nothing is there, and then the views alone.
    assert.equal("info new-collection a, info unserved-query v, info unserved-query v2, info unserved-query vv",
      (findings(text)))
    assert.matches('whether an index serves the query "v" is not known: there is nothing of that name yet',
      run("plan", text).stdout, 1, true)
    make()
    assert.equal("info new-collection a, info unserved-query joined, info unserved-query v, info unserved-query v2, "
      .. "info unserved-query vv", (findings(text)))
    assert.matches('the query "vv" is not known: it is a view, and of t not all indexes are built',
      run("plan", text).stdout, 1, true)
    assert.equal(0, run("apply", text).status)
    server:insert(database, "other", { '{"a":1}' })
    assert.equal("warning unserved-query v2", (findings(text)))
    -- What goes serves no view, either.
    local gone = [[ on "t" { description = "nothing" }
      on "v" { query { { a = 1 }, name = "v", expect_index = true } } ]]
    assert.equal("info stray a", (findings(gone)))
    assert.equal("warning unserved-query v", (findings(gone, "--drop-strays")))
  end)

  it("keep the index of the shard key, whatever is asked", function()
    server:command(database, '{"createIndexes":"t","indexes":[{"name":"shard","key":{"tenant":1}},'
      .. '{"name":"stray","key":{"x":1}}]}')
    shard("t", '{"tenant":1}')
    local result = run("apply", [[on "t" { description = "nothing declared" }]], "--drop-strays")
    assert.equal(0, result.status, tostring(result))
    local names = {}
    for i, spec in ipairs(server:indexes(database, "t")) do names[i] = spec.name end
    assert.same({ "_id_", "shard" }, names)
    local plan = run("plan", [[on "t" { index { "tenant", name = "shard", sparse = true } }]])
    assert.matches("it carries the shard key of t", plan.stdout, 1, true)
    local hidden = run("apply", [[on "t" { index { "tenant", name = "shard", hidden = true } }]])
    assert.equal(6, hidden.status, tostring(hidden))
    assert.matches('shard cannot be hidden: it carries the shard key of t, {"tenant": 1}', hidden.stderr, 1, true)
    assert.equal(65, plan.status)
  end)
end)
