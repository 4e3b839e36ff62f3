-- What PostgreSQL says beside results: how it reaches scripts, `lunadex run`, the REPL, and those who watch a run.
local lunadex = require "lunadex"
local pg = require "support.postgres"
local program = require "support.lunadex"
local shell = require "support.shell"
local terminal = require "support.terminal"

describe("what PostgreSQL says beside results", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url, heard, db

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url, heard = server:url(database), {}
    server:psql(database, [[
      CREATE TABLE t (id int PRIMARY KEY, a int);
      INSERT INTO t SELECT i, i % 7 FROM generate_series(1, 100) i;
      CREATE FUNCTION loud(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RAISE WARNING ''row %'', $1; RAISE NOTICE ''-''; RETURN $1; END']])
  end)
  after_each(function()
    if db then db:close() end
    db = nil
    server:drop_database(database)
  end)

  local function connect(on_notice, options)
    options = options or {}
    options.on_notice = on_notice or function(notice) heard[#heard + 1] = tostring(notice) end
    db = assert(lunadex.connect(url, options))
    return db
  end

  local raise = "DO $$ BEGIN FOR i IN 1..%d LOOP RAISE NOTICE '%%', %s; END LOOP; END $$"

  describe("to a script", function()
    it("is given as it comes, and prints itself as psql prints it", function()
      local whole
      connect(function(notice)
        heard[#heard + 1] = tostring(notice)
        if notice.detail then whole = notice end
      end)
      assert(db:query "DROP TABLE IF EXISTS nothing")
      assert(db:query "COMMIT")
      assert(db:query [[DO $$ BEGIN RAISE WARNING 'two
lines' USING DETAIL = 'more', HINT = 'Do it.', ERRCODE = '01234'; END $$]])
      assert.same({ 'NOTICE:  table "nothing" does not exist, skipping',
        "WARNING:  there is no transaction in progress", "WARNING:  two\nlines\nDETAIL:  more\nHINT:  Do it." }, heard)
      assert.same({ "WARNING", "two\nlines", "more", "Do it.", "01234" },
        { whole.severity, whole.message, whole.detail, whole.hint, whole.native })
      heard = {}
      assert(db:query "VACUUM VERBOSE t")
      assert.matches("INFO:  [^\n]*vacuum[^\n]* \"[^\n]*t\"", table.concat(heard, "\n"))
    end)

    it("comes before the call returns: of a query, of rows, and of a transaction's end", function()
      connect()
      server:psql(database, [[
        CREATE FUNCTION at_the_end() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''end''; RETURN NEW; END';
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t INITIALLY DEFERRED FOR EACH ROW
          EXECUTE FUNCTION at_the_end()]])
      assert(db:transaction(function(tx)
        assert(tx:query(raise:format(1, "'begun'")))
        assert(tx:query "INSERT INTO t VALUES (101, 1)")
        assert.same({ "NOTICE:  begun" }, heard)
      end))
      assert.same({ "NOTICE:  begun", "NOTICE:  end" }, heard)
      assert.equal(1, #db.spare)
      heard = setmetatable({}, { __newindex = function(_, _, text) error("not " .. text) end })
      local ok, problem = pcall(db.transaction, db, function(tx) assert(tx:query "INSERT INTO t VALUES (102, 1)") end)
      assert.is_false(ok)
      assert.matches("not NOTICE:  end", problem, 1, true)
      assert.same({ 1, "102" }, { #db.spare, server:value(database, "SELECT max(id) FROM t") })
      heard = {}
      for row in db:rows("SELECT loud(id) AS n FROM t WHERE id <= 3 ORDER BY id", nil, { batch = 1 }) do
        assert.is_true(#heard >= 2 * row.n)
      end
      assert.equal("WARNING:  row 1 NOTICE:  - WARNING:  row 2", table.concat(heard, " ", 1, 3))
      assert.equal(6, #heard)
    end)

    it("may ask of the database, and raise what the statement then raises", function()
      connect(function(notice)
        heard[#heard + 1] = assert(db:query("SELECT $1 || '!' AS v", { notice.message }))[1].v
        if notice.message == "2" then error "enough" end
      end)
      local ok, problem = pcall(db.query, db, raise:format(3, "i"))
      assert.is_false(ok)
      assert.matches("enough", problem, 1, true)
      assert.same({ "1!", "2!" }, heard)
      heard = {}
      assert(db:query(raise:format(800, "i % 3 * 7")))
      assert.equal("7!14!0!", table.concat(heard, "", 1, 3))
      assert.equal(800, #heard)
      heard = { "1!", "2!" }
      db:close()
      connect(function() error "out of rows" end)
      ok, problem = pcall(function()
        for _ in db:rows "SELECT loud(2)" do heard[#heard + 1] = "row" end
      end)
      assert.is_false(ok)
      assert.matches("out of rows", problem, 1, true)
      assert.same({ "1!", "2!", "row" }, heard)
    end)

    it("is what the role wants to hear, and warnings alone where nobody listens", function()
      local function level() return assert(db:query "SHOW client_min_messages")[1].client_min_messages end
      connect()
      assert.equal("notice", level())
      db:transaction(function(tx)
        assert.equal("notice", assert(tx:query "SHOW client_min_messages")[1].client_min_messages)
      end)
      db:close()
      server:psql(database, ('ALTER DATABASE "%s" SET client_min_messages = error'):format(database))
      connect()
      assert.equal("error", level())
      db:close()
      db = assert(lunadex.connect(url))
      assert.equal("warning", level())
    end)

    it("neither holds up a statement nor piles up, and what was left out is counted", function()
      local many, left_out, gaps = 20000, 0, {}
      connect(function(notice)
        if #heard == 0 then
          shell.eventually("the statement to end although nobody takes what it says", function()
            return server:value("postgres", ([[SELECT count(*) FROM pg_stat_activity
              WHERE datname = '%s' AND state = 'idle' AND query ~ 'LOOP']]):format(database)) == "1"
          end)
        end
        heard[#heard + 1] = notice.message
        if not notice.left_out then return end
        left_out, gaps[#gaps + 1] = left_out + notice.left_out, notice
      end)
      assert(db:query(raise:format(many, "i || repeat('x', 1000)")))
      -- What the server has sent may not have arrived when the first is taken: then there is more than one gap.
      assert.is_true(#gaps > 0)
      assert.equal(many, #heard - #gaps + left_out)
      assert.is_true(#heard > 500 and #heard < many // 2, #heard)
      assert.equal("1", heard[1]:match "^%d+")
      for _, gap in ipairs(gaps) do
        assert.equal("WARNING", gap.severity)
        assert.matches(("left out here: %d of"):format(gap.left_out), gap.message, 1, true)
      end
    end)

    it("is cut where a text is very long", function()
      connect(function(notice) heard[#heard + 1] = notice.message end)
      assert(db:query(raise:format(1, "repeat('ä', 1000000)")))
      assert.is_true(#heard[1] > 100000 and #heard[1] < 200000)
      assert.matches("^[ä]+…$", heard[1])
      assert.truthy(utf8.len(heard[1]))
    end)
  end)

  describe("while it is connected to", function()
    -- As if the database had been made with another version of the library; what is said differs by its collation.
    local function age()
      server:psql("postgres", ("UPDATE pg_database SET datcollversion = 'old' WHERE datname = '%s'"):format(database))
    end
    local said = 'database "%s" has '

    it("is told once", function()
      if pg.version < 15 then return end
      age()
      connect()
      assert(db:query "SELECT 1")
      assert(db:transaction(function(tx) assert(tx:query "SELECT 1") end))
      assert.equal(1, #heard)
      assert.matches("WARNING:  " .. said:format(database), heard[1], 1, true)
      local result = program.run { "run", "--target", url, "-", stdin = "require 'lunadex'.connect():close()" }
      assert.equal(0, result.status, tostring(result))
      assert.matches("WARNING:  " .. said:format(database), result.stderr, 1, true)
      result = program.run { "repl", "--target", url, stdin = "SELECT 1;" }
      assert.equal(1, select(2, result.stderr:gsub("has [^\n]*collation", "")), tostring(result))
    end)

    it("is a finding of a plan", function()
      if pg.version < 15 then return end
      age()
      local path = program.registry 'on "t" { index { "a", name = "t_a" } }'
      local result = program.run { "plan", path, "--target", url }
      assert.equal(0, result.status, tostring(result))
      assert.matches("warning server: the server warns: " .. said:format(database), result.stdout, 1, true)
      assert.equal(1, select(2, result.stdout:gsub("has [^\n]*collation", "")), tostring(result))
      assert.equal(0, program.run({ "apply", path, "--target", url }).status)
    end)

    it("comes of a login trigger, too", function()
      if pg.version < 17 then return end
      server:psql(database, [[CREATE FUNCTION greet() RETURNS event_trigger LANGUAGE plpgsql
        AS 'BEGIN RAISE WARNING ''be careful''; RAISE NOTICE ''hello''; END';
        CREATE EVENT TRIGGER greet ON login EXECUTE FUNCTION greet()]])
      connect()
      assert.same({ "WARNING:  be careful", "NOTICE:  hello" }, heard)
      local result = program.run { "plan", program.registry 'on "t" {}', "--target", url }
      assert.matches("warning server: the server warns: be careful\n", result.stdout, 1, true)
      assert.is_nil(result.stdout:find("hello", 1, true))
    end)
  end)

  describe("under lunadex run", function()
    local function run(text) return program.run { "run", "--target", url, "-", stdin = text } end

    it("goes to standard error, and cannot steer a terminal", function()
      local result = run [[
        local db <close> = assert(require "lunadex".connect())
        assert(db:query "DROP TABLE IF EXISTS nothing")
        print "between"
        assert(db:query "DO $$ BEGIN RAISE WARNING E'red \27[31m' USING HINT = 'Look.'; END $$")]]
      assert.same({ 0, "between\n", 'NOTICE:  table "nothing" does not exist, skipping\n'
        .. "WARNING:  red  [31m\nHINT:  Look.\n" }, { result.status, result.stdout, result.stderr })
    end)

    it("goes where the script says", function()
      local result = run [[
        local db <close> = assert(require "lunadex".connect(nil, { on_notice = print }))
        assert(db:query "DROP TABLE IF EXISTS nothing")]]
      assert.same({ 0, 'NOTICE:  table "nothing" does not exist, skipping\n', "" },
        { result.status, result.stdout, result.stderr })
    end)
  end)

  describe("in the REPL", function()
    local function feed(text, ...)
      return program.run { "repl", "--target", url, stdin = text, ... }
    end

    it("stands before the result", function()
      local result = feed("DROP TABLE IF EXISTS nothing;\nCOMMIT;\ndb:query 'COMMIT'\n", "--write")
      assert.same({ 0, "DROP TABLE\nCOMMIT\nCOMMIT\n", 'NOTICE:  table "nothing" does not exist, skipping\n'
        .. ("WARNING:  there is no transaction in progress\n"):rep(2) },
        { result.status, result.stdout, result.stderr })
    end)

    it("is shown in a terminal, and a flood of it ends with Ctrl-C", function()
      local missing = terminal.missing()
      if missing then return pending(missing) end
      local t = terminal.start { "repl", "--target", url }
      finally(function() t:close() end)
      local prompt = database .. "> "
      t:rests(prompt)
      t:enter("SELECT loud(7);"):shows "WARNING:  row 7\nNOTICE:  -\nloud\n   7\n(1 row)\n"
      t:enter("DO $$ BEGIN LOOP RAISE NOTICE 'water'; END LOOP; END $$;"):shows "NOTICE:  water\nNOTICE:  water\n"
      t:press("C-c"):rests(prompt)
      assert.matches("interrupted\n", t:screen(), 1, true)
      t:enter("1 + 1"):shows "\n2\n"
    end)
  end)

  describe("in a run", function()
    local function warnings(result, ...)
      local texts = {}
      for _, event in ipairs(result:events()) do
        if event.event == "note" then texts[#texts + 1] = event.text end
      end
      assert.same({ ... }, texts)
    end

    local told = {}
    for i = 1, 5 do told[i] = "the server warns: row " .. i end
    told[6] = "95 more warnings of the server"

    local registry = 'on "t" { index { expr "loud(id)", name = "t_loud" } }'

    it("warnings are notes of the change that they belong to, and the rest is silent", function()
      local path = program.registry(registry)
      local result = program.run { "apply", path, "--target", url }
      assert.equal(0, result.status, tostring(result))
      assert.equal("", result.stderr)
      assert.matches("[1/1] public.t t_loud: the server warns: row 5\n[1/1] public.t t_loud: " .. told[6] .. "\n"
        .. "[1/1] public.t t_loud: created", result.stdout, 1, true)
      assert.equal(6, select(2, result.stdout:gsub("warn", "")))
      server:psql(database, "DROP INDEX t_loud")
      result = program.run { "apply", path, "--target", url, "--json" }
      assert.equal(0, result.status, tostring(result))
      warnings(result, table.unpack(told))
      local events = result:events()
      assert.equal(1, events[#events].summary.created)
    end)

    it("they are notes of what a script builds, and no more than that", function()
      connect()
      local texts = {}
      assert.equal("created", db:build("t", { lunadex.expr "loud(id)", name = "t_loud" }, {
        on_event = function(event) texts[#texts + 1] = event.event == "note" and event.text or nil end }))
      assert.same({ told, {} }, { texts, heard })
    end)

    it("they are notes of a backfill, without what is secret", function()
      server:psql(database, [[
        CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql
          AS 'BEGIN RAISE WARNING ''% became %'', NEW.id, NEW.note; RAISE NOTICE ''-''; RETURN NEW; END';
        ALTER TABLE t ADD note text; CREATE TRIGGER warns BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION warn()]])
      local path = program.registry [[backfill "notes" { on = "t", where = "note IS NULL", set = "note = $1",
        params = { env "SHOP_PASSWORD" } }]]
      local env = { SHOP_PASSWORD = "verygeheim" }
      local result = program.run { "backfill", "run", path, "--target", url, "--json", env = env }
      assert.equal(0, result.status, tostring(result))
      local expected = {}
      for i = 1, 5 do expected[i] = ("the server warns: %d became ***"):format(i) end
      expected[6] = told[6]
      warnings(result, table.unpack(expected))
      assert.is_nil(tostring(result):find("geheim", 1, true))
      server:psql(database, "UPDATE t SET note = NULL")
      result = program.run { "backfill", "run", path, "--target", url, "--restart", env = env }
      assert.equal(0, result.status, tostring(result))
      assert.matches("[1/1] t notes: the server warns: 1 became ***\n", result.stdout, 1, true)
      assert.matches("[1/1] t notes: " .. told[6] .. "\n[1/1] t notes: finished in", result.stdout, 1, true)
      assert.is_nil(tostring(result):find("geheim", 1, true))
    end)
  end)
end)
