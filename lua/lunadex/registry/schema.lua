-- The registry language as data: every constructor, its options, what each may hold. The checks of the registry and the
-- messages about mistakes come from here; the tables of docs/registry.md say the same.

local core = require "lunadex.core"
local format = require "lunadex.format"
local target = require "lunadex.target"

local M = {}

---@class lunadex.registry.Option
---@field name string
---@field type string              # Lua types it may have, separated by "|"
---@field description string
---@field into "fields"|"entry"    # where the value goes; the field is `field`, else `name`
---@field field string?
---@field shared boolean?          # also stands beside `sql`
---@field backend string?          # only for that database, not for PostgreSQL
---@field check (fun(value: any, session: table): any, string?, string?)?
---       the value as it is kept; or nil, what was expected, and what is wrong if that is not the value as a whole
---@field types table<string, boolean>   # filled in below

---@class lunadex.registry.Kind
---@field name string              # the word in the registry
---@field kind string?             # lunadex.Fields.kind
---@field description string
---@field keys string?             # "keys": columns, expressions, key {…}; "columns": names only; nil: takes none
---@field options table<string, lunadex.registry.Option>
---@field list lunadex.registry.Option[]  # in the order of the documentation
---@field hints table<string, string>     # for words of other tools

M.MAX_NAME = 63 -- NAMEDATALEN - 1: the server cuts longer ones off, and then finds two of the same name
M.MAX_KEYS = 32 -- INDEX_MAX_KEYS

-- Checks ------------------------------------------------------------------------------------------------------------

--- A value as it is shown in a message: short, on one line.
---@param value any
---@return string
function M.show(value)
  if type(value) == "string" then
    local text = target.redact(value):gsub("%c", " ")
    if #text > 40 then text = text:sub(1, 37):gsub("[\x80-\xBF]*$", "") .. "…" end
    return '"' .. text .. '"'
  elseif type(value) == "number" or type(value) == "boolean" or value == nil then
    return tostring(value)
  end
  return "a " .. type(value)
end

-- What no text on its way to the server may hold: it would be cut off there, or refused.
local function unsendable(value)
  if value:find("\0", 1, true) then return "holds a zero byte" end
  if not utf8.len(value) then return "is not valid UTF-8" end
end

local function name(value)
  if value == "" then return nil, "a name", "is empty" end
  local wrong = unsendable(value)
  if wrong then return nil, "a name", wrong end
  if #value > M.MAX_NAME then
    return nil, ("at most %d bytes; the server would cut it off"):format(M.MAX_NAME), ("has %d bytes"):format(#value)
  end
  return value
end

local function text(value)
  if not value:find("%S") then return nil, "a text", "is empty" end
  local wrong = unsendable(value)
  if wrong then return nil, "a text", wrong end
  return value
end

local function one_of(...)
  local words, set = { ... }, {}
  for _, word in ipairs(words) do set[word] = true end
  local expected = 'one of "' .. table.concat(words, '", "') .. '"'
  return function(value)
    if set[value] then return value end
    return nil, expected
  end, words
end

local function qualified(value)
  local wrong = unsendable(value)
  if wrong then return nil, "a name, or schema.name", wrong end
  if select(2, core.split_name(value)) then return value end
  return nil, "a name, or schema.name"
end

-- The operating system's collations have a dot in their names (en_US.utf8), which is not to be taken for a schema's.
local function collation(value)
  if value:find("^%l%l%l?_%u%u%.[%w-]+$") then return '"' .. value .. '"' end
  return qualified(value)
end

local function expression(value, session)
  if not value:find("%S") then return nil, "an SQL expression", "is empty" end
  local known = session.expressions[value]
  if known then return known end
  local wrong = unsendable(value)
  if wrong then return nil, "an SQL expression", wrong end
  local kept, err = core.check_expression(value)
  if not kept then return nil, "an SQL expression", "has a mistake: " .. err.message end
  session.expressions[value] = kept
  return kept
end

--- A list of names without holes.
local function columns(value)
  local count = 0
  for key, column in next, value do
    if math.type(key) ~= "integer" then
      return nil, 'a list of columns, such as { "a", "b" }', "has the key " .. M.show(key)
    end
    if type(column) ~= "string" then
      return nil, 'a list of columns, such as { "a", "b" }', "holds " .. M.show(column)
    end
    local ok, expected, wrong = name(column)
    if not ok then return nil, expected, ("holds the column %s, which %s"):format(M.show(column), wrong) end
    count = count + 1
  end
  if count == 0 then return nil, 'a list of columns, such as { "a", "b" }', "is empty" end
  if count ~= #value then return nil, 'a list of columns, such as { "a", "b" }', "has a hole" end
  return table.move(value, 1, count, 1, {})
end

local function one_or_more_columns(value)
  return columns(type(value) == "string" and { value } or value)
end

local function duration(value)
  local expected = 'seconds as a number, or a text such as "300s", "5min", "1h"'
  if type(value) == "string" then
    value = format.parse_duration(value)
    if not value then return nil, expected end
  end
  if value ~= value or value < 0 or value == math.huge then return nil, expected end
  return value
end

local function memory(value)
  if value:match("^%d+%s*[kMGT]?B$") then return (value:gsub("%s", "")) end
  return nil, 'a size such as "512MB" or "2GB"'
end

local function workers(value)
  local number = math.tointeger(value)
  if number and number >= 0 and number <= 1024 then return number end
  return nil, "a whole number from 0 to 1024"
end

-- Storage parameters, as `{ fillfactor = 70 }` or, where the order is to be kept, `{ { "fillfactor", 70 }, … }`.
local function storage(value)
  local expected = "a table such as { fillfactor = 70 }"
  local result = {}
  local function add(key, item)
    if type(key) ~= "string" or not key:find("^[%a_][%w_.]*$") then
      return nil, expected, "has the parameter " .. M.show(key)
    end
    local kept
    if type(item) == "boolean" then
      kept = item and "on" or "off"
    elseif type(item) == "number" then
      kept = tostring(math.tointeger(item) or item)
    elseif type(item) == "string" and item ~= "" then
      local wrong = unsendable(item)
      if wrong then return nil, "a text", ("has a value for %s that %s"):format(key, wrong) end
      kept = item
    else
      return nil, "a number, a text or a boolean", ("has %s for %s"):format(M.show(item), key)
    end
    result[#result + 1] = { key, kept }
    return true
  end
  local ordered = #value > 0
  if not ordered then
    local names = {}
    for key in pairs(value) do names[#names + 1] = key end
    table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
    for _, key in ipairs(names) do
      local ok, wanted, wrong = add(key, value[key])
      if not ok then return nil, wanted, wrong end
    end
  else
    for key, pair in pairs(value) do
      if math.type(key) ~= "integer" or type(pair) ~= "table" or #pair ~= 2 then
        return nil, 'a table such as { fillfactor = 70 } or { { "fillfactor", 70 } }'
      end
    end
    for _, pair in ipairs(value) do
      local ok, wanted, wrong = add(pair[1], pair[2])
      if not ok then return nil, wanted, wrong end
    end
  end
  local seen = {}
  for _, pair in ipairs(result) do
    if seen[pair[1]] then return nil, expected, "has the parameter " .. M.show(pair[1]) .. " twice" end
    seen[pair[1]] = true
  end
  if #result == 0 then return nil, expected, "is empty" end
  return result
end

local function opclass(value)
  if type(value) == "string" then return qualified(value) end
  local expected = 'a name, or { "gist_trgm_ops", siglen = 32 }'
  local base, options = value[1], {}
  if type(base) ~= "string" then return nil, expected end
  local kept, wanted, wrong = qualified(base)
  if not kept then return nil, wanted, wrong end
  -- Where their order is to be kept, parameters follow one by one: { "int4_bloom_ops", { "a", 1 }, { "b", 2 } }.
  for key, item in pairs(value) do
    if math.type(key) ~= "integer" then options[key] = item elseif key > 1 then options[key - 1] = item end
  end
  if next(options) == nil then return kept end
  options, wanted, wrong = storage(options)
  if not options then return nil, wanted, wrong end
  return { kept, options }
end

local function operator(value)
  if value:find("^[%+%-%*/<>=~!@#%%%^&|`%?]+$") and not value:find("--", 1, true) and not value:find("/*", 1, true) then
    return value
  end
  if value:find('^OPERATOR%([%w_."$]+%.[%+%-%*/<>=~!@#%%%^&|`%?]+%)$') then return value end
  return nil, 'an operator such as "=" or "&&", or "OPERATOR(schema.&&)"'
end

local PARTITION = { name = "string", keys = "table", with = "table", tablespace = "string" }

-- What the index of each partition is called, and in what it differs from that of the whole: all that the server allows
-- to differ. Its keys are finished where declarations are.
local function partitions(value)
  local expected = 'a table such as { ["public.child"] = "name" }'
  local result = {}
  for relation, own in pairs(value) do
    local schema, base
    if type(relation) == "string" then schema, base = core.split_name(relation) end
    if not base then return nil, expected, "has the partition " .. M.show(relation) end
    if type(own) == "string" then own = { name = own } end
    if type(own) ~= "table" then return nil, expected, ("has %s for %s"):format(M.show(own), relation) end
    local kept = {}
    for option, item in pairs(own) do
      local ok, wanted, wrong
      if PARTITION[option] ~= type(item) then
        return nil, "name, keys, with, tablespace", ("has the option %s = %s for %s"):format(tostring(option),
          M.show(item), relation)
      elseif option == "with" then
        ok, wanted, wrong = item, nil, nil
        if next(item) ~= nil then ok, wanted, wrong = storage(item) end
      elseif type(item) == "string" then
        ok, wanted, wrong = name(item)
        ok = ok and item
      else
        ok = item
      end
      if not ok then return nil, wanted, ("has the option %s for %s, which %s"):format(option, relation, wrong) end
      kept[option] = ok
    end
    result[core.quote_name(schema, base)] = kept
  end
  return result
end

local function string_map(value_types)
  return function(value)
    for key, item in pairs(value) do
      if type(key) ~= "string" or not value_types[type(item)] then
        return nil, 'a table such as { ["name"] = "text" }', ("has %s = %s"):format(M.show(key), M.show(item))
      end
    end
    local result = {}
    for key, item in pairs(value) do result[key] = item end
    return result
  end
end

local ACTIONS = {
  ["no action"] = "no action", restrict = "restrict", cascade = "cascade",
  ["set null"] = "set null", ["set default"] = "set default",
}
local function referential_action(value)
  local action = ACTIONS[value:lower():gsub("[_%s]+", " ")]
  if action then return action end
  return nil, 'one of "no action", "restrict", "cascade", "set null", "set default"'
end

local function references(value)
  local expected = 'the other relation, as "schema.table" or { "schema.table", "column", … }'
  local relation = type(value) == "table" and value[1] or value
  if type(relation) ~= "string" then return nil, expected end
  local unfit = unsendable(relation)
  if unfit then return nil, expected, unfit end
  local schema, base = core.split_name(relation)
  if not base then return nil, expected, ("names no relation with %s"):format(M.show(relation)) end
  local result = { schema = schema, relation = base }
  if type(value) == "table" and next(value, 1) ~= nil then
    local rest, wanted, wrong = columns(table.move(value, 2, #value, 1, {}))
    for key in pairs(value) do
      if math.type(key) ~= "integer" then rest, wanted, wrong = nil, expected, "has the key " .. M.show(key) end
    end
    if not rest then return nil, wanted, wrong end
    result.columns = rest
  end
  return result
end

local function negate(value) return not value end

-- Options -------------------------------------------------------------------------------------------------------------

local function kind(definition)
  definition.options, definition.hints = {}, definition.hints or {}
  for _, option in ipairs(definition.list) do
    option.types = {}
    for one in option.type:gmatch("%a+") do option.types[one] = true end
    option.field = option.field or option.name
    option.into = option.into or "entry"
    definition.options[option.name] = option
  end
  return definition
end

-- The same option in several kinds: each gets its own copy.
local function option(template)
  local result = {}
  for key, value in pairs(template) do result[key] = value end
  return result
end

local NAME = { name = "name", type = "string", into = "fields", shared = true, check = name,
  description = "Its name. Without one the server chooses. A name is no part of the definition: a live index of the "
    .. "same definition under another name is the same index." }
local DESCRIPTION = { name = "description", type = "string", shared = true, check = text,
  description = "What it is for; shown while it is built." }
local CRITICAL = { name = "critical", type = "boolean", shared = true,
  description = "Whether the deployment fails when it cannot be built. Default: false." }
local MODE = { name = "mode", type = "string", shared = true, check = one_of("auto", "concurrent", "blocking"),
  description = '"auto" (default): concurrently, except on a table that is empty or tiny; "concurrent"; "blocking".' }
local LOCK_TIMEOUT = { name = "lock_timeout", type = "number|string", shared = true, check = duration,
  description = 'How long to wait for the lock on the table, in seconds or as "5min", before trying again later.' }
local ALLOW = { name = "allow", type = "table", shared = true, check = string_map { string = true },
  description = 'Rules that do not apply here, with the reason: { ["rule"] = "because …" }.' }
local DUPLICATE_OF = { name = "duplicate_of", type = "string", into = "fields", shared = true, check = name,
  description = "The name of another declaration that this one repeats on purpose." }
local MEMORY = { name = "maintenance_work_mem", type = "string", shared = true, check = memory,
  description = 'Memory for this build, such as "2GB".' }
local WORKERS = { name = "parallel_workers", type = "number", shared = true, check = workers,
  description = "Parallel workers for this build (max_parallel_maintenance_workers)." }
local INCLUDE = { name = "include", type = "table", into = "fields", check = columns,
  description = "Columns that are stored in the index but are no keys." }
local TABLESPACE = { name = "tablespace", type = "string", into = "fields", check = name,
  description = "The tablespace to build it in." }
local WITH = { name = "with", type = "table", into = "fields", check = storage,
  description = 'Storage parameters: { fillfactor = 70 }, or in a given order { { "fillfactor", 70 }, … }.' }
local NULLS_DISTINCT = { name = "nulls_distinct", type = "boolean", into = "fields", field = "nulls_not_distinct",
  check = negate,
  description = "false: two nulls count as equal (NULLS NOT DISTINCT, PostgreSQL 15). Default: true." }
local WHERE = { name = "where", type = "string", into = "fields", check = expression,
  description = "The predicate of a partial index, an SQL expression." }
local METHOD = { name = "method", type = "string", into = "fields", check = name,
  description = 'The access method: "btree" (default), "hash", "gin", "gist", "spgist", "brin", or an extension\'s.' }
local DEFERRABLE = { name = "deferrable", type = "boolean", into = "fields",
  description = "Whether a transaction may put off the check." }
local INITIALLY_DEFERRED = { name = "initially_deferred", type = "boolean", into = "fields",
  description = "Check at the end of the transaction; implies `deferrable`." }
local WITHOUT_OVERLAPS = { name = "without_overlaps", type = "boolean", into = "fields",
  description = "The last column is a range and may not overlap for equal others (PostgreSQL 18)." }
local SQL = { name = "sql", type = "string", into = "sql", shared = true }

local function sql(description)
  local result = option(SQL)
  result.description = description
  return result
end

local function mongodb(option_name, description)
  return { name = option_name, type = "any", backend = "MongoDB", description = description }
end

local COLUMN_HINT = 'columns stand first and without a name: %s { "a", "b" }'
local function peers(word, more)
  local columns_hint = COLUMN_HINT:format(word)
  local result = {
    columns = columns_hint, column = columns_hint, fields = columns_hint, keys = columns_hint, on = "the relation "
      .. 'stands outside: on "schema.table" { … }', table = 'the relation stands outside: on "schema.table" { … }',
    using = "did you mean \"method\"?", type = "did you mean \"method\"?", filter = "did you mean \"where\"?",
    predicate = "did you mean \"where\"?", condition = "did you mean \"where\"?", comment = "did you mean "
      .. '"description"?', including = "did you mean \"include\"?", covering = "did you mean \"include\"?",
    concurrently = 'indexes are built concurrently anyway; mode = "blocking" changes that',
    concurrent = 'indexes are built concurrently anyway; mode = "blocking" changes that',
    if_not_exists = "what is there already is never built again", required = 'did you mean "critical"?',
    timeout = "did you mean \"lock_timeout\"?",
    desc = 'the direction belongs to a key: desc "column"', order = 'the direction belongs to a key: desc "column"',
    opclass = 'it belongs to a key: key { "column", opclass = … }',
    collate = 'it belongs to a key: key { "column", collate = … }',
    nulls = 'it belongs to a key: key { "column", nulls = "first" }',
  }
  for key, value in pairs(more or {}) do result[key] = value end
  return result
end

M.kinds = {}

M.kinds.index = kind {
  name = "index", kind = "index", keys = "keys",
  description = "An index.",
  hints = peers("index", { nulls_not_distinct = "write nulls_distinct = false" }),
  list = {
    option(NAME),
    { name = "unique", type = "boolean", into = "fields",
      description = "Whether equal keys are refused. Default: false." },
    option(NULLS_DISTINCT), option(METHOD), option(WHERE), option(INCLUDE), option(WITH), option(TABLESPACE),
    option(DESCRIPTION), option(CRITICAL), option(MODE), option(LOCK_TIMEOUT), option(MEMORY), option(WORKERS),
    { name = "partitions", type = "table", check = partitions,
      description = 'Names of the indexes on the partitions of a partitioned table: { ["public.child"] = "name" }; or '
        .. 'what else differs there: { name = "name", keys = { … }, with = { … }, tablespace = "name" }.' },
    option(ALLOW), option(DUPLICATE_OF),
    sql("The whole definition as `CREATE INDEX …` instead of keys and options; CONCURRENTLY and IF NOT EXISTS in it "
      .. "change nothing."),
    mongodb("expire_after", "Seconds after which a document goes (TTL)."),
    mongodb("partial", "The filter of a partial index."),
    mongodb("sparse", "Leave out documents without the field."),
    mongodb("hidden", "Keep it from the query planner."),
    mongodb("wildcard_projection", "Fields of a wildcard index."),
    mongodb("weights", "Weights of a text index."),
    mongodb("default_language", "Language of a text index."),
    mongodb("language_override", "The field that names a document's language."),
    mongodb("bits", "Precision of a 2d index."),
    mongodb("min", "Lower bound of a 2d index."),
    mongodb("max", "Upper bound of a 2d index."),
  },
}
M.kinds.unique_constraint = kind {
  name = "unique_constraint", kind = "unique_constraint", keys = "columns",
  description = "A unique constraint: its index is built first, concurrently, then the constraint is made of it.",
  hints = peers("unique_constraint", { where = "a constraint cannot be partial: use index { …, unique = true }",
    unique = "it is unique anyway" }),
  list = {
    option(NAME), option(INCLUDE), option(NULLS_DISTINCT), option(WITHOUT_OVERLAPS), option(DEFERRABLE),
    option(INITIALLY_DEFERRED), option(WITH), option(TABLESPACE), option(DESCRIPTION), option(CRITICAL), option(MODE),
    option(LOCK_TIMEOUT), option(MEMORY), option(WORKERS), option(ALLOW), option(DUPLICATE_OF),
  },
}

M.kinds.primary_key = kind {
  name = "primary_key", kind = "primary_key", keys = "columns",
  description = "The primary key.",
  hints = peers("primary_key", { where = "a constraint cannot be partial", unique = "it is unique anyway",
    nulls_distinct = "a primary key holds no nulls" }),
  list = {
    option(NAME), option(INCLUDE), option(WITHOUT_OVERLAPS), option(DEFERRABLE), option(INITIALLY_DEFERRED),
    option(WITH), option(TABLESPACE), option(DESCRIPTION), option(CRITICAL), option(MODE), option(LOCK_TIMEOUT),
    option(MEMORY), option(WORKERS), option(ALLOW), option(DUPLICATE_OF),
  },
}

M.kinds.exclusion_constraint = kind {
  name = "exclusion_constraint", kind = "exclusion_constraint", keys = "keys",
  description = "An exclusion constraint: no two rows for which all the keys' operators say true. PostgreSQL cannot "
    .. "build one concurrently.",
  hints = peers("exclusion_constraint"),
  list = {
    option(NAME), option(METHOD), option(WHERE), option(INCLUDE), option(DEFERRABLE), option(INITIALLY_DEFERRED),
    option(WITH), option(TABLESPACE), option(DESCRIPTION), option(CRITICAL), option(LOCK_TIMEOUT), option(MEMORY),
    option(WORKERS), option(ALLOW), option(DUPLICATE_OF),
  },
}

M.kinds.foreign_key = kind {
  name = "foreign_key", kind = "foreign_key", keys = "columns",
  description = "A foreign key: added without checking the rows that are there, then validated.",
  hints = peers("foreign_key", { to = 'did you mean "references"?', refers = 'did you mean "references"?',
    ondelete = 'did you mean "on_delete"?', onupdate = 'did you mean "on_update"?' }),
  list = {
    option(NAME),
    { name = "references", type = "string|table", into = "fields", check = references,
      description = 'The other relation: "schema.table" (its primary key), or { "schema.table", "column", … }.' },
    { name = "on_delete", type = "string", into = "fields", check = referential_action,
      description = '"no action" (default), "restrict", "cascade", "set null", "set default".' },
    { name = "on_delete_columns", type = "string|table", into = "fields",
      check = one_or_more_columns,
      description = 'The columns that "set null" and "set default" set. Default: all.' },
    { name = "on_update", type = "string", into = "fields", check = referential_action,
      description = "As on_delete." },
    { name = "match", type = "string", into = "fields", check = one_of("simple", "full"),
      description = '"simple" (default) or "full".' },
    { name = "period", type = "boolean", into = "fields", field = "without_overlaps",
      description = "The last column is a PERIOD (PostgreSQL 18)." },
    option(DEFERRABLE), option(INITIALLY_DEFERRED),
    { name = "not_enforced", type = "boolean", into = "fields",
      description = "Declared, but not checked (PostgreSQL 18)." },
    option(DESCRIPTION), option(CRITICAL), option(LOCK_TIMEOUT), option(ALLOW), option(DUPLICATE_OF),
  },
}

M.kinds.constraint = kind {
  name = "constraint", kind = nil, keys = nil,
  description = "A key as SQL.",
  list = {
    sql "`ALTER TABLE … ADD CONSTRAINT …` of a unique constraint, primary key, foreign key or exclusion constraint.",
    option(NAME), option(DESCRIPTION), option(CRITICAL), option(MODE), option(LOCK_TIMEOUT), option(MEMORY),
    option(WORKERS), option(ALLOW), option(DUPLICATE_OF),
  },
}

M.kinds.query = kind {
  name = "query", keys = "query",
  description = "A query that matters, for checks that want to know what the indexes are for.",
  list = {
    { name = "name", type = "string", check = text, description = "A name for messages." },
    { name = "description", type = "string", check = text, description = "Where it is used." },
    { name = "expect_index", type = "boolean|string",
      description = "Whether an index has to serve it; or the name of that index." },
  },
}

M.kinds.on = kind {
  name = "on", keys = "items",
  description = "What belongs to one relation.",
  hints = { name = 'the relation\'s name stands before the braces: on "schema.table" { … }',
    indexes = "indexes stand first and without a name", comment = 'did you mean "description"?' },
  list = {
    { name = "description", type = "string", check = text, description = "What the relation is." },
  },
}

M.kinds.database = kind {
  name = "database", keys = "items",
  description = "What belongs to one of several databases. The same name in several files is the same database.",
  hints = { target = 'did you mean "url"?', dsn = 'did you mean "url"?' },
  list = {
    { name = "url", type = "string", check = text,
      description = 'Where it is: `url = env "DATABASE_URL"` keeps passwords out of the registry.' },
    { name = "description", type = "string", check = text, description = "What it holds." },
  },
}

local actions = { "create", "replace", "rename", "alter", "rebuild", "drop", "wait", "keep" }
local is_action = {}
for _, action in ipairs(actions) do is_action[action] = true end

M.kinds.rule = kind {
  name = "rule",
  description = "A rule on changes. Read and kept, but not yet run.",
  list = {
    { name = "on", type = "table|string", description = 'The actions it looks at: { "create", "drop" }. Default: all.',
      check = function(value)
        for _, action in ipairs(type(value) == "table" and value or { value }) do
          if not is_action[action] then
            return nil, 'some of "' .. table.concat(actions, '", "') .. '"', "holds " .. M.show(action)
          end
        end
        return type(value) == "table" and value or { value }
      end },
    { name = "check", type = "function", description = "function(change, context) → verdict, message." },
    { name = "description", type = "string", check = text, description = "Why it is there." },
  },
}

M.kinds.backfill = kind {
  name = "backfill", open = true,
  description = "A data backfill. Read and kept, but not yet run.",
  list = {
    { name = "on", type = "string", description = "The relation.", check = name },
    { name = "where", type = "string|table", description = "Which rows lack it." },
    { name = "set", type = "string|table", description = "What they get." },
    { name = "description", type = "string", check = text, description = "Why." },
  },
}

M.key = kind {
  name = "key",
  description = "One key of an index in full.",
  hints = { order = "write desc = true", operator = 'did you mean "with"?', collation = 'did you mean "collate"?',
    ops = 'did you mean "opclass"?', direction = "write desc = true" },
  list = {
    { name = "desc", type = "boolean", field = "descending", description = "Descending." },
    { name = "nulls", type = "string", check = one_of("first", "last"),
      description = '"first" or "last". Default: last, for a descending key first.' },
    { name = "opclass", type = "string|table", check = opclass,
      description = 'The operator class: "text_pattern_ops", or with parameters { "gist_trgm_ops", siglen = 32 }.' },
    { name = "collate", type = "string", field = "collation", check = collation, description = 'The collation: "C".' },
    { name = "with", type = "string", field = "operator", check = operator,
      description = "The operator of an exclusion constraint's key." },
  },
}

M.expression = expression
M.check_name = name
M.unsendable = unsendable

return M
