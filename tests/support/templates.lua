-- What can be said of a column in an expression or a predicate, by the family of its type (support.relations), and
-- which opclasses an access method has for it. `«c»` is the column.

local M = {}

--- Expressions: { template, family of the result, ops of the result }.
M.expressions = {
  int = {
    { "«c» + 1", "int" }, { "-«c»", "int" }, { "abs(«c»)", "int" }, { "«c» % 7", "int" },
    { "«c» * 1.5", "num" }, { "(«c» / 10)::int", "int", "int4" }, { "CAST(«c» AS bigint)", "int", "int8" },
    { "«c»::text", "text", "text" },
    { "CASE WHEN «c» > 0 THEN 1 WHEN «c» < 0 THEN -1 ELSE 0 END", "int", "int4" },
    { "CASE «c» WHEN 1 THEN 'one' WHEN 2 THEN NULL END", "text", "text" }, { "greatest(«c», 0)", "int" },
    { "coalesce(«c», -1)", "int" }, { "nullif(«c», 0)", "int" }, { "lib.score(«c»::int)", "int", "int4" },
    { "lib.total(«c»::int, 1, 2)", "int", "int8" }, { "lib.total(VARIADIC ARRAY[«c»::int, 5])", "int", "int8" },
    { "OPERATOR(lib.@@@) «c»::int", "int", "int4" }, { "«c» IS NULL", "bool", "bool" },
    { "(«c» > 5) IS TRUE", "bool", "bool" }, { "ARRAY[«c», 1]", "int array" },
    { "to_hex(«c»::int)", "text", "text" }, { "date '2020-01-01' + «c»::int", "date", "date" },
    { "«c» & 15", "int" }, { "(«c»::int4) OPERATOR(pg_catalog.+) 1", "int", "int4" },
    { "int4range(«c»::int, NULL, '[]')", "range" }, { "lib.score(«c»::int, weight => 7)", "int", "int4" },
    { "1 - «c» - 2", "int" }, { "1 - («c» - 2)", "int" }, { "«c» BETWEEN 1 AND 2", "bool", "bool" },
  },
  num = {
    { "-«c»", "num" }, { "«c» + 0.5", "num" }, { "«c» ^ 2", "num" },
    { "round(«c»::numeric, 2)", "num", "numeric" }, { "abs(«c»)", "num" }, { "«c»::int", "int", "int4" },
    { "«c»::numeric(12,4)", "num", "numeric" }, { "coalesce(«c», -1.5)", "num" },
    { "least(«c», 1e10)", "num" }, { "sign(«c»)::int", "int", "int4" },
  },
  text = {
    { "lower(«c»)", "text", "text" }, { "upper(«c»::text)", "text", "text" }, { "«c» || 'x'", "text", "text" },
    { "substring(«c» from 1 for 3)", "text", "text" }, { "substr(«c», 2)", "text", "text" },
    { '"left"(«c», 5)', "text", "text" }, { "length(«c»)", "int", "int4" }, { "md5(«c»)", "text", "text" },
    { '«c» COLLATE "C"', "text" }, { '(lower(«c») COLLATE "de-DE-x-icu")', "text", "text" },
    { "btrim(«c»)", "text", "text" }, { "trim(both ' ' from «c»)", "text", "text" },
    { "trim(«c»)", "text", "text" }, { "position('a' in «c»)", "int", "int4" },
    { "overlay(«c» placing 'zz' from 2)", "text", "text" }, { "coalesce(«c», '')", "text", "text" },
    { "«c»::varchar(5)", "text", "varchar" }, { "«c»::text", "text", "text" },
    { "lib.normal(«c»)", "text", "text" }, { "lib.lower(«c»)", "text", "text" },
    { "plain_hash(«c»)", "int", "int4" }, { "public.plain_hash(«c»)", "int", "int4" },
    { "regexp_replace(«c», E'\\\\s+', ' ', 'g')", "text", "text" },
    { "split_part(«c», '@', 2)", "text", "text" }, { "to_tsvector('english', «c»)", "tsvector" },
    { "to_tsvector('pg_catalog.simple'::regconfig, coalesce(«c», ''))", "tsvector" },
    { "setweight(to_tsvector('simple', «c»), 'A')", "tsvector" }, { "string_to_array(«c», ',')", "text array" },
    { "«c» LIKE 'a%'", "bool", "bool" }, { "nullif(«c», '')", "text", "text" },
    { "«c» || E'\\n\\'' ", "text", "text" }, { "replace(«c», 'it''s', ']]')", "text", "text" },
    { "'x' || «c» || $$y$$", "text", "text" }, { "reverse(«c»::text)", "text", "text" },
    { "translate(«c», 'äöü', 'aou')", "text", "text" }, { "lpad(«c», 8, '0')", "text", "text" },
    { "(«c», 1) IS NULL", "bool", "bool" }, { "ascii(«c») - 1", "int", "int4" },
    { "«c»::varchar", "text", "varchar" }, { 'lower(«c») COLLATE "C"', "text", "text" },
    { "normalize(«c», NFC)", "text", "text", since = 13 },
  },
  citext = {
    { "lower(«c»::text)", "text", "text" }, { "«c»::text", "text", "text" },
    { "coalesce(«c», 'a'::ext.citext)", "citext" },
  },
  bool = {
    { "NOT «c»", "bool", "bool" }, { "«c» IS TRUE", "bool", "bool" }, { "«c» IS NOT FALSE", "bool", "bool" },
    { "«c»::int", "int", "int4" }, { "CASE WHEN «c» THEN 'y' ELSE 'n' END", "text", "text" },
  },
  date = {
    { "«c» + 1", "date", "date" }, { "«c» - date '2000-01-01'", "int", "int4" },
    { "date_trunc('month', «c»::timestamp)", "timestamp", "timestamp" },
    { "date_part('year', «c»)", "num", "float8" }, { "extract(year from «c»)", "num" },
    { "daterange(«c», NULL)", "range" }, { "«c» + interval '1 month'", "timestamp", "timestamp" },
  },
  timestamp = {
    { "date_trunc('day', «c»)", "timestamp", "timestamp" }, { "«c»::date", "date", "date" },
    { "«c» - interval '1 day 02:00'", "timestamp", "timestamp" }, { "extract(hour from «c»)", "num" },
    { "«c» AT TIME ZONE 'Europe/Berlin'", "timestamptz", "timestamptz" },
    { "age(«c», timestamp '2020-01-01')", "interval", "interval" },
  },
  timestamptz = {
    { "«c» AT TIME ZONE 'UTC'", "timestamp", "timestamp" }, { "(«c» AT TIME ZONE 'UTC')::date", "date", "date" },
    { "date_trunc('day', «c» AT TIME ZONE 'Europe/Berlin')", "timestamp", "timestamp" },
    { "timezone('UTC', «c»)", "timestamp", "timestamp" },
    { "«c» AT TIME ZONE interval '-03:00'", "timestamp", "timestamp" }, { "tstzrange(«c», NULL)", "range" },
  },
  time = { { "«c» + interval '1 hour'", "time", "time" }, { "extract(hour from «c»)", "num" } },
  interval = {
    { "-«c»", "interval", "interval" }, { "extract(epoch from «c»)", "num" },
    { "justify_hours(«c»)", "interval", "interval" },
  },
  uuid = { { "«c»::text", "text", "text" }, { "uuid_hash(«c»)", "int", "int4" } },
  net = {
    { "host(«c»)", "text", "text" }, { "masklen(«c»)", "int", "int4" }, { "family(«c»)", "int", "int4" },
    { "network(«c»)", "net", "inet" },
  },
  mac = { { "trunc(«c»)", "mac", "macaddr" } },
  jsonb = {
    { "«c» ->> 'a'", "text", "text" }, { "(«c» -> 'a') ->> 'it''s'", "text", "text" },
    { "«c» #>> '{a,b}'", "text", "text" }, { "(«c» ->> 'n')::int", "int", "int4" },
    { "«c» -> 'items'", "jsonb" }, { "«c» -> 0", "jsonb" }, { "«c»['a']", "jsonb", since = 14 },
    { "jsonb_array_length(«c»)", "int", "int4" }, { "«c» ? 'key'", "bool", "bool" },
    { "jsonb_path_exists(«c», '$.a[*] ? (@ > 2)')", "bool", "bool" }, { [[«c» ->> '"quoted"']], "text", "text" },
    { "(«c»->'a')::text", "text", "text" }, { "to_tsvector('simple', «c»)", "tsvector" },
    { "jsonb_typeof(«c»)", "text", "text" }, { "lower(«c» ->> 'email')", "text", "text" },
    { "(«c» #>> ARRAY['x', 'y'])::numeric(10, 2)", "num", "numeric" },
  },
  json = { { "«c» ->> 'a'", "text", "text" }, { "(«c» #>> '{a,0}')", "text", "text" } },
  ["int array"] = {
    { "«c»[1]", "int", "int4" }, { "array_length(«c», 1)", "int", "int4" },
    { "cardinality(«c»)", "int", "int4" }, { "«c» || 1", "int array" }, { "«c»[1:2]", "int array" },
    { "«c»[:2]", "int array" }, { "«c» || ARRAY[1, -2]", "int array" }, { "«c» = '{}'", "bool", "bool" },
  },
  ["text array"] = {
    { "«c»[1]", "text", "text" }, { "cardinality(«c»)", "int", "int4" }, { "«c»::text[]", "text array" },
    { "array_length(«c», 1)", "int", "int4" },
  },
  range = {
    { "lower(«c»)", "?" }, { "upper(«c»)", "?" }, { "isempty(«c»)", "bool", "bool" },
    { "«c» * «c»", "range" }, { "lower_inf(«c»)", "bool", "bool" },
  },
  multirange = { { "lower(«c»)", "int", "int4" }, { "range_merge(«c»)", "range" } },
  point = {
    { "«c»[0]", "num", "float8" }, { "box(«c», «c»)", "box" }, { "«c» <-> point '(0,0)'", "num", "float8" },
  },
  box = { { "area(«c»)", "num", "float8" }, { "center(«c»)", "point" } },
  tsvector = {
    { "strip(«c»)", "tsvector" }, { "length(«c»)", "int", "int4" }, { "«c» || 'a:1'::tsvector", "tsvector" },
  },
  enum = {
    { "«c» = 'red'", "bool", "bool" }, { "coalesce(«c», 'it''s blue')", "enum" },
    { "«c» = ANY ('{red,green}')", "bool", "bool" },
  },
  composite = {
    { "(«c»).a", "int", "int4" }, { '(«c»)."B b"', "text", "text" },
    { '(«c»)."B b" || («c»).a', "text", "text" },
  },
  bytes = {
    { "length(«c»)", "int", "int4" }, { "md5(«c»)", "text", "text" }, { "encode(«c», 'hex')", "text", "text" },
  },
  bits = { { "length(«c»)", "int", "int4" } },
  oid = { { "«c»::int8", "int", "int8" } },
  hstore = { { "«c» OPERATOR(ext.->) 'a'", "text", "text" }, { "ext.akeys(«c»)", "text array" } },
  ltree = { { "nlevel(«c»)", "int", "int4" }, { "subpath(«c», 0, 1)", "ltree" } },
}

--- Literals of a family, for comparisons.
M.literals = {
  int = { "5", "-7", "'3'", "0", "CAST('4' AS int2)", "12::bigint", "+2", "1 + 1", "- 3" },
  num = { "1.5", "-0.25", "7", "1e3", "'2.5'", "'NaN'", "-1", "3::numeric" },
  text = {
    "'a'", "'it''s'", "''", "E'back\\\\slash\\n'", "'ünïcode ]] \"q\"'", "$$dollar $1$$", "'b'::text",
    "'c'::varchar", "U&'\\00e4x'", "CAST('f' AS text)", "text 'typed'", "'back\\slash'",
  },
  citext = { "'a'", "'B'::ext.citext", "'c'::text" },
  bool = { "true", "false", "'t'", "NOT true" },
  date = { "'2024-02-29'", "date '2020-01-01'", "'infinity'", "'2021-05-05'::date", "date '2020-01-31' + 1" },
  timestamp = { "'2024-02-29 12:30'", "timestamp '2020-01-01'", "'2020-01-01'::date", "'-infinity'" },
  timestamptz = {
    "'2024-02-29 12:30+02'", "timestamptz '2020-01-01 00:00:00 UTC'", "'infinity'",
    "timestamp '2020-01-01' AT TIME ZONE 'UTC'",
  },
  time = { "'12:30'", "time '01:02:03'" },
  interval = {
    "'1 day'", "interval '2 hours'", "interval '1-2' year to month", "'-3 days'::interval", "interval '90' minute",
  },
  uuid = { "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'" },
  net = { "'10.0.0.1'", "inet '192.168.0.0/16'", "'::1'" },
  mac = { "'08:00:2b:01:02:03'" },
  jsonb = { [['{"a": 1}']], [['[]'::jsonb]], [['"x"']], "'null'" },
  ["int array"] = { "'{1,2}'", "ARRAY[1, -2]", "'{}'::int[]" },
  ["text array"] = { "'{a,\"b c\"}'", "ARRAY['a', 'b']::varchar[]", "ARRAY['it''s']::text[]" },
  range = { "'empty'", "'(,)'" },
  multirange = { "'{}'", "'{[1,2),[5,7)}'" },
  enum = { "'red'", "'it''s blue'", "'green'::lib.color" },
  composite = { [[ROW(1, 'x')::lib."Pair"]], [['(1,x)']] },
  bytes = { "'\\x00ff'", "E'\\\\x01'" },
  bits = { "B'00000001'", "'1'" },
  char = { "'a'" },
  oid = { "26", "'pg_class'::regclass::oid" },
  hstore = { "'a=>1'" },
  ltree = { "'a.b'" },
  tsvector = { "'a b'" },
}

--- Predicates about one column. `«l»` is a literal of its family, another one each time.
M.conditions = {
  ["*"] = {
    "«c» IS NULL", "«c» IS NOT NULL", 'lib."Is Special"(«c»)', "num_nonnulls(«c») > 0", "NOT «c» IS NULL",
  },
  comparable = {
    "«c» = «l»", "«c» <> «l»", "«c» != «l»", "«c» IN («l», «l»)",
    "«c» NOT IN («l», «l», «l»)", "«c» IN («l»)", "«c» IS DISTINCT FROM «l»",
    "«c» IS NOT DISTINCT FROM «l»", "coalesce(«c», «l») = «l»", "nullif(«c», «l») IS NULL",
    "«c» = ANY (ARRAY[«l», «l»])", "«l» = «c»", "(«c» = «l») IS NOT TRUE",
    "(«c» = «l» OR «c» IS NULL)", "CASE WHEN «c» = «l» THEN true ELSE false END",
    "CASE «c» WHEN «l» THEN 1 ELSE -1 END > 0", "NOT («c» = «l»)",
    "(«c» = «l») = ANY (ARRAY[true, false])", "(«c» = «l») IS UNKNOWN",
  },
  ordered = {
    "«c» > «l»", "«c» >= «l»", "«l» < «c»", "«c» BETWEEN «l» AND «l»",
    "«c» NOT BETWEEN «l» AND «l»", "«c» BETWEEN SYMMETRIC «l» AND «l»",
    "NOT «c» BETWEEN «l» AND «l»", "greatest(«c», «l») > «l»", "«c» > ALL (ARRAY[«l», «l»])",
    "(«c» > «l») IS TRUE", "«c» OPERATOR(pg_catalog.<=) «l»", "(«c», «c») > («l», «l»)",
    "ROW(«c», «c») IS NOT NULL", "(«c», «c») <> («l», «l»)", "(«c», «c») = («l», «l»)",
    "ROW(«c») IS DISTINCT FROM ROW(«l»)", "«c» >= «l» AND «c» <= «l»",
  },
  int = {
    "«c» % 2 = 0", "-«c» < -5", "«c» + 1 > 2 * 3", "«c»::text LIKE '1%'", "«c» > 1.5",
    "lib.score(«c»::int) > 3", "«c»::int OPERATOR(lib.<) 5", "«c» IN (1, 2, 3000000000)",
    "lib.total(«c»::int, 1) > 2", "«c» & 1 <> 0", "«c» = ANY ('{1,2}')", "«c» - 1 - 2 > - 3",
    "(«c» IS NULL) = false", "«c» BETWEEN 1 AND 2 AND «c» <> 3", "((«c» + 1)) * 2 <> 4",
    "«c» <> ALL (ARRAY[1, 2]::bigint[])", "-(-«c») > 0", "«c» ^ 2 > 4", "@ «c» > 1",
  },
  num = {
    "«c» > -1", "«c»::int = 3", "abs(«c») < 1e-3", "round(«c»::numeric) IN (1, 2)", "«c» / 3 > 0.1",
  },
  text = {
    "«c» LIKE 'a%'", "«c» NOT LIKE 'it''s'", "«c» ILIKE '%x_'", "«c» LIKE 'a!%' ESCAPE '!'",
    "«c» SIMILAR TO '(a|b)%'", "«c» ~ '^a.*$'", "«c» !~* E'\\\\d+'", "«c» LIKE ANY (ARRAY['a%', 'b%'])",
    "«c» NOT ILIKE ALL (ARRAY['a', 'b'])", "lower(«c») = 'x'", "length(«c») > 3",
    "«c» OPERATOR(lib.===) 'x'", "lib.normal(«c») <> ''", "«c»::text = 'x'", '«c» COLLATE "C" > \'m\'',
    '«c» = \'x\' COLLATE "und-x-icu"', "«c» IN ('a', 'b', 'it''s')", "«c» ^@ 'pre'", "«c» || 'x' <> 'ax'",
    "«c» BETWEEN 'a' AND 'b' OR «c» IS NULL", "char_length(«c») BETWEEN 1 AND 5",
    "«c» IN ('draft'::text, 'sent')", "«c» = ANY ('{a,b}'::text[])", "«c» <> ALL (ARRAY['x'::varchar, 'y'])",
    "substring(«c» from 'a(.)b') IS NOT NULL", "«c» ~~ 'x'", "«c» !~~* 'y'", "similarity(«c», 'abc') > 0.3",
    "«c»::bytea IS NOT NULL", "trim(leading 'x' from «c») <> ''", "starts_with(«c», 'a')",
    "position('b' in «c») > 0", "«c» IS NORMALIZED", "lib.lower(«c») = lower(«c»)",
  },
  bool = {
    "«c»", "NOT «c»", "«c» IS TRUE", "«c» IS NOT TRUE", "«c» IS FALSE", "«c» IS NOT UNKNOWN",
    "«c» = true", "«c» IS NOT FALSE",
  },
  date = {
    "«c» > '2020-01-01'::date - 30", "extract(year from «c») = 2020", "«c» + interval '1 day' > '2020-01-01'",
    "(«c», «c») OVERLAPS (date '2020-01-01', date '2020-02-01')", "date_part('dow', «c») IN (0, 6)",
  },
  timestamp = {
    "«c» > '2020-01-01'::timestamp + interval '90 days'", "«c»::date = '2020-01-01'",
    "date_trunc('day', «c») = «c»", "«c» - interval '1 day' > '2020-01-01 00:00'",
  },
  timestamptz = {
    "«c» AT TIME ZONE 'UTC' > '2020-01-01'", "(«c» AT TIME ZONE 'Europe/Berlin')::date > '2020-01-01'",
    "«c» < '2020-01-01'::timestamp AT TIME ZONE 'Asia/Tokyo'",
  },
  interval = { "«c» > interval '1 day'", "extract(epoch from «c») > 60" },
  jsonb = {
    [[«c» @> '{"a": 1}']], "«c» ? 'a'", "«c» ?| ARRAY['a', 'b']", "«c» ->> 'a' = 'x'",
    "(«c» ->> 'n')::int > 5", "«c» @? '$.a'", "«c» @@ '$.a > 2'", "«c» #>> '{a,b}' IS NOT NULL",
    "NOT «c» ? 'deleted'", "«c» -> 'a' IS NULL", "(«c» -> 'a' ->> 'b')::bool", "«c» ->> 'a' IN ('x', 'y')",
    [[(«c» ->> 'a') LIKE '\%']], "jsonb_typeof(«c») = 'object'", "«c» ->> 'a' BETWEEN 'a' AND 'b'",
  },
  json = { "«c» ->> 'a' = 'x'", "(«c» ->> 'n')::int > 5" },
  ["int array"] = {
    "1 = ANY («c»)", "«c» @> ARRAY[1]", "«c» && '{1,2}'", "cardinality(«c») > 0", "«c»[1] = 1",
    "2 <> ALL («c»)", "«c» <@ '{1}'::int[]",
  },
  ["text array"] = {
    "'a' = ANY («c»)", "cardinality(«c») > 0", "«c»[1] LIKE 'a%'", "array_length(«c», 1) IS NOT NULL",
  },
  range = { "NOT isempty(«c»)", "lower_inf(«c»)", "«c» && '(,)'", "upper(«c») IS NULL", "«c» <> 'empty'" },
  multirange = { "NOT isempty(«c»)", "«c» @> 5" },
  net = { "«c» << '10.0.0.0/8'", "family(«c») = 4", "«c» <<= inet '10.0.0.0/8'" },
  point = { "«c»[0] > 0", "«c» <@ box '((0,0),(1,1))'", "«c» <-> '(0,0)' < 5" },
  box = { "«c» @> point '(1,1)'", "area(«c») > 1.5" },
  tsvector = { "«c» @@ to_tsquery('simple', 'a & b')", "«c» @@ 'a'::tsquery" },
  composite = { "(«c»).a > 5", "(«c»).\"B b\" = 'x'", "(«c»).a IS NULL" },
  uuid = { "«c»::text LIKE 'a%'" },
  hstore = { "«c» OPERATOR(ext.?) 'a'" },
  ltree = { "«c» <@ 'a.b'", "«c» ~ '*.a.*'" },
  bytes = { "length(«c») > 0" },
}
M.comparable = { int = true, num = true, text = true, citext = false, bool = true, date = true, timestamp = true,
  timestamptz = true, time = true, interval = true, uuid = true, net = true, mac = true, jsonb = true,
  ["int array"] = true, ["text array"] = true, range = true, multirange = true, enum = true, composite = true,
  bytes = true, bits = true, char = true, oid = true, ltree = true, tsvector = true }
M.ordered = { int = true, num = true, text = true, date = true, timestamp = true, timestamptz = true, time = true,
  interval = true, uuid = true, net = true, enum = true, bytes = true, ["int array"] = true, range = true }

-- Opclasses: by method and family; `%s` is the type's own word. false: the default one.
local scalars = { "int", "num", "text", "bool", "date", "timestamp", "timestamptz", "time", "interval", "uuid", "net",
  "mac", "bytes", "bits", "char", "oid", "enum" }
local function for_all(families, classes, more)
  local result = {}
  for _, family in ipairs(families) do result[family] = classes end
  for family, list in pairs(more) do result[family] = list end
  return result
end
local trgm_siglen = { "gist_trgm_ops", siglen = { 12, 32, 256 } }

M.opclasses = {
  btree = for_all(scalars, { false, false, false, "%s_ops" }, {
    int = { false, false, "%s_ops", "lib.int4_own_ops" },
    text = { false, false, false, "%s_pattern_ops", "text_pattern_ops", 'lib."Text.Ops"' },
    enum = { false, "enum_ops" }, jsonb = { false, "jsonb_ops" }, ["int array"] = { false, "array_ops" },
    ["text array"] = { false }, range = { false, "range_ops" }, multirange = { false }, tsvector = { false },
    composite = { false, "record_ops", "record_image_ops" },
    citext = { false, "ext.citext_ops", "ext.citext_pattern_ops" }, hstore = { false }, ltree = { false },
  }),
  hash = for_all({ "int", "num", "text", "date", "timestamp", "timestamptz", "time", "interval", "uuid", "net", "mac",
    "bytes", "char", "oid" }, { false, "%s_ops" }, { enum = { false }, jsonb = { false }, ["int array"] = { false },
    range = { false }, multirange = { false }, bool = { false }, citext = { false },
    text = { false, "%s_ops", "text_pattern_ops" } }),
  gin = for_all({}, {}, {
    jsonb = { false, "jsonb_ops", "jsonb_path_ops" }, ["int array"] = { false, "array_ops" },
    ["text array"] = { false },
    tsvector = { false, "tsvector_ops" }, text = { "gin_trgm_ops", "public.gin_trgm_ops", "ext.text_ops" },
    int = { "ext.%s_ops", false }, date = { false }, timestamptz = { "ext.timestamptz_ops" }, enum = { false },
    uuid = { false }, hstore = { false, "ext.gin_hstore_ops" },
  }),
  gist = for_all({}, {}, {
    range = { false, "range_ops" }, multirange = { false, "multirange_ops" }, point = { false, "point_ops" },
    box = { false, "box_ops" }, net = { "inet_ops", "ext.gist_inet_ops" },
    tsvector = { false, { "tsvector_ops", siglen = { 1, 64, 300 } } },
    text = { "gist_trgm_ops", trgm_siglen, "ext.gist_text_ops" }, int = { "ext.gist_%s_ops", false },
    date = { false, "ext.gist_date_ops" }, timestamptz = { false }, uuid = { false }, enum = { false },
    num = { false }, hstore = { false, { "ext.gist_hstore_ops", siglen = { 16, 200 } } },
    ltree = { false, { "gist_ltree_ops", siglen = { 100, 8 } } },
  }),
  spgist = for_all({}, {}, {
    range = { false, "range_ops" }, point = { false, "kd_point_ops", "quad_point_ops" }, box = { false, "box_ops" },
    net = { false, "inet_ops" }, text = { false, "text_ops" },
  }),
  brin = for_all({ "int", "num", "date", "timestamp", "timestamptz", "time", "interval", "uuid", "mac", "oid" }, {
    false, "%s_minmax_ops", { "%s_minmax_multi_ops", since = 14, values_per_range = { 16, 32 } },
    { "%s_minmax_multi_ops", since = 14 }, { "%s_bloom_ops", since = 14 },
    { "%s_bloom_ops", since = 14, n_distinct_per_range = { -0.2, 100 } },
    { "%s_bloom_ops", since = 14, n_distinct_per_range = { 50 }, false_positive_rate = { 0.05, 0.001 } },
  }, {
    text = { false, "%s_minmax_ops", { "%s_bloom_ops", since = 14, false_positive_rate = { 0.01 } } },
    range = { false, "range_inclusion_ops" }, box = { false, "box_inclusion_ops" },
    net = { false, "inet_inclusion_ops", "inet_minmax_ops", { "inet_bloom_ops", since = 14 } }, bytes = { false },
    char = { false },
  }),
  bloom = { int = { false, "ext.int4_ops" }, text = { false, "ext.text_ops" } },
}

--- Operators that an exclusion constraint may use, by method and family.
M.exclusions = {
  gist = { range = { "&&", "=", "-|-", "OPERATOR(pg_catalog.&&)" }, multirange = { "&&" }, box = { "&&", "~=" },
    point = { "~=" }, int = { "=", "<>" }, text = { "=" }, date = { "=" }, timestamptz = { "=" }, uuid = { "=" },
    enum = { "=" } },
  btree = { int = { "=", "OPERATOR(pg_catalog.=)" }, text = { "=" }, date = { "=" }, uuid = { "=" }, num = { "=" } },
  hash = { int = { "=" }, text = { "=" }, jsonb = { "=" }, uuid = { "=" } },
  spgist = { range = { "&&" }, box = { "&&" }, net = { "&&" } },
}

--- Storage parameters by method.
M.storage = {
  btree = { fillfactor = { 10, 70, 100 }, deduplicate_items = { "off", "on" } },
  hash = { fillfactor = { 10, 75 } },
  gin = { fastupdate = { "off", "on", "true" }, gin_pending_list_limit = { 64, 2048 } },
  gist = { fillfactor = { 50, 90 }, buffering = { "on", "off", "auto" } },
  spgist = { fillfactor = { 60 } },
  brin = { pages_per_range = { 4, 128 }, autosummarize = { "on", "off" } },
  bloom = { length = { 80, 160 }, col1 = { 2, 4 } },
}
M.storage_order = {
  "pages_per_range", "fillfactor", "deduplicate_items", "fastupdate", "gin_pending_list_limit", "buffering",
  "autosummarize", "length", "col1",
}

return M
