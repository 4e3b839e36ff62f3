-- What a transform gives, and what PostgreSQL's columns then hold.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"

describe("a transform's values", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database

  setup(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, [[
      CREATE DOMAIN bytes AS bytea; CREATE DOMAIN byte_list AS bytea[]; CREATE DOMAIN payload AS jsonb;
      CREATE DOMAIN short AS varchar(3); CREATE DOMAIN code AS short CHECK (VALUE <> 'no');
      CREATE TABLE given (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED,
        number int GENERATED ALWAYS AS IDENTITY, t text, b bytes, bs bytea[], bl byte_list, ds bytes[], j payload,
        js json[], f float8[], x numeric, a int[], r int4range, m timestamptz, v varchar(5), c code, w varchar(3)[],
        y char(4), z bit(3));
      INSERT INTO given (id, t, b, bs, bl, ds, j, js, f, x, a, r, m) SELECT i, 't', '\x5c78343100', '{"\\x5c783431"}',
        '{"\\x00ff"}', '{"\\x00ff"}', '{"a":  [0.1]}', '{"{}"}', '{0.30000000000000004,-0,NaN}', 1e-20, '[0:1]={1,2}',
        '[1,5)', '2026-03-29 00:59:59.123456+00' FROM generate_series(1, 100) i;
      CREATE TABLE before AS SELECT * FROM given]])
  end)
  teardown(function() server:drop_database(database) end)

  local function value(text) return server:value(database, text) end

  -- What is given, and of which column; what stands there then.
  local taken = {
    { [[{ t = 5.5 }]], "t", "5.5" },
    { [[{ t = null }]], "t IS NULL", "t" },
    { [[{ b = "\\x41\0" }]], "b", "\\x5c78343100" }, -- as it was
    { [[{ b = "\\x42\0" }]], "b", "\\x5c78343200" },
    { [[{ bs = { "\\x41", "\0\255", null } }]], "bs", [[{"\\x5c783431","\\x00ff",NULL}]] },
    { [[{ bl = { "\0" } }]], "bl", [[{"\\x00"}]] },
    { [[{ ds = { "\\x41" } }]], "ds", [[{"\\x5c783431"}]] },
    { [[{ j = { b = { 1, 0.1, 1e300, "\"\\ä\n", true, null, { c = {} } }, a = -0.5 } }]],
      [[j = '{"a": -0.5, "b": [1, 0.1, 1e300, "\"\\ä\n", true, null, {"c": {}}]}']], "t" },
    { [[{ j = { 1, { 2 } } }]], "j", "[1, [2]]" },
    { [[{ j = {} }]], "j", "{}" },
    { [[{ j = "[ ]" }]], "j", "[]" },
    { [[{ js = { { a = { 1 } }, { 1, 2 }, "3", null } }]], "js", [[{"{\"a\":[1]}","[1,2]",3,NULL}]] },
    { [[{ f = { 0.1 + 0.2, 1/0, 5, -0.0 } }]], "f", "{0.30000000000000004,Infinity,5,-0}" },
    { [[{ f = { row.f[1], 0.0, 0/0 } }]], "f", "{0.30000000000000004,0,NaN}" },
    { [[{ x = 0.1 }]], "x", "0.1" },
    { [[{ a = { { 1, 2 }, { 3, null } } }]], "a", "{{1,2},{3,NULL}}" },
    { [[{ a = {} }]], "a", "{}" },
    { [[{ r = "[7,9)" }]], "r", "[7,9)" },
    { [[{ v = "fives", c = "few", w = { "abc", null }, y = "four", z = "101" }]], "(v, c, w, y, z)",
      [[(fives,few,"{abc,NULL}",four,101)]] },
    { [[{ t = "t", v = "v", c = null }]], "(t, v, c)", "(t,v,)" },
  }
  -- What is given, and why the row is left as it is.
  local refused = {
    { [[{ j = "[" }]], "invalid input syntax for type json" },
    { [[{ v = "longer" }]], "value too long for type character varying(5)" },
    { [[{ c = "longer" }]], "value too long for type character varying(3)" },
    { [[{ c = "no" }]], 'value for domain code violates check constraint "code_check"' },
    { [[{ w = { "abcd" } }]], "value too long for type character varying(3)" },
    { [[{ y = "longer" }]], "value too long for type character(4)" },
    { [[{ z = "1111" }]], "bit string length 4 does not match type bit(3)" },
    { [[{ t = { a = 1 } }]], "transform gave a table for t, which is of type text" },
    { [[{ t = {} }]], "transform gave a table for t, which is of type text" },
    { [[{ t = function() end }]], "transform gave a function for t, which is of type text" },
    { [[{ t = "a\0b" }]], "transform gave a text with a zero byte for t, which is of type text" },
    { [[{ a = { x = 1 } }]], "transform gave a table with names for a, which is of type integer[]" },
    { [[{ a = { 1, [3] = 3 } }]], "transform gave a table that is no list for a, which is of type integer[]" },
    { [[{ a = { function() end } }]], "transform gave a function for a, which is of type integer[]" },
    { [[{ a = cyclic }]], "transform gave a table that holds itself, or is nested too deeply for a, which is" },
    { [[{ j = cyclic }]], "transform gave a table that holds itself, or is nested too deeply for j, which is" },
    { [[{ j = many }]], "transform gave a table that holds itself, or too much for j, which is of type payload" },
    { [[{ j = { 1, a = 2 } }]], "transform gave a table that is neither a list nor has names only for j, which is" },
    { [[{ j = { 0/0 } }]], "transform gave a number that JSON does not have for j, which is of type payload" },
    { [[{ number = 5 }]], "transform gave number, which is generated" },
    { [[{ twice = 5 }]], "transform gave twice, which is generated" },
    { [[{ id = 5 }]], "it changes id, which is part of the key that it goes along" },
    { [[{ ["a\0b"] = 5 }]], "transform gave a column whose name holds a zero byte" },
    { [[error "a\0b\255ä"]], [[a\0b\xFF\xC3\xA4]] },
  }

  it("are taken as the type of their column wants them, or the row is left as it is", function()
    local functions = {}
    for _, case in ipairs(taken) do functions[#functions + 1] = "function(row) return " .. case[1] .. " end" end
    for _, case in ipairs(refused) do functions[#functions + 1] = "function(row) return " .. case[1] .. " end" end
    local path = lunadex.registry(([[
      local cyclic = {}
      cyclic[1] = cyclic
      local many = {}
      for i = 1, 60 do many = { many, many } end
      local given = { %s }
      backfill "b" { on = "given", errors = 100, batch = 10, transform = function(row)
        for name, item in pairs(given[row.id] and given[row.id](row) or {}) do row[name] = item end
        return row
      end }]]):format(table.concat(functions, ",\n")))
    local result = lunadex.run { "backfill", "run", path, "--json", "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    local events = result:events()
    for i, case in ipairs(taken) do
      assert.equal(case[3], value(("SELECT %s FROM given WHERE id = %d"):format(case[2], i)), case[1])
    end
    for i, case in ipairs(refused) do
      assert.matches(case[2], value(("SELECT message FROM lunadex.backfill_error WHERE key = '{%d}'")
        :format(#taken + i)), 1, true)
    end
    -- Rows keep what they were not given anew, whatever other rows of their batch were given.
    assert.equal("99,98", value [[SELECT concat_ws(',', count(*) FILTER (WHERE x = 1e-20),
      count(*) FILTER (WHERE a::text = '[0:1]={1,2}')) FROM given]])
    assert.same({ seen = 100, changed = #taken - 1, failed = #refused }, events[#events].rows)
    assert.equal("0", value(([[SELECT count(*) FROM given g JOIN before o USING (id)
      WHERE id > %d AND g::text <> o::text]]):format(#taken)))
  end)
end)
