-- Links that go silent: packets vanish, or answers are lost, and no end of the link tells. A target's socketTimeoutMS
-- says how long the server may be silent; here it is short. And servers that are not there when a run begins.
local api = require "lunadex"
local core = require "lunadex.core"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local proxies = require "support.proxy"
local shell = require "support.shell"
local steps = require "support.mongosteps"

local patient = { attempts = 60, first_delay = 0.1, factor = 1.5, max_delay = 1 }

describe("a link to MongoDB that goes silent", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, proxy, run

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    server:fill(database, "t", 100, { a = "$n" })
    proxy = proxies.start(server)
  end)
  after_each(function()
    if run then run:close() end
    run = nil
    proxy:close()
    server:drop_database(database)
  end)

  local function url(milliseconds)
    return ("%s&socketTimeoutMS=%d"):format(server:url(database, proxy.port), milliseconds or 1600)
  end

  local function start(more, milliseconds)
    run = steps.open(server, database, { url = url(milliseconds) })
    local step = steps.build("t", "t_a", { "a" }, more)
    step.retry = patient
    return run:submit(step)
  end

  local function ends_well(job, more)
    local done, events = run:finish(job)
    assert.is_true(done.ok, tostring(done.error))
    run:stands(more)
    return done, events
  end

  -- How many index builds the server began there.
  local function builds()
    local _, count = server:log():gsub('"Index build: starting","attr":[^\n]*"' .. database .. '%.t"', "")
    return count
  end

  -- As a command's name and its text: who asks for operations has the word in a filter.
  local create = "\2createIndexes"

  for _, when in ipairs { "before", "after" } do
    for command, bytes in pairs { createIndexes = create, prepareUnique = "prepareUnique", dryRun = "dryRun" } do
      it(("%s %s: what became of it is looked at, and the rest done"):format(when, command), function()
        proxy:trap("stall", when, bytes)
        local more = { unique = true }
        local done = ends_well(start(more), more)
        proxy:fired()
        assert.is_true(done.attempts > 1)
      end)
    end
  end

  it("while a build goes on: as long as the server is at it, nothing is given up, and it is built once", function()
    local held <close> = steps.hold(server, steps.scanning)
    proxy:trap("stall", "after", create)
    local job = start(nil, 800)
    proxy:fired()
    held:reached()
    -- Longer than the server may be silent: it is not, it says that it is at it.
    local enough = core.now() + 3
    while core.now() < enough do assert.is_nil((run.db:poll(0.2) or {}).attempt) end
    held:release()
    local done, events = ends_well(job)
    assert.is_true(done.attempts > 1)
    for _, event in ipairs(events) do
      if event.event == "retry" then assert.matches("its answer was lost", event.error.message, 1, true) end
    end
    assert.equal(1, builds())
  end)

  it("altogether, for a while: that is told, and the same build goes on", function()
    local held <close> = steps.hold(server, steps.scanning)
    local job = start(nil, 8000)
    held:reached()
    proxy:make "stall"
    run:await(job, function(event)
      return event.event == "note" and event.text:find "^the server has not answered since %d%d:%d%d:%d%dZ$"
    end)
    proxy:make "resume"
    held:release()
    local done = ends_well(job)
    assert.equal(1, done.attempts)
    assert.equal(1, builds())
  end)

  it("altogether, for longer than it may: the build is joined when it is back", function()
    local held <close> = steps.hold(server, steps.scanning)
    local job = start()
    held:reached()
    proxy:make "stall"
    local retry = run:await(job, function(event) return event.event == "retry" end)
    assert.matches("the server has not answered for %d+ s", retry.error.message)
    proxy:make "resume"
    held:release()
    local _, events = ends_well(job)
    assert.equal(1, builds())
    local told = steps.notes(events)
    assert.matches("the server answers again, after %d+ s", told)
    assert.equal(1, select(2, told:gsub("the server has not answered since", "")))
  end)

  it("while the catalog is read: it is read again", function()
    proxy:trap("stall", "after", "$listCatalog")
    local plan = lunadex.run { "plan", lunadex.registry 'on "t" { index { "a" } }', "--target", url() }
    proxy:fired()
    assert.equal(0, plan.status, tostring(plan))
    assert.matches("attempt 1 failed", plan.stderr, 1, true)
  end)

  it("and a first Ctrl-C: it is told at once, and the run ends", function()
    local held <close> = steps.hold(server, steps.scanning)
    local process = lunadex.start { "apply", lunadex.registry 'on "t" { index { "a" } }', "--target", url() }
    held:reached()
    proxy:make "stall"
    process:kill "INT"
    shell.eventually("the signal to be told of", function() return process:stderr():find("stopping: ", 1, true) end)
    local result = lunadex.result(process:wait(60))
    assert.equal(130, result.status, tostring(result))
  end)
end)

describe("a transaction on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, proxy

  before_each(function()
    server = mongodb.shared()
    database = server:create_database()
    server:fill(database, "t", 1)
    proxy = proxies.start(server)
  end)
  after_each(function()
    proxy:close()
    server:drop_database(database)
  end)

  -- One that is ended in this way, while the link goes silent: it says so, and its connection can be used on.
  local function ends(how, when, command)
    proxy:trap("stall", when, command)
    local result = lunadex.run { "run", lunadex.registry(([[
      local db = assert(require "lunadex".connect(arg[1]))
      local ok, err = db:transaction(function(tx)
        assert(tx:query("update", "t", { updates = { { q = { _id = 1 }, u = { ["$set"] = { a = 1 } } } } }))
        return %s
      end)
      print(ok, type(err) == "string" and err or err.code)
      print(#assert(db:query("find", "t")))]]):format(how), "script.lua"),
      server:url(database, proxy.port) .. "&socketTimeoutMS=1600" }
    proxy:fired()
    assert.equal(0, result.status, tostring(result))
    return result.stdout:match "^([^\n]*)\n1\n$"
  end

  local function is_written()
    return server:command(database, '{"count":"t","query":{"a":1}}').n == 1
  end

  it("whose commit goes unanswered is not known to be done, in either case", function()
    assert.equal("nil\tlink_lost", ends("true", "before", "commitTransaction"))
    assert.is_false(is_written())
    -- The server would keep it for a minute.
    server:command("admin", '{"killAllSessionsByPattern":[]}')
    assert.equal("nil\tlink_lost", ends("true", "after", "commitTransaction"))
    assert.is_true(is_written())
  end)

  -- How it ends where whoever tries again would do it twice; `meanwhile` is called before its commit.
  local function tries_to_count(meanwhile)
    local db <close> = assert(api.connect(server:url(database, proxy.port), { application_name = "lunadex specs" }))
    local ok, err = api.retry(function()
      return db:transaction(function(tx)
        assert(tx:query("update", "t", { updates = { { q = { _id = 1 }, u = { ["$inc"] = { done = 1 } } } } }))
        meanwhile()
      end)
    end, { attempts = 3, first_delay = 0.01, on_retry = function() proxy:refuse(false) end })
    assert.is_nil(ok)
    assert.same({ "link_lost", "verify" }, { err.code, err.retry }, tostring(err))
    assert.matches("It may have been committed", err.hint, 1, true)
    shell.eventually("the server to commit it", function()
      return server:command(database, '{"count":"t","query":{"done":{"$gt":0}}}').n == 1
    end)
    assert.equal(1, server:command(database, '{"count":"t","query":{"done":1}}').n)
  end

  it("whose commit was not confirmed is not done again", function()
    for _, code in ipairs { 50, 64 } do -- MaxTimeMSExpired, WriteConcernFailed
      server:command(database, '{"update":"t","updates":[{"q":{},"u":{"$unset":{"done":1}}}]}')
      local fault <close> = steps.fail(server, { "commitTransaction" },
        { writeConcernError = { code = code, errmsg = "waiting for replication timed out" } })
      tries_to_count(function() assert.is_truthy(fault) end)
    end
  end)

  it("whose commit finds no server when it is sent again is not done again", function()
    tries_to_count(function()
      proxy:trap("cut", "after", "commitTransaction")
      proxy:refuse(true)
    end)
    proxy:fired()
  end)

  it("whose rollback goes unanswered is rolled back", function()
    assert.equal("nil\tno", ends('nil, "no"', "after", "abortTransaction"))
    assert.is_false(is_written())
  end)
end)

describe("a run on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, proxy

  setup(function() server = mongodb.shared() end)
  before_each(function()
    database = server:create_database()
    server:fill(database, "t", 100, { a = "$n" })
    proxy = proxies.start(server)
  end)
  after_each(function()
    proxy:close()
    server:drop_database(database)
  end)

  local function apply()
    return lunadex.start { "apply", lunadex.registry 'on "t" { index { "a" } }', "--target",
      server:url(database, proxy.port) .. "&socketTimeoutMS=1600" }
  end

  local function gets_there(process)
    local result = lunadex.result(process:wait(60))
    assert.equal(0, result.status, tostring(result))
    assert.equal(2, #server:indexes(database, "t"))
    local lock = server:command(database, '{"find":"lunadex.lock"}').cursor.firstBatch[1]
    assert.is_nil(lock.owner)
    return result
  end

  it("whose server is not there yet tells each attempt, and gets there when it is", function()
    proxy:refuse(true)
    local process = apply()
    shell.eventually("the first attempt to be told", function()
      return process:stderr():find "attempt 1 failed, next in [^,]*, for up to 60 s in all: no server could be reached"
    end)
    proxy:refuse(false)
    gets_there(process)
  end)

  for _, how in ipairs { "cut", "stall" } do
    for _, when in ipairs { "before", "after" } do
      it(("whose link is lost while it takes the run lock (%s %s) takes it again"):format(how, when), function()
        proxy:trap(how, when, "findAndModify")
        local result = gets_there(apply())
        proxy:fired()
        assert.matches("attempt 1 failed", result.stderr, 1, true)
      end)
    end
  end
end)
