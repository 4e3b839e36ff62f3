-- SIGKILL at random moments of runs that replace, change and build: the next run completes what was begun, whatever it
-- was, and leaves nothing of it behind. The registry is another one each time, so names go back and forth.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local random = require "support.random"
local shell = require "support.shell"

local seed = math.tointeger(tonumber(os.getenv "LUNADEX_SEED" or "1"))
local rounds = os.getenv "LUNADEX_TEST_LONG" and 100 or 5

-- Every kind of change from one round to the next: side by side, with a gap, in place.
local function registry(round)
  return ([[on "t" {
    index { %s, %sname = "n" },
    index { "b", "a", %sname = "u" },
    index { { c = "text" }, weights = { c = %d }, name = "words" },
    index { "d", expire_after = %d, name = "ttl" },
  }]]):format(round % 3 == 0 and '"a", "b"' or '"a"', round % 2 == 1 and "sparse = true, " or "",
    round % 2 == 0 and "unique = true, " or "", round + 2, 1000 + round)
end

describe("a killed run on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = mongodb.shared()
    database = server:create_database()
    url = server:url(database)
  end)
  after_each(function() server:drop_database(database) end)

  it(("is completed by the next one (%d times)"):format(rounds), function()
    local rng = random.new(seed)
    server:fill(database, "t", 60000, { a = "$n", b = { ["$mod"] = { "$n", 100 } }, c = { ["$toString"] = "$n" } })
    for round = 0, rounds - 1 do
      local path = lunadex.registry(registry(round))
      local process = lunadex.start { "apply", path, "--target", url, "--allow-gap" }
      shell.sleep(rng:integer(20, 2000) / 1000)
      process:kill "KILL"
      process:wait()
      -- Its lease would have to be waited for.
      server:command(database, '{"delete":"lunadex.lock","deletes":[{"q":{},"limit":0}]}')
      local result = lunadex.run { "apply", path, "--target", url, "--allow-gap" }
      assert.equal(0, result.status, ("round %d: %s"):format(round, tostring(result)))
      local plan = lunadex.run { "plan", path, "--target", url, "--json" }:json()
      assert.same({ 4, 4, 0 }, { plan.summary.keep, plan.summary.live, plan.summary.stray },
        ("round %d: %s"):format(round, mongodb.json(plan)))
      assert.equal(5, #server:indexes(database, "t"))
    end
  end)
end)
