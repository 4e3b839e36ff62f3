-- What `lunadex backfill` does on PostgreSQL, and what it says.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"

describe("a backfill", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database

  setup(function() server = pg.shared() end)
  before_each(function() database = server:create_database() end)
  after_each(function() server:drop_database(database) end)

  local function sql(text) return server:psql(database, text) end
  local function value(text) return server:value(database, text) end

  local function backfill(action, path, ...)
    return lunadex.run { "backfill", action, path, "--target", server:url(database), ... }
  end

  local function runs(text, ...)
    local path = lunadex.registry(text)
    local result = backfill("run", path, "--json", ...)
    assert.equal(0, result.status, tostring(result))
    local events = result:events()
    return events[#events], events, path
  end

  local function refused(status, text, message, ...)
    local result = backfill("run", lunadex.registry(text), ...)
    assert.equal(status, result.status, tostring(result))
    assert.matches(message, result.stderr, 1, true)
    return result
  end

  local function orders(rows)
    sql(([[
      CREATE TABLE orders (id int PRIMARY KEY, price int, quantity int, total int, note text);
      INSERT INTO orders SELECT i, i %% 50, i %% 7, CASE WHEN i %% 3 = 0 THEN -1 END FROM generate_series(1, %d) i;
      ANALYZE orders]]):format(rows or 3000))
  end

  local totals = [[
    backfill "orders_total" { on = "public.orders", where = "total IS NULL AND price < $2", set = "total = price * $1",
      params = { 3, 40 }, verify = true, description = "Sums are read from the orders themselves" }
  ]]

  it("changes what `where` finds, once, and is at its end then", function()
    orders()
    assert.equal("1600", value "SELECT count(*) FROM orders WHERE total IS NULL AND price < 40")
    local last, _, path = runs(totals)
    assert.same({ total = 1, finished = 1, skipped = 0, failed = 0, aborted = 0, cancelled = 0 }, last.summary)
    assert.same({ seen = 3000, changed = 1600, failed = 0 }, last.rows)
    assert.equal("1600", value "SELECT count(*) FROM orders WHERE total = price * 3 AND price < 40 AND id % 3 <> 0")
    assert.equal("1400", value "SELECT count(*) FROM orders WHERE total IS NULL OR total = -1")
    local again = backfill("run", path)
    assert.equal(0, again.status, tostring(again))
    assert.matches("orders_total: skipped: finished before", again.stdout, 1, true)
    assert.matches("total 1, finished 0, skipped 1, failed 0; rows changed 0 of 0", again.stdout, 1, true)
    -- Somebody else's row is nobody's business but of who restarts it.
    sql "INSERT INTO orders VALUES (5000, 1, 1, NULL)"
    last = runs(totals, "--restart")
    assert.same({ seen = 3001, changed = 1, failed = 0 }, last.rows)
  end)

  it("goes along whatever key there is", function()
    sql [[
      CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
      CREATE TABLE composite (tenant smallint, id uuid, n int, PRIMARY KEY (tenant, id));
      INSERT INTO composite SELECT i % 3 - 1, gen_random_uuid(), 0 FROM generate_series(1, 2500) i;
      CREATE TABLE "Odd.Name" ("The Key" text COLLATE "C" PRIMARY KEY, n int);
      INSERT INTO "Odd.Name" SELECT E'a\\"''{,}\n' || i || 'ä', 0 FROM generate_series(1, 2500) i;
      CREATE TABLE moments (at timestamptz NOT NULL, feeling mood NOT NULL, n int, maybe int UNIQUE);
      CREATE UNIQUE INDEX ON moments (feeling, at);
      INSERT INTO moments SELECT '2026-03-29 00:59:59.123456+00'::timestamptz + i * interval '0.000001 s',
        (enum_range(NULL::mood))[i % 3 + 1], 0 FROM generate_series(1, 2500) i;
      CREATE TABLE parts (id bigint, day date, n int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
      CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
      CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
      INSERT INTO parts SELECT i, date '2026-01-01' + i % 50, 0 FROM generate_series(1, 2500) i;
      CREATE TABLE fractions (x double precision PRIMARY KEY, n int);
      INSERT INTO fractions SELECT (i - 1250) / 7.0, 0 FROM generate_series(1, 2500) i;
      CREATE TABLE nothing (id int PRIMARY KEY, n int);
    ]]
    local names = { "composite", [['"Odd.Name"']], "moments", "parts", "fractions", "nothing" }
    local lines = {}
    for i, name in ipairs(names) do
      lines[i] = ([[backfill "b%d" { on = %s, set = "n = n + 1", batch = 97 }]]):format(i,
        name:find "'" and name or '"' .. name .. '"')
    end
    local last = runs(table.concat(lines, "\n"), "--jobs", "3")
    assert.equal(6, last.summary.finished)
    assert.same({ seen = 12500, changed = 12500, failed = 0 }, last.rows)
    for i = 1, 5 do
      local name = names[i]:gsub("'", "")
      assert.same({ { "1", "2500", n = 2 } }, sql(("SELECT n, count(*) FROM %s GROUP BY 1"):format(name)))
    end
  end)

  it("locks no other partitions than those whose rows it changes", function()
    sql [[
      CREATE TABLE parts (id int PRIMARY KEY, n int DEFAULT 0) PARTITION BY RANGE (id);
      CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (101);
      CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (101) TO (201);
      INSERT INTO parts SELECT i FROM generate_series(1, 200) i;
      CREATE TABLE gate ();
      CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP;
        RETURN NEW;
      END $$;
      CREATE TRIGGER pass BEFORE UPDATE ON parts_1 FOR EACH ROW WHEN (OLD.id = 50) EXECUTE FUNCTION pass()]]
    local run = lunadex.start { "backfill", "run", lunadex.registry [[
      backfill "b" { on = "parts", set = "n = n + 1", batch = 20 }]], "--target", server:url(database) }
    shell.eventually("a batch to be under way", function()
      return value [[SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'PgSleep']] == "1"
    end)
    assert.same({ { "parts_1", n = 1 } }, sql [[SELECT DISTINCT relation::regclass FROM pg_locks
      WHERE mode = 'RowExclusiveLock' AND relation IN ('parts_1'::regclass, 'parts_2'::regclass)]])
    sql "INSERT INTO gate DEFAULT VALUES"
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    assert.equal("200", value "SELECT count(*) FROM parts WHERE n = 1")
  end)

  it("compares keys as their index does, whatever they and their relation are called", function()
    sql [[
      CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION ltree SCHEMA ext;
      CREATE TABLE cased (k ext.citext PRIMARY KEY, n int);
      INSERT INTO cased SELECT (ARRAY['a', 'B', 'aF'])[i % 3 + 1] || i, 0 FROM generate_series(1, 2000) i;
      CREATE TABLE mixed (tenant int, k ext.citext, path ext.ltree, n int, PRIMARY KEY (tenant, k, path));
      INSERT INTO mixed SELECT i % 3, 'A' || i, ('a.b' || i)::ext.ltree, 0 FROM generate_series(1, 2000) i;
      CREATE TABLE given (high int, tile int, k1 int, "array" int, lunadex_key int, key int, n int,
        PRIMARY KEY (high, tile, k1, "array", lunadex_key));
      INSERT INTO given SELECT i / 100, i % 100, i, i, i, i, 0 FROM generate_series(1, 3000) i;
      ANALYZE]]
    local last = runs([[
      backfill "cased" { on = "cased", set = "n = n + 1", batch = 37 }
      backfill "mixed" { on = "mixed", set = "n = n + 1", batch = 37 }
      backfill "names" { on = "given", set = "n = n + 1", batch = 97 }
      backfill "function" { on = "given", where = "n = 1", batch = 97, transform = function(row)
        return { n = row.n + row.lunadex_key, key = row.key } end }
    ]], "--jobs", "2")
    assert.same({ seen = 10000, changed = 10000, failed = 0 }, last.rows)
    for _, name in ipairs { "cased", "mixed" } do
      assert.same({ { "1", "2000", n = 2 } }, sql(("SELECT n, count(*) FROM %s GROUP BY 1"):format(name)))
    end
    assert.equal("3000", value "SELECT count(*) FROM given WHERE n = 1 + k1")
  end)

  it("takes a key for what its order is of, and not for what it is called", function()
    sql [[
      CREATE DOMAIN positive AS int;
      CREATE TYPE mood AS ENUM ('sad', 'ok');
      CREATE DOMAIN feeling AS mood;
      CREATE TABLE t (k positive, f feeling, n int, PRIMARY KEY (f, k));
      INSERT INTO t SELECT i, (enum_range(NULL::mood))[1 + abs(i % 2)], 0
        FROM generate_series(-500, 499) i;
      ALTER DOMAIN positive ADD CHECK (VALUE > 0) NOT VALID;
      CREATE TABLE named (k regclass PRIMARY KEY, n int, divisor int DEFAULT 1);
      DO $$BEGIN
        FOR i IN 1 .. 200 LOOP
          EXECUTE format('CREATE TABLE r%s (); INSERT INTO named VALUES (''r%s'', 0)', i, i);
        END LOOP;
      END$$;
      UPDATE named SET divisor = 0 WHERE k = 'r101'::regclass]]
    local text = [[
      backfill "domains" { on = "t", set = "n = n + 1", batch = 30 }
      backfill "names" { on = "named", set = "n = n + 1 / divisor", batch = 25 }]]
    refused(3, text, "division by zero")
    sql [[UPDATE named SET divisor = 1;
      ALTER TABLE r100 RENAME TO r; ALTER TABLE r180 RENAME TO r100; ALTER TABLE r RENAME TO r180;
      DROP TABLE r50]]
    runs(text)
    assert.same({ { "1", "1000", n = 2 } }, sql "SELECT n, count(*) FROM t GROUP BY 1")
    assert.same({ { "1", "200", n = 2 } }, sql "SELECT n, count(*) FROM named GROUP BY 1")
  end)

  it("goes on along the key that it was begun along, or not at all", function()
    sql [[
      CREATE TABLE t (id int PRIMARY KEY, other int NOT NULL, n int, divisor int);
      INSERT INTO t SELECT i, -i, 0, CASE WHEN i <> 2000 THEN 1 ELSE 0 END FROM generate_series(1, 3000) i]]
    local text = [[backfill "b" { on = "t", set = "n = n + 1 / divisor", batch = 300 }]]
    refused(3, text, "row 2000: division by zero")
    assert.equal("1999", value "SELECT count(*) FROM t WHERE n = 1")
    sql [[UPDATE t SET divisor = 1; ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (other)]]
    refused(6, text, "it was begun along id integer_ops, and public.t has no such key any more")
    sql [[CREATE UNIQUE INDEX ON t (id);
      ALTER TABLE t RENAME id TO once; ALTER TABLE t RENAME other TO id]]
    refused(6, text, "it was begun along id integer_ops, and public.t has no such key any more")
    sql [[ALTER TABLE t RENAME id TO other; ALTER TABLE t RENAME once TO id; ALTER TABLE t ALTER id TYPE bigint]]
    runs(text)
    assert.equal("3000", value "SELECT count(*) FROM t WHERE n = 1")
  end)

  it("refuses what it cannot go along, and what the server does not understand", function()
    sql [[CREATE TABLE heap (n int, u int UNIQUE); CREATE VIEW v AS SELECT * FROM heap;
      CREATE TABLE t (id int PRIMARY KEY);
      CREATE TABLE parent (id int PRIMARY KEY, n int); CREATE TABLE child () INHERITS (parent);
      CREATE TABLE ruled (id int PRIMARY KEY, n int); CREATE RULE keep AS ON UPDATE TO ruled DO INSTEAD NOTHING;
      CREATE TABLE made (a int, b int, id int GENERATED ALWAYS AS (a * 10) STORED PRIMARY KEY)]]
    refused(6, [[backfill "b" { on = "heap", set = "n = 1" }]], "neither a primary key nor a unique index on columns "
      .. "that are never null")
    refused(6, [[backfill "b" { on = "v", set = "n = 1" }]], "v is no table")
    refused(6, [[backfill "b" { on = "parent", set = "n = 1" }]], "tables inherit from parent")
    refused(6, [[backfill "b" { on = "ruled", set = "n = 1" }]], "the rule keep of ruled does something else instead")
    sql "INSERT INTO ruled VALUES (1, 0); ALTER TABLE ruled DISABLE RULE keep"
    assert.equal(1, runs([[backfill "b" { on = "ruled", set = "n = 1" }]]).rows.changed)
    refused(6, [[backfill "b" { on = "made", set = "b = 1, a = 2" }]],
      "it changes a, of which id is made, which is part of the key")
    if server.version >= 18 then
      sql [[CREATE EXTENSION btree_gist;
        CREATE TABLE spans (id int, during int4range, n int, PRIMARY KEY (id, during WITHOUT OVERLAPS));
        CREATE TABLE young (id int UNIQUE, n int); INSERT INTO young VALUES (NULL, 0);
        ALTER TABLE young ADD CONSTRAINT given NOT NULL id NOT VALID]]
      refused(6, [[backfill "b" { on = "spans", set = "n = 1" }]], "neither a primary key nor a unique index")
      refused(6, [[backfill "b" { on = "young", set = "n = 1" }]], "neither a primary key nor a unique index")
    end
    refused(65, [[backfill "b" { on = "gone", set = "n = 1" }]], "relation gone does not exist\nRun the migration")
    refused(65, [[backfill "b" { on = "haep", set = "n = 1" }]],
      "relation haep does not exist\nDid you mean public.heap?")
    refused(65, [[backfill "b" { on = "pubic.heap", set = "n = 1" }]], "Did you mean public.heap?")
    refused(65, [[backfill "b" { on = "made", columns = "ida", transform = function() end }]],
      "public.made has no column ida, which transform is to be given\nDid you mean \"id\"?")
    refused(65, [[backfill "b" { on = "t", set = "idd = 1" }]], 'column "idd" of relation "t" does not exist')
    refused(65, [[backfill "b" { on = "t", where = "id = ", set = "x = 1" }]], "registry.lua:1: syntax error")
    refused(65, [[backfill "b" { on = "t", set = "x = 1 FROM heap" }]], "set of ")
    refused(65, [[backfill "b" { on = "t", set = "x = 1", where = "true) RETURNING (x" }]], "a closing bracket")
    for _, set in ipairs { "x = f(1, 2), ID = id + 1", '(x, "id") = (1, 2)', "\n id=5",
      "x = 1 /* it's */, id = id + 1 /* it's */", "x = E'\\'', id = 5 -- '" } do
      refused(6, ([[backfill "b" { on = "t", set = %q }]]):format(set), "it changes id, which is part of the key")
    end
  end)

  it("takes for a parameter only what the server takes for one", function()
    orders(100)
    sql "UPDATE orders SET note = 'costs $1' WHERE id <= 10"
    local last = runs [[backfill "b" { on = "orders", where = "note = 'costs $1' -- $2", set = "total = $1 /* $3 */",
      params = { 7, 10 }, verify = "SELECT count(*) FROM orders WHERE note = '$3' OR total <> $1 AND id < $2;" }]]
    assert.equal(10, last.rows.changed)
    assert.equal("10", value "SELECT count(*) FROM orders WHERE total = 7")
  end)

  it("is refused where it has become another one, until it is said what to do", function()
    orders()
    local path = lunadex.registry [[backfill "b" { on = "orders", set = "note = 'a'", where = "id <= 1000" }]]
    assert.equal(0, backfill("run", path).status)
    local other = [[backfill "b" { on = "orders", set = "note = 'b'" }]]
    local result = refused(6, other, "it is another one than under this name before")
    assert.matches([[then: on = "orders", where = "id <= 1000", set = "note = 'a'"]], result.stderr, 1, true)
    assert.matches([[now:  on = "orders", set = "note = 'b'"]], result.stderr, 1, true)
    runs(other, "--carry-on")
    assert.equal("0", value "SELECT count(*) FROM orders WHERE note = 'b'")
    runs(other)
    runs(other, "--restart")
    assert.equal("3000", value "SELECT count(*) FROM orders WHERE note = 'b'")
  end)

  it("is refused where its name is another relation's by now, until it is said what to do", function()
    sql [[CREATE SCHEMA a; CREATE SCHEMA b]]
    for _, schema in ipairs { "a", "b" } do
      sql(([[CREATE TABLE %s.t (id int PRIMARY KEY, n int DEFAULT 0);
        INSERT INTO %s.t SELECT generate_series(1, 3000)]]):format(schema, schema))
    end
    sql [[ALTER TABLE a.t ADD CHECK (id <> 2000 OR n = 0)]]
    local function path(schema) sql(("ALTER DATABASE %s SET search_path = %s"):format(database, schema)) end
    local text = [[backfill "b" { on = "t", set = "n = n + 1", batch = 300 }]]
    path "a"
    refused(3, text, "row 2000: ")
    path "b"
    refused(6, text, "it was begun on a.t, and t is b.t now")
    assert.equal("0", value "SELECT sum(n) FROM b.t")
    path "a"
    sql [[ALTER TABLE a.t DROP CONSTRAINT t_check]]
    runs(text)
    path "b"
    refused(6, text, "it was begun on a.t, and t is b.t now")
    runs(text, "--carry-on")
    assert.same({ { "b.t", "0", n = 2 } }, sql "SELECT relation, (SELECT sum(n) FROM b.t) FROM lunadex.backfill")
    refused(64, text, "Give --restart or --carry-on", "--restart", "--carry-on")
    runs(text, "--restart")
    assert.same({ { "3000", "3000", n = 2 } }, sql "SELECT (SELECT sum(n) FROM a.t), (SELECT sum(n) FROM b.t)")
  end)

  it("is refused where another table has its name by now, until it is said what to do", function()
    sql [[CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0, divisor int DEFAULT 1);
      INSERT INTO t (id) SELECT generate_series(1, 3000);
      UPDATE t SET divisor = 0 WHERE id = 2000]]
    local text = [[backfill "b" { on = "public.t", set = "n = n + 1 / divisor", batch = 300 }]]
    local message = "public.t is not the relation any more that it was begun on, but another one of that name"
    local function swap()
      sql "ALTER TABLE t RENAME TO third; ALTER TABLE u RENAME TO t; ALTER TABLE third RENAME TO u"
    end
    local function sums() return table.unpack(sql "SELECT (SELECT sum(n) FROM t), (SELECT sum(n) FROM u)"[1]) end
    refused(3, text, "row 2000: ")
    sql [[CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u SELECT id, 0, 1 FROM t]]
    swap()
    for _ = 1, 2 do
      local result = refused(6, text, message)
      assert.matches("--restart begins it from the start, --carry-on goes on from where the old one was",
        result.stderr, 1, true)
    end
    assert.same({ "0", "1999" }, { sums() })
    swap()
    sql "UPDATE t SET divisor = 1"
    runs(text)
    assert.same({ "3000", "0" }, { sums() })
    -- What is finished is finished; and what was carried on is where it was carried to.
    swap()
    assert.equal(1, runs(text).summary.skipped)
    swap()
    sql "UPDATE t SET n = 0, divisor = (id <> 2000)::int; UPDATE u SET divisor = (id <> 2500)::int"
    refused(3, text, "row 2000: ", "--restart")
    swap()
    refused(3, text, "row 2500: ", "--carry-on")
    assert.same({ "500", "1999" }, { sums() })
    swap()
    refused(6, text, message)
    swap()
    sql "UPDATE t SET divisor = 1"
    runs(text)
    assert.same({ "1001", "1999" }, { sums() })
    sql "UPDATE t SET n = 0, divisor = (id <> 2000)::int; UPDATE u SET n = 0, divisor = 1"
    refused(3, text, "row 2000: ", "--restart")
    swap()
    runs(text, "--restart")
    assert.same({ "3000", "1999" }, { sums() })
  end)

  it("that goes on tells what it did itself, and what was done before", function()
    sql [[CREATE TABLE t (id int PRIMARY KEY, n int, divisor int);
      INSERT INTO t SELECT i, 0, CASE WHEN i = 5 OR i = 700 THEN 0 ELSE 1 END FROM generate_series(1, 1000) i]]
    local text = [[backfill "b" { on = "t", where = "id % 2 = 0 OR id = 5", set = "n = n + 1 / divisor", batch = 100,
      errors = 1 }]]
    local none = { seen = 0, changed = 0, failed = 0 }
    local result = refused(3, text, "row 700: division by zero; no more than 1 rows may fail", "--json")
    local events = result:events()
    local done = events[#events].rows
    assert.same({ none, 1 }, { events[#events].before, done.failed })
    assert.is_true(done.changed > 0 and done.seen < 700)
    result = refused(3, text, "row 700: division by zero")
    assert.matches(("; rows changed 0 of 0; before this run %d of %d, failed 1\n"):format(done.changed, done.seen),
      result.stdout, 1, true)
    sql "UPDATE t SET divisor = 1"
    result = backfill("run", lunadex.registry(text))
    assert.equal(0, result.status, tostring(result))
    local rest = ("%d of %d"):format(500 - done.changed, 1000 - done.seen)
    local before = ("%d of %d"):format(done.changed, done.seen)
    assert.matches((": %s rows changed; %s before this run, 1 failed\n"):format(rest, before), result.stdout, 1, true)
    assert.matches(("; rows changed %s; before this run %s, failed 1\n"):format(rest, before), result.stdout, 1, true)
    result = backfill("run", lunadex.registry(text), "--json", "--restart"):events()
    assert.same({ { seen = 1000, changed = 501, failed = 0 }, none }, { result[#result].rows, result[#result].before })
  end)

  describe("before which somebody has locked the table", function()
    local holder, path, run
    local blocker = "public%.orders is locked by pid %d+ [^\n]*, idle in transaction since %d+:%d%d: "

    before_each(function()
      orders(10)
      path = lunadex.registry [[backfill "b" { on = "orders", set = "note = 'x'", verify = "SELECT 0" }]]
      holder = server:session(database, "holder")
    end)
    after_each(function()
      holder:close()
      if run:running() then run:kill "KILL" end
    end)

    local function start(...)
      run = lunadex.start { "backfill", "run", path, "--target", server:url(database), ... }
    end

    it("tells so, and goes on when it is free", function()
      for _, lock in ipairs { "orders", "orders IN SHARE MODE" } do
        holder:run("BEGIN; LOCK TABLE " .. lock)
        start("--json", "--restart")
        shell.eventually("it to tell", function() return run:stdout():find '"reason":"public.orders is locked by' end)
        assert.is_true(run:running())
        holder:run "COMMIT"
        local result = lunadex.result(run:wait())
        assert.equal(0, result.status, tostring(result))
        local events, by_name = result:events(), {}
        for _, event in ipairs(events) do by_name[event.event] = event end
        assert.matches("^pid %d+ ", by_name.waiting.blocker)
        assert.equal("b", by_name.resumed.name)
        assert.equal(10, events[#events].rows.changed)
      end
    end)

    it("ends on a signal", function()
      holder:run "BEGIN; LOCK TABLE orders"
      start()
      shell.eventually("it to tell", function() return run:stdout():find("orders b: waits: " .. blocker) end)
      run:kill "INT"
      local result = lunadex.result(run:wait())
      assert.equal(130, result.status, tostring(result))
      assert.is_nil(result.stdout:find("goes on", 1, true), tostring(result))
      assert.matches("cancelled 1", result.stdout, 1, true)
    end)

    it("tells so in a dry run", function()
      holder:run "BEGIN; LOCK TABLE orders"
      start "--dry-run"
      shell.eventually("it to tell", function() return run:stderr():find("waiting: " .. blocker) end)
      holder:run "COMMIT"
      local result = lunadex.result(run:wait())
      assert.equal(0, result.status, tostring(result))
      assert.matches("10 to change", result.stdout, 1, true)
    end)

    it("ends where a listener raises", function()
      holder:run "BEGIN; LOCK TABLE orders"
      run = lunadex.start { "run", "-", env = { DATABASE_URL = server:url(database) }, stdin = [[
        local lunadex = require "lunadex"
        local db <close> = assert(lunadex.connect())
        local fill = lunadex.backfill { name = "b", on = "orders", set = "note = 'x'" }
        local ok, raised = pcall(fill.run, fill, { connection = db, on_event = function(event)
          if event.event == "waiting" then error(event.blocker) end
        end })
        assert(not ok and raised:find "pid %d+", raised)]] }
      local result = lunadex.result(run:wait())
      assert.equal(0, result.status, tostring(result))
    end)
  end)

  it("is refused where ranges of it are gone, for nobody knows what they had done", function()
    orders(10)
    local text = [[backfill "b" { on = "orders", set = "price = price + 1"%s }]]
    runs(text:format "")
    sql "DELETE FROM lunadex.backfill_range"
    local result = refused(6, text:format [[, where = "id > 5"]], "of its 1 ranges only 0 are left", "--carry-on")
    assert.matches("--restart begins it from the start", result.stderr, 1, true)
    runs(text:format "", "--restart")
    assert.equal("t", value "SELECT bool_and(price = id % 50 + 2) FROM orders")
  end)

  it("knows a function again wherever it stands", function()
    orders(100)
    local text = [[backfill "b" { on = "orders", transform = function(row)
      return { note = "n" .. row.id, total = %d }
    end }]]
    runs(text:format(1))
    local last = runs("-- Said above.\n\n" .. text:format(1):gsub("%)\n", "%0\n-- Said within.\n"))
    assert.equal(1, last.summary.skipped)
    refused(6, text:format(2), "it is another one than under this name before")
    assert.matches("^%x+$", value "SELECT fingerprint FROM lunadex.backfill")
    assert.equal("32", value "SELECT length(fingerprint) FROM lunadex.backfill")
  end)

  local transform = [[
    local function initial(text) return text:sub(1, 1) end
    backfill "b" { on = "public.people", errors = %d, batch = 300, columns = { "name", "born", "tags", "data" },
      transform = function(row)
        if row.name:find "7$" then error("has a 7") end
        if row.name == "n100" then return nil end
        return { name = initial(row.name):upper() .. row.name:sub(2), born = row.born and row.born + 1 or null,
          tags = { row.tags[1], "it's \"x\", {y}" }, data = row.data }
      end }
  ]]

  local function people()
    sql [[
      CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, born smallint, tags text[], data bytea, other jsonb,
                           CHECK (name <> 'N4711'));
      INSERT INTO people SELECT -i, 'n' || i, CASE WHEN i % 2 = 0 THEN i % 100 END, ARRAY['a b', 'c'],
        decode(lpad(to_hex(i), 4, '0') || '00ff', 'hex'), '{"a": 1}' FROM generate_series(1, 10000) i;
      ANALYZE people]]
  end

  it("asks a function, and records exactly the rows that it fails on", function()
    people()
    local last = runs(transform:format(2000), "--jobs", "2")
    -- One of a thousand more: the constraint.
    assert.same({ seen = 10000, changed = 8998, failed = 1001 }, last.rows)
    assert.same({ { "0", n = 1 } }, sql [[
      SELECT count(*) FROM people p FULL JOIN lunadex.backfill_error e ON e.key = ARRAY[p.id::text]
       WHERE (p.id IS NULL OR e.key IS NULL) <> (p.name !~ '7$' AND p.name !~ '4711$')]])
    assert.same({ { "has a 7", n = 1 } }, sql [[SELECT DISTINCT substring(message from 'has a 7$')
      FROM lunadex.backfill_error WHERE key <> '{-4711}']])
    assert.matches("violates check constraint",
      value "SELECT message FROM lunadex.backfill_error WHERE key = '{-4711}'")
    assert.same({ { "8998", n = 1 } }, sql [[
      SELECT count(*) FROM people WHERE name ~ '^N' AND born IS NOT DISTINCT FROM
        CASE WHEN id % 2 = 0 THEN -id % 100 + 1 END AND tags = ARRAY['a b', E'it\'s "x", {y}']
        AND data = decode(lpad(to_hex(-id), 4, '0') || '00ff', 'hex')]])
    assert.equal("1002", value "SELECT count(*) FROM people WHERE name ~ '^n' AND tags = ARRAY['a b', 'c']")
    local query = shell.read_file "docs/backfills.md":match "```sql\n(.-)```"
    local rows = sql((query:gsub("customers_name", "b"):gsub("public%.customers", "people")))
    assert.same({ 1001, rows[1][1] }, { #rows, ("{%s}"):format(rows[1][3]) })
  end)

  it("ends where more rows fail than may, and changes nothing that was not counted", function()
    people()
    local result = refused(3, transform:format(5), "no more than 5 rows may fail")
    assert.matches("has a 7", result.stderr, 1, true)
    assert.equal("t", value [[SELECT sum(changed) = (SELECT count(*) FROM people WHERE name ~ '^N') AND sum(failed) <= 5
      FROM lunadex.backfill_range]])
    assert.equal("failed", value "SELECT outcome FROM lunadex.backfill")
  end)

  it("records as many rows as may fail, and names the first beyond", function()
    sql "CREATE TABLE lim (id int PRIMARY KEY, v text); INSERT INTO lim SELECT i, i % 10 FROM generate_series(1, 500) i"
    refused(3, [[backfill "b" { on = "public.lim", errors = 4, transform = function(row)
      if row.v == "0" then error "ends on 0" end
      return { v = "n" .. row.v }
    end }]], "row 50: ")
    assert.same({ { "{10},{20},{30},{40}", n = 1 } },
      sql "SELECT string_agg(key::text, ',' ORDER BY key[1]::int) FROM lunadex.backfill_error")
    assert.equal("t", value "SELECT count(*) >= 36 FROM lim WHERE v ~ '^n'")
  end)

  it("finds the row that a statement fails on", function()
    orders()
    sql "UPDATE orders SET quantity = 1; UPDATE orders SET quantity = 0 WHERE id IN (7, 1500, 3000)"
    local text = [[backfill "b" { on = "orders", set = "total = price / quantity", errors = %d }]]
    refused(3, text:format(0), "row 7: division by zero; no row may fail")
    assert.equal("0", value "SELECT count(*) FROM lunadex.backfill_error")
    local result = runs(text:format(3), "--carry-on")
    assert.same(3, result.rows.failed)
    assert.same({ { "{7}", n = 1 }, { "{1500}", n = 1 }, { "{3000}", n = 1 } },
      sql "SELECT key FROM lunadex.backfill_error ORDER BY key[1]::int")
    assert.equal("2997", value "SELECT count(*) FROM orders WHERE total = price")
  end)

  it("keeps its session while it looks for rows that fail", function()
    orders()
    sql [[
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE 'not in session %', pg_backend_pid();
      END $$;
      CREATE TRIGGER refuse BEFORE UPDATE ON orders FOR EACH ROW WHEN (OLD.id IN (7, 8, 1500))
        EXECUTE FUNCTION refuse()]]
    assert.equal(3, runs([[backfill "b" { on = "orders", set = "total = 1", errors = 3 }]]).rows.failed)
    assert.same({ { "3", "1", n = 2 } },
      sql "SELECT count(*), count(DISTINCT message) FROM lunadex.backfill_error")
  end)

  it("tells a key everywhere as it is", function()
    sql [[CREATE TABLE t (a text, b text, n int, PRIMARY KEY (a, b));
      INSERT INTO t VALUES (E'a"\\,{}', 'b c', 0)]]
    local text = [[backfill "b" { on = "t", set = "n = 1 / n", errors = %d }]]
    local shown = 'a"\\,{}, b c'
    refused(3, text:format(0), "row " .. shown .. ": division by zero")
    local _, _, path = runs(text:format(1))
    assert.equal(shown, backfill("status", path, "--json"):json().backfills[1].samples[1].key)
    assert.matches("failed " .. shown .. ": division by zero", backfill("status", path).stdout, 1, true)
    assert.matches("  " .. shown .. ": would fail", backfill("run", path, "--dry-run").stdout, 1, true)
  end)

  it("leaves that row as it is that failed, and no other that has come into its place", function()
    sql [[
      CREATE TABLE t (id int PRIMARY KEY, divisor int, n int DEFAULT 0);
      INSERT INTO t SELECT i, CASE WHEN i IN (1, 50, 51) THEN 0 ELSE 1 END FROM generate_series(1, 100) i]]
    local link = proxies.start(server)
    finally(function() link:close() end)
    link:trap("stall", "before", "ROLLBACK")
    local path = lunadex.registry [[backfill "b" { on = "t", set = "n = n + 1 / divisor", errors = 2, batch = 1 }]]
    local run = lunadex.start { "backfill", "run", path, "--target", link:url(database) }
    local port = link:fired()
    sql "DELETE FROM t WHERE id = 1"
    link:resume(port)
    local result = lunadex.result(run:wait())
    assert.equal(0, result.status, tostring(result))
    assert.same({ { "{50}", n = 1 }, { "{51}", n = 1 } }, sql "SELECT key FROM lunadex.backfill_error ORDER BY key")
    assert.equal("97", value "SELECT count(*) FROM t WHERE n = 1")
  end)

  it("finds rows that fail, whatever it is that does not take them", function()
    sql [[
      DO $$BEGIN CREATE ROLE ldx_guarded LOGIN; EXCEPTION WHEN duplicate_object THEN END$$;
      CREATE TABLE t (id int PRIMARY KEY, fault text, breadth int DEFAULT 1, n int, long text UNIQUE);
      INSERT INTO t SELECT i, CASE WHEN i % 100 = 0
         THEN (ARRAY['custom', 'none', 'two', 'assert', 'row', 'long', 'guarded', 'absent', 'barred', 'inner'])[i / 100]
        END
        FROM generate_series(1, 1100) i WHERE i % 100 = 0 OR i > 1000;
      UPDATE t SET breadth = 2 WHERE fault = 'row';
      CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE i int;
        BEGIN
          IF NEW.fault = 'custom' THEN RAISE 'not this one' USING ERRCODE = 'UE001'; END IF;
          IF NEW.fault = 'none' THEN SELECT id INTO STRICT i FROM t WHERE id < 0; END IF;
          IF NEW.fault = 'two' THEN SELECT id INTO STRICT i FROM t WHERE id > 0; END IF;
          IF NEW.fault = 'assert' THEN ASSERT NEW.n > 1, 'it is one'; END IF;
          IF NEW.fault = 'long' THEN NEW.long = (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 900) g);
          END IF;
          IF NEW.fault = 'absent' THEN PERFORM FROM nowhere; END IF;
          IF NEW.fault = 'barred' THEN RAISE 'not by you' USING ERRCODE = 'insufficient_privilege'; END IF;
          IF NEW.fault = 'inner' THEN RAISE 'as extensions say it' USING ERRCODE = 'internal_error'; END IF;
          RETURN NEW;
        END$$;
      CREATE TRIGGER judge BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION judge();
      ALTER TABLE t ENABLE ROW LEVEL SECURITY;
      CREATE POLICY seen ON t USING (true) WITH CHECK (fault IS DISTINCT FROM 'guarded');
      GRANT ALL ON t TO ldx_guarded]]
    sql(("GRANT CREATE ON DATABASE %s TO ldx_guarded"):format(database))
    local path = lunadex.registry [[
      backfill "b" { on = "t", set = "n = (SELECT g FROM generate_series(1, breadth) g)", errors = 10 }]]
    local result = lunadex.run { "backfill", "run", path, "--json", "--target", server:url(database, "ldx_guarded") }
    assert.equal(0, result.status, tostring(result))
    local messages = sql "SELECT key, message FROM lunadex.backfill_error ORDER BY key[1]::int"
    for i, message in ipairs { "not this one", "query returned no rows", "query returned more than one row",
      "it is one", "more than one row returned by a subquery", "index row requires", "violates row-level security",
      'relation "nowhere" does not exist', "not by you", "as extensions say it" } do
      assert.equal(("{%d}"):format(i * 100), messages[i][1])
      assert.matches(message, messages[i][2], 1, true)
    end
    assert.equal("100", value "SELECT count(*) FROM t WHERE n = 1")
  end)

  it("leaves rows alone that come in above the highest key that there was", function()
    orders(2000)
    local holder = server:session(database, "holder")
    holder:run "BEGIN; SELECT FROM orders WHERE id = 1 FOR UPDATE"
    local run = lunadex.start { "backfill", "run", lunadex.registry [[
      backfill "b" { on = "orders", set = "note = 'seen'" }]], "--target", server:url(database) }
    shell.eventually("the first batch to wait", function()
      return value [[SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND query LIKE 'UPDATE "public"."orders"%']]
    end)
    sql "INSERT INTO orders VALUES (2001)"
    holder:run "COMMIT"
    holder:close()
    assert.equal(0, run:wait().status)
    assert.equal("2000", value "SELECT count(*) FROM orders WHERE note = 'seen' AND id BETWEEN 1 AND 2000")
    assert.equal("t", value "SELECT note IS NULL FROM orders WHERE id = 2001")
  end)

  it("says so where verify counts something in the end", function()
    orders(100)
    local text = [[backfill "b" { on = "orders", where = "id < 50", set = "note = 'x'",
      verify = "SELECT count(*) FROM orders WHERE note IS NULL" }]]
    local result = refused(3, text, "all rows were walked, and verify counts 51")
    assert.matches("see to what writes or keeps them, and then give --restart.", result.stderr, 1, true)
    sql "UPDATE lunadex.backfill SET rows = 200"
    local path = lunadex.registry(text)
    assert.equal(100, backfill("status", path, "--json"):json().backfills[1].percent)
    assert.matches("failed  public.orders: 100 %, 100 rows seen", backfill("status", path).stdout, 1, true)
    result = refused(3, [[backfill "c" { on = "orders", set = "total = coalesce(total, 0) + 1",
      verify = "SELECT 1" }]], "verify counts 1")
    assert.matches("--restart would change all anew", result.stderr, 1, true)
    refused(3, [[backfill "d" { on = "orders", where = "quantity <> 9", set = "quantity = 9 + 0 / (id - 50)",
      errors = 1, verify = true }]], "walked, of which 1 failed, and verify counts 1\nThose that failed are")
    sql [[CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER keep BEFORE UPDATE ON orders FOR EACH ROW WHEN (OLD.id = 7) EXECUTE FUNCTION keep()]]
    result = refused(3, [[backfill "e" { on = "orders", where = "price >= 0", set = "price = -1", verify = true }]],
      "all rows were walked, and verify counts 1")
    assert.matches("rows changed 99 of 100", result.stdout, 1, true)
    sql "UPDATE orders SET note = 'y' WHERE note IS NULL"
    runs(text)
  end)

  it("begins only if verify is one number, whatever it counts", function()
    orders(10)
    sql "CREATE DOMAIN t_text AS text; CREATE DOMAIN natural_number AS int CHECK (VALUE >= 0)"
    local text = [[backfill "b" { on = "orders", set = "total = 1", where = "$1 = 5", verify = %q, params = { 5 } }]]
    for verify, message in pairs {
      ["SELECT id, note FROM orders WHERE total <> 1"] = "subquery must return only one column",
      ["SELECT bool_and(total = 1) FROM orders"] = "cannot cast type boolean to numeric",
      ["SELECT string_agg(note, ',') FROM orders"] = "it gives text; expected one row with one number",
      ["SELECT CASE WHEN count(*) = 0 THEN 'all' ELSE 'some' END FROM orders"] = "it gives text",
      ["SELECT '0'::jsonb"] = "it gives jsonb",
      ["SELECT count(*)::t_text FROM orders"] = "it gives t_text",
      ["SELECT pg_sleep(3600)::text"] = "it gives text",
      ["SELECT note FROM orders"] = "it gives text",
      ["SELECT id FROM orders WHERE total <> 1"] = "it may give no row, or several; expected one row with one number",
      ["SELECT id FROM orders WHERE id = $1"] = "it may give no row",
      ["SELECT count(*) FROM orders GROUP BY total"] = "it may give no row",
      ["SELECT count(*) FROM orders HAVING count(*) > 100"] = "it may give no row",
      ["SELECT 0 WHERE EXISTS (SELECT FROM orders)"] = "it may give no row",
      ["SELECT generate_series(0, 1)"] = "it may give no row",
    } do
      refused(65, text:format(verify), message)
    end
    assert.equal("10", value "SELECT count(*) FROM orders WHERE total IS DISTINCT FROM 1")
    for _, verify in ipairs {
      "SELECT 0", "SELECT 0.0", "SELECT avg(id)::float8 FROM orders WHERE id < 0", "SELECT 0::natural_number",
      "SELECT sum(id) FROM orders WHERE total IS NULL;", "SELECT max(id) FROM orders WHERE total = 2",
      "SELECT count(*) FROM orders WHERE id > $1 AND total <> 1 -- )",
      "SELECT (SELECT count(*) FROM orders WHERE total <> 1) + (SELECT count(*) FROM orders WHERE id < 0)",
      "WITH o AS (SELECT count(*) AS n FROM orders WHERE total = 0) SELECT n FROM o",
    } do
      runs(text:format(verify), "--restart")
    end
  end)

  it("is aborted from elsewhere also while it verifies", function()
    orders(100)
    local holder = server:session(database, "holder")
    finally(function() holder:close() end)
    holder:run "SELECT pg_advisory_lock(4711)"
    local path = lunadex.registry [[backfill "b" { on = "orders", set = "note = 'x'",
      verify = "SELECT count(*) - 1 FROM pg_advisory_lock(4711)" }]]
    local run = lunadex.start { "backfill", "run", path, "--target", server:url(database) }
    shell.eventually("it to verify", function()
      return value "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
    end)
    assert.equal(0, backfill("abort", path).status)
    local result = lunadex.result(run:wait(60))
    assert.equal(3, result.status, tostring(result))
    assert.matches("aborted 1", result.stdout, 1, true)
    assert.equal("aborted", value "SELECT outcome FROM lunadex.backfill")
  end)

  it("that fails stays paused, or aborted, if somebody has said so", function()
    orders(100)
    for word, message in pairs { pause = "it is paused", abort = "it was aborted" } do
      local holder = server:session(database, "holder")
      holder:run "SELECT pg_advisory_lock(4711)"
      local text = [[backfill "b" { on = "orders", set = "note = 'x'",
        verify = "SELECT count(*) FROM pg_advisory_xact_lock(4711)" }]]
      local path = lunadex.registry(text)
      local run = lunadex.start { "backfill", "run", path, "--restart", "--target", server:url(database) }
      shell.eventually("it to verify", function()
        return value "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
      end)
      -- Told in the moment before its end: it has hardly heard of it.
      sql(("UPDATE lunadex.backfill SET command = '%s' WHERE name = 'b'"):format(word))
      holder:close()
      assert.equal(3, run:wait(60).status)
      refused(6, text, message)
      assert.matches("b%s+" .. word, backfill("status", path).stdout) -- paused, aborted
    end
  end)

  it("waits for other backfills and for indexes, by its order", function()
    orders(100)
    local text = [[
      backfill "second" { on = "orders", set = "total = total + 1", after = { "first", "orders_by_note" } }
      backfill "first" { on = "orders", set = "total = 5" }
    ]]
    local result = refused(6, text, "it comes after orders_by_note, and there is no valid index or key of that name")
    assert.matches("\nBuild it first: lunadex apply --only orders_by_note", result.stderr, 1, true)
    sql "CREATE INDEX orders_by_note ON orders (note)"
    local _, _, path = runs(text)
    assert.equal("100", value "SELECT count(*) FROM orders WHERE total = 6")
    assert.is_nil(backfill("list", path).stdout:find("another definition", 1, true))
    local misspelt = lunadex.registry((text:gsub("_by_note", "_by_noot")))
    result = backfill("run", misspelt)
    assert.matches("\nDid you mean \"orders_by_note\"? Else build it first: lunadex apply --only orders_by_noot",
      result.stderr, 1, true)
    result = lunadex.run { "plan", misspelt, "--target", server:url(database) }
    assert.matches("the backfill's after names \"orders_by_noot\", which is no backfill, .* %(did you mean "
      .. "\"orders_by_note\"%?%)", result.stdout)
    refused(65, [[backfill "b" { on = "ordres", set = "total = 5", after = "orders_by_note" }]],
      "there is no relation ordres\nDid you mean public.orders?")
    local changed = text:gsub("total = 5", "total = 8")
    refused(6, changed, "it comes after the backfill first, which is not finished", "--only", "second", "--restart")
    path = lunadex.registry(changed)
    assert.matches("first +finished +orders, with another definition\n", backfill("list", path).stdout)
    result = backfill("run", path, "--dry-run", "--only", "first")
    assert.matches("is finished with another definition\n", result.stdout, 1, true)
    refused(6, [[backfill "third" { on = "orders", set = "total = 1" }
      backfill "fourth" { on = "orders", set = "total = 2", after = "third" }]],
      "it comes after the backfill third, which is not finished", "--only", "fourth")
  end)

  it("comes before the index that is to wait for it", function()
    orders(100)
    local path = lunadex.registry [[
      backfill "notes" { on = "orders", where = "note IS NULL", set = "note = id::text", before = "orders_note" }
      on "public.orders" {
        index { "note", name = "orders_note", unique = true },
        index { "total", name = "orders_total" },
      }
    ]]
    local function apply(...) return lunadex.run { "apply", path, "--target", server:url(database), ... } end
    local result = apply()
    assert.equal(0, result.status, tostring(result))
    assert.matches("orders_note: waits for the backfill notes, which is not finished (lunadex backfill run --only ",
      result.stderr, 1, true)
    assert.same({ { "orders_pkey", n = 1 }, { "orders_total", n = 1 } },
      sql "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'orders'::regclass ORDER BY 1::text")
    local function plan(from, to)
      local other = lunadex.registry((shell.read_file(path):gsub(from, to)))
      return lunadex.run { "plan", other, "--target", server:url(database) }
    end
    result = plan('name = "orders_note",', '%0 allow = { ["backfill-first"] = "the notes are few" },')
    assert.matches("waits for the backfill notes, .*; allowed: the notes are few\n", result.stdout)
    assert.matches("Plan: 1 to create, ", result.stdout, 1, true)
    result = plan("^", 'rule "backfill-first" { off = "not this week" }')
    assert.matches("info backfill-first: not asked: not this week\nPlan: 1 to create, ", result.stdout, 1, true)
    result = apply("--only", "notes")
    assert.equal(64, result.status)
    assert.matches("notes is a backfill: lunadex backfill run --only notes does that.", result.stderr, 1, true)
    assert.equal(0, backfill("run", path).status)
    assert.equal(0, apply().status)
    assert.equal("t", value "SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_note'::regclass")
    assert.is_nil(apply().stderr:find("before names", 1, true))
    local typo = lunadex.registry((shell.read_file(path):gsub('before = ("%g+")', 'before = { "orders_noted", %1 }')))
    result = lunadex.run { "plan", typo, "--target", server:url(database) }
    assert.matches('warning backfill-first: ', result.stdout, 1, true)
    assert.matches('names "orders_noted", which is no backfill, and no index or key', result.stdout, 1, true)
    for _, more in ipairs { {}, { "--dry-run" } } do
      result = backfill("run", typo, table.unpack(more))
      assert.equal(0, result.status, tostring(result))
      assert.matches("warning: .*registry.lua:1: orders notes: the backfill's before names \"orders_noted\"",
        result.stderr)
    end
    assert.is_nil(backfill("run", path).stderr:find("warning", 1, true))
    -- What was done is not what is declared by now.
    sql "DROP INDEX orders_note"
    local other = lunadex.registry((shell.read_file(path):gsub("id::text", "'n' || id")))
    result = lunadex.run { "apply", other, "--target", server:url(database) }
    assert.matches("orders_note: waits for the backfill notes, which is not finished", result.stderr, 1, true)
    sql "DELETE FROM lunadex.backfill"
    assert.equal(0, apply("--without", "backfill-first").status)
    assert.equal("t", value "SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_note'::regclass")
  end)

  describe("that takes its time", function()
    local path, run, holder

    before_each(function()
      orders(2000)
      -- It cannot come to its end before this row is free.
      holder = server:session(database, "holder")
      holder:run "BEGIN; SELECT FROM orders WHERE id = 1900 FOR UPDATE"
      path = lunadex.registry [[backfill "slow" { on = "orders", set = "total = coalesce(total, 0) + 1", batch = 5 }]]
      run = lunadex.start { "backfill", "run", path, "--json", "--target", server:url(database) }
      shell.eventually("the first batch", function()
        return server:try(database, "SELECT 1 / count(*) FROM lunadex.backfill_range WHERE seen > 0")
      end)
    end)
    after_each(function()
      run:kill "KILL"
      holder:close()
    end)

    local function status()
      local result = backfill("status", path, "--json")
      assert.equal(0, result.status, tostring(result))
      return result:json().backfills[1]
    end

    it("is paused, let go on, and aborted from elsewhere", function()
      assert.equal("running", status().state)
      local general = lunadex.run { "status", "--target", server:url(database) }
      assert.matches("slow%s+running%s+public.orders: ", general.stdout)
      assert.matches("slow: paused", backfill("pause", path, "--only", "slow").stdout, 1, true)
      shell.eventually("it to be paused", function() return run:stdout():find('"reason":"paused"', 1, true) end)
      local before
      shell.eventually("the last batch", function()
        local seen = value "SELECT sum(seen) FROM lunadex.backfill_range"
        if before == seen then return true end
        before = seen
      end)
      assert.same({ "pause", "paused" }, { status().command, status().state })
      -- It may have begun one more when it was told.
      shell.eventually("no transaction to be open", function()
        return value [[SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lunadex backfill slow'
          AND state LIKE 'idle in transaction%']] == "0"
      end)
      assert.is_true(status().percent < 100)
      assert.equal(before, value "SELECT sum(seen) FROM lunadex.backfill_range")
      assert.is_true(run:running())
      backfill("resume", path)
      shell.eventually("it to go on", function() return run:stdout():find('"event":"resumed"', 1, true) end)
      backfill("abort", path)
      local result = lunadex.result(run:wait())
      assert.equal(3, result.status, tostring(result))
      local events = result:events()
      assert.equal(1, events[#events].summary.aborted)
      for _, event in ipairs(events) do assert.is_true((event.rate or 1) > 0) end
      assert.equal("aborted", status().state)
      assert.equal("t", value [[SELECT sum(changed) = (SELECT count(*) FROM orders WHERE total >= 0)
        AND sum(changed) < 1900 FROM lunadex.backfill_range]])
      refused(6, shell.read_file(path), "it was aborted")
      backfill("resume", path)
      assert.equal("stopped", status().state)
    end)

    it("does not go on in another table that has got its name", function()
      sql "CREATE TABLE other (LIKE orders INCLUDING ALL); INSERT INTO other (id) SELECT id FROM orders"
      backfill("pause", path)
      shell.eventually("it to be paused", function() return run:stdout():find('"reason":"paused"', 1, true) end)
      holder:run "COMMIT"
      sql "BEGIN; ALTER TABLE orders RENAME TO old; ALTER TABLE other RENAME TO orders; COMMIT"
      backfill("resume", path)
      local result = lunadex.result(run:wait())
      assert.equal(65, result.status, tostring(result))
      assert.matches("public.orders was dropped or renamed meanwhile", result.stderr, 1, true)
      assert.equal("failed", status().state)
      refused(6, shell.read_file(path), "public.orders is not the relation any more that it was begun on")
      assert.equal("0", value "SELECT count(*) FROM orders WHERE total >= 0")
      assert.equal("t", value [[SELECT sum(changed) = (SELECT count(*) FROM old WHERE total >= 0)
        FROM lunadex.backfill_range]])
    end)

    it("is refused to another run meanwhile", function()
      local result = backfill("run", path)
      assert.equal(4, result.status, tostring(result))
      assert.matches("another run is at it", result.stderr, 1, true)
    end)

    it("ends on a signal, and the next run goes on", function()
      run:kill "INT"
      local result = lunadex.result(run:wait())
      assert.equal(130, result.status, tostring(result))
      local state = status()
      assert.equal("stopped", state.state)
      assert.is_true(state.seen > 0 and state.seen < 1900)
      local events = result:events()
      assert.equal(1, events[#events].summary.cancelled)
      holder:run "COMMIT"
      runs((shell.read_file(path):gsub("batch = 5", "batch = 5000")))
      assert.equal("2000", value "SELECT count(*) FROM orders WHERE total = CASE WHEN id % 3 = 0 THEN 0 ELSE 1 END")
    end)
  end)

  it("shows what it would do, and does nothing", function()
    orders(1000)
    local path = lunadex.registry [[
      backfill "sum" { on = "orders", where = "total IS NULL", set = "total = price * quantity" }
      backfill "text" { on = "orders", transform = function(row)
        if row.id == 2 then error "no" end
        return { note = "n" .. row.id } end }
      backfill "share" { on = "orders", where = "id > 994", set = "price = 100 / (quantity - 3)" }
    ]]
    local before = value "SELECT md5(string_agg(o::text, '' ORDER BY id)) FROM orders o"
    local result = backfill("run", path, "--dry-run")
    assert.equal(0, result.status, tostring(result))
    assert.matches("sum  public.orders along id", result.stdout, 1, true)
    assert.matches("about 1 k rows to walk, 667 to change, about ", result.stdout, 1, true)
    assert.matches("1: total: null → 1", result.stdout, 1, true)
    assert.matches("1: note: null → n1", result.stdout, 1, true)
    assert.matches("2: would fail: ", result.stdout, 1, true)
    assert.matches("rows to walk, 6 to change\n  995: ", result.stdout, 1, true)
    assert.matches("995: price: 45 → -50\n  996: price: 46 → -100\n", result.stdout, 1, true)
    assert.matches("997: would fail: division by zero\n  998: price: 48 → 100\n", result.stdout, 1, true)
    assert.equal(before, value "SELECT md5(string_agg(o::text, '' ORDER BY id)) FROM orders o")
    assert.equal("t", value "SELECT to_regclass('lunadex.backfill') IS NULL")
    local preview = backfill("run", path, "--dry-run", "--json", "--only", "sum"):events()[1]
    assert.equal(667, preview.matching)
    assert.equal(5, #preview.samples)
    result = backfill("run", path, "--dry-run", "--json")
    assert.matches('"before":{[^}]*"total":null', result.stdout)
    assert.matches('"after":{[^}]*"total":null', result.stdout)
    -- What cannot be shown is named, and does not keep the others from it; what was finished would be skipped.
    path = lunadex.registry [[
      backfill "broken" { on = "public.orders", set = "nothing = 1" }
      backfill "whole" { on = "public.orders", set = "note = 'x'" }]]
    assert.equal(0, backfill("run", path, "--only", "whole").status)
    result = backfill("run", path, "--dry-run", "--only", "orders")
    assert.equal(65, result.status, tostring(result))
    assert.matches("broken: where or set of ", result.stderr, 1, true)
    assert.matches("whole  public.orders along id, is finished\n", result.stdout, 1, true)
    result = backfill("status", path, "--only", "orders")
    assert.matches("whole +finished", result.stdout)
  end)

  it("never tells of more rows than there are, however many the server believes in", function()
    orders(10)
    sql "INSERT INTO orders SELECT i, 1, 1, 1 FROM generate_series(11, 5000) i"
    local path = lunadex.registry [[backfill "b" { on = "orders", set = "total = 1", batch = 500 }]]
    local preview = backfill("run", path, "--dry-run", "--json"):events()[1]
    assert.same({ 5000, 5000 }, { preview.rows, preview.matching })
    sql [[ALTER TABLE orders SET (autovacuum_enabled = off);
      UPDATE pg_class SET reltuples = 10, relpages = pg_relation_size('orders') / 8192 WHERE relname = 'orders']]
    local holder = server:session(database, "holder")
    holder:run "BEGIN; SELECT FROM orders WHERE id = 5000 FOR UPDATE"
    local run = lunadex.start { "backfill", "run", path, "--json", "--target", server:url(database) }
    local told = shell.eventually("it to say how far it is", function()
      return run:stdout():match '"done":%d%d%d+,"of":%d+'
    end)
    holder:run "COMMIT"
    holder:close()
    assert.equal(0, run:wait().status)
    assert.equal("10", value "SELECT rows FROM lunadex.backfill")
    local done, of = told:match '(%d+),"of":(%d+)'
    assert.is_true(tonumber(done) <= tonumber(of), told)
  end)

  it("shows values of every kind beforehand, and makes JSON of them", function()
    sql [[CREATE TABLE odd (id int PRIMARY KEY, list text[], raw bytea, x float8);
      INSERT INTO odd VALUES (1, ARRAY['a', NULL], '\xff00', 'NaN')]]
    local path = lunadex.registry [[backfill "b" { on = "odd",
      transform = function(row) return { list = { "a", "b" }, x = -(0/0) } end }]]
    local result = backfill("run", path, "--dry-run")
    assert.equal(0, result.status, tostring(result))
    assert.matches('\n  1: list: { "a", null } → { "a", "b" }\n', result.stdout, 1, true)
    result = backfill("run", path, "--dry-run", "--json")
    assert.is_truthy(utf8.len(result.stdout))
    assert.matches('"before":{[^}]*"list":%["a",null%]', result.stdout)
  end)

  it("says what it takes where its role may not keep what is done, or where that is not whole", function()
    orders(10)
    sql [[DO $$BEGIN CREATE ROLE ldx_filler LOGIN; EXCEPTION WHEN duplicate_object THEN END$$;
      GRANT SELECT, UPDATE ON orders TO ldx_filler]]
    finally(function() sql "DROP OWNED BY ldx_filler" end)
    local path = lunadex.registry [[backfill "b" { on = "orders", set = "total = 1" }]]
    local function fill()
      return lunadex.run { "backfill", "run", path, "--target", server:url(database, "ldx_filler") }
    end
    local result = fill()
    assert.equal(6, result.status, tostring(result))
    assert.matches("permission denied for database .*GRANT USAGE, CREATE ON SCHEMA lunadex", result.stderr)
    sql "CREATE SCHEMA lunadex; GRANT USAGE, CREATE ON SCHEMA lunadex TO ldx_filler"
    result = fill()
    assert.equal(0, result.status, tostring(result))
    -- Its tables are nobody's to declare.
    assert.is_nil(lunadex.run({ "snapshot", "--target", server:url(database) }).stdout:find("lunadex.", 1, true))
    sql "DROP TABLE lunadex.backfill_error"
    result = backfill("status", path)
    assert.equal(6, result.status, tostring(result))
    assert.matches("there is only backfill and backfill_range\nDROP TABLE IF EXISTS", result.stderr, 1, true)
    sql "DROP TABLE lunadex.backfill_range, lunadex.backfill"
    assert.matches("no backfill was ever begun", backfill("status", path).stdout, 1, true)
  end)

  it("that was never begun is held as well", function()
    orders(10)
    runs [[backfill "a" { on = "orders", set = "total = 1" }]]
    local text = [[backfill "b" { on = "orders", set = "total = 2" }]]
    for _, each in ipairs { { "pause", "it is paused" }, { "abort", "it was aborted" } } do
      -- As a run leaves it that is killed between its entry and its ranges.
      sql [[DELETE FROM lunadex.backfill WHERE name = 'b';
        INSERT INTO lunadex.backfill (name, relation) VALUES ('b', 'orders')]]
      lunadex.run { "backfill", each[1], "--only", "b", "--target", server:url(database) }
      refused(6, text, each[2])
      lunadex.run { "backfill", "resume", "--only", "b", "--target", server:url(database) }
      runs(text)
    end
  end)

  it("is looked at and held without a registry", function()
    orders(10)
    refused(3, [[backfill "b" { on = "orders", set = "total = 1", verify = "SELECT 1" }]], "verify counts 1")
    for _, each in ipairs { { "status", "b%s+failed" }, { "pause", "b: paused" }, { "status", "b%s+paused" },
      { "resume", "b: resumed" }, { "abort", "b: aborted" }, { "status", "b%s+aborted" } } do
      local result = lunadex.run { "backfill", each[1], "--target", server:url(database) }
      assert.equal(0, result.status, tostring(result))
      assert.matches(each[2], result.stdout)
    end
  end)

  it("is meant by its name, also where a relation has that too", function()
    orders(10)
    sql "CREATE TABLE other (id int PRIMARY KEY, n int); INSERT INTO other VALUES (1)"
    local path = lunadex.registry [[
      backfill "orders" { on = "other", set = "n = 5", verify = "SELECT 1" }
      backfill "notes" { on = "public.orders", set = "note = 'x'", verify = "SELECT 1" }
      backfill "totals" { on = "public.orders", set = "total = 7", verify = "SELECT 1" }]]
    local without = lunadex.registry [[backfill "notes" { on = "public.orders", set = "note = 'x'" }]]
    local function names(action, only, registry)
      local list, result = {}, backfill(action, registry or path, "--only", only, "--json")
      for _, event in ipairs(result:events()) do
        if event.event ~= "run_finished" then list[#list + 1] = event.event and event.name end
        for _, each in ipairs(event.event and {} or event[action == "list" and "declared" or "backfills"]) do
          list[#list + 1] = each.name
        end
      end
      local seen, sorted = {}, {}
      for _, name in ipairs(list) do
        if not seen[name] then sorted[#sorted + 1] = name end
        seen[name] = true
      end
      table.sort(sorted)
      return table.concat(sorted, " "), result
    end
    assert.equal("orders", (names("list", "orders")))
    assert.equal("notes totals", (names("run", "public.orders")))
    assert.is_nil(value "SELECT n FROM other")
    -- Not begun, it is meant all the same.
    for _, action in ipairs { "status", "abort" } do assert.equal("", (names(action, "orders"))) end
    assert.equal("notes totals", (names("status", "orders", without)))
    assert.equal("orders", (names("run", "orders")))
    assert.equal("5", value "SELECT n FROM other")
    for _, action in ipairs { "status", "pause", "resume", "list" } do
      assert.equal("orders", (names(action, "orders")))
      assert.equal("notes totals", (names(action, "public.orders")))
    end
    -- Also where the registry has it no more.
    assert.equal("orders", (names("abort", "orders", without)))
    assert.equal("notes", (names("run", "orders", without)))
  end)

  it("is told nothing by a command whose option is about runs", function()
    orders(10)
    refused(3, [[backfill "b" { on = "orders", set = "total = 1", verify = "SELECT 1" }]], "verify counts 1")
    for _, words in ipairs { { "pause", "--dry-run" }, { "abort", "--dry-run" }, { "resume", "--restart" },
      { "status", "--carry-on" } } do
      local result = lunadex.run { "backfill", words[1], words[2], "--target", server:url(database) }
      assert.equal(64, result.status, tostring(result))
      assert.matches(words[2] .. " is about run", result.stderr, 1, true)
      assert.equal("failed ", value "SELECT concat(outcome, ' ', command) FROM lunadex.backfill")
    end
  end)

  it("of several databases is held on those that answer, and it is said which does not", function()
    orders(10)
    local path = lunadex.registry(([[
      database "here" { url = %q, backfill "b" { on = "orders", set = "total = 1", verify = "SELECT 1" } }
      database "away" { url = "postgresql://127.0.0.1:1/none", backfill "c" { on = "orders", set = "total = 2" } }]])
      :format(server:url(database)))
    local function told(action, status, ...)
      local result = lunadex.run { "backfill", action, path, ... }
      assert.equal(status, result.status, tostring(result))
      return result
    end
    told("run", 3, "--database", "here")
    assert.matches("away: .*127.0.0.1", told("pause", 5).stderr)
    assert.equal("pause", value "SELECT command FROM lunadex.backfill")
    local result = told("status", 5)
    assert.matches("here: .*b%s+paused", result.stdout)
    assert.matches("away: .*127.0.0.1", result.stderr)
    result = told("resume", 5, "--only", "b", "--json")
    assert.same({ "resumed", "error" }, { result:events()[1].event, result:events()[2].event })
    assert.equal("away", result:events()[2].database)
    -- What is named may be where nobody answers; where all do, it is not.
    assert.is_nil(told("abort", 5, "--only", "d").stderr:find("there is no backfill", 1, true))
    assert.matches("there is no backfill", told("abort", 64, "--only", "d", "--database", "here").stderr, 1, true)
    -- Nothing is run where not all can be.
    told("run", 5)
    assert.equal("1", value "SELECT attempts FROM lunadex.backfill")
  end)

  it("of several databases is told of each, also where one does not let anything begin", function()
    orders(10)
    local other = server:create_database()
    finally(function() server:drop_database(other) end)
    server:psql(other, [[DO $$BEGIN CREATE ROLE ldx_filler LOGIN; EXCEPTION WHEN duplicate_object THEN END$$]])
    local path = lunadex.registry(([[
      database "first" { url = %q, backfill "b" { on = "orders", set = "total = 1", verify = "SELECT 1" } }
      database "second" { url = %q, backfill "c" { on = "orders", set = "total = 2" } }
      database "third" { url = %q, backfill "d" { on = "orders", set = "note = 'd'" } }]])
      :format(server:url(database), server:url(other, "ldx_filler"), server:url(database)))
    local result = lunadex.run { "backfill", "run", path }
    assert.equal(3, result.status, tostring(result))
    assert.matches("first: b: all rows were walked, and verify counts 1", result.stderr, 1, true)
    assert.matches("second: permission denied", result.stderr, 1, true)
    assert.matches("total 3, finished 1, skipped 0, failed 2; rows changed 20 of 20", result.stdout, 1, true)
  end)

  it("is run by a script", function()
    orders(1000)
    local result = lunadex.run { "run", "-", env = { DATABASE_URL = server:url(database) }, stdin = [[
      local lunadex = require "lunadex"
      local db <close> = assert(lunadex.connect())
      local fill = lunadex.backfill { name = "b", on = "orders", where = "id <= $1", params = { 500 },
        transform = function(row) return { note = "n" .. row.id } end }
      assert(fill:run { connection = db, jobs = 2 }.rows.changed == 500)
      assert(fill:run { connection = db }.summary.skipped == 1)
      local outcome, err = lunadex.backfill { name = "b", on = "orders", set = "note = ''" }:run { connection = db }
      assert(outcome == nil and err.code == "refused", err)
      outcome, err = lunadex.backfill { name = "c", on = "orders", sett = "x" }:run { connection = db }
      assert(tostring(err):find('stdin:9: unknown option "sett" of backfill', 1, true), err)
      -- A listener that raises leaves no lock behind; a task that is cancelled is not at its end.
      local one_by_one = lunadex.backfill { name = "d", on = "orders", batch = 1,
        set = "price = (SELECT 1 FROM pg_sleep(0.05))" }
      db:transaction(function(tx)
        local ok, raised = pcall(one_by_one.run, one_by_one, { connection = tx })
        assert(not ok and raised:find "the option connection is no open connection", raised)
      end)
      local ok, raised = pcall(one_by_one.run, one_by_one, { connection = db, on_event = function() error "mine" end })
      assert(not ok and raised:find "mine", raised)
      local held = lunadex.backfill { name = "e", on = "orders", set = "price = 1",
        throttle = { check = function() return "not yet" end } }
      ok, raised = pcall(held.run, held, { connection = db, on_event = function(event)
        if event.phase == "not yet" then error "while it holds" end
      end })
      assert(not ok and raised:find "while it holds", raised)
      local task = lunadex.spawn(function() return one_by_one:run { connection = db } end)
      repeat lunadex.sleep(0.05) until db:query("SELECT sum(changed) AS n FROM lunadex.backfill_range")[1].n > 502
      task:cancel()
      outcome, err = task:join()
      assert(outcome == nil and err.code == "cancelled", err)]] }
    assert.equal(0, result.status, tostring(result))
    assert.equal("500", value "SELECT count(*) FROM orders WHERE note = 'n' || id")
  end)

  it("keeps to itself what a password is", function()
    orders(10)
    local text = [[backfill "b" { on = "orders", where = "$2 <> ''", params = { env "SHOP_PASSWORD", "n%d" },
      set = "note = $1 || '" .. env "SHOP_PASSWORD" .. "'" }]]
    local function run(number)
      return lunadex.run { "backfill", "run", lunadex.registry(text:format(number)), "--target", server:url(database),
        env = { SHOP_PASSWORD = "s\\cret\"" } }
    end
    local result = run(1)
    assert.equal(0, result.status, tostring(result))
    local shown = [[on = "orders", where = "$2 <> ''", set = "note = $1 || '***'", params = { "***", "n1" }]]
    assert.matches(shown, result.stdout, 1, true)
    assert.equal(shown, value "SELECT definition FROM lunadex.backfill")
    assert.equal("10", value [[SELECT count(*) FROM orders WHERE note = repeat('s\cret"', 2)]])
    assert.equal(6, run(2).status)
    assert.equal(0, run(1).status)
    local path = lunadex.registry [[
      local password = env "SHOP_PASSWORD"
      backfill "set" { on = "orders", set = "price = ('" .. password .. "' || id)::int", errors = 10 }
      backfill "raises" { on = "orders", transform = function() error(password) end, errors = 10 }
      backfill "gives" { on = "orders", transform = function() return { price = password } end, errors = 10 }
      backfill "fails" { on = "orders", set = "price = 1 / (length('" .. password .. "' || id) * 0)" }
      backfill "params" { on = "orders", set = "price = $1", params = { password } }]]
    for _, more in ipairs { { "--json" }, { "--dry-run", "--only", "set", "--only", "raises", "--only", "params" } } do
      local environment = { SHOP_PASSWORD = "hunter2" }
      result = lunadex.run { "backfill", "run", path, env = environment, "--target", server:url(database),
        table.unpack(more) }
      assert.is_nil((result.stdout .. result.stderr):find("hunter2", 1, true), tostring(result))
    end
    assert.equal("30", value "SELECT count(*) FROM lunadex.backfill_error WHERE message LIKE '%***%'")
    path = lunadex.registry [[
      local password = env "SHOP_PASSWORD"
      backfill "text" { on = "orders", set = "note = '" .. password .. "'",
        throttle = { check = function() return "not before " .. password end } }
      backfill "given" { on = "orders", transform = function() return { note = "of " .. password } end,
        throttle = { check = function() error(password) end } }]]
    for _, more in ipairs { {}, { "--json" } } do
      result = lunadex.run { "backfill", "run", path, "--dry-run", env = { SHOP_PASSWORD = "hunter2" }, "--target",
        server:url(database), table.unpack(more) }
      assert.equal(0, result.status, tostring(result))
      assert.is_nil(result.stdout:find("hunter2", 1, true), tostring(result))
      assert.matches("of ***", result.stdout, 1, true)
    end
    for name, says in pairs { text = "not before ***", given = "its check failed: " } do
      local held = lunadex.start { "backfill", "run", path, "--only", name, "--json",
        env = { SHOP_PASSWORD = "hunter2" }, "--target", server:url(database) }
      shell.eventually("it to hold", function() return held:stdout():find('"reason":"' .. says, 1, true) end)
      held:kill "INT"
      local told = lunadex.result(held:wait())
      assert.is_nil((told.stdout .. told.stderr):find("hunter2", 1, true), tostring(told))
    end
    assert.equal("0", value "SELECT count(*) FROM lunadex.backfill b WHERE b::text LIKE '%hunter2%'")
  end)

  it("is listed, and one that is not there is not", function()
    orders(10)
    local path = lunadex.registry(totals)
    assert.matches("orders_total%s+new%s+public.orders %- Sums are read", backfill("list", path).stdout)
    assert.matches("no backfill was ever begun", backfill("status", path).stdout, 1, true)
    local result = backfill("run", path, "--only", "orders_totals")
    assert.equal(64, result.status)
    assert.matches('did you mean "orders_total"?', result.stderr, 1, true)
  end)
end)
