-- What may be declared of a MongoDB database, as data: see lunadex.registry.schema.

local common = require "lunadex.registry.schema"
local json = require "lunadex.mongodb.json"
local suggest = require "lunadex.suggest"

local M = {}

M.MAX_KEYS = 32

-- What is to be done about the same definition twice.
M.same = "remove one of them: to the server it is one index, whatever expire_after, hidden, weights and the like say"

-- What a key pattern may hold beside numbers.
M.TYPES = { text = true, hashed = true, ["2d"] = true, ["2dsphere"] = true }

local show, unsendable = common.show, common.unsendable
local kind, option = common.kind, common.copy

-- Checks ------------------------------------------------------------------------------------------------------------
-- Of options that go to the server, what is kept is JSON; false is what need not be said.

local function name(value)
  if value == "" then return nil, "a name", "is empty" end
  local wrong = unsendable(value)
  if wrong then return nil, "a name", wrong end
  if value == "*" then return nil, 'another name; "*" means all indexes to the server' end
  if value == "_id_" then return nil, "another name; _id_ is the index that is always there" end
  return value
end

-- Parts that begin with $ belong to references: author.$id.
local REFERENCE = { ["$id"] = true, ["$ref"] = true, ["$db"] = true }

--- A field's path as a key: dotted, "$**", "a.$**".
---@param value string
---@return string? path
---@return string? expected
---@return string? wrong
function M.check_path(value)
  local expected = 'the path of a field: "email", "address.city", "$**" for all below'
  if value == "" then return nil, expected, "is empty" end
  local wrong = unsendable(value)
  if wrong then return nil, expected, wrong end
  if value == "$**" then return value end
  local path = value:gsub("%.%$%*%*$", "", 1)
  if ("." .. path .. "."):find("..", 1, true) then return nil, expected, "has an empty part" end
  for part in path:gmatch "[^.]+" do
    if part:sub(1, 1) == "$" and not REFERENCE[part] then
      return nil, expected, ('has the part "%s"'):format(part)
    end
  end
  return value
end

--- What a key pattern holds for a field: whether it is descending, or else its type; or nil and what is wrong.
---@param value any                # a number, a text or a node of JSON
---@param any_type boolean?        # also of types that are not known here
---@return {descending: boolean?, opclass: string?}?
---@return string? expected
function M.check_direction(value, any_type)
  local number = math.type(value) and value or json.number(value)
  if number then
    if number ~= number or number == 0 or math.abs(number) == math.huge then return nil, "1, -1, or a type" end
    if number == 1 then return {} end
    if number == -1 then return { descending = true } end
    return { opclass = json.number_text(math.tointeger(number) or number) }
  end
  local infinite = any_type and json.infinite(value)
  if infinite then return { opclass = infinite } end
  local any = any_type and type(value) == "string" and value ~= "" and not value:find("\0", 1, true)
  if any or type(value) == "string" and M.TYPES[value] then return { opclass = value } end
  local nearest = type(value) == "string" and suggest.nearest(value, M.TYPES)
  return nil, '1, -1, "text", "hashed", "2dsphere" or "2d"' .. (nearest and ('; did you mean "%s"?'):format(nearest)
    or "")
end

--- The type of index that an option is for, by the server's words, which are a registry's.
M.BELONG = {
  weights = "text", default_language = "text", language_override = "text", bits = "2d", min = "2d", max = "2d",
  finestIndexedLevel = "2dsphere", coarsestIndexedLevel = "2dsphere", textIndexVersion = "text",
  ["2dsphereIndexVersion"] = "2dsphere",
}

-- An object, given as a table or as a text of JSON.
local function object(example, check)
  return function(value)
    local expected = "a table such as " .. example .. ", or a text of JSON"
    local node, wrong = json.declared(value)
    if node == nil then return nil, expected, wrong end
    if type(node) ~= "table" or node.tag ~= "object" then return nil, expected end
    if check then
      local field, wanted = check(node)
      if field then return nil, wanted or expected, field end
    end
    return json.text(node)
  end
end

local function boolean(value) return value and "true" end

local COLLATION = {
  locale = "string", caseLevel = "boolean", caseFirst = "string", strength = "number", numericOrdering = "boolean",
  alternate = "string", maxVariable = "string", normalization = "boolean", backwards = "boolean", version = "string",
}

local function wrong_collation(node)
  for _, pair in ipairs(node) do
    local wanted = COLLATION[pair[1]]
    if not wanted then
      local nearest = suggest.nearest(pair[1], COLLATION)
      return "has the field " .. show(pair[1]), nearest and ('"%s"'):format(nearest)
        or "fields such as locale, strength"
    end
    local right = wanted == "number" and json.number(pair[2]) ~= nil or type(pair[2]) == wanted
    if not right then return ("has a %s that is no %s"):format(pair[1], wanted) end
  end
  if json.field(node, "locale") == nil then return "has no locale" end
end

local function wrong_weights(node)
  if #node == 0 then return "is empty" end
  for _, pair in ipairs(node) do
    local weight = json.number(pair[2])
    if not (weight and weight >= 1 and weight < 100000) then
      return ("has a weight of %s that is no number from 1 to 99999"):format(show(pair[1]))
    end
  end
end

local function wrong_projection(node)
  if #node == 0 then return "is empty" end
end

local function expire_after(value)
  local seconds = math.tointeger(common.duration(value))
  if seconds and seconds <= 2147483647 then return tostring(seconds) end
  return nil, 'whole seconds as a number, or a text such as "30d", "12h"'
end

local function number(least, most, whole)
  return function(value)
    if value == value and value >= least and value <= most and (not whole or math.tointeger(value)) then
      return json.number_text(whole and math.tointeger(value) or value)
    end
    return nil, ("a %snumber from %g to %g"):format(whole and "whole " or "", least, most)
  end
end

local function json_text(value)
  local kept, expected, wrong = common.text(value)
  if not kept then return nil, expected, wrong end
  return json.quote(kept)
end

local function commit_quorum(value)
  local count = math.tointeger(value)
  if type(value) == "string" and value:find "%S" and not unsendable(value) then return value end
  if count and count >= 0 and count <= 50 then return tostring(count) end
  return nil, '"votingMembers", "majority", the name of a write concern, or a number of members'
end

-- Options -------------------------------------------------------------------------------------------------------------
-- `into`: "traits" is what makes two indexes of the same keys different ones to the server, "with" the rest;
-- `field` is the server's word.

local function trait(fields) fields.into = "traits" return fields end
local function with(fields) fields.into = "with" return fields end

local NAME = option(common.options.name)
NAME.check = name
NAME.description = "Its name. Without one it is made of the keys, as drivers do: email_1_at_-1. A name is no part of "
  .. "the definition: a live index of the same definition under another name is the same index."

local CONSTRAINT = 'a unique one is index { "a", unique = true }'

-- What only PostgreSQL has, and what does the same here.
local function foreign(options) return { product = "PostgreSQL", here = "MongoDB", options = options } end

M.kinds = {}

M.kinds.index = kind {
  name = "index", kind = "index", keys = "keys",
  description = "An index.",
  hints = common.hints("index", {
    on = 'the collection stands outside: on "users" { … }', table = 'the collection stands outside: on "users" { … }',
    collection = 'the collection stands outside: on "users" { … }',
    desc = 'the direction belongs to a key: desc "field"', order = 'the direction belongs to a key: desc "field"',
    filter = 'did you mean "partial"?', partialfilterexpression = 'did you mean "partial"?',
    expireafterseconds = 'did you mean "expire_after"?', ttl = 'did you mean "expire_after"?',
    expires = 'did you mean "expire_after"?', expire_after_seconds = 'did you mean "expire_after"?',
    wildcardprojection = 'did you mean "wildcard_projection"?', storageengine = 'did you mean "storage_engine"?',
    commitquorum = 'did you mean "commit_quorum"?', background = "others read and write during every build",
    key = 'keys stand first and without a name: index { "a", { b = -1 } }', type = "the type belongs to a key: "
      .. '{ location = "2dsphere" }', json = 'did you mean "spec"?',
  }),
  foreign = foreign {
    where = "write partial = { … }", sql = "write spec = [[{ … }]]", include = "add the fields to the keys",
    method = 'the type belongs to a key: { location = "2dsphere" }', with = false, tablespace = false,
    nulls_distinct = "Missing counts as null, and two nulls as equal: partial leaves documents out.",
    mode = "others read and write during every build", lock_timeout = "--lock-timeout is for a whole run here",
    maintenance_work_mem = "the server's maxIndexBuildMemoryUsageMegabytes decides", parallel_workers = false,
    partitions = false, duplicate_of = "no collection can have the same index twice",
  },
  list = {
    NAME,
    { name = "unique", type = "boolean", into = "fields",
      description = "Whether equal keys are refused. Default: false." },
    trait { name = "sparse", type = "boolean", check = boolean,
      description = "Leave out documents that have none of the fields. Default: false." },
    { name = "partial", type = "table|string", into = "fields", field = "where",
      check = object '{ status = "open" }',
      description = "The filter of a partial index: a table, or a text of JSON." },
    with { name = "expire_after", type = "number|string", field = "expireAfterSeconds", check = expire_after,
      description = 'When documents go, counted from the date in the field: seconds, or "30d", "12h" (TTL).' },
    trait { name = "collation", type = "table|string", check = object('{ locale = "en" }', wrong_collation),
      description = 'How texts compare: { locale = "en", strength = 2 }. Default: as the collection says.' },
    with { name = "hidden", type = "boolean", check = boolean,
      description = "Keep it up to date, but from being used by queries. Default: false." },
    trait { name = "wildcard_projection", type = "table|string", field = "wildcardProjection",
      check = object("{ name = 1 }", wrong_projection),
      description = 'Which fields the key "$**" is about: { name = 1 } or { notes = 0 }.' },
    with { name = "weights", type = "table|string", check = object("{ title = 10 }", wrong_weights),
      description = "Weights of the fields of a text index: { title = 10 }. Default: 1 each." },
    with { name = "default_language", type = "string", check = json_text,
      description = 'The language of a text index. Default: "english".' },
    with { name = "language_override", type = "string", check = json_text,
      description = 'The field that says a document\'s language. Default: "language".' },
    with { name = "bits", type = "number", check = number(1, 32, true),
      description = "Precision of a 2d index. Default: 26." },
    with { name = "min", type = "number", check = number(-1e308, 1e308),
      description = "Lower bound of a 2d index. Default: -180." },
    with { name = "max", type = "number", check = number(-1e308, 1e308),
      description = "Upper bound of a 2d index. Default: 180." },
    with { name = "finest_level", type = "number", field = "finestIndexedLevel", check = number(0, 30, true),
      description = "How small the cells of a 2dsphere index may be. Default: the server's." },
    with { name = "coarsest_level", type = "number", field = "coarsestIndexedLevel", check = number(0, 30, true),
      description = "How large the cells of a 2dsphere index may be. Default: the server's." },
    with { name = "prepare_unique", type = "boolean", field = "prepareUnique", check = boolean,
      description = "Refuse new duplicates, though it is not unique: others may be there already. Default: false." },
    with { name = "version", type = "number", field = "v", check = number(1, 2, true),
      description = "The format of the index. Default: any that is there, else the server's, 2." },
    with { name = "text_version", type = "number", field = "textIndexVersion", check = number(1, 3, true),
      description = "The format of a text index. Default: any that is there, else the server's, 3." },
    with { name = "sphere_version", type = "number", field = "2dsphereIndexVersion", check = number(1, 3, true),
      description = "The format of a 2dsphere index. Default: any that is there, else the server's, 3." },
    with { name = "storage_engine", type = "table|string", field = "storageEngine",
      check = object "{ wiredTiger = { … } }",
      description = 'Settings of the storage engine: { wiredTiger = { configString = "…" } }.' },
    common.options.description, common.options.critical,
    { name = "commit_quorum", type = "string|number", shared = true, check = commit_quorum,
      description = 'How many members must have built it: "votingMembers" (default), "majority", or a number. A build '
        .. "that is joined gets it, too." },
    common.options.allow,
    { name = "spec", type = "string", into = "spec", shared = true,
      description = "The whole specification as JSON, as createIndexes takes it, instead of keys and options: "
        .. '`{ "key": { … }, "name": …, … }`.' },
  },
}

--- What other words would declare.
M.unknown_kinds = {
  unique_constraint = CONSTRAINT, primary_key = "_id is the key of every collection; " .. CONSTRAINT,
  exclusion_constraint = false, foreign_key = false, constraint = CONSTRAINT,
}

--- What may stand in `spec`, and where it goes. The rest of what the server knows it ignores itself.
M.SPEC = {
  key = "key", name = "name", unique = "unique", partialFilterExpression = "where",
  sparse = "traits", collation = "traits", wildcardProjection = "traits",
  expireAfterSeconds = "with", hidden = "with", weights = "with", default_language = "with",
  language_override = "with", bits = "with", min = "with", max = "with", storageEngine = "with",
  finestIndexedLevel = "with", coarsestIndexedLevel = "with", prepareUnique = "with", v = "with",
  textIndexVersion = "with", ["2dsphereIndexVersion"] = "with",
  background = "ignored", ns = "ignored", dropDups = "ignored",
}

M.kinds.query = kind {
  name = "query",
  description = "A query that matters, for checks that want to know what the indexes are for.",
  list = {
    { name = "sort", type = "table", description = 'Its order: { "a", desc "b" } or { { a = 1 }, { b = -1 } }.' },
    table.unpack(common.query_options),
  },
}

-- What documents get, as the server takes it: fields are set.
local function update(value)
  local expected = 'fields as { enabled = true }, an update as { ["$inc"] = { n = 1 } }, or a pipeline as '
    .. '{ { ["$set"] = { … } } }; or a text of JSON'
  local node, wrong = json.declared(value)
  if node == nil then return nil, expected, wrong end
  if type(node) ~= "table" or node.tag == "number" then return nil, expected end
  if #node == 0 then return nil, expected, "is empty" end
  if node.tag == "array" then
    for _, stage in ipairs(node) do
      local operator = type(stage) == "table" and stage.tag == "object" and #stage == 1 and stage[1][1]
      if not (operator and operator:find "^%$") then return nil, expected, "holds what is no stage of a pipeline" end
    end
    return json.text(node)
  end
  local operators = 0
  for _, pair in ipairs(node) do
    if pair[1]:find "^%$" then operators = operators + 1 end
  end
  if operators > 0 and operators < #node then return nil, expected, "mixes fields with operators" end
  return json.text(operators > 0 and node or { tag = "object", { "$set", node } })
end

local filter = object '{ enabled = { ["$exists"] = false } }'

M.kinds.backfill = kind {
  name = "backfill",
  description = "A data backfill (docs/backfills.md).",
  hints = common.backfill_hints,
  foreign = foreign { params = "write the values into the filter and the update" },
  list = {
    { name = "where", type = "table|string", check = filter,
      description = "Which documents: a filter, or a text of JSON. Default: all." },
    { name = "set", type = "table|string", check = update,
      description = 'What they get: fields as { enabled = true }, an update as { ["$inc"] = { n = 1 } }, or a pipeline '
        .. 'as { { ["$set"] = … } }.' },
    { name = "verify", type = "table|string|boolean",
      check = function(value)
        if type(value) == "boolean" then return value end
        return filter(value)
      end,
      description = "A filter that has to find nothing at the end; true: `where` itself." },
    { name = "repeatable", type = "boolean",
      description = "Whether it may be done twice to a document without harm: where the server has no transactions, "
        .. "only such backfills are run." },
    table.unpack(common.backfill_options),
  },
}

M.key = kind {
  name = "key",
  description = "One key of an index in full.",
  hints = { order = "write desc = true", direction = "write desc = true" },
  foreign = foreign { nulls = false, opclass = "write type = …", collate = "collation is an option of the index",
    with = false },
  list = {
    { name = "desc", type = "boolean", field = "descending", description = "Descending." },
    { name = "type", type = "string|number", field = "direction", check = M.check_direction,
      description = '"text", "hashed", "2dsphere" or "2d".' },
  },
}

return M
