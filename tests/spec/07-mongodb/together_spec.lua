-- Indexes that one command builds, since their collection does not fit into the server's memory: what becomes of them
-- when the run that asked for them is killed or halted.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local random = require "support.random"
local shell = require "support.shell"
local steps = require "support.mongosteps"

local registry = [[ on "t" {
  index { "a", name = "t_a" }, index { "b", name = "t_b" }, index { "c", name = "t_c" },
  index { "a", "b", name = "t_ab" }, index { "c", "d", name = "t_cd", unique = true } } ]]

-- An apply that is told that there is next to no memory.
local script = [[
  local lunadex = require "lunadex"
  local path, url = ...
  local connection = assert(lunadex.connect(url))
  local ask = connection.ask
  function connection:ask(command, ...)
    if command == "hostInfo" then return { { system = { memLimitMB = 0.001 } } } end
    return ask(self, command, ...)
  end
  local plan = assert(lunadex.plan(assert(lunadex.load(path, { target = url })), connection))
  local outcome = assert(plan:apply { jobs = 2, on_event = function(event)
    print(event.event, event.name, event.outcome, event.text)
  end })
  print("created", outcome.summary.created, "failed", outcome.summary.failed, outcome.halted and outcome.halted.message)
]]

local long = os.getenv "LUNADEX_TEST_LONG"

describe("indexes that are built together", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, url, path, program

  setup(function()
    server = mongodb.shared()
    path, program = lunadex.registry(registry), lunadex.registry(script, "script.lua")
  end)
  before_each(function()
    database = server:create_database()
    url = server:url(database)
  end)
  after_each(function() server:drop_database(database) end)

  local function fill(count) server:fill(database, "t", count, { a = "$n", b = "$n", c = "$n" }) end
  local function start() return lunadex.start { "run", program, path, url } end

  -- The builds that the server began on the collection.
  local function begun()
    local count = 0
    for line in server:log():gmatch '[^\n]*"Index build: registering"[^\n]*' do
      if line:find(('"%s.t"'):format(database), 1, true) then count = count + 1 end
    end
    return count
  end

  local function all_stand(context)
    local specs = server:indexes(database, "t")
    assert.equal(6, #specs, context)
    for _, spec in ipairs(specs) do
      assert.is_nil(spec.buildUUID, context)
      assert.is_nil(spec.prepareUnique, context)
      assert.equal(spec.name == "t_cd" or nil, spec.unique, context)
    end
  end

  it("take as many commands as there are jobs, and every one is told of", function()
    fill(2000)
    local result = lunadex.result(start():wait())
    for _, name in ipairs { "t_a", "t_b", "t_c", "t_ab", "t_cd" } do
      assert.matches(("build_finished\t%s\tcreated"):format(name), result.stdout, 1, true)
    end
    assert.equal(3, begun()) -- two for four indexes, and the unique one by itself
    all_stand()
  end)

  it("are joined by the run after one that was killed, each of them", function()
    fill(2000)
    local held <close> = steps.hold(server, steps.scanning)
    local killed = start()
    held:reached()
    shell.eventually("both commands", function() return begun() == 2 end)
    killed:kill "KILL"
    killed:wait()
    steps.end_lease(server, database)
    local again = lunadex.start { "apply", path, "--target", url, "--jobs", "3" }
    shell.eventually("it to wait", function() return again:stdout():find("waiting for it", 1, true) end)
    held:release()
    local result = lunadex.result(again:wait())
    assert.equal(0, result.status, tostring(result))
    assert.equal(3, begun())
    all_stand()
  end)

  local rounds = long and 60 or 4
  it(("are completed by the run after one that was killed at any moment (%d times)"):format(rounds), function()
    local rng = random.new(math.tointeger(tonumber(os.getenv "LUNADEX_SEED" or "1")))
    fill(60000)
    local round, killed, longest = 0, 0, 1500
    while killed < rounds do
      local process = start()
      local hit
      hit, longest = steps.kill(process, rng, longest)
      if hit then killed = killed + 1 end
      steps.end_lease(server, database)
      round = round + 1
      local result = round % 2 == 0 and lunadex.result(start():wait())
        or lunadex.run { "apply", path, "--target", url, "--wait" }
      assert.equal(0, result.status, tostring(result))
      all_stand(("round %d: %s"):format(round, tostring(result)))
      server:command(database, { "dropIndexes", "t", index = "*" })
    end
  end)

  it("are another run's once theirs is halted beyond its lease: it writes nothing more, and says so", function()
    fill(2000)
    local held <close> = steps.hold(server, steps.scanning)
    local halted = start()
    held:reached()
    shell.eventually("both commands", function() return begun() == 2 end)
    halted:kill "STOP"
    -- Its own clock tells it that the lease has ended, but where half a minute has gone by.
    if not long then steps.end_lease(server, database) end
    local other = lunadex.start { "apply", path, "--target", url, "--jobs", "3", "--wait" }
    shell.eventually("the other run to wait", function() return other:stdout():find("waiting for it", 1, true) end)
    held:release()
    local result = lunadex.result(other:wait())
    assert.equal(0, result.status, tostring(result))
    all_stand(tostring(result))
    -- What has gone since, the halted one does not bring back.
    if long then server:command(database, { "dropIndexes", "t", index = { "t_a", "t_b", "t_cd" } }) end
    halted:kill "CONT"
    result = lunadex.result(halted:wait(60))
    assert.matches("the run lock was lost: another run has had the lock meanwhile", result.stdout, 1, true)
    assert.equal(long and 3 or 6, #server:indexes(database, "t"), tostring(result))
    assert.equal(3, begun())
  end)
end)
