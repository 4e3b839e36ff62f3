-- What the REPL makes of what is entered, and of values, without a server.
local format = require "lunadex.format"
local history = require "lunadex.cli.repl.history"
local statement = require "lunadex.cli.repl.statement"

describe("an input", function()
  local sql = {
    "select 1;", "SELECT * FROM t", "  with x as (select 1) select", "update t set a = 1;", "begin;", "end;",
    "values (1), (2);", "values(1);", "explain analyze select 1", "select 'a'", "table orders;", "drop index x;",
    "set lock_timeout = 1;", "select\n1;", 'copy "t" to stdout;', "select -1;", "select $1;",
    "select*from t;", "select'a';", "(select 1) union (select 2);", "((values (1)));", "/* so */ select 1;", "/* so",
  }
  local lua = {
    "select('#', 1)", "select(2, ...)", "table.concat { 1 }", "table = 1", "set.x = 1", "load 'return 1'", "load('x')",
    "end", "x = 1", "return select (1)", "set { 1 }", "show = select", "call (1)", "listen:x()", "update = { set = 1 }",
    "selected 1", "merge{ 1 }", "lock, show = 1, 2", "start[1] = 2", "show == 1",
    "(select(1, 2))", "(load 'x')()", "(end)", "-- select 1;", "(1 + 2)", "(set or 1)", "",
  }
  for _, text in ipairs(sql) do
    it("is SQL: " .. text, function()
      assert.is_true(statement.is_sql(text, "postgres"))
      assert.is_false(statement.is_sql(text, "mongodb"))
    end)
  end
  for _, text in ipairs(lua) do
    it("is Lua: " .. text, function() assert.is_false(statement.is_sql(text, "postgres")) end)
  end

  it("goes on until it is complete", function()
    local function goes_on(text)
      local input, more = statement.input "postgres", nil
      for line in (text .. "\n"):gmatch "(.-)\n" do more = input:add(line) end
      assert.equal(text, input:text())
      return more
    end
    for _, text in ipairs { "for i = 1, 2 do", "x = {", "x =", "f(", "return [[", "--[[ a", "if x then\n  y()",
      "select 1", "select ';", "select 'a;'", "select 1 -- ;", 'select "a;', "do $$ begin; $$",
      "db:query [[select 1;", "do\n$$ begin", "select 1 /* ; /* ; */ ;", "select $a$ $b$;", "select E'\\';",
      "select 1 -- don't;\n", "x = [==[ ]] ", "--[[ don't\n]] if x then", "f(function() --[[ end) ]]", "x = '[[' ..",
      "select a$b$ from t\n", "update t set a = ';'\n--;" } do
      assert.is_true(goes_on(text), text)
    end
    for _, text in ipairs { "", "  ", "1", "x = 1", "1 +* 2", "x = = 1", "\\d", "\\d for do", "help", "quit",
      "select 1;", "select 1 ; ", "select 'a'';b';", "select 1; -- done", "do $$ begin; end $$;", "end",
      "select 1 -- don't\n;", "select /* it's */ 1;", "select $$it's$$, 'x';", "select $a$ $$ ' $a$;",
      "do\n$$ begin\n$$;", "select E'\\'';", "select '\\';", 'select "a\'b";', "select /* /* */ */ 1;",
      "select /**/ 1;", "select 1/2;", "select a$b$, a$b$ from t;", "x = [==[ ]] ]==]",
      "if x then\n  y = '--[['\nend", "select 1; /* done */ -- so", "select 1 - -1;" } do
      assert.is_false(goes_on(text), text)
    end
  end)

  it("of many lines is not read anew with each", function()
    local parse, parsed, most = load, 0, 0
    finally(function() _G.load = parse end) -- luacheck: ignore 122
    function _G.load(text, ...) -- luacheck: ignore 122
      parsed = parsed + #text
      return parse(text, ...)
    end
    for first, line in pairs { ["do"] = "x[f(7)] = 'some value'", ["x ="] = "some + text +", ["f {"] = "{ 1, 2, 3 },",
      ["x = [["] = "do f(", ["INSERT INTO t VALUES"] = "(1, 'it''s'),", ["--[["] = "]" } do
      local input = statement.input "postgres"
      parsed = 0
      assert.is_true(input:add(first), first)
      local more = true
      for _ = 1, 10000 do more = input:add(line) and more end
      assert.is_true(more, first)
      assert.is_true(parsed < 100 * input.size, ("%s: %d bytes for %d"):format(first, parsed, input.size))
      most = math.max(most, parsed)
    end
    assert.is_true(most > 100000)
  end)

  -- Either would take minutes if a line were searched, or copied, for each thing in it.
  it("of one long line is read at once", function()
    local row = "('it''s', $$a$$, E'b', 1),"
    assert.is_false(statement.input("postgres"):add("INSERT INTO t VALUES " .. row:rep(50000) .. "(1);"))
    assert.is_false(statement.input("postgres"):add("x = {" .. ("{ 'a', \"b\", [[c]] },"):rep(50000) .. "}"))
    assert.is_false(history.is_secret("SELECT '" .. ("ab"):rep(200000) .. "'"))
  end)

  it("may be a command", function()
    local function command(text) return table.concat({ statement.command(text) }, "|") end
    assert.equal("d|", command "\\d")
    assert.equal("d|orders x", command "  \\d  orders x ")
    assert.equal("help|", command "help")
    assert.equal("help|\\d", command "help \\d")
    assert.equal("help|plan", command "help plan ")
    for _, text in ipairs { "exit", "quit;", "exit()", " quit ( ) ;" } do assert.equal("quit|", command(text), text) end
    assert.equal("help|", command "help();")
    for _, text in ipairs { "help(1)", "help.x", "help = 1", "quit = 1", "quitter", "help 'x'", "x", "" } do
      assert.is_nil(statement.command(text), text)
    end
  end)

  it("is not kept if it may hold a password", function()
    for _, text in ipairs { "\\c postgresql://u:p@h/d", 'x = "mongodb://a:b@c"', "ALTER ROLE x PASSWORD 'y'",
      "host=h password=x", "PGPASSWORD", "pwd = 1", "db = lunadex.connect('mongodb+srv://u:p%40@h/')" } do
      assert.is_true(history.is_secret(text), text)
    end
    for _, text in ipairs { "\\c postgresql://u@h:5432/d", "\\d orders", "x = 1", "a://b/c:d@e" } do
      assert.is_false(history.is_secret(text), text)
    end
  end)
end)

describe("the width of a text", function()
  it("is that on a terminal", function()
    for text, width in pairs { [""] = 0, abc = 3, ["größe"] = 5, ["漢字"] = 4, ["e\u{301}"] = 1, ["\u{1F600}!"] = 3,
      ["한"] = 2, ["\xff\xfe"] = 2, ["—…"] = 2 } do
      assert.equal(width, format.width(text), text)
    end
  end)

  it("is kept when it is cut or padded", function()
    assert.equal("漢…", format.clip("漢字漢", 4))
    assert.equal("漢字", format.clip("漢字", 4))
    assert.equal("grö…", format.clip("größer", 4))
    assert.equal("…", format.clip("漢字", 1))
    assert.equal("漢  |", format.pad("漢", 4) .. "|")
    assert.equal("  漢", format.pad("漢", 4, true))
  end)
end)

describe("completion", function()
  local complete = require "lunadex.cli.repl.complete"
  local core = require "lunadex.core"

  local function relation(schema, name, columns, indexes)
    local list = { columns = {}, indexes = {} }
    for i, column in ipairs(columns) do list.columns[i] = { name = column } end
    for i, index in ipairs(indexes) do list.indexes[i] = { name = index } end
    return { schema = schema, name = name, display = core.quote_name(schema, name),
      columns = function() return list.columns end, indexes = function() return list.indexes end }
  end
  local relations = { relation("public", "Child2", { "Pid", "order", "plain" }, { "stray %q" }),
    relation('we"ird %s schema', "t\nb", {}, {}), relation('we"ird %s schema', "odd", { "odd_one" }, {}),
    relation("public", "customers", { "größe" }, { "customers_pkey" }) }
  local session = {
    driver = "postgres",
    commands = { { name = "d", completes = "names" }, { name = "explain", completes = "columns" } },
    environment = setmetatable({ x = 5, mine = { inner = { deepest = 1 } },
      raises = setmetatable({}, { __index = function(_, key) error(key .. _VERSION) end }) }, { __index = _G }),
    known_catalog = function() return { relations = function()
      local i = 0
      return function()
        i = i + 1
        return relations[i]
      end
    end } end,
    command = function(self, name)
      for _, each in ipairs(self.commands) do
        if name == "\\" .. each.name then return each end
      end
    end,
  }

  -- The line with what is inserted; or what is shown, in parentheses.
  local function completed(text)
    local lines = {}
    for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
    local before = table.remove(lines)
    local insert, shown, erase = complete.complete(session, lines, before)
    if shown then return "(" .. shown:gsub("%s+", " ") .. ")" end
    if not insert then return nil end
    return before:sub(1, erase and utf8.offset(before, -erase) - 1 or -1) .. insert
  end

  for text, expected in pairs {
    ["select * from public.Ch"] = 'select * from public."Child2"',
    ["select * from public.ch"] = 'select * from public."Child2"',
    ['select * from "Ch'] = 'select * from "Child2"',
    ['select * from public."Ch'] = 'select * from public."Child2"',
    ["select Pi"] = 'select "Pid"',
    ["select ord"] = 'select "order"',
    ["select CUST"] = "select customers",
    ["select customers"] = "(customers customers_pkey)",
    ["select gr"] = "select größe",
    ["select *\nfrom custo"] = "from customers",
    ['select 1 from we'] = 'select 1 from "we""ird %s schema".odd',
    ['select 1 from "we""ird %s schema".o'] = 'select 1 from "we""ird %s schema".odd',
    ["\\d public.Ch"] = "\\d public.Child2",
    ["\\d stray %"] = "\\d stray %q",
    ["\\explain select Pi"] = '\\explain select "Pid"',
    ["db:query [[select Pi"] = 'db:query [[select "Pid"',
    ["db:query([[select 1,\n  Pi"] = '  "Pid"',
    ["db:query('select Pi"] = "db:query('select \"Pid\"",
    ['for r in db:rows("select größe, Pi'] = 'for r in db:rows("select größe, \\"Pid\\"',
    ['db:query("select \\"Pi'] = 'db:query("select \\"Pid\\"',
    ['db:build("public.Ch'] = 'db:build("public.Child2',
    ["mine.in"] = "mine.inner", ["mine.inner.d"] = "mine.inner.deepest", ['("x"):re'] = "(rep reverse)",
    ['"a" .. mi'] = '"a" .. mine', ['x..mi'] = "x..mine", ["retu"] = "return",
  } do
    it("of " .. text, function() assert.equal(expected, completed(text)) end)
  end

  for _, text in ipairs { "x.", "x:", "raises.", "f().x.", "a[1].in", "mine:inner.in", "", "-- it's cust", "--[[ cust",
    "select * from zz", "1 + " } do
    it("offers nothing for " .. text, function() assert.is_nil(completed(text)) end)
  end
end)
