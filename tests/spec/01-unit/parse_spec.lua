local core = require "lunadex.core"

describe("parse_sql", function()
  local function parse(sql)
    local fields, err = core.parse_sql(sql)
    assert(fields, err and tostring(err))
    return fields
  end

  it("reads everything an index can have", function()
    assert.same({
      kind = "index", schema = "public", relation = "Odd.T", name = "Ix", method = "gist", unique = true,
      keys = {
        { expression = "lower(a)", collation = "C", opclass = "text_ops", opclass_options = { { "siglen", "32" } },
          descending = true, nulls = "last" },
        { expression = "b + (1)" },
        { column = "C" },
        { expression = "coalesce(a, ',)')" },
        { expression = "f(x)", collation = '"de_DE.utf8"', opclass = "s.ops" },
      },
      include = { "d", "E" }, nulls_not_distinct = true,
      with = { { "fillfactor", "70" }, { "fastupdate", "off" }, { "x", "true" } }, tablespace = "t",
      where = "a > 1 AND b IN ('x', ');')",
    }, parse [[
      -- what it is for
      CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "Ix" ON ONLY public."Odd.T" USING gist (
        lower(a) COLLATE "C" text_ops (siglen = 32) DESC NULLS LAST,
        ((b + (1)) /* why */), "C", coalesce(a, ',)'), f(x) COLLATE "de_DE.utf8" s.ops)
      INCLUDE (D, "E") NULLS NOT DISTINCT WITH (fillfactor = 70, fastupdate = off, x) TABLESPACE t
      WHERE (a > 1 AND b IN ('x', ');')) ; -- the end]])
  end)

  it("folds names as SQL does, and leaves texts alone", function()
    local fields = parse [[create index FooBar on Public.Orders (Customer_Id desc, LOWER ( Name )) where Status<>'X']]
    assert.same({ "foobar", "public", "orders" }, { fields.name, fields.schema, fields.relation })
    assert.same({ { column = "customer_id", descending = true }, { expression = "LOWER ( Name )" } }, fields.keys)
    assert.equal("Status<>'X'", fields.where)
  end)

  it("knows defaults of order", function()
    local keys = parse [[CREATE INDEX ON t (a ASC NULLS LAST, b DESC NULLS FIRST, c NULLS FIRST,
                         d DESC NULLS LAST)]].keys
    assert.same({ { column = "a" }, { column = "b", descending = true }, { column = "c", nulls = "first" },
      { column = "d", descending = true, nulls = "last" } }, keys)
  end)

  it("finds expressions however they are written", function()
    local function expressions(list)
      local result = {}
      for i, key in ipairs(parse("CREATE INDEX ON t (" .. list .. ")").keys) do
        result[i] = key.expression or "=" .. key.column
      end
      return result
    end
    assert.same({ "a->>'b'", "extract(year from x)", "CURRENT_DATE", "=c", "CAST(a AS text)", "s.f(a, (b))",
      "(a)[1]", "ARRAY[a, b]", "a AT TIME ZONE 'UTC'", "(a) || (b)", "é('ö,ü')" },
      expressions [[(a->>'b') jsonb_ops, extract(year from x) DESC, CURRENT_DATE, (c), CAST(a AS text), s.f(a, (b)) ops,
        ((a)[1]), (ARRAY[a, b]), ((a AT TIME ZONE 'UTC')), ((a) || (b)), é('ö,ü')]])
  end)

  it("reads keys and constraints", function()
    assert.same({
      kind = "foreign_key", schema = "a", relation = "b", name = "c", keys = { { column = "x" }, { column = "y" } },
      references = { relation = "d", columns = { "p", "q" } }, match = "full", on_delete = "set null",
      on_delete_columns = { "x" }, on_update = "cascade", deferrable = true, initially_deferred = true,
    }, parse [[ALTER TABLE ONLY a.b ADD CONSTRAINT c FOREIGN KEY (x, y) REFERENCES d (p, q) MATCH FULL
               ON DELETE SET NULL (x) ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED NOT VALID]])
    assert.same({ kind = "foreign_key", relation = "b", keys = { { column = "x" } },
      references = { schema = "s", relation = "d" } }, parse "ALTER TABLE b ADD FOREIGN KEY (x) REFERENCES s.d")
    assert.same({ kind = "primary_key", relation = "b", keys = { { column = "x" } },
      include = { "z" }, with = { { "fillfactor", "50" } }, tablespace = "tt" },
      parse "ALTER TABLE b ADD PRIMARY KEY (x) INCLUDE (z) WITH (fillfactor=50) USING INDEX TABLESPACE tt")
    assert.same({ kind = "unique_constraint", relation = "b", nulls_not_distinct = true,
      keys = { { column = "x" }, { column = "y" } } }, parse "ALTER TABLE b ADD UNIQUE NULLS NOT DISTINCT (x, y)")
    assert.same({ kind = "exclusion_constraint", relation = "b", name = "e", method = "gist", where = "NOT x",
      deferrable = true, keys = { { column = "room", operator = "=" },
        { expression = "tsrange(a, b)", operator = 'OPERATOR("pg_catalog".&&)' } } },
      parse [[ALTER TABLE b ADD CONSTRAINT e EXCLUDE USING gist
              (room WITH =, tsrange(a, b) WITH OPERATOR(pg_catalog.&&)) WHERE ((NOT x)) DEFERRABLE]])
  end)

  local wrong = {
    { "", "no statement" },
    { "-- nothing", "no statement" },
    { "CREATE INDEX x\nON t (a,,b)", 'syntax error at or near "," (line 2, column 9 of the text)' },
    { "CREATE INDEX ä ON t (ö) WHEE x", "line 1, column 25" },
    { "CREATE INDEX x ON t (a) WHERE 'abc", "unterminated quoted string" },
    { "CREATE INDEX a ON t (a); CREATE INDEX b ON t (b)", "there are 2 statements" },
    { "DROP TABLE x", "neither CREATE INDEX" },
    { "SELECT 1", "neither CREATE INDEX" },
    { "CREATE TABLE x (a int UNIQUE)", "neither CREATE INDEX" },
    { "CREATE INDEX x ON db.s.t (a)", 'a database ("db")' },
    { "ALTER TABLE b ADD UNIQUE USING INDEX i", "USING INDEX" },
    { "ALTER TABLE b ADD COLUMN x int", "something else than ADD CONSTRAINT" },
    { "ALTER TABLE b ADD CHECK (a > 1)", "neither unique" },
    { "ALTER TABLE b ADD UNIQUE (a), ADD UNIQUE (b)", "more than one thing" },
    { "ALTER TABLE b ADD UNIQUE (a, b WITHOUT OVERLAPS)", "without_overlaps = true" },
    { "ALTER TABLE b ADD FOREIGN KEY (a, PERIOD b) REFERENCES c (a, PERIOD b)", "period = true" },
    { "CREATE INDEX x ON t (a)\0 DROP TABLE t", "zero byte" },
  }
  for _, case in ipairs(wrong) do
    it("refuses " .. case[1]:gsub("%c", " "), function()
      local fields, err = core.parse_sql(case[1])
      assert.is_nil(fields)
      assert.equal("invalid_definition", err.code)
      assert.is_false(err.retryable)
      assert(tostring(err):find(case[2], 1, true), tostring(err))
    end)
  end

  it("survives what is nested without end", function()
    local deep = ("("):rep(5000) .. "a" .. (")"):rep(5000)
    local ok, err = core.parse_sql("CREATE INDEX ON t (" .. deep .. ")")
    assert(ok or err)
    ok, err = core.check_expression(deep)
    assert(ok or err)
    ok, err = core.check_expression(("not "):rep(100000) .. "a")
    assert(ok or err)
  end)
end)

describe("check_expression", function()
  local right = {
    ["a > 1"] = "a > 1", ["(a)"] = "a", ["((a) + (b))"] = "(a) + (b)", ["(a) + (b)"] = "(a) + (b)", [" a -- c"] = "a",
    ["/* x */ a /* y */"] = "a", ["a = ';,)'"] = "a = ';,)'", ["f(a, b)"] = "f(a, b)", ["a IN (1, 2)"] = "a IN (1, 2)",
    ["ARRAY[1,2]"] = "ARRAY[1,2]", ["a::text COLLATE \"C\""] = "a::text COLLATE \"C\"", ["$$;$$ || a"] = "$$;$$ || a",
    ["CASE WHEN a THEN 1 END"] = "CASE WHEN a THEN 1 END",
    -- The scanner gives these no length.
    ["a = U&'\\00e4'"] = "a = U&'\\00e4'", ['U&"\\0061" = 1'] = 'U&"\\0061" = 1',
    -- Newer than the parser: the server's affair.
    ["a IS JSON"] = "a IS JSON", ["(JSON_VALUE(a, '$.b' RETURNING text))"] = "JSON_VALUE(a, '$.b' RETURNING text)",
  }
  for text, expected in pairs(right) do
    it("takes " .. text, function() assert.equal(expected, core.check_expression(text)) end)
  end

  local wrong = {
    ["a > 1; drop table x"] = "a semicolon", [";"] = "a semicolon", ["a) OR (b"] = "a closing bracket",
    ["(a"] = "an opening bracket", ["a, b"] = "a comma", ["(a, b"] = "an opening bracket", ["SELECT 1"] = "a subquery",
    ["(select 1)"] = "a subquery", [""] = "no expression", ["-- a"] = "no expression", ["/* a"] = "unterminated",
    ["'a"] = "unterminated", ["a x"] = 'near "x" (line 1, column 3', ["*"] = "syntax error", ["a +"] = "breaks off",
    ["$1"] = "a parameter", ["where a"] = "the word WHERE", ["a AS b"] = "syntax error", ["a\n b"] = "line 2, column 2",
    ["a\0b"] = "zero byte", ["a FROM b"] = "syntax error",
  }
  for text, expected in pairs(wrong) do
    it("refuses " .. text:gsub("%c", " "), function()
      local kept, err = core.check_expression(text)
      assert.is_nil(kept)
      assert(err.message:find(expected, 1, true), err.message)
    end)
  end
end)

describe("parameters", function()
  local right = {
    ["a = $1 AND b = $12 OR c > $1"] = { "$1", "$12", "$1" }, ["a = '$1'"] = {}, ["a -- $1"] = {},
    ["/* $1 */ a"] = {}, ["a = $$ $1 $$ || $2"] = { "$2" }, ['"$1" = a$2'] = {}, ["f(a[$3], '(')"] = { "$3" },
  }
  for text, expected in pairs(right) do
    it("of " .. text, function() assert.same(expected, core.parameters(text)) end)
  end

  local wrong = {
    ["a) OR (b"] = "a closing bracket", ["a OR (b"] = "an opening bracket", ["true; DELETE"] = "a semicolon",
    ["a = 'b"] = "unterminated", ["a /* b"] = "unterminated", [" -- a"] = "empty", ["a\0b"] = "zero byte",
  }
  for text, expected in pairs(wrong) do
    it("refuses " .. text:gsub("%c", " "), function()
      local list, err = core.parameters(text)
      assert.is_nil(list)
      assert(err.message:find(expected, 1, true), err.message)
    end)
  end
end)
