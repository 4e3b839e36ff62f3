-- Two indexes are the same for us if and only if they are for the server. The server is asked by createIndexes under
-- the name that is there: it says that all indexes exist already, or that they conflict, and builds nothing. And one is
-- refused by us, before anything is begun, if and only if the server refuses it.
--
-- LUNADEX_SEED, LUNADEX_CASES as in 05-properties.
local engine = require "support.engine"
local indexes = require "support.indexes"
local mongodb = require "support.mongodb"
local random = require "support.random"

local long = os.getenv "LUNADEX_TEST_LONG" ~= nil
local seed = math.tointeger(tonumber(os.getenv "LUNADEX_SEED" or "1"))
local wanted = math.tointeger(tonumber(os.getenv "LUNADEX_CASES" or (long and "3000" or "300")))
local BATCH = 100

-- Random filters, of few fields and values, so that two are equal often enough ----------------------------------------

local values = { "1", "1.0", '{"$numberLong": "1"}', '{"$numberDecimal": "1.0"}', "2", "2.5", '"a"', '"b"', "null",
  "true", "[1]", "[1.0, 2]", "{}", '{"b": 1}', '{"b": 1.0}', '{"b": 1, "c": 2}', '{"c": 2, "b": 1}',
  '{"$date": "2020-01-01T00:00:00Z"}',
  '{"$oid": "507f1f77bcf86cd799439011"}' }
local fields = { "x", "x", "y", "x.b" }
local types = { '"string"', "2", '["string"]', '["string", "int"]', "[16, 2]", '"number"', '["int", "long"]', '"null"' }

local function list_of(rng, most, make)
  local parts = {}
  for i = 1, rng:integer(1, most) do parts[i] = make(rng) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local function value(rng) return rng:pick(values) end

local function condition(rng)
  local kind = rng:weighted { { "plain", 30 }, { "$eq", 12 }, { "$in", 20 }, { "$exists", 10 }, { "$type", 8 },
    { "range", 15 }, { "$all", 5 } }
  if kind == "plain" then return value(rng) end
  if kind == "$eq" then return ('{"$eq": %s}'):format(value(rng)) end
  if kind == "$in" or kind == "$all" then return ('{"%s": %s}'):format(kind, list_of(rng, 3, value)) end
  if kind == "$exists" then return ('{"$exists": %s}'):format(rng:pick { "true", "1", "2.5" }) end
  -- As the first of an object, libbson's parser, which the specs' own client has, takes $type for something else.
  if kind == "$type" then return ('{"$exists": true, "$type": %s}'):format(rng:pick(types)) end
  local low = ('"%s": %s'):format(rng:pick { "$gt", "$gte" }, value(rng))
  local high = ('"%s": %s'):format(rng:pick { "$lt", "$lte" }, value(rng))
  return rng:pick { "{" .. low .. "}", "{" .. high .. "}", "{" .. low .. ", " .. high .. "}",
    "{" .. high .. ", " .. low .. "}" }
end

local function filter(rng, depth)
  depth = depth or 0
  local parts, used = {}, {}
  for _ = 1, rng:weighted { { 1, 60 }, { 2, 40 } } do
    local deep = depth < 3 and rng:chance(35)
    local name = deep and rng:pick { "$and", "$or", "$or" } or rng:pick(fields)
    if not used[name] then
      used[name] = true
      local part = deep and list_of(rng, 3, function() return filter(rng, depth + 1) end) or condition(rng)
      parts[#parts + 1] = ('"%s": %s'):format(name, part)
    end
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

-- Another way to say the same, or something near it.
local rewrites = {
  function(text) return ('{"$and": [%s]}'):format(text) end,
  function(text) return ('{"$or": [%s]}'):format(text) end,
  function(text) return ('{"$or": [%s, %s]}'):format(text, text) end,
  function(text) return ('{"$and": [{}, %s]}'):format(text) end,
  function(text) return (text:gsub(": 1([,}%]])", ": 1.0%1")) end,
  function(text) return (text:gsub(': ("[ab]")', ': {"$eq": %1}', 1)) end,
  function(text) return (text:gsub(': ("[ab]")', ': {"$in": [%1]}', 1)) end,
  function(text) return (text:gsub('"%$gt"', '"$gte"', 1)) end,
  function(text) return (text:gsub('"x"', '"y"', 1)) end,
  function(text, rng)
    -- The members of the first list, in another order.
    return (text:gsub('("%$in": %[)(%d), (%d)', function(head, a, b)
      return rng:chance(80) and head .. b .. ", " .. a or nil
    end, 1))
  end,
  function(text) return text:find '"%$type"' and text or (text:gsub('^{("[^"]+": %b{}), (.*)}$', "{%2, %1}")) end,
  function(text) return text end,
}

-- Random specifications -----------------------------------------------------------------------------------------------

local collations = { '{"locale": "en"}', '{"locale": "en", "strength": 3}', '{"locale": "en", "strength": 2}',
  '{"locale": "fr_CA"}', '{"locale": "fr_CA", "backwards": true}', '{"locale": "da", "caseFirst": "upper"}',
  '{"locale": "da"}', '{"locale": "simple"}', '{"locale": "th"}',
  '{"locale": "en", "strength": 2.0, "caseLevel": false}' }
local projections = { '{"a": 1}', '{"a": true, "_id": 0}', '{"a": 1, "_id": 1}', '{"a": 0}', '{"a": false}',
  '{"b": {"c": 1}}', '{"b.c": 1}', '{"b.c": 1, "a": 1}', '{"a": 1, "b": {"c": true}}',
  '{"a": 0, "_id": 1}', '{"_id": 1}',
  '{"_id": 0}', '{"a": {"$numberDecimal": "0"}}', '{"a": {"$numberDecimal": "1"}}' }
local directions = { "1", "1", "1", "-1", "1.0", "-1.0", "2", '{"$numberLong": "1"}', "0.5" }

local function plain_keys(rng)
  local keys, used = {}, {}
  for _ = 1, rng:weighted { { 1, 60 }, { 2, 30 }, { 3, 10 } } do
    local name = rng:pick { "a", "b", "c.d", "_id" }
    if not used[name] then keys[#keys + 1] = { name, rng:pick(directions) } end
    used[name] = true
  end
  return keys
end

local kinds = {
  plain = function(rng) return plain_keys(rng) end,
  text = function(rng)
    local keys = {}
    for i, name in ipairs(rng:shuffled { "t", "u", "v" }) do
      if i <= rng:integer(1, 3) then keys[#keys + 1] = { name, '"text"' } end
    end
    if rng:chance(30) then table.insert(keys, 1, { "a", "1" }) end
    if rng:chance(30) then keys[#keys + 1] = { "b", "-1" } end
    return keys
  end,
  hashed = function(rng) return rng:chance(50) and { { "a", '"hashed"' } } or { { "b", "1" }, { "a", '"hashed"' } } end,
  ["2dsphere"] = function(rng)
    return rng:chance(50) and { { "a", '"2dsphere"' } } or { { "b", "-1" }, { "a", '"2dsphere"' } }
  end,
  ["2d"] = function(rng) return rng:chance(50) and { { "a", '"2d"' } } or { { "a", '"2d"' }, { "b", "1" } } end,
  wildcard = function(rng) return { { rng:pick { "$**", "$**", "a.$**" }, rng:pick { "1", "1", "2", "-1" } } } end,
}

-- name → chance in per cent, values
local options = {
  { "unique", 15, { "true", "true", "false" } },
  { "sparse", 15, { "true", "false", '{"$numberDecimal": "0"}', '{"$numberDecimal": "1"}' } },
  { "collation", 20, collations },
  { "v", 5, { "1", "1", "2", "1.0" } },
  { "expireAfterSeconds", 12, { "3600", "3600.0", '{"$numberLong": "3600"}', '{"$numberDecimal": "3600"}', "60", "0",
    "-1", '{"$numberDouble": "NaN"}', "2147483647", "-0.4" } },
  { "hidden", 8, { "true", "false" } },
  { "weights", 8, { '{"t": 2}', '{"t": 2.0}', '{"t": 1}', '{"t": {"$numberDecimal": "2"}}',
    '{"w": 5, "t": 2}', '{"t": 2, "w": 5.5}', '{"t": 0}' } },
  { "default_language", 6, { '"english"', '"german"', '"none"' } },
  { "language_override", 5, { '"language"', '"lang"' } },
  { "bits", 5, { "10", "10.0", '{"$numberDecimal": "10"}', "20", "40" } },
  { "min", 3, { "-90", "-90.0", "500" } },
  { "textIndexVersion", 5, { "1", "2", "3", "1.5", '{"$numberDecimal": "1.9"}' } },
  { "2dsphereIndexVersion", 5, { "1", "2", "3", '{"$numberLong": "2"}' } },
  { "prepareUnique", 5, { "true", "false", "1" } },
  { "storageEngine", 4, { '{"wiredTiger": {}}', '{"wiredTiger": {"configString": "prefix_compression=false"}}' } },
}

local function option_value(rng, item, spec_kind)
  local name = item[1]
  local only = { weights = "text", default_language = "text", language_override = "text", bits = "2d", min = "2d",
    textIndexVersion = "text", ["2dsphereIndexVersion"] = "2dsphere" }
  if only[name] and spec_kind ~= only[name] then return nil end
  return rng:pick(item[3])
end

-- The server wants no option at all said of the index on _id, not even that it is off.
local function is_on_id(spec)
  local value_ = #spec.keys == 1 and spec.keys[1][1] == "_id" and spec.keys[1][2]
  return value_ and (tonumber(value_) or 1) ^ 2 == 1
end

local function random_spec(rng)
  local kind = rng:weighted { { "plain", 55 }, { "text", 15 }, { "hashed", 6 }, { "2dsphere", 6 }, { "2d", 6 },
    { "wildcard", 12 } }
  local spec = { kind = kind, keys = kinds[kind](rng), options = {} }
  for _, item in ipairs(options) do
    local text = rng:chance(item[2]) and not is_on_id(spec) and option_value(rng, item, kind)
    -- Several fields of a text index that expires we name by their weights, which the server would not do by itself.
    if item[1] == "expireAfterSeconds" and kind == "text" and #spec.keys > 1 then text = nil end
    -- With v 1 the server wants no collation said, not even that there is none, which we may say, and leave out for it.
    if item[1] == "v" and #spec.options > 0 and spec.options[#spec.options][1] == "collation" then text = nil end
    if text then spec.options[#spec.options + 1] = { item[1], text } end
  end
  if rng:chance(35) then spec.options[#spec.options + 1] = { "partialFilterExpression", filter(rng) } end
  if kind == "wildcard" and rng:chance(50) then
    spec.options[#spec.options + 1] = { "wildcardProjection", rng:pick(projections) }
  end
  return spec
end

local function relative(rng, spec)
  local copy = { kind = spec.kind, keys = {}, options = {} }
  for i, key in ipairs(spec.keys) do
    local other = rng:chance(15) and not key[2]:find '"'
    copy.keys[i] = { key[1], other and rng:pick(directions) or key[2] }
  end
  if rng:chance(15) then copy.keys = rng:shuffled(copy.keys) end
  for _, option in ipairs(rng:shuffled(spec.options)) do
    local name, text = option[1], option[2]
    if name == "partialFilterExpression" then
      for _ = 1, rng:integer(0, 2) do text = rng:pick(rewrites)(text, rng) end
    elseif name == "wildcardProjection" then
      if rng:chance(60) then text = rng:pick(projections) end
    elseif rng:chance(40) then
      for _, item in ipairs(options) do
        if item[1] == name then text = option_value(rng, item, spec.kind) end
      end
    end
    if not rng:chance(6) and not is_on_id(copy) then copy.options[#copy.options + 1] = { name, text } end
  end
  return copy
end

-- What may be wrong ---------------------------------------------------------------------------------------------------

local odd = {
  keys = {
    text = { '{"t": "text"}', '{"t": "text", "a": -1}', '{"a": 2, "t": "text"}', '{"$**": "text"}',
      '{"a.$**": "text"}', '{"_fts": "text"}', '{"_fts": "text", "_ftsx": 1}', '{"a.$id": "text"}', '{"_id": "text"}',
      '{"t": "text", "t.u": 1}' },
    plain = { '{"a": 1}', '{"a": -1, "b": 1}', '{"a.b": 1}', '{"author.$id": 1}', '{"_fts": 1}', '{"_id": 1, "a": 1}',
      '{"_id": 2}', '{"a": "hashed"}', '{"_id": "hashed"}', '{"a": 1, "b": "hashed"}', '{"a": "hashed", "b": "hashed"}',
      '{"a": "hashed", "b": "2dsphere"}', '{"a": "2dsphere", "b": "2dsphere"}', '{"a": "geoHaystack"}', '{"a..b": 1}',
      '{"a": "columnstore"}', '{"a": 1, "a.$**": 1}', '{"$**": -1}', '{"$**": 0.5}', '{"$**": "hashed"}', '{".a": 1}' },
    ["2d"] = { '{"a": "2d"}', '{"a": "2d", "b": 1}', '{"b": 1, "a": "2d"}', '{"a": "2d", "b": "2d"}' },
    series = { '{"m": 1}', '{"m": "hashed"}', '{"m.x": "2d"}', '{"mm": "hashed"}', '{"x": "hashed"}',
      '{"x": "2dsphere"}', '{"x": "2d"}', '{"t": -1}', '{"t": "hashed"}', '{"t": "2dsphere"}', '{"t.a": "2dsphere"}',
      '{"x": 1, "m": "hashed"}', '{"m.$**": 1}', '{"x.$**": 1}', '{"$**": 1}', '{"m": 1, "x": -1}', '{"m": "text"}',
      '{"_id": "hashed"}', '{"x": 2}' },
  },
  options = {
    default_language = { '"english"', '"English"', '"DE"', '"none"', '"klingon"', '""', '"arabic"', '"english "',
      '"deu"' },
    language_override = { '"language"', '"a b"', '""', '"$a"', '"a.b"', '"a$b"' },
    weights = { '{"t": 5}', '{"$**": 2}', '{"a.$**": 2}', '{"$a": 1}', '{"a..b": 1}', '{"": 1}', '{"a.": 1}',
      '{"a": 0.5}', '{"a": 1.9}', '{"a": 0}', '{"a": 99999.5}', '{"a": 100000}', '{"a.$id": 1}' },
    bits = { "0", "1", "1.5", "32", "32.5", "33", '{"$numberDecimal": "32.5"}', '{"$numberDecimal": "32.6"}' },
    textIndexVersion = { "0", "1", "2", "3", "4", "0.9", "3.9", '{"$numberDecimal": "3.9"}' },
    v = { "0", "1", "2", "3", "1.0", "1.5", '{"$numberDecimal": "1"}', '{"$numberDecimal": "1.9"}' },
    ["2dsphereIndexVersion"] = { "0", "1", "3", "4", "1.5", '{"$numberDecimal": "2"}' },
    prepareUnique = { "true" },
    storageEngine = { '{}', '{"wiredTiger": {}}', '{"wiredTiger": 1}', '{"wiredtiger": {}}', '{"inMemory": {}}',
      '{"devnull": {}}', '{"wiredTiger": {"configString": ""}}', '{"wiredTiger": {"configString": 1}}',
      '{"wiredTiger": {"foo": 1}}', '{"wiredTiger": {"configString": "foo=1"}}',
      '{"wiredTiger": {"configString": "block_compressor=zlib,prefix_compression=false"}}',
      '{"wiredTiger": {"configString": "allocation_size=4KB, leaf_page_max=16KB"}}',
      '{"wiredTiger": {"configString": "app_metadata=(x=1"}}', '{"wiredTiger": {"configString": "prefix_compression"}}',
      '{"wiredTiger": {"configString": "app_metadata=(formatVersion=8,x=1)"}}', '{"wiredTiger": {}, "foo": {}}' },
    sparse = { "true" },
    unique = { "true" },
    expireAfterSeconds = { "5", "2147483648", "2147483647.6", '{"$numberDecimal": "2147483647.6"}', "-0.4",
      '{"$numberDecimal": "-0.6"}' },
    collation = { '{"locale": "en"}', '{"locale": "en", "strength": 9}', '{"locale": "en", "caseFirst": "up"}',
      '{"locale": "en", "strength": 1, "backwards": true}', '{"locale": "en", "alternate": "x"}' },
    wildcardProjection = { '{"a": 1}', '{}', '{"a": 1, "b": 0}', '{"a": "x"}', '{"$a": 1}', '{"a..b": 1}',
      '{"a": 1, "a.b": 1}' },
  },
  operators = { "$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$all", "$exists", "$type", "$gtt", "$equal", "$ne", "$nin",
    "$not", "$size", "$mod", "$elemMatch", "$comment", "$near", "$geoWithin", "$geoIntersects", "$bitsAllSet", "x",
    "$maxDistance", "$id", "$within" },
  values = { "1", "0", "2.0", "2.5", "-1", "127", "20", "null", "true", "false", '"a"', '"string"', '"strin"',
    '"number"', '"String"', '"missing"', "[]", "[1]", "[null]", "[[1]]", '["string", 2]', '["foo"]', '[{"$gt": 1}]',
    '[{"x": 1}]',
    '[{"$ref": "a", "$id": 1}]', '{}', '{"x": 1}', '{"$gt": 1}', '{"$ref": "a", "$id": 1}', '{"$undefined": true}',
    '{"$regularExpression": {"pattern": "a", "options": ""}}', '{"$box": [[0, 0], [1, 1]]}', '{"$foo": 1}',
    '[{"$regularExpression": {"pattern": "a", "options": ""}}]', '[{"$undefined": true}]', '{"$minKey": 1}',
    '{"$date": "2020-01-01T00:00:00Z"}', '[{"$date": "2020-01-01T00:00:00Z"}]',
    '{"$geometry": {"type": "Point", "coordinates": [0, 0]}}' },
}

-- Before an operator there is another, since what begins with $ may be a value to libbson's parser.
local function odd_filter(rng, names)
  local kind = rng:integer(1, 12)
  local name, item = rng:pick(names), rng:pick(odd.values)
  if kind == 1 then return ('{"%s": %s}'):format(name, item) end
  if kind == 2 then
    return rng:pick { '{"$and": 1}', '{"$and": []}', '{"$or": [1]}', '{"$or": [{}]}', '{"$foo": 1}',
      '{"$nor": [{"a": 1}]}', '{"$comment": 1}', '{"$expr": true}', '{"$jsonSchema": {}}', '{"$where": "1"}',
      '{"": 1}', '{"a..b": 1}', "{}" }
  end
  local operator = rng:pick(odd.operators)
  local first = operator:find "^%$geo" and rng:chance(70) and "" or '"$exists": true, '
  local text = ('{"%s": {%s"%s": %s}}'):format(name, first, operator, item)
  return kind == 3 and ('{"$or": [{"a": 1}, %s]}'):format(text) or text
end

local shapes = {
  plain = { "plain", "text", "2d" }, series = { "series" }, capped = { "plain" }, collated = { "plain" },
}

local creations = {
  series = '{ "create": "%s", "timeseries": { "timeField": "t", "metaField": "m" } }',
  capped = '{ "create": "%s", "capped": true, "size": 4096 }',
  collated = '{ "create": "%s", "collation": { "locale": "en", "strength": 2 } }',
}

local belongs = { text = { "default_language", "language_override", "weights", "textIndexVersion" },
  ["2d"] = { "bits" }, series = { "2dsphereIndexVersion" } }
local any = { "storageEngine", "sparse", "unique", "expireAfterSeconds", "collation", "wildcardProjection", "v",
  "2dsphereIndexVersion", "prepareUnique" }

local function members_of(json)
  local list = {}
  for name, member in json:gmatch '"([^"]*)": ("?[^,}"]+"?)' do list[#list + 1] = { name, member } end
  return list
end

local function odd_spec(rng)
  local where = rng:weighted { { "plain", 60 }, { "series", 30 }, { "capped", 5 }, { "collated", 5 } }
  local shape = rng:pick(shapes[where])
  local spec = { where = where, kind = shape, options = {},
    keys = members_of(rng:chance(40) and rng:pick(odd.keys[shape]) or odd.keys[shape][1]) }
  local function add(name) spec.options[#spec.options + 1] = { name, rng:pick(odd.options[name]) } end
  local aspect = rng:integer(1, 3)
  if rng:chance(10) then add "v" end
  if aspect == 1 and belongs[shape] then add(rng:pick(belongs[shape])) end
  if aspect == 2 then add(rng:pick(any)) end
  if aspect == 3 then
    local names = where == "series" and { "m", "x", "t", "m.x" } or { "f" }
    spec.options[1] = { "partialFilterExpression", odd_filter(rng, names) }
  end
  return spec
end

-- What the server says ------------------------------------------------------------------------------------------------

local conflicts = { [85] = true, [86] = true }

local function ask(server, database, collection, spec)
  local reply, message, code = server:try(database,
    ('{ "createIndexes": "%s", "indexes": [%s] }'):format(collection, indexes.json(spec, "n")))
  if reply then return reply.note and "same" or "built" end
  if conflicts[code] then return "different", message end
  return "refused", message
end

local function option_of(spec, name)
  for _, option in ipairs(spec.options) do
    if option[1] == name then return option[2] end
  end
end

describe("an index of MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database
  setup(function()
    server = mongodb.shared()
    database = server:create_database()
  end)

  -- Live ones first, all in one catalog; then what each declared one is to us, and to the server.
  local function batch(pairs_)
    server:drop_database(database)
    local list, asked = {}, {}
    for i, pair in ipairs(pairs_) do
      local collection = "c" .. i
      local create = pair.collation and ('{ "create": "%s", "collation": %s }'):format(collection, pair.collation)
      if create then server:command(database, create) end
      pair.refused = ask(server, database, collection, pair.live) == "refused"
      -- What cannot live is compared in what is refused alone.
      list[#list + 1] = indexes.fields(pair.refused and pair.live or pair.declared, collection, "n")
      asked[#asked + 1] = pair
    end
    local db <close> = engine.open(server:url(database))
    local diff = db:diff(list)
    for change in diff:changes() do
      local pair = change.ordinal and asked[change.ordinal]
      if pair then pair.action, pair.why = change.action, change.error and change.error.message or change.reason end
    end
    for i, pair in ipairs(pairs_) do
      if pair.refused then
        pair.says = "refused"
      else
        pair.says, pair.message = ask(server, database, "c" .. i, pair.declared)
        -- A conflict comes first; what is wrong besides shows where nothing is in the way.
        if pair.says == "different" and pair.action == "error" then
          local says, message = ask(server, database, "fresh" .. i, pair.declared)
          if says == "refused" then pair.says, pair.message = says, message end
        end
      end
    end
  end

  local function ours(pair)
    if pair.action == "error" then return "refused" end
    if pair.action == "keep" then return "same" end
    -- The server takes hidden for no difference at all.
    local hidden = option_of(pair.live, "hidden") == "true" ~= (option_of(pair.declared, "hidden") == "true")
    if hidden and pair.action == "alter" and pair.says == "same" then return "same" end
    -- And likewise formats, where another one is declared.
    if pair.says == "same" and pair.action == "replace" then
      for _, name in ipairs { "v", "textIndexVersion", "2dsphereIndexVersion" } do
        local declared = option_of(pair.declared, name)
        if declared and declared ~= option_of(pair.live, name) then return "same" end
      end
    end
    return "different"
  end

  it("is the same as another one when the server says so", function()
    local rng, counts, wrong, done = random.new(seed, 7), {}, {}, 0
    while done < wanted do
      local list = {}
      for i = 1, math.min(BATCH, wanted - done) do
        local live = random_spec(rng)
        -- On a collection that has a collation, the server wants to be told that a text index has none. We tell it.
        local collated = rng:chance(10) and live.kind ~= "text" and live.kind ~= "2d"
        list[i] = { live = live, declared = relative(rng, live),
          collation = collated and '{"locale": "en", "strength": 2}' or nil }
      end
      batch(list)
      for _, pair in ipairs(list) do
        counts[pair.says] = (counts[pair.says] or 0) + 1
        if ours(pair) ~= pair.says and not (pair.says == "built" and ours(pair) == "different") then
          wrong[#wrong + 1] = ("live     %s%s\ndeclared %s\nserver: %s (%s)\nours:   %s (%s)"):format(
            indexes.json(pair.live, "n"), pair.collation and " on a collection of " .. pair.collation or "",
            indexes.json(pair.declared, "n"), pair.says, pair.message or "", pair.action, pair.why)
        end
      end
      done = done + #list
    end
    assert.equal("", table.concat(wrong, "\n\n"))
    for _, what in ipairs { "same", "different", "refused" } do
      assert.is_true((counts[what] or 0) > wanted / 20, what .. ": " .. tostring(counts[what]))
    end
  end)

  it("is refused when the server would refuse it", function()
    local rng, wrong, counts, done = random.new(seed, 8), {}, { built = 0, refused = 0 }, 0
    local most = wanted // 2
    while done < most do
      server:drop_database(database)
      local list, declared = {}, {}
      for i = 1, math.min(BATCH, most - done) do
        local spec = odd_spec(rng)
        local creation = creations[spec.where]
        if creation then server:command(database, creation:format("c" .. i)) end
        list[i], declared[i] = spec, indexes.fields(spec, "c" .. i, "n")
      end
      local db <close> = engine.open(server:url(database))
      for change in db:diff(declared):changes() do
        if change.ordinal then list[change.ordinal].change = change end
      end
      for i, spec in ipairs(list) do
        local says, message = ask(server, database, "c" .. i, spec)
        local ours_, why = spec.change.action == "error" and "refused" or "built", spec.change.error
        if says == "same" then says = "built" end
        counts[says] = counts[says] + 1
        if ours_ ~= says then
          wrong[#wrong + 1] = ("%s %s\nserver: %s (%s)\nours:   %s (%s)"):format(spec.where,
            indexes.json(spec, "n"), says, message or "", ours_, why and why.message or "")
        end
      end
      done = done + #list
    end
    assert.equal("", table.concat(wrong, "\n\n"))
    for what, count in pairs(counts) do assert.is_true(count > most / 10, what .. ": " .. count) end
  end)
end)
