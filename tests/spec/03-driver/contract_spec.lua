-- What core/include/lunadex/driver.h promises, of every driver in the same words.
local contract = require "support.contract"
local core = require "lunadex.core"
local engine = require "support.engine"
local shell = require "support.shell"

for _, driver in ipairs(contract.drivers) do
  describe("the driver " .. driver.name, function()
    local reason = driver.missing()
    if reason then return pending(reason) end
    local scene, opened

    -- Any number of jobs of one engine: their events as they come, each kept until it is asked for.
    local function open(url, jobs)
      local db = engine.open(url or scene.url, { jobs = jobs or 1, application_name = "lunadex specs" })
      opened[#opened + 1] = db
      return db
    end

    local function step(kind, name, more)
      local result = { kind = kind, schema = scene.schema, relation = "t", name = name, mode = "concurrent",
        lock_timeout = 20, retry = { attempts = 1 } }
      for option, value in pairs(more or {}) do result[option] = value end
      return result
    end

    local function build(name, columns, more) return step("build", name, { fields = scene.fields(columns, more) }) end

    local function perform(db, what) return db:finish(db.db:perform(what)) end

    -- The live index of that name, as a new session sees it.
    local function live(name, url)
      local db <close> = engine.open(url or scene.url, { jobs = 1, application_name = "lunadex specs" })
      local relation = assert(assert(db:run "catalog"):relation(scene.schema, "t"))
      for _, index in ipairs(relation:indexes()) do
        if index.name == name then return index end
      end
    end

    local function await(db, job, wanted)
      local seen = {}
      while true do
        local event = assert(db.db:poll(60), "no event for a minute")
        seen[#seen + 1] = event
        if event.job == job and wanted(event) then return event, seen end
        assert(not (event.job == job and event.event == "done"), tostring(event.error))
      end
    end

    -- A build that comes no further: what lets it go on, its database, its job, and its events, the last one first.
    local function held(jobs)
      local holder = scene.hold()
      local db = open(nil, jobs)
      local job = db.db:perform(step("build", "t_held", { fields = scene.held() }))
      return holder, db, job, await(db, job, function(each) return each.event == "progress" and each.phase ~= "" end)
    end

    before_each(function()
      scene, opened = driver.scene(), {}
    end)
    after_each(function()
      for _, db in ipairs(opened) do db:close() end
      scene.close()
    end)
    teardown(contract.finish)

    -- Sessions --------------------------------------------------------------------------------------------------------

    it("says what it is connected to", function()
      local info, again = assert(open():run "connect"), assert(open():run "connect")
      assert.equal(driver.name, info.driver)
      assert.is_true(info.product ~= "" and info.version ~= "" and info.version_number > 0 and info.display ~= "")
      assert.is_true(info.identity ~= "" and info.identity == again.identity)
      assert.is_false(info.read_only)
    end)

    it("says that nobody listens", function()
      local _, err = open(scene.refused):run "connect"
      assert.equal("connect", err.code)
    end)

    it("gives up connecting when it is told to", function()
      local db = open(scene.deaf())
      local job = db.db:connect()
      db.db:poll(0.2)
      db.db:cancel(job)
      assert.equal("cancelled", db:finish(job).error.code)
    end)

    it("closes with work under way, of which nothing is left", function()
      local holder <close>, db = held(2)
      for _ = 1, 5 do db.db:catalog() end
      db:close()
      db:close()
      assert.is_nil(live "t_held")
      assert(holder)
    end)

    -- What is there ---------------------------------------------------------------------------------------------------

    it("sees every relation and index as they are", function()
      local db = open()
      assert.is_true(perform(db, build("t_ab", { "a", "b" })).ok)
      assert.is_true(perform(db, build("t_a", { "a" }, { unique = true })).ok)
      local relation = assert(db:run "catalog"):relation(scene.schema, "t")
      assert.equal("t", relation.name)
      assert.is_nil(assert(db:run "catalog"):relation(scene.schema, "u"))
      local one, both = live "t_a", live "t_ab"
      assert.is_true(one.valid and both.valid)
      assert.is_true(one:fields().unique)
      assert.is_falsy(both:fields().unique)
      assert.same({ "a", "b" }, { both:fields().keys[1].column, both:fields().keys[2].column })
    end)

    it("knows what is declared again in what is live, by what it is", function()
      local db = open()
      assert.is_true(perform(db, build("t_a", { "a" })).ok)
      local diff, set, catalog = db:diff { scene.fields { "a" }, scene.fields { "a", "b" }, scene.wrong }
      local actions = {}
      for change in diff:changes() do
        if change.ordinal then actions[change.ordinal] = change.action end
      end
      assert.same({ "keep", "create", "error" }, actions)
      local first = set:copy()
      assert(db:run("resolve", first, catalog))
      assert(db:run("resolve", first, catalog))
      assert.is_true(live("t_a"):matches(first, 1))
    end)

    it("measures what it can, and says what it cannot", function()
      local db = open()
      assert.is_true(perform(db, build("t_a", { "a" })).ok)
      local relation = assert(db:run "catalog"):relation(scene.schema, "t")
      local measured = assert(db:run("measure", { { relation = relation }, { relation = relation,
        index = relation:indexes()[1] } }))
      assert.equal(2, #measured)
      for _, each in ipairs(measured) do
        if scene.rows then assert.same({ scene.rows, true }, { each.rows, each.table_bytes > 0 }) end
        assert.is_falsy(each.being_built)
      end
    end)

    it("tells what the server says beside the rows of a query, before its end", function()
      local url, query, expected = scene.aloud()
      local db = open(url)
      local done, events = db:finish(db.db:query(query))
      assert.is_true(done.ok, tostring(done.error))
      local told = {}
      for _, event in ipairs(events) do
        if event.event == "notice" then told[#told + 1] = event.severity .. " " .. event.message end
      end
      assert.same(expected, told)
    end)

    it("gives the rows of a query, and the error of one that is none", function()
      local db = open()
      assert.is_true(#assert(db:run("query", scene.query)) > 0)
      if not scene.nonsense then return end
      local _, err = db:run("query", scene.nonsense)
      assert.is_false(err.retryable)
      assert.is_true(#assert(db:run("query", scene.query)) > 0)
    end)

    -- Steps -----------------------------------------------------------------------------------------------------------

    it("builds an index, and finds it there the second time", function()
      local db = open()
      local done = perform(db, build("t_a", { "a" }))
      assert.is_true(done.ok, tostring(done.error))
      assert.is_true(done.built)
      local index = live "t_a"
      assert.is_true(index.valid)
      done = perform(db, build("t_a", { "a" }))
      assert.is_true(done.ok, tostring(done.error))
      assert.is_false(done.built)
      assert.equal(index.id, live("t_a").id)
    end)

    it("leaves alone what else has the name", function()
      local db = open()
      assert.is_true(perform(db, build("t_a", { "a" })).ok)
      assert.equal("duplicate_name", perform(db, build("t_a", { "a", "b" })).error.code)
      assert.equal(1, #live("t_a"):fields().keys)
    end)

    it("drops an index, and is done the second time", function()
      local db = open()
      assert.is_true(perform(db, build("t_a", { "a" })).ok)
      local index = live "t_a"
      local drop = step("drop", "t_a", { id = index.id, fields = index:fields() })
      for _ = 1, 2 do
        local done = perform(db, drop)
        assert.is_true(done.ok, tostring(done.error))
        assert.is_nil(live "t_a")
      end
    end)

    it("does not drop what is another index by now", function()
      local db = open()
      assert.is_true(perform(db, build("t_a", { "a" })).ok)
      local index = live "t_a"
      local drop = step("drop", "t_a", { id = index.id, fields = index:fields() })
      assert.is_true(perform(db, drop).ok)
      assert.is_true(perform(db, build("t_a", { "a", "b" })).ok)
      assert.is_false(perform(db, drop).ok)
      assert.is_true(live("t_a").valid)
    end)

    it("renames an index, or says that it cannot", function()
      local db = open()
      assert.is_true(perform(db, build("t_a", { "a" })).ok)
      local rename = step("rename", "t_a", { other = "t_z", fields = scene.fields { "a" } })
      if not scene.renames then
        assert.equal("unsupported", perform(db, rename).error.code)
        return
      end
      for _ = 1, 2 do
        assert.is_true(perform(db, rename).ok)
        assert.is_nil(live "t_a")
        assert.is_true(live("t_z").valid)
      end
      assert.equal("undefined", perform(db, step("rename", "t_x", { other = "t_y", fields = scene.fields { "a" } }))
        .error.code)
    end)

    -- An alter step of what stands as `index`.
    local function change_of(index)
      return step("alter", "t_a", { fields = scene.fields({ "a" }, { with = { scene.storage } }),
        id = index.id, old_fields = index:fields() })
    end

    it("changes an index in place, and is done the second time", function()
      local db = open()
      assert.is_true(perform(db, build("t_a", { "a" })).ok)
      local index = live "t_a"
      local alter = change_of(index)
      for _ = 1, 2 do
        local done = perform(db, alter)
        assert.is_true(done.ok, tostring(done.error))
        assert.same({ scene.storage }, live("t_a"):fields().with)
        assert.equal(index.id, live("t_a").id)
      end
      alter.name = "t_x"
      assert.equal("undefined", perform(db, alter).error.code)
    end)

    it("does not change what is another index by now", function()
      local db = open()
      assert.is_true(perform(db, build("t_a", { "a" })).ok)
      local alter = change_of(live "t_a")
      assert.is_true(perform(db, step("drop", "t_a")).ok)
      assert.is_true(perform(db, build("t_a", { "a", "b" })).ok)
      local done = perform(db, alter)
      assert.equal("dependent", done.error and done.error.code)
      assert.is_nil(live("t_a"):fields().with)
      assert.is_true(perform(db, step("drop", "t_a")).ok)
      assert.equal("undefined", perform(db, alter).error.code)
    end)

    it("describes its steps without asking anybody", function()
      for _, each in ipairs { build("t_a", { "a" }), step("drop", "t_a", { fields = scene.fields { "a" } }),
        step("alter", "t_a", { fields = scene.fields({ "a" }, { with = { scene.storage } }) }) } do
        assert.matches("t_a", core.describe(each, scene.refused), 1, true)
      end
    end)

    -- What goes wrong -------------------------------------------------------------------------------------------------

    it("says of duplicates that there are some, once, and leaves nothing that is of no use", function()
      local db = open()
      local unique = build("t_b", { "b" }, { unique = true })
      unique.retry = { attempts = 3, first_delay = 0 }
      local done = perform(db, unique)
      assert.equal("duplicate_key", done.error.code)
      assert.is_false(done.error.retryable)
      assert.equal(1, done.attempts)
      local left = live "t_b"
      assert.is_true(not left or left.valid and not left:fields().unique)
    end)

    it("says of a right that is missing that it is", function()
      local url = scene.forbidden()
      local done = perform(open(url), build("t_a", { "a" }))
      assert.equal("permission", done.error.code)
      assert.is_false(done.error.retryable)
      assert.is_nil(live("t_a", url))
    end)

    it("goes on where a link was lost that it was building by", function()
      local db = open(scene.cut())
      local lost = build("t_a", { "a" })
      lost.retry = { attempts = 5, first_delay = 0.01 }
      local done, events = perform(db, lost)
      assert.is_true(done.ok, tostring(done.error))
      assert.equal(2, done.attempts)
      local retries = {}
      for _, event in ipairs(events) do
        if event.event == "retry" then retries[#retries + 1] = event.error.code end
      end
      assert.same({ "link_lost" }, retries)
      assert.is_true(live("t_a").valid)
    end)

    it("says that the link was lost, and has another for what comes next", function()
      local db = open(scene.cut())
      local done = perform(db, build("t_a", { "a" }))
      assert.equal("link_lost", done.error.code)
      assert.is_true(done.error.retryable)
      assert.is_true(#assert(db:run("query", scene.query)) > 0)
    end)

    -- Cancelling ------------------------------------------------------------------------------------------------------

    it("begins nothing that was cancelled before", function()
      local holder <close>, db, job = held()
      local second = db.db:perform(build("t_b", { "b" }))
      db.db:cancel(second)
      assert.equal("cancelled", db:finish(second).error.code)
      db.db:cancel(job)
      assert.equal("cancelled", db:finish(job).error.code)
      assert.is_nil(live "t_b")
      assert(holder)
    end)

    it("ends what is cancelled on the server, and leaves nothing of it", function()
      local holder <close>, db, job = held()
      db.db:cancel(job)
      local done = db:finish(job)
      assert.equal("cancelled", done.error.code)
      assert.is_nil(live "t_held")
      assert(holder)
    end)

    -- Watching --------------------------------------------------------------------------------------------------------

    it("tells of a step in order: that it begins, how far it is, that it is done", function()
      local holder <close>, db, job, progress, events = held()
      assert.equal("started", events[1].event)
      assert.is_boolean(progress.started)
      assert.is_true(progress.done >= 0 and progress.total >= 0)
      db.db:cancel(job)
      db:finish(job)
      assert.is_nil(db.db:poll(0))
      assert.equal(0, db.db:pending())
      assert(holder)
    end)

    it("lists what is being built, and nothing that is not", function()
      local function builds()
        local found = {}
        local db <close> = engine.open(scene.url, { jobs = 1, application_name = "lunadex specs" })
        for _, row in ipairs(assert(db:run "status")) do
          if row.kind == "build" then found[#found + 1] = row.name end
        end
        return table.concat(found, " ")
      end
      assert.equal("", builds())
      local holder <close>, db, job = held()
      shell.eventually("the status to name it", function() return builds():find("t_held", 1, true) end)
      db.db:cancel(job)
      db:finish(job)
      assert.equal("", builds())
      assert(holder)
    end)

    -- The lock and the history ----------------------------------------------------------------------------------------

    it("gives the run lock to one at a time", function()
      local a, b = open(), open()
      assert(a:run "lock")
      assert(a:run "lock")
      local _, err = b:run "lock"
      assert.equal("lock_held", err.code)
      assert(a:run "unlock")
      assert(b:run "lock")
      assert(b:run "unlock")
    end)

    it("keeps a history, once it is asked to", function()
      local db = open()
      assert(db:run "lock")
      assert.equal(0, #assert(db:run("history", "read")))
      local id = assert(db:run("history", "run", { "1.0", 1, 1 }))[1].id
      assert(db:run("history", "end", { id, "done", n = 3 }))
      assert.equal(1, #assert(db:run("history", "read")))
      assert(db:run "unlock")
    end)
  end)
end
