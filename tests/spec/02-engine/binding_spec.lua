-- lunadex.core on the scripted driver: what Lua sees of jobs, events, errors, declarations, catalogs and diffs.
local core = require "lunadex.core"

local function finish(db, job, seen)
  local stop = core.now() + 20
  while core.now() < stop do
    local event = db:poll(1)
    if event then
      if seen then seen[#seen + 1] = event end
      if event.event == "done" and event.job == job then return event end
    end
  end
  error "the job did not end"
end

local function open(script, options)
  return assert(core.open("fake:" .. script, options))
end

local function field(...)
  local keys = {}
  for i, column in ipairs { ... } do keys[i] = { column = column } end
  return { kind = "index", schema = "public", relation = "orders", keys = keys }
end

local function misuse(expected, call, ...)
  local ok, message = pcall(call, ...)
  assert.is_false(ok)
  assert.matches(expected, tostring(message), 1, true)
end

describe("a database", function()
  it("connects with the first job and says to what", function()
    local db <close> = open "connect"
    local event = finish(db, db:connect())
    assert.is_true(event.ok)
    assert.equal("Fake", event.result.product)
    assert.equal(10000, event.result.version_number)
    assert.equal(1, event.attempts)
    assert.equal(0, db:pending())
  end)

  it("tells started, notes, retries and the end, in that order", function()
    local db <close> = open "events?perform=note(one),fail(deadlock),ok"
    local seen, kinds = {}, {}
    local job = db:perform {
      kind = "drop", schema = "public", relation = "orders", name = "i", retry = { attempts = 3, first_delay = 0 },
    }
    local done = finish(db, job, seen)
    for _, event in ipairs(seen) do
      assert.equal(job, event.job)
      if event.event ~= "progress" then kinds[#kinds + 1] = event.event end
    end
    assert.same({ "started", "note", "retry", "done" }, kinds)
    assert.is_true(done.ok)
    assert.equal(2, done.attempts)
  end)

  it("tells what is said beside a result", function()
    local db <close> = open "beside?query=notice(one)"
    local seen = {}
    local job = db:query "SELECT 1"
    finish(db, job, seen)
    assert.same({ event = "notice", job = job, severity = "NOTICE", message = "one" }, seen[2])
    assert.equal("done", seen[3].event)
  end)

  it("gives errors as values that print", function()
    local db <close> = open "errors?query=fail(permission)"
    local event = finish(db, db:query "SELECT 1")
    assert.is_false(event.ok)
    assert.equal("permission", event.error.code)
    assert.is_false(event.error.retryable)
    assert.equal("scripted permission", tostring(event.error))
    assert.is_nil(event.error.hint)
  end)

  it("returns rows with their types", function()
    local db <close> = open "rows"
    local rows = finish(db, db:query("SELECT $1, $2, $3", { 1, nil, "x" })).result
    assert.same({ "text", "parameters" }, rows.columns)
    assert.same({ text = "SELECT $1, $2, $3", parameters = 3 }, rows[1])
    assert.equal("integer", math.type(rows[1].parameters))
    assert.equal("FAKE", rows.command)
  end)

  it("gives rows in batches, each when the one before it was taken", function()
    local db <close> = open "batches?query=ok*"
    local job = db:query("SELECT", { 1 }, 1)
    local batches = 0
    while true do
      local event = assert(db:poll(20))
      if event.event == "rows" then
        assert.same({ { text = "SELECT", parameters = 1 } }, { event.rows[1] })
        batches = batches + 1
        assert.is_nil(db:poll(0.02)) -- nothing comes by itself
        db:more(job)
      elseif event.event == "done" then
        assert.is_true(event.ok)
        assert.equal(0, #event.result)
        break
      end
    end
    assert.equal(2, batches)
    db:more(job)
    db:more(4711)
  end)

  it("cancels a query whose rows nobody takes, and closes with one", function()
    local db = open("untaken?query=ok*", { jobs = 2 })
    for _ = 1, 20 do
      local job = db:query("SELECT", nil, 1)
      while assert(db:poll(20)).event ~= "rows" do end -- luacheck: ignore 542
      db:cancel(job)
      local seen = {}
      assert.equal("cancelled", finish(db, job, seen).error.code)
    end
    for _ = 1, 5 do db:query("SELECT", nil, 1) end
    db:poll(0.01)
    db:close()
  end)

  it("keeps a transaction's session, and does nothing outside of it once that is lost", function()
    local db <close> = open("transact?query=ok,lose,ok*", { jobs = 1 })
    assert.is_true(finish(db, db:transact "begin").ok)
    assert.is_true(finish(db, db:query "one").ok)
    assert.equal("link_lost", finish(db, db:query "two").error.code)
    for _ = 1, 3 do assert.equal("link_lost", finish(db, db:query "three").error.code) end
    assert.equal("link_lost", finish(db, db:transact "commit").error.code)
    assert.is_true(finish(db, db:query "afterwards").ok)
    assert.is_true(finish(db, db:transact "begin").ok)
    assert.is_true(finish(db, db:transact "rollback").ok)
  end)

  it("cancels one job, or all", function()
    local db <close> = open("cancel?query=hang*", { jobs = 1 })
    local first, second, third = db:query "a", db:query "b", db:query "c"
    db:cancel(second)
    assert.equal("cancelled", finish(db, second).error.code)
    assert.equal(2, db:pending())
    db:cancel()
    local ended = {}
    while db:pending() > 0 do
      local event = db:poll(5)
      if event and event.event == "done" then ended[event.job] = event.error.code end
    end
    assert.same({ [first] = "cancelled", [third] = "cancelled" }, ended)
    db:cancel(12345)
  end)

  it("holds a lock that another one cannot have", function()
    local a <close> = open "lock"
    local b <close> = open "lock"
    assert.is_true(finish(a, a:lock()).ok)
    assert.equal("lock_held", finish(b, b:lock()).error.code)
    assert.is_true(finish(a, a:unlock()).ok)
    assert.is_true(finish(b, b:lock()).ok)
  end)

  it("that is only to be read is not changed, and not asked to", function()
    local db <close> = open("reading", { read_only = true })
    local drop = { kind = "drop", schema = "s", relation = "t", name = "i", retry = { attempts = 3, first_delay = 0 } }
    for _, call in ipairs { { "perform", drop }, { "lock" }, { "history", "run" }, { "history", "end" } } do
      local done = finish(db, db[call[1]](db, call[2]))
      assert.equal("read_only", done.error.code)
      assert.equal("this connection only reads: nothing can be changed through it", done.error.message)
    end
    for _, call in ipairs { { "history", "read" }, { "catalog" }, { "status" }, { "query", "x" }, { "unlock" } } do
      assert.is_true(finish(db, db[call[1]](db, call[2])).ok)
    end
  end)

  it("can be closed with jobs under way, and again", function()
    local db = open "close?query=hang*;perform=hang*"
    for _ = 1, 10 do db:query "x" end
    db:perform { kind = "drop", schema = "s", relation = "t", name = "i" }
    db:catalog()
    db:close()
    db:close()
    assert.equal("lunadex.Database (closed)", tostring(db))
    misuse("closed database", db.query, db, "x")
  end)

  it("is closed by the collector, with all it had in hand", function()
    do
      local db = open "collect?resolve=hang*;query=hang*"
      local catalog = finish(db, db:catalog()).result
      local set = core.declarations()
      set:add(field "a")
      db:resolve(set, catalog)
      db:query "x"
    end
    collectgarbage()
    collectgarbage()
  end)

  it("reads parameters that talk to it without asking them", function()
    local db <close> = open "reentered"
    local talks = setmetatable({ 1 }, { __index = function() db:query "from within" end })
    local rows = finish(db, db:query("SELECT $1", talks)).result
    assert.same({ text = "SELECT $1", parameters = 1 }, rows[1])
    assert.equal(0, db:pending())
  end)

  -- Calls `work` until `count` finalizers have run: each of its allocations is the collector's chance for the next few.
  local function among_finalizers(count, finalizer, work)
    local ran = 0
    for _ = 1, count do
      setmetatable({}, { __gc = function()
        ran = ran + 1
        finalizer()
      end })
    end
    collectgarbage("incremental", 1000, 100, 6)
    repeat collectgarbage "step" until ran > 0
    assert.is_true(ran < count, ran)
    while ran < count do work() end
    collectgarbage("incremental", 200, 100, 13)
  end

  it("stands finalizers that talk to it while a statement is read or an event is told", function()
    local db <close> = open("finalizers?query=ok*;perform=note(said),ok*", { jobs = 2 })
    local document = core.document("find", "t", "filter", core.document("a", 1, "b", core.list { 1, "x" }))
    local answers = 0
    local function answer()
      local event = db:poll(0)
      if event and event.event == "rows" then
        assert.equal("FAKE", event.rows.command)
        db:more(event.job)
      elseif event and event.event == "done" then
        answers = answers + 1
      end
      return event
    end
    for _ = 1, 10 do
      among_finalizers(500, function()
        db:query("from a finalizer", { 1 })
        answer()
        answer()
      end, function()
        db:query(document, nil, 1)
        db:query("SELECT", { 0.5, document, n = 3 })
        db:perform { kind = "drop", schema = "s", relation = "t", name = "i" }
        while answer() do end -- luacheck: ignore 542
      end)
    end
    assert.is_true(answers > 0)
  end)

  it("stands finalizers that close it at any moment, and ones that change what is read", function()
    local calls = 0
    for _ = 1, 10 do
      local opened, at, changing = {}, 1, nil
      for i = 1, 25 do opened[i] = open("closed", { jobs = 1 }) end
      among_finalizers(4000, function()
        calls = calls + 1
        if calls % 199 ~= 0 then return end -- else nothing would be open for long enough
        for i = 1, 20 do changing["more" .. i] = i end
        opened[at]:close()
        at = at + 1
      end, function()
        local db = opened[at]
        changing = { a = 1, b = { c = 2 } }
        -- Whether it is closed before its end is chance; both are well.
        pcall(function()
          db:query(changing, { changing, 0.5, { changing } })
          db:history("run", { 1, 0.5, "x" })
          while assert(db:poll(20)).event ~= "done" do end -- luacheck: ignore 542
        end)
      end)
      for _, db in ipairs(opened) do db:close() end
    end
  end)

  it("waits no longer than it is told", function()
    local db <close> = open "wait"
    local began = core.now()
    assert.is_nil(db:poll(0.05))
    local waited = core.now() - began
    assert.is_true(waited >= 0.045 and waited < 2)
  end)

  it("refuses what makes no sense", function()
    local db <close> = open "misuse"
    misuse("string expected", db.query, db)
    misuse("zero byte", db.query, db, "a\0b")
    misuse("seconds expected", db.poll, db, -1)
    misuse("field 'kind'", db.perform, db, {})
    misuse("field 'kind'", db.perform, db, { kind = "explode" })
    misuse("'name' is missing", db.perform, db, { kind = "drop", relation = "t" })
    misuse("'fields' is missing", db.perform, db, { kind = "build", relation = "t", name = "i" })
    misuse("'spare' is missing", db.perform, db, { kind = "swap", relation = "t", name = "i", other = "j" })
    misuse("not negative", db.perform, db, { kind = "drop", relation = "t", name = "i", lock_timeout = -1 })
    misuse("a function cannot be sent", db.query, db, "x", { print })
    misuse("document expected", db.query, db, { 1 })
    misuse("rows expected", db.query, db, "x", {}, -1)
    misuse("invalid option", db.transact, db, "explode")
    misuse("before COMMIT", db.transact, db, "begin", {})
    misuse("behind BEGIN", db.transact, db, "commit", {}, {})
    misuse("before COMMIT", db.transact, db, "next", 5, {})
    misuse("a list of statements", db.transact, db, "next", { "SELECT 1" }, {})
    misuse("the text of a statement", db.transact, db, "commit", { { 1 } })
    misuse("a list of parameters", db.transact, db, "commit", { { "SELECT $1", 5 } })
    assert.equal(0, db:pending())
    local none, err = core.open "nonsense"
    assert.is_nil(none)
    assert.equal("usage", err.code)
    none, err = core.open("fake:x", { jobs = 0 })
    assert.is_nil(none)
    assert.equal("usage", err.code)
  end)
end)

describe("declarations", function()
  it("count, print and give back what they were given", function()
    local set = core.declarations()
    assert.equal(1, set:add(field("a", "b")))
    local fields = {
      kind = "foreign_key", relation = "orders", name = "fk", keys = { { column = "customer" } },
      references = { schema = "public", relation = "customers", columns = { "id" } }, on_delete = "cascade",
      deferrable = true,
    }
    assert.equal(2, set:add(fields))
    local odd = {
      kind = "index", schema = "public", relation = "orders", method = "gin", unique = true,
      keys = { { expression = "lower(a)", opclass = "x_ops", opclass_options = { { "siglen", "32" } },
        descending = true, nulls = "last", collation = "C" } },
      include = { "c" }, where = "a > 1", with = { { "fillfactor", "70" } }, tablespace = "fast",
      nulls_not_distinct = true,
    }
    assert.equal(3, set:add(odd))
    assert.equal(3, set:count())
    assert.equal(3, #set)
    assert.same(fields, set:fields(2))
    assert.same(odd, set:fields(3))
    assert.equal("btree (a, b)", set:text(1))
    assert.equal("lunadex.Declarations: 3", tostring(set))
  end)

  it("refuse what is malformed, naming the field", function()
    local set = core.declarations()
    local function refuse(expected, changes)
      local fields = field "a"
      for key, value in pairs(changes) do fields[key] = value end
      misuse(expected, set.add, set, fields)
    end
    refuse("field 'kind'", { kind = "table" })
    refuse("'unqiue'", { unqiue = true })
    refuse("field 'unique': boolean expected, got string", { unique = "yes" })
    refuse("either a column or an expression", { keys = { {} } })
    refuse("either a column or an expression", { keys = { { column = "a", expression = "b" } } })
    refuse("unknown field 'desc' of a key", { keys = { { column = "a", desc = true } } })
    refuse("\"first\" or \"last\"", { keys = { { column = "a", nulls = "middle" } } })
    refuse("there are no keys", { keys = {} })
    refuse("zero bytes", { where = "a\0b" })
    refuse("needs 'references'", { kind = "foreign_key" })
    refuse("list of { name, value }", { with = { "fillfactor" } })
    misuse("table expected", set.add, set)
    misuse("no such declaration", set.text, set, 1)
    assert.equal(0, set:count())
  end)

  it("cannot be touched while they are resolved, nor added to afterwards", function()
    local db <close> = open "resolve?resolve=ok(0.2)"
    local catalog = finish(db, db:catalog()).result
    local set = core.declarations()
    set:add(field "a")
    local job = db:resolve(set, catalog)
    misuse("being resolved", set.count, set)
    assert.is_true(finish(db, job).ok)
    assert.equal(1, set:count())
    misuse("nothing can be added", set.add, set, field "b")
  end)

  it("know their twins: the same definition on the same relation, whatever it is called", function()
    local set = core.declarations()
    local function add(relation, name, more)
      local fields = { kind = "index", schema = "public", relation = relation, name = name,
        keys = { { column = "a" } } }
      for key, value in pairs(more or {}) do fields[key] = value end
      return table.pack(set:add(fields))
    end
    assert.same({ 1, "x", n = 2 }, add("t", "x"))
    assert.same({ 2, "x", n = 2 }, add("u", "x"))
    assert.same({ 3, "y", 1, n = 3 }, add("t", "y"))
    assert.same({ 4, nil, n = 2 }, add("t", nil, { unique = true }))
    assert.same({ 5, nil, 3, n = 3 }, add("t", nil, { with = { { "fillfactor", "70" } } }))
    assert.same({ 3, 1, nil }, { set:twin(5), set:twin(3), set:twin(1) })
    local method = { method = "brin", with = { { "pages_per_range", "1" } } }
    assert.same({ 6, nil, n = 2 }, add("t", nil, method))
    method.with[1][2] = "2"
    assert.same({ 7, nil, 6, n = 3 }, add("t", nil, method))
    for i = 1, 500 do add("t", nil, { where = "a > " .. i % 250 }) end
    assert.equal(8 + 100, set:twin(8 + 350))
  end)

  it("are copied for a run, and live as long as the copy", function()
    local set = core.declarations()
    set:add(field("a", "b"))
    set:add_relation("public", "t")
    local copy = set:copy()
    misuse("nothing can be added", set.add, set, field "b")
    set = nil -- luacheck: ignore 311
    collectgarbage()
    assert.equal(1, copy:count())
    assert.equal("b", copy:fields(1).keys[2].column)
  end)

  it("refuse to take what is no plain declaration", function()
    local known = { keys = {}, expressions = {} }
    local function plain(raw, kind)
      return (core.declarations():add_plain(raw, kind or "index", nil, "t", known))
    end
    local key = {}
    known.keys[key], known.expressions["x > 1"] = { column = "a", descending = true }, "x > 1"
    assert.equal(1, plain { "a", key, unique = true, include = { "c" }, where = "x > 1", name = "n" })
    assert.equal(1, plain({ "a", name = "n", include = { "c" } }, "primary_key"))
    local list33 = {}
    for i = 1, 33 do list33[i] = "c" .. i end
    for _, raw in ipairs {
      {}, { name = "n" }, { "" }, { "a", name = "" }, { "a\0b" }, { "ä" }, { ("x"):rep(64) }, { 1 }, { {} }, list33,
      { "a", [3] = "b" }, { "a", [1.5] = "b" }, { "a", [key] = 1 }, { "a", names = "n" }, { "a", name = 1 },
      { "a", unique = 1 }, { "a", where = "y" }, { "a", where = 1 }, { "a", include = {} }, { "a", include = "c" },
      { "a", include = { "c", [3] = "d" } }, { "a", include = { "c", x = "d" } }, { "a", include = { 1 } },
      { "a", critical = true }, { "a", "b", method = "hash" }, { key, method = "gin" },
      { "a", method = "gin", unique = true },
      { "a", method = "brin", include = { "c" } }, { "a", method = 1 }, { "a", sql = "x" },
    } do
      assert.is_nil(plain(raw))
    end
    for _, raw in ipairs { { key }, { "a", unique = true }, { "a", method = "btree" }, { "a", where = "x > 1" } } do
      assert.is_nil(plain(raw, "primary_key"))
    end
    assert.is_nil(plain({ "a", references = "x" }, "foreign_key"))
    local set = core.declarations()
    misuse("table expected", set.add_plain, set, 1, "index", nil, "t", known)
    misuse("table expected", set.add_plain, set, {}, "index", nil, "t", nil)
    misuse("kind", set.add_plain, set, {}, "thing", nil, "t", known)
    misuse("string expected", set.add_plain, set, {}, "index", nil, nil, known)
    assert.equal(0, set:count())
  end)
end)

describe("a diff", function()
  it("tells of declarations that cannot be resolved", function()
    local db <close> = open "diff"
    local catalog = finish(db, db:catalog()).result
    assert.equal(0, catalog.relation_count)
    assert.equal(0, catalog.index_count)
    assert.is_nil(catalog:relation("public", "orders"))
    assert.is_nil(catalog:index(nil, "x"))
    assert.is_nil(catalog:relations()())
    local set = core.declarations()
    set:add(field "a")
    misuse("not resolved against", core.diff, set, catalog)
    finish(db, db:resolve(set, catalog))
    local diff = core.diff(set, catalog)
    misuse("a diff has been made", db.resolve, db, set, catalog) -- while this one may be walked
    assert.equal(1, diff.count)
    assert.equal(1, diff.declared)
    assert.equal(1, diff:total "error")
    misuse("no such action", diff.total, diff, "nonsense")
    local changes = {}
    for change in diff:changes() do changes[#changes + 1] = change end
    assert.equal(1, #changes)
    assert.equal("error", changes[1].action)
    assert.equal(1, changes[1].ordinal)
    assert.equal("undefined", changes[1].error.code)
    assert.is_nil(changes[1].relation)
  end)
end)

describe("names and texts", function()
  it("are split and quoted as registries write them", function()
    assert.same({ "public", "orders" }, { core.split_name "public.orders" })
    assert.same({ nil, "orders" }, { core.split_name "orders" })
    assert.same({ "a.b", 'c"d' }, { core.split_name '"a.b"."c""d"' })
    assert.is_nil(select(2, core.split_name "a..b"))
    assert.is_nil(select(2, core.split_name "a\0b"))
    assert.equal("public.orders", core.quote_name("public", "orders"))
    for _, name in ipairs { "Odd Name", "with.dot", 'with"quote', "" } do
      local _, back = core.split_name(core.quote_name("s", name))
      if name ~= "" then assert.equal(name, back) end
    end
  end)

  it("are shown as they would be sent", function()
    assert.matches("DROP INDEX CONCURRENTLY", core.describe {
      kind = "drop", schema = "public", relation = "orders", name = "i",
    }, 1, true)
  end)
end)

describe("a terminal", function()
  it("is needed by an editor", function()
    misuse("function expected", core.editor, 1)
    misuse("a line editor needs a terminal", core.editor, print)
  end)
end)

describe("a private file", function()
  local shell = require "support.shell"

  it("is made with its directories, and left alone if it is there", function()
    local path = shell.directory("private") .. "/a/b/c"
    assert.is_true(core.private_file(path))
    assert.equal("700 600\n", shell.check(("echo $(stat -c %%a %s %s)"):format(path:sub(1, -3), path)))
    shell.write_file(path, "kept")
    assert.is_true(core.private_file(path))
    assert.equal("kept", shell.read_file(path))
    assert.same({ n = 2, nil, "Not a directory" }, table.pack(core.private_file(path .. "/d")))
    misuse("too long", core.private_file, ("x"):rep(5000))
  end)
end)

describe("a signal", function()
  it("does not break off the library, which looks for itself", function()
    local calls = 0
    local function count(name, anywhere)
      local before = calls
      coroutine.wrap(function()
        core.call_while_computing(function() calls = calls + 1 end, anywhere)
        coroutine.wrap(load("for _ = 1, 1e6 do end", name))()
      end)()
      return calls - before
    end
    assert.is_true(count "@script.lua" > 10)
    assert.is_true(count "=input" > 10)
    assert.equal(0, count "@lua/lunadex/apply.lua")
    assert.is_true(count("@lua/lunadex/apply.lua", true) > 10)
  end)

  it("that came is forgotten, and breaks off what computes", function()
    core.catch_signals()
    local shell = require "support.shell"
    local pid = shell.read_file("/proc/self/stat"):match "^%d+"
    local function interrupted(chunk)
      local thread = coroutine.create(function()
        core.call_while_computing(function()
          if core.signal() then error "interrupted" end
        end)
        chunk()
      end)
      local ok, message = coroutine.resume(thread)
      core.forget_signal()
      assert.is_nil(core.signal())
      assert.is_false(ok)
      assert.matches("interrupted", message, 1, true)
    end
    for _ = 1, 2 do
      interrupted(function()
        shell.run("kill -INT " .. pid)
        while true do pcall(error) end
      end)
      interrupted(function()
        coroutine.wrap(function()
          shell.run("kill -INT " .. pid)
          while true do end
        end)()
      end)
    end
  end)
end)

describe("a document", function()
  local function names(document)
    local list = {}
    for name, value in pairs(document) do
      assert.equal(document[name], value)
      list[#list + 1] = name
    end
    return table.concat(list, " ")
  end

  it("tells all its fields, those that a script has put into it last and by name", function()
    local document = core.document("z", 1, "a", 2, "m", 3)
    document.y, document.b, document["a\0b"], document.a = 4, 5, 6, nil
    assert.equal("z m a\0b b y", names(document))
    document.a = 7
    assert.equal("z a m a\0b b y", names(document))
    local empty = core.document()
    assert.equal("", names(empty))
    for i = 1, 1000 do empty[("%04d"):format(i * 7 % 1000)] = i end
    local last = ""
    for name in pairs(empty) do
      assert.is_true(last < name)
      last = name
    end
    assert.equal("0999", last)
  end)

  it("may lose fields while they are told, and lists what it likes", function()
    local document, count = core.document("a", 1, "b", 2, "c", 3), 0
    document.d = 4
    for _ in pairs(document) do
      count = count + 1
      document.b, document.d = nil, nil
    end
    assert.equal(2, count)
    document[1], document[2], document[3] = "c", "c", {}
    assert.equal("c a", names(document))
  end)
end)
