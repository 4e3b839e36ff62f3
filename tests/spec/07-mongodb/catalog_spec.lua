-- What the catalog of a MongoDB database holds: of every kind of collection, in the one request and in the many.
local engine = require "support.engine"
local mongodb = require "support.mongodb"

describe("the catalog of MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database

  local function run(command) return server:command(database, command) end
  local function fail_point(name, mode, data)
    local command = '{ "configureFailPoint": "%s", "mode": %s, "data": %s }'
    return server:command("admin", command:format(name, mode, data or "{}")).count
  end

  setup(function() server = mongodb.shared() end)
  before_each(function() database = server:create_database() end)
  after_each(function() server:drop_database(database) end)

  -- "name kind: index text, …" for each relation; what is the server's own in brackets.
  local function told(catalog)
    local lines = {}
    for relation in catalog:relations() do
      local parts = {}
      for _, index in ipairs(relation:indexes()) do
        local text = index.name .. " " .. index.text .. (index.valid and "" or " unfinished")
        parts[#parts + 1] = index.extension_owned and "[" .. text .. "]" or text
      end
      lines[#lines + 1] = ("%s %s: %s"):format(relation.name, relation.kind, table.concat(parts, ", "))
    end
    return table.concat(lines, "\n")
  end

  -- $listCatalog is refused as to a user without the right.
  local function one_by_one(what)
    local before = fail_point("failCommand", '{ "times": 1 }', [[{ "failCommands": ["aggregate"], "errorCode": 13,
      "namespace": "admin.$cmd.aggregate", "appName": "lunadex specs" }]])
    local result = what()
    assert.equal(before + 1, fail_point("failCommand", '"off"'), "it was not refused")
    return result
  end

  local function read()
    local db <close> = engine.open(server:url(database))
    return assert(db:run "catalog")
  end

  -- Both ways of reading say the same.
  local function both()
    local at_once = told(read())
    assert.equal(at_once, told(one_by_one(read)))
    return at_once
  end

  it("has each kind of collection, and its indexes as their users see them", function()
    run '{ "create": "plain" }'
    run [[{ "createIndexes": "plain", "indexes": [{ "key": { "a": 1, "b.c": -1 }, "name": "ab", "unique": true },
      { "key": { "t": "text", "u": "text", "z": 1 }, "name": "words", "weights": { "u": 3 } }] }]]
    run '{ "create": "limited", "capped": true, "size": 4096 }'
    run [[{ "create": "measured", "timeseries": { "timeField": "at", "metaField": "sensor" } }]]
    run [[{ "createIndexes": "measured", "indexes": [{ "key": { "sensor.id": 1, "at": -1 }, "name": "by_sensor" },
      { "key": { "value": 1 }, "name": "by_value" }] }]]
    run [[{ "create": "ordered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true, "name": "own" } }]]
    run '{ "createIndexes": "ordered", "indexes": [{ "key": { "x": 1 }, "name": "x_1" }] }'
    run '{ "create": "seen", "viewOn": "plain", "pipeline": [] }'
    run '{ "create": "with.dots" }'
    run '{ "create": "lunadex.lock" }'
    run '{ "create": "lunadex.of_a_user" }'
    assert.equal(table.concat({
      "limited collection: [_id_ { _id: 1 }]",
      "measured time series collection: by_sensor { sensor.id: 1, at: -1 }, by_value { value: 1 }",
      "ordered collection: [own { _id: 1 }], x_1 { x: 1 }",
      "plain collection: [_id_ { _id: 1 }], ab { a: 1, b.c: -1 } unique, "
        .. 'words { t: "text", u: "text", z: 1 } weights {"u": 3}',
      "seen view: ",
      "with.dots collection: [_id_ { _id: 1 }]",
    }, "\n"), both())
  end)

  it("is empty where the database is not there", function()
    assert.equal("", both())
  end)

  it("shows what is being built as unfinished", function()
    run '{ "insert": "plain", "documents": [{ "a": 1 }] }'
    run '{ "create": "measured", "timeseries": { "timeField": "at", "metaField": "sensor" } }'
    run '{ "insert": "measured", "documents": [{ "at": { "$date": "2020-01-01T00:00:00Z" }, "sensor": 1 }] }'
    fail_point("hangAfterSettingUpIndexBuild", '"alwaysOn"')
    local function let_go() fail_point("hangAfterSettingUpIndexBuild", '"off"') end
    local finally <close> = setmetatable({}, { __close = let_go }) -- luacheck: ignore 211
    local builds = {
      server:send(database, '{ "createIndexes": "plain", "indexes": [{ "key": { "a": 1 }, "name": "a_1" }] }'),
      server:send(database, '{ "createIndexes": "measured", "indexes": [{ "key": { "sensor": 1 }, "name": "s" }] }'),
    }
    local text
    require("support.shell").eventually("the builds to begin", function()
      text = told(read())
      return select(2, text:gsub("unfinished", "")) == 2
    end)
    assert.equal([[
measured time series collection: s { sensor: 1 } unfinished
plain collection: [_id_ { _id: 1 }], a_1 { a: 1 } unfinished]], both())
    local db <close> = engine.open(server:url(database))
    local catalog = assert(db:run "catalog")
    local index = catalog:relation(nil, "plain"):indexes()[2]
    local measured = assert(db:run("measure", { { relation = index.relation, index = index } }))
    assert.is_true(measured[1].being_built)
    let_go()
    for _, build in ipairs(builds) do assert(build:wait()) end
    assert.is_nil(both():find "unfinished")
  end)

  it("has the collection's collation in its indexes, and what leaves it", function()
    run '{ "create": "people", "collation": { "locale": "fr_CA" } }'
    run [[{ "createIndexes": "people", "indexes": [{ "key": { "a": 1 }, "name": "a" },
      { "key": { "b": 1 }, "name": "b", "collation": { "locale": "simple" } }] }]]
    local french = '{"locale": "fr_CA"}'
    assert.equal(("people collection: [_id_ { _id: 1 } collation %s], a { a: 1 } collation %s, "):format(
      french, french) .. 'b { b: 1 } collation {"locale": "simple"}', both())
  end)

  it("tells apart what is written alike on collections that differ", function()
    run '{ "create": "before" }'
    run '{ "create": "french", "collation": { "locale": "fr" } }'
    run [[{ "create": "measured", "timeseries": { "timeField": "b" } }]]
    for _, collection in ipairs { "before", "french", "measured", "past" } do
      run(([[{ "createIndexes": "%s", "indexes": [
        { "key": { "b": 1 }, "name": "b", "collation": { "locale": "simple" } }] }]]):format(collection))
    end
    local written = {}
    for _, collection in ipairs { "before", "french" } do
      written[#written + 1] = mongodb.json(server:indexes(database, collection)[2])
    end
    assert.equal(written[1], written[2])
    assert.equal(table.concat({
      "before collection: [_id_ { _id: 1 }], b { b: 1 }",
      'french collection: [_id_ { _id: 1 } collation {"locale": "fr"}], b { b: 1 } collation {"locale": "simple"}',
      "measured time series collection: b { b: 1 }",
      "past collection: [_id_ { _id: 1 }], b { b: 1 }",
    }, "\n"), both())
  end)

  it("marks the index that carries a shard key", function()
    run [[{ "createIndexes": "users", "indexes": [{ "key": { "tenant": 1, "_id": 1 }, "name": "key" },
      { "key": { "tenant": 1 }, "name": "shorter" }, { "key": { "tenant": 1, "_id": 1, "x": 1 }, "name": "longer" },
      { "key": { "tenant": 1, "_id": -1 }, "name": "other" }] }]]
    run [[{ "createIndexes": "orders", "indexes": [{ "key": { "at": "hashed" }, "name": "hashed" },
      { "key": { "at": 1, "x": 1 }, "name": "plain" }, { "key": { "at": 1 }, "name": "hidden", "hidden": true },
      { "key": { "at": 1, "y": 1 }, "name": "partial", "partialFilterExpression": { "y": 1 } }] }]]
    run '{ "create": "series", "timeseries": { "timeField": "t", "metaField": "m" } }'
    run [[{ "createIndexes": "series", "indexes": [{ "key": { "m.x": 1 }, "name": "shorter" },
      { "key": { "m.x": 1, "t": 1 }, "name": "key" }] }]]
    server:shard(database, "users", '{ "tenant": 1, "_id": 1 }')
    server:shard(database, "orders", '{ "at": 1 }')
    server:insert("config", "collections", { ([[{ "_id": "%s.system.buckets.series", "timeseriesFields": {
      "timeField": "t", "metaField": "m" }, "key": { "meta.x": 1, "control.min.t": 1 } }]]):format(database) })
    for _, catalog in ipairs { read(), one_by_one(read) } do -- the second as a router is read
      local found = {}
      for relation in catalog:relations() do
        for _, index in ipairs(relation:indexes()) do
          if index.referenced then found[#found + 1] = relation.name .. "." .. index.name end
        end
      end
      assert.same({ "orders.plain", "series.key", "users.key" }, found)
      assert.equal('{"m.x": 1, "t": 1}', catalog:relation(nil, "series").shard_key)
    end
  end)

  it("gives up with the link, and not with the catalog", function()
    local db <close> = engine.open(server:url(database))
    assert(db:run "catalog")
    -- Any error that is not about rights or the command fails the job; it is tried again, which is over after one here.
    fail_point("failCommand", '{ "times": 1 }', [[{ "failCommands": ["aggregate"], "errorCode": 11602,
      "namespace": "admin.$cmd.aggregate", "appName": "lunadex specs" }]])
    local done, events = db:finish(db.db:catalog())
    assert.is_true(done.ok, tostring(done.error))
    local retries = 0
    for _, event in ipairs(events) do retries = retries + (event.event == "retry" and 1 or 0) end
    assert.equal(1, retries)
  end)
end)
