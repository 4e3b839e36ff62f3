-- Which indexes serve a query: the rules for those that are not built yet, held against the plans of the server.
local core = require "lunadex.core"
local engine = require "support.engine"
local explain = require "lunadex.mongodb.explain"
local conditions_of = require("lunadex.mongodb.filter").of
local mongodb = require "support.mongodb"
local query = require "lunadex.mongodb.query"
local random = require "support.random"

describe("what an index can do for a query", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, db
  -- There are oddities of the planner that turn up once in ten thousand queries.
  local seed = os.getenv "LUNADEX_TEST_LONG" and os.time() or 20261121

  setup(function()
    server = mongodb.shared()
    database = server:create_database()
    db = engine.open(server:url(database))
  end)
  teardown(function()
    db:close()
    server:drop_database(database)
  end)

  -- A connection as lunadex.mongodb.explain takes it, to this server.
  local connection = { ask = function(_, command, value, fields)
    return db:run("query", core.document(command, value, "verbosity", fields.verbosity))
  end }

  -- The live indexes of a collection, as the rules see them; that of _id is left out as the queries never ask for it.
  local function indexes(collection)
    local relation = assert(db:run "catalog"):relation(nil, collection)
    local list = {}
    for _, index in ipairs(relation:indexes()) do
      if index.name ~= "_id_" then
        list[#list + 1] = query.index(index.name, index:fields(), relation.collation)
      end
    end
    return list
  end

  local function make(collection, options, specs)
    server:command(database, ('{"create":"%s"%s}'):format(collection, options))
    for i, spec in ipairs(specs) do
      -- Some are refused, as that of a second text index, or are there already.
      server:try(database, ('{"createIndexes":"%s","indexes":[{"name":"i%d",%s}]}'):format(collection, i, spec))
    end
    return indexes(collection)
  end

  -- What rules and server say, of filters and sorts: a list of what they disagree about.
  local function compare(collection, list, queries)
    local wrong, served = {}, 0
    for _, asked in ipairs(queries) do
      local ours = next(query.used(list, conditions_of(asked.filter), asked.sort)) ~= nil
      local plans, err = explain.plans(connection, collection, asked)
      if plans or err.native == "27" or err.native == "291" then
        local theirs = plans ~= nil and #plans > 0
        if theirs then served = served + 1 end
        if ours ~= theirs then
          local sort = {}
          for i, key in ipairs(asked.sort) do sort[i] = (key.descending and "-" or "") .. key.column end
          wrong[#wrong + 1] = ("%s sort %s: the server %s"):format(asked.filter, table.concat(sort, " "),
            theirs and "uses " .. table.concat(plans[1], " ") or "uses none")
        end
      else
        assert.is_truthy(err.native == "2" or err.native == "9", asked.filter .. err.message)
      end
    end
    return wrong, served
  end

  local paths = { "a", "b", "c", "a.b", "w.x", "w.y" }
  local scalars = { "1", "5", "2.5", '"x"', '"y"', "null", "true", '{"$date":{"$numberLong":"0"}}', '{"k":1}', "[1]",
    '{"$numberLong":"7"}', "[]", "{}" }

  local function condition(r)
    local value = r:pick(scalars)
    local kind = r:integer(1, 24)
    local op = r:pick { "$eq", "$gt", "$gte", "$lt", "$lte" }
    if kind <= 6 then return value end
    if kind <= 10 then return ('{"%s":%s}'):format(op, value) end
    if kind == 11 then return ('{"$in":[%s,%s]}'):format(value, r:pick(scalars)) end
    if kind == 12 then return ('{"$ne":%s}'):format(value) end
    if kind == 13 then return ('{"$nin":[%s,%s]}'):format(value, r:pick(scalars)) end
    if kind == 14 then return ('{"$exists":%s}'):format(r:chance(50)) end
    if kind == 15 then return ('{"$not":{"%s":%s}}'):format(op, value) end
    if kind == 16 then return ('{"$type":"%s"}'):format(r:pick { "string", "number", "null" }) end
    if kind == 17 then return ('{"$regex":"%s"}'):format(r:pick { "^x", "x" }) end
    if kind == 18 then return r:pick { '{"$mod":[2,1]}', '{"$size":1}', '{"$not":{"$size":1}}',
      '{"$not":{"$regex":"x"}}', '{"$not":{"$exists":true}}', '{"$not":{"$exists":false}}', '{"$bitsAllSet":1}' } end
    if kind == 19 then return ('{"$all":[%s,%s]}'):format(value, r:pick(scalars)) end
    if kind == 20 then return ('{"$elemMatch":{"%s":%s}}'):format(op, value) end
    if kind == 21 then return ('{"$elemMatch":{"b":%s}}'):format(value) end
    if kind == 22 then return ('{"$gt":%s,"$lt":%s}'):format(value, r:pick(scalars)) end
    if kind == 23 then return r:pick { '{"$geoWithin":{"$centerSphere":[[1,2],0.1]}}', '{"$nearSphere":[1,2]}',
      '{"$geoIntersects":{"$geometry":{"type":"Point","coordinates":[1,2]}}}', '{"$near":[1,2]}' } end
    return r:pick { '{"$not":{"$in":[1,2]}}', '{"$eq":null}', '{"$ne":null}', '{"$exists":true}' }
  end

  local function filter(r, depth)
    local parts = {}
    for _ = 1, r:integer(depth > 1 and 1 or 0, 3) do
      local kind = r:integer(1, 12)
      if kind > 2 or depth > 2 then
        parts[#parts + 1] = ('"%s":%s'):format(r:pick(paths), condition(r))
      else
        local list = {}
        for i = 1, r:integer(1, 3) do list[i] = filter(r, depth + 1) end
        parts[#parts + 1] = ('"%s":[%s]'):format(r:pick { "$or", "$or", "$and", "$nor" }, table.concat(list, ","))
      end
    end
    if depth == 1 and r:chance(4) then parts[#parts + 1] = '"$text":{"$search":"x"}' end
    return "{" .. table.concat(parts, ",") .. "}"
  end

  local function sort(r)
    local list = {}
    if r:chance(70) then return list end
    for i = 1, r:integer(1, 3) do
      list[i] = { column = r:pick { "a", "b", "c" }, descending = r:chance(50) }
      for k = 1, i - 1 do
        if list[k].column == list[i].column then
          list[i] = nil
          return list
        end
      end
    end
    return list
  end

  local partials = { '{"b":1}', '{"b":{"$exists":true}}', '{"a":{"$gt":3}}', '{"a":{"$lte":5},"c":{"$exists":true}}',
    '{"c":"x"}', '{"c":{"$type":"string"}}', '{"a":{"$in":[1,5]}}', '{"$or":[{"a":1},{"b":{"$gte":1}}]}' }

  local function spec(r)
    local kind, keys, more = r:integer(1, 14), {}, ""
    if kind <= 8 then
      for i = 1, r:integer(1, 3) do
        keys[i] = ('"%s":%s'):format(r:pick { "a", "b", "c", "a.b" }, r:pick { "1", "-1" })
      end
    elseif kind == 9 then
      keys[1] = ('"%s":"hashed"'):format(r:pick(paths))
      if r:chance(30) then table.insert(keys, r:integer(1, 2), '"c":1') end
    elseif kind == 10 then
      keys[1] = r:pick { '"$**":1', '"w.$**":1' }
      if keys[1]:find '"$**"' and r:chance(50) then
        more = ',"wildcardProjection":' .. r:pick { '{"a":1,"w.x":1}', '{"a":0}', '{"_id":1,"b":1}' }
      end
    elseif kind == 11 then
      keys[1] = '"c":"text"'
      if r:chance(50) then table.insert(keys, r:integer(1, 2), '"a":1') end
    elseif kind == 12 then
      keys[1] = ('"%s":"2d"'):format(r:pick { "a", "b" })
      if r:chance(30) then keys[2] = '"c":1' end
    elseif kind == 13 then
      keys[1] = ('"%s":"2dsphere"'):format(r:pick { "a", "b" })
      if r:chance(50) then table.insert(keys, r:integer(1, 2), '"c":1') end
    else
      keys[1] = '"a":1'
    end
    local plain = kind <= 8 or kind == 14
    if plain and r:chance(15) then more = ',"sparse":true' end
    if plain and r:chance(15) then more = more .. ',"hidden":true' end
    if r:chance(25) and more == "" then more = ',"partialFilterExpression":' .. r:pick(partials) end
    if plain and r:chance(20) then
      more = more .. ',"collation":' .. r:pick { '{"locale":"en","strength":2}', '{"locale":"simple"}' }
    end
    return ('"key":{%s}%s'):format(table.concat(keys, ","), more)
  end

  it("is said as its planner does, of random indexes and queries", function()
    local served, asked = 0, 0
    for round = 1, 40 do
      local r = random.new(seed, round)
      local specs, queries = {}, {}
      for i = 1, r:integer(1, 3) do specs[i] = spec(r) end
      local options = r:chance(20) and ',"collation":{"locale":"en","strength":2}' or ""
      local list = make("c" .. round, options, specs)
      for i = 1, 20 do queries[i] = { filter = filter(r, 1), sort = sort(r) } end
      local wrong, count = compare("c" .. round, list, queries)
      served, asked = served + count, asked + #queries
      assert.same({}, wrong, ("seed %d, round %d: %s of %s"):format(seed, round, options, table.concat(specs, " | ")))
      server:try(database, { "drop", "c" .. round })
    end
    assert.is_true(served * 10 > asked and served * 10 < asked * 9, ("%d of %d"):format(served, asked))
  end)
end)
