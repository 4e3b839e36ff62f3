-- SIGKILL at random moments of runs that replace, change and build: the next run completes what was begun, whatever it
-- was, and leaves nothing of it behind. The registry is another one each time, so names go back and forth.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local random = require "support.random"
local shell = require "support.shell"
local steps = require "support.mongosteps"

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

-- Writes until the file is there; a failure ends it with a status of its own.
local writer = [[
  local lunadex = require "lunadex"
  local db, count = assert(lunadex.connect(arg[1])), 0
  while not io.open(arg[2]) do
    count = count + 1
    assert(db:query("insert", "t", { documents = { { a = 1000000 + count, b = count % 100, c = "w" .. count } } }))
    assert(db:query("update", "t", { updates = { { q = { a = count }, u = { ["$set"] = { b = -count } } } } }))
    lunadex.sleep(0.02)
  end
  print(count)
]]

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
    local script, over = shell.directory "writer" .. "/writer.lua", shell.directory "writer" .. "/over"
    shell.write_file(script, writer)
    local writing = lunadex.start { "run", script, url, over }
    local round, killed, longest = 0, 0, 2000
    while killed < rounds do
      local path = lunadex.registry(registry(round))
      local process = lunadex.start { "apply", path, "--target", url, "--allow-gap" }
      local hit
      hit, longest = steps.kill(process, rng, longest)
      if hit then killed = killed + 1 end
      -- One of the many waits until the lease of the one that was killed has ended by itself.
      if killed ~= 50 then steps.end_lease(server, database) end
      local result = lunadex.run { "apply", path, "--target", url, "--allow-gap", "--wait" }
      assert.equal(0, result.status, ("round %d: %s"):format(round, tostring(result)))
      local plan = lunadex.run { "plan", path, "--target", url, "--json" }:json()
      assert.same({ 4, 4, 0 }, { plan.summary.keep, plan.summary.live, plan.summary.stray },
        ("round %d: %s"):format(round, mongodb.json(plan)))
      assert.equal(5, #server:indexes(database, "t"))
      round = round + 1
    end
    shell.write_file(over, "")
    local written = writing:wait()
    assert.equal(0, written.status, written.stderr)
    local count = 60000 + assert(tonumber(written.stdout))
    for _, key in ipairs { { "_id", 1 }, { "b", 1, "a", 1 }, { "d", 1 } } do -- the others may be sparse
      assert.equal(count, server:command(database, { "count", "t", query = mongodb.document(),
        hint = mongodb.document(table.unpack(key)) }).n)
    end
  end)
end)
