-- Nothing that a script can say crashes the program: every function and method of the core and of the public API is
-- called with values of all sorts, on objects that are open, closed or in use, while garbage is collected and
-- finalizers call back into the core. Under the asan preset what is wrong with memory shows as well.
local core = require "lunadex.core"
local lunadex = require "lunadex"
local pg = require "support.postgres"
local random = require "support.random"
local shell = require "support.shell"

local seed = math.tointeger(tonumber(os.getenv "LUNADEX_SEED" or "1"))
local rounds = os.getenv "LUNADEX_TEST_LONG" and 200000 or 4000

-- Class → its methods, as they are documented.
local function documented_methods()
  local methods = {}
  for class, name in shell.read_file("lua/meta/core.lua"):gmatch "\nfunction (%u%a+):([%l_]+)" do
    methods[class] = methods[class] or {}
    table.insert(methods[class], name)
  end
  methods.Editor = nil -- there is none without a terminal
  return methods
end

local function field(column)
  return { kind = "index", schema = "public", relation = "orders", keys = { { column = column } } }
end

local function finish(db, job)
  while true do
    local event = assert(db:poll(60))
    if event.event == "done" and event.job == job then return event end
  end
end

describe("whatever a script says", function()
  local server, database
  local reason = pg.missing()
  if not reason then
    setup(function()
      server = pg.shared()
      database = server:create_database()
      server:psql(database, [[CREATE TABLE orders (id int PRIMARY KEY, a int, b text);
        CREATE INDEX orders_a ON orders (a) WHERE b IS NULL;
        CREATE TABLE parts (a int) PARTITION BY RANGE (a); CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
        CREATE INDEX parts_a ON parts (a)]])
    end)
    teardown(function() server:drop_database(database) end)
  end

  -- Things to call, and to give as arguments. Each is made anew now and then, for some get closed.
  local function objects(rng, serial)
    local db = assert(core.open(("fake:fuzz%d?query=ok,fail(deadlock),hang,ok*;perform=note(x),ok*"):format(serial)))
    local closed = assert(core.open "fake:closed")
    closed:close()
    local set, busy = core.declarations(), core.declarations()
    set:add(field "a")
    busy:add(field "b")
    local catalog = finish(db, db:catalog()).result
    db:resolve(busy, catalog)
    local list = { Database = { db, db, closed }, Declarations = { set, busy }, Catalog = { catalog }, Diff = {},
      Relation = {}, Index = {} }
    if server then
      local real = assert(core.open(server:url(database), { jobs = 1 }))
      local live = finish(real, real:catalog()).result
      local resolved = core.declarations()
      resolved:add(field "a")
      assert(finish(real, real:resolve(resolved, live)).ok)
      list.Catalog[2] = live
      list.Declarations[3] = resolved
      list.Diff[1] = core.diff(resolved, live)
      for relation in live:relations() do
        table.insert(list.Relation, relation)
        for _, index in ipairs(relation:indexes()) do table.insert(list.Index, index) end
      end
      if rng:integer(1, 2) == 1 then real:close() else list.Database[4] = real end
    end
    return list
  end

  local function nested(depth)
    local value = {}
    for _ = 1, depth do value = { value, a = value } end
    return value
  end

  local call_back = function() end -- says other things to what is being called

  local strange = {
    function() return nil end, function() return true, false end, function() return 0, 1, -1 end,
    function() return math.maxinteger, math.mininteger end, function() return 1e308, -0.0 end,
    function() return 0 / 0, math.huge end, function() return "", "a" end, function() return "a\0b" end,
    function() return "\xff\xfe%s%n" end, function() return ("x"):rep(100000) end,
    function() return "SELECT 1", "index", "public.orders" end, function() return rawequal end,
    function() return function() error "raised" end end, function() return coroutine.create(rawequal) end,
    function() return io.stdout end, function() return {} end, function() return { 1, "two", false } end,
    function() return { [1] = 1, [3] = 3, n = 1e9 } end, function() return { n = math.maxinteger } end,
    function() return nested(3) end, function() return nested(15) end,
    function()
      local itself = {}
      itself[1], itself.a = itself, itself
      return itself
    end,
    function() return field "a" end, function() return { kind = "drop", relation = "t", name = "i" } end,
    function() return { kind = "build", relation = "t", name = "i", fields = field "a" } end,
    function() return core.null end, function() return core.value("date", 1) end,
    function()
      local tampered = core.value("regex", "a")
      tampered.type, tampered.value = "long", {}
      return tampered
    end,
    function() return core.document("find", "t", "filter", core.document()) end,
    function()
      local document = core.document("a", 1)
      document[1], document[7], document[2] = {}, "a", 7
      return document
    end,
    function()
      return setmetatable({}, { __index = function() error "index" end, __len = function() return -1 end,
        __pairs = function() error "pairs" end, __tostring = function() return 7 end, __name = 7,
        __eq = function() error "eq" end, __close = rawequal })
    end,
    function()
      return setmetatable({ 1 }, { __index = function() call_back() end, __len = function() call_back() return 1 end,
        __tostring = function() call_back() return "" end, __call = function() call_back() end })
    end,
  }

  local function run(seed_of_run, count)
    local rng = random.new(seed_of_run)
    local methods, functions = documented_methods(), {}
    for name, value in pairs(core) do
      -- What would change how this process hears signals, leave files about, or call anything at any moment.
      local apart = name == "catch_signals" or name == "private_file" or name == "call_while_computing"
      if type(value) == "function" and not apart then functions[#functions + 1] = name end
    end
    table.sort(functions)
    local classes = {}
    for class in pairs(methods) do classes[#classes + 1] = class end
    table.sort(classes)
    local things, called, failed = nil, {}, 0
    local function pick(list) return list[rng:integer(1, #list)] end
    local function argument()
      if rng:integer(1, 4) == 1 then return pick(things[pick(classes)]) end
      local values = table.pack(pick(strange)())
      return values[rng:integer(1, values.n)]
    end
    function call_back()
      local db = pick(things.Database)
      pcall(db.poll, db, 0)
      pcall(db.query, db, "from within", { 1 })
      pcall(db.cancel, db)
      pcall(core.document, "a", {})
      if rng:integer(1, 20) == 1 then pcall(db.close, db) end
      if rng:integer(1, 20) == 1 then
        local _ <close> = pick(things.Declarations)
      end
    end
    local function trap() setmetatable({}, { __gc = call_back }) end
    for i = 1, count do
      if i % 200 == 1 then things = objects(rng, i % 7) end
      if rng:integer(1, 10) == 1 then trap() end
      if rng:integer(1, 50) == 1 then collectgarbage(pick { "collect", "step", "incremental", "generational" }) end
      local arguments = { argument(), argument(), argument(), n = rng:integer(0, 3) }
      local call, name
      if rng:integer(1, 3) == 1 then
        name = pick(functions)
        call = core[name]
        if name == "wait" then arguments = { arguments[1], 0, n = 2 } end -- else it might, for ever
      else
        local class = pick(classes)
        local object = pick(things[class])
        name = pick(methods[class])
        if object then
          call = object[name]
          table.insert(arguments, 1, rng:integer(1, 10) == 1 and argument() or object)
          arguments.n = arguments.n + 1
          if name == "poll" then arguments = { arguments[1], pick { 0, 0.001, -1, 0 / 0, "x" }, n = 2 } end
        end
      end
      if call then
        called[name] = (called[name] or 0) + 1
        local results = table.pack(pcall(call, table.unpack(arguments, 1, arguments.n)))
        if not results[1] then
          failed = failed + 1
          assert.is_not_nil(results[2], name)
        end
        for j = 2, results.n do
          local kind = type(results[j])
          if kind == "function" then
            for _ = 1, 3 do pcall(results[j], argument()) end -- an iterator
          elseif kind ~= "nil" and rng:integer(1, 4) == 1 then
            pcall(tostring, results[j])
            pcall(function() return results[j][argument()], #results[j], results[j] == argument() end)
            pcall(function() results[j][argument()] = argument() end)
          end
        end
      end
    end
    for _, db in ipairs(things.Database) do db:close() end
    collectgarbage "incremental"
    return called, failed, functions, methods
  end

  it(("the core stands it (%d calls, LUNADEX_SEED=%d)"):format(rounds, seed), function()
    local called, failed, functions, methods = run(seed, rounds)
    -- It was not all refused at the door, nor was all of it taken.
    assert.is_true(failed > rounds / 10 and failed < rounds * 0.9, failed)
    for _, name in ipairs(functions) do assert.is_truthy(called[name], name) end
    for class, names in pairs(methods) do
      local reachable = server or class == "Database" or class == "Declarations" or class == "Catalog"
      for _, name in ipairs(reachable and names or {}) do assert.is_truthy(called[name], name) end
    end
    local db <close> = assert(core.open "fake:afterwards")
    assert.is_true(finish(db, db:connect()).ok)
  end)

  it("the public API stands it", function()
    local rng = random.new(seed)
    local function pick(list) return list[rng:integer(1, #list)] end
    local function argument()
      local values = table.pack(pick(strange)())
      return values[rng:integer(1, values.n)]
    end
    local db, kept
    -- What each is meant to be called with, so that not everything ends at the door.
    local right = {
      query = function() return pick { "SELECT 1", "SELECT $1" }, pick { {}, { 1 }, { core.null } } end,
      rows = function() return "SELECT 1", {} end,
      transaction = function()
        return function(tx)
          kept = tx
          return tx:query "SELECT 1"
        end
      end,
      build = function() return "public.orders", pick { { "a" }, { "b", name = "orders_b" } } end,
      drop = function() return "public.orders", pick { "orders_a", "orders_b", "absent" } end,
      rename = function() return "public.orders", pick { "orders_a", "orders_b" }, pick { "orders_b", "orders_c" } end,
      connect = function() return "fake:another" end,
      declare = function() return { ["public.orders"] = { { "a" }, { "b" } } } end,
      plan = function() return assert(lunadex.declare { ["public.orders"] = { { "a" } } }), db end,
      snapshot = function() return db end,
      spawn = function() return function(...) return ... end, 1, nil end,
    }
    local waits = { sleep = true, retry = true, now = true }
    local of_connection = { "query", "rows", "transaction", "build", "drop", "rename", "catalog", "status", "alone",
      "close", "kept" }
    local of_module = {}
    for key, value in pairs(lunadex) do
      if type(value) == "function" and not waits[key] then of_module[#of_module + 1] = key end
    end
    for key in pairs(lunadex.bson) do of_module[#of_module + 1] = key end
    table.sort(of_module)
    local both = {}
    for name in pairs(right) do both[#both + 1] = name end
    table.sort(both)
    local done, refused = {}, {}
    for i = 1, rounds // 4 do
      if i % 50 == 1 then
        if db then db:close() end
        db = assert(lunadex.connect(server and i % 100 == 1 and server:url(database) or "fake:public?tables=orders"))
      end
      local name = pick(pick { of_connection, of_module, both, both })
      local call = lunadex[name] or lunadex.bson[name]
      local method = not call and db[name]
      call = call or method
      local rightly = right[name] and rng:integer(1, 2) == 1
      local arguments = rightly and table.pack(right[name]()) or { argument(), argument(), argument(), argument() }
      if rightly and rng:integer(1, 4) == 1 then arguments[rng:integer(1, 4)] = argument() end
      if name == "kept" then call, arguments = kept and kept.query, { kept, "SELECT 1", n = 2 } -- after its end
      elseif method then table.insert(arguments, 1, db) end
      if name == "close" then call = i % 25 == 0 and call or nil end
      if call then
        local results = table.pack(pcall(call, table.unpack(arguments, 1, 5)))
        local counts = results[1] and results[2] ~= nil and done or refused
        counts[name] = (counts[name] or 0) + 1
        if name == "rows" and results[1] then
          pcall(results[2])
          getmetatable(results[5]).__close(results[5])
        elseif name == "spawn" and results[1] then
          pcall(results[2].join, results[2])
        elseif name == "connect" and type(results[2]) == "table" then
          results[2]:close()
        elseif name == "plan" and type(results[2]) == "table" and rng:integer(1, 2) == 1 then
          pcall(results[2].apply, results[2], pick { {}, argument() })
        end
      end
    end
    db:close()
    for _, name in ipairs(both) do
      assert.is_truthy(done[name] or not server and name ~= "query", name)
      assert.is_truthy(refused[name], name)
    end
    assert.is_nil(done.kept)
    local after <close> = assert(lunadex.connect "fake:after")
    assert.equal("SELECT 1", assert(after:query "SELECT 1")[1].text)
  end)

  it("a listener that closes what it listens to, or asks it for more, harms nobody", function()
    for _, what in ipairs { "close", "query", "raise" } do
      local db = assert(lunadex.connect("fake:listener?perform=note(x),ok*"))
      local ok = pcall(function()
        return db:perform({ kind = "drop", schema = "s", relation = "t", name = "i" }, function()
          if what == "close" then db:close() elseif what == "query" then db:query "SELECT 1" else error "raised" end
        end)
      end)
      assert.equal(what == "query", ok)
      db:close()
    end
    local after <close> = assert(lunadex.connect "fake:after the listener")
    assert.is_table(after:query "SELECT 1")
  end)
end)
