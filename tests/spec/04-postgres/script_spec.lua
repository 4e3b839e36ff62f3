-- The public API on PostgreSQL, as scripts see it: statements, rows, transactions, single indexes, tasks.
local lunadex = require "lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("a script on PostgreSQL", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, db

  setup(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, [[
      CREATE TABLE t (id int PRIMARY KEY, a int, b text);
      INSERT INTO t SELECT i, i % 7, 'text ' || i FROM generate_series(1, 5000) i]])
    db = assert(lunadex.connect(server:url(database), { jobs = 3, application_name = "script" }))
  end)
  teardown(function()
    db:close()
    server:drop_database(database)
  end)

  local function value(sql, parameters)
    local rows, err = db:query(sql, parameters)
    assert.is_nil(err and tostring(err))
    return rows[1].v
  end

  it("keeps the types of values", function()
    assert.equal("integer", math.type(value "SELECT 9223372036854775807 AS v"))
    assert.equal(math.maxinteger, value "SELECT 9223372036854775807 AS v")
    assert.equal(0.1, value "SELECT 0.1::float8 AS v")
    assert.equal(12.5, value "SELECT 12.50::numeric AS v")
    assert.equal("12345678901234567890.5", value "SELECT 12345678901234567890.5::numeric AS v")
    assert.equal(math.huge, value "SELECT 'Infinity'::float8 AS v")
    local nan = value "SELECT 'NaN'::float8 AS v"
    assert.is_true(nan ~= nan)
    assert.is_true(value "SELECT true AS v")
    assert.is_nil((value "SELECT NULL AS v"))
    assert.equal("a\0\255", value "SELECT '\\x6100ff'::bytea AS v")
    assert.equal("2026-01-02", value "SELECT date '2026-01-02' AS v")
    assert.same({ 1, 2, 3 }, value "SELECT ARRAY[1, 2, 3] AS v")
    assert.same({ { "a\"b", "c,d" }, { "{}", "\\" } }, value [=[SELECT ARRAY[['a"b', 'c,d'], ['{}', '\']] AS v]=])
    local list = value "SELECT ARRAY['x', NULL, 'NULL', ''] AS v"
    assert.same({ "x", lunadex.null, "NULL", "" }, list)
    assert.same({ 7, 8 }, value "SELECT '[0:1]={7,8}'::int[] AS v")
    assert.same({}, value "SELECT '{}'::text[] AS v")
  end)

  it("sends what it is given", function()
    local sent = { 1, nil, "it's", 0.1, true, { 1, 2 }, { "a\"b", lunadex.null, "c\\d", "" }, {}, 1e300,
      lunadex.bson.binary "a\0b", n = 10 }
    local row = assert(db:query([[SELECT $1::int + 1 AS one, $2::text AS two, $3::text AS three, $4::float8 AS four,
      NOT $5::boolean AS five, $6::int[] AS six, $7::text[] AS seven, $8::int[] AS eight, $9::float8 AS nine,
      $10::bytea AS ten]], sent))[1]
    assert.same({ one = 2, three = "it's", four = 0.1, five = false, six = { 1, 2 },
      seven = { "a\"b", lunadex.null, "c\\d", "" }, eight = {}, nine = 1e300, ten = "a\0b" }, row)
    assert.same({ 3, 7 }, { #assert(db:query("SELECT * FROM t WHERE id = ANY($1)", { { 1, 2, 3 } })),
      #assert(db:query("SELECT * FROM t WHERE id < $1", { 8 })) })
  end)

  it("tells the names of columns, the command, and how many rows were changed", function()
    local rows = assert(db:query("UPDATE t SET b = b WHERE id <= 3 RETURNING id, a"))
    assert.same({ { "id", "a" }, "UPDATE 3", 3, 3 }, { rows.columns, rows.command, rows.affected, #rows })
    assert.same({ id = 1, a = 1 }, rows[1])
  end)

  it("gets nil and an error for what the server refuses, and raises what is a mistake of its own", function()
    local rows, err = db:query "SELECT nonsense"
    assert.is_nil(rows)
    assert.same({ "undefined", "42703", false }, { err.code, err.native, err.retryable })
    rows, err = db:query("SELECT $1", { "a\0b" })
    assert.same({ nil, "usage" }, { rows, err.code })
    rows, err = db:query("SELECT $1", { { a = 1 } })
    assert.same({ nil, "usage" }, { rows, err.code })
    assert.has_error(function() db:query("SELECT $1", { print }) end)
    assert.has_error(function() db:query("SELECT $1", "x") end)
    assert.has_error(function() db:query() end)
    local itself = {}
    itself[1] = itself
    assert.has_error(function() db:query("SELECT $1", { itself }) end)
    rows, err = db:query "BEGIN"
    assert.same({ nil, "usage" }, { rows, err.code })
    assert.matches("transaction", tostring(err))
  end)

  it("reads rows in batches, however many there are", function()
    local count, sum = 0, 0
    for row in db:rows("SELECT id FROM t WHERE id > $1 ORDER BY id", { 10 }, { batch = 64 }) do
      count, sum = count + 1, sum + row.id
    end
    assert.same({ 4990, 5000 * 5001 // 2 - 55 }, { count, sum })
    for _ in db:rows "SELECT 1 WHERE false" do error "there is no row" end
    count = 0
    for row in db:rows("SELECT generate_series(1, 64) AS i", nil, { batch = 64 }) do count = row.i end
    assert.equal(64, count)
  end)

  it("leaves a loop over rows early, and the statement ends", function()
    for _ = 1, 5 do
      for row in db:rows("SELECT generate_series(1, 100000000) AS i", nil, { batch = 10 }) do
        if row.i == 25 then break end
      end
    end
    assert.equal(0, db.open_rows)
    assert.equal(1, value "SELECT 1 AS v")
  end)

  it("has loops in loops, up to its sessions", function()
    local seen = 0
    for a in db:rows("SELECT i FROM generate_series(1, 3) i", nil, { batch = 1 }) do
      for b in db:rows("SELECT i FROM generate_series(1, $1) i", { a.i }, { batch = 1 }) do
        seen = seen + value("SELECT $1::int AS v", { b.i })
      end
    end
    assert.equal(1 + 3 + 6, seen)
    local first, second, third = db:rows "SELECT 1 AS i", db:rows "SELECT 1 AS i", db:rows "SELECT 1 AS i"
    assert.has_error(function() db:query "SELECT 1" end,
      "3 loops over rows are not at their end leave no session for another statement")
    for _, each in ipairs { first, second, third } do
      while each() do end -- luacheck: ignore 542
    end
    assert.equal(1, value "SELECT 1 AS v")
  end)

  it("raises a failure in the middle of a loop", function()
    local count = 0
    local ok, err = pcall(function()
      for _ in db:rows("SELECT 10 / (50 - i) AS v FROM generate_series(1, 100) i", nil, { batch = 7 }) do
        count = count + 1
      end
    end)
    assert.is_false(ok)
    assert.equal("22012", err.native)
    assert.is_true(count >= 42, count)
    assert.equal(0, db.open_rows)
  end)

  describe("in a transaction", function()
    local function count() return value "SELECT count(*)::int AS v FROM t WHERE id < 0" end
    after_each(function() assert(db:query "DELETE FROM t WHERE id < 0") end)

    it("commits what it returns, with what it returns", function()
      local one, two = db:transaction(function(tx)
        assert(tx:query "INSERT INTO t (id) VALUES (-1)")
        assert.equal(0, count())
        for row in tx:rows("SELECT id FROM t WHERE id < 0") do assert.equal(-1, row.id) end
        for row in tx:rows("SELECT id FROM t WHERE id > 0", nil, { batch = 5 }) do
          if row.id > 1 then break end
        end
        assert(tx:query("INSERT INTO t (id) VALUES ($1)", { -2 }))
        return "one", "two"
      end)
      assert.same({ "one", "two", 2 }, { one, two, count() })
      assert.is_true(db:transaction(function() end))
    end)

    it("takes everything back when it raises, or gives nil and an error", function()
      local ok, message = pcall(db.transaction, db, function(tx)
        assert(tx:query "INSERT INTO t (id) VALUES (-1)")
        error("no", 0)
      end)
      assert.same({ false, "no", 0 }, { ok, message, count() })
      local result, err = db:transaction(function(tx)
        assert(tx:query "INSERT INTO t (id) VALUES (-1)")
        return tx:query "SELECT nonsense"
      end)
      assert.same({ nil, "undefined", 0 }, { result, err.code, count() })
    end)

    it("says so when a statement had failed and nobody cared", function()
      local result, err = db:transaction(function(tx)
        tx:query "SELECT nonsense"
        return true
      end)
      assert.is_nil(result)
      assert.matches("rolled back", tostring(err))
    end)

    it("does nothing outside of it once its connection is lost, or a statement has ended it", function()
      local result, err = db:transaction(function(tx)
        assert(tx:query "INSERT INTO t (id) VALUES (-1)")
        local pid = assert(tx:query "SELECT pg_backend_pid() AS pid")[1].pid
        assert(db:query("SELECT pg_terminate_backend($1, 10000)", { pid }))
        for _ = 1, 3 do assert.is_nil((tx:query "INSERT INTO t (id) VALUES (-2)")) end
        return true
      end)
      assert.same({ nil, "link_lost", 0 }, { result, err.code, count() })
      result, err = db:transaction(function(tx)
        assert.is_nil((tx:query "COMMIT"))
        assert.is_nil((tx:query "INSERT INTO t (id) VALUES (-2)"))
        return true
      end)
      assert.same({ nil, "usage", 0 }, { result, err.code, count() })
    end)

    it("is over when its function is: what is kept of it is closed", function()
      local kept
      db:transaction(function(tx) kept = tx end)
      assert.has_error(function() kept:query "SELECT 1" end)
      local loop
      local result, err = db:transaction(function(tx)
        loop = tx:rows("SELECT * FROM t", nil, { batch = 1 })
        return true
      end)
      assert.same({ nil, "usage" }, { result, err and err.code })
      assert.is_function(loop)
      assert.equal(1, value "SELECT 1 AS v")
    end)

    it("is repeated by retry when it met another one", function()
      local attempts = 0
      local result = lunadex.retry(function()
        return db:transaction(function(tx)
          attempts = attempts + 1
          assert(tx:query "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
          assert(tx:query "SELECT * FROM t WHERE id = 1")
          if attempts == 1 then assert(db:query "UPDATE t SET a = a + 1 WHERE id = 1") end
          local rows, err = tx:query "UPDATE t SET a = a + 1 WHERE id = 1 RETURNING a"
          if not rows then return nil, err end
          return rows[1].a
        end)
      end, { first_delay = 0.01 })
      assert.equal(2, attempts)
      assert.equal(result, value "SELECT a AS v FROM t WHERE id = 1")
    end)
  end)

  it("runs tasks side by side, and cancels one", function()
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = lunadex.spawn(function(n)
        return assert(db:query("SELECT $1::int AS n, pg_sleep(0.05)", { n }))[1].n
      end, i)
    end
    assert.same({ 1, 2, 3 }, { tasks[1]:join(), tasks[2]:join(), tasks[3]:join() })
    local begun = lunadex.now()
    local sleeper = lunadex.spawn(function()
      local _, err = db:query "SELECT pg_sleep(60)"
      local _, after = db:query "SELECT 1"
      return err.code, after.code
    end)
    local waiter = lunadex.spawn(function() return sleeper:join() end)
    while value [[SELECT count(*)::int AS v FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)']] == 0 do
      lunadex.sleep(0.01)
    end
    waiter:cancel()
    assert.same({ "cancelled", "cancelled" }, { waiter:join() })
    assert.is_true(lunadex.now() - begun < 50)
    local nap = lunadex.spawn(function() lunadex.sleep(60) end)
    lunadex.sleep(0.01)
    nap:cancel()
    nap:join()
    assert.is_true(lunadex.now() - begun < 50)
  end)

  describe("one index", function()
    local function names()
      return assert(db:query [[SELECT array_agg(relname::text ORDER BY relname) AS v FROM pg_index
        JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 't'::regclass AND indisvalid]])[1].v
    end

    it("is built unless it is there, renamed and dropped", function()
      local seen = {}
      assert.equal("created", db:build("public.t", { "a", lunadex.desc "id", name = "t_a" },
        { on_event = function(event) seen[event.event] = true end }))
      assert.is_true(seen.build_started and seen.build_finished)
      assert.equal("exists", db:build("public.t", { "a", lunadex.desc "id", name = "t_other" }))
      assert.same({ "t_a", "t_pkey" }, names())
      assert.is_true(db:rename("public.t", "t_a", "t_b"))
      assert.same({ "t_b", "t_pkey" }, names())
      assert.equal("dropped", db:drop("public.t", "t_b"))
      assert.equal("absent", db:drop("public.t", "t_b"))
      assert.same({ "t_pkey" }, names())
    end)

    it("is refused with a reason", function()
      local done, err = db:build("public.t", { "a", uniqe = true })
      assert.same({ nil, "registry" }, { done, err.code })
      assert.matches('script_spec.lua:%d+: public.t: .*"uniqe".*"unique"', tostring(err))
      done, err = db:build("public.t", { "nonsense" })
      assert.is_nil(done)
      assert.matches("nonsense", tostring(err))
      done, err = db:build("public.t", { "a", unique = true })
      assert.same({ nil, "duplicate_key" }, { done, err.code })
      done, err = db:drop("public.t", "t_pkey")
      assert.same({ nil, "refused" }, { done, err and err.code })
      done, err = db:rename("public.t", "nonsense", "x")
      assert.same({ nil, "undefined" }, { done, err.code })
      done, err = db:drop("public.nonsense", "x")
      assert.is_nil(done)
      assert.is_truthy(err)
    end)

    it("after the other, on one connection; several at once from a plan", function()
      local a = lunadex.spawn(function() return db:build("public.t", { "a", name = "t_one" }) end)
      local b = lunadex.spawn(function() return db:build("public.t", { "b", name = "t_two" }) end)
      assert.same({ "created", "created" }, { a:join(), b:join() })
      local declared = assert(lunadex.declare({ ["public.t"] = {
        { "a", name = "t_one" }, { "b", name = "t_two" }, { "b", "a", name = "t_three" }, { "a", "b" },
      } }, db))
      local outcome = assert(assert(lunadex.plan(declared, db)):apply { jobs = 2 })
      assert.same({ 2, 2 }, { outcome.summary.created, outcome.summary.skipped })
      assert.equal(5, #names())
    end)
  end)

  it("is closed with all that it had open", function()
    local own = assert(lunadex.connect(server:url(database), { application_name = "to be closed" }))
    own:transaction(function() end)
    local loop = own:rows("SELECT * FROM t", nil, { batch = 1 })
    assert.is_table(loop())
    own:close()
    own:close()
    assert.has_error(function() own:query "SELECT 1" end)
    assert.has_error(function() own:transaction(print) end)
    shell.eventually("its sessions end", function()
      return value "SELECT count(*)::int AS v FROM pg_stat_activity WHERE application_name = 'to be closed'" == 0
    end)
  end)
end)
