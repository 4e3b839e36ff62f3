-- From what was written to what is meant: checks declarations against the schema and puts them into the core's set.
--
-- A registry of 20,000 indexes is read on every run, and nearly all of it is plain: that goes straight into the set
-- (core/lua/plain.c). Only what is not is looked at here, and nothing is formatted unless there is something wrong.

local core = require "lunadex.core"
local sandbox = require "lunadex.sandbox"
local schema = require "lunadex.registry.schema"
local suggest = require "lunadex.suggest"

local M = {}

local HOLE = sandbox.HOLE
local KEY = schema.key
local MAX_NAME, MAX_KEYS = schema.MAX_NAME, schema.MAX_KEYS
local next, type, math_type = next, type, math.type
local show = schema.show

---@class lunadex.registry.Checker
---@field problems lunadex.registry.Problems
---@field expressions table<string, string>  # known to be right: as written → as kept
---@field keys table<table, lunadex.Key>      # likewise
local Checker = {}
Checker.__index = Checker

---@param problems lunadex.registry.Problems
---@return lunadex.registry.Checker
function M.new(problems)
  local keys, expressions = {}, {}
  return setmetatable({
    problems = problems,
    keys = keys,
    expressions = expressions,
    known = { keys = keys, expressions = expressions }, -- what the core has to know of it
    databases = {},    -- in order, and by name
    rules = {},
    backfills = {},
    repeating = {},    -- declarations with duplicate_of, and their targets
  }, Checker)
end

function Checker:problem(made, relation, message, expected, hint)
  self.problems:add { file = made.file, line = made.line, relation = relation, message = message,
    expected = expected, hint = hint }
end

-- Options -------------------------------------------------------------------------------------------------------------

local ARTICLES = { string = "a text", number = "a number", boolean = "true or false", table = "a table",
  ["function"] = "a function" }

local function types_of(option)
  local words = {}
  for one in option.type:gmatch("%a+") do words[#words + 1] = ARTICLES[one] end
  return table.concat(words, " or ")
end

local function names_of(kind)
  local names = {}
  for _, option in ipairs(kind.list) do
    if not option.backend then names[#names + 1] = option.name end
  end
  table.sort(names)
  return names
end

function Checker:unknown_option(made, relation, kind, name)
  if type(name) ~= "string" then
    self:problem(made, relation, ("%s holds the key %s"):format(kind.name, show(name)))
    return
  end
  local names = names_of(kind)
  local hint = kind.hints[name:lower()]
  if not hint then
    local nearest = suggest.nearest(name, names)
    if not nearest then
      -- Perhaps a slip of another tool's word, or right in another place.
      nearest = suggest.nearest(name, kind.hints)
      hint = nearest and kind.hints[nearest]
    else
      hint = ('did you mean "%s"?'):format(nearest)
    end
  end
  self:problem(made, relation, ("unknown option %s of %s"):format(show(name), kind.name),
    "one of " .. table.concat(names, ", "), hint)
end

--- Checks one option. The value to keep, or nil after saying what is wrong.
function Checker:option(made, relation, kind, option, value)
  if value == HOLE then return nil end
  if option.backend then
    self:problem(made, relation, ("%s is an option of %s; PostgreSQL has no such thing"):format(option.name,
      option.backend), nil, "Databases of " .. option.backend .. " are not supported yet.")
    return nil
  end
  if not option.types[type(value)] then
    self:problem(made, relation, ("option %s of %s is %s"):format(option.name, kind.name, show(value)),
      types_of(option))
    return nil
  end
  if not option.check then return value end
  local kept, expected, wrong = option.check(value, self)
  if kept == nil then
    self:problem(made, relation, wrong and ("option %s of %s %s"):format(option.name, kind.name, wrong)
      or ("option %s of %s is %s"):format(option.name, kind.name, show(value)), expected)
  end
  return kept
end

--- The options of a kind without keys, into `into`. True if `key` is none of its business.
function Checker:options(made, relation, kind, raw, into, skip_integers)
  for name, value in next, raw do
    local option = kind.options[name]
    if option then
      into[option.field] = self:option(made, relation, kind, option, value)
    elseif math_type(name) == "integer" and skip_integers then -- looked at elsewhere
      goto continue
    elseif kind.open then
      into[name] = value
    else
      self:unknown_option(made, relation, kind, name)
    end
    ::continue::
  end
  return into
end

-- Keys ----------------------------------------------------------------------------------------------------------------

local KEY_EXPECTED = 'a column\'s name, asc "…", desc "…", expr "…" or key { … }'

--- What was written as a key, as a fresh table that the caller may change; nil after saying what is wrong.
function Checker:key(made, relation, written)
  if written == HOLE then return nil end
  if type(written) == "string" then
    local kept, expected, wrong = schema.check_name(written)
    if not kept then
      self:problem(made, relation, ("the column %s of %s %s"):format(show(written), made.kind.name, wrong), expected)
      return nil
    end
    return { column = written }
  elseif type(written) ~= "table" or written.kind ~= KEY then
    self:problem(made, relation, ("%s has %s for a key"):format(made.kind.name, show(written)), KEY_EXPECTED,
      type(written) == "table" and not written.kind and 'a key in full is written key { "column", … }' or nil)
    return nil
  end

  local how, base = written.how, written.base
  if how == "expr" then
    if type(base) ~= "string" then
      self:problem(made, relation, "expr is followed by " .. show(base), 'expr "sql"')
      return nil
    end
    local kept, expected, wrong = schema.expression(base, self)
    if not kept then
      self:problem(made, relation, ("the expression %s %s"):format(show(base), wrong), expected)
      return nil
    end
    return { expression = kept }
  elseif how ~= "key" then
    local key = self:key(made, relation, base)
    if key then key.descending = how == "desc" or nil end
    return key
  end

  local key = self:key(made, relation, base[1])
  local integers = 0
  for name in next, base do
    if math_type(name) == "integer" then integers = integers + 1 end
  end
  if integers > 1 then
    self:problem(made, relation, "key { … } holds more than one column", 'one key { "column", … } for each')
    return nil
  end
  local options = self:options(made, relation, KEY, base, {}, true)
  if not key then return nil end
  if options.descending ~= nil then key.descending = options.descending or nil end
  key.nulls = options.nulls or key.nulls
  key.collation = options.collation or key.collation
  key.operator = options.operator or key.operator
  if type(options.opclass) == "table" then
    key.opclass, key.opclass_options = options.opclass[1], options.opclass[2]
  elseif options.opclass then
    key.opclass, key.opclass_options = options.opclass, nil
  end
  return key
end

--- The key to keep: with defaults left out.
function Checker:finished_key(made, relation, written)
  local known = self.keys[written]
  if known then return known end
  local key = self:key(made, relation, written)
  if not key then return nil end
  if key.nulls == (key.descending and "first" or "last") then key.nulls = nil end
  if type(written) == "table" then self.keys[written] = key end
  return key
end

-- Definitions ---------------------------------------------------------------------------------------------------------

local function place(made)
  return made.name and ("%s (%s:%d)"):format(made.name, made.file, made.line)
    or ("the one at %s:%d"):format(made.file, made.line)
end

--- `twin`: the number of the latest declaration that is the same definition on the same relation.
function Checker:look_at_twins(made, target, twin)
  local first
  while twin do
    local other = target.entries[twin]
    if made.duplicate_of and made.duplicate_of == other.name
      or other.duplicate_of and other.duplicate_of == made.name then
      return
    end
    first = other
    twin = target.set:twin(twin)
  end
  self:problem(made, target.display, ("the same definition as %s"):format(place(first)), nil,
    first.name and ('remove one of them, or write duplicate_of = "%s" if both are meant'):format(first.name)
      or 'remove one of them; or give the first a name and write duplicate_of = "that name" if both are meant')
end

function Checker:look_for_name(made, target, kind)
  local name = made.name
  -- An index's name is its schema's, a foreign key's only its relation's.
  local names = kind == "foreign_key" and target.foreign_keys or target.names
  local other = names[name]
  if other then
    self:problem(made, target.display, ("the name %s is taken by %s"):format(show(name), place(other)), nil,
      names == target.names and "Names of indexes and keys are shared by all tables of a schema." or nil)
  else
    names[name] = made
  end
end

local UNORDERED = { hash = true, gin = true, gist = true, spgist = true, brin = true }
local ONE_KEY = { hash = true, spgist = true }
local NO_INCLUDE = { hash = true, gin = true, brin = true }

--- What the parts of a definition say about each other. Only called when there is more than plain keys.
function Checker:check_whole(made, relation, fields)
  local word, method = made.kind.name, fields.method
  if fields.kind == "index" then
    if fields.unique and UNORDERED[method] then
      self:problem(made, relation, ("an index of the method %s cannot be unique"):format(show(method)),
        'the method "btree"')
    end
    if fields.nulls_not_distinct and not fields.unique then
      self:problem(made, relation, "nulls_distinct = false in an index that is not unique", nil,
        "Add unique = true, or leave it out.")
    end
  end
  if UNORDERED[method] then
    for _, key in ipairs(fields.keys) do
      if key.descending or key.nulls then
        self:problem(made, relation, ("an index of the method %s has no order: no desc, no nulls"):format(show(method)))
        break
      end
    end
  end
  if ONE_KEY[method] and #fields.keys > 1 then
    self:problem(made, relation, ("an index of the method %s has one key only"):format(show(method)))
  end
  if NO_INCLUDE[method] and fields.include then
    self:problem(made, relation, ("an index of the method %s cannot include columns"):format(show(method)))
  end
  if fields.initially_deferred then
    if fields.deferrable == false then
      self:problem(made, relation, ("%s is initially_deferred but deferrable = false"):format(word))
    end
    fields.deferrable = true -- as in SQL
  end
  local exclusion = fields.kind == "exclusion_constraint"
  for _, key in ipairs(fields.keys) do
    if exclusion and not key.operator then
      self:problem(made, relation, ("the key %s of exclusion_constraint has no operator"):format(
        show(key.column or key.expression)), ('key { "%s", with = "=" }'):format(key.column or "column"))
      break
    elseif key.operator and not exclusion then
      self:problem(made, relation, ("a key of %s has an operator (with = %s)"):format(word, show(key.operator)), nil,
        "Operators belong to exclusion_constraint.")
      break
    end
  end
  if fields.kind == "foreign_key" then
    local to = fields.references
    if not to then
      self:problem(made, relation, "foreign_key does not say what it references", 'references = "schema.table"')
    elseif to.columns and #to.columns ~= #fields.keys then
      self:problem(made, relation, ("foreign_key has %d columns but references %d"):format(#fields.keys, #to.columns))
    end
    if fields.on_delete_columns and fields.on_delete ~= "set null" and fields.on_delete ~= "set default" then
      self:problem(made, relation, "on_delete_columns without on_delete", 'on_delete = "set null" or "set default"')
    end
  end
end

--- Finishes the keys that partitions have of their own.
function Checker:partitions(made, relation, fields)
  if fields.kind ~= "index" then
    self:problem(made, relation, "partitions belong to index")
    return
  end
  for partition, own in pairs(made.partitions) do
    local written = own.keys
    if written then
      own.keys = {}
      for i, key in ipairs(written) do own.keys[i] = self:finished_key(made, relation, key) end
      if #own.keys ~= #fields.keys then
        self:problem(made, relation, ("the partition %s has %d keys, the index %d"):format(partition, #own.keys,
          #fields.keys))
      end
    end
  end
end

--- One declaration given as SQL. The fields, or nil.
function Checker:parse(made, relation, target)
  local raw, kind = made.raw, made.kind
  local sql = self:option(made, relation, kind, kind.options.sql, raw.sql)
  for name in next, raw do
    local option = kind.options[name]
    if not option then
      if math_type(name) == "integer" then
        self:problem(made, relation, ("%s has both keys and sql"):format(kind.name), "one of them")
      else
        self:unknown_option(made, relation, kind, name)
      end
    elseif not option.shared and not option.backend and option.into == "fields" then
      self:problem(made, relation, ("option %s of %s beside sql"):format(name, kind.name), nil,
        "The statement says everything about the definition.")
    end
  end
  if not sql then return nil end
  local fields, err = core.parse_sql(sql)
  if not fields then
    self:problem(made, relation, err.message, nil, err.hint)
    return nil
  end
  if (fields.kind == "index") ~= (kind.name == "index") then
    self:problem(made, relation, kind.name == "index" and "the statement adds a constraint; use constraint { sql = … }"
      or "the statement creates an index; use index { sql = … }")
    return nil
  end
  if target then
    if fields.relation ~= target.name or (fields.schema and target.schema and fields.schema ~= target.schema) then
      self:problem(made, relation, ("the statement is about %s"):format(
        M.display(fields.schema, fields.relation)), relation)
      return nil
    end
    fields.schema = fields.schema or target.schema
  end
  if raw.name ~= nil then
    local name = self:option(made, relation, kind, kind.options.name, raw.name)
    if name and fields.name and fields.name ~= name then
      self:problem(made, relation, ("the statement names it %s, the option name %s"):format(show(fields.name),
        show(name)), "one of them")
    end
    fields.name = name or fields.name
  end
  return fields
end

--- A declaration as SQL with what may stand beside it: its fields, or nil after saying what is wrong.
function Checker:fields_of_sql(made, target)
  local kind, raw, relation = made.kind, made.raw, target.display
  if raw.sql == nil then
    self:problem(made, relation, "constraint without sql", "constraint { sql = [[ALTER TABLE … ADD CONSTRAINT …]] }")
    return nil
  elseif not kind.options.sql then
    self:problem(made, relation, ("%s cannot be given as sql"):format(kind.name), nil,
      "write constraint { sql = [[ALTER TABLE … ADD CONSTRAINT …]] }")
    return nil
  end
  local fields = self:parse(made, relation, target)
  if not fields then return nil end
  for name, value in next, raw do
    local option = kind.options[name]
    if option and option.shared and name ~= "sql" and name ~= "name" then
      local kept = self:option(made, relation, kind, option, value)
      if option.into == "fields" then fields[option.field] = kept else made[option.field] = kept end
    end
  end
  return fields
end

--- A declaration in words: its fields, though perhaps with something wrong that was told.
function Checker:fields_of_words(made, target)
  local kind, raw, relation = made.kind, made.raw, target.display
  local count, positions, keys = #raw, 0, {}
  local fields = { kind = kind.kind, schema = target.schema, relation = target.name, keys = keys }
  for i = 1, count do
    keys[#keys + 1] = raw[i] ~= nil and self:finished_key(made, relation, raw[i]) or nil
  end
  for name, value in next, raw do
    local option = kind.options[name]
    if option then
      local kept = self:option(made, relation, kind, option, value)
      if option.into == "fields" then fields[option.field] = kept else made[option.field] = kept end
    elseif math_type(name) == "integer" then
      positions = positions + 1
    else
      self:unknown_option(made, relation, kind, name)
    end
  end
  if positions ~= count then
    self:problem(made, relation, ("%s has a hole (nil) among its keys"):format(kind.name), KEY_EXPECTED)
  elseif count == 0 then
    self:problem(made, relation, ("%s has no keys"):format(kind.name), KEY_EXPECTED)
  elseif count > MAX_KEYS then
    self:problem(made, relation, ("%s has %d keys"):format(kind.name, count), ("at most %d"):format(MAX_KEYS))
  end
  if kind.keys == "columns" then
    for _, key in ipairs(keys) do
      if not key.column or next(key, next(key)) then
        self:problem(made, relation, ("%s has a key that is more than a column's name"):format(kind.name),
          "columns' names only", kind.name ~= "foreign_key" and "Use index { …, unique = true }." or nil)
        break
      end
    end
  end
  return fields, #keys > 0 and #keys == count
end

--- Puts a declaration into the set by way of all checks. Its ordinal and twin, or nothing after saying what is wrong.
function Checker:add(made, target)
  local raw, relation = made.raw, target.display
  local flaws = self.problems.count
  local fields, whole
  if raw.sql ~= nil or made.kind.name == "constraint" then
    fields = self:fields_of_sql(made, target)
    whole = fields ~= nil
  else
    fields, whole = self:fields_of_words(made, target)
  end
  if not fields then return end
  made.name, made.duplicate_of = fields.name, fields.duplicate_of
  if made.name then self:look_for_name(made, target, fields.kind) end
  if made.duplicate_of then self.repeating[#self.repeating + 1] = { made = made, target = target } end
  if whole and made.partitions then self:partitions(made, relation, fields) end
  if whole and self.problems.count == flaws then self:check_whole(made, relation, fields) end
  if self.problems.count ~= flaws then return end -- what it equals cannot be said
  local ordinal, _, twin = target.set:add(fields)
  return ordinal, twin
end

-- An index-like declaration on a relation becomes an entry.
function Checker:entry(made, target)
  if type(made.relation) == "string" then -- the same one in two places: each its own
    made = { kind = made.kind, raw = made.raw, file = made.file, line = made.line, critical = false, ordinal = false,
      relation = false }
    self.copies[#self.copies + 1] = made
  end
  made.relation = target.display
  local kind, ordinal, name, twin = made.kind.kind, nil, nil, nil
  if kind then ordinal, name, twin = target.set:add_plain(made.raw, kind, target.schema, target.name, self.known) end
  if not ordinal then
    ordinal, twin = self:add(made, target)
    if not ordinal then return end
  elseif name then
    made.name = name
    self:look_for_name(made, target)
  end
  made.ordinal = ordinal
  target.entries[ordinal] = setmetatable(made, target.class)
  if twin then self:look_at_twins(made, target, twin) end
end

-- Blocks --------------------------------------------------------------------------------------------------------------

--- `public.orders`, `public."Odd.Name"`: the registry's way to write a name.
---@param schema_name string?
---@param name string
---@return string
function M.display(schema_name, name)
  local function part(text)
    if text == "" or text:find('[."]') then return '"' .. text:gsub('"', '""') .. '"' end
    return text
  end
  return schema_name and part(schema_name) .. "." .. part(name) or part(name)
end

-- An entry's fields are in the set; a table is made of them when somebody asks for it.
local function entry_class(set)
  return {
    __index = function(entry, field)
      if field ~= "fields" then return nil end
      local fields = set:fields(entry.ordinal)
      entry.fields = fields
      return fields
    end,
  }
end

function Checker:database(name)
  local database = self.databases[name]
  if not database then
    local set = core.declarations()
    database = { name = name, set = set, class = entry_class(set), entries = {}, relations = {}, targets = {},
      names = {} }
    self.databases[#self.databases + 1] = database
    self.databases[name] = database
  end
  return database
end

--- What is known about a relation while its declarations are checked; nil after saying that it is no name.
function Checker:target(database, title, made)
  local target = database.targets[title]
  if target then return target end
  local schema_name, name = core.split_name(title)
  local wrong
  local unfit = schema.unsendable(title)
  if unfit then
    wrong = unfit
  elseif not name or name == "" or schema_name == "" then
    wrong = "is not the name of a relation"
  elseif #name > MAX_NAME or #(schema_name or "") > MAX_NAME then
    wrong = ("is longer than %d bytes"):format(MAX_NAME)
  end
  if wrong then
    self:problem(made, nil, ("%s %s"):format(show(title), wrong), '"table" or "schema.table"',
      'a part that holds a dot is quoted: \'public."odd.name"\'')
    return nil
  end
  -- The same relation may be spelt with quotes or without.
  local identity = (schema_name or "") .. "\0" .. name
  target = database.targets[identity]
  if not target then
    local names = database.names[schema_name or ""] or {}
    database.names[schema_name or ""] = names
    target = { schema = schema_name, name = name, display = title, names = names, foreign_keys = {},
      set = database.set, class = database.class, entries = database.entries }
    database.targets[identity] = target
    database.relations[title] = { queries = {}, file = made.file, line = made.line }
    target.relation = database.relations[title]
  end
  database.targets[title] = target
  return target
end

--- Calls `each` for what stands in a block, whatever lists it is nested in: functions of a registry give lists.
--- nil and false are the results of `condition and index { … }`.
function Checker:items(made, relation, raw, each, depth)
  local highest = #raw
  for key in next, raw do
    if math_type(key) == "integer" and key > highest then highest = key end
  end
  for i = 1, highest do
    local item = raw[i]
    if not item or item == HOLE then -- luacheck: ignore 542
    elseif type(item) == "table" and not item.kind and (depth or 0) < 20 and #item > 0 then
      self:items(made, relation, item, each, (depth or 0) + 1)
    else
      each(item)
    end
  end
end

local kinds = schema.kinds
local ENTRY = {
  [kinds.index] = true, [kinds.unique_constraint] = true, [kinds.primary_key] = true,
  [kinds.exclusion_constraint] = true, [kinds.foreign_key] = true, [kinds.constraint] = true,
}

local function described(item)
  if type(item) == "table" and type(item.kind) == "table" and item.kind.name then
    return item.kind.name .. (item.title and " " .. show(item.title) or "")
  elseif type(item) == "function" then
    return "something without its { … }"
  end
  return show(item)
end

function Checker:query(made, relation)
  local raw = made.raw
  local result = self:options(made, relation, kinds.query, raw, { file = made.file, line = made.line }, true)
  if type(raw[1]) ~= "string" or #raw ~= 1 then
    self:problem(made, relation, "query does not hold one statement", 'query { "SELECT …", … }')
  end
  result.sql = raw[1]
  return result
end

function Checker:block(made, database)
  local target = self:target(database, made.title, made)
  if not target then -- the mistakes inside are still worth telling
    target = { name = "?", display = made.title, names = {}, foreign_keys = {}, set = core.declarations(),
      entries = {}, relation = { queries = {} } }
  end
  local relation = target.display
  local options = self:options(made, relation, kinds.on, made.raw, {}, true)
  target.relation.description = target.relation.description or options.description
  local entries = #target.entries
  self:items(made, relation, made.raw, function(item)
    local kind = type(item) == "table" and item.kind
    if ENTRY[kind] then
      self:entry(item, target)
    elseif kind == kinds.query then
      local queries = target.relation.queries
      queries[#queries + 1] = self:query(item, relation)
    elseif kind == KEY then
      self:problem(made, relation, "on holds a key", "index { … }", "put it into index { … }")
    else
      self:problem(made, relation, "on holds " .. described(item),
        "index, unique_constraint, primary_key, foreign_key, exclusion_constraint, constraint or query",
        type(item) == "string" and "columns stand inside index { … }" or nil)
    end
  end)
  target.relation.bare = #target.entries == entries and target.relation.bare ~= false
end

function Checker:rule(made, database)
  local rule = self:options(made, nil, kinds.rule, made.raw, { name = made.title, file = made.file, line = made.line,
    database = database })
  if not rule.check then
    self:problem(made, nil, ("rule %s has no check"):format(show(made.title)),
      "check = function(change, context) … end")
  end
  self.rules[#self.rules + 1] = rule
end

function Checker:backfill(made, database)
  local backfill = self:options(made, nil, kinds.backfill, made.raw, { name = made.title, file = made.file,
    line = made.line, database = database })
  for _, name in ipairs { "on", "set" } do
    if backfill[name] == nil then
      self:problem(made, nil, ("backfill %s has no %s"):format(show(made.title), name))
    end
  end
  self.backfills[#self.backfills + 1] = backfill
end

function Checker:database_block(made)
  local database = self:database(made.title)
  local options = self:options(made, nil, kinds.database, made.raw, {}, true)
  database.description = database.description or options.description
  if options.url then
    if database.url and database.url ~= options.url then
      -- Not shown: there may be a password in it.
      self:problem(made, nil, ("database %s has another url than in %s"):format(show(made.title), database.url_at))
    elseif not database.url then
      database.url, database.url_at = options.url, ("%s:%d"):format(made.file, made.line)
    end
  end
  self:items(made, nil, made.raw, function(item)
    local kind = type(item) == "table" and item.kind
    if kind == kinds.on then
      self:block(item, database)
    elseif kind == kinds.rule then
      self:rule(item, made.title)
    elseif kind == kinds.backfill then
      self:backfill(item, made.title)
    elseif ENTRY[kind] and item.raw.sql ~= nil then
      self:top_level(item, database)
    else
      self:problem(made, nil, ("database %s holds %s"):format(show(made.title), described(item)),
        'on "schema.table" { … }, rule or backfill')
    end
  end)
end

--- `index { sql = … }` outside of any `on`: the statement says which relation.
function Checker:top_level(made, database)
  if made.raw.sql == nil then
    self:problem(made, nil, made.kind.name .. " outside of on",
      ('on "schema.table" { %s { … } }'):format(made.kind.name))
    return
  elseif made.kind == kinds.query or not made.kind.options.sql then
    self:problem(made, nil, made.kind.name .. " cannot be given as sql", "constraint { sql = … } or index { sql = … }")
    return
  end
  local ok = type(made.raw.sql) == "string" and core.parse_sql(made.raw.sql)
  if not ok then -- once more, for the message
    made.relation = true
    self:parse(made, nil)
    return
  end
  local target = self:target(database, M.display(ok.schema, ok.relation), made)
  if target then self:entry(made, target) end
end

local function claim_item(item)
  local kind = item.kind
  if ENTRY[kind] or kind == kinds.query then
    item.relation = true
  elseif type(kind) == "table" and kinds[kind.name] == kind then
    item.claimed = true
  end
end

-- A pass of its own over every declaration, so it goes the short way where a block holds no lists.
local function claim(self, made)
  if type(made.raw) ~= "table" then return end
  for _, item in next, made.raw do
    if type(item) == "table" then
      if item.kind then
        claim_item(item)
      else
        self:items(made, nil, { item }, function(inner)
          if type(inner) == "table" then claim_item(inner) end
        end)
      end
    end
  end
end

--- Takes in what one file declared.
---@param list table[]             # lunadex.registry.Session.made
function Checker:file(list)
  self.copies = {}
  -- First what stands inside something else, so that the rest can be taken in the order of the file.
  for _, made in ipairs(list) do
    local kind = made.kind
    if kind == kinds.on or kind == kinds.database then claim(self, made) end
  end
  for _, made in ipairs(list) do
    local kind = made.kind
    if kind == kinds.database then
      if made.claimed then
        self:problem(made, nil, ("database %s stands inside another block"):format(show(made.title)))
      else
        self:database_block(made)
      end
    elseif made.claimed then -- luacheck: ignore 542
    elseif kind == kinds.on then
      self:block(made, self:database("default"))
    elseif kind == kinds.rule then
      self:rule(made)
    elseif kind == kinds.backfill then
      self:backfill(made)
    elseif not made.relation then
      self:top_level(made, self:database("default"))
    end
  end
  -- From here on they are entries.
  for _, made in ipairs(list) do made.raw, made.kind = nil, nil end
  for _, made in ipairs(self.copies) do made.raw, made.kind = nil, nil end
end

--- What can only be said when all files are read.
function Checker:finish()
  for _, each in ipairs(self.repeating) do
    local made, target = each.made, each.target
    local name = made.duplicate_of
    local right = name ~= made.name and (target.names[name] or target.foreign_keys[name])
    if not right and not self.problems:at(made.file, made.line) then
      local hint = suggest.hint(name, target.names)
      self:problem(made, target.display, ("duplicate_of names %s, which is no other declaration"):format(show(name)),
        "the name of the declaration that is repeated", hint)
    end
  end
end

--- What it all came to.
---@return table                   # databases, rules, backfills
function Checker:registry()
  if #self.databases == 0 then self:database "default" end
  local databases = {}
  for i, database in ipairs(self.databases) do
    databases[i] = { name = database.name, url = database.url, description = database.description,
      set = database.set, entries = database.entries, relations = database.relations }
  end
  return { databases = databases, rules = self.rules, backfills = self.backfills }
end

return M
