-- The public API on PostgreSQL, as scripts see it: statements, rows, transactions, single indexes, tasks.
local lunadex = require "lunadex"
local pg = require "support.postgres"
local program = require "support.lunadex"
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

  it("sends a number as what it is, with no digits more", function()
    local sent = { 0.1, 19.99, 1e-20, -2.5, 1e300, 0.1 + 0.2, 5e-324, 123456789012345680.0 }
    for _ = 1, 50 do sent[#sent + 1] = (math.random() - 0.5) * 10.0 ^ math.random(-30, 30) end
    local rows = assert(db:query("SELECT v::float8 AS v FROM unnest($1::text[]) v", { sent }))
    for i, number in ipairs(sent) do assert.equal(number, rows[i].v) end
    assert.equal("0.1 19.99 0.00000000000000000001", value(
      "SELECT concat_ws(' ', $1::numeric, $2::numeric, $3::numeric) AS v", { 0.1, 19.99, 1e-20 }))
    assert.equal("{0.1,{19.99}}", value("SELECT $1::text AS v", { { 0.1, { 19.99 } } }):gsub('"', ""))
  end)

  it("says of a right that is lacking no more than the server does", function()
    server:psql(nil, "DO $$BEGIN CREATE ROLE ldx_nobody LOGIN; EXCEPTION WHEN duplicate_object THEN END$$")
    local nobody <close> = assert(lunadex.connect(server:url(database, "ldx_nobody")))
    local rows, err = nobody:query "SELECT * FROM t"
    assert.same({ nil, "permission", nil, "permission denied for table t" }, { rows, err.code, err.hint, err.message })
  end)

  it("tells the names of columns, the command, and how many rows were changed", function()
    local rows = assert(db:query("UPDATE t SET b = b WHERE id <= 3 RETURNING id, a"))
    assert.same({ { "id", "a" }, "UPDATE 3", 3, 3 }, { rows.columns, rows.command, rows.affected, #rows })
    assert.same({ id = 1, a = 1 }, rows[1])
  end)

  it("gets each of several columns of one name", function()
    local rows = assert(db:query "SELECT 1 AS a, 2 AS b, 3 AS a, NULL AS b")
    assert.same({ { a = 3, 1, 2 }, { "a", "b", "a", "b" } }, { rows[1], rows.columns })
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

  it("says what a list of parameters lacks, and where a text may not be several statements", function()
    local reader <close> = assert(lunadex.connect(server:url(database), { read_only = true }))
    local function hint_of(from, ...)
      local rows, err = from:query(...)
      assert.is_nil(rows)
      return err.hint
    end
    assert.matches("{ 5, nil, n = 2 }", hint_of(db, "SELECT $1::int, $2::int", { 5, nil }), 1, true)
    assert.matches("is the first of a list", hint_of(reader, "SELECT $1::int"), 1, true)
    local one = " a text has to be one statement: send them one by one."
    assert.equal("With parameters" .. one, hint_of(db, "SELECT 1; SELECT $1::int", { 1 }))
    assert.equal("On a connection that only reads" .. one, hint_of(reader, "SELECT 1; SELECT 2"))
    local ok, err = pcall(function() for _ in db:rows "SELECT 1; SELECT 2" do error "there is no row" end end)
    assert.same({ false, "For its rows in batches" .. one }, { ok, err.hint })
    assert.is_nil(hint_of(db, "SELECT 1; SELECT FROM WHERE"))
    assert.equal(2, assert(db:query "SELECT 1 AS a; SELECT 2 AS a")[1].a)
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

  it("may wait in a function that C calls, and in a module while it is required", function()
    local folder = shell.directory "module"
    shell.write_file(folder .. "/settings.lua", [[
      local db <close> = assert(require "lunadex".connect())
      return db:query("SELECT count(*) AS n FROM t")[1].n]])
    local result = program.run { "run", "--target", server:url(database), "-", stdin = ([[
      package.path = %q
      local lunadex = require "lunadex"
      local db <close> = assert(lunadex.connect())
      local function double(digit) return db:query("SELECT $1::int * 2 AS v", { digit })[1].v end
      print(require "settings", (("1 2"):gsub("%%d", double)))
      print(lunadex.spawn(string.gsub, "3 4", "%%d", double):join())
      local list = { 3, 1, 2 }
      table.sort(list, function(a, b) return db:query("SELECT $1::int < $2::int AS v", { a, b })[1].v end)
      print(table.concat(list))]]):format(folder .. "/?.lua") }
    assert.same({ 0, "5000\t2 4\n6 8\t2\n123\n" }, { result.status, result.stdout }, tostring(result))
  end)

  it("ends a loop over rows that nobody can go on with", function()
    for _ = 1, 5 do
      assert.same({ i = 1 }, db:rows("SELECT i FROM generate_series(1, 5000) i")())
      local left = coroutine.wrap(function()
        for row in db:rows "SELECT i FROM generate_series(1, 5000) i" do coroutine.yield(row) end
      end)
      assert.same({ i = 1 }, left())
      left = nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
    end
    assert.equal(1, value "SELECT 1 AS v")
    local next_row, _, _, closing = db:rows("SELECT i FROM generate_series(1, 5000) i")
    next_row()
    do local _ <close> = closing end
    assert.is_nil(next_row())
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
      "3 loops over rows are not at their end and leave no session for another statement")
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

    describe("that follows another,", function()
      local transactions
      before_each(function() transactions = db:transactions() end)
      after_each(function()
        transactions:rollback()
        assert(db:query "DELETE FROM t WHERE id < 0")
      end)

      local function insert(id) return { "INSERT INTO t (id, a) VALUES ($1, $2)", { id, nil, n = 2 } } end
      local divide = { "SELECT 1 / 0" }

      it("is sent together with its first statements, and with the last ones of the other", function()
        local begun = transactions:begin { { "SET LOCAL work_mem = '77kB'" }, insert(-1) }
        assert.same({ 2, 1 }, { #begun.results, begun.results[2].affected })
        assert.equal("77kB", assert(transactions.open:query "SELECT current_setting('work_mem') AS v")[1].v)
        begun = transactions:commit({ insert(-2), insert(-3) }, { { "SELECT current_setting('work_mem') AS v" } })
        assert.same({ 3, 1 }, { count(), #begun.results })
        assert.not_equal("77kB", begun.results[1][1].v)
        assert.is_true(transactions:commit { insert(-4) })
        assert.same({ 4 }, { count(), transactions.open })
      end)

      it("is not begun where its own statements fail, and the other is committed", function()
        local begun = transactions:begin { insert(-1), divide, insert(-2) }
        assert.same({ 1, "22012", 0 }, { #begun.results, begun.err.native, count() })
        assert.is_nil(transactions.open)
        assert.is_nil(transactions:begin().err)
        begun = transactions:commit({ insert(-1) }, { insert(-2), divide })
        assert.same({ 1, "22012", 1 }, { #begun.results, begun.err.native, count() })
        assert.is_nil(transactions.open)
        assert.is_nil(transactions:begin().err)
      end)

      it("is not begun where the other is not committed", function()
        for _, last in ipairs { { insert(-1), divide }, {} } do
          assert.is_nil(transactions:begin().err)
          -- COMMIT after a failure is no failure for the server.
          if not last[1] then transactions.open:query "SELECT nonsense" end
          local begun, err = transactions:commit(last, { insert(-2) })
          assert.same({ nil, last[1] and "invalid_definition" or "usage", 0 }, { begun, err.code, count() })
          assert.is_nil(transactions.open)
        end
      end)

      it("is over once the link is lost, and the other may be committed", function()
        assert.is_nil(transactions:begin({ insert(-1) }).err)
        local begun, err = transactions:commit({ insert(-2) }, { { "SELECT pg_terminate_backend(pg_backend_pid())" } })
        if not begun then assert.matches("may have been committed", tostring(err)) end
        assert.equal("terminated", (begun and begun.err or err).code)
        assert.equal(2, count())
        assert.is_nil(transactions.open)
        assert.is_nil(transactions:begin({ insert(-3) }).err)
      end)

      it("is not left open by a listener that raises", function()
        local listening <close> = assert(lunadex.connect(server:url(database), { application_name = "listening",
          on_notice = function() error("heard", 0) end }))
        local warn = { "DO $$ BEGIN RAISE WARNING 'it is said'; END $$" }
        local own = listening:transactions()
        assert.same({ false, "heard" }, { pcall(own.begin, own, { insert(-1), warn }) })
        assert.same({ nil, 0 }, { own.open, count() })
        own:begin { insert(-1) }
        assert.same({ false, "heard" }, { pcall(own.commit, own, nil, { insert(-2), warn }) })
        assert.same({ nil, 1 }, { own.open, count() })
        assert.equal(0, value [[SELECT count(*)::int AS v FROM pg_stat_activity
          WHERE application_name = 'listening' AND xact_start IS NOT NULL]])
      end)

      it("takes statements that say nothing", function()
        local begun = transactions:begin { { "-- nothing" }, insert(-1), { "" } }
        assert.same({ nil, 3, 1 }, { begun.err, #begun.results, begun.results[2].affected })
        assert.is_true(transactions:commit {})
      end)

      it("can be cancelled, and the other stays committed", function()
        local done = lunadex.spawn(function()
          assert.is_nil(transactions:begin({ insert(-1) }).err)
          local begun = transactions:commit(nil, { insert(-2), { "SELECT pg_sleep(60)" } })
          return begun.err.code
        end)
        shell.eventually("the sleep", function()
          return value "SELECT count(*)::int AS v FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'" == 1
        end)
        done:cancel()
        assert.same({ "cancelled", 1 }, { done:join(), count() })
      end)
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
        assert(db:query("SELECT pg_terminate_backend($1)", { pid }))
        shell.eventually("the session to be gone", function()
          return #assert(db:query("SELECT pid FROM pg_stat_activity WHERE pid = $1", { pid })) == 0
        end)
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

    local function attempts_of(work, options)
      local attempts = 0
      local result, err = lunadex.retry(function()
        attempts = attempts + 1
        return db:transaction(function(tx) return work(tx, attempts) end)
      end, options)
      return attempts, result, err
    end

    it("is repeated by retry when its link was lost before its end", function()
      assert.same({ 2, "done" }, { attempts_of(function(tx, attempt)
        local rows, err = tx:query "INSERT INTO t (id) VALUES (-1)"
        if rows and attempt == 1 then rows, err = tx:query "SELECT pg_terminate_backend(pg_backend_pid())" end
        return rows and "done", err
      end, { first_delay = 0 }) })
      assert.equal(1, count())
    end)

    it("is not repeated when nobody knows whether its COMMIT was done, unless that does no harm", function()
      server:psql(database, [[
        CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END$$;
        CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION cut()]])
      local function work(tx, attempt)
        if attempt == 1 then return tx:query "INSERT INTO t (id) VALUES (-1)" end
        return "looked first"
      end
      local attempts, result, err = attempts_of(work, { first_delay = 0 })
      assert.same({ 1, nil, true, "verify" }, { attempts, result, err.retryable, err.retry })
      assert.equal("It may have been committed: look before it is repeated.", err.hint)
      assert.same({ 2, "looked first" }, { attempts_of(work, { first_delay = 0, idempotent = true }) })
      server:psql(database, "DROP FUNCTION cut() CASCADE")
      local ran = 0
      local rows
      rows, err = lunadex.retry(function()
        ran = ran + 1
        return db:query "SELECT pg_terminate_backend(pg_backend_pid())"
      end, { first_delay = 0 })
      assert.same({ nil, "verify", 1 }, { rows, err.retry, ran })
      assert.equal("It may have been done: look before it is sent again.", err.hint)
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
    -- Each waits until the two others are at it.
    server:psql(database, [[CREATE SEQUENCE met; CREATE FUNCTION meet(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN
      PERFORM nextval('met');
      WHILE (SELECT last_value FROM met) < 3 LOOP PERFORM pg_sleep(0.01); END LOOP;
      RETURN n; END$$]])
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = lunadex.spawn(function(n) return assert(db:query("SELECT meet($1) AS n", { n }))[1].n end, i)
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

    it("that is in use is dropped only by who says so", function()
      server:psql(database, "CREATE INDEX t_used ON t (b)")
      shell.eventually("its use to be counted", function()
        server:psql(database, "SET enable_seqscan = off; SELECT id FROM t WHERE b = 'text 7'")
        return value "SELECT idx_scan::int AS v FROM pg_stat_user_indexes WHERE indexrelname = 't_used'" > 0
      end)
      local done, err = db:drop("public.t", "t_used")
      assert.same({ nil, "refused" }, { done, err and err.code })
      assert.matches('^used%-index%-drop: it was used .*without = { "used%-index%-drop" }', tostring(err))
      assert.equal("dropped", db:drop("public.t", "t_used", { without = { "used-index-drop" } }))
    end)

    it("that a rule holds back is refused, not taken for there already", function()
      local rule = shell.directory("rule")
      shell.write_file(rule .. "/held.lua", [[return { name = "held", describe = "holds all back",
        rule = { on = { "create" }, default = "plan",
          check = function() return { amend = { put_off = true }, message = "not today" } end } }]])
      local path = shell.directory("script") .. "/script.lua"
      shell.write_file(path, [[local lunadex = require "lunadex"
        local db <close> = assert(lunadex.connect())
        local done, err = db:build("public.t", { "a", "b", "id" })
        assert(done == nil and err.code == "refused", done)
        print(err)
        print(db:build("public.t", { "a", "b", "id" }, { without = { "held" } }))]])
      local result = program.run({ "run", "--target", server:url(database), path, env = { LUNADEX_PLUGINS = rule } })
      assert.equal(0, result.status, tostring(result))
      assert.matches("^held: not today .*\ncreated\n$", result.stdout)
      assert(db:query "DROP INDEX t_a_b_id_idx")
    end)

    it("of a listener that raises gives back what it held", function()
      server:psql(database, "CREATE INDEX t_heard ON t (b)")
      local ok, message = pcall(db.rename, db, "public.t", "t_heard", "t_said",
        { on_event = function() error("heard", 0) end })
      assert.same({ false, "heard" }, { ok, message })
      local other <close> = assert(lunadex.connect(server:url(database)))
      assert.is_true(other:lock())
      other:unlock()
      assert.equal("dropped", db:drop("public.t", "t_said"))
    end)

    it("is not waited for by who is told of another one on that connection", function()
      local said
      assert.equal("created", db:build("public.t", { "b", name = "t_heard" }, { on_event = function(event)
        if event.event == "build_started" then
          said = select(2, pcall(db.build, db, "public.t", { "b", "a", name = "t_inner" }))
        end
      end }))
      assert.matches("a listener cannot wait for the end of the change that it is told of", said)
      assert.equal("dropped", db:drop("public.t", "t_heard"))
    end)

    it("is waited for no longer by who is told to end while another change is under way", function()
      local blocker = assert(lunadex.connect(server:url(database)))
      blocker:transaction(function(tx)
        assert(tx:query "UPDATE t SET a = a WHERE id = 1") -- keeps a build from its end
        local building
        local first = lunadex.spawn(function()
          return db:build("public.t", { "a", "b", name = "t_first" }, { on_event = function(event)
            if event.event == "build_started" then building = true end
          end })
        end)
        local second = lunadex.spawn(function() return db:build("public.t", { "b", "a", name = "t_second" }) end)
        while not building do lunadex.sleep(0.01) end
        second:cancel()
        local done, err = second:join()
        assert.same({ nil, "cancelled", true }, { done, err.code, not first.finished })
        first:cancel()
        first:join()
      end)
      blocker:close()
      server:psql(database, "DROP INDEX IF EXISTS t_first, t_second")
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
      local plan = assert(lunadex.plan(declared, db))
      assert(plan:apply())
      assert.has_error(function() plan:apply() end, "this plan has been applied: lunadex.plan makes another one")
    end)
  end)

  it("gives a catalog, or an error, and nothing beside it", function()
    local results = table.pack(db:catalog())
    assert.same({ 1, 1 }, { results.n, #results })
  end)

  it("blames who calls for what makes no sense", function()
    local function blamed(expected, call)
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches("script_spec.lua:%d+: ", message)
      assert.matches(expected, message, 1, true)
    end
    local bson = lunadex.bson
    local closed = assert(lunadex.connect(server:url(database)))
    closed:close()
    for expected, call in pairs {
      ["#1 to 'sleep' (number expected, got not a number)"] = function() lunadex.sleep(0 / 0) end,
      ["#1 to 'sleep' (number expected, got nil)"] = function() lunadex.sleep() end,
      ["#1 to 'spawn' (function"] = function() local x = lunadex.spawn(5) return x end,
      ["#2 to 'connect' (unknown option \"jbos\"; did you mean \"jobs\"?)"] =
        function() local x = lunadex.connect(nil, { jbos = 2 }) return x end,
      ["#1 to 'connect' (an empty text"] = function() local x = lunadex.connect "" return x end,
      ["#1 to 'load' (string"] = function() local x = lunadex.load(5) return x end,
      ["#1 to 'plan' (a registry"] = function() local x = lunadex.plan(db) return x end,
      ["#2 to 'plan' (a connection"] = function() local x = lunadex.plan { databases = {} } return x end,
      ["#1 to 'declare' (names"] = function() local x = lunadex.declare { "a" } return x end,
      ["#1 to 'desc' (string"] = function() local x = lunadex.desc(5) return x end,
      ["#2 to 'retry' (option \"attempts\": an integer"] =
        function() local x = lunadex.retry(print, { attempts = "x" }) return x end,
      ["#2 to 'retry' (option \"first_delay\": a number that is not negative"] =
        function() local x = lunadex.retry(print, { first_delay = -1 }) return x end,
      ["#2 to 'connect' (unknown option \"atempts\""] =
        function() local x = lunadex.connect(nil, { retry = { atempts = 2 } }) return x end,
      ["#2 to 'load' (unknown option \"traget\""] =
        function() local x = lunadex.load("x", { traget = "" }) return x end,
      ["(public.t: a declaration is a table, as in { { \"column\" } }, and not a string)"] =
        function() local x = lunadex.declare { ["public.t"] = { "a" } } return x end,
      ["(public.t: nothing of the kind indx"] =
        function() local x = lunadex.declare { ["public.t"] = { { "a", kind = "indx" } } } return x end,
      ["#2 to 'build' (nothing of the kind indx"] =
        function() local x = db:build("public.t", { "a", kind = "indx" }) return x end,
      ["#3 to 'build' (option \"kind\": one of index, unique_constraint"] =
        function() local x = db:build("public.t", { "a" }, { kind = "indx" }) return x end,
      ["#3 to 'build' (option \"mode\": one of auto, concurrent, blocking expected"] =
        function() local x = db:build("public.t", { "a" }, { mode = "fast" }) return x end,
      ["calling 'join' on a bad self (a task expected)"] =
        function() local x = lunadex.spawn(print).join(5) return x end,
      ["#2 to 'query' (a list expected"] = function() local x = db:query("SELECT 1", { id = 7 }) return x end,
      ["#1 to 'query' (string"] = function() local x = db:query() return x end,
      ["#2 to 'query' (a function"] = function() local x = db:query("SELECT $1", { print }) return x end,
      ["#2 to 'query' (field 'n'"] = function() local x = db:query("SELECT $1", { n = math.huge }) return x end,
      ["#1 to 'rows' (string"] = function() local x = db:rows(5) return x end,
      ["#3 to 'rows' (unknown"] = function() local x = db:rows("SELECT 1", nil, { bacth = 3 }) return x end,
      ["at least 1"] = function() local x = db:rows("SELECT 1", nil, { batch = 0 }) return x end,
      ["#1 to 'transaction' (function"] = function() local x = db:transaction() return x end,
      ["#3 to 'build' (option \"on_event\""] =
        function() local x = db:build("public.t", { "a" }, { on_event = 5 }) return x end,
      ["#2 to 'build' (table"] = function() local x = db:build "public.t" return x end,
      ["#3 to 'rename' (an empty"] = function() local x = db:rename("public.t", "a", "") return x end,
      ["#1 to 'date' (number"] = function() local x = bson.date "x" return x end,
      ["#1 to 'document' (a name"] = function() local x = bson.document "x" return x end,
      ["#2 to 'timestamp' (integer"] = function() local x = bson.timestamp(1) return x end,
      ["attempt to use a closed connection"] = function() local x = closed:drop("public.t", "t_a") return x end,
      ["use a closed connection"] = function() local x = closed:catalog() return x end,
    } do blamed(expected, call) end
    assert.equal(1, value "SELECT 1 AS v") -- and no transaction, no session was left behind
    local function declares()
      local _, err = lunadex.declare({ ["public.t"] = { { "a", uniqe = true } } }, db)
      return err
    end
    local line = debug.getinfo(declares, "S").linedefined + 1
    assert.matches(("script_spec.lua:%d: public.t: "):format(line), tostring(declares()), 1, true)
    -- After a tail call, and by pcall, somebody of the script's is named as well.
    local function builds() return db:build("public.t", { "a", uniqe = true }) end
    line = debug.getinfo(builds, "S").linedefined
    local _, err = lunadex.spawn(builds):join()
    assert.matches(("script_spec.lua:%d: public.t: "):format(line), tostring(err), 1, true)
    _, _, err = pcall(db.build, db, "public.t", { "a", uniqe = true })
    assert.matches("^[^\n]*script_spec.lua:%d+: public.t: ", tostring(err))
  end)

  it("hears of a listener that closes what is being changed", function()
    local own = assert(lunadex.connect(server:url(database)))
    local done, err = own:build("public.t", { "a", "a" }, { on_event = function() own:close() end })
    assert.is_nil(done)
    assert.matches("the connection was closed", tostring(err))
    local ok, message = pcall(db.build, db, "public.t", { "b", "id" }, { on_event = function() error "evt" end })
    assert.is_false(ok)
    assert.matches("^[^\n]*script_spec.lua:%d+: evt$", message)
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
