-- Rules on MongoDB: what differs from PostgreSQL.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"

describe("rules on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = mongodb.shared()
    database = server:create_database()
    url = server:url(database)
    server:fill(database, "users", 100, { email = { ["$toString"] = "$n" } })
  end)

  local function run(command, text, ...)
    return lunadex.run { command, lunadex.registry(text), "--target", url, ... }
  end

  local function check(text, ...)
    local result, list = run("check", text, "--json", ...), {}
    for _, finding in ipairs(result:json().findings) do
      if finding.verdict and not finding.allowed then
        list[#list + 1] = ("%s %s %s"):format(finding.level, finding.rule, finding.name or finding.relation or "-")
      end
    end
    return list
  end

  local function names()
    local set = {}
    for _, spec in ipairs(server:indexes(database, "users")) do set[spec.name] = true end
    return set
  end

  it("of a registry block a build, and the rest is made", function()
    local text = [[
rule "no-hash" { on = { "create" }, check = function(change, context)
  if change.index.keys[1].opclass == "hashed" then return "block", context.driver .. " " .. change.estimate.rows end
end }
on "users" { index { { email = "hashed" }, name = "h" }, index { "n", name = "n" } } ]]
    local result = run("apply", text)
    assert.equal(6, result.status, tostring(result))
    assert.matches("no-hash: ", result.stderr, 1, true)
    assert.matches("mongodb 100", result.stderr, 1, true)
    local live = names()
    assert.is_nil(live.h)
    assert.truthy(live.n)
  end)

  it("keep what may be doing the work of what is not made as it is", function()
    server:command(database, '{ "createIndexes": "users", "indexes": [{ "key": { "email": 1 }, "name": "old" }] }')
    local text = [[ rule "r" { on = "create", check = function() return "block", "no" end }
      on "users" { index { "n", name = "n" } } ]]
    for _, option in ipairs { "--hide-first", "--drop-strays" } do
      local result = run("apply", text, option, "--without", "used-index-drop")
      assert.equal(6, result.status, tostring(result))
      assert.matches("old: kept: n is not made", result.stderr, 1, true)
      assert.is_nil(server:indexes(database, "users")[2].hidden)
    end
  end)

  it("amend what this database has, and nothing else", function()
    local text = [[ rule "r" { check = function() return { amend = { %s } } end }
      on "users" { index { "n", name = "n" } } ]]
    local shown = run("apply", text:format 'commit_quorum = "votingMembers"', "--dry-run").stdout
    assert.matches("votingMembers", shown, 1, true)
    local result = run("plan", text:format 'mode = "blocking"')
    assert.equal(6, result.status, tostring(result))
    assert.matches('amend cannot change "mode"', result.stdout, 1, true)
  end)

  it("on \"overlap\" are asked about that with whose keys another index begins", function()
    server:command(database, [[{ "createIndexes": "users", "indexes": [{ "name": "live", "key": { "n": 1, "x": 1 } },
      { "name": "kept", "key": { "kept": 1 } }] }]])
    assert.same({ "warning r a", "warning r as_live" }, check [[
      rule "r" { on = "overlap", check = function() return "warn", "asked" end }
      on "users" { index { "email", name = "a" }, index { { email = "hashed" }, name = "b" }, index { "c", name = "c" },
        index { { email = -1 }, { c = 1 }, name = "d", sparse = true },
        index { "n", name = "as_live", sparse = true }, index { "kept", name = "kept" } }
      on "others" { index { "email", name = "elsewhere" } } ]])
  end)

  it("redundant-index knows what an index leaves out, and what it does beside", function()
    assert.same({ "warning redundant-index a" }, check [[ on "users" { index { "n", name = "a" },
      index { "n", "email", name = "b" } } ]])
    for _, text in ipairs {
      [[ index { "n", name = "a" }, index { "n", "email", name = "b", sparse = true } ]],
      [[ index { "n", name = "a", expire_after = "30d" }, index { "n", "email", name = "b" } ]],
      [[ index { "n", name = "a", collation = { locale = "en" } }, index { "n", "email", name = "b" } ]],
      [[ index { { n = "hashed" }, name = "a" }, index { { n = "hashed" }, { email = 1 }, name = "b" } ]],
      [[ index { "n", name = "a", partial = { n = 1 } }, index { "n", "email", name = "b", partial = { n = 2 } } ]],
    } do
      assert.same({}, check(('on "users" { %s }'):format(text)), text)
    end
  end)

  it("disk-space asks the server how much room there is", function()
    local text = [[ on "users" { index { "n", name = "n" } } rule "disk-space" { options = { reserve = %q } } ]]
    assert.same({ "error disk-space -" }, check(text:format "900000TB"))
    assert.same({}, check(text:format "0B"))
  end)

  it("unused-index and used-index-drop go by what the server counts", function()
    server:command(database, [[{ "createIndexes": "users", "indexes": [{ "key": { "n": 1 }, "name": "n" },
      { "key": { "email": 1 }, "name": "e" }, { "key": { "x": 1 }, "name": "x", "expireAfterSeconds": 99999 },
      { "key": { "h": 1 }, "name": "h", "hidden": true }] }]])
    server:command(database, '{ "find": "users", "filter": { "n": 7 } }')
    local text = [[ on "users" { index { "n", name = "n" }, index { "email", name = "e" },
      index { "x", name = "x", expire_after = 99999 }, index { "h", name = "h", hidden = true } } ]]
    assert.same({ "warning unused-index e" }, check(text .. [[ rule "unused-index" { options = { since = 0 } } ]]))
    assert.same({}, check(text))
    local result = run("apply", [[ on "users" {} ]], "--drop-strays")
    assert.equal(6, result.status, tostring(result))
    local live = names()
    assert.truthy(live.n)
    assert.is_nil(live.e)
  end)

  it("long-transaction sees open transactions", function()
    local text = [[ on "users" { index { "n", name = "n" } }
      rule "long-transaction" { options = { longer_than = 0 } } ]]
    assert.same({}, check(text))
    local transaction = server:transaction(database, '{ "find": "users" }')
    assert.same({ "warning long-transaction -" }, check(text))
    assert.same({}, check((text:gsub("longer_than = 0", "longer_than = 3600"))))
    local result = run("check", [[ on "users" {}
      rule "r" { on = "plan", check = function(_, context)
        local oldest = context.transactions[1]
        return "warn", ("pid %s, user %q"):format(oldest.pid, oldest.user)
      end } ]])
    assert.matches('pid nil, user ""', result.stdout, 1, true)
    transaction:abort()
  end)

  it("naming", function()
    local text = [[ on "users" { index { "n", name = "users_n" }, index { "email", name = "by_email" },
      index { "x" } } ]]
    assert.same({}, check(text))
    assert.same({ "warning naming by_email" }, check(text .. [[ rule "naming" {} ]]))
    assert.same({}, check(text .. [[ rule "naming" { options = { pattern = "_[a-z]+$" } } ]]))
    -- What would take for ever to match, is stopped like any rule.
    local result = run("check", text .. [[ rule "naming" { options = { pattern = "^(.-)x(.-)x(.-)x(.-)x(.-)x(.-)x$" } }
      on "users" { index { "long", name = ("x"):rep(100) .. "y" } } ]])
    assert.equal(6, result.status, tostring(result))
    assert.matches("the rule failed: .*naming.lua.*: does not come to an end: stopped after 10 million", result.stdout)
  end)

  it("too-many-indexes", function()
    local text = [[ on "users" { index { "n" }, index { "email" } }
      rule "too-many-indexes" { options = { most = %d } } ]]
    -- That on _id is one as well.
    assert.same({ "warning too-many-indexes users" }, check(text:format(2)))
    assert.same({}, check(text:format(3)))
    server:command(database, '{ "createIndexes": "users", "indexes": [{ "key": { "x": 1 }, "name": "live" }] }')
    assert.same({ "warning too-many-indexes users" }, check(text:format(3)))
  end)

  it("build-window", function()
    local hour = os.date("*t").hour
    local function at(from, to, larger)
      return ([[ on "users" { index { "n", name = "n" } } rule "build-window" { options = { larger_than = %q,
        from = "%02d:00", to = "%02d:00" } } ]]):format(larger, (hour + from) % 24, (hour + to) % 24)
    end
    assert.same({ "info build-window n" }, check(at(3, 5, "1B")))
    assert.same({}, check(at(-2, 2, "1B")))
    assert.same({}, check(at(3, 5, "1GB")))
    local result = run("apply", at(3, 5, "1B"))
    assert.equal(0, result.status, tostring(result))
    assert.is_nil(names().n)
  end)

  it("backfill-first", function()
    local text = [[ on "users" { index { "seen", name = "seen" }, index { "n", name = "n" } }
      backfill "fill" { on = "users", where = { seen = { ["$exists"] = false } }, set = { seen = true },
        before = "seen" } ]]
    assert.same({ "info backfill-first seen" }, check(text))
    local result = run("apply", text)
    assert.equal(0, result.status, tostring(result))
    assert.same({ nil, true }, { names().seen, names().n })
    result = lunadex.run { "backfill", "run", lunadex.registry(text), "--target", url }
    assert.equal(0, result.status, tostring(result))
    assert.same({}, check(text))
    assert.equal(0, run("apply", text).status)
    assert.truthy(names().seen)
  end)

  it("unserved-query is silent of what an index serves, and of what none is expected to", function()
    server:command(database, '{ "createIndexes": "users", "indexes": [{ "key": { "email": 1 }, "name": "e" }] }')
    local text = [[ on "users" { index { "email", name = "e" },
      query { { email = "x" }, name = "a", expect_index = true },
      query { { email = "x" }, name = "b", expect_index = "e" },
      query { { x = 1 }, name = "c" }, query { { %s = 1 }, name = "d", expect_index = true } } ]]
    assert.same({ "warning unserved-query users" }, check(text:format "x"))
    assert.same({}, check(text:format "email"))
  end)

  it("are asked about queries when it is known what is held back", function()
    local text = [[
      rule "no-bad" { on = "create", check = function(change) return change.name == "bad" and "block" or nil, "no" end }
      rule "r" { on = "relation", check = function(relation) local _ = relation.queries[1].served end } -- too early
      on "users" {
        index { "email", name = "good", partial = { n = 1 } }, index { "email", name = "bad" },
        query { { email = "x" }, name = "q", expect_index = "good" },
        query { { email = "x", n = 1 }, name = "fine", expect_index = "good" },
      } ]]
    local result = run("plan", text)
    assert.matches('the query "q"', result.stdout, 1, true)
    assert.matches('no index serves the query "q"', result.stdout, 1, true)
    assert.is_nil(result.stdout:find('"fine"', 1, true), tostring(result))
  end)

  it("too-many-indexes speaks of documents", function()
    assert.matches("each of them is written with every document", run("check", [[ on "users" { index { "n" },
      index { "email" } } rule "too-many-indexes" { options = { most = 1 } } ]]).stdout, 1, true)
  end)

  it("a check of its own is left out, or allowed with its reason", function()
    local text = [[ on "users" { query { { email = "x" }, name = "q", expect_index = true } } ]]
    assert.matches("unserved-query", run("plan", text).stdout, 1, true)
    assert.is_nil(run("plan", text, "--without", "unserved-query").stdout:find("no index serves", 1, true))
  end)
end)
