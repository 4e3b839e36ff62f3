-- A snapshot of a real database is a registry with nothing to do, and builds the same again.
local core = require "lunadex.core"
local engine = require "support.engine"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local shell = require "support.shell"

describe("snapshot of MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = mongodb.shared()
    database = server:create_database()
    url = server:url(database)
  end)
  after_each(function() server:drop_database(database) end)

  local function snapshot()
    local path = shell.directory("snapshot") .. "/snapshot.lua"
    local result = lunadex.run { "snapshot", "-o", path, "--target", url }
    assert.equal(0, result.status, tostring(result))
    return path, shell.read_file(path), result
  end

  local function specs(collections)
    local found = {}
    for _, collection in ipairs(collections) do
      local list = {}
      for i, spec in ipairs(server:indexes(database, collection)) do
        spec.background = nil
        -- What drivers leave behind although it is the default.
        if spec.sparse == false then spec.sparse = nil end
        list[i] = mongodb.json(spec)
      end
      table.sort(list)
      found[collection] = list
    end
    return found
  end

  local collections = { "t", "de", "series", "clustered", "odd name", "texts", "old", "expiring" }

  local function populate()
    local function command(text) server:command(database, text) end
    command [==[{"createIndexes":"t","indexes":[
      {"name":"plain","key":{"a":1,"b.c":-1},"background":true,"sparse":false},
      {"name":"unique","key":{"u":1},"unique":true,"sparse":true},
      {"name":"ttl","key":{"at":1},"expireAfterSeconds":86400},
      {"name":"odd ttl","key":{"at2":1},"expireAfterSeconds":61,"hidden":true},
      {"name":"geo","key":{"g":"2dsphere","k":1}},
      {"name":"flat","key":{"p":"2d"},"bits":20,"min":-10.5,"max":10},
      {"name":"hash","key":{"x.y":"hashed","z":2.5}},
      {"name":"words","key":{"k":1,"title":"text","body":"text"},"weights":{"title":10},"default_language":"german"},
      {"name":"wild","key":{"$**":1},"wildcardProjection":{"a":1,"b.c":1}},
      {"name":"below","key":{"attributes.$**":1}},
      {"name":"collated","key":{"c":1},"collation":{"locale":"en","strength":2}},
      {"name":"danish","key":{"c":1,"d":1},"collation":{"locale":"da","caseFirst":"off"}},
      {"name":"french","key":{"c":-1},"collation":{"locale":"fr_CA"}},
      {"name":"partial","key":{"q":1},"partialFilterExpression":{"s":{"$in":["a",1.0,null]},"d":
        {"$gt":{"$date":"2024-01-01T00:00:00Z"}},"l":{"$numberLong":"5"},"$and":[{"z":1},{"a":{"$exists":true}}]}},
      {"name":"partial whole","key":{"r":1},"partialFilterExpression":{"s":{"y":1,"x":2}}},
      {"name":"engine","key":{"e":1},"storageEngine":{"wiredTiger":{"configString":"block_compressor=zlib"}}},
      {"name":"controls","key":{"q":1,"r":1},"partialFilterExpression":{"s":"a\u0000b","t":"\u0001\u007f\n\u2028"}},
      {"name":"late","key":{"q":1,"s":1},"partialFilterExpression":{"d":{"$in":[
        {"$date":{"$numberLong":"253402300800000"}},{"$date":{"$numberLong":"-9000000000000000"}}]}}},
      {"name":"of no use","key":{"n":1},"default_language":"german","bits":20,"min":-5,"max":5},
      {"name":"flat of no use","key":{"n":"2d"},"language_override":"l"},
      {"name":"zero","key":{"q":1,"t":1},"partialFilterExpression":{"z":-0.0}},
      {"name":"infinite","key":{"q":{"$numberDouble":"Infinity"},"v":{"$numberDouble":"-Infinity"}}},
      {"name":"odd \"na]]me\\","key":{"author.$id":1}}]}]==]
    -- The same name twice, of which a Lua table would keep one.
    server:command(database, ('{"createIndexes":"t","indexes":[{"name":"twice","key":{"q":1,"u":1},'
      .. '"partialFilterExpression":{"x":1,"x":2}}]}'))
    command [[{"createIndexes":"texts","indexes":[{"name":"all","key":{"$**":"text"},"expireAfterSeconds":5,"bits":9,
      "hidden":true,"sparse":true,"storageEngine":{"wiredTiger":{"configString":"prefix_compression=false"}}}]}]]
    -- Formats of earlier servers, and what is on its way to unique.
    command [[{"createIndexes":"old","indexes":[{"name":"v1","key":{"a":1},"v":1,"unique":true},
      {"name":"words","key":{"a":"text"},"textIndexVersion":2,"v":1},{"name":"prepared","key":{"b":1},
      "prepareUnique":true},{"name":"sphere","key":{"g":"2dsphere"},"2dsphereIndexVersion":2},
      {"name":"first","key":{"g":"2dsphere","a":1},"2dsphereIndexVersion":1}]}]]
    -- One key only, and more fields by their weights.
    command [[{"createIndexes":"expiring","indexes":[{"name":"words","key":{"b.c":"text"},"weights":{"a":2,"d":1},
      "expireAfterSeconds":60}]}]]
    command '{"create":"de","collation":{"locale":"de","strength":1}}'
    command [[{"createIndexes":"de","indexes":[{"name":"inherits","key":{"a":1}},
      {"name":"simple","key":{"b":1},"collation":{"locale":"simple"}},
      {"name":"other","key":{"c":1},"collation":{"locale":"en"}}]}]]
    command '{"create":"series","timeseries":{"timeField":"t","metaField":"m"}}'
    command '{"createIndexes":"series","indexes":[{"name":"meta","key":{"m.a":1}},{"name":"time","key":{"t":-1}}]}'
    command '{"create":"german series","timeseries":{"timeField":"t"},"collation":{"locale":"de"}}'
    command '{"createIndexes":"german series","indexes":[{"name":"v","key":{"v":1}}]}'
    command '{"create":"clustered","clusteredIndex":{"key":{"_id":1},"unique":true}}'
    command '{"createIndexes":"clustered","indexes":[{"name":"x","key":{"x":1}}]}'
    command '{"createIndexes":"odd name","indexes":[{"name":"and","key":{"end":1}}]}'
    command '{"create":"view","viewOn":"t","pipeline":[]}'
    command '{"create":"empty"}'
  end

  it("has nothing to do, and reads well", function()
    populate()
    local path, text = snapshot()
    local plan = lunadex.run { "plan", path, "--target", url, "--json" }
    assert.equal(0, plan.status, tostring(plan))
    local json = plan:json()
    assert.same({ 0, json.summary.declared }, { json.summary.create + json.summary.replace + json.summary.alter
      + json.summary.stray, json.summary.keep }, tostring(plan))
    assert.same({}, json.findings)
    for _, line in ipairs {
      'index { "a", desc "b.c", name = "plain" },', 'index { "at", name = "ttl", expire_after = "1d" },',
      'index { { g = "2dsphere" }, "k", name = "geo" },',
      'index { "a", name = "inherits", collation = { locale = "de", strength = 1 } },',
      'index { "b", name = "simple", collation = { locale = "simple" } },',
      'index { "c", name = "collated", collation = { locale = "en", strength = 2 } },',
      'index { { p = "2d" }, name = "flat", bits = 20, min = -10.5, max = 10 },',
    } do
      assert.is_truthy(text:find(line, 1, true), line .. "\nin\n" .. text)
    end
    for name, options in pairs {
      series = '{"timeseries": {"timeField": "t", "metaField": "m", ', de = '{"collation": {"locale": "de", ',
      clustered = '{"clusteredIndex": {',
    } do
      local command = ("-- db.createCollection(%q, %s"):format(name, options)
      assert.is_truthy(text:find(command, 1, true), command .. "\nin\n" .. text)
    end
    assert.is_nil(text:find('createCollection("t"', 1, true))
    for line in text:gmatch "[^\n]+" do
      if not line:find "^%-%-" then assert.is_nil(line:find("_id_", 1, true)) end
    end
  end)

  it("builds the same again", function()
    populate()
    local path = snapshot()
    local before = specs(collections)
    for _, collection in ipairs(collections) do
      if collection == "series" then
        server:command(database, { "dropIndexes", collection, index = { "meta", "time" } })
      else
        server:command(database, { "dropIndexes", collection, index = "*" })
      end
    end
    local result = lunadex.run { "apply", path, "--target", url }
    assert.equal(0, result.status, tostring(result))
    assert.same(before, specs(collections))
  end)

  it("builds the same on a database where nothing is made yet", function()
    populate()
    server:command(database, '{"create":"log","capped":true,"size":8192,"max":5}')
    server:command(database, '{"createIndexes":"log","indexes":[{"name":"l","key":{"l":1}}]}')
    local path, text = snapshot()
    local names = { "t", "de", "series", "clustered", "odd name", "texts", "log" }
    local before, made = specs(names), 0
    local other = server:create_database()
    -- What the comments say, by hand; but for the collation, which each index says itself.
    for name, options in text:gmatch '%-%- db%.createCollection%("([^"]+)", (%b{})%)' do
      made = made + 1
      if name ~= "de" then
        server:command(other, ('{"create": "%s", %s'):format(name, options:sub(2)))
      end
    end
    assert.equal(5, made)
    local result = lunadex.run { "apply", path, "--target", server:url(other) }
    assert.equal(0, result.status, tostring(result))
    assert.equal(0, lunadex.run({ "plan", path, "--target", server:url(other), "--detailed-exitcode" }).status)
    local first = database
    database = other
    local after = specs(names)
    database = first
    server:drop_database(other)
    -- The index on _id has what the collection has.
    for _, list in ipairs { before.de, after.de } do
      for i = #list, 1, -1 do
        if list[i]:find('"_id_"', 1, true) then table.remove(list, i) end
      end
    end
    assert.same(before, after)
  end)

  it("says a collation that only the simple one can be, and the levels of cells", function()
    server:command(database, '{"create":"fr","collation":{"locale":"fr"}}')
    server:command(database, '{"createIndexes":"fr","indexes":[{"key":{"t":"text"},"name":"t","collation":'
      .. '{"locale":"simple"}},{"key":{"l":"2d"},"name":"l","collation":{"locale":"simple"}},'
      .. '{"key":{"p":"2dsphere"},"name":"p","collation":{"locale":"simple"},"finestIndexedLevel":20,'
      .. '"coarsestIndexedLevel":3}]}')
    local function sorted()
      local indexes = server:indexes(database, "fr")
      table.sort(indexes, function(one, other) return one.name < other.name end)
      return mongodb.json(indexes)
    end
    local before, path = sorted(), snapshot()
    assert.equal(0, lunadex.run { "plan", path, "--target", url, "--detailed-exitcode" }.status)
    server:command(database, '{"dropIndexes":"fr","index":"*"}')
    assert.equal(0, lunadex.run { "apply", path, "--target", url }.status)
    assert.equal(before, sorted())
  end)

  it("leaves out what is not UTF-8, and says so", function()
    local by_hand <close> = engine.open(url)
    assert(by_hand:run("query", core.document("createIndexes", "t", "indexes", { { key = { b = 1 }, name = "plain" },
      { key = { a = 1 }, name = "odd", partialFilterExpression = { n = 5, s = core.value("text", "caf\xe9") } } })))
    local path, text, result = snapshot()
    assert.matches('-- odd is not valid UTF-8 throughout and left out: { a: 1 } partial {"n": 5, "s": "caf\xe9"}', text,
      1, true)
    assert.matches("odd of t is not valid UTF-8 throughout and left out", result.stderr, 1, true)
    local summary = lunadex.run({ "plan", path, "--target", url, "--json" }):json().summary
    assert.same({ 1, 1 }, { summary.keep, summary.stray })
    -- It is neither one on all documents nor one on those of the rest of its filter.
    for _, filter in ipairs { "", ", partial = { n = 5 }", ", partial = { s = '' }" } do
      local registry = lunadex.registry(([[on "t" { index { "a", name = "odd"%s }, query { { a = 1, n = 5 } } }]])
        :format(filter))
      local change = lunadex.run({ "plan", registry, "--target", url, "--json" }):json().changes[1]
      assert.same({ "replace", "odd" }, { change.action, change.live_name })
      assert.equal(0, lunadex.run({ "check", registry, "--target", url }).status)
    end
  end)

  it("leaves out what is ours", function()
    server:insert(database, "t", { { a = 1 } })
    local text = [[on "t" { index { "a" } }]]
    assert.equal(0, lunadex.run { "apply", lunadex.registry(text), "--target", url, "--record" }.status)
    server:command(database, '{"createIndexes":"lunadex.x","indexes":[{"name":"of_a_user","key":{"x":1}}]}')
    local path, written = snapshot()
    assert.is_nil(written:find("lunadex.", 1, true), written)
    local plan = lunadex.run { "plan", path, "--target", url, "--detailed-exitcode" }
    assert.equal(0, plan.status, tostring(plan))
  end)
end)
