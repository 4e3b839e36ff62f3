-- What may be declared of a MongoDB database, and what is said about mistakes.
local registry = require "lunadex.registry"

local target = "mongodb://localhost/shop"

local function parse(text, options)
  local loaded, errors = registry.parse(text, "shop.lua", options or { target = target })
  if loaded then return loaded end
  local lines = {}
  for i, err in ipairs(errors) do lines[i] = tostring(err) end
  return nil, lines
end

local function entries(text, options)
  local loaded, errors = parse(text, options)
  assert(loaded, errors and table.concat(errors, "\n"))
  return loaded.databases[1].entries, loaded
end

-- The fields of the one index of a collection, without what is the same for all.
local function fields(text)
  local list = entries(('on "users" { index { %s } }'):format(text))
  assert.equal(1, #list)
  local result = list[1].fields
  assert.same({ "index", "users", "" }, { result.kind, result.relation, result.method })
  result.kind, result.relation, result.method = nil, nil, nil
  return result
end

describe("a registry of MongoDB", function()
  it("gives entries with their place", function()
    local list, loaded = entries [[
on "fs.files" {
  description = "Files",
  index { "email", desc "seen_at", name = "by_email", unique = true, critical = true, description = "Login",
    commit_quorum = 2, allow = { ["some-rule"] = "because" } },
}
]]
    assert.same({ kind = "index", relation = "fs.files", method = "", name = "by_email", unique = true,
      keys = { { column = "email" }, { column = "seen_at", descending = true } } }, list[1].fields)
    list[1].fields = nil
    assert.same({ relation = "fs.files", name = "by_email", critical = true, description = "Login",
      commit_quorum = "2", allow = { ["some-rule"] = "because" }, file = "shop.lua", line = 3, ordinal = 1 }, list[1])
    assert.equal("mongodb", loaded.databases[1].driver)
    assert.equal("Files", loaded.databases[1].relations["fs.files"].description)
  end)

  it("knows every way to write a key", function()
    assert.same({
      { column = "a" }, { column = "b" }, { column = "c.d", descending = true }, { column = "e", descending = true },
      { column = "f" }, { column = "g", opclass = "2dsphere" }, { column = "h.i", opclass = "2dsphere" },
      { column = "j", descending = true }, { column = "k", opclass = "2" }, { column = "l", opclass = "-1.5" },
      { column = "m", descending = true }, { column = "n", descending = true }, { column = "author.$id" },
    }, fields([["a", asc "b", desc "c.d", { e = -1 }, { f = 1.0 }, { g = "2dsphere" },
      key { "h.i", type = "2dsphere" }, key { "j", desc = true }, { k = 2 }, { l = -1.5 }, desc { m = 1 },
      key { "n", type = -1 }, "author.$id"]]).keys)
    assert.same({ { column = "$**" } }, fields([["$**"]]).keys)
    assert.same({ { column = "a.$**" } }, fields([["a.$**"]]).keys)
    assert.same({ { column = "a", opclass = "hashed" } }, fields([[{ a = "hashed" }]]).keys)
  end)

  it("knows every option", function()
    assert.same({
      keys = { { column = "at" } }, traits = { { "collation", '{"locale":"en","strength":2}' }, { "sparse", "true" } },
      with = { { "expireAfterSeconds", "2592000" }, { "hidden", "true" },
        { "storageEngine", '{"wiredTiger":{"configString":"x"}}' } },
    }, fields [["at", sparse = true, collation = { locale = "en", strength = 2 }, hidden = true, expire_after = "30d",
      storage_engine = { wiredTiger = { configString = "x" } }]])
    assert.same({
      keys = { { column = "title", opclass = "text" }, { column = "body", opclass = "text" } },
      with = { { "default_language", '"german"' }, { "language_override", '"lang"' }, { "weights", '{"title":10}' } },
    }, fields [[{ title = "text" }, { body = "text" }, weights = { title = 10 }, default_language = "german",
      language_override = "lang"]])
    assert.same({ { "bits", "20" }, { "max", "10.5" }, { "min", "-10" } },
      fields([[{ at = "2d" }, bits = 20, min = -10, max = 10.5]]).with)
    assert.same({ { "wildcardProjection", '{"a":1,"b.c":1}' } },
      fields([["$**", wildcard_projection = { ["b.c"] = 1, a = 1 }]]).traits)
    assert.same({ keys = { { column = "a" } } }, fields [["a", sparse = false, hidden = false, unique = false]])
    assert.same({ { "expireAfterSeconds", "0" } }, fields([["a", expire_after = 0]]).with)
  end)

  it("turns Lua into JSON of the types that are meant", function()
    local function filter(text) return fields(('"a", partial = %s'):format(text)).where end
    assert.equal('{"a":1,"b":5.0,"c":0.1,"d":9007199254740993,"e":"x","f":true,"g":null}',
      filter '{ g = null, f = true, e = "x", d = 9007199254740993, c = 0.1, b = 5.0, a = 1 }')
    assert.equal('{"a":{"$in":[1,"b",[2]]},"b":{"$in":[]},"c":{}}',
      filter '{ a = { ["$in"] = { 1, "b", { 2 } } }, b = { ["$in"] = {} }, c = {} }')
    assert.equal('{"a":"q\\"\\\\\\n\\u0001ü"}', filter [[{ a = "q\"\\\n\1ü" }]])
    assert.equal('{"at":{"$gt":{"$date":"2024-01-01T00:00:00Z"}}}',
      filter '{ at = { ["$gt"] = { ["$date"] = "2024-01-01T00:00:00Z" } } }')
    assert.equal('{"a":{"$numberDouble":"Infinity"}}', filter "{ a = math.huge }")
    -- A text of JSON keeps its order and its numbers.
    assert.equal('{"b":1e3,"a":[{"c":1.0},"\\"ü😀",true]}',
      filter [==[[[ { "b" : 1e3, "a": [ {"c": 1.0}, "\"\u00fc\ud83d\ude00", true ] } ]]]==])
  end)

  it("takes a specification as createIndexes does", function()
    assert.same({
      name = "x", unique = true, where = '{"b":{"$gt":1}}', keys = { { column = "z", descending = true },
        { column = "a" }, { column = "c", opclass = "2.5" } },
      traits = { { "collation", '{"locale":"fr"}' } }, with = { { "hidden", "true" }, { "v", "2" } },
    }, fields [==[spec = [[{ "v": 2, "key": { "z": -1, "a": {"$numberInt": "1"}, "c": 2.5 }, "name": "x", "unique": 1,
      "background": true, "sparse": false, "hidden": true, "partialFilterExpression": { "b": { "$gt": 1 } },
      "collation": { "locale": "fr" } }]]]==])
    assert.same({ { column = "a" }, { column = "body", opclass = "text" }, { column = "title", opclass = "text" } },
      fields([==[spec = [[{ "key": { "a": 1, "_fts": "text", "_ftsx": 1 }, "name": "t",
        "weights": { "title": 1, "body": 3 }, "textIndexVersion": 3 }]], description = "beside"]==]).keys)
    assert.same({ { "expireAfterSeconds", "3600" } },
      fields([==[spec = [[{ "key": { "a": 1 }, "expireAfterSeconds": 3600.9 }]], name = "n"]==]).with)
  end)

  it("means the same whether a declaration is plain enough for the short way or not", function()
    for _, words in ipairs { '"a"', '"a.b", desc "c"', '"a", desc "b", name = "n"', '"a", unique = true',
      '"_id", "a"' } do
      local text = ('on "u" { index { %s } } on "v" { index { %s, critical = false } }'):format(words, words)
      local list = entries('on "w" { index { "x", desc "b" }, index { "x", desc "c", unique = true } } ' .. text)
      local short, long = list[3].fields, list[4].fields
      assert.same({ "u", "v" }, { short.relation, long.relation })
      short.relation, long.relation = nil, nil
      assert.same(long, short)
    end
  end)

  it("keeps queries for checks", function()
    local _, loaded = entries [[on "users" { index { "a" },
      query { { tenant = 1, at = { ["$gt"] = 5 } }, sort = { { at = -1 }, "b" }, expect_index = true, name = "q" },
      query { '{ "b": 1, "a": 2 }' },
    }]]
    assert.same({
      { filter = '{"at":{"$gt":5},"tenant":1}', sort = { { column = "at", descending = true }, { column = "b" } },
        expect_index = true, name = "q", file = "shop.lua", line = 2 },
      { filter = '{"b":1,"a":2}', sort = {}, file = "shop.lua", line = 3 },
    }, loaded.databases[1].relations.users.queries)
  end)

  it("has its names within a collection", function()
    assert.equal(2, #entries [[on "a" { index { "x", name = "n" } } on "b" { index { "x", name = "n" } }]])
  end)
end)

describe("of which kind a database is", function()
  local function drivers(text, options)
    local result = {}
    for _, database in ipairs(assert(registry.parse(text, "r.lua", options)).databases) do
      result[#result + 1] = database.name .. " " .. database.driver
    end
    return table.concat(result, ", ")
  end
  local function getenv(values) return function(name) return values[name] end end
  local nothing = getenv {}

  it("is said by the target, the url, the environment, in this order", function()
    local one = 'on "t" { index { "a" } }'
    assert.equal("default postgres", drivers(one, { getenv = nothing }))
    assert.equal("default mongodb", drivers(one, { getenv = getenv { MONGODB_URI = target } }))
    assert.equal("default postgres", drivers(one, { target = "host=x", getenv = getenv { MONGODB_URI = target } }))
    assert.equal("default mongodb", drivers(one, { target = "MongoDB+SRV://x/y", getenv = nothing }))
    local two = ([[database "m" { url = %q, on "t" { index { "a", sparse = true } } }
      database "p" { url = "postgresql:///p", on "t" { index { "a", where = "b" } } }]]):format(target)
    assert.equal("m mongodb, p postgres", drivers(two, { getenv = nothing }))
    assert.equal("m mongodb, p postgres", drivers(two, { target = target, database = "m", getenv = nothing }))
  end)

  it("may be said by a later file", function()
    local folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
    local function write(name, text)
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    write("a.lua", 'database "m" { on "t" { index { "a", sparse = true } } } on "x" { index { "a" } }')
    write("b.lua", ('on "y" { index { "a" } } database "m" { url = %q, on "t" { index { "b" } } }'):format(target))
    local loaded, errors = registry.load(folder, { getenv = nothing })
    os.execute("rm -r " .. folder)
    assert(loaded, errors and tostring(errors[1]))
    local m, default = loaded.databases[1], loaded.databases[2]
    assert.same({ "mongodb", "postgres", 2, 2 }, { m.driver, default.driver, #m.entries, #default.entries })
    assert.equal("x", default.entries[1].relation)
  end)
end)

-- Options of an index, or a whole text; then what the message has to say.
local wrong = {
  { [["a", uniqe = true]], 'unknown option "uniqe" of index', 'did you mean "unique"?', "expire_after" },
  { [["a", where = "b > 1"]], "where is an option of PostgreSQL; MongoDB has no such thing", "write partial" },
  { [["a", include = { "b" }]], "add the fields to the keys" },
  { [["a", method = "gin"]], '{ location = "2dsphere" }' },
  { [["a", sql = "CREATE INDEX x ON t (a)"]], "write spec" },
  { [["a", tablespace = "x"]], "tablespace is an option of PostgreSQL" },
  { [["a", mode = "blocking"]], "during every build" },
  { [["a", duplicate_of = "x"]], "can have the same index twice" },
  { [["a", expireAfterSeconds = 5]], 'did you mean "expire_after"?' },
  { [["a", partialFilterExpression = {}]], 'did you mean "partial"?' },
  { [["a", background = true]], "during every build" },
  { [["a", expire_after = "5 parsecs"]], "option expire_after of index", "30d" },
  { [["a", expire_after = -1]], "option expire_after of index is -1" },
  { [["a", expire_after = 1.5]], "whole seconds" },
  { [["a", "b", expire_after = 5]], "an index with expire_after has one key only" },
  { [["a", sparse = "yes"]], "true or false" },
  { [["a", partial = "{ b: 1 }"]], "option partial of index has b at byte 3", "double quotes" },
  { [["a", partial = '{ "b": 1']], "breaks off" },
  { [["a", partial = '[1]']], "a table such as" },
  { [["a", partial = { 1 }]], "a table such as" },
  { [["a", partial = { 1, b = 2 }]], "neither a list nor has names only" },
  { [["a", partial = { b = desc }]], "holds a function" },
  { [["a", partial = { b = 1 }, sparse = true]], "either sparse or partial", "$exists" },
  { [["a", collation = { locle = "en" }]], 'has the field "locle"', '"locale"' },
  { [["a", collation = { strength = 2 }]], "has no locale" },
  { [["a", collation = { locale = "en", strength = "2" }]], "strength that is no number" },
  { [[{ a = "text" }, weights = { a = 0 }]], 'a weight of "a"' },
  { [["a", weights = { a = 1 }]], 'weights in an index without a key of type "text"' },
  { [["a", bits = 20]], 'bits in an index without a key of type "2d"' },
  { [[{ a = "2d" }, bits = 33]], "a whole number from 1 to 32" },
  { [["a", wildcard_projection = { b = 1 }]], 'wildcard_projection is for an index on $**' },
  { [["$**", unique = true]], "cannot be unique" },
  { [[{ a = "hashed" }, unique = true]], "cannot be unique" },
  { [["a", commit_quorum = -1]], '"votingMembers"' },
  { [["_id"]], "is always there" },
  { [["a", name = "*"]], "means all indexes" },
  { [["a", name = "_id_"]], "always there" },
  { [[{ a = "2dspher" }]], 'the key "a" of index is "2dspher"', 'did you mean "2dsphere"?' },
  { [[{ a = 0 }]], 'the key "a" of index is 0' },
  { [[{ a = true }]], "is true" },
  { [[{ a = 1, b = 1 }]], "a key of several fields", "the order of names is lost" },
  { [[{ { a = 1 } }]], "a list for a key" },
  { [["a", {}]], "a table for a key" },
  { [["a..b"]], "has an empty part" },
  { [["$a"]], 'has the part "$a"' },
  { [["a.$**.b"]], 'has the part "$**"' },
  { [[desc "a.$**"]], "a wildcard key has no direction but 1" },
  { [[{ a = "hashed" }, { b = "2dsphere" }]], "an index can have one special type only" },
  { [[spec = '{"key":{"a":1,"b":1},"expireAfterSeconds":5}']], "an index with expireAfterSeconds has one key only" },
  { [["a", partial = { b = { ["$not"] = { ["$eq"] = 1 } } }]], "$not" },
  { [["a", "a"]], 'the key a is there twice' },
  { [["a", "b", { a = -1 }]], 'the key a is there twice' },
  { [[expr "lower(a)"]], "MongoDB indexes fields, not expressions" },
  { [[key { "a", nulls = "first" }]], "nulls is an option of PostgreSQL" },
  { [[key { "a", "b" }]], "more than one field" },
  { [[key { "a", desc = true, type = "text" }]], "a direction and a type" },
  { [[desc { a = "text" }]], 'desc of a key with the type "text"' },
  { [[]], "index has no keys" },
  { [["a", nil, "b"]], "a hole" },
  { [[spec = "{"]], "spec breaks off" },
  { [[spec = '{ "key": { "a": 1 }, "uniqe": true }']], 'the unknown field "uniqe"', 'did you mean "unique"?' },
  { [[spec = '{ "key": { "a": 1 }, "hidden": true, "hidden": true }']], 'the field "hidden" twice' },
  { [[spec = '{ "name": "x" }']], "spec has no key" },
  { [[spec = '{ "key": { "a": "te\\u0000xt" } }']], 'the field "a", which is not 1, -1' },
  { [[spec = '{ "key": { "a\\u0000": 1 } }']], 'a name without zero bytes before it' },
  { [[spec = '{ "key": { "a": 1 } }', unique = true]], "beside spec" },
  { [["a", spec = '{ "key": { "a": 1 } }']], "both keys and spec" },
  { [[spec = '{ "key": { "a": 1 }, "name": "x" }', name = "y"]], 'names it "x", the option name "y"' },
  { text = [[on "u" { index { "a" }, index { "a", hidden = true } }]], "the same definition as the one at shop.lua:1",
    "to the server it is one index" },
  { text = [[on "u" { index { { a = "text" } }, index { { b = "text" } } }]], "a second text index" },
  { text = [[on "u" { index { "a", name = "x" }, index { "b", name = "x" } }]], 'the name "x" is taken' },
  { text = [[on "u" { unique_constraint { "a" } }]], "unique_constraint: MongoDB has none", "unique = true" },
  { text = [[on "u" { foreign_key { "a", references = "b" } }]], "foreign_key: MongoDB has none" },
  { text = [[on "u" { query { "SELECT 1" } }]], "query has SELECT at byte 1" },
  { text = [[on "u" { query { sort = { "a" } } }]], "does not hold one filter" },
  { text = [[on "u" { query { { a = 1 }, sort = { "$x" } } }]], 'the field "$x" of query' },
  { text = [[on "" { index { "a" } }]], "is not the name of a collection" },
  { text = [[on "system.js" { index { "a" } }]], "belongs to the server" },
  { text = [[on "lunadex.lock" { index { "a" } }]], "belongs to Lunadex" },
  { text = [[on "a$b" { index { "a" } }]], "holds a $" },
  { text = [[on ".a" { index { "a" } }]], "begins with a dot" },
  { text = [[on "a\0b" { index { "a" } }]], "holds a zero byte" },
  { text = ([[on "%s" { index { "a" } }]]):format(("x"):rep(254)), "longer than 253 bytes" },
  { text = [[index { "a" }]], "index outside of on", 'on "collection"' },
  { text = [[on "u" { index { "a", partial = { b = nonsense } } }]], 'unknown name "nonsense"' },
  { text = [[on "u" { index { hashed "a" } }]], 'unknown name "hashed"' },
  { text = [[null.x = 1]], "nothing can be put into it" },
}

describe("a wrong registry of MongoDB", function()
  for i, case in ipairs(wrong) do
    local text = case.text or ('on "u" { index { %s } }'):format(case[1])
    it(("%d: %s"):format(i, #text > 90 and text:sub(1, 87) .. "…" or text), function()
      local loaded, lines = parse(text)
      assert.is_nil(loaded)
      assert.equal(1, #lines, table.concat(lines, "\n"))
      for j = case.text and 1 or 2, #case do
        assert(lines[1]:find(case[j], 1, true), ("%q lacks %q"):format(lines[1], case[j]))
      end
      assert.matches("^shop%.lua:1:", lines[1])
    end)
  end

  it("tells of time series only where a collection keeps one", function()
    for _, text in ipairs { 'on "%s" { index { "a" } }', 'backfill "b" { on = "%s", set = { a = 1 } }' } do
      for _, name in ipairs { "system.js", "system.views", "system.profile", "system.buckets", "system.buckets." } do
        local _, lines = parse(text:format(name))
        assert.matches("belongs to the server", lines[1], 1, true)
        assert.is_nil(lines[1]:find("time series", 1, true), lines[1])
      end
      local _, lines = parse(text:format "system.buckets.weather")
      assert.matches("It holds the time series weather, which is declared by that name.", lines[1], 1, true)
    end
  end)
end)
