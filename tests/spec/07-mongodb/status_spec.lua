-- What goes on in a MongoDB database, as `lunadex status` tells it.
local engine = require "support.engine"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local shell = require "support.shell"

describe("the status of a MongoDB database", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, url
  local held = "hangAfterSettingUpIndexBuild"

  local function hold(mode)
    server:command("admin", ('{ "configureFailPoint": "%s", "mode": "%s" }'):format(held, mode))
  end
  local function builds_at_once(count)
    server:command("admin", ('{ "setParameter": 1, "maxNumActiveUserIndexBuilds": %d }'):format(count))
  end

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    url = server:url(database)
  end)
  after_each(function()
    hold "off"
    builds_at_once(3)
    server:drop_database(database)
  end)

  local function status(...)
    local result = lunadex.run { "status", "--target", url, ... }
    assert.equal(0, result.status, tostring(result))
    return result
  end

  it("of one where nothing happens says so", function()
    server:command(database, '{ "create": "users" }')
    assert.matches("nothing is being built, nothing is left over, nobody holds the run lock", status().stdout, 1, true)
    local json = status("--json"):json()
    assert.same({ {}, {} }, { json.builds, json.invalid })
  end)

  it("tells a build of a time series once, though it goes on in its buckets", function()
    server:command(database, '{ "create": "series", "timeseries": { "timeField": "t", "metaField": "m" } }')
    server:insert(database, "series", { '{ "t": { "$date": "2020-01-01T00:00:00Z" }, "m": 1, "v": 1 }' })
    hold "alwaysOn"
    local sent = server:send(database,
      '{ "createIndexes": "series", "indexes": [{ "key": { "m": 1 }, "name": "m_1" }] }')
    local builds
    shell.eventually("the build to begin", function()
      builds = status("--json"):json().builds
      return builds[1] and builds[1].phase ~= "queued"
    end)
    assert.same({ 1, "series", "m_1" }, { #builds, builds[1].relation, builds[1].name })
    assert.matches("127%.0%.0%.1.*createIndexes series", builds[1].who)
    hold "off"
    assert(sent:wait())
  end)

  it("shows who builds what, and what is queued behind it", function()
    server:fill(database, "users", 100)
    builds_at_once(1)
    hold "alwaysOn"
    local first = server:send(database, [[{ "createIndexes": "users", "indexes": [{ "key": { "a": 1 }, "name": "a_1" },
      { "key": { "b": 1 }, "name": "b_1" }] }]])
    shell.eventually("the build to begin", function() return #status("--json"):json().builds == 2 end)
    local second = server:send(database, [[{ "createIndexes": "users",
      "indexes": [{ "key": { "c": 1 }, "name": "c_1" }] }]])
    local builds
    shell.eventually("the other to be queued", function()
      builds = status("--json"):json().builds
      return #builds == 3
    end)
    table.sort(builds, function(x, y) return x.name < y.name end)
    assert.same({ "a_1", "b_1", "c_1" }, { builds[1].name, builds[2].name, builds[3].name })
    assert.same({ "users", "users", "users" }, { builds[1].relation, builds[2].relation, builds[3].relation })
    assert.not_equal("queued", builds[1].phase)
    assert.equal("queued", builds[3].phase)
    for _, build in ipairs(builds) do
      assert.matches("127%.0%.0%.1", build.who)
      assert.is_true(build.pid > 0)
    end
    local text = status().stdout
    assert.matches("building  users c_1: queued", text, 1, true)
    assert.is_nil(text:find("being built", 1, true), "an index is told twice")
    -- The catalog says what is unfinished, and a measurement who is at it.
    local db <close> = engine.open(url)
    local index = assert(db:run "catalog"):relation(nil, "users"):indexes()[2]
    assert.is_false(index.valid)
    local measured = assert(db:run("measure", { { relation = index.relation, index = index } }))[1]
    assert.is_true(measured.being_built)
    assert.matches("127%.0%.0%.1", measured.builder)
    hold "off"
    assert(first:wait())
    assert(second:wait())
    assert.same({}, status("--json"):json().builds)
  end)

  it("shows who holds the run lock", function()
    local db <close> = engine.open(url)
    assert(db:run "lock")
    local lock = status("--json"):json().lock
    assert.matches("lunadex specs", lock.who, 1, true)
    assert.matches("run lock   held by pid ", status().stdout, 1, true)
    assert(db:run "unlock")
    assert.is_nil(status().stdout:find("held by", 1, true))
  end)

  it("shows a conversion to unique that did not end", function()
    server:command(database, [[{ "createIndexes": "users",
      "indexes": [{ "key": { "a": 1 }, "name": "a_1", "prepareUnique": true }] }]])
    local invalid = status("--json"):json().invalid
    assert.equal(1, #invalid)
    assert.same({ "prepared", "users", "a_1" }, { invalid[1].kind, invalid[1].relation, invalid[1].name })
    assert.matches("left      users a_1: half unique; it refuses new duplicates", status().stdout, 1, true)
    local command = invalid[1].detail:match "db%.runCommand%((.*)%)$"
    -- It is the declared one all the same: to be finished, or to be taken back.
    local db <close> = engine.open(url)
    local fields = { kind = "index", relation = "users", method = "", keys = { { column = "a" } }, name = "a_1" }
    assert.equal("alter", db:diff({ fields }):changes()().action)
    fields.unique = true
    assert.equal("alter", db:diff({ fields }):changes()().action)
    -- What it says to do does that.
    server:command(database, mongodb.of_shell(command))
    assert.same({}, status("--json"):json().invalid)
  end)
end)
