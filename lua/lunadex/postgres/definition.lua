-- A declaration's braces, or its SQL, as a definition; and what its parts say about each other.

local common = require "lunadex.registry.schema"
local core = require "lunadex.core"
local keys = require "lunadex.postgres.keys"
local schema = require "lunadex.postgres.schema"
local statement = require "lunadex.postgres.backfill.statement"

local M = {}

local MAX_KEYS = schema.MAX_KEYS
local next, math_type = next, math.type
local show = common.show

local UNORDERED = { hash = true, gin = true, gist = true, spgist = true, brin = true }
local ONE_KEY = { hash = true, spgist = true }
local NO_INCLUDE = { hash = true, gin = true, brin = true }

--- What the parts of a definition say about each other. Only called when there is more than plain keys.
---@param checker lunadex.registry.Checker
---@param made table
---@param relation string
---@param fields lunadex.Fields
function M.check(checker, made, relation, fields)
  local word, method = made.kind.name, fields.method
  if fields.kind == "index" then
    if fields.unique and UNORDERED[method] then
      checker:problem(made, relation, ("an index of the method %s cannot be unique"):format(show(method)),
        'the method "btree"')
    end
    if fields.nulls_not_distinct and not fields.unique then
      checker:problem(made, relation, "nulls_distinct = false in an index that is not unique", nil,
        "Add unique = true, or leave it out.")
    end
  end
  if UNORDERED[method] then
    for _, key in ipairs(fields.keys) do
      if key.descending or key.nulls then
        checker:problem(made, relation, ("an index of the method %s has no order: no desc, no nulls"):format(
          show(method)))
        break
      end
    end
  end
  if ONE_KEY[method] and #fields.keys > 1 then
    checker:problem(made, relation, ("an index of the method %s has one key only"):format(show(method)))
  end
  if NO_INCLUDE[method] and fields.include then
    checker:problem(made, relation, ("an index of the method %s cannot include columns"):format(show(method)))
  end
  if fields.initially_deferred then
    if fields.deferrable == false then
      checker:problem(made, relation, ("%s is initially_deferred but deferrable = false"):format(word))
    end
    fields.deferrable = true -- as in SQL
  end
  local exclusion = fields.kind == "exclusion_constraint"
  for _, key in ipairs(fields.keys) do
    if exclusion and not key.operator then
      checker:problem(made, relation, ("the key %s of exclusion_constraint has no operator"):format(
        show(key.column or key.expression)), ('key { "%s", with = "=" }'):format(key.column or "column"))
      break
    elseif key.operator and not exclusion then
      checker:problem(made, relation, ("a key of %s has an operator (with = %s)"):format(word, show(key.operator)), nil,
        "Operators belong to exclusion_constraint.")
      break
    end
  end
  if fields.kind == "foreign_key" then
    local to = fields.references
    if not to then
      checker:problem(made, relation, "foreign_key does not say what it references", 'references = "schema.table"')
    elseif to.columns and #to.columns ~= #fields.keys then
      checker:problem(made, relation, ("foreign_key has %d columns but references %d"):format(#fields.keys,
        #to.columns))
    end
    if fields.on_delete_columns and fields.on_delete ~= "set null" and fields.on_delete ~= "set default" then
      checker:problem(made, relation, "on_delete_columns without on_delete", 'on_delete = "set null" or "set default"')
    end
  end
end

-- Finishes the keys that partitions have of their own.
local function finish_partitions(checker, made, relation, fields)
  if fields.kind ~= "index" then
    checker:problem(made, relation, "partitions belong to index")
    return
  end
  for partition, own in pairs(made.partitions) do
    local written = own.keys
    if written then
      own.keys = {}
      for i, key in ipairs(written) do own.keys[i] = keys.finished(checker, made, relation, key) end
      if #own.keys ~= #fields.keys then
        checker:problem(made, relation, ("the partition %s has %d keys, the index %d"):format(partition, #own.keys,
          #fields.keys))
      end
    end
  end
end

-- One declaration given as SQL. The fields, or nil.
local function parse(checker, made, relation, target)
  local raw, kind = made.raw, schema.kinds[made.kind.name]
  local sql = checker:option(made, relation, kind, kind.options.sql, raw.sql)
  for name in next, raw do
    local option = kind.options[name]
    if not option then
      if math_type(name) == "integer" then
        checker:problem(made, relation, ("%s has both keys and sql"):format(kind.name), "one of them")
      else
        checker:unknown_option(made, relation, kind, name)
      end
    elseif not option.shared and option.into == "fields" then
      checker:problem(made, relation, ("option %s of %s beside sql"):format(name, kind.name), nil,
        "The statement says everything about the definition.")
    end
  end
  if not sql then return nil end
  local fields, err = core.parse_sql(sql)
  if not fields then
    checker:problem(made, relation, err.message, nil, err.hint)
    return nil
  end
  if (fields.kind == "index") ~= (kind.name == "index") then
    checker:problem(made, relation, kind.name == "index"
      and "the statement adds a constraint; use constraint { sql = … }"
      or "the statement creates an index; use index { sql = … }")
    return nil
  end
  if target then
    if fields.relation ~= target.name or (fields.schema and target.schema and fields.schema ~= target.schema) then
      checker:problem(made, relation, ("the statement is about %s"):format(
        core.quote_name(fields.schema, fields.relation)), relation)
      return nil
    end
    fields.schema = fields.schema or target.schema
  end
  if raw.name ~= nil then
    local name = checker:option(made, relation, kind, kind.options.name, raw.name)
    if name and fields.name and fields.name ~= name then
      checker:problem(made, relation, ("the statement names it %s, the option name %s"):format(show(fields.name),
        show(name)), "one of them")
    end
    fields.name = name or fields.name
  end
  return fields
end

-- A declaration as SQL with what may stand beside it: its fields, or nil after saying what is wrong.
local function fields_of_sql(checker, made, target)
  local kind, raw, relation = schema.kinds[made.kind.name], made.raw, target.display
  if raw.sql == nil then
    checker:problem(made, relation, "constraint without sql", "constraint { sql = [[ALTER TABLE … ADD CONSTRAINT …]] }")
    return nil
  elseif not kind.options.sql then
    checker:problem(made, relation, ("%s cannot be given as sql"):format(kind.name), nil,
      "write constraint { sql = [[ALTER TABLE … ADD CONSTRAINT …]] }")
    return nil
  end
  local fields = parse(checker, made, relation, target)
  if not fields then return nil end
  for name, value in next, raw do
    local option = kind.options[name]
    if option and option.shared and name ~= "sql" and name ~= "name" then
      local kept = checker:option(made, relation, kind, option, value)
      if option.into == "fields" then fields[option.field] = kept else made[option.field] = kept end
    end
  end
  return fields
end

-- A declaration in words: its fields, though perhaps with something wrong that was told; whether nothing is missing.
local function fields_of_words(checker, made, target)
  local kind, raw, relation = schema.kinds[made.kind.name], made.raw, target.display
  local count, positions, list = #raw, 0, {}
  local fields = { kind = kind.kind, schema = target.schema, relation = target.name, keys = list }
  for i = 1, count do
    list[#list + 1] = raw[i] ~= nil and keys.finished(checker, made, relation, raw[i]) or nil
  end
  for name, value in next, raw do
    local option = kind.options[name]
    if option then
      local kept = checker:option(made, relation, kind, option, value)
      if option.into == "fields" then fields[option.field] = kept else made[option.field] = kept end
    elseif math_type(name) == "integer" then
      positions = positions + 1
    else
      checker:unknown_option(made, relation, kind, name)
    end
  end
  if positions ~= count then
    checker:problem(made, relation, ("%s has a hole (nil) among its keys"):format(kind.name), keys.expected)
  elseif count == 0 then
    checker:problem(made, relation, ("%s has no keys"):format(kind.name), keys.expected)
  elseif count > MAX_KEYS then
    checker:problem(made, relation, ("%s has %d keys"):format(kind.name, count), ("at most %d"):format(MAX_KEYS))
  end
  if kind.keys == "columns" then
    for _, key in ipairs(list) do
      if not key.column or next(key, next(key)) then
        checker:problem(made, relation, ("%s has a key that is more than a column's name"):format(kind.name),
          "columns' names only", kind.name ~= "foreign_key" and "Use index { …, unique = true }." or nil)
        break
      end
    end
  end
  local whole = #list > 0 and #list == count
  if whole and made.partitions then finish_partitions(checker, made, relation, fields) end
  return fields, whole
end

--- What a declaration says: its fields, or nil after saying what is wrong.
---@param checker lunadex.registry.Checker
---@param made table
---@param target table             # its relation, as check.lua knows it
---@return lunadex.Fields? fields
---@return boolean whole           # nothing is missing, so that its parts can be compared
function M.read(checker, made, target)
  if made.raw.sql == nil and made.kind ~= common.kinds.constraint then
    return fields_of_words(checker, made, target)
  end
  local fields = fields_of_sql(checker, made, target)
  return fields, fields ~= nil
end

--- The relation that a declaration outside of any `on` speaks of; nil after saying what is wrong.
---@param checker lunadex.registry.Checker
---@param made table
---@return string? title
function M.relation_of(checker, made)
  local kind = schema.kinds[made.kind.name]
  if made.raw.sql == nil then
    checker:problem(made, nil, kind.name .. " outside of on", ('on "schema.table" { %s { … } }'):format(kind.name))
    return nil
  elseif not kind.options.sql then
    checker:problem(made, nil, kind.name .. " cannot be given as sql", "constraint { sql = … } or index { sql = … }")
    return nil
  end
  local fields = type(made.raw.sql) == "string" and core.parse_sql(made.raw.sql)
  if fields then return core.quote_name(fields.schema, fields.relation) end
  made.relation = true
  parse(checker, made) -- once more, for the message
end

--- A query that matters.
---@param checker lunadex.registry.Checker
---@param made table
---@param relation string
---@return table query             # sql, name, description, expect_index, file, line
function M.query(checker, made, relation)
  local raw = made.raw
  local result = checker:options(made, relation, schema.kinds.query, raw, { file = made.file, line = made.line }, true)
  if type(raw[1]) ~= "string" or #raw ~= 1 then
    checker:problem(made, relation, "query does not hold one statement", 'query { "SELECT …", … }')
  end
  result.sql = raw[1]
  return result
end

--- What does not go together in the texts of a backfill and its params. A number too high would be one of those that
--- statements add.
---@param checker lunadex.registry.Checker
---@param made table
---@param backfill lunadex.Backfill
function M.backfill(checker, made, backfill)
  local what, given, used = "backfill " .. show(made.title), #(backfill.params or {}), {}
  for _, name in ipairs { "params", "where", "set", "verify" } do
    local text = backfill[name]
    if made.raw[name] ~= nil and text == nil then return end -- what is wrong with it is told
    for _, number in ipairs(type(text) == "string" and statement.numbers(text) or {}) do
      if (number < 1 or number > given) and not used[number] then
        checker:problem(made, nil, ("%s: its %s has $%s, and params holds %d"):format(what, name, number, given))
      end
      used[number] = true
    end
  end
  for number = 1, given do
    if not used[number] then
      checker:problem(made, nil, ("%s: params holds %d, and none of where, set and verify has $%d"):format(what, given,
        number), nil, "take it out, or write it where it is meant")
    end
  end
end

return M
