-- Unique indexes on a real server: built once, whatever stands in the collection, and all duplicates told.
local mongodb = require "support.mongodb"
local steps = require "support.mongosteps"

describe("a unique index on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, run

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    server:fill(database, "t", 100, { a = "$n", b = { ["$mod"] = { "$n", 40 } } })
    run = steps.open(server, database)
  end)
  after_each(function()
    run:close()
    server:drop_database(database)
  end)

  local function state(name)
    local spec = run:spec("t", name)
    if not spec then return "absent" end
    return spec.buildUUID and "building" or spec.unique and "unique" or spec.prepareUnique and "prepared" or "plain"
  end

  local function insert(document)
    local _, message, code = server:try(database, { "insert", "t", documents = { document } })
    return code, message
  end

  local unique = { unique = true }

  it("is built once where there are documents: the same build becomes unique", function()
    local before = #server:log()
    local done = run:build("t", "t_a", { "a" }, unique)
    assert.is_true(done.ok, tostring(done.error))
    assert.equal("unique", state "t_a")
    assert.is_nil(run:spec("t", "t_a").prepareUnique)
    local builds = select(2, server:log():sub(before + 1):gsub('"id":20438', ""))
    assert.equal(1, builds, "builds registered")
    assert.equal(11000, insert { a = 1 })
    assert.is_true(run:build("t", "t_a", { "a" }, unique).ok)
  end)

  it("is built so at once where there are none", function()
    for _, name in ipairs { "empty", "absent" } do
      if name == "empty" then server:command(database, { "create", name }) end
      assert.is_true(run:build(name, "x_a", { "a" }, unique).ok)
      assert.is_true(run:spec(name, "x_a").unique)
    end
  end)

  it("is not made where there are duplicates, all of which are told; the index stays, to refuse nothing", function()
    local done = run:build("t", "t_b", { "b" }, unique)
    assert.equal("duplicate_key", done.error.code)
    assert.matches("^40 keys are in several documents, 100 times in all: ", done.error.detail)
    assert.matches("{ b: 0 } 2 times, _id 40, 80; ", done.error.detail, 1, true)
    assert.matches("; …$", done.error.detail)
    assert.matches("Find them all: db.t.aggregate([", done.error.hint, 1, true)
    assert.equal("prepared", state "t_b")
    local taken_back, events = run:step(steps.take_back("t", "t_b", { "b" }))
    assert.is_true(taken_back.ok, tostring(taken_back.error))
    assert.equal("plain", state "t_b")
    assert.is_nil((insert { b = 1 }))
    assert.matches('prepareUnique: true', steps.notes(events), 1, true)
  end)

  it("gives a query that finds them", function()
    local done = run:build("t", "t_b", { "b" }, unique)
    local pipeline = done.error.hint:match "aggregate%((%[.*%]), { allowDiskUse"
    local json = mongodb.of_shell(pipeline)
    local found = server:command(database,
      ('{"aggregate":"t","pipeline":%s,"cursor":{"batchSize":1000}}'):format(json)).cursor.firstBatch
    assert.equal(40, #found)
  end)

  it("is only converted when the duplicates are gone", function()
    assert.is_false(run:build("t", "t_b", { "b" }, unique).ok)
    server:command(database, '{"delete":"t","deletes":[{"q":{"_id":{"$gte":40}},"limit":0}]}')
    assert.is_true(run:step(steps.alter("t", "t_b", { "b" }, unique)).ok)
    assert.equal("unique", state "t_b")
    assert.is_true(run:build("t", "t_b", { "b" }, unique).ok)
  end)

  it("counts what is missing as null, once", function()
    server:command(database, '{"insert":"t","documents":[{"_id":"x"},{"_id":"y","a":null}]}')
    local done = run:build("t", "t_a", { "a" }, unique)
    assert.equal("duplicate_key", done.error.code)
    assert.matches('1 key is in several documents, 2 times in all: ', done.error.detail, 1, true)
    assert.matches('_id "x", "y"', done.error.detail, 1, true)
  end)

  it("has not the duplicates that a partial or sparse one does not see", function()
    assert.is_true(run:build("t", "t_p", { "b" }, { unique = true, where = '{"_id":{"$lt":40}}' }).ok)
    server:command(database, '{"insert":"t","documents":[{"_id":"x"},{"_id":"y"}]}')
    assert.is_true(run:build("t", "t_s", { "a" }, { unique = true, traits = { { "sparse", "true" } } }).ok)
    assert.equal("unique", state "t_s")
  end)

  it("finds duplicates that came while it was being built, and lets none in after", function()
    local held <close> = steps.hold(server, steps.scanning)
    local job = run:submit(steps.build("t", "t_a", { "a" }, unique))
    held:reached()
    assert.is_nil((insert(mongodb.document("_id", "late", "a", 7))))
    held:release()
    local done = run:finish(job)
    assert.equal("duplicate_key", done.error.code)
    assert.matches('{ a: 7 } 2 times, _id 7, "late"', done.error.detail, 1, true)
  end)

  it("refuses new duplicates from the build's end to its own", function()
    -- The dry run is where the duplicates are looked for.
    local held <close> = steps.hold(server, "hangAfterCollModIndexUniqueFullIndexScan")
    local job = run:submit(steps.build("t", "t_a", { "a" }, unique))
    held:reached()
    assert.equal(11000, (insert { a = 5 }))
    held:release()
    assert.is_true(run:finish(job).ok)
  end)

  it("stands beside a plain one of the same keys", function()
    assert.is_true(run:build("t", "t_plain", { "a" }).ok)
    local done = run:build("t", "t_a", { "a" }, unique)
    assert.is_true(done.ok, tostring(done.error))
    assert.equal("unique", state "t_a")
    assert.equal("plain", state "t_plain")
    assert.is_true(run:build("t", "t_plain_b", { "b" }).ok)
    done = run:build("t", "t_b", { "b" }, unique)
    assert.equal("duplicate_key", done.error.code)
    assert.matches("40 keys are in several documents, 100 times in all", done.error.detail, 1, true)
    assert.equal("absent", state "t_b")
  end)

  it("stands beside a hidden plain one of the same keys, which no check can use", function()
    assert.is_true(run:build("t", "t_plain", { "a" }, { with = { { "hidden", "true" } } }).ok)
    local done = run:build("t", "t_a", { "a" }, unique, { check_duplicates = true })
    assert.is_true(done.ok, tostring(done.error))
    assert.equal("unique", state "t_a")
  end)

  it("waits for other builds of the collection before it is converted", function()
    local held <close> = steps.hold(server, steps.scanning)
    local other = server:send(database, { "createIndexes", "t", indexes = { { key = { b = 1 }, name = "t_other" } } })
    held:reached()
    server:command(database, '{"createIndexes":"u","indexes":[{"key":{"a":1},"name":"u_a"}]}')
    held:release()
    assert.is_truthy(other:wait())
    assert.is_true(run:build("t", "t_a", { "a" }).ok)
    local again <close> = steps.hold(server, steps.scanning)
    server:command(database, { "dropIndexes", "t", index = "t_other" })
    other = server:send(database, { "createIndexes", "t", indexes = { { key = { b = 1 }, name = "t_other" } } })
    again:reached()
    local job = run:submit(steps.alter("t", "t_a", { "a" }, unique))
    local note = run:await(job, function(event) return event.event == "note" end)
    assert.matches("an index of t is being built by .*createIndexes t: waiting for it", note.text)
    again:release()
    local done = run:finish(job)
    assert.is_true(done.ok, tostring(done.error))
    assert.is_truthy(other:wait())
    assert.equal("unique", state "t_a")
  end)

  describe("whose duplicates are looked for before", function()
    local function check(name, keys, more)
      local fields = { unique = true }
      for key, value in pairs(more or {}) do fields[key] = value end
      return run:build("t", name, keys, fields, { check_duplicates = true })
    end

    it("is not begun: found by an index, by what begins with its keys, or by all documents", function()
      local found = {}
      for _, index in ipairs { false, '{"b":1}', '{"b":-1,"a":1}' } do
        if index then
          server:command(database, ('{"createIndexes":"t","indexes":[{"key":%s,"name":"helper"}]}'):format(index))
        end
        local done = check("t_b", { "b" })
        assert.equal("duplicate_key", done.error.code)
        assert.matches("nothing was begun", done.error.message, 1, true)
        assert.equal("absent", state "t_b")
        found[#found + 1] = done.error.detail:match("^40 keys are in several documents, 100 times in all: "
          .. "{ b: %d+ } %d times, _id %d")
        if index then server:command(database, { "dropIndexes", "t", index = "helper" }) end
      end
      assert.equal(3, #found)
    end)

    it("takes numbers for equal as the server does, and nothing else", function()
      local values = { '1', '1.0', '{"$numberLong":"1"}', '{"$numberDecimal":"1.00"}', '"1"', 'true',
        '{"$numberDecimal":"1.1"}', '1.1', '{"x":1}', '{"x":{"$numberLong":"1"}}', '{"y":1}', 'null',
        '{"$numberDouble":"-0.0"}', '0', '{"$numberDouble":"NaN"}', '{"$numberDecimal":"NaN"}',
        '{"$numberLong":"9007199254740993"}', '9007199254740992.0' }
      local documents = {}
      for i, value in ipairs(values) do documents[i] = ('{"_id":%d,"v":%s}'):format(i, value) end
      server:insert(database, "n", documents)
      server:command(database, '{"createIndexes":"n","indexes":[{"key":{"v":1},"name":"n_v"}]}')
      -- What the walk says is what the server's own dry run says.
      local walked = run:build("n", "n_u", { "v" }, unique, { check_duplicates = true })
      local server_says = run:step(steps.alter("n", "n_v", { "v" }, unique))
      assert.equal("duplicate_key", server_says.error.code)
      assert.equal(server_says.error.detail:match "^[^:]*", walked.error.detail:match "^[^:]*")
    end)

    it("agrees with the server on random values", function()
      local pool = { "0", "1", "-1", "2.5", "1e3", '"1"', '"a"', '""', "null", "true", "false" }
      local forms = { '%s', '{"$numberLong":"%s"}', '{"$numberDouble":"%s"}', '{"$numberDecimal":"%s"}',
        '{"$numberDecimal":"%s0"}', '{"x":%s}', '{"x":{"y":%s}}', '{"$numberDecimal":"%sE0"}' }
      local function value()
        local one, form = pool[math.random(#pool)], forms[math.random(#forms)]
        local number = one:match "^-?%d"
        if form:find "%$number" and (not number or form:find "Long" and not one:match "^-?%d+$") then form = "%s" end
        if form:find "%%s[0E]" and not one:match "^-?%d+%.%d+$" then form = '{"$numberDecimal":"%s"}' end
        return form:format(one)
      end
      local seed = os.time()
      math.randomseed(seed)
      for round = 1, 15 do
        local documents = {}
        for i = 1, math.random(2, 40) do
          documents[i] = ('{"_id":%d,"v":%s,"w":%s}'):format(i, value(), round % 2 == 0 and value() or 1)
        end
        server:try(database, { "drop", "r" })
        server:insert(database, "r", documents)
        server:command(database, '{"createIndexes":"r","indexes":[{"key":{"v":1,"w":-1},"name":"r_v"}]}')
        local walked = run:build("r", "r_u", { "w", "v" }, unique, { check_duplicates = true })
        local said = run:step(steps.alter("r", "r_v", { "v", "w" }, unique))
        local function count(done)
          return done.ok and "none" or tostring(done.error.detail):match "^[^:]*"
        end
        assert.equal(count(said), count(walked), ("seed %d: %s"):format(seed, table.concat(documents)))
      end
    end)

    it("compares as the index's collation does", function()
      server:insert(database, "c", { '{"v":"a"}', '{"v":"A"}', '{"v":"b"}' })
      local collation = { { "collation", '{"locale":"en","strength":2}' } }
      for _, by in ipairs { "documents", "index" } do
        if by == "index" then
          server:command(database, '{"createIndexes":"c","indexes":[{"key":{"v":1},"name":"h",'
            .. '"collation":{"locale":"en","strength":2}}]}')
        end
        local done = run:build("c", "c_v", { "v" }, { unique = true, traits = collation }, { check_duplicates = true })
        assert.equal("duplicate_key", done.error.code, by)
        assert.matches("^1 key is in several documents, 2 times in all", done.error.detail)
        assert.is_true(run:build("c", "c_simple", { "v" }, unique, { check_duplicates = true }).ok)
        server:command(database, { "dropIndexes", "c", index = "c_simple" })
      end
    end)

    it("is built where there are none", function()
      assert.is_true(check("t_a", { "a" }).ok)
      assert.equal("unique", state "t_a")
      assert.is_true(check("t_ab", { "b", "a" }).ok)
    end)
  end)

  describe("when a command fails", function()
    it("goes on from where it was", function()
      for _, command in ipairs { "find", "createIndexes", "collMod" } do
        for _, how in ipairs { { closeConnection = true }, { errorCode = 11602 } } do
          local fault <close> = steps.fail(server, { command }, how)
          local name = ("t_%s_%s"):format(command, how.errorCode or "cut")
          local done = run:build("t", name, { "a", name }, unique, { retry = { attempts = 3, first_delay = 0.1 } })
          assert.is_true(done.ok, command .. ": " .. tostring(done.error))
          assert.equal(2, done.attempts, command)
          assert.equal("unique", state(name))
          assert.is_truthy(fault)
        end
      end
    end)

    it("says how to take the refusal of duplicates back if nobody tries again", function()
      assert.is_true(run:build("t", "t_a", { "a" }).ok)
      local fault <close> = steps.hold(server, "failCommand", {
        failCommands = { "collMod" }, appName = "lunadex specs", errorCode = 11602 }, { skip = 1 })
      local alter = steps.alter("t", "t_a", { "a" }, unique)
      local done, events = run:step(alter)
      fault:release()
      assert.equal("link_lost", done.error.code)
      assert.equal("prepared", state "t_a")
      local command = steps.notes(events):match 'to take that back: db%.runCommand%((.*)%)$'
      server:command(database, mongodb.of_shell(command))
      assert.equal("plain", state "t_a")
    end)

    it("takes nothing back while that fails, and says so", function()
      assert.is_true(run:build("t", "t_a", { "a" }).ok)
      local fault <close> = steps.hold(server, "failCommand", {
        failCommands = { "collMod" }, appName = "lunadex specs", errorCode = 8000 }, { skip = 1 })
      local alter = steps.alter("t", "t_a", { "a" }, unique)
      assert.is_false(run:step(alter).ok)
      local done, events = run:step(steps.take_back("t", "t_a", { "a" }))
      fault:release()
      assert.is_false(done.ok)
      assert.matches("refuses new duplicates, for this failed", steps.notes(events), 1, true)
      assert.equal("prepared", state "t_a")
      assert.is_true(run:step(alter).ok)
      assert.equal("unique", state "t_a")
    end)

    it("takes nothing back of what is unique, plain, under way or gone", function()
      for name, more in pairs { t_a = unique, t_b = {} } do
        assert.is_true(run:build("t", name, { "a", name }, more).ok)
      end
      local held <close> = steps.hold(server, steps.scanning)
      local job = run:submit(steps.build("t", "t_c", { "a", "c" }, unique))
      held:reached()
      for _, name in ipairs { "t_a", "t_b", "t_c", "t_d" } do
        local done, events = run:step(steps.take_back("t", name, { "a" }))
        assert.is_true(done.ok, tostring(done.error))
        assert.equal("", steps.notes(events), name)
      end
      held:release()
      assert.is_true(run:finish(job).ok)
      assert.same({ "unique", "plain", "unique", "absent" }, { state "t_a", state "t_b", state "t_c", state "t_d" })
    end)
  end)
end)
