-- Programs, servers, elections and others' commands end in the middle of a backfill on MongoDB that must not be done
-- twice.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local proxies = require "support.proxy"
local shell = require "support.shell"

local ROWS = faults.long and 200000 or 40000
local patience = faults.long and 600 or 120 -- seconds: other work on the machine must not decide

local text = [[
  backfill "interest" { on = "accounts", set = { ["$inc"] = { balance = 1 } }, batch = 500 }
]]

-- Somebody who changes the same documents all the time, and counts how often.
local writer = [[
  local lunadex = require "lunadex"
  local url, rows, stop = arg[1], tonumber(arg[2]), arg[3]
  local db, count = assert(lunadex.connect(url)), 0
  while not io.open(stop) do
    local one = { q = { _id = math.random(rows) * 5 - 3000 }, u = { ["$inc"] = { touched = 1 } } }
    local done, err = lunadex.retry(function() return db:query("update", "accounts", { updates = { one } }) end)
    assert(done or err.message:find "^it was done, but not confirmed", err)
    count = count + 1
  end
  print(count)
]]

describe("a backfill on MongoDB that must not be done twice", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, registry, script, load, stop

  setup(function()
    registry, script = lunadex.registry(text), lunadex.registry(writer, "writer.lua")
  end)

  local function prepare(on)
    server = on
    database = server:create_database()
    server:fill(database, "accounts", ROWS, { _id = { ["$subtract"] = { { ["$multiply"] = { "$n", 5 } }, 3000 } },
      balance = { ["$mod"] = { "$n", 100 } }, was = { ["$mod"] = { "$n", 100 } } })
  end

  after_each(function()
    if load then load:kill "KILL" end
    load = nil
  end)

  local function write()
    stop = shell.directory "stop" .. "/stop"
    load = lunadex.start { "run", script, server:url(database), ROWS, stop }
  end

  local function command(...)
    return { "backfill", "run", registry, "--jobs", "4", "--target", server:url(database), ... }
  end

  local function start(...) return lunadex.start(command(...)) end

  local function rows_of(collection, pipeline)
    return server:command(database, { "aggregate", collection, pipeline = pipeline, cursor = mongodb.document() })
      .cursor.firstBatch
  end

  local function entry() return rows_of("lunadex.backfills", { { ["$match"] = { _id = "interest" } } })[1] end

  local function sum(collection, field)
    local sums = rows_of(collection, { { ["$group"] = { _id = mongodb.null, sum = { ["$sum"] = field } } } })
    return sums[1] and sums[1].sum or 0
  end

  local function seen() return sum("lunadex.backfill_ranges", "$seen") end

  -- How often each document was changed: once for every time that it was begun from the start.
  local function exact()
    if load then
      shell.write_file(stop, "")
      local ended = load:wait(60)
      load = nil
      assert.equal(0, ended.status, ended.stderr)
      local touched = sum("accounts", "$touched")
      assert.is_true(touched > 0)
      assert.equal(tonumber(ended.stdout), touched)
    end
    local interest = entry()
    assert.equal("finished", interest.outcome)
    assert.same({ { _id = interest.generation, n = ROWS } }, rows_of("accounts", {
      { ["$group"] = { _id = { ["$subtract"] = { "$balance", "$was" } }, n = { ["$sum"] = { ["$toInt"] = "1" } } } } }))
    assert.equal(ROWS, seen())
  end

  -- A run that was killed keeps its lease for a while.
  local function forget_lease()
    server:command(database, '{"update":"lunadex.backfills","updates":[{"q":{},"u":{"$unset":{"lease":1}}}]}')
  end

  local function completes()
    local result = lunadex.run(command())
    assert.equal(0, result.status, tostring(result))
    exact()
  end

  local function ends_well(process)
    local result = lunadex.result(process:wait(patience))
    assert.equal(0, result.status, tostring(result))
    exact()
    return result
  end

  local function well_begun(process)
    shell.eventually("the first batches", function()
      if not process:running() then error("it ended: " .. process:stdout() .. process:stderr(), 0) end
      return seen() > 1000
    end)
  end

  describe("on one server", function()
    before_each(function() prepare(mongodb.shared()) end)
    after_each(function()
      server:command("admin", { "configureFailPoint", "failCommand", mode = "off" })
      server:drop_database(database)
    end)

    it("is done once for every document, however often the program is killed", function()
      write()
      local begun = shell.now()
      local first = lunadex.result(start():wait(120))
      assert.equal(0, first.status, tostring(first))
      local whole = shell.now() - begun
      local kills, again = 0, true
      while kills < (faults.long and 200 or 8) do
        -- What is finished is begun again; what was killed goes on.
        local run = start(again and "--restart" or nil)
        shell.sleep(whole * math.random())
        if run:running() then kills = kills + 1 end
        run:kill "KILL"
        again = run:wait().status == 0
        forget_lease()
      end
      completes()
    end)

    it("is done once by runs at the same time, where the lock keeps none out", function()
      local runs = { start() }
      well_begun(runs[1])
      repeat
        forget_lease()
        runs[#runs + 1] = start()
        shell.sleep(0.1)
      until #runs > 4 or not runs[1]:running()
      for _, each in ipairs(runs) do each:wait(120) end
      forget_lease()
      completes()
    end)

    it("goes on after its operations were ended by killOp, and its sessions by killSessions", function()
      write()
      local process = start()
      well_begun(process)
      -- Not those of the writer, who could not tell what was done of his.
      local killed = 0
      repeat
        local operations = server:command("admin", { "aggregate", 1, cursor = mongodb.document(), pipeline = {
          { ["$currentOp"] = { allUsers = true } },
          { ["$match"] = { appName = "lunadex backfill interest", lsid = { ["$exists"] = true } } },
        } }).cursor.firstBatch
        for _, each in ipairs(operations) do
          if killed % 2 == 0 then
            server:try("admin", { "killOp", op = each.opid })
          else
            server:command("admin", { "killAllSessionsByPattern", { { lsid = each.lsid } } })
          end
          killed = killed + 1
        end
      until killed >= 10 or not process:running()
      assert.is_true(killed > 1)
      ends_well(process)
    end)

    for _, how in ipairs { "cut", "stall" } do
      for _, when in ipairs { "before", "after" } do
        it(("goes on after a link was lost (%s %s a commit)"):format(how, when), function()
          local proxy = proxies.start(server)
          local words = command()
          words[#words] = server:url(database, proxy.port) .. "&socketTimeoutMS=1600"
          local process = lunadex.start(words)
          well_begun(process)
          proxy:trap(how, when, "commitTransaction")
          proxy:fired()
          ends_well(process)
          proxy:close()
        end)
      end
    end

    it("is not kept out by a claim of its own, of which it never heard the end", function()
      local proxy = proxies.start(server)
      finally(function() proxy:close() end)
      for _ = 1, 3 do proxy:trap("cut", "after", "findAndModify") end
      local result = lunadex.run { "backfill", "run", registry, "--target", server:url(database, proxy.port) }
      assert.equal(0, result.status, tostring(result))
      exact()
    end)

    for what, data in pairs {
      ["that the server refused"] = { failCommands = { "commitTransaction" }, errorCode = 112,
        errorLabels = { "TransientTransactionError" } },
      ["of which it never heard the end"] = { failCommands = { "commitTransaction" }, closeConnection = true },
      ["of whose end the answer was lost"] = { failCommands = { "commitTransaction" },
        writeConcernError = { code = 91, errmsg = "shutting down", errorLabels = { "RetryableWriteError" } } },
      ["that had to wait for a lock"] = { failCommands = { "update" }, errorCode = 24,
        errorLabels = { "TransientTransactionError" } },
      ["that lost their link"] = { failCommands = { "aggregate", "update" }, closeConnection = true },
    } do
      it("goes on after batches " .. what, function()
        data.appName = "lunadex backfill interest"
        local process = start()
        well_begun(process)
        server:command("admin", { "configureFailPoint", "failCommand", mode = { times = 5 }, data = data })
        ends_well(process)
        local off = server:command("admin", { "configureFailPoint", "failCommand", mode = "off" })
        assert.is_true(off.count > 0, "nothing failed")
      end)
    end
  end)

  it("goes on after the server was killed, and after it was restarted", function()
    prepare(mongodb.start())
    for _, signal in ipairs { "KILL", "TERM" } do
      local process = start "--restart"
      well_begun(process)
      server:restart(signal)
      ends_well(process)
    end
    server:stop()
  end)

  it("goes on after the primary stepped down or was killed, and knows what a majority has", function()
    prepare(mongodb.start { members = 3 })
    local process = start()
    well_begun(process)
    server:step_down()
    ends_well(process)
    process = start "--restart"
    well_begun(process)
    local primary = server:primary()
    primary:kill "KILL"
    ends_well(process)
    server:stop()
  end)
end)
