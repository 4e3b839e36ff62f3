-- What may be declared of a PostgreSQL database, as data: see lunadex.registry.schema.

local common = require "lunadex.registry.schema"
local core = require "lunadex.core"

local M = {}

M.MAX_NAME = 63 -- NAMEDATALEN - 1: the server cuts longer ones off, and then finds two of the same name
M.MAX_KEYS = 32 -- INDEX_MAX_KEYS

local show, unsendable, one_of = common.show, common.unsendable, common.one_of
local kind, option = common.kind, common.copy

-- Checks ------------------------------------------------------------------------------------------------------------

local function name(value)
  if value == "" then return nil, "a name", "is empty" end
  local wrong = unsendable(value)
  if wrong then return nil, "a name", wrong end
  if #value > M.MAX_NAME then
    return nil, ("at most %d bytes; the server would cut it off"):format(M.MAX_NAME), ("has %d bytes"):format(#value)
  end
  return value
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

local function expression(value, known)
  if not value:find("%S") then return nil, "an SQL expression", "is empty" end
  local right = known.expressions[value]
  if right then return right end
  local wrong = unsendable(value)
  if wrong then return nil, "an SQL expression", wrong end
  local kept, err = core.check_expression(value)
  if not kept then return nil, "an SQL expression", "has a mistake: " .. err.message end
  known.expressions[value] = kept
  return kept
end

--- A list of names without holes.
local function columns(value)
  local count = 0
  for key, column in next, value do
    if math.type(key) ~= "integer" then
      return nil, 'a list of columns, such as { "a", "b" }', "has the key " .. show(key)
    end
    if type(column) ~= "string" then
      return nil, 'a list of columns, such as { "a", "b" }', "holds " .. show(column)
    end
    local ok, expected, wrong = name(column)
    if not ok then return nil, expected, ("holds the column %s, which %s"):format(show(column), wrong) end
    count = count + 1
  end
  if count == 0 then return nil, 'a list of columns, such as { "a", "b" }', "is empty" end
  if count ~= #value then return nil, 'a list of columns, such as { "a", "b" }', "has a hole" end
  return table.move(value, 1, count, 1, {})
end

local function one_or_more_columns(value)
  return columns(type(value) == "string" and { value } or value)
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
      return nil, expected, "has the parameter " .. show(key)
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
      return nil, "a number, a text or a boolean", ("has %s for %s"):format(show(item), key)
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
    if seen[pair[1]] then return nil, expected, "has the parameter " .. show(pair[1]) .. " twice" end
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
    if not base then return nil, expected, "has the partition " .. show(relation) end
    if type(own) == "string" then own = { name = own } end
    if type(own) ~= "table" then return nil, expected, ("has %s for %s"):format(show(own), relation) end
    local kept = {}
    for part, item in pairs(own) do
      local ok, wanted, wrong
      if PARTITION[part] ~= type(item) then
        return nil, "name, keys, with, tablespace", ("has the option %s = %s for %s"):format(tostring(part),
          show(item), relation)
      elseif part == "with" then
        ok, wanted, wrong = item, nil, nil
        if next(item) ~= nil then ok, wanted, wrong = storage(item) end
      elseif type(item) == "string" then
        ok, wanted, wrong = name(item)
        ok = ok and item
      else
        ok = item
      end
      if not ok then return nil, wanted, ("has the option %s for %s, which %s"):format(part, relation, wrong) end
      kept[part] = ok
    end
    result[core.quote_name(schema, base)] = kept
  end
  return result
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
  if not base then return nil, expected, ("names no relation with %s"):format(show(relation)) end
  local result = { schema = schema, relation = base }
  if type(value) == "table" and next(value, 1) ~= nil then
    local rest, wanted, wrong = columns(table.move(value, 2, #value, 1, {}))
    for key in pairs(value) do
      if math.type(key) ~= "integer" then rest, wanted, wrong = nil, expected, "has the key " .. show(key) end
    end
    if not rest then return nil, wanted, wrong end
    result.columns = rest
  end
  return result
end

local function negate(value) return not value end

-- Options -------------------------------------------------------------------------------------------------------------

local NAME, DUPLICATE_OF = option(common.options.name), option(common.options.duplicate_of)
NAME.check, DUPLICATE_OF.check = name, name
local DESCRIPTION, CRITICAL, ALLOW = common.options.description, common.options.critical, common.options.allow
local MODE = { name = "mode", type = "string", shared = true, check = one_of("auto", "concurrent", "blocking"),
  description = '"auto" (default): concurrently, except on a table that is empty or tiny; "concurrent"; "blocking".' }
local LOCK_TIMEOUT = { name = "lock_timeout", type = "number|string", shared = true, check = common.duration,
  description = 'How long to wait for the lock on the table, in seconds or as "5min", before trying again later.' }
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
local WHERE = { name = "where", type = "string", into = "fields",
  check = function(value, checker) return expression(value, checker.known.postgres) end,
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

local function peers(word, more)
  local result = common.hints(word, {
    using = "did you mean \"method\"?", type = "did you mean \"method\"?", filter = "did you mean \"where\"?",
    predicate = "did you mean \"where\"?", condition = "did you mean \"where\"?",
    including = "did you mean \"include\"?", covering = "did you mean \"include\"?",
    concurrently = 'indexes are built concurrently anyway; mode = "blocking" changes that',
    concurrent = 'indexes are built concurrently anyway; mode = "blocking" changes that',
    timeout = "did you mean \"lock_timeout\"?",
    opclass = 'it belongs to a key: key { "column", opclass = … }',
    collate = 'it belongs to a key: key { "column", collate = … }',
    nulls = 'it belongs to a key: key { "column", nulls = "first" }',
  })
  for key, value in pairs(more or {}) do result[key] = value end
  return result
end

-- What only MongoDB has, and what does the same here.
local function foreign(options) return { product = "MongoDB", here = "PostgreSQL", options = options } end

M.kinds = {}

M.kinds.index = kind {
  name = "index", kind = "index", keys = "keys",
  foreign = foreign {
    partial = 'write where = "…"', sparse = 'write where = "column IS NOT NULL"',
    spec = "write sql = [[CREATE INDEX …]]",
    collation = 'it belongs to a key: key { "column", collate = … }', expire_after = false, hidden = false,
    wildcard_projection = false, weights = false, default_language = false, language_override = false, bits = false,
    min = false, max = false, storage_engine = false, commit_quorum = false,
  },
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
  name = "query",
  description = "A query that matters, for checks that want to know what the indexes are for.",
  foreign = foreign { sort = "write ORDER BY into the statement" },
  list = common.query_options,
}

-- SQL that only the server can judge: it is asked before a backfill begins. It will stand in a statement among other
-- things, so it has to be one whole.
local function sql_text(value)
  if not value:find("%S") then return nil, "SQL", "is empty" end
  local wrong = unsendable(value)
  if wrong then return nil, "SQL", wrong end
  local parameters, err = core.parameters(value)
  if not parameters then return nil, "SQL", "has a mistake: " .. err.message end
  return value
end

local function parameters(value)
  local expected = "a list of texts, numbers and booleans, or null: { 5, \"a\" }"
  local highest = 0
  for key, item in next, value do
    if math.type(key) ~= "integer" or key < 1 then return nil, expected, "has the key " .. show(key) end
    if type(item) == "table" or type(item) == "function" then return nil, expected, "holds " .. show(item) end
    highest = math.max(highest, key)
  end
  if highest ~= #value then return nil, expected, "has a hole" end
  return table.move(value, 1, highest, 1, {})
end

M.kinds.backfill = kind {
  name = "backfill",
  description = "A data backfill (docs/backfills.md).",
  hints = common.backfill_hints,
  list = {
    { name = "where", type = "string", check = sql_text, description = "Which rows, an SQL condition. Default: all." },
    { name = "set", type = "string", check = sql_text, description = "What they get: \"a = b + 1, c = $1\"." },
    { name = "params", type = "table", check = parameters,
      description = "What `$1`, `$2` … stand for in `where`, `set` and `verify`: each in one of them at least." },
    { name = "verify", type = "string|boolean",
      check = function(value)
        if type(value) == "string" then return sql_text((value:gsub("[;%s]+$", ""))) end
        return value
      end,
      description = "A query of one number, SELECT count(*) of what is wrong, which has to be 0 at the end; true: "
        .. "counts the rows that `where` still finds." },
    table.unpack(common.backfill_options),
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

return M
