-- The registry language as data: every word, its options, what each may hold. The checks of the registry and the
-- messages about mistakes come from here; the tables of docs/registry.md say the same.
--
-- Here is what all databases share. What stands in `index { … }` and its like is the dialect's:
-- lunadex.postgres.schema, lunadex.mongodb.schema.

local core = require "lunadex.core"
local format = require "lunadex.format"
local suggest = require "lunadex.suggest"
local target = require "lunadex.target"

local M = {}

---@class lunadex.registry.Option
---@field name string
---@field type string              # Lua types it may have, separated by "|"
---@field description string
---@field into "fields"|"entry"    # where the value goes; the field is `field`, else `name`
---@field field string?
---@field shared boolean?          # also stands beside `sql`, `spec`
---@field check (fun(value: any, session: table): any, string?, string?, string?)?
---       the value as it is kept; or nil, what was expected, what is wrong if that is not the value as a whole, a hint
---@field types table<string, boolean>   # filled in below

---@class lunadex.registry.Kind
---@field name string              # the word in the registry
---@field kind string?             # lunadex.Fields.kind
---@field description string
---@field keys string?             # "keys": columns, expressions, key {…}; "columns": names only; nil: takes none
---@field options table<string, lunadex.registry.Option>
---@field list lunadex.registry.Option[]  # in the order of the documentation
---@field hints table<string, string>     # for words of other tools
---@field foreign {product: string, here: string, options: table<string, string|false>}?
---       what only the other kind of database has → what to do instead
---@field open boolean?            # takes any option

--- What a field of a document may hold and a Lua table cannot: the word `null`.
M.null = core.null

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
  return value == M.null and "null" or "a " .. type(value)
end

--- As suggest.hint, of what may be no text.
---@param value any
---@param candidates string[]|table<string, any>
---@return string?
function M.hint(value, candidates)
  return type(value) == "string" and suggest.hint(value, candidates) or nil
end

-- What no text on its way to the server may hold: it would be cut off there, or refused.
function M.unsendable(value)
  if value:find("\0", 1, true) then return "holds a zero byte" end
  if not utf8.len(value) then return "is not valid UTF-8" end
end

---@param value string
function M.text(value)
  if not value:find("%S") then return nil, "a text", "is empty" end
  local wrong = M.unsendable(value)
  if wrong then return nil, "a text", wrong end
  return value
end

function M.one_of(...)
  local words, set = { ... }, {}
  for _, word in ipairs(words) do set[word] = true end
  local expected = 'one of "' .. table.concat(words, '", "') .. '"'
  return function(value)
    if set[value] then return value end
    return nil, expected
  end, words
end

function M.duration(value)
  local expected = 'seconds as a number, or a text such as "300s", "5min", "1h"'
  if type(value) == "string" then
    value = format.parse_duration(value)
    if not value then return nil, expected end
  end
  if value ~= value or value < 0 or value == math.huge then return nil, expected end
  return value
end

function M.string_map(value_types)
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

-- Options -------------------------------------------------------------------------------------------------------------

function M.kind(definition)
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
function M.copy(template)
  local result = {}
  for key, value in pairs(template) do result[key] = value end
  return result
end

-- `allow`: a rule's name → why it does not count here.
local function reasons(value)
  local map, expected, message = M.string_map { string = true }(value)
  for name, reason in pairs(map or {}) do
    if not reason:find "%S" then return nil, "the reason", ("has %s = %s"):format(M.show(name), M.show(reason)) end
  end
  return map, expected, message
end

M.options = {
  name = { name = "name", type = "string", into = "fields", shared = true,
    description = "Its name. Without one the server chooses. A name is no part of the definition: a live index of the "
      .. "same definition under another name is the same index." },
  description = { name = "description", type = "string", shared = true, check = M.text,
    description = "What it is for; shown while it is built." },
  critical = { name = "critical", type = "boolean", shared = true,
    description = "Whether the deployment fails when it cannot be built. Default: false." },
  allow = { name = "allow", type = "table", shared = true, check = reasons,
    description = 'Rules that do not apply here, with the reason: { ["rule"] = "because …" }.' },
  duplicate_of = { name = "duplicate_of", type = "string", into = "fields", shared = true,
    description = "The name of another declaration that this one repeats on purpose." },
}

--- For words of other tools that mean the same everywhere.
---@param word string              # "index"
---@param more table<string, string>?
---@return table<string, string> hints
function M.hints(word, more)
  local columns_hint = ('columns stand first and without a name: %s { "a", "b" }'):format(word)
  local result = {
    columns = columns_hint, column = columns_hint, fields = columns_hint, keys = columns_hint, on = "the relation "
      .. 'stands outside: on "schema.table" { … }', table = 'the relation stands outside: on "schema.table" { … }',
    comment = 'did you mean "description"?', required = 'did you mean "critical"?',
    if_not_exists = "what is there already is never built again",
    desc = 'the direction belongs to a key: desc "column"', order = 'the direction belongs to a key: desc "column"',
  }
  for key, value in pairs(more or {}) do result[key] = value end
  return result
end

-- Words ---------------------------------------------------------------------------------------------------------------

-- What is made by `key { … }`, `desc "…"`.
M.KEY = { name = "key" }

-- What each word makes is known before it is known for which database: what may stand in it is the dialect's.
M.kinds = {
  index = { name = "index", kind = "index", entry = true },
  unique_constraint = { name = "unique_constraint", kind = "unique_constraint", entry = true },
  primary_key = { name = "primary_key", kind = "primary_key", entry = true },
  exclusion_constraint = { name = "exclusion_constraint", kind = "exclusion_constraint", entry = true },
  foreign_key = { name = "foreign_key", kind = "foreign_key", entry = true },
  constraint = { name = "constraint", entry = true },
  query = { name = "query" },
}

--- A query that matters; what stands first in it is the dialect's.
M.query_options = {
  { name = "name", type = "string", check = M.text, description = "A name for messages." },
  { name = "description", type = "string", check = M.text, description = "Where it is used." },
  { name = "expect_index", type = "boolean|string",
    description = "Whether an index has to serve it; or the name of that index." },
}

M.kinds.on = M.kind {
  name = "on", keys = "items",
  description = "What belongs to one relation.",
  hints = { name = 'the relation\'s name stands before the braces: on "schema.table" { … }',
    indexes = "indexes stand first and without a name", comment = 'did you mean "description"?' },
  list = {
    { name = "description", type = "string", check = M.text, description = "What the relation is." },
  },
}

M.kinds.database = M.kind {
  name = "database", keys = "items",
  description = "What belongs to one of several databases. The same name in several files is the same database.",
  hints = { target = 'did you mean "url"?', dsn = 'did you mean "url"?' },
  list = {
    { name = "url", type = "string", check = M.text,
      description = 'Where it is: `url = env "DATABASE_URL"` keeps passwords out of the registry.' },
    { name = "description", type = "string", check = M.text, description = "What it holds." },
  },
}

--- What a rule may be asked about: a change by what is to be done, or something by what it is.
M.subjects = { "create", "replace", "rename", "alter", "rebuild", "drop", "wait", "keep", "index", "overlap",
  "relation", "query", "plan" }
local is_subject = {}
for _, subject in ipairs(M.subjects) do is_subject[subject] = true end

--- A name or a list of them → a list; nil, what was expected, and what is wrong with it.
---@param value any
---@return string[]?
---@return string? expected
---@return string? wrong
---@return string? hint
function M.subject_list(value)
  local expected = 'some of "' .. table.concat(M.subjects, '", "') .. '"'
  if type(value) ~= "table" then value = { value } end
  local list = {}
  for key, subject in pairs(value) do
    if math.type(key) ~= "integer" then return nil, expected, "holds the key " .. M.show(key) end
    if not is_subject[subject] then
      return nil, expected, "holds " .. M.show(subject), M.hint(subject, M.subjects)
    end
    list[#list + 1] = subject
  end
  if #list == 0 then return nil, expected, "is empty" end
  return list
end

-- `only` of a rule: what is looked at before it is asked, by the core, and of which type that is.
M.narrowing = { kind = "string", method = "string", unique = "boolean", where = "boolean", keys = "number",
  type = "string", sharded = "boolean" }

local function narrowing(value)
  local expected = 'fields of an index, as in { kind = "index", unique = false, where = false, keys = 1 }'
  for field, wanted in pairs(value) do
    local type_of = M.narrowing[field]
    if not type_of then
      return nil, "kind, method, unique, where (whether there is a predicate), keys (how many), type (of its column), "
        .. "sharded (whether its collection is)",
        "holds " .. M.show(field), M.hint(field, M.narrowing)
    elseif type(wanted) ~= type_of or type_of == "number" and math.type(wanted) ~= "integer" then
      return nil, expected, ("has %s = %s"):format(field, M.show(wanted))
    end
  end
  if not next(value) then return nil, expected, "is empty" end
  return value
end

M.kinds.rule = M.kind {
  name = "rule",
  description = "A rule on changes, indexes, relations or queries (docs/rules.md); without `check`, one that is there.",
  hints = { when = 'did you mean "on"?', actions = 'did you mean "on"?', func = 'did you mean "check"?',
    enabled = 'off = "why" switches a rule off', disabled = 'off = "why" switches a rule off',
    values = 'did you mean "options"?' },
  list = {
    { name = "on", type = "table|string", check = M.subject_list,
      description = 'What it looks at: { "create", "drop" }, "index", "overlap", "relation", "query", "plan". '
        .. "Default: all changes." },
    { name = "only", type = "table", check = narrowing,
      description = 'About which indexes it is asked: { kind = "index", unique = false, where = false, keys = 1 }.' },
    { name = "check", type = "function", description = "function(change, context) → verdict, message." },
    { name = "options", type = "table",
      description = 'With `check`: the options it has, { days = { type = "number", default = 30 } }. Without: their '
        .. "values, { days = 90 }." },
    { name = "off", type = "string", check = M.text,
      description = "Why it is not asked here. Without `check`: switches a rule off that would be." },
    { name = "description", type = "string", check = M.text, description = "Why it is there." },
  },
}

-- Backfills -----------------------------------------------------------------------------------------------------------

local function whole(least, what, most)
  return function(value)
    local number = math.tointeger(value)
    if number and number >= least and number <= (most or number) then return number end
    return nil, what
  end
end

-- One name or several → a list.
local function names(value)
  local expected = 'a name, or a list of names: { "a", "b" }'
  if type(value) == "string" then value = { value } end
  local count = 0
  for key, name in next, value do
    if math.type(key) ~= "integer" then return nil, expected, "has the key " .. M.show(key) end
    if type(name) ~= "string" or name == "" then return nil, expected, "holds " .. M.show(name) end
    count = count + 1
  end
  if count == 0 or count ~= #value then return nil, expected, count == 0 and "is empty" or "has a hole" end
  return table.move(value, 1, #value, 1, {})
end
M.check_names = names

local function of_day(value)
  local hours, minutes = tostring(value):match "^(%d%d?):(%d%d)$"
  local minute = hours and hours * 60 + minutes
  return minute and minute <= 24 * 60 and tonumber(minutes) < 60 and math.tointeger(minute) or nil
end

local function window(value)
  local from, to = of_day(value[1]), of_day(value[2])
  if from and to and from ~= to and #value == 2 then return { from, to } end
  return nil, 'two times of day, { "22:00", "05:30" }, on the clock of this machine'
end

local function size(value)
  local bytes = type(value) == "string" and format.parse_bytes(value) or tonumber(value)
  if bytes and bytes > 0 and bytes < math.huge then return bytes end
  return nil, 'bytes, or a text such as "64MB"'
end

local function share(value)
  local percent = type(value) == "string" and tonumber(value:match "^([%d.]+)%s*%%$")
  local part = percent and percent / 100 or tonumber(value)
  if part and part > 0 and part < 1 then return part end
  return nil, 'a share, as "20%" or 0.2'
end

-- What holds a backfill up: each a limit, with what is kept of it.
local strains = {
  dead = { "string|number", share },
  oplog = { "string|number", M.duration },
  lag = { "string|number", M.duration },
  waiters = { "number", whole(0, "a number of sessions") },
  wal = { "string|number", size },
  window = { "table", window },
  check = { "function" },
}

local function throttle(value)
  local expected = "some of lag, waiters, wal, dead, oplog, window, check"
  local kept = {}
  for name, limit in next, value do
    local strain = strains[name]
    if not strain then return nil, expected, "holds the key " .. M.show(name), M.hint(name, strains) end
    local has = ("has %s = %s"):format(name, M.show(limit))
    if not strain[1]:find(type(limit), 1, true) then return nil, expected, has end
    local right, wanted = limit, nil
    if strain[2] then right, wanted = strain[2](limit) end
    if right == nil then return nil, ("%s = %s"):format(name, wanted), has end
    kept[name] = right
  end
  return kept
end

local function seconds(value)
  local kept, expected = M.duration(value)
  if kept and kept <= 0 then return nil, "more than no time" end
  return kept, expected
end

-- What stands in it is the dialect's, which also says of `where`, `set` and `verify` what they hold.
M.kinds.backfill = { name = "backfill" }

--- The options of a backfill that are the same everywhere.
M.backfill_options = {
  { name = "on", type = "string", description = "The relation.", check = M.text },
  { name = "transform", type = "function",
    description = "Instead of `set`: function(row) → what changes in it as { column = value }; nil: nothing." },
  { name = "columns", type = "string|table", check = names,
    description = "What `transform` is given of a row. Default: all." },
  { name = "after", type = "string|table", check = names,
    description = "Backfills that have to be finished, and indexes and keys that have to be there, before this one." },
  { name = "before", type = "string|table", check = names,
    description = "Backfills, indexes and keys that have to wait for the end of this one." },
  { name = "batch", type = "number", check = whole(1, "a number of rows"),
    description = "Rows of a batch, at most. Default: 7500." },
  { name = "target", type = "string|number", check = seconds,
    description = 'How long a batch is to take, as "200ms" or seconds: its size follows. Default: "500ms" on '
      .. 'PostgreSQL, "50ms" on MongoDB.' },
  { name = "jobs", type = "number", check = whole(1, "1 to 64 batches", 64),
    description = "Batches at a time, unless --jobs says otherwise. Default: 1." },
  { name = "throttle", type = "table", check = throttle,
    description = "When it holds: { lag = \"10s\", waiters = 5, wal = \"64MB\", dead = \"20%\" (PostgreSQL), "
      .. "oplog = \"12h\" (MongoDB), window = { \"22:00\", \"05:30\" }, check = function() … end }." },
  { name = "errors", type = "number", check = whole(0, "a number of rows"),
    description = "Rows that may fail: they are recorded and left as they are. One more ends the run. Default: 0." },
  { name = "description", type = "string", description = "Why.", check = M.text },
}

--- For words of other tools.
M.backfill_hints = {
  table = 'did you mean "on"?', collection = 'did you mean "on"?', filter = 'did you mean "where"?',
  update = 'did you mean "set"?', batch_size = 'did you mean "batch"?', limit = 'did you mean "batch"?',
  workers = 'did you mean "jobs"?', parallel = 'did you mean "jobs"?', sleep = 'did you mean "throttle"?',
  max_errors = 'did you mean "errors"?', comment = 'did you mean "description"?', map = 'did you mean "transform"?',
}

return M
