-- What MongoDB's errors are to us, and so what is done about them; the server makes them (failCommand).
local core = require "lunadex.core"
local engine = require "support.engine"
local mongodb = require "support.mongodb"

describe("an error of MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, db

  setup(function()
    server = mongodb.shared()
    database = server:create_database()
    db = engine.open(server:url(database))
    assert(db:run "connect")
  end)
  teardown(function() db:close() end)

  local function fail_with(data)
    server:command("admin", ([[{ "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": {
      "failCommands": ["count"], "appName": "lunadex specs", %s } }]]):format(data))
  end

  -- What may be tried again is, and then all is well: but the engine tells of it.
  local function error_of(data)
    fail_with(data)
    local done, events = db:finish(db.db:query(core.document("count", "users")))
    local last = events[#events]
    return assert(done.error or last and last.event == "retry" and last.error, data)
  end

  local codes = {
    link_lost = { 91, 133, 189, 10107, 11600, 11602, 13435 },
    authentication = { 18 },
    duplicate_name = { 85, 86 },
    undefined = { 26, 27 },
    invalid_definition = { 2, 9, 14, 67, 72, 73, 166, 197 },
    unsupported = { 59, 115 },
    lock_timeout = { 24, 50, 262 },
    serialization = { 43, 117, 175, 12587 },
    disk_full = { 14031 },
    server = { 1, 276, 11601 },
  }
  local again = { link_lost = true, lock_timeout = true, serialization = true }

  for code, natives in pairs(codes) do
    it("is " .. code .. " by its code", function()
      for _, native in ipairs(natives) do
        local err = error_of(('"errorCode": %d'):format(native))
        assert.equal(code, err.code, native)
        assert.equal(tostring(native), err.native)
        assert.equal(again[code] or false, err.retryable, native)
      end
    end)
  end

  it("of a user without the right to it is a missing right; where there is no user, one is missing", function()
    assert.equal("authentication", error_of('"errorCode": 13').code)
  end)

  it("that says it may be tried again may be", function()
    assert.equal("link_lost", error_of('"errorCode": 1, "errorLabels": ["RetryableWriteError"]').code)
  end)

  it("that somebody's killOp made says so, and is not tried again", function()
    local err = error_of('"errorCode": 11601')
    assert.matches("Somebody else ended it", err.hint, 1, true)
    assert.is_false(err.retryable)
  end)

  it("of a link that is cut under way leaves the session usable", function()
    local err = error_of('"closeConnection": true')
    assert.equal("link_lost", err.code)
    assert.is_true(err.retryable)
    assert(db:run("query", core.document("count", "users")))
  end)

  it("tells the last cause", function()
    server:insert(database, "users", { { k = 1 }, { k = 1 } })
    local _, err = db:run("query", core.document("createIndexes", "users",
      "indexes", { { key = { k = 1 }, name = "k_1", unique = true } }))
    assert.equal("duplicate_key", err.code)
    assert.matches("^E11000 duplicate key error collection: " .. database .. "%.users index: k_1", err.message)
  end)
end)
