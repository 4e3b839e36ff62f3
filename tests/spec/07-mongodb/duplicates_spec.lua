-- Which documents violate a unique index: what is told, found in one way or another, is what the server means.
local core = require "lunadex.core"
local engine = require "support.engine"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local steps = require "support.mongosteps"

describe("duplicates", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, run
  local unique = { unique = true }

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    run = steps.open(server, database)
  end)
  after_each(function()
    run:close()
    server:drop_database(database)
  end)

  -- Groups of texts, each sorted, as one text.
  local function joined(groups)
    local list = {}
    for i, texts in ipairs(groups) do
      table.sort(texts)
      list[i] = table.concat(texts, " ")
    end
    table.sort(list)
    return table.concat(list, "; ")
  end

  -- The same of _ids.
  local function text_of(groups)
    local list = {}
    for i, ids in ipairs(groups) do
      list[i] = {}
      for k, id in ipairs(ids) do list[i][k] = mongodb.json(id) end
    end
    return joined(list)
  end

  -- What a step has listed, likewise.
  local function listed(events)
    local list = {}
    for i, group in ipairs(steps.listed(events)) do list[i] = group.ids end
    return joined(list)
  end

  -- What the server says of a plain index that is to become unique; nil where it does not even build that, as two
  -- arrays in one document are too many for it.
  local function violations(keys, options)
    local pattern = mongodb.document()
    for _, key in ipairs(keys) do pattern[key] = 1 end
    local _, message, refused = server:try(database,
      ('{"createIndexes":"t","indexes":[{"key":%s,"name":"asked","prepareUnique":true%s}]}'):format(
        mongodb.json(pattern), options))
    if refused == 171 then return nil end
    if refused then error(message) end
    local _, _, code, reply = server:try(database,
      '{"collMod":"t","index":{"name":"asked","unique":true},"dryRun":true}')
    server:command(database, { "dropIndexes", "t", index = "asked" })
    if not code then return {} end
    assert.equal(359, code)
    local groups = {}
    for i, violation in ipairs(reply.violations) do groups[i] = violation.ids end
    return groups
  end

  local function insert(documents)
    server:try(database, { "drop", "t" })
    server:insert(database, "t", documents)
  end

  -- By what is printed for whoever wants to see them all.
  local function queried(hint)
    local pipeline, rest = hint:match "^Find them all: db%.t%.aggregate%((%[.*%]), {(.*)}%)$"
    local collation = rest:match "collation: ({.*})"
    local reply = server:command(database, ('{"aggregate":"t","pipeline":%s,"cursor":{"batchSize":1000}%s}'):format(
      mongodb.of_shell(pipeline), collation and ',"collation":' .. mongodb.of_shell(collation) or ""))
    local groups = {}
    for i, group in ipairs(reply.cursor.firstBatch) do groups[i] = group.ids end
    return groups
  end

  local function check(keys, more, options)
    local fields, all = { unique = true }, { check_duplicates = true }
    for name, value in pairs(more or {}) do fields[name] = value end
    for name, value in pairs(options or {}) do all[name] = value end
    return run:build("t", "t_u", keys, fields, all)
  end

  local listing = { list_duplicates = true }

  it("in arrays are elements that two documents share, and not those that one repeats", function()
    insert { '{"_id":1,"v":[1,1]}', '{"_id":2,"v":[2,3]}', '{"_id":3,"v":[]}', '{"_id":4}', '{"_id":5,"v":[[1]]}' }
    assert.is_true(check({ "v" }).ok)
    insert { '{"_id":1,"v":[1,2]}', '{"_id":2,"v":[2,3]}', '{"_id":3,"v":3}', '{"_id":4,"v":[]}', '{"_id":5,"v":[]}' }
    local done = check { "v" }
    assert.equal("3 keys are in several documents, 6 times in all: { v: [] } 2 times, _id 4, 5; "
      .. "{ v: 2 } 2 times, _id 1, 2; { v: 3 } 2 times, _id 2, 3", done.error.detail)
    assert.matches("nothing was begun", done.error.message, 1, true)
    -- Converted, it is the same, in the order of the index.
    done = run:build("t", "t_u", { "v" }, unique)
    assert.equal("3 keys are in several documents, 6 times in all: { v: [] } 2 times, _id 4, 5; "
      .. "{ v: 2 } 2 times, _id 1, 2; { v: 3 } 2 times, _id 2, 3", done.error.detail)
  end)

  it("are told with each key that the same documents share", function()
    insert { '{"_id":1,"v":["a","b"]}', '{"_id":2,"v":["b","a"]}' }
    assert.equal('2 keys are in several documents, 4 times in all: { v: "a" } 2 times, _id 1, 2; '
      .. '{ v: "b" } 2 times, _id 1, 2', run:build("t", "t_u", { "v" }, unique).error.detail)
  end)

  it("are told with their documents, also by a walk", function()
    server:fill(database, "t", 40, { v = { ["$mod"] = { "$n", 15 } } })
    server:command(database, '{"createIndexes":"t","indexes":[{"key":{"v":-1},"name":"walked"}]}')
    local done = check { "v" }
    assert.matches("^15 keys are in several documents, 40 times in all: { v: 14 } 2 times, _id 14, 29; "
      .. "{ v: 13 } 2 times, _id 13, 28; ", done.error.detail)
  end)

  it("that have no room in a message are notes, with all their documents", function()
    for _, walked in ipairs { false, true } do
      server:try(database, { "drop", "t" })
      server:fill(database, "t", 160, { v = { ["$mod"] = { "$n", 16 } } })
      if walked then server:command(database, '{"createIndexes":"t","indexes":[{"key":{"v":1},"name":"walked"}]}') end
      local notes = {}
      local done, events = check { "v" }
      for _, event in ipairs(events) do
        if event.event == "note" then notes[#notes + 1] = event.text end
      end
      assert.matches("16 keys are in several documents, 160 times in all", done.error.detail, 1, true)
      assert.equal(16, #notes, table.concat(notes, "\n"))
      table.sort(notes)
      assert.equal("in several documents: { v: 0 } 10 times, _id 16, 32, 48, 64, 80, 96, 112, 128, 144, 160", notes[1])
    end
  end)

  it("that are no UTF-8 are told as they are", function()
    local old = core.value("text", "caf\xe9")
    server:try(database, { "drop", "t" })
    local by_hand <close> = engine.open(server:url(database))
    assert(by_hand:run("query", core.document("insert", "t", "documents", { { _id = 1, v = old }, { _id = 2, v = old },
      { _id = old, w = 1 }, { _id = 3, w = 1 } })))
    assert.equal('1 key is in several documents, 2 times in all: { v: "caf\xe9" } 2 times, _id 1, 2',
      check({ "v" }, { traits = { { "sparse", "true" } } }).error.detail)
    local detail = check({ "w" }, { traits = { { "sparse", "true" } } }).error.detail
    for _, id in ipairs { "3", '"caf\xe9"' } do
      assert.matches("{ w: 1 } 2 times, _id [^;]*" .. id, detail)
    end
  end)

  it("of a sparse index are told whichever field is missing, or null", function()
    insert { '{"_id":1,"d":1}', '{"_id":2,"a":null,"d":1}', '{"_id":3}', '{"_id":4}' }
    local done = check({ "a", "d" }, { traits = { { "sparse", "true" } } })
    assert.equal("1 key is in several documents, 2 times in all: { a: null, d: 1 } 2 times, _id 1, 2",
      done.error.detail)
    assert.equal("1 2", text_of(queried(done.error.hint)))
  end)

  it("are those of the server, whatever the documents hold", function()
    local seed = os.time()
    math.randomseed(seed)
    local leaves = { "1", "1.0", '{"$numberLong":"2"}', "2", "null", '"a"', '"A"', '"b"', "[]", "[[]]", "[1]",
      "[1,1,2]", '["a","A"]', '["a",[1,2]]', "[null]",
      '{"x":1}', '{"x":1.0}', '[{"x":1},{"x":1}]', "true", '[{"b":1},{"b":2}]' }
    local function leaf() return leaves[math.random(#leaves)] end
    local function object()
      local parts = {}
      for _, name in ipairs { "b", "c" } do
        if math.random(4) > 1 then parts[#parts + 1] = ('"%s":%s'):format(name, leaf()) end
      end
      return "{" .. table.concat(parts, ",") .. "}"
    end
    local function value()
      local kind = math.random(5)
      if kind <= 2 then return leaf() end
      if kind == 3 then return object() end
      local list = {}
      for i = 1, math.random(0, 3) do list[i] = math.random(4) == 1 and leaf() or object() end
      return "[" .. table.concat(list, ",") .. "]"
    end
    local shapes = { { "a" }, { "a.b" }, { "a.b", "a.c" }, { "d", "a.b" }, { "a", "d" }, { "a.b.x" }, { "d", "_id" } }
    local kinds = {
      { "", {} }, { ',"sparse":true', { traits = { { "sparse", "true" } } } },
      { ',"collation":{"locale":"en","strength":2}', { traits = { { "collation", '{"locale":"en","strength":2}' } } } },
      { ',"partialFilterExpression":{"d":{"$exists":true}}', { where = '{"d":{"$exists":true}}' } },
    }
    local some, none, walked = 0, 0, 0
    for round = 1, 60 do
      local keys, kind = shapes[math.random(#shapes)], kinds[math.random(#kinds)]
      local documents = {}
      for i = 1, math.random(2, 6) do
        local simple = round % 3 == 0
        documents[i] = ('{"_id":"%s"%s%s}'):format(({ "a", "A", "b", "c", "d", "e" })[i],
          math.random(5) > 1 and ',"a":' .. (simple and "1" or value()) or "",
          math.random(3) > 1 and ',"d":' .. (simple and math.random(2) or "1") or "")
      end
      insert(documents)
      local said = ("seed %d: %s of %s%s"):format(seed, table.concat(documents), table.concat(keys, " "), kind[1])
      local groups = violations(keys, kind[1])
      if groups and round % 2 == 0 then
        local pattern = mongodb.document()
        for _, key in ipairs(keys) do pattern[key] = 1 end
        server:command(database, ('{"createIndexes":"t","indexes":[{"key":%s,"name":"plain"%s}]}'):format(
          mongodb.json(pattern), kind[1]))
        walked = walked + 1
      end
      local done, events
      if groups then done, events = check(keys, kind[2], listing) end
      if groups and #groups == 0 then
        none = none + 1
        assert.is_true(done.ok, said .. ": " .. tostring(done.error))
      elseif groups then
        some = some + 1
        local times = 0
        for _, ids in ipairs(groups) do times = times + #ids end
        assert.equal("duplicate_key", (done.error or {}).code, said)
        assert.equal(("%d key%s in several documents, %d times in all"):format(#groups,
          #groups == 1 and " is" or "s are", times), done.error.detail:match "^[^:]*", said)
        if done.error.hint:find "^Find" then assert.equal(text_of(groups), text_of(queried(done.error.hint)), said) end
        assert.equal(text_of(groups), listed(events), said)
        -- Each sample names the documents of one group.
        if #groups <= 5 then
          local told = {}
          for ids in done.error.detail:gmatch '_id ("%a", [^;]*)' do
            told[#told + 1] = {}
            for id in ids:gmatch '"(%a)"' do table.insert(told[#told], id) end
          end
          assert.equal(text_of(groups), text_of(told), said)
        end
      end
    end
    assert.is_true(some > 8 and none > 8 and walked > 8, ("%d with, %d without"):format(some, none))
  end)

  describe("listed one and all", function()
    -- What the server itself finds, with as many groups as there are.
    local function grouped(key, filter)
      local pipeline = { { ["$match"] = filter or mongodb.document() },
        { ["$group"] = { _id = key, ids = { ["$push"] = "$_id" }, n = { ["$sum"] = 1 } } },
        { ["$match"] = { n = { ["$gt"] = 1 } } } }
      local reply = server:command(database, { "aggregate", "t", pipeline = pipeline,
        cursor = { batchSize = 1000000 } })
      local groups = {}
      for i, group in ipairs(reply.cursor.firstBatch) do groups[i] = group.ids end
      return text_of(groups)
    end

    local function index(key, more)
      server:command(database, ('{"createIndexes":"t","indexes":[{"key":%s,"name":"helper"%s}]}'):format(key,
        more or ""))
    end

    it("are more than fit into one batch, by an index or without one, in one field or several", function()
      -- 2500 pairs in 50 tenants, each 1 to 3 times; the other half of the documents is as it should be.
      server:try(database, { "drop", "t" })
      server:fill(database, "t", 10000, {
        tenant = { ["$mod"] = { { ["$mod"] = { "$n", 2500 } }, 50 } },
        number = { ["$cond"] = { { ["$lt"] = { "$n", 6000 } }, { ["$mod"] = { "$n", 2500 } }, "$n" } },
      })
      local pair = { a = "$tenant", b = "$number" }
      for _, key in ipairs { false, '{"tenant":1,"number":-1}', '{"number":1,"tenant":1,"_id":1}' } do
        if key then index(key) end
        local done, events = check({ "tenant", "number" }, nil, listing)
        assert.equal("duplicate_key", done.error.code)
        assert.equal(grouped(pair), listed(events), tostring(key))
        done, events = check({ "number" }, nil, listing)
        assert.equal("duplicate_key", done.error.code)
        assert.equal(grouped "$number", listed(events), tostring(key))
        if key then server:command(database, { "dropIndexes", "t", index = "helper" }) end
      end
    end)

    it("are so where a plain index cannot be made unique", function()
      server:try(database, { "drop", "t" })
      server:fill(database, "t", 3000, { v = { ["$mod"] = { "$n", 1200 } } })
      local done, events = run:build("t", "t_u", { "v" }, unique, listing)
      assert.equal("duplicate_key", done.error.code)
      assert.equal(grouped "$v", listed(events))
      local keys = {}
      for _, group in ipairs(steps.listed(events)) do keys[group.key] = #group.ids end
      assert.equal(3, keys['{"v": 7}'])
      assert.equal(2, keys['{"v": 0}'])
    end)

    it("have any number of documents", function()
      for _, walked in ipairs { false, true } do
        server:try(database, { "drop", "t" })
        server:fill(database, "t", 20000, { v = { ["$cond"] = { { ["$lt"] = { "$n", 19990 } }, "same", "$n" } } })
        if walked then index '{"v":1}' end
        local _, events = check({ "v" }, nil, listing)
        local groups = steps.listed(events)
        assert.equal(1, #groups)
        assert.equal('{"v": "same"}', groups[1].key)
        local seen, count = {}, 0
        for _, id in ipairs(groups[1].ids) do
          if not seen[id] then count = count + 1 end
          seen[id] = true
        end
        assert.equal(19989, count)
        assert.equal(count, #groups[1].ids)
        local batches = 0
        for _, event in ipairs(events) do batches = batches + (event.event == "rows" and 1 or 0) end
        assert.is_true(batches > 3, batches .. " batches")
      end
    end)

    it("are told with the keys of the documents where the index has none", function()
      insert { '{"_id":1,"v":"a","w":{"x":1}}', '{"_id":2,"v":"A","w":{"x":1}}', '{"_id":3,"v":"b","w":{"x":1}}',
        '{"_id":4,"w":{}}', '{"_id":5}' }
      local more = { traits = { { "collation", '{"locale":"en","strength":2}' } } }
      for _, walked in ipairs { false, true } do
        if walked then index('{"v":1,"w.x":1}', ',"collation":{"locale":"en","strength":2}') end
        local _, events = check({ "v", "w.x" }, more, listing)
        local groups = steps.listed(events)
        table.sort(groups, function(a, b) return a.key < b.key end)
        assert.same({ { key = '{"v": "a", "w.x": 1}', ids = { "1", "2" } },
          { key = '{"v": null, "w.x": null}', ids = { "4", "5" } } }, groups)
      end
    end)

    it("are those of keys that no query asks for", function()
      local values = { '{"$regularExpression":{"pattern":"a","options":""}}', '{"$undefined":true}', '{"$minKey":1}',
        '{"$ref":"x","$id":1}', 'null', '"a"', '{"$symbol":"s"}', '{"$code":"f()"}', '{"$maxKey":1}',
        '{"$numberDouble":"NaN"}', '{"$date":"2026-01-31T10:00:00Z"}', '{"a":1,"b":2}', '{}', '{"b":2,"a":1}' }
      local documents = {}
      for i, value in ipairs(values) do
        for k = 0, i % 3 do documents[#documents + 1] = ('{"_id":%d,"v":%s}'):format(10 * i + k, value) end
      end
      insert(documents)
      local expected = {}
      for i = 1, #values do
        if i % 3 > 0 then
          expected[#expected + 1] = {}
          for k = 0, i % 3 do table.insert(expected[#expected], tostring(10 * i + k)) end
        end
      end
      index '{"v":1}'
      local _, events = check({ "v" }, nil, listing)
      assert.equal(joined(expected), listed(events))
    end)

    it("are those of a partial and of a sparse index, by such an index", function()
      server:try(database, { "drop", "t" })
      server:fill(database, "t", 900, { v = { ["$mod"] = { "$n", 400 } }, w = { ["$mod"] = { "$n", 2 } } })
      server:insert(database, "t", { '{"_id":"x"}', '{"_id":"y"}', '{"_id":"p","v":null}', '{"_id":"q","v":null}' })
      for _, each in ipairs {
        { ',"partialFilterExpression":{"w":1}', { where = '{"w":1}' }, { w = 1 } },
        { ',"sparse":true', { traits = { { "sparse", "true" } } }, { v = { ["$exists"] = true } } },
      } do
        index('{"v":1}', each[1])
        local _, events = check({ "v" }, each[2], listing)
        assert.equal(grouped("$v", each[3]), listed(events))
        server:command(database, { "dropIndexes", "t", index = "helper" })
      end
    end)

    it("are events of a run, where those are printed", function()
      insert { '{"_id":{"$oid":"507f1f77bcf86cd799439011"},"v":{"x":1}}', '{"_id":"caf\xc3\xa9","v":{"x":1.0}}',
        '{"_id":3,"v":null}' }
      local function apply(...)
        return lunadex.run { "apply", lunadex.registry [[on "t" { index { "v", unique = true, name = "t_u" } }]],
          "--target", server:url(database), "--fail-on", "any", ... }
      end
      local result = apply "--json"
      assert.equal(3, result.status, tostring(result))
      local listings = {}
      for _, event in ipairs(result:events()) do
        if event.event == "duplicates" then listings[#listings + 1] = event end
      end
      assert.equal(1, #listings)
      local event = listings[1]
      assert.same({ "t", "t_u", 1 }, { event.relation, event.name, #event.groups })
      assert.same({ group = 1, key = { v = { x = 1 } }, ids = { { ["$oid"] = "507f1f77bcf86cd799439011" }, "café" } },
        event.groups[1])
      assert.is_nil(result.stderr:find("--json lists", 1, true))
      result = apply()
      assert.equal(3, result.status, tostring(result))
      assert.matches("  --json lists every key with all that have it", result.stderr, 1, true)
    end)

    it("end where nobody wants any more", function()
      server:try(database, { "drop", "t" })
      server:fill(database, "t", 40000, { v = 1 })
      local job = run:submit(steps.build("t", "t_u", { "v" }, unique,
        { check_duplicates = true, list_duplicates = true }))
      run:await(job, function(event) return event.event == "rows" end)
      run.db:cancel(job)
      assert.equal("duplicate_key", run:finish(job).error.code)
    end)
  end)
end)
