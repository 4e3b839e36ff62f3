-- Random relations for the property test: a table (or materialised view) as data, and the SQL that makes it.
--
-- Columns are spoken of by number until the very end (`«3»`), so that the shrinker may rename or leave out what
-- it likes.
local random = require "support.random"

local M = {}

--- What every database of the test has: schemas, types, functions, operators, collations that definitions may use.
--- Extensions stand in different places: public is on the search path, ext is not.
M.prelude = [==[
CREATE SCHEMA lib; CREATE SCHEMA ext; CREATE SCHEMA "Odd Schema"; CREATE SCHEMA "a.b"; CREATE SCHEMA "quo""te";
CREATE SCHEMA sales; CREATE SCHEMA ref; CREATE SCHEMA base;
CREATE EXTENSION pg_trgm; CREATE EXTENSION btree_gin SCHEMA ext; CREATE EXTENSION btree_gist SCHEMA ext;
CREATE EXTENSION bloom SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION ltree;
CREATE EXTENSION citext SCHEMA ext;
CREATE COLLATION lib.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION lib."Odd.Collation" (provider = icu, locale = 'de-DE');
CREATE TYPE lib.color AS ENUM ('red', 'green', 'it''s blue');
CREATE TYPE lib."Pair" AS (a int, "B b" text);
CREATE DOMAIN lib.label AS text COLLATE "C" CHECK (length(value) < 1000);
CREATE DOMAIN lib.quantity AS int CHECK (value <> 666);
CREATE DOMAIN lib."Code" AS varchar(12);
CREATE FUNCTION lib.normal(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT lower(btrim($1)) $$;
CREATE FUNCTION lib.lower(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1 $$;
CREATE FUNCTION lib.score(int, weight int DEFAULT 3) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT $1 * $2 $$;
CREATE FUNCTION lib.total(VARIADIC int[]) RETURNS bigint IMMUTABLE LANGUAGE sql
  AS $$ SELECT sum(x) FROM unnest($1) x $$;
CREATE FUNCTION lib."Is Special"(anyelement) RETURNS bool IMMUTABLE LANGUAGE sql AS $$ SELECT $1 IS NOT NULL $$;
CREATE FUNCTION public.plain_hash(text) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT length($1) $$;
CREATE FUNCTION lib.same(text, text) RETURNS bool IMMUTABLE LANGUAGE sql AS $$ SELECT $1 = $2 $$;
CREATE OPERATOR lib.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = lib.same);
CREATE FUNCTION lib.less(int, int) RETURNS bool IMMUTABLE LANGUAGE sql AS $$ SELECT $1 < $2 $$;
CREATE OPERATOR lib.< (LEFTARG = int, RIGHTARG = int, FUNCTION = lib.less);
CREATE FUNCTION lib.twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT $1 * 2 $$;
CREATE OPERATOR lib.@@@ (RIGHTARG = int, FUNCTION = lib.twice);
CREATE OPERATOR CLASS lib.int4_own_ops FOR TYPE int4 USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
  OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int4, int4);
CREATE OPERATOR CLASS lib."Text.Ops" FOR TYPE text USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
  OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 bttextcmp(text, text);
]==]

-- Types: `family` chooses templates, `ops` the opclasses that are called after the type.
---@class support.Type
---@field sql string
---@field family string
---@field ops string?
---@field since integer?
---@field collatable boolean?
M.types = {
  { sql = "int2", family = "int", ops = "int2" },
  { sql = "int4", family = "int", ops = "int4", weight = 3 },
  { sql = "int8", family = "int", ops = "int8" },
  { sql = "lib.quantity", family = "int", ops = "int4" },
  { sql = "numeric", family = "num", ops = "numeric" },
  { sql = "numeric(10,2)", family = "num", ops = "numeric" },
  { sql = "float8", family = "num", ops = "float8" },
  { sql = "float4", family = "num", ops = "float4" },
  { sql = "text", family = "text", ops = "text", collatable = true, weight = 4 },
  { sql = "varchar(20)", family = "text", ops = "varchar", collatable = true, weight = 2 },
  { sql = "varchar", family = "text", ops = "varchar", collatable = true },
  { sql = "char(5)", family = "text", ops = "bpchar", collatable = true },
  { sql = "name", family = "text", ops = "name", collatable = true },
  { sql = "lib.label", family = "text", ops = "text", collatable = true },
  { sql = 'lib."Code"', family = "text", ops = "varchar", collatable = true },
  { sql = "ext.citext", family = "citext", ops = "ext.citext", collatable = true },
  { sql = "bool", family = "bool", ops = "bool" },
  { sql = "date", family = "date", ops = "date" },
  { sql = "timestamp", family = "timestamp", ops = "timestamp" },
  { sql = "timestamptz", family = "timestamptz", ops = "timestamptz", weight = 2 },
  { sql = "timestamptz(3)", family = "timestamptz", ops = "timestamptz" },
  { sql = "time", family = "time", ops = "time" },
  { sql = "interval", family = "interval", ops = "interval" },
  { sql = "uuid", family = "uuid", ops = "uuid" },
  { sql = "inet", family = "net", ops = "inet" },
  { sql = "cidr", family = "net", ops = "inet" },
  { sql = "macaddr", family = "mac", ops = "macaddr" },
  { sql = "jsonb", family = "jsonb", weight = 3 },
  { sql = "json", family = "json" },
  { sql = "int4[]", family = "int array" },
  { sql = "text[]", family = "text array", collatable = true },
  { sql = "varchar(10)[]", family = "text array", collatable = true },
  { sql = "int4range", family = "range", element = "int" },
  { sql = "numrange", family = "range", element = "num" },
  { sql = "daterange", family = "range", element = "date" },
  { sql = "tstzrange", family = "range", element = "timestamptz" },
  { sql = "int4multirange", family = "multirange", element = "int", since = 14 },
  { sql = "point", family = "point" },
  { sql = "box", family = "box" },
  { sql = "tsvector", family = "tsvector" },
  { sql = "lib.color", family = "enum" },
  { sql = 'lib."Pair"', family = "composite" },
  { sql = "bytea", family = "bytes", ops = "bytea" },
  { sql = "bit(8)", family = "bits", ops = "bit" },
  { sql = "varbit", family = "bits", ops = "varbit" },
  { sql = '"char"', family = "char", ops = "char" },
  { sql = "oid", family = "oid", ops = "oid" },
  { sql = "ext.hstore", family = "hstore" },
  { sql = "ltree", family = "ltree" },
}

M.collations = { '"C"', '"POSIX"', '"und-x-icu"', '"de-DE-x-icu"', "lib.loose", 'lib."Odd.Collation"', '"C.utf8"' }

function M.identifier(name)
  return '"' .. name:gsub('"', '""') .. '"'
end

--- schema.name as on "…" of a registry takes it and as SQL takes it.
function M.qualified(schema, name)
  local function part(text)
    return text:find("^[a-z_][a-z0-9_]*$") and not M.keywords[text] and text or M.identifier(text)
  end
  return (schema and part(schema) .. "." or "") .. part(name)
end

-- Only what the generator may come up with.
M.keywords = {}
for word in ("user order select desc table primary check default end group left natural"):gmatch("%a+") do
  M.keywords[word] = true
end

--- A name with `core` in it, so that two of different cores never meet; odd in half the cases.
---@param rng support.Random
---@param core string ASCII
---@return string
function M.name(rng, core)
  if rng:chance(50) then return core end
  local shape = rng:pick {
    "%s Blank", "Upper%s", 'quo"te%s', "dot.%s", "%s'apostrophe", "ümläut_%s", "line\n%s", "back\\slash%s",
    "%s]]bracket", "日本%s", "%s%%percent", "$dollar$%s", "%s\ttab", "long", "long é", "(%s)", "%s -- comment",
    "1%s",
    "%s;", "/*%s", "a,%s", "«%s»", "emoji😀%s", "e\204\129%s", "{%s}", "%s=",
  }
  if shape == "long" then return (core .. "_" .. ("x"):rep(63)):sub(1, 63) end
  if shape == "long é" then
    local name = core .. ("é"):rep((63 - #core) // 2)
    return name .. ("x"):rep(63 - #name)
  end
  return (shape:gsub("«", "<"):gsub("»", ">"):format(core))
end

local function pick_type(rng, version)
  local weights = {}
  for _, type in ipairs(M.types) do
    if version >= (type.since or 0) then weights[#weights + 1] = { type, type.weight or 1 } end
  end
  return rng:weighted(weights)
end

---@class support.Column
---@field name string
---@field type support.Type
---@field collation string?
---@field generated string?     # template
---@field renamed boolean?
---@field absent boolean?       # left out by the shrinker

---@class support.Relation
---@field number integer
---@field schema string
---@field name string
---@field kind "plain"|"unlogged"|"partitioned"|"view"|"inherited"
---@field columns support.Column[]
---@field dropped integer       # columns that were there once
---@field twin string?          # another schema, with a table of the same name and columns
---@field strategy string?
---@field partitions table[]?
---@field row_function boolean?

--- Relation `number` of this seed. Its first column is an int4, its second a text: there is always something to index.
---@param seed integer
---@param number integer
---@param version integer      # of the server
---@return support.Relation
function M.random(seed, number, version)
  local rng = random.new(seed, 1, number)
  local relation = {
    number = number,
    schema = rng:weighted { { "public", 5 }, { "sales", 2 }, { "Odd Schema", 2 }, { "a.b", 1 }, { 'quo"te', 1 } },
    name = M.name(rng, "t" .. number),
    kind = rng:weighted { { "plain", 46 }, { "unlogged", 6 }, { "partitioned", 26 }, { "view", 16 },
      { "inherited", 6 } },
    columns = {},
    dropped = rng:chance(35) and rng:integer(1, 3) or 0,
    row_function = rng:chance(25),
  }
  local keyword = rng:integer(3, 20)
  for i = 1, rng:integer(5, 9) do
    local type = i == 1 and M.types[2] or i == 2 and M.types[9] or pick_type(rng, version)
    local column = { type = type, renamed = rng:chance(10) }
    column.name = i == keyword and rng:pick { "user", "order", "select", "desc", "Table", "primary" }
      or M.name(rng, "c" .. i)
    if type.collatable and rng:chance(30) then column.collation = rng:pick(M.collations) end
    relation.columns[i] = column
  end
  if relation.kind ~= "view" and rng:chance(30) then
    local column = relation.columns[#relation.columns]
    column.type, column.collation = M.types[2], nil
    column.generated = "«1» * 2"
    if rng:chance(50) then
      column.type, column.generated = M.types[9], "lib.lower(«2») || 'x'"
    end
  end
  if relation.kind == "partitioned" then
    relation.strategy = rng:pick { "range", "list", "hash" }
    relation.nested = rng:chance(35)
    relation.partitions = {}
    for i = 1, rng:integer(0, 3) do
      relation.partitions[i] = {
        name = M.name(rng, ("t%d_p%d"):format(number, i)),
        schema = rng:chance(25) and "sales" or relation.schema,
        order = rng:chance(40) and rng:integer(1, 1000000) or nil, -- attached, columns in an order of its own
        nested = relation.nested and i == 1,
      }
      if i == 1 and relation.nested then
        relation.partitions[i].child = { schema = relation.schema, name = M.name(rng, ("t%d_p1a"):format(number)) }
      end
    end
  elseif relation.kind ~= "view" and rng:chance(25) then
    relation.twin = relation.schema == "sales" and "public" or "sales"
  end
  return relation
end

--- Fills `«3»` and `«rel»` into a template.
---@param relation support.Relation
---@param template string          # «row»: all of a row, as the server prints it
---@return string
function M.fill(relation, template)
  return (template:gsub("«(%w+)»", function(what)
    if what == "rel" then return M.identifier(relation.name) end
    if what == "row" then return M.qualified(nil, relation.name) .. ".*" end
    return M.identifier(relation.columns[tonumber(what)].name)
  end))
end

local function column_sql(relation, column, name)
  local text = M.identifier(name or column.name) .. " " .. column.type.sql
  if column.collation then text = text .. " COLLATE " .. column.collation end
  if column.generated then
    text = text .. " GENERATED ALWAYS AS (" .. M.fill(relation, column.generated) .. ") STORED"
  end
  return text
end

local function columns_sql(relation, order, renaming)
  local lines = {}
  for i, column in ipairs(relation.columns) do
    if not column.absent then
      lines[#lines + 1] = column_sql(relation, column, renaming and column.renamed and "old name " .. i or nil)
    end
  end
  if order then lines = random.new(order):shuffled(lines) end
  return lines
end

local bounds = {
  range = { "FROM (MINVALUE) TO (0)", "FROM (0) TO (100)", "FROM (100) TO (200)" },
  list = { "IN (1, 2)", "IN (3, NULL)", "DEFAULT" },
  hash = { "WITH (modulus 4, remainder 0)", "WITH (modulus 4, remainder 1)", "WITH (modulus 4, remainder 2)" },
}

local function partitions_sql(relation, parent, add)
  for i, partition in ipairs(relation.partitions) do
    local name = M.identifier(partition.schema) .. "." .. M.identifier(partition.name)
    local nested = partition.nested and " PARTITION BY HASH (" .. M.fill(relation, "«2»") .. ")" or ""
    local bound = bounds[relation.strategy][i]
    bound = bound == "DEFAULT" and bound or "FOR VALUES " .. bound
    if partition.order then
      local lines = columns_sql(relation, partition.order)
      table.insert(lines, 1 + partition.order % #lines, '"gone" int')
      add(("CREATE TABLE %s (%s)%s"):format(name, table.concat(lines, ", "), nested))
      add(('ALTER TABLE %s DROP COLUMN "gone"'):format(name))
      add(("ALTER TABLE %s ATTACH PARTITION %s %s"):format(parent, name, bound))
    else
      add(("CREATE TABLE %s PARTITION OF %s %s%s"):format(name, parent, bound, nested))
    end
    if partition.child then
      add(("CREATE TABLE %s.%s PARTITION OF %s FOR VALUES WITH (modulus 2, remainder 0)"):format(
        M.identifier(partition.child.schema), M.identifier(partition.child.name), name))
    end
  end
end

--- The statements that make the relation.
---@param relation support.Relation
---@return string
function M.sql(relation)
  local statements = {}
  local function add(text) statements[#statements + 1] = text .. ";\n" end
  local name = M.identifier(relation.schema) .. "." .. M.identifier(relation.name)
  if relation.kind == "view" then
    local base, outputs = {}, {}
    for i, column in ipairs(relation.columns) do
      if not column.absent then
        base[#base + 1] = column_sql(relation, column, "b" .. i)
        outputs[#outputs + 1] = ("b%d AS %s"):format(i, M.identifier(column.name))
      end
    end
    add(("CREATE TABLE base.m%d (%s)"):format(relation.number, table.concat(base, ", ")))
    add(("CREATE MATERIALIZED VIEW %s AS SELECT %s FROM base.m%d"):format(name, table.concat(outputs, ", "),
      relation.number))
  else
    local renaming = true
    for _, column in ipairs(relation.columns) do
      if column.generated then renaming = false end -- its expression speaks of the final names
    end
    local lines = columns_sql(relation, nil, renaming)
    for i = 1, relation.dropped do
      table.insert(lines, 1 + (relation.number * i) % (#lines + 1), ('"dropped %d" int'):format(i))
    end
    add(("CREATE %sTABLE %s (%s)%s"):format(relation.kind == "unlogged" and "UNLOGGED " or "", name,
      table.concat(lines, ", "), relation.kind ~= "partitioned" and ""
        or (" PARTITION BY %s (%s)"):format(relation.strategy, renaming and relation.columns[1].renamed
          and '"old name 1"' or M.fill(relation, "«1»"))))
    for i = 1, relation.dropped do add(('ALTER TABLE %s DROP COLUMN "dropped %d"'):format(name, i)) end
    for i, column in ipairs(relation.columns) do
      if renaming and column.renamed and not column.absent then
        add(('ALTER TABLE %s RENAME COLUMN "old name %d" TO %s'):format(name, i, M.identifier(column.name)))
      end
    end
    if relation.kind == "partitioned" then partitions_sql(relation, name, add) end
    if relation.kind == "inherited" then
      add(("CREATE TABLE base.h%d () INHERITS (%s)"):format(relation.number, name))
    end
    if relation.twin then
      add(("CREATE TABLE %s.%s (LIKE %s)"):format(M.identifier(relation.twin), M.identifier(relation.name), name))
    end
  end
  if relation.row_function then
    add(("CREATE FUNCTION lib.row_of_%d(%s) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'"):format(relation.number,
      name))
  end
  return table.concat(statements)
end

return M
