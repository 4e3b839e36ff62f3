-- Which documents violate a unique index: what is told, found in one way or another, is what the server means.
local core = require "lunadex.core"
local engine = require "support.engine"
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

  -- Groups of _ids, each sorted, as one text.
  local function text_of(groups)
    local list = {}
    for i, ids in ipairs(groups) do
      local texts = {}
      for k, id in ipairs(ids) do texts[k] = mongodb.json(id) end
      table.sort(texts)
      list[i] = table.concat(texts, " ")
    end
    table.sort(list)
    return table.concat(list, "; ")
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

  local function check(keys, more)
    local fields = { unique = true }
    for name, value in pairs(more or {}) do fields[name] = value end
    return run:build("t", "t_u", keys, fields, { check_duplicates = true })
  end

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
      local done = groups and check(keys, kind[2])
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
end)
