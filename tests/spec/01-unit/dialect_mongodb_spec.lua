-- MongoDB's names, steps, schedules and snapshots: pure policy, on plans and catalogs made by hand. What the server
-- makes of them is tests/spec/07-mongodb.
local naming = require "lunadex.mongodb.name"
local Plan = require("lunadex.plan").Plan
local schedule = require "lunadex.mongodb.schedule"
local snapshot = require "lunadex.mongodb.snapshot"
local steps = require "lunadex.mongodb.steps"

describe("names on MongoDB", function()
  local function choose(keys, taken)
    return naming.choose({ keys = keys }, "c", function(name) return taken and taken[name] end)
  end

  it("that nobody gave are those that drivers make", function()
    assert.equal("a_1_b.c_-1", choose { { column = "a" }, { column = "b.c", descending = true } })
    assert.equal("title_text_body_text", choose { { column = "title", opclass = "text" },
      { column = "body", opclass = "text" } })
    assert.equal("at_2dsphere_b_2", choose { { column = "at", opclass = "2dsphere" }, { column = "b", opclass = "2" } })
    assert.equal("$**_1", choose { { column = "$**" } })
    assert.equal("a_1_3", choose({ { column = "a" } }, { a_1 = true, a_1_2 = true }))
  end)

  it("of replacements lead back", function()
    local taken = {}
    for _, name in ipairs { "x_ldx", "x_ldx2", "x_ldx3" } do
      assert.equal(name, naming.replacement("x", function(each) return taken[each] end))
      assert.equal("x", naming.replaced(name))
      taken[name] = true
    end
    assert.is_nil(naming.replaced "x")
    assert.is_nil(naming.replaced "_ldx")
  end)
end)

local function relation(name, indexes)
  local result = { name = name, display = name, space = name, kind = "collection" }
  function result.indexes() return indexes or {} end
  return result
end

local function live(name, fields, more)
  fields.kind, fields.method = "index", ""
  local result = { name = name, fields_ = fields, text = "…", valid = true, live = true, extension_owned = false,
    clustered = false }
  function result:fields() return self.fields_ end
  function result:matches() return self.same or false end
  for key, value in pairs(more or {}) do result[key] = value end
  return result
end

describe("steps on MongoDB", function()
  local a = { { column = "a" } }

  -- "build n, drop o; undo build o"
  local function text(change, options)
    local parts = {}
    change.entry = change.entry or { fields = { kind = "index", method = "", keys = a }, commit_quorum = "2" }
    change.relation, change.on = "c", change.on or relation("c", { change.fact and change.fact.live })
    local set = { fields = function() return change.entry.fields end }
    local made = steps.of(change, steps.context { set = set, decided = {}, dialect_state = {} }, options or {})
    for i, step in ipairs(made) do
      assert.equal("c", step.relation)
      if step.fields then assert.equal(step.name, step.fields.name) end
      parts[i] = step.kind .. " " .. step.name
      for _, undo in ipairs(step.undo or {}) do parts[i] = parts[i] .. "; undo " .. undo.kind .. " " .. undo.name end
    end
    return table.concat(parts, ", "), made
  end

  local function findings(change, options)
    change.estimate, change.relation = { seconds = 40 }, "c"
    change.on = change.on or relation("c", { change.fact and change.fact.live })
    local plan = { options = options or {}, set = {}, decided = { change }, dialect_state = {},
      connection = { ask = function() return nil, {} end } }
    local found = steps.findings(change, plan)
    return found[1] and found[1].level .. " " .. found[1].rule, found[1]
  end

  it("build, alter and drop", function()
    local shown, made = text { action = "create", name = "n" }
    assert.equal("build n", shown)
    assert.equal("2", made[1].commit_quorum)
    assert.equal("drop n", (text { action = "drop", live_name = "n", fact = { live = live("n", { keys = a }) } }))
    local prepared = { live = live("n", { keys = a, with = { { "prepareUnique", "true" } } }) }
    assert.equal("build n", (text { action = "wait", name = "m", live_name = "n", fact = prepared,
      entry = { fields = { kind = "index", method = "", keys = a, unique = true } } }))
    -- Asked for as it is declared it would be refused, or refuse duplicates for somebody who is gone.
    assert.equal("alter n", (text { action = "wait", name = "m", live_name = "n", fact = prepared }))
    for _, action in ipairs { "wait", "alter" } do
      local old = live("n", { keys = a, with = { { "expireAfterSeconds", "5" } } })
      shown, made = text { action = action, name = "m", live_name = "n", fact = { live = old } }
      assert.equal("alter n", shown)
      assert.same(old:fields(), made[1].old_fields)
    end
  end)

  it("hide what is not wanted as it is", function()
    local _, made = text { action = "alter", live_name = "n", hide = true, entry = {},
      fact = { live = live("n", { keys = a, with = { { "expireAfterSeconds", "5" } } }) } }
    assert.same({ { "expireAfterSeconds", "5" }, { "hidden", "true" } }, made[1].fields.with)
    assert.is_true(steps.is_hidden(live("n", { keys = a, with = { { "hidden", "true" } } })))
    assert.is_false(steps.is_hidden(live("n", { keys = a })))
  end)

  it("replace side by side under another name, and back the next time", function()
    local change = { action = "replace", name = "n", beside = "n_ldx", fact = { live = live("n", { keys = a }) } }
    assert.equal("build n_ldx, drop n", (text(change)))
    local rule, finding = findings(change)
    assert.equal("warning other-name", rule)
    assert.matches("n_ldx", finding.message)
    change = { action = "replace", name = "n", beside = "n", fact = { live = live("n_ldx", { keys = a }) } }
    assert.equal("build n, drop n_ldx", (text(change)))
    assert.is_nil(findings(change))
    -- Built already when the last run ended.
    local built = live("n_ldx", { keys = a }, { same = true })
    change = { action = "replace", name = "n", beside = "n_ldx", resume = true, fact = { live = built },
      on = relation("c", { built, live("n", { keys = a }) }) }
    assert.equal("build n_ldx, drop n", (text(change)))
    assert.is_nil(findings(change))
    change.action, change.live_name = "wait", "n_ldx"
    assert.equal("build n_ldx, drop n", (text(change)))
  end)

  it("wait for what somebody builds under the name, and is something else", function()
    local theirs = live("n", { keys = a }, { valid = false })
    local change = { action = "replace", name = "n", live_name = "n", beside = "n_ldx2", builder = "mongosh",
      fact = { live = theirs }, left = { live("n_ldx3", { keys = a }) } }
    assert.equal("drop n_ldx3, build n_ldx2, await n, drop n", (text(change)))
    change.estimate, change.relation = {}, "c"
    local found = steps.findings(change, { options = {}, set = {}, decided = {}, dialect_state = {},
      connection = { ask = function() return nil, {} end } })
    assert.same({ "other-name", "other-build", "left" }, { found[1].rule, found[2].rule, found[3].rule })
    assert.matches("n is being built by mongosh, but as …", found[2].message, 1, true)
    theirs.same = true
    assert.equal("drop n_ldx3, await n, drop n, build n; undo build n", (text(change)))
  end)

  it("drop first what the server takes for the same, if that is allowed", function()
    local change = { action = "replace", name = "n", beside = "n_ldx",
      fact = { live = live("n", { keys = a }, { same = true }) } }
    assert.equal("drop n, build n; undo build n", (text(change)))
    local rule, finding = findings(change)
    assert.equal("error gap", rule)
    assert.is_true(finding.refused)
    assert.matches("for about 40 s", finding.message)
    assert.matches("--allow-gap", finding.hint, 1, true)
    assert.equal("warning gap", (findings(change, { allow_gap = true })))
    change.fact.live = live("old", { keys = a }, { same = true })
    change.beside = "n"
    assert.equal("drop old, build n; undo build old", (text(change)))
    change.beside = "n_ldx"
    assert.equal("drop old, build old; undo build old", (text(change)))
  end)

  it("know that a collection has one text index", function()
    local words = { { column = "t", opclass = "text" } }
    local entry = { fields = { kind = "index", method = "", keys = words } }
    local change = { action = "replace", name = "n", beside = "n_ldx", entry = entry,
      fact = { live = live("n", { keys = words }) } }
    assert.equal("drop n, build n; undo build n", (text(change)))
    assert.equal("error gap", (findings(change)))
    change = { action = "create", name = "n", entry = entry, relation = "c", definition = '{ t: "text" }',
      on = relation("c", { live("x", { keys = words }) }) }
    assert.equal("error one-text-index", (findings(change)))
    change.on = relation("c", { live("x", { keys = a }) })
    assert.is_nil(findings(change))
  end)

  it("say once what has no counterpart", function()
    local function rules(options)
      local found = {}
      for i, finding in ipairs(steps.without_counterpart(options)) do
        assert.same({ "info", "no-counterpart" }, { finding.level, finding.rule })
        found[i] = finding.message:match "^[%w-]+"
      end
      return table.concat(found, " ")
    end
    assert.equal("", rules { mode = "auto", cancel_blockers = {} })
    assert.equal("--rename --mode --cancel-blockers", rules { rename = true, mode = "blocking",
      lock_timeout = 5, cancel_blockers = { "x" } })
  end)
end)

describe("a schedule on MongoDB", function()
  -- "t_a 10" is a build of ten seconds on t.
  local function change(text, more)
    local collection, name, seconds = text:match "^(%w+)_(%w+) ?([%d.]*)$"
    local result = { action = "create", name = name, relation = collection, entry = { fields = {} },
      estimate = { seconds = tonumber(seconds) } }
    for key, value in pairs(more or {}) do result[key] = value end
    return result
  end

  local function plan(changes, limit)
    return setmetatable({ dialect_state = { builds_at_once = limit }, planned = changes }, Plan)
  end

  local function order(changes, jobs, limit)
    local parts = {}
    for i, step in ipairs(schedule.of(plan(changes, limit)):rehearse(jobs)) do
      parts[i] = ("%g %s"):format(math.floor(step.at + 0.5), step.item.change.name)
    end
    return table.concat(parts, ", ")
  end

  local unique = { entry = { fields = { unique = true } } }

  it("builds side by side, the longest first, critical ones before", function()
    assert.equal("0 c, 0 b, 9 a", order({ change "t_a 1", change "t_b 9", change "t_c 10" }, 2))
    assert.equal("0 a, 0 c, 1 b", order({ change("t_a 1", { critical = true }), change "t_b 9", change "u_c 10" }, 2))
  end)

  it("begins no more than the server builds", function()
    local changes = {}
    for i = 1, 5 do changes[i] = change(("t_i%d 10"):format(i)) end
    assert.equal("0 i1, 0 i2, 0 i3, 10 i4, 10 i5", order(changes, 8))
    assert.equal("0 i1, 10 i2, 20 i3, 30 i4, 40 i5", order(changes, 8, 1))
    local made = schedule.of(plan(changes, 1))
    made:next(0)
    assert.equal("the server builds 1 at a time", made:reason(made.items[2]))
  end)

  it("changes in place before anything is built on the collection, and drops last", function()
    local alter, drop = { action = "alter" }, { action = "drop" }
    assert.equal("0 x, 0 b, 1 y, 2 a, 7 d", order({ change("t_d 1", drop), change "t_a 5", change("t_x 1", alter),
      change("t_y 1", alter), change "u_b 9" }, 2))
    local made = schedule.of(plan { change("t_d 1", drop), change "t_a 5", change("t_x 1", alter) })
    assert.equal("after a: it is dropped when the builds of its collection are done", made:reason(made.items[1]))
    assert.equal("after x: nothing is changed in place while its collection has builds", made:reason(made.items[2]))
  end)

  it("begins unique builds when the others of their collection are under way", function()
    assert.equal("0 c, 0 a, 3 b, 3 u", order({ change("t_u 9", unique), change "t_a 3", change "t_b 3",
      change "v_c 3.1" }, 2))
    -- A critical one does not wait for others; they wait for it.
    local critical = { entry = unique.entry, critical = true }
    assert.equal("0 u, 0 c, 9 a, 9 b", order({ change("t_u 9", critical), change "t_a 3", change "t_b 3",
      change "v_c 9" }, 2))
    assert.equal("0 u, 0 v", order({ change("t_u 9", unique), change("t_v 9", unique) }, 2))
  end)

  it("replaces before it creates, where what is created takes the last room", function()
    local indexes = {}
    for i = 1, 63 do indexes[i] = live("i" .. i, { keys = { { column = "k" .. i } } }) end
    local function order_with(count, replaced, created)
      local on, list = relation("t", { table.unpack(indexes, 1, count) }), {}
      for i, more in ipairs(replaced) do
        list[i] = change(("t_r%d 5"):format(i), { action = "replace", on = on, fact = { live = indexes[i] },
          critical = more.critical, entry = { fields = { keys = {}, unique = more.unique } } })
      end
      list[#list + 1] = change("t_c 9", { critical = created.critical, on = on,
        entry = { fields = { keys = {}, unique = created.unique } } })
      local made = plan(list)
      made.decided = list
      local parts = {}
      for i, step in ipairs(schedule.of(made):rehearse(3)) do
        parts[i] = ("%g %s"):format(math.floor(step.at + 0.5), step.item.change.name)
      end
      return table.concat(parts, ", ")
    end
    assert.equal("0 c, 0 r1, 0 r2", order_with(61, { {}, {} }, {}))
    assert.equal("0 c, 0 r1, 5 r2", order_with(62, { {}, {} }, {}))
    for _, kind in ipairs { {}, { unique = true }, { critical = true }, { unique = true, critical = true } } do
      assert.equal("0 r1, 5 r2, 10 c", order_with(63, { {}, {} }, kind))
      assert.equal("0 r1, 5 c", order_with(63, { kind }, {}))
    end
  end)

  it("builds together, in as many commands as there are jobs, what does not fit into the server's memory", function()
    local asked
    local function prepared(changes, jobs, megabytes, stored)
      local made = plan(changes)
      asked = {}
      local answers = { hostInfo = { system = { memLimitMB = megabytes } }, aggregate = { bytes = stored },
        getParameter = { maxNumActiveUserIndexBuilds = 3 } }
      made.connection = { ask = function(_, command)
        asked[#asked + 1] = command
        return { answers[command] }
      end }
      schedule.prepare(made, jobs)
      local parts = {}
      for i, step in ipairs(schedule.of(made):rehearse(jobs)) do
        parts[i] = ("%g %s"):format(math.floor(step.at + 0.5), step.item.change.name)
      end
      return table.concat(parts, ", "), made
    end
    local function some(more)
      local list = { change("t_u 2", unique), change("t_z 7", { critical = true }) }
      for name in ("abcde"):gmatch "." do
        list[#list + 1] = change("t_" .. name .. " " .. name:byte() - 90)
      end
      for _, each in ipairs(list) do each.estimate.table_bytes = more end
      return list
    end
    local changes = some(3e9)
    local order_of, made = prepared(changes, 2, 1000, 2e9)
    assert.equal("getParameter hostInfo aggregate", table.concat(asked, " "))
    -- e and d are the longest: e, b, a in one command, d, c in the other.
    local function together(one)
      local names = {}
      for i, each in ipairs(made.dialect_state.together[one] or {}) do names[i] = each.name end
      return table.concat(names, " ")
    end
    assert.same({ "e b a", "d c", "", "" },
      { together(changes[7]), together(changes[6]), together(changes[1]), together(changes[2]) })
    assert.equal("0 z, 0 e, 7 d, 26 a, 26 b, 26 c, 26 u", order_of)
    -- All in one, where one is to be built at a time.
    changes = some(3e9)
    made = select(2, prepared(changes, 1, 1000, 2e9))
    assert.equal("e d c b a", together(changes[7]))
    -- On disk it is less; and then nothing is asked where it could not be more.
    changes = some(3e9)
    made = select(2, prepared(changes, 2, 1000, 9e8))
    assert.equal("", together(changes[7]))
    prepared(some(9e8), 2, 1000, 9e8)
    assert.equal("getParameter hostInfo", table.concat(asked, " "))
  end)

  it("begins each of thousands of changes once, whatever depends on what", function()
    math.randomseed(3)
    local changes, seen, count = {}, {}, 0
    for i = 1, 2000 do
      local kind = math.random(6)
      changes[i] = change(("t%d_i%d %d"):format(math.random(100), i, math.random(50)), kind == 1 and unique
        or kind == 2 and { action = "drop" } or kind == 3 and { action = "alter" }
        or { critical = math.random(2) == 1, entry = { fields = { unique = math.random(3) == 1 } } })
    end
    for _, step in ipairs(schedule.of(plan(changes)):rehearse(4)) do
      assert.is_nil(seen[step.item])
      seen[step.item], count = true, count + 1
    end
    assert.equal(2000, count)
  end)
end)

describe("a snapshot of MongoDB", function()
  local function text(...)
    local relations = { ... }
    return snapshot.text { relations = function()
      local i = 0
      return function()
        i = i + 1
        return relations[i]
      end
    end }
  end

  local function one(fields)
    fields.keys = fields.keys or { { column = "a" } }
    local written = text(relation("c", { live("x", fields) }))
    return (written:match("%{\n(.*)\n%}\n$"):gsub("%s+", " "):gsub(", }", " }"):gsub("^ ", ""))
  end

  it("writes keys as people would", function()
    assert.equal([[index { "a", desc "b.c", { at = "2dsphere" }, key { "d.e", type = "hashed" }, { f = 2.5 }, ]]
      .. [[name = "x" },]], one { keys = { { column = "a" }, { column = "b.c", descending = true },
        { column = "at", opclass = "2dsphere" }, { column = "d.e", opclass = "hashed" },
        { column = "f", opclass = "25e-1" } } })
  end)

  it("writes options in words", function()
    assert.equal([[index { "a", name = "x", unique = true, sparse = true, ]]
      .. [[collation = { locale = "en", strength = 2 }, expire_after = "30d", hidden = true },]], one {
        unique = true, with = { { "expireAfterSeconds", "2592000" }, { "hidden", "true" } },
        traits = { { "sparse", "true" }, { "collation", '{"locale":"en","caseLevel":false,"caseFirst":"off",'
          .. '"strength":2,"numericOrdering":false,"alternate":"non-ignorable","maxVariable":"punct",'
          .. '"normalization":false,"backwards":false}' } },
      })
    assert.equal([[index { { t = "text" }, name = "x", weights = { t = 10 }, default_language = "german" },]], one {
      keys = { { column = "t", opclass = "text" } }, with = { { "weights", '{"t":10}' },
        { "default_language", '"german"' } } })
    -- What this locale has of its own goes without saying, and not what others have.
    for backwards, told in pairs { ["true"] = '{ locale = "fr_CA" }',
      ["false"] = '{ locale = "fr_CA", backwards = false }' } do
      local collation = ('{"locale":"fr_CA","strength":3,"backwards":%s}'):format(backwards)
      assert.is_truthy(one { traits = { { "collation", collation } } }:find("collation = " .. told, 1, true))
    end
  end)

  it("writes filters as tables where that says the same", function()
    local function partial(json) return one({ where = json }):match "partial = (.*) },$" end
    assert.equal('{ a = null, b = { ["$gt"] = 5, ["$lt"] = 9.0 }, ["c.d"] = { ["$in"] = { "x", 1.5 } } }',
      partial '{"a":null,"b":{"$gt":5,"$lt":9.0},"c.d":{"$in":["x",1.5]}}')
    assert.equal('{ at = { ["$gt"] = { ["$date"] = "2024-01-01T00:00:00Z" } } }',
      partial '{"at":{"$gt":{"$date":"2024-01-01T00:00:00Z"}}}')
    assert.equal("{}", partial "{}")
    -- The order of fields would get lost, and an empty list is no object.
    assert.equal('[[{"b":1,"a":2}]]', partial '{"b":1,"a":2}')
    assert.equal('[[{"a":{"y":1,"x":2}}]]', partial '{"a":{"y":1,"x":2}}')
    assert.equal("{ a = { x = 1, y = 2 } }", partial '{"a":{"x":1,"y":2}}')
    assert.equal('[[{"a":[]}]]', partial '{"a":[]}')
  end)

  it("gives back what it wrote", function()
    local registry, json = require "lunadex.registry", require "lunadex.mongodb.json"
    for _, where in ipairs {
      '{"a":{"$gt":5,"$lte":1e+300},"b":true}', '{"a":{"$date":"2024-01-01T00:00:00Z"}}', '{"$or":[{"b":1},{"a":2}]}',
      '{"a":"quo\\"te \\\\ ]] \\u0001 ü"}', '{"and":1,"end.x":2,"]]":3}', '{"a":{"b":1,"a":1}}', '{"a":{"$in":[]}}',
      '{"a":9223372036854775807,"b":-0.5,"c":1.0}',
    } do
      local written = text(relation("c", { live("x", { where = where, keys = { { column = "a" } } }) }))
      local loaded, errors = registry.parse(written, "x.lua", { target = "mongodb://x" })
      assert(loaded, errors and tostring(errors[1]) .. written)
      assert.equal(json.text(json.parse(where)), loaded.databases[1].entries[1].fields.where)
    end
  end)

  it("leaves out what is being built, and what is always there", function()
    local inherits = relation("d", { live("y", { keys = { { column = "a" } } }),
      live("z", { keys = { { column = "b" } }, traits = { { "collation", '{"locale":"en"}' } } }),
      live("zz", { keys = { { column = "c" } }, traits = { { "collation", '{"locale":"de"}' } } }) })
    inherits.collation = '{"locale":"de"}'
    local written, warnings = text(relation("c", { live("x", { keys = { { column = "a" } } }, { valid = false }),
      live("_id_", { keys = { { column = "_id" } } }, { extension_owned = true }) }), relation("empty"), inherits)
    assert.equal(1, #warnings)
    assert.is_truthy(written:find("-- x is being built and left out", 1, true))
    for _, absent in ipairs { "_id_", "empty" } do assert.is_nil(written:find(absent, 1, true)) end
    assert.is_truthy(written:find('index { "a", name = "y", collation = { locale = "simple" } }', 1, true))
    assert.is_truthy(written:find('index { "b", name = "z", collation = { locale = "en" } }', 1, true))
    assert.is_truthy(written:find('index { "c", name = "zz", collation = { locale = "de" } }', 1, true))
  end)

  it("writes as JSON what words cannot say", function()
    assert.equal([==[index { spec = [[{"key":{"a":"geoHaystack"},"name":"x","bucketSize":1}]] },]==], one {
      keys = { { column = "a", opclass = "geoHaystack" } }, with = { { "bucketSize", "1" } } })
  end)
end)
