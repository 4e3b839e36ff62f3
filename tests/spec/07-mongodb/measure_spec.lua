-- What is measured.
local engine = require "support.engine"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"

describe("on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, db

  setup(function()
    server = mongodb.shared()
    database = server:create_database()
    server:fill(database, "users", 3000, { email = { ["$concat"] = { "user", { ["$toString"] = "$n" } } },
      city = { ["$toString"] = { ["$mod"] = { "$n", 3 } } } })
    db = engine.open(server:url(database))
  end)
  teardown(function() db:close() end)

  it("sizes, use and the size of an index to be are measured", function()
    server:command(database, [[{ "createIndexes": "users", "indexes": [{ "key": { "email": 1 }, "name": "email.1" },
      { "key": { "city": 1 }, "name": "city_1" }] }]])
    for _ = 1, 3 do
      server:command(database, '{ "find": "users", "filter": { "email": "user7" } }')
    end
    local users = assert(db:run "catalog"):relation(nil, "users")
    local by = {}
    for _, index in ipairs(users:indexes()) do by[index.name] = index end
    local function estimate(keys, more)
      local fields = { kind = "index", relation = "users", method = "", keys = keys }
      for name, value in pairs(more or {}) do fields[name] = value end
      return { relation = users, fields = fields }
    end
    server:command(database, { "profile", 2 })
    local measured = assert(db:run("measure", {
      { relation = users, index = by["email.1"] }, { relation = users, index = by.city_1 },
      estimate { { column = "email" } }, estimate { { column = "city" } },
      estimate({ { column = "email" } }, { where = '{"city": "1"}' }),
      estimate { { column = "none", opclass = "text" } },
    }))
    server:command(database, { "profile", 0 })
    -- Of the collection as a whole, and for the filter.
    local samples = { ["command.pipeline.0.$sample"] = { ["$exists"] = true } }
    assert.equal(2, server:command(database, { "count", "system.profile", query = samples }).n)
    local email, city = measured[1], measured[2]
    assert.equal(3000, email.rows)
    assert.is_true(email.table_bytes > 100000)
    assert.equal(3, email.scans)
    assert.equal(0, city.scans)
    assert.is_true(email.scans_since >= 0 and email.scans_since < 600)
    assert.is_true(email.index_bytes > 4096)
    local guess = measured[3].index_bytes
    assert.is_true(guess > 30000 and guess < 120000, guess)
    assert.is_true(measured[4].index_bytes < guess / 2)
    assert.is_true(math.abs(measured[5].index_bytes * 3 / guess - 1) < 0.3)
    assert.equal(0, measured[6].index_bytes)
  end)

  it("how long a build takes is guessed by what it has to do, and stands in a plan", function()
    server:fill(database, "posts", 2000, { text = { ["$concat"] = { "one two three four five six seven eight nine ten ",
      { ["$toString"] = "$n" } } }, tags = { "$n", { ["$add"] = { "$n", 1 } }, { ["$add"] = { "$n", 2 } } },
      sub = { a = "$n", b = { c = "$n" } } })
    local posts = assert(db:run "catalog"):relation(nil, "posts")
    local function entries(column, opclass)
      local fields = { kind = "index", relation = "posts", method = "",
        keys = { { column = column, opclass = opclass } } }
      return assert(db:run("measure", { { relation = posts, fields = fields } }))[1].entries
    end
    assert.equal(2000, entries "text")
    assert.equal(22000, entries("text", "text"))
    assert.equal(6000, entries "tags")
    assert.equal(4000, entries "sub.$**")
    assert.equal(2000, entries "sub.b.$**")
    assert.equal(14000, entries "$**")
    local plan = lunadex.run { "plan", "--json", "--target", server:url(database), lunadex.registry [[on "posts" {
      index { "text", name = "plain" }, index { { text = "text" }, name = "words" }, index { "$**", name = "all" },
    }]] }:json()
    local seconds = {}
    for _, change in ipairs(plan.changes) do seconds[change.name] = change.estimate.seconds end
    assert.is_true(seconds.words > 5 * seconds.plain, "words " .. seconds.words .. ", plain " .. seconds.plain)
    assert.is_true(seconds.all > 5 * seconds.plain)
  end)
end)
