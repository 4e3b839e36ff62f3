-- What a plan says of a real MongoDB database, and of databases of both kinds at once.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local pg = require "support.postgres"

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

  it("may speak of a collection that is not there yet", function()
    local result = plan [[on "nowhere" { index { "a" } }]]
    assert.equal(0, result.status, tostring(result))
    assert.matches("create nowhere a_1", result.stdout, 1, true)
    -- Nothing is declared of it, so nothing has to be there.
    assert.equal(0, plan([[on "nowhere" { description = "later" }]]).status)
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
    assert.matches("--mode: no build of MongoDB blocks", result.stdout, 1, true)
  end)

  it("can be narrowed", function()
    local text = [[on "t" { index { "a", name = "x" } } on "u" { index { "a", name = "y" } }]]
    assert.equal(1, plan(text, "--only", "u", "--json"):json().summary.create)
    assert.equal("x", plan(text, "--only", "x", "--json"):json().changes[1].name)
    local result = plan(text, "--only", "x", "--only", "xy")
    assert.equal(64, result.status)
    assert.matches('--only xy matches nothing\nDid you mean "x"?', result.stderr, 1, true)
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
