-- The REPL, in a real terminal and without one.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"
local terminal = require "support.terminal"

describe("the REPL", function()
  local reason = pg.missing() or terminal.missing()
  if reason then return pending(reason) end
  local server, database, url, it_runs
  local prompt, writing

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    prompt, writing = database .. "> ", database .. "! "
    url = server:url(database)
    server:psql(database, faults.functions .. [[
      CREATE TABLE orders (id int PRIMARY KEY, customer_id int, total numeric NOT NULL, note text);
      INSERT INTO orders SELECT n, n % 10, n, 'größe ' || n FROM generate_series(1, 100) n;
      CREATE INDEX orders_customer ON orders (customer_id);
      CREATE TABLE order_lines (line int); ANALYZE;
      ALTER DATABASE "]] .. database .. [[" SET enable_seqscan = off]])
  end)
  after_each(function()
    if it_runs then it_runs:close() end
    it_runs = nil
    server:drop_database(database)
  end)

  local function start(options, ...)
    it_runs = terminal.start({ "repl", "--target", url, ... }, options)
    it_runs:rests(... and writing or prompt)
    return it_runs
  end

  local function feed(text, ...)
    return lunadex.run { "repl", "--target", url, stdin = text, ... }
  end

  describe("in a terminal", function()
    it("says where it is, shows values and ends with Ctrl-D", function()
      local t = start()
      assert.matches(("PostgreSQL %d"):format(server.version), t:screen(), 1, true)
      assert.matches("only reads", t:screen(), 1, true)
      t:enter("6 * 7"):shows "\n42\n"
      t:enter("_ + 1"):shows "\n43\n"
      t:enter('{ name = "x", 1, { true } }'):shows '{ [1] = 1, [2] = { true }, name = "x" }'
      t:enter("nonsense..1"):shows "error: input:1: attempt to concatenate a nil value (global 'nonsense')"
      assert.is_nil(t:screen():find("traceback", 1, true))
      assert.is_nil(t:screen():find("lua/lunadex", 1, true))
      t:enter("local kept = 1"):shows "without `local`, kept stays"
      t:press "C-d"
      assert.equal(0, t:ended())
    end)

    it("begins without a database, and connects", function()
      it_runs = terminal.start { "repl" }
      local t = it_runs
      t:rests "no database> "
      assert.matches("no connection: \\connect TARGET opens one", t:screen(), 1, true)
      t:type("\\sna"):press("Tab"):shows "\\snapshot\n"
      t:press("C-u"):type("\\plan --drop"):press("Tab"):shows "no database> \\plan --drop-strays\n"
      t:press("C-u"):type("SELECT custo"):press("Tab"):press("C-u"):enter("6 * 7"):shows "\n42\n"
      t:enter("\\connect " .. url):rests(prompt)
      t:type("SELECT custo"):press("Tab"):shows(prompt .. "SELECT customer_id\n")
    end)

    it("takes several lines as one, and a line back with Ctrl-C", function()
      local t = start()
      t:enter("for i = 1, 2 do"):enter('  print("line " .. i)'):enter("end"):shows "line 1\nline 2\n"
      t:enter("return [[a"):enter("b]]"):shows "\na\nb\n"
      t:enter("select count(*) as all_of_them"):enter("from orders"):enter("where id > 1;"):shows "all_of_them\n"
      assert.matches("\n%s+99\n%(1 row%)\n", t:screen())
      t:enter("while true do"):type("x"):shows "-> x\n"
      t:press "C-c"
      t:rests(prompt)
      t:enter("1 + 1"):shows "\n2\n"
    end)

    it("completes commands, Lua, relations, columns and indexes", function()
      server:psql(database, [[CREATE TABLE "Größe" ("Länge" int); CREATE INDEX "stray %q" ON "Größe" ("Länge")]])
      local t = start()
      t:type("\\sna"):press("Tab"):shows "\\snapshot\n"
      t:press("C-u"):type("\\d order"):press("Tab"):shows "\norder_lines "
      assert.matches("orders_customer", t:screen(), 1, true)
      t:type("s_c"):press("Tab"):shows(prompt .. "\\d orders_customer\n")
      t:press("C-u"):type("SELECT custo"):press("Tab"):shows(prompt .. "SELECT customer_id\n")
      t:press("C-u"):type("db:transa"):press("Tab"):shows(prompt .. "db:transaction\n")
      t:press("C-u"):type("db:"):press("Tab"):shows "catalog "
      assert.not_matches("atomically", t:screen())
      t:press("C-u"):type("db.inf"):press("Tab"):shows(prompt .. "db.info\n")
      t:press("C-u"):type("lunadex.ver"):press("Tab"):shows(prompt .. "lunadex.version\n")
      t:press("C-u"):type('db:query("SELECT * FROM order_l'):press("Tab"):shows("FROM order_lines\n")
      t:press("C-u"):type("myn = { inside = 1 }"):press("Enter"):rests(prompt)
      t:type("myn.ins"):press("Tab"):shows(prompt .. "myn.inside\n")
      t:press("C-u"):type("\\watch \\sta"):press("Tab"):shows(prompt .. "\\watch \\status\n")
      t:press("C-u"):type("SELECT 'größe', Lä"):press("Tab"):shows(prompt .. [[SELECT 'größe', "Länge"]])
      t:type(' FROM "Gr'):press("Tab"):shows(prompt .. [[SELECT 'größe', "Länge" FROM "Größe"]])
      t:type(";"):press("Enter"):shows "(0 rows)"
      t:enter([[\d "stray %q"]]):shows "btree"
    end)

    it("remembers what was entered, for the next time too, but no password", function()
      local t = start()
      t:enter("'first'"):shows "\nfirst\n"
      t:enter("do"):enter("  print 'größer'"):enter("end"):shows "\ngrößer\n"
      t:enter("\\connect postgresql://u:geheim@127.0.0.1:1/x"):shows "error: "
      t:enter("'the password is geheim'"):shows "\nthe password is geheim\n"
      t:press("Up"):shows(prompt .. "do\n  print 'größer'\nend\n")
      t:press("Up"):shows(prompt .. "'first'\n")
      t:press("C-u", "C-d"):ended()
      local path = t.state .. "/lunadex/history"
      assert.equal("'first'\ndo\\n  print 'größer'\\nend\n", shell.read_file(path))
      assert.equal("600 700\n", shell.check(("echo $(stat -c %%a %s %s/lunadex)"):format(path, t.state)))
      t:close()
      t = start { state = t.state }
      t:press("Up"):shows(prompt .. "do\n  print 'größer'\nend\n")
      t:press("C-u", "C-r"):type("fir"):shows "'first'"
      t:press("Enter"):shows "\nfirst\n"
    end)

    it("reads a history that was damaged, and keeps its last 5,000 entries", function()
      local state = shell.directory "history"
      local path = state .. "/lunadex/history"
      local lines = { "'oldest'" }
      for i = 2, 10001 do lines[i] = ("'entry %d'"):format(i) end
      lines[#lines + 1] = "zero\0bytes\0"
      shell.check("mkdir -p " .. state .. "/lunadex")
      shell.write_file(path, table.concat(lines, "\n") .. "\n")
      local t = start { state = state }
      t:press("Up"):shows(prompt .. "'entry 10001'\n")
      t:press("C-u", "C-d")
      assert.equal(0, t:ended())
      local kept = shell.read_file(path)
      assert.equal(5000, select(2, kept:gsub("\n", "")))
      assert.matches("^'entry 5002'\n", kept)
      assert.matches("\n'entry 10001'\n$", kept)
      assert.equal("600\n", shell.check("stat -c %a " .. path))
      assert.equal("history\n", shell.check("ls " .. state .. "/lunadex"))
    end)

    it("leaves a large result with Ctrl-C, while it is laid out and while it is shown", function()
      local t = start()
      local idle = ("SELECT count(*) FROM pg_stat_activity WHERE datname = '%s' AND state = 'idle'"
        .. " AND query = 'ROLLBACK'"):format(database)
      local statement = "SELECT repeat('shown ', 5) FROM generate_series(1, 300000);"
      t:enter(statement)
      shell.eventually("the statement's end", function() return server:value("postgres", idle) == "1" end)
      t:press("C-c"):shows "interrupted\n"
      assert.is_nil(t:screen():find "300000 rows")
      t:press("C-l"):rests(prompt)
      t:enter(statement):shows "shown shown shown shown shown\nshown"
      t:press("C-c"):shows "interrupted\n"
      assert.is_nil(t:screen():find "300000 rows")
      t:press("C-l"):enter("db:query [[" .. statement:sub(1, -2) .. "]]"):shows "shown shown shown shown shown\nshown"
      t:press("C-c"):shows "interrupted\n"
      assert.is_nil(t:screen():find "300000 rows")
      t:enter("1 + 1"):shows "\n2\n"
    end)

    it("cancels what runs with Ctrl-C, on the server too, and goes on", function()
      local t = start()
      local sleeps = ("SELECT count(*) FROM pg_stat_activity WHERE datname = '%s' AND query ~ '^SELECT.*pg_sleep'"
        .. " AND state = 'active'"):format(database)
      for _, input in ipairs { "SELECT pg_sleep(600);", 'assert(db:query("SELECT pg_sleep(600)"))' } do
        t:enter(input)
        shell.eventually("the statement to run", function() return server:value("postgres", sleeps) == "1" end)
        t:press("C-c"):rests(prompt)
        assert.equal("0", server:value("postgres", sleeps))
      end
      for _, input in ipairs { "started = true while true do end",
        "pcall(function() while true do end end) while true do end",
        "while true do pcall(function() for _ = 1, 1e5 do end end) end" } do
        t:enter(input):shows(prompt .. input) -- else the prompt before it would do for the one behind
        t:press("C-c"):rests(prompt)
      end
      t:enter("started, db:query('SELECT 7 AS seven')[1].seven"):shows "\ntrue\n7\n"
    end)

    it("leaves a completion for which the server gives no names with Ctrl-C, as often as need be", function()
      local link = proxies.start(server)
      finally(function() link:close() end)
      it_runs = terminal.start { "repl", "--target", link:url(database) }
      local t = it_runs
      t:rests(prompt)
      for _ = 1, 3 do
        link:trap("stall", "before", "pg_index")
        t:press("C-l"):type("\\d order"):press "Tab"
        link:fired()
        t:press("C-c"):shows("interrupted\n" .. prompt .. "\\d order\n")
        t:press("C-u"):rests(prompt)
      end
      t:enter("6 * 7"):shows "\n42\n"
      t:press("C-d")
      link:make "resume"
      assert.equal(0, t:ended())
    end)

    it("fits its tables to the terminal, whose size may change", function()
      local t = start { columns = 110 }
      t:enter("\\d orders"):shows "orders_customer  btree (customer_id)"
      t:type("'" .. ("x"):rep(50)):resize(60, 30)
      t:press("End"):type(("y"):rep(30) .. "'"):shows(("y"):rep(16))
      t:press("Enter"):shows("\n" .. ("x"):rep(50) .. ("y"):rep(10) .. "\n")
      t:enter("SELECT id, note, repeat('long ', 30) AS text FROM orders LIMIT 1;"):shows "…\n"
      t:shows "(1 row; \\x shows what is cut off)\n"
      for line in t:screen():gmatch "[^\n]+" do assert.is_true(utf8.len(line) <= 60) end
      t:resize(30, 30):enter("SELECT 1 AS first, repeat('a', 30) AS b, repeat('c', 30) AS c;"):shows "-- 1\n"
      t:resize(100, 30):enter("\\x"):enter("SELECT 1 AS a, 2 AS b;"):shows "-- 1\na  1\nb  2\n"
      t:enter("\\x"):enter("SELECT '漢字' AS a, 'x' AS b UNION ALL SELECT 'é', 'y' ORDER BY 2;")
      t:shows "a     b\n漢字  x\né     y\n"
    end)

    for _, kind in ipairs { "pasted", "typed, for all it knows" } do
      it("takes 10,000 lines that are " .. kind, function()
        local t = start()
        local lines = {}
        for i = 1, 10000 do lines[i] = ("sum = (sum or 0) + %d"):format(i) end
        t:paste(table.concat(lines, "\n") .. "\n", kind ~= "pasted")
        t:enter("'sum: ' .. sum"):shows "\nsum: 50005000\n"
      end)
    end

    it("leaves a pasted line without an end to be edited", function()
      local t = start()
      t:paste("a = 1\nb = 2\n\tc = a")
      t:type(" + b"):press("Enter"):rests(prompt)
      t:enter("c"):shows "\n3\n"
      t:type("longer='üü'")
      for _ = 1, 4 do t:press "Left" end
      t:paste("1\nb=")
      t:press("Enter"):enter("longer .. b"):shows "\n1üü\n"
    end)

    it("goes on after Ctrl-Z, and ends when it is told to", function()
      local t = start()
      local pid = t:tmux("list-panes", "-F", "#{pane_pid}"):match "%d+"
      t:type("1 +"):press("Left")
      shell.check("kill -STOP " .. pid .. " && kill -CONT " .. pid)
      t:press("End"):type(" 1"):press("Enter"):shows "\n2\n"
      shell.check("kill -TERM " .. pid)
      assert.equal(143, t:ended())
    end)

    it("applies a plan only after a question", function()
      local registry = lunadex.registry [[on "public.orders" { index { "total", name = "orders_total" } }]]
      local t = start(nil, "--write")
      local there = "SELECT count(*) FROM pg_class WHERE relname = 'orders_total'"
      t:enter("\\apply " .. registry):shows "Apply this to "
      assert.matches("+ create   public.orders   orders_total", t:screen(), 1, true)
      t:press("Enter"):shows "nothing was changed\n"
      t:enter("\\apply " .. registry):shows "[y/N]\n"
      t:press("C-c"):rests(writing)
      assert.equal("0", server:value(database, there))
      t:press("C-l"):enter("\\apply " .. registry):shows "[y/N]\n"
      t:enter("y"):shows "created 1,"
      assert.equal("1", server:value(database, there))
      t:rests(writing)
      t:enter("\\apply " .. registry):shows "Plan: nothing to do"
      t:rests(writing)
    end)

    it("asks about the database that the plan is of, whatever it is connected to", function()
      local other = server:create_database()
      finally(function() server:drop_database(other) end)
      server:psql(other, "CREATE TABLE orders (total int)")
      local registry = lunadex.registry [[on "public.orders" { index { "total", name = "orders_total" } }]]
      local t = start({ columns = 200 }, "--write")
      t:enter(("\\apply --target %s %s"):format(server:url(other), registry)):shows "[y/N]"
      assert.matches(("Apply this to [^\n]*/%s[^\n]*%%[y/N%%]"):format(other), t:screen())
      t:enter("y"):shows "created 1,"
      t:rests(writing)
    end)

    it("asks again where the plan is another one by then", function()
      local registry = lunadex.registry [[on "public.orders" { index { "total", name = "orders_total" },
        index { "note", name = "orders_note" } }]]
      local t = start(nil, "--write")
      local there = "SELECT count(*) FROM pg_class WHERE relname IN ('orders_total', 'orders_note')"
      t:enter("\\apply --quiet " .. registry):shows "Leave --quiet out"
      for answer, count in pairs { n = "1", y = "2" } do
        server:psql(database, "DROP INDEX IF EXISTS orders_total, orders_note")
        t:rests(writing)
        t:press("C-l"):enter("\\apply " .. registry):shows "[y/N]"
        assert.matches("Plan: 2 to create", t:screen(), 1, true)
        server:psql(database, "CREATE INDEX orders_total ON orders (total)")
        t:press("C-l"):enter("y"):shows "Plan: 1 to create"
        t:shows "[y/N]"
        t:enter(answer):shows(answer == "y" and "created 1," or "nothing was changed")
        t:rests(writing)
        assert.equal(count, server:value(database, there))
      end
    end)

    it("goes on after an apply that was interrupted, of which nothing is left", function()
      local registry = lunadex.registry [[on "public.orders" { index { expr "gate(id)", name = "orders_gated" } }]]
      local t = start(nil, "--write")
      local gate = faults.close_gate(server, database)
      t:enter("\\apply --mode concurrent " .. registry):shows "[y/N]"
      t:enter "y"
      gate:reached()
      t:press("C-c"):shows "interrupted: what was running was cancelled"
      t:rests(writing)
      assert.equal("0", server:value(database, "SELECT count(*) FROM pg_class WHERE relname ~ 'orders_gated'"))
      gate:open()
      t:press("C-l"):enter("\\apply " .. registry):shows "[y/N]"
      t:enter("y"):shows "created 1,"
      t:rests(writing)
    end)

    it("watches what was entered before, says to what it connects, and keeps messages from steering it", function()
      local t = start { columns = 200 }
      t:enter("SELECT count(*) AS counted FROM orders;"):rests(prompt)
      t:press("C-l"):enter("\\watch 1"):shows "every 1 s: SELECT count"
      t:shows "counted\n"
      t:press("C-c"):rests(prompt)
      t:press("C-l"):enter("\\c " .. url):shows("\nPostgreSQL [%d.]+   postgresql://[^\n]*   read%-only\n", true)
      t:rests(prompt)
      t:press("C-l"):enter([[error("a\27[2Jb")]]):shows "error: input:1: a [2Jb"
    end)

    it("watches, until Ctrl-C, what is being built and whom it waits for", function()
      local t = start()
      local holder = server:session(database)
      holder:run "BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE"
      local build = server:session(database)
      build:send "CREATE INDEX CONCURRENTLY orders_note ON orders (note)"
      t:enter("\\watch 0.2 \\status"):shows "building  public.orders orders_note"
      t:shows "blocked by "
      holder:run "COMMIT"
      t:shows "nothing is being built"
      t:press("C-c"):rests(prompt)
      holder:close()
      build:close()
    end)
  end)

  describe("without a terminal", function()
    it("does what it is fed and says nothing else", function()
      local result = feed([[
-- a comment is Lua's
x = 40
x + 2
SELECT id, note FROM orders
 WHERE id < 3 ORDER BY id;
for i = 1, 1 do
  print "looped"
end
help keys
\explain SELECT * FROM orders WHERE id = 7
db:query("SELECT $1::int + 1 AS next", { 1 })
'last']])
      assert.equal(0, result.status, tostring(result))
      assert.equal("", result.stderr)
      assert.matches("^42\nid  note\n 1  größe 1\n 2  größe 2\n%(2 rows%)\nlooped\nTab completes", result.stdout)
      assert.matches("orders_pkey on orders", result.stdout)
      assert.matches("public.orders  orders_pkey  PRIMARY KEY %(id%)", result.stdout)
      assert.matches("\nnext\n   2\n%(1 row%)\nlast\n$", result.stdout)
    end)

    it("shows bytes as the server does, and takes a semicolon behind a name", function()
      local shown = feed("SELECT '\\xe900'::bytea AS b, '\\x61'::bytea AS t;").stdout
      assert.equal("b       t\n\\xe900  a\n(1 row)\n", shown)
      assert.matches("^public.orders  table, 100 rows", feed("\\d orders;").stdout)
    end)

    it("says what several statements in one text are to be", function()
      local result = feed "SELECT 1; SELECT 2;\n"
      assert.same({ 65, "" }, { result.status, result.stdout })
      assert.matches("On a connection that only reads a text has to be one statement: send them one by one.\n",
        result.stderr, 1, true)
    end)

    it("shows each of several columns of one name", function()
      local shown = feed("SELECT 1 AS a, 2 AS b, 3 AS a, NULL AS b;").stdout
      assert.equal("a  b  a  b\n1  2  3\n", (shown:gsub("%(1.*", "")))
    end)

    it("writes records without blanks at their ends, and asks one thing of who cannot connect", function()
      local result = feed "\\x\nSELECT 1 AS bin, NULL AS b, '' AS c;\n\\d orders\n\\d order_lines\n\\d\n"
      assert.equal(0, result.status, tostring(result))
      assert.matches("\n-- 1\nbin  1\nb\nc\n(1 row)\n", result.stdout, 1, true)
      assert.not_matches(" \n", result.stdout)
      assert.not_matches("\n\n", result.stdout)
      assert.not_matches("state +\n", result.stdout)
      result = lunadex.run { "repl", "--target", "postgresql://127.0.0.1:1/x", stdin = "1" }
      assert.equal(1, select(2, result.stderr:gsub("%?", "")), result.stderr)
      assert.matches("port 1 failed: Connection refused\nIs the server running there", result.stderr, 1, true)
    end)

    it("tells of relations and indexes: definition, size, use, state", function()
      server:psql(database, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_customer'::regclass")
      local result = feed "\\d\n\\d orders\n\\d order*\n\\di customer\n\\di *customer\n\\d orders_pkey\n"
      assert.equal(65, result.status, tostring(result))
      assert.matches("public.orders       table   100    16 kB        2  1 invalid\n", result.stdout, 1, true)
      assert.matches("columns: id, customer_id null, total, note null\n", result.stdout, 1, true)
      assert.matches("orders_customer  btree %(customer_id%)  16 kB  0 in [^\n]*  INVALID, writes maintain it\n",
        result.stdout)
      assert.matches("there is no relation or index customer\n", result.stderr, 1, true)
      result = feed "\\di *customer\n\\d orders_pkey\n\\d public.order_lines\n"
      assert.equal(0, result.status, tostring(result))
      assert.matches("public.orders  orders_customer  btree", result.stdout, 1, true)
      assert.matches("no indexes\n$", result.stdout)
      -- The time that passes between the two is told by both, and the columns are as wide as it.
      local function without_time(input) return (feed(input).stdout:gsub(" in %d+ %a+", ""):gsub(" +", " ")) end
      assert.equal(without_time "\\d\n\\d orders\n\\di ord*\n\\connect\n",
        without_time "\\dt\n\\d+ orders;\n\\di+ ord*\n\\conninfo\n")
      result = feed "\\l+\n"
      assert.equal(64, result.status)
      assert.matches("there is no command \\l+\nSELECT datname FROM pg_database;", result.stderr, 1, true)
      result = feed "\\d ordesr"
      assert.matches("Did you mean orders?", result.stderr, 1, true)
      -- Altered, a column is later in the server's own table, and not in this one.
      server:psql(database, [[CREATE TABLE altered (id int, gone int, b text, "Flag" bool, "a, b null" int, "or" int,
          c int);
        ALTER TABLE altered ALTER id SET DEFAULT 3; ALTER TABLE altered ALTER b SET NOT NULL;
        ALTER TABLE altered DROP gone; CREATE INDEX ON altered (b, c)]])
      local altered = feed "\\d altered\n"
      assert.matches('columns: id null, b, "Flag" null, "a, b null" null, "or" null, c null\n', altered.stdout, 1, true)
      assert.matches("btree (b, c)", altered.stdout, 1, true)
      server:psql(database, [[CREATE TABLE "Odd ""one*" (a int);
        CREATE INDEX "Of an ""odd* one" ON "Odd ""one*" (a)]])
      for _, name in ipairs { [["Odd ""one*"]], [[public."Odd ""one*"]] } do
        assert.matches('^public."Odd ""one[*]"  table', feed("\\d " .. name).stdout)
      end
      for _, input in ipairs { [[\d "Of an ""odd* one"]], [[\di "Of an ""odd* one"]], [[\di "Odd ""one*"]] } do
        assert.matches('Of an "odd* one  btree (a)', feed(input).stdout, 1, true)
      end
    end)

    it("explains queries: with parameters, and the index of the schema that is meant", function()
      server:psql(database, [[CREATE SCHEMA other; CREATE TABLE other.orders (id int PRIMARY KEY, customer_id int);]])
      for _, options in ipairs { {}, { "--write" } } do
        local result = feed("\\explain SELECT * FROM orders WHERE id = $1 AND note = $2;\n"
          .. "\\explain SELECT * FROM orders WHERE id = $1\n", table.unpack(options))
        assert.equal(0, result.status, tostring(result))
        assert.matches("Index Cond: (id = $1)", result.stdout, 1, true)
        assert.equal(2, select(2, result.stdout:gsub("\npublic.orders  orders_pkey", "")))
        assert.is_nil(result.stdout:find("other.orders", 1, true))
      end
      -- A bitmap's index, and a text that only looks like a parameter.
      server:psql(database, 'ALTER DATABASE "' .. database .. '" SET enable_indexscan = off')
      local result = feed [[\explain ANALYZE SELECT * FROM orders WHERE customer_id = 3 AND note <> '$1']]
      assert.equal(0, result.status, tostring(result))
      assert.matches("Bitmap Index Scan", result.stdout, 1, true)
      assert.matches("public.orders  orders_customer", result.stdout, 1, true)
      result = feed [[\explain SELECT '$1']]
      assert.matches("no index is used", result.stdout, 1, true)
      assert.equal(65, feed([[\explain SELECT nothing + $1]]).status)
    end)

    it("ends at the first failure, with its exit status", function()
      for input, status in pairs {
        ["error 'no'"] = 65, ["x = = 1"] = 65, ["SELECT nothing;"] = 65, ["\\nothing"] = 64, ["help nothing"] = 65,
        ["assert(db:query 'SELECT nothing')"] = 65, ["db:query 'SELECT nothing'"] = 65, ["error()"] = 65,
        ["\\plan /nowhere.lua"] = 65, ["\\plan --nothing"] = 64, ["\\connect postgresql://127.0.0.1:1/x"] = 5,
        ["CREATE TABLE t ();"] = 6, ["lunadex.spawn(error, 'lost') lunadex.sleep(0.01)"] = 65,
      } do
        local result = feed(input .. "\n'went on'\n")
        assert.equal(status, result.status, input .. "\n" .. tostring(result))
        assert.is_nil(result.stdout:find("went on", 1, true), input)
      end
      for input, status in pairs { ["nil"] = 0, ["quit"] = 0, ["\\watch 600 quit"] = 0, ["SELECT 1"] = 0, ["x ="] = 65,
        ["do"] = 65 } do
        assert.equal(status, feed(input).status, input)
      end
      local result = lunadex.run { "repl", "--target", "postgresql://127.0.0.1:1/x", stdin = "1" }
      assert.equal(5, result.status)
    end)

    it("takes a file with the mark of its encoding, or with who is to read it, and says what a zero byte is", function()
      for _, begin in ipairs { "\xEF\xBB\xBF", "#!/usr/bin/env -S lunadex repl\n", "\xEF\xBB\xBF#!x\n" } do
        assert.equal("one\n  1\n(1 row)\n", feed(begin .. "SELECT 1 AS one;\n").stdout)
        assert.equal("7\n", feed(begin .. "7\n").stdout)
      end
      for _, input in ipairs { "SELECT 'a\0b';", "\\d a\0b", "\\explain SELECT 'a\0b'" } do
        local result = feed(input .. "\n'went on'\n")
        assert.same({ 64, "" }, { result.status, result.stdout }, input)
        assert.matches("lunadex: it holds a zero byte", result.stderr, 1, true)
      end
      assert.equal("3\n", feed("#'a\0b'\n").stdout)
    end)

    it("needs a database only for what is asked of one", function()
      local result = lunadex.run { "repl",
        stdin = "6 * 7\nhelp lua\ndb\n\\connect " .. url .. "\nSELECT 8 AS eight;\n" }
      assert.equal(0, result.status, tostring(result))
      assert.matches("^42\nWhat is entered is Lua.*\nnil\neight\n    8\n", result.stdout)
      for input, status in pairs { ["SELECT 1;"] = 64, ["\\d"] = 64, ["\\plan"] = 64, ["\\explain SELECT 1"] = 64,
        ["db:query 'SELECT 1'"] = 65, ["\\connect"] = 65, ["assert(lunadex.connect())"] = 65 } do
        result = lunadex.run { "repl", stdin = input .. "\n'went on'\n" }
        assert.equal(status, result.status, input .. "\n" .. tostring(result))
        assert.equal("", result.stdout)
        assert.matches(input:find "connect" and "target" or "there is no connection\n\\connect TARGET opens one.\n",
          result.stderr, 1, true)
      end
      assert.equal(64, lunadex.run({ "repl", "--target", "", stdin = "1" }).status)
    end)

    it("names the place of an error, without our own", function()
      assert.equal("lunadex: input:1: bad argument #1 to 'query' (string expected, got nil)\n",
        feed("x = 1 + (db:query())").stderr)
      local result = feed "function f() error 'bad' end\nfunction g() f() return 1 end\ng()\n"
      assert.equal("lunadex: input:1: bad\n  input:1: in function <input:1>\n", result.stderr)
    end)

    it("does not ask where nobody could answer", function()
      local registry = lunadex.registry [[on "public.orders" { index { "total" } }]]
      local result = feed("\\apply " .. registry .. "\n", "--write")
      assert.equal(65, result.status)
      assert.matches("Call lunadex apply instead", result.stderr, 1, true)
      result = feed("\\plan " .. registry .. "\n\\apply --dry-run " .. registry .. "\n")
      assert.equal(0, result.status, tostring(result))
      assert.matches("Plan: 1 to create", result.stdout, 1, true)
      assert.matches("CREATE INDEX CONCURRENTLY", result.stdout, 1, true)
    end)
  end)

  describe("that only reads", function()
    -- Each is one way to write.
    local ways = {
      "CREATE TABLE t ();", "INSERT INTO orders VALUES (0, 0, 0);", "DROP INDEX orders_customer;", "VACUUM orders;",
      "CREATE INDEX CONCURRENTLY t ON orders (note);", "DO $$ BEGIN DELETE FROM orders; END $$;",
      "SET default_transaction_read_only = off;\nCREATE TABLE t ();", "BEGIN READ WRITE;\nCREATE TABLE t ();",
      "COMMIT;\nCREATE TABLE t ();", "SET TRANSACTION READ WRITE;\nCREATE TABLE t ();",
      "SELECT set_config('default_transaction_read_only', 'off', false);\nCREATE TABLE t ();",
      "SELECT set_config('transaction_read_only', 'off', false);",
      "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;\nCREATE TABLE t ();",
      "COMMIT; CREATE TABLE t ();", "db:query('COMMIT; CREATE TABLE t ()')",
      "for _ in db:rows('CREATE TABLE t ()') do end",
      "db:transaction(function(tx) return tx:query('SET TRANSACTION READ WRITE') end)",
      "db:transaction(function(tx) return tx:query('COMMIT') and tx:query('CREATE TABLE t ()') end)",
      "db:transaction(function(tx) return tx:query('COMMIT; BEGIN; CREATE TABLE t ()') end)",
      "db:build('public.orders', { 'note' })", "db:drop('public.orders', 'orders_customer')",
      "db:rename('public.orders', 'orders_customer', 'x')", "db:lock()", "db:history('run', { 'x', 1, 1 })",
      "assert(lunadex.connect()):query 'CREATE TABLE t ()'",
      "lunadex.backfill { name = 'b', on = 'public.orders', set = 'total = 0' }:run { connection = db }",
      "REINDEX INDEX orders_customer;", "db:query('/* so */ CLUSTER orders USING orders_customer')", "ANALYZE orders;",
      "CHECKPOINT;",
      "LOCK TABLE orders;", "COPY orders TO PROGRAM 'cat >/dev/null';", "LOAD 'plpgsql';",
      "lunadex.plan(assert(lunadex.declare({ ['public.orders'] = { { 'note' } } }, db)), db):apply()",
    }
    it("refuses whatever writes", function()
      local before = server:indexes(database)
      for _, way in ipairs(ways) do
        local result = feed(way .. "\n")
        assert.is_true(result.status == 6 or result.status == 65, way .. "\n" .. tostring(result))
        if result.status == 6 then assert.matches("Start lunadex repl --write", result.stderr, 1, true) end
      end
      assert.same(before, server:indexes(database))
      assert.equal("100|2", server:value(database, [[SELECT (SELECT count(*) FROM orders) || '|' || count(*)
        FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace]]))
    end)

    it("says that what SET changes is forgotten, to whoever is there", function()
      local t = start { columns = 160 }
      t:enter("SET work_mem = '9MB';"):shows "note: without --write each statement is undone at its end, and so is SET"
      t:rests(prompt)
      t:press("C-l"):enter("SET work_mem = '9MB';"):rests(prompt)
      assert.not_matches("note:", t:screen())
      assert.equal("SET\n", feed("SET work_mem = '9MB';").stdout)
    end)

    it("compares definitions exactly, all the same", function()
      local registry = lunadex.registry [[on "public.orders" {
        index { expr "lower(note)", where = "note is not null", name = "orders_lower" } }]]
      server:psql(database, "CREATE INDEX orders_lower ON orders (lower(note)) WHERE note IS NOT NULL")
      local result = feed(("lunadex.plan(assert(lunadex.load %q), db).summary.keep\n"):format(registry))
      assert.equal("1\n", result.stdout, tostring(result))
    end)

    it("asks the server about declared queries, all the same", function()
      local registry = lunadex.registry [[on "public.orders" {
        index { "note", name = "orders_note" },
        query { "SELECT * FROM orders WHERE note = $1", expect_index = "orders_note" } }]]
      server:psql(database, "CREATE INDEX orders_note ON orders (note)")
      local result = feed(("\\check %s\n"):format(registry))
      assert.equal(0, result.status, tostring(result))
      assert.not_matches("unserved", result.stdout .. result.stderr)
      server:psql(database, "DROP INDEX orders_note; CREATE INDEX orders_note ON orders (note) WHERE note IS NULL")
      result = feed(("\\check %s\n"):format(lunadex.registry [[on "public.orders" {
        index { "note", name = "orders_note", where = "note IS NULL" },
        query { "SELECT * FROM orders WHERE note = $1", expect_index = "orders_note" } }]]))
      assert.matches("unserved%-query", result.stdout)
      assert.not_matches("cannot be planned", result.stdout)
    end)

    it("says that a session is gone, and what was set on it, if it may write", function()
      local told = "this ran in a new session: what SET, PREPARE and temporary tables made in the one before is gone"
      local t = start({ columns = 160 }, "--write")
      t:enter("CREATE TEMP TABLE kept (); SET work_mem = '9MB';"):shows "\nSET\n"
      t:enter("SHOW work_mem;"):shows "9MB\n"
      t:enter("db:query('SELECT pg_backend_pid() AS pid')[1].pid"):rests(writing)
      local pid = t:screen():match "%[1%].pid\n(%d+)\n"
      server:value("postgres", ("SELECT pg_terminate_backend(%s)"):format(pid))
      shell.eventually("the end of the session", function()
        return server:value("postgres", "SELECT count(*) FROM pg_stat_activity WHERE pid = " .. pid) == "0"
      end)
      t:press("C-l"):enter("SHOW work_mem;"):shows("lunadex: " .. told .. "\nwork_mem\n4MB\n")
      t:rests(writing)
      t:press("C-l"):enter("SHOW work_mem;"):shows "\nwork_mem\n4MB\n"
      assert.not_matches("session", t:screen())
    end)

    it("may write if it is told so", function()
      local result = feed("CREATE TABLE t ();\nBEGIN; INSERT INTO orders VALUES (0, 0, 0); COMMIT;\n"
        .. "db:build('public.orders', { 'note', name = 'orders_note' })\n", "--write")
      assert.equal(0, result.status, tostring(result))
      assert.equal("101", server:value(database, "SELECT count(*) FROM orders"))
      assert.truthy(server:indexes(database)["public.orders_note"])
    end)
  end)
end)
