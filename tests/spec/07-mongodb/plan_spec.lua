-- What a plan says of a real MongoDB database, and of databases of both kinds at once.
local api = require "lunadex"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local pg = require "support.postgres"
local steps = require "lunadex.mongodb.steps"

describe("plan of MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = mongodb.shared()
    database = server:create_database()
    url = server:url(database)
  end)
  after_each(function() server:drop_database(database) end)

  local function plan(text, ...)
    return lunadex.run { "plan", lunadex.registry(text), "--target", url, ... }
  end

  it("says what would change, with sizes, and changes nothing", function()
    server:fill(database, "t", 5000, { a = "$n" })
    local result = plan([[on "t" { index { "a", name = "t_a", description = "why", critical = true } }]], "--json")
    assert.equal(0, result.status, tostring(result))
    local change = result:json().changes[1]
    assert.same({ "create", "t", "t_a", "{ a: 1 }", true, "why" },
      { change.action, change.relation, change.name, change.definition, change.critical, change.description })
    assert.equal(5000, change.estimate.rows)
    assert.is_true(change.estimate.table_bytes > 5000)
    assert.equal(1, #server:indexes(database, "t"))
    local shown = plan [[on "t" { index { "a" } }]]
    assert.matches("create t a_1: { a: 1 }; 5 k documents, ", shown.stdout, 1, true)
    assert.matches("Plan: 1 to create, 0 kept.", shown.stdout, 1, true)
    assert.equal(2, plan([[on "t" { index { "a" } }]], "--detailed-exitcode").status)
  end)

  it("knows what is declared twice, whatever the words", function()
    server:insert(database, "t", { { a = 1 } })
    server:command(database, '{"create":"fr","collation":{"locale":"fr"}}')
    for on, pair in pairs { t = { 'collation = { locale = "en" }', 'collation = { locale = "en", strength = 3 }' },
      fr = { "sparse = true", 'sparse = true, collation = { locale = "fr" }' } } do
      local text = ([[on %q { index { "a", name = "one", %s }, index { "a", name = "two", %s } }]]):format(on, pair[1],
        pair[2])
      local result = plan(text)
      assert.equal(65, result.status, tostring(result))
      assert.matches("two: to the server it is the same as one: ", result.stdout, 1, true)
      server:command(database, ('{"createIndexes":%q,"indexes":[{"key":{"a":1},"name":"two",%s}]}'):format(on,
        on == "t" and '"collation":{"locale":"en"}' or '"sparse":true'))
      assert.equal(65, plan(text).status)
    end
  end)

  it("may speak of a collection that is not there yet", function()
    local result = plan [[on "nowhere" { index { "a" } }]]
    assert.equal(0, result.status, tostring(result))
    assert.matches("create nowhere a_1", result.stdout, 1, true)
    assert.matches("the collection does not exist: its first index creates it", result.stdout, 1, true)
    local findings = plan([[on "nowhere" { index { "a" }, index { "b" } } on "far" { index { "a" } }]],
      "--json"):json().findings
    assert.same({ "info new-collection nowhere", "info new-collection far" }, {
      findings[1].level .. " " .. findings[1].rule .. " " .. findings[1].relation,
      findings[2].level .. " " .. findings[2].rule .. " " .. findings[2].relation })
    assert.is_nil(findings[3])
    -- Nothing is declared of it, so nothing has to be there.
    assert.equal(0, plan([[on "nowhere" { description = "later" }]]).status)
  end)

  it("says of a change what it says whenever it is asked", function()
    local db <close> = assert(api.connect(url))
    local path = lunadex.registry [[on "t" { index { "a" }, index { "b" } }]]
    local made = assert(api.plan(assert(api.load(path, { target = url })), db))
    local rules = {}
    for change in made:changes() do
      local findings = steps.findings(change, made)
      rules[#rules + 1] = findings[1] and findings[1].rule or ""
      assert.same(findings, steps.findings(change, made))
    end
    assert.same({ "new-collection", "" }, rules)
  end)

  it("knows how many indexes a collection takes", function()
    local specs, declared = {}, {}
    for i = 1, 61 do
      specs[i] = ('{"name":"i%d","key":{"k%d":1}}'):format(i, i)
      declared[i] = ('index { "k%d", name = "i%d" }'):format(i, i)
    end
    server:command(database, ('{"createIndexes":"t","indexes":[%s]}'):format(table.concat(specs, ",")))
    local function declaring(count, more) -- of what is live, and more
      return ('on "t" { %s, %s }'):format(table.concat(declared, ", ", 1, count), more)
    end
    assert.equal(0, plan(declaring(60, 'index { "a" }, index { "b" }')).status)
    local result = plan(declaring(60, 'index { "a" }, index { "b" }, index { "c", name = "c" }'))
    assert.equal(65, result.status, tostring(result))
    assert.matches("t c: there is no room for it: a collection has 64 indexes at most", tostring(result), 1, true)
    -- A replacement stands beside the old one for a while.
    local replacing = declaring(59, 'index { "k60", name = "i60", sparse = true }, '
      .. 'index { "k61", name = "i61", sparse = true }, index { "a" }')
    result = plan(replacing)
    assert.equal(0, result.status)
    assert.matches("the collection has room for 1 more at a time", result.stdout, 1, true)
    local applied = lunadex.run { "apply", lunadex.registry(replacing), "--target", url, "--jobs", "3" }
    assert.equal(0, applied.status, tostring(applied))
    assert.equal(63, #server:indexes(database, "t"))
    -- What is created may have to leave it the room, critical or unique as it may be.
    for _, options in ipairs { "", "unique = true, critical = true" } do
      local tight = declaring(58, 'index { "k59", name = "i59", sparse = true, unique = ' .. tostring(options == "")
        .. ' }, index { "a" }, index { "b", ' .. options .. ' }')
      result = plan(tight)
      assert.equal(0, result.status, tostring(result))
      assert.matches("after i59: there is no room to replace that when this one is there", result.stdout, 1, true)
    end
    local tight = declaring(58, 'index { "k59", name = "i59", sparse = true }, index { "a" }, index { "b" }')
    applied = lunadex.run { "apply", lunadex.registry(tight), "--target", url }
    assert.equal(0, applied.status, tostring(applied))
    assert.equal(64, #server:indexes(database, "t"))
    assert.equal(0, plan(tight, "--detailed-exitcode").status)
    -- Where there is no room at all, the old one has to go first.
    local full = declaring(57, 'index { "k58", name = "i58", sparse = true }, '
      .. 'index { "k59", name = "i59", sparse = true }, index { "a" }, index { "b" }')
    for _, command in ipairs { "plan", "apply" } do
      result = lunadex.run { command, lunadex.registry(full), "--target", url }
      assert.equal(6, result.status, tostring(result))
      assert.matches("i58 cannot be built beside the old one, as a collection has 64 indexes at most",
        tostring(result), 1, true)
    end
    applied = lunadex.run { "apply", lunadex.registry(full), "--target", url, "--allow-gap" }
    assert.equal(0, applied.status, tostring(applied))
    assert.equal(64, #server:indexes(database, "t"))
    assert.equal(0, plan(full, "--detailed-exitcode").status)
    -- What the hint says.
    local dropped = lunadex.run { "apply", lunadex.registry(declaring(57, 'index { "a" }')), "--target", url,
      "--drop-strays", "--only", "i58" }
    assert.equal(0, dropped.status, tostring(dropped))
    assert.equal(63, #server:indexes(database, "t"))
  end)

  it("drops first what makes room, and only as much of it as is needed", function()
    local specs, declared = {}, {}
    for i = 1, 63 do
      specs[i] = ('{"name":"i%d","key":{"k%d":1}}'):format(i, i)
      declared[i] = ('index { "k%d", name = "i%d" }'):format(i, i)
    end
    server:command(database, ('{"createIndexes":"t","indexes":[%s]}'):format(table.concat(specs, ",")))
    local function declaring(count, more)
      return ('on "t" { %s, %s }'):format(table.concat(declared, ", ", 1, count), more)
    end
    local function names()
      local set = {}
      for _, spec in ipairs(server:indexes(database, "t")) do set[spec.name] = true end
      return set
    end
    -- One is replaced and one created, and two of three strays have to be there no more.
    local text = declaring(59, 'index { "k60", name = "i60", sparse = true }, index { "a", name = "a" }, '
      .. 'index { "b", name = "b" }')
    assert.equal(65, plan(text).status)
    local result = plan(text, "--drop-strays")
    assert.equal(0, result.status, tostring(result))
    assert.matches("t a: i61, { k61: 1 }, is dropped before, as a collection has 64 indexes at most", result.stdout, 1,
      true)
    assert.matches("t b: i62, { k62: 1 }, is dropped before", result.stdout, 1, true)
    assert.matches("after i61: it makes room", result.stdout, 1, true)
    -- What is held back makes no room, and nothing is dropped for what is not built.
    local held = [[ rule "r" { on = "drop", check = function(change)
      if change.live_name == "i62" then return "block", "no" end
    end } ]]
    result = plan(held .. text, "--drop-strays")
    assert.equal(6, result.status, tostring(result))
    assert.matches("t b: there is no room for it: i62 stays", result.stdout, 1, true)
    assert.matches("drop t i61: [^\n]*; not made: skipped by r: kept: b is not made\n", result.stdout)
    assert.matches("create t a: [^\n]*; not made: skipped by r: there is no room for it: i61 stays\n", result.stdout)
    -- The last one is only dropped when the others are built.
    local applied = lunadex.run { "apply", lunadex.registry(text), "--target", url, "--drop-strays", "--json" }
    assert.equal(0, applied.status, tostring(applied))
    local order = {}
    for _, event in ipairs(applied:events()) do
      if event.event == "build_finished" then order[#order + 1] = event.name end
    end
    assert.same({ { i61 = true, i62 = true }, "i63" }, { { [order[1]] = true, [order[2]] = true }, order[#order] })
    local live = names()
    assert.same({ true, true, nil }, { live.a, live.b, live.i63 })
    assert.equal(0, plan(text, "--detailed-exitcode").status)
    -- A collection that is full: one that is replaced needs room, too.
    server:command(database, '{"createIndexes":"t","indexes":[{"name":"x","key":{"x":1}}]}')
    assert.equal(64, #server:indexes(database, "t"))
    local full = declaring(58, 'index { "k59", name = "i59", sparse = true }, '
      .. 'index { "k60", name = "i60", sparse = true }, index { "a", name = "a" }, index { "b", name = "b" }')
    assert.equal(6, plan(full).status) -- a gap
    applied = lunadex.run { "apply", lunadex.registry(full), "--target", url, "--drop-strays" }
    assert.equal(0, applied.status, tostring(applied))
    assert.equal(0, plan(full, "--detailed-exitcode").status)
  end)

  it("leaves the format of an index as it is, unless another one is declared", function()
    server:command(database, [[{"createIndexes":"t","indexes":[{"name":"a","key":{"a":1},"v":1},
      {"name":"g","key":{"g":"2dsphere"},"2dsphereIndexVersion":2},
      {"name":"w","key":{"w":"text"},"textIndexVersion":2}]}]])
    local text = [[ on "t" { index { "a", name = "a" %s }, index { { g = "2dsphere" }, name = "g" %s },
      index { { w = "text" }, name = "w" %s } } ]]
    assert.equal(0, plan(text:format("", "", ""), "--detailed-exitcode").status)
    assert.equal(0, plan(text:format(", version = 1", ", sphere_version = 2", ", text_version = 2"),
      "--detailed-exitcode").status)
    -- It is changed in place all the same.
    local applied = lunadex.run { "apply", lunadex.registry(text:format(", unique = true", ", hidden = true", "")),
      "--target", url }
    assert.equal(0, applied.status, tostring(applied))
    local live = {}
    for _, spec in ipairs(server:indexes(database, "t")) do live[spec.name] = spec end
    assert.same({ true, 1, true, 2 }, { live.a.unique, live.a.v, live.g.hidden, live.g["2dsphereIndexVersion"] })
    local other = text:format(", unique = true, version = 2", ", sphere_version = 3, hidden = true",
      ", text_version = 3")
    local result = plan(other)
    assert.equal(6, result.status, tostring(result))
    applied = lunadex.run { "apply", lunadex.registry(other), "--target", url, "--allow-gap" }
    assert.equal(0, applied.status, tostring(applied))
    for _, spec in ipairs(server:indexes(database, "t")) do live[spec.name] = spec end
    assert.same({ 2, 3, 3 }, { live.a.v, live.g["2dsphereIndexVersion"], live.w.textIndexVersion })
    assert.equal(0, plan(other, "--detailed-exitcode").status)
  end)

  it("knows that a collection without an index on _id takes one more", function()
    server:command(database, '{"create":"plain"}')
    server:command(database, '{"create":"clustered","clusteredIndex":{"key":{"_id":1},"unique":true}}')
    server:command(database, '{"create":"series","timeseries":{"timeField":"t","metaField":"m"}}')
    for collection, room in pairs { plain = 63, clustered = 64, series = 64 } do
      local declared = {}
      for i = 1, room do declared[i] = ('index { "m.k%d" }'):format(i) end
      local text = ('on %q { %s }'):format(collection, table.concat(declared, ", "))
      assert.equal(0, lunadex.run({ "apply", lunadex.registry(text), "--target", url }).status)
      assert.equal(room, plan(text, "--json"):json().summary.keep)
      local result = plan((text:gsub(" }$", ', index { "m.more" } }')))
      assert.equal(65, result.status, tostring(result))
      assert.matches(("this collection has %d indexes at most"):format(room), result.stdout, 1, true)
      assert.is_nil(server:try(database, ('{"createIndexes":"%s","indexes":[{"name":"x","key":{"m.x":1}}]}'):format(
        collection)))
    end
  end)

  it("knows what commit quorum a replica set can reach", function()
    local function quorum(value)
      local result = plan(('on "t" { index { "a", commit_quorum = %s } }'):format(value))
      return result.status, tostring(result)
    end
    for _, value in ipairs { '"votingMembers"', '"majority"', "0", "1" } do assert.equal(0, (quorum(value))) end
    local status, text = quorum "2"
    assert.equal(65, status, text)
    assert.matches("commit_quorum is 2, but the replica set has 1 member with data", text, 1, true)
    status, text = quorum '"majorty"'
    assert.equal(65, status, text)
    assert.matches('the replica set has no write concern of that name', text, 1, true)
    assert.matches('Did you mean "majority"?', text, 1, true)
    local alone = mongodb.start { standalone = true }
    finally(function() alone:kill() end)
    local result = lunadex.run { "plan", lunadex.registry 'on "t" { index { "a", commit_quorum = "majority" } }',
      "--target", alone:url "test" }
    assert.equal(65, result.status, tostring(result))
    assert.matches("commit_quorum is for replica sets, and the server is none", result.stdout, 1, true)
  end)

  it("does not cry wolf where only the spelling differs", function()
    server:command(database, [[{"createIndexes":"t","indexes":[
      {"name":"n","key":{"a":1.0},"background":false,"sparse":false,"unique":false},
      {"name":"p","key":{"b":1},"partialFilterExpression":{"y":{"$eq":5.0},"x":{"$exists":true}}},
      {"name":"c","key":{"c":1},"collation":{"locale":"en"}}]}]])
    local result = plan([[on "t" { index { "a" }, index { "b", partial = { x = { ["$exists"] = true }, y = 5 } },
      index { "c", collation = { locale = "en", strength = 3 } } }]], "--detailed-exitcode")
    assert.equal(0, result.status, tostring(result))
    assert.matches("nothing to do, 3 kept", result.stdout, 1, true)
  end)

  it("shows what else is there, and what has no counterpart", function()
    server:command(database, '{"createIndexes":"t","indexes":[{"name":"s","key":{"s":1}}]}')
    local result = plan([[on "t" { description = "nothing declared" }]], "--rename", "--mode", "blocking")
    assert.matches("stray t s: { s: 1 }", result.stdout, 1, true)
    assert.matches("--rename: MongoDB cannot rename", result.stdout, 1, true)
    assert.matches("--mode: MongoDB has one way to build", result.stdout, 1, true)
  end)

  it("can be narrowed", function()
    local text = [[on "t" { index { "a", name = "x" } } on "u" { index { "a", name = "y" } }]]
    assert.equal(1, plan(text, "--only", "u", "--json"):json().summary.create)
    assert.equal("x", plan(text, "--only", "x", "--json"):json().changes[1].name)
    local result = plan(text, "--only", "x", "--only", "xy")
    assert.equal(64, result.status)
    assert.matches('--only xy matches nothing\nDid you mean "x"?', result.stderr, 1, true)
    -- By a name that nobody gave, too, and as it is made up for the whole plan.
    text = [[on "t" { index { "a" }, index { "a", sparse = true }, index { "b" } }]]
    local whole = plan(text, "--json"):json().changes
    assert.same({ "a_1", "a_1_2", "b_1" }, { whole[1].name, whole[2].name, whole[3].name })
    local one = plan(text, "--only", "a_1_2", "--json"):json().changes
    assert.same({ 1, "a_1_2", whole[2].definition }, { #one, one[1].name, one[1].definition })
    assert.matches('--only a_2 matches nothing\nDid you mean "a_1"?', plan(text, "--only", "a_2").stderr, 1, true)
  end)

  it("tells mistakes with their places", function()
    local result = plan [[on "t" { index { "a", where = "b" } }]]
    assert.equal(65, result.status)
    assert.matches('registry.lua:1: t: where is an option of PostgreSQL; MongoDB has no such thing', result.stderr, 1,
      true)
  end)

  it("is one of several, of both kinds, from one registry", function()
    if pg.missing() then return pending(pg.missing()) end
    local postgres = pg.shared()
    local other = postgres:create_database()
    postgres:psql(other, "CREATE TABLE t (a int, b int)")
    local path = lunadex.registry(([[
      database "documents" { url = %q, on "t" { index { "a", partial = { b = 1 }, name = "t_a" } } }
      database "rows" { url = %q, on "t" { index { "a", where = "b = 1", name = "t_a" } } }
    ]]):format(url, postgres:url(other)))
    local result = lunadex.run { "plan", path, "--json" }
    assert.equal(0, result.status, tostring(result))
    local plans = result:json().databases
    assert.same({ "documents", "rows" }, { plans[1].database, plans[2].database })
    for _, each in ipairs(plans) do assert.equal(1, each.summary.create) end
    local applied = lunadex.run { "apply", path }
    assert.equal(0, applied.status, tostring(applied))
    assert.matches("documents: [1/1] t t_a: created", applied.stdout, 1, true)
    assert.matches("rows: [1/1] public.t t_a: created", applied.stdout, 1, true)
    assert.equal(0, lunadex.run { "plan", path, "--detailed-exitcode" }.status)
    -- One of them alone, elsewhere.
    local narrowed = lunadex.run { "plan", path, "--database", "documents", "--target", url }
    assert.equal(0, narrowed.status, tostring(narrowed))
    postgres:drop_database(other)
  end)
end)
