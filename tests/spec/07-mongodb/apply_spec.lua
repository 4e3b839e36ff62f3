-- What each kind of change does to a real server, and that a second plan has nothing to do.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local shell = require "support.shell"
local steps = require "support.mongosteps"

describe("apply on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = mongodb.shared()
    database = server:create_database()
    url = server:url(database)
  end)
  after_each(function() server:drop_database(database) end)

  local function run(command, text, ...)
    return lunadex.run { command, lunadex.registry(text), "--target", url, ... }
  end

  local function apply(text, ...)
    local result = run("apply", text, ...)
    assert.equal(0, result.status, tostring(result))
    return result
  end

  -- Applied, it stays applied.
  local function settles(text, ...)
    apply(text, ...)
    local result = run("plan", text, "--detailed-exitcode")
    assert.equal(0, result.status, tostring(result))
  end

  -- The live indexes but that of _id, by name.
  local function indexes(collection)
    local found = {}
    for _, spec in ipairs(server:indexes(database, collection or "t")) do
      if spec.name ~= "_id_" then found[spec.name] = spec end
    end
    return found
  end

  local function names(collection)
    local list = {}
    for name in pairs(indexes(collection)) do list[#list + 1] = name end
    table.sort(list)
    return table.concat(list, " ")
  end

  local function create(specs, collection)
    server:command(database, ('{"createIndexes":%q,"indexes":[%s]}'):format(collection or "t", specs))
  end

  local function fill(count)
    server:fill(database, "t", count or 1000, { a = "$n", b = { ["$mod"] = { "$n", 7 } } })
  end

  it("builds what is declared, of every type, in collections that are there or not", function()
    fill()
    settles [[
      on "t" {
        index { "a", desc "b" }, index { { at = "2dsphere" }, sparse = true }, index { key { "h", type = "hashed" } },
        index { { title = "text" }, "lang", weights = { title = 5 } }, index { "$**", wildcard_projection = { a = 1 } },
        index { "a", name = "unique_a", unique = true, collation = { locale = "en", strength = 2 } },
        index { "seen", expire_after = "2h", hidden = true }, index { { p = "2d" }, bits = 20 },
        index { "b", partial = { a = { ["$gt"] = 5 }, c = null }, commit_quorum = "majority" },
      }
      on "new" { index { spec = '{ "key": { "x": 1, "y": -1 }, "name": "xy" }' } }
    ]]
    assert.equal("$**_1 a_1_b_-1 at_2dsphere b_1 h_hashed p_2d seen_1 title_text_lang_1 unique_a", names())
    assert.equal("xy", names "new")
    local live = indexes()
    assert.is_true(live.unique_a.unique)
    assert.same({ 7200, true }, { live.seen_1.expireAfterSeconds, live.seen_1.hidden })
    assert.equal('{"a":{"$gt":5},"c":null}', mongodb.json(live.b_1.partialFilterExpression))
  end)

  it("prints what it would do, and does nothing", function()
    fill()
    create '{"name":"old","key":{"b":1},"sparse":true}'
    local result = apply([[on "t" { index { "a", name = "t_a" }, index { "b", name = "old" } }]], "--dry-run")
    assert.matches('// create t t_a\ndb.t.createIndex({ a: 1 }, { name: "t_a" });', result.stdout, 1, true)
    assert.matches("old_ldx", result.stdout, 1, true)
    assert.matches("dropIndex", result.stdout, 1, true)
    assert.equal("old", names())
  end)

  it("changes in place what can be", function()
    fill()
    create [[{"name":"ttl","key":{"seen":1},"expireAfterSeconds":60}, {"name":"plain","key":{"c":1}},
      {"name":"u","key":{"a":1}}, {"name":"hidden","key":{"b":1},"hidden":true}]]
    local text = [[on "t" { index { "seen", expire_after = 120 }, index { "c", expire_after = 60 },
      index { "a", unique = true }, index { "b" } }]]
    local result = run("plan", text, "--json")
    assert.equal(4, result:json().summary.alter, tostring(result))
    local commands = {}
    for command in apply(text, "--dry-run").stdout:gmatch 'index: (%b{}[^)]*)' do commands[#commands + 1] = command end
    assert.same({ '{ name: "ttl", expireAfterSeconds: 120 } }', '{ name: "plain", expireAfterSeconds: 60 } }',
      '{ name: "u", prepareUnique: true } }', '{ name: "u", unique: true }, dryRun: true }',
      '{ name: "u", unique: true } }', '{ name: "hidden", hidden: false } }' }, commands)
    settles(text)
    local live = indexes()
    assert.equal("hidden plain ttl u", names())
    assert.same({ 120, 60, true }, { live.ttl.expireAfterSeconds, live.plain.expireAfterSeconds, live.u.unique })
    assert.is_nil(live.hidden.hidden)
  end)

  it("hides what a time series measures, and shows it again", function()
    server:command(database, '{"create":"series","timeseries":{"timeField":"t","metaField":"m"}}')
    local function hidden()
      local reply = server:command(database, { "listIndexes", "system.buckets.series", cursor = mongodb.document() })
      for _, spec in ipairs(reply.cursor.firstBatch) do
        if spec.name == "v.x_1" then return spec.hidden end
      end
    end
    settles [[on "series" { index { "v.x" }, index { "m", "t" } }]]
    settles [[on "series" { index { "v.x", hidden = true }, index { "m", "t", hidden = true } }]]
    assert.is_true(hidden())
    settles [[on "series" { index { "v.x" }, index { "m", "t" } }]]
    assert.is_nil(hidden())
  end)

  it("replaces side by side under another name, and back the next time", function()
    fill()
    create '{"name":"n","key":{"a":1}}'
    local result = apply [[on "t" { index { "a", name = "n", sparse = true } }]]
    assert.matches("it will be called n_ldx", result.stderr, 1, true)
    assert.equal("n_ldx", names())
    settles [[on "t" { index { "a", name = "n", sparse = true } }]]
    assert.equal("n_ldx", names())
    settles [[on "t" { index { "a", "b", name = "n" } }]]
    assert.equal("n", names())
    assert.equal('{"a":1,"b":1}', mongodb.json(indexes().n.key))
  end)

  it("finishes a replacement that was interrupted", function()
    fill()
    create '{"name":"n","key":{"a":1}}, {"name":"n_ldx","key":{"a":1},"sparse":true}'
    settles [[on "t" { index { "a", name = "n", sparse = true } }]]
    assert.equal("n_ldx", names())
    create '{"name":"n","key":{"b":1}}'
    settles [[on "t" { index { "b", name = "n" } }]]
    assert.equal("n", names())
  end)

  it("takes no name from what is declared, or live and another's", function()
    fill()
    create '{"name":"n","key":{"a":1}}, {"name":"n_ldx","key":{"b":1}}'
    local text = [[on "t" { index { "a", name = "n", sparse = true }, index { "b", name = "n_ldx" },
      index { "c", name = "n_ldx2" } }]]
    assert.matches("it will be called n_ldx3", tostring(run("plan", text)), 1, true)
    settles(text)
    assert.equal("n_ldx n_ldx2 n_ldx3", names())
    assert.equal('{"b":1}', mongodb.json(indexes().n_ldx.key))
    assert.is_true(indexes().n_ldx3.sparse)
    -- The next one has the name itself again.
    settles [[on "t" { index { "a", "b", name = "n" }, index { "b", name = "n_ldx" }, index { "c", name = "n_ldx2" } }]]
    assert.equal("n n_ldx n_ldx2", names())
  end)

  it("says that what an interrupted replacement has left is dropped", function()
    fill()
    create '{"name":"n","key":{"a":1}}, {"name":"n_ldx","key":{"b":1}}'
    local text = [[on "t" { index { "a", name = "n", sparse = true } }]]
    assert.matches("n_ldx, { b: 1 }, is dropped first", tostring(run("plan", text)), 1, true)
    settles(text)
    assert.equal("n_ldx", names())
    assert.is_true(indexes().n_ldx.sparse)
  end)

  it("builds what is declared under names that went round, while one of them changed", function()
    fill()
    create '{"name":"x","key":{"a":1}}, {"name":"y","key":{"b":1}}'
    local text = [[on "t" { index { "b", name = "x", sparse = true }, index { "a", name = "y" } }]]
    local plan = run("plan", text)
    assert.equal(0, plan.status, tostring(plan))
    assert.matches("it will be called x_ldx: x is the name of { a: 1 }, which is declared as well", plan.stdout, 1,
      true)
    settles(text)
    assert.equal("x x_ldx y", names())
    assert.same({ '{"a":1}', '{"b":1}', true },
      { mongodb.json(indexes().x.key), mongodb.json(indexes().x_ldx.key), indexes().x_ldx.sparse })
    -- What stays behind is a stray like any other, and what was built is no leftover of anything.
    settles(text, "--drop-strays")
    assert.equal("x x_ldx", names())
    settles [[on "t" { index { "b", "c", name = "x" }, index { "a", name = "y" } }]]
    assert.equal("x x_ldx2", names())
    -- Both changed: each is replaced by what has its name.
    server:command(database, { "dropIndexes", "t", index = "*" })
    create '{"name":"x","key":{"a":1}}, {"name":"y","key":{"b":1}}'
    settles [[on "t" { index { "b", name = "x", sparse = true }, index { "a", name = "y", sparse = true } }]]
    assert.equal("x_ldx y_ldx", names())
  end)

  it("leaves no gap unless it is allowed, and says for how long", function()
    fill()
    create '{"name":"n","key":{"a":1},"expireAfterSeconds":60}'
    local text = [[on "t" { index { "a", name = "n" } }]]
    for _, command in ipairs { "plan", "apply" } do
      local result = run(command, text)
      assert.equal(6, result.status, tostring(result))
      assert.matches("n cannot be built beside the old one", result.stdout .. result.stderr, 1, true)
      assert.matches("--allow-gap", result.stdout .. result.stderr, 1, true)
    end
    assert.equal(60, indexes().n.expireAfterSeconds)
    assert.equal(0, run("plan", text, "--allow-gap").status)
    settles(text, "--allow-gap")
    assert.is_nil(indexes().n.expireAfterSeconds)
  end)

  it("says what is missing where it was interrupted in a gap", function()
    fill()
    create '{"name":"n","key":{"a":1},"expireAfterSeconds":60}'
    local text = [[on "t" { index { "a", name = "n" } }]]
    local hold <close> = steps.hold(server, steps.scanning)
    local applying = lunadex.start { "apply", lunadex.registry(text), "--target", url, "--allow-gap" }
    hold:reached()
    applying:kill "INT"
    shell.eventually("the build to be told to end", function()
      return server:command("admin", { "aggregate", cursor = mongodb.document(), pipeline = {
        { ["$currentOp"] = { allUsers = true, idleConnections = true } },
        { ["$match"] = { killPending = true, ["command.createIndexes"] = "t" } },
      } }).cursor.firstBatch[1]
    end)
    hold:release()
    local result = lunadex.result(applying:wait())
    assert.equal(130, result.status, tostring(result))
    assert.matches("n is dropped, and nothing is there in its place: the next run builds it", tostring(result), 1, true)
    assert.is_nil(tostring(result):find("what was built stays", 1, true))
    settles(text)
    assert.equal("n", names())
  end)

  it("replaces a text index, of which there is one", function()
    fill()
    create '{"name":"words","key":{"x":"text"}}'
    local text = [[on "t" { index { { x = "text" }, { y = "text" }, name = "words", weights = { y = 3 } } }]]
    assert.equal(6, run("apply", text).status)
    settles(text, "--allow-gap")
    assert.equal('{"x":1,"y":3}', mongodb.json(indexes().words.weights))
    local result = run("apply", [[on "t" { index { { z = "text" }, name = "other" } }]])
    assert.equal(65, result.status, tostring(result))
    assert.matches("t has a text index already, words", result.stderr, 1, true)
  end)

  it("makes no collection anew that is gone by the time", function()
    fill()
    server:fill(database, "other", 20, { a = "$n" })
    local text = [[on "t" { index { "a" } } on "other" { index { "a" } }]]
    local hold <close> = steps.hold(server, steps.scanning)
    local applying = lunadex.start { "apply", lunadex.registry(text), "--target", url, "--jobs", "1", "--fail-on",
      "any" }
    hold:reached()
    local first = #server:indexes(database, "t") > 1 and "t" or "other"
    local second = first == "t" and "other" or "t"
    server:command(database, { "drop", second })
    hold:release()
    local result = lunadex.result(applying:wait())
    assert.equal(3, result.status, tostring(result))
    assert.matches(second .. " does not exist any more", tostring(result), 1, true)
    assert.same({ 2, 0 }, { #server:indexes(database, first), #server:indexes(database, second) })
  end)

  it("brings back what had to go for something that cannot be built", function()
    server:insert(database, "t", { { p = { 50, 50 } } })
    create '{"name":"flat","key":{"p":"2d"}}'
    local text = [[on "t" { index { { p = "2d" }, name = "flat", min = -10, max = 10, critical = true } }]]
    local result = run("apply", text, "--allow-gap")
    assert.equal(3, result.status, tostring(result))
    assert.same({ "flat", nil }, { indexes().flat.name, indexes().flat.min })
    assert.matches("flat was built again, as it was", tostring(result), 1, true)
  end)

  it("says that there is nothing where what had to go cannot be built again, either", function()
    server:insert(database, "t", { { p = { 5, 5 } } })
    create '{"name":"flat","key":{"p":"2d"}}'
    -- Whatever the program builds there is refused for good.
    local fault <close> = steps.hold(server, "failCommand", { failCommands = { "createIndexes" }, errorCode = 13,
      namespace = database .. ".t" })
    local text = [[on "t" { index { { p = "2d" }, name = "flat", min = -10, max = 10, critical = true } }]]
    local result = run("apply", text, "--allow-gap")
    assert.is_truthy(fault)
    assert.equal(3, result.status, tostring(result))
    assert.matches("flat could not be built again now", tostring(result), 1, true)
    assert.is_nil(indexes().flat)
  end)

  -- Somebody builds this meanwhile; what the plan says to it, and what applying it says.
  local function meanwhile(spec, text)
    server:fill(database, "t", 200000, { a = "$n", b = "$n" })
    local sent = server:send(database, ('{"createIndexes":"t","indexes":[%s]}'):format(spec))
    shell.eventually("the build to be seen", function()
      for _, each in ipairs(server:indexes(database, "t")) do
        if each.buildUUID then return true end
      end
      return not sent:running()
    end)
    local plan = run("plan", text, "--json"):json()
    local applied = apply(text) -- by then it may be there
    assert(sent:wait())
    assert.same({ 1, 0, 0 }, { plan.summary.wait, plan.summary.create, plan.summary.replace }, mongodb.json(plan))
    assert.matches("being built", plan.changes[1].reason)
    assert.matches("total 1, created 0", applied.stdout, 1, true)
    assert.equal(0, run("plan", text, "--detailed-exitcode").status)
  end

  it("waits for what somebody else is building", function()
    meanwhile('{"name":"theirs","key":{"a":1,"b":1}}', [[on "t" { index { "a", "b" } }]])
    assert.equal("theirs", names())
  end)

  -- Somebody else builds it, and is held before its end while `during` runs.
  local function held(spec, during)
    server:fill(database, "t", 100, { a = "$n", b = "$n" })
    local hold <close> = steps.hold(server, steps.scanning)
    local sent = server:send(database, ('{"createIndexes":"t","indexes":[%s]}'):format(spec))
    hold:reached()
    during(hold)
    hold:release()
    assert.is_truthy(sent:wait())
  end

  it("waits for a build on its way to unique, and takes that back where a plain one is declared", function()
    local text, process = [[on "t" { index { "a", name = "n" } }]], nil
    held('{"name":"n","key":{"a":1},"prepareUnique":true}', function()
      assert.equal(1, run("plan", text, "--json"):json().summary.wait)
      local stray = run("plan", [[on "t" { index { "b" } }]])
      assert.matches("that did not end; not finished, ", stray.stdout, 1, true)
      process = lunadex.start { "apply", lunadex.registry(text), "--target", url }
      shell.eventually("it to wait", function() return process:stdout():find("waiting for it", 1, true) end)
    end)
    local result = lunadex.result(process:wait(60))
    assert.equal(0, result.status, tostring(result))
    assert.is_nil(indexes().n.prepareUnique)
    assert.equal(0, run("plan", text, "--detailed-exitcode").status)
  end)

  it("finishes a replacement whose new index is still being built, whichever of the two has the name", function()
    for _, each in ipairs { { "n", "n_ldx" }, { "n_ldx", "n" } } do
      local old, new, process = each[1], each[2], nil
      local text = [[on "t" { index { "a", name = "n" } }]]
      server:try(database, { "drop", "t" })
      fill()
      create(('{"name":"%s","key":{"a":1},"sparse":true}'):format(old))
      held(('{"name":"%s","key":{"a":1}}'):format(new), function()
        process = lunadex.start { "apply", lunadex.registry(text), "--target", url }
        shell.eventually("it to wait", function() return process:stdout():find("waiting for it", 1, true) end)
      end)
      local result = lunadex.result(process:wait(60))
      assert.equal(0, result.status, tostring(result))
      assert.equal(new, names())
      assert.equal(0, run("plan", text, "--detailed-exitcode").status)
    end
  end)

  it("waits for a build of something else under a declared name, and replaces it", function()
    local text = [[on "t" { index { "a", name = "n", sparse = true } }]]
    held('{"name":"n","key":{"a":1}}', function(hold)
      local plan = run("plan", text, "--json"):json()
      assert.equal(1, plan.summary.replace)
      assert.matches("^being built by .* as something else: ", plan.changes[1].reason)
      local rules = {}
      for i, finding in ipairs(plan.findings) do rules[i] = finding.rule end
      assert.same({ "other-name", "other-build" }, rules)
      local applying = lunadex.start { "apply", lunadex.registry(text), "--target", url }
      shell.eventually("its own build to begin", function() return indexes().n_ldx end)
      hold:release()
      local result = lunadex.result(applying:wait())
      assert.equal(0, result.status, tostring(result))
    end)
    assert.equal("n_ldx", names())
    assert.equal(0, run("plan", text, "--detailed-exitcode").status)
  end)

  it("tells a build of a text index with other weights from the one that is declared", function()
    local text = [[on "t" { index { { w = "text" }, name = "words", weights = { w = 5 } } }]]
    held('{"name":"words","key":{"w":"text"},"weights":{"w":2}}', function(hold)
      local refused = run("plan", text)
      assert.equal(6, refused.status, tostring(refused))
      assert.matches("words cannot be built beside the old one", refused.stdout, 1, true)
      assert.matches("words is being built by .*, but as { w: \"text\" } weights {\"w\": 2}", refused.stdout)
      local applying = lunadex.start { "apply", lunadex.registry(text), "--target", url, "--allow-gap" }
      shell.eventually("the run to wait", function() return applying:stdout():find("waiting for it", 1, true) end)
      hold:release()
      local result = lunadex.result(applying:wait())
      assert.equal(0, result.status, tostring(result))
    end)
    assert.equal('{"w":5}', mongodb.json(indexes().words.weights))
  end)

  it("gives a build that is under way what can be changed in place once it is finished", function()
    local text = [[on "t" { index { "a", name = "n", expire_after = 60 } }]]
    held('{"name":"n","key":{"a":1},"expireAfterSeconds":5}', function(hold)
      local plan = run("plan", text, "--json"):json()
      assert.equal(1, plan.summary.wait, mongodb.json(plan))
      local applying = lunadex.start { "apply", lunadex.registry(text), "--target", url }
      shell.eventually("the run to wait", function() return applying:stdout():find("waiting for it", 1, true) end)
      hold:release()
      local result = lunadex.result(applying:wait())
      assert.equal(0, result.status, tostring(result))
    end)
    assert.equal(60, indexes().n.expireAfterSeconds)
    assert.equal(0, run("plan", text, "--detailed-exitcode").status)
  end)

  it("makes unique what a run that was killed has begun to build", function()
    meanwhile('{"name":"u","key":{"a":1},"prepareUnique":true}',
      [[on "t" { index { "a", name = "u", unique = true } }]])
    assert.is_true(indexes().u.unique)
  end)

  it("makes plain again what a conversion that was given up has left behind", function()
    fill()
    create '{"name":"u","key":{"a":1},"prepareUnique":true}'
    settles [[on "t" { index { "a", name = "u" } }]]
    assert.is_nil(indexes().u.prepareUnique)
  end)

  it("reads a data dictionary", function()
    local path = shell.directory "dictionary" .. "/users.yaml"
    shell.write_file(path, 'table users:\n  index socialsec:\n    unique: "Y"\n    column socialsec:\n'
      .. '    column year:\n      flag_asc: "N"\n')
    local result = lunadex.run { "apply", path, "--target", url }
    assert.equal(0, result.status, tostring(result))
    assert.equal('{"socialsec":1,"year":-1}', mongodb.json(indexes "users".socialsec.key))
  end)

  it("keeps strays, hides them first, and brings them back", function()
    fill()
    create '{"name":"mine","key":{"a":1}}, {"name":"stray","key":{"b":1}}'
    local text = [[on "t" { index { "a", name = "mine" } }]]
    apply(text)
    assert.equal("mine stray", names())
    local result = apply(text, "--hide-first")
    assert.matches("[2/2] t stray: hiding from queries { b: 1 }", result.stdout, 1, true)
    assert.matches("[2/2] t stray: hidden in ", result.stdout, 1, true)
    assert.is_true(indexes().stray.hidden)
    settles(text)
    settles [[on "t" { index { "a", name = "mine" }, index { "b", name = "stray" } }]]
    assert.is_nil(indexes().stray.hidden)
    apply(text, "--hide-first", "--drop-strays")
    assert.is_true(indexes().stray.hidden)
    apply(text, "--hide-first", "--drop-strays")
    assert.equal("mine", names())
    create '{"name":"stray","key":{"b":1}}'
    apply(text, "--drop-strays")
    assert.equal("mine", names())
  end)

  it("matches by definition, and says once what cannot be renamed", function()
    fill()
    create '{"name":"live","key":{"a":1}}'
    local text = [[on "t" { index { "a", name = "declared" } }]]
    local result = apply(text, "--rename")
    assert.matches("total 1, created 0, skipped 1", result.stdout, 1, true)
    assert.equal("live", names())
    local plan = run("plan", text, "--rename")
    assert.matches("MongoDB cannot rename", plan.stdout, 1, true)
    assert.matches("live is declared by definition", plan.stdout, 1, true)
  end)

  it("tells all duplicates of a unique index, and goes on with the others", function()
    fill(100)
    local result = run("apply", [[on "t" { index { "b", name = "u", unique = true, critical = true },
      index { "a", name = "plain" } }]])
    assert.equal(3, result.status, tostring(result))
    assert.matches("critical: t u: ", result.stderr, 1, true)
    assert.is_truthy(indexes().plain)
    assert.is_nil((indexes().u or {}).unique)
  end)

  it("refuses what contradicts the database", function()
    server:command(database, '{"create":"v","viewOn":"t","pipeline":[]}')
    local result = run("apply", [[on "v" { index { "a" } } on "t" { index { "a", name = "x" } }]])
    assert.equal(65, result.status, tostring(result))
    assert.matches("registry.lua:1: v", result.stderr, 1, true)
    assert.equal("", names())
  end)

  it("speaks to machines", function()
    fill()
    local events = run("apply", [[on "t" { index { "a", name = "t_a", description = "why" } }]], "--json"):events()
    assert.equal("run_started", events[1].event)
    local finished
    for _, event in ipairs(events) do
      if event.event == "build_finished" then finished = event end
    end
    assert.same({ "created", "t", "t_a", "{ a: 1 }" },
      { finished.outcome, finished.relation, finished.name, events[2].definition })
    assert.equal(1, events[#events].summary.created)
  end)

  it("builds side by side, no more than the server does", function()
    server:fill(database, "t", 200000, { a = "$n", b = "$n", c = "$n", d = "$n", e = "$n" })
    local text = [[on "t" { index { "a" }, index { "b" }, index { "c" }, index { "d" }, index { "e" } }]]
    local most, active = 0, 0
    for _, event in ipairs(run("apply", text, "--jobs", "8", "--json"):events()) do
      if event.event == "build_started" then active = active + 1 end
      if event.event == "build_finished" then active = active - 1 end
      most = math.max(most, active)
    end
    assert.equal(3, most)
    assert.equal("a_1 b_1 c_1 d_1 e_1", names())
  end)

  it("applies the examples that come with it", function()
    local environment = { MONGODB_URI = url }
    local result = lunadex.run { "apply", "registry/models", env = environment }
    assert.equal(0, result.status, tostring(result))
    assert.equal(0, lunadex.run { "plan", "registry/models", "--detailed-exitcode", env = environment }.status)
    assert.equal("sessions_expiry sessions_token", names "sessions")
  end)

  it("goes on while a writer goes on", function()
    fill()
    local gate <close> = steps.hold(server, steps.scanning)
    local process = lunadex.start { "apply", lunadex.registry [[on "t" { index { "a", unique = true } }]], "--target",
      url }
    gate:reached()
    -- The build is under way, and stays so while this is written: it keeps nobody from it.
    for i = 1, 20 do server:insert(database, "t", { { a = 1000000 + i } }) end
    server:command(database, '{"update":"t","updates":[{"q":{"a":7},"u":{"$set":{"a":-7}}}]}')
    server:command(database, '{"delete":"t","deletes":[{"q":{"a":8},"limit":0}]}')
    assert.is_true(process:running())
    gate:release()
    assert.equal(0, lunadex.result(process:wait()).status)
    assert.is_true(indexes().a_1.unique)
    -- What was written meanwhile is in the index.
    local function counted(filter)
      return server:command(database, ('{"count":"t","query":%s,"hint":"a_1"}'):format(filter)).n
    end
    assert.same({ 20, 1, 0, 1019 }, { counted '{"a":{"$gt":1000000}}', counted '{"a":-7}',
      counted '{"a":{"$in":[7,8]}}', counted '{"a":{"$exists":true}}' })
  end)

  it("says of each option that means nothing here that it does not", function()
    local result = apply([[on "t" { index { "a" } }]], "--mode", "blocking", "--parallel-workers", "2",
      "--maintenance-work-mem", "1GB", "--drain-timeout", "1s", "--cancel-blockers", "x", "--terminate-blockers", "x",
      "--blockers-after", "1s", "--rename", "--repair")
    for _, option in ipairs { "mode", "parallel-workers", "maintenance-work-mem", "drain-timeout", "cancel-blockers",
      "terminate-blockers", "blockers-after", "rename", "repair" } do
      assert.matches("info: --" .. option .. ": ", result.stderr, 1, true)
    end
    assert.equal(9, select(2, result.stderr:gsub("info: ", "")))
    local plan = run("plan", [[on "u" { index { "a" } }]], "--mode", "blocking")
    assert.is_nil(plan.stdout:find("blocking writes", 1, true), plan.stdout)
  end)

  local unique_a = [[on "t" { index { "a", name = "u", unique = true } }]]

  local function refuses_nothing(result)
    assert.same({ nil, nil }, { indexes().u.unique, indexes().u.prepareUnique }, tostring(result))
    assert.matches("u stays, not unique yet; it refuses no duplicates", result.stdout .. result.stderr, 1, true)
    settles(unique_a)
  end

  it("leaves nothing that refuses writers after the last attempt at a conversion to unique", function()
    fill()
    create '{"name":"u","key":{"a":1},"prepareUnique":true}'
    local fault <close> = steps.hold(server, "failCommand", { failCommands = { "collMod" }, appName = "lunadex apply",
      errorCode = 11602 }, { times = 1 })
    local result = run("apply", unique_a, "--retries", "1", "--fail-on", "any")
    assert.equal(3, result.status, tostring(result))
    refuses_nothing(result)
    assert.is_truthy(fault)
  end)

  it("leaves nothing that refuses writers when a conversion to unique is interrupted", function()
    fill()
    local gate <close> = steps.hold(server, "hangAfterCollModIndexUniqueFullIndexScan")
    local process = lunadex.start { "apply", lunadex.registry(unique_a), "--target", url }
    gate:reached()
    assert.is_true(indexes().u.prepareUnique)
    process:kill "INT"
    shell.eventually("the conversion to be ended", function()
      return server:command("admin", { "aggregate", cursor = mongodb.document(), pipeline = {
        { ["$currentOp"] = { allUsers = true } },
        { ["$match"] = { ["command.collMod"] = "t", ["command.$db"] = database, killPending = true } },
      } }).cursor.firstBatch[1] ~= nil
    end)
    gate:release()
    local result = lunadex.result(process:wait(60))
    assert.equal(130, result.status, tostring(result))
    refuses_nothing(result)
  end)

  it("says what is in the way of others after a conversion to unique that did not end, and ends it", function()
    create [[{"name":"u","key":{"a":1},"prepareUnique":true}, {"name":"p","key":{"b":1},"prepareUnique":true},
      {"name":"s","key":{"c":1},"prepareUnique":true}]]
    local text = [[on "t" { index { "a", name = "u", unique = true }, index { "b", name = "p" } }]]
    local plan = run("plan", text).stdout
    for name, ends in pairs { u = "goes on with it", p = "takes that back" } do
      assert.matches(("warning unfinished%%-conversion: [^\n]*t %s: it refuses [^\n]*%s"):format(name, ends), plan)
    end
    assert.matches("stray t s: [^\n]*refuses new duplicates since a conversion to unique that did not end", plan)
    apply(text)
    local live = indexes()
    assert.same({ true, nil, nil }, { live.u.unique, live.u.prepareUnique, live.p.prepareUnique })
    assert.is_true(live.s.prepareUnique) -- nobody asked for anything to be done with it
  end)
end)
