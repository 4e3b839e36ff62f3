-- Random definitions for the property test. A case is one definition on one relation: as a registry writes it, and,
-- by an independent hand, as the SQL that PostgreSQL itself makes it from.
local random = require "support.random"
local relations = require "support.relations"
local templates = require "support.templates"

local M = {}

--- How many cases share a relation.
M.per_relation = 4

---@class support.Key
---@field column integer?      # number of the column; or
---@field expression string?   # a template of support.relations.fill
---@field desc boolean?
---@field nulls string?
---@field opclass string?
---@field options any[][]?
---@field collate string?
---@field operator string?

---@class support.Case
---@field seed integer
---@field number integer
---@field version integer
---@field relation support.Relation
---@field twin boolean         # on the relation's twin instead
---@field kind string
---@field name string?         # nil: the server's choice
---@field keys support.Key[]
---@field where table|string|nil   # a template; or { "AND"|"OR"|"NOT", … }
---@field as_sql integer?      # written as SQL; the number varies how
---@field again string?        # name of a second, equal index, declared as a duplicate
---@field features table<string, boolean>

-- Predicates ----------------------------------------------------------------------------------------------------------

local function literal(rng, family)
  return rng:pick(templates.literals[family])
end

-- A template about column `number`: `«c»` and `«l»` filled in.
local function about(rng, number, template, family)
  return (template:gsub("«(%l)»", function(what)
    return what == "c" and "«" .. number .. "»" or literal(rng, family)
  end))
end

local function atom(rng, relation)
  local number = rng:integer(1, #relation.columns)
  local family = relation.columns[number].type.family
  local lists = { templates.conditions["*"] }
  if templates.comparable[family] then lists[#lists + 1] = templates.conditions.comparable end
  if templates.ordered[family] then lists[#lists + 1] = templates.conditions.ordered end
  for _ = 1, 2 do lists[#lists + 1] = templates.conditions[family] end
  return about(rng, number, rng:pick(rng:pick(lists)), family)
end

local function predicate(rng, relation, depth)
  local shape = rng:weighted { { "atom", 50 + 40 * depth }, { "AND", 25 }, { "OR", 18 }, { "NOT", 7 } }
  if shape == "atom" then return atom(rng, relation) end
  local node = { shape }
  for i = 1, shape == "NOT" and 1 or rng:integer(2, 3) do node[i + 1] = predicate(rng, relation, depth + 1) end
  return node
end

local function predicate_text(node)
  if type(node) == "string" then return node end
  local parts = {}
  for i = 2, #node do
    -- An atom may hold an AND, an OR or a CASE itself; half of all go without parentheses where that is no risk.
    local text = predicate_text(node[i])
    local plain = type(node[i]) == "string" and not text:find " OR " and #text % 2 == 0 and node[1] ~= "NOT"
    parts[#parts + 1] = plain and text or "(" .. text .. ")"
  end
  return node[1] == "NOT" and "NOT " .. parts[1] or table.concat(parts, " " .. node[1] .. " ")
end

-- Keys ----------------------------------------------------------------------------------------------------------------

local function opclass(rng, key, choice, ops, version)
  if not choice then return true end
  local class = type(choice) == "table" and choice or { choice }
  if class.since and version < class.since then return true end
  if class[1]:find("%s", 1, true) and not ops then return false end
  if ops == "varchar" and not class[1]:find "pattern" then ops = "text" end
  if class[1]:find "pattern" and (ops == "name" or ops == nil) then return false end
  if ops == "ext.citext" then ops = "citext" end
  key.opclass = class[1]:format(ops)
  local names = {}
  for name in pairs(class) do
    if name ~= 1 and name ~= "since" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    key.options = key.options or {}
    table.insert(key.options, { name, tostring(rng:pick(class[name])) })
  end
  return true
end

local function key(rng, case, method, allow_expressions)
  local relation = case.relation
  for _ = 1, 40 do
    local number = rng:integer(1, #relation.columns)
    local type = relation.columns[number].type
    local result, family, ops = { column = number }, type.family, type.ops
    local collatable = type.collatable
    local choices = templates.expressions[family]
    if allow_expressions and choices and rng:chance(35) then
      local chosen = rng:pick(choices)
      if case.version >= (chosen.since or 0) then
        family, ops = chosen[2], chosen[3]
        if family == "?" then family, ops = type.element, nil end
        collatable = family == "text"
        result = { expression = about(rng, number, chosen[1], type.family) }
      end
    end
    local classes = (templates.opclasses[method] or {})[family]
    if classes and #classes > 0 and opclass(rng, result, rng:pick(classes), ops, case.version) then
      if collatable and rng:chance(25) then result.collate = rng:pick(relations.collations) end
      if method == "btree" then
        result.desc = rng:chance(30) or nil
        if rng:chance(25) then result.nulls = rng:pick { "first", "last" } end
      end
      return result
    end
  end
  return { column = 1, opclass = method == "bloom" and "ext.int4_ops" or nil }
end

-- Whole rows. A function that takes rows of this relation takes none of a copy, so that Lunadex cannot ask the server
-- how such a definition is spelt: one has to write what pg_get_indexdef prints, and the rest has to be plain.
local function add_whole_row(rng, case)
  if case.relation.row_function then
    case.keys = { { expression = "lib.row_of_" .. case.relation.number .. "(«row»)" }, { column = 1 } }
    case.where, case.as_sql = nil, nil
    return
  end
  local list = { "«rel» IS NULL", "«rel».* IS NOT NULL", "(«rel».«1») + 1" }
  if case.version >= 14 then list[#list + 1] = "hash_record_extended(«rel».*, 1)" end
  table.insert(case.keys, 1, { expression = rng:pick(list) })
end

local function keys(rng, case, method, most, allow_expressions)
  local list, seen = {}, {}
  for _ = 1, rng:integer(1, most) do
    local one = key(rng, case, method, allow_expressions)
    local is_new = not (one.column and seen[one.column])
    if is_new or (method == "btree" and allow_expressions) then list[#list + 1] = one end
    if one.column then seen[one.column] = true end
  end
  return list
end

local function storage(rng, case, method)
  local list = {}
  for _, name in ipairs(templates.storage_order) do
    local values = (templates.storage[method] or {})[name]
    if values and rng:chance(60) and (name ~= "deduplicate_items" or case.version >= 13) then
      list[#list + 1] = { name, tostring(rng:pick(values)) }
    end
  end
  list = rng:shuffled(list)
  return #list > 0 and list or nil
end

local function include(rng, case, most)
  local list, seen = {}, {}
  for _, one in ipairs(case.keys) do
    if one.column then seen[one.column] = true end
  end
  for _ = 1, rng:integer(1, most) do
    local number = rng:integer(1, #case.relation.columns)
    if not seen[number] then list[#list + 1] = number end
    seen[number] = true
  end
  return #list > 0 and list or nil
end

-- Columns whose values can be compared for equality, as unique constraints and foreign keys need it.
local function equality_columns(rng, relation, most)
  local list, seen = {}, {}
  for _ = 1, rng:integer(1, most) do
    local number = rng:integer(1, #relation.columns)
    local classes = templates.opclasses.btree[relation.columns[number].type.family]
    if classes and not seen[number] then
      list[#list + 1] = { column = number }
      seen[number] = true
    end
  end
  if #list == 0 then list[1] = { column = 1 } end
  return list
end

-- A unique index of a partitioned table has to hold the columns that it is partitioned by.
local function with_partition_key(case)
  local relation = case.relation
  if relation.kind ~= "partitioned" then return end
  for _, number in ipairs(relation.nested and { 1, 2 } or { 1 }) do
    local found
    for _, one in ipairs(case.keys) do found = found or one.column == number and not one.collate and not one.opclass end
    if not found then table.insert(case.keys, { column = number }) end
  end
end

-- Kinds ---------------------------------------------------------------------------------------------------------------

local make = {}

function make.index(rng, case)
  local method = rng:weighted { { "btree", 46 }, { "gin", 12 }, { "gist", 13 }, { "brin", 11 }, { "hash", 7 },
    { "spgist", 7 }, { "bloom", 4 } }
  case.method = method
  local most = ({ btree = 4, gin = 3, gist = 3, brin = 3, bloom = 2 })[method] or 1
  case.keys = keys(rng, case, method, most, true)
  if method == "btree" and rng:chance(20) then
    case.unique = true
    with_partition_key(case)
    if case.version >= 15 and rng:chance(35) then case.nulls_not_distinct = true end
  end
  local may_include = method == "btree" or method == "gist" or (method == "spgist" and case.version >= 14)
  if may_include and rng:chance(25) then case.include = include(rng, case, 3) end
  if rng:chance(50) then case.where = predicate(rng, case.relation, 0) end
  if method == "btree" and case.relation.kind == "plain" and not case.twin and rng:chance(8) then
    add_whole_row(rng, case)
    case.features["whole row"] = true
  end
  if rng:chance(25) then case.with = storage(rng, case, method) end
  if rng:chance(5) then case.tablespace = rng:pick { "round_trip", "Odd \"Space" } end
  if case.name and not case.twin and rng:chance(8) then case.again = relations.name(rng, "again" .. case.number) end
  if case.relation.partitions and case.name and not case.again and rng:chance(50) then
    case.partitions = {}
    for i, partition in ipairs(case.relation.partitions) do
      if rng:chance(70) then
        case.partitions[i] = relations.name(rng, ("p%d_%d"):format(case.number, i))
        if partition.child and rng:chance(70) then
          case.partitions.child = relations.name(rng, ("p%d_%da"):format(case.number, i))
        end
      end
    end
    if next(case.partitions) then case.features["partitions named"] = true else case.partitions = nil end
  end
end

local function constraint_options(rng, case)
  if rng:chance(20) then
    case.deferrable = true
    case.initially_deferred = rng:chance(50) or nil
  end
end

function make.unique_constraint(rng, case)
  case.keys = equality_columns(rng, case.relation, 3)
  with_partition_key(case)
  if rng:chance(25) then case.include = include(rng, case, 2) end
  if case.version >= 15 and rng:chance(35) then case.nulls_not_distinct = true end
  if rng:chance(20) then case.with = { { "fillfactor", "70" } } end
  if rng:chance(8) then case.tablespace = "round_trip" end
  constraint_options(rng, case)
end

function make.primary_key(rng, case)
  make.unique_constraint(rng, case)
  case.nulls_not_distinct = nil
end

function make.exclusion_constraint(rng, case)
  local method = rng:weighted { { "gist", 6 }, { "btree", 2 }, { "hash", 1 }, { "spgist", 1 } }
  case.method, case.keys = method, {}
  local most = (method == "gist" or method == "btree") and 3 or 1
  for _ = 1, 60 do
    local number = rng:integer(1, #case.relation.columns)
    local type = case.relation.columns[number].type
    local operators = templates.exclusions[method][type.family]
    if operators then
      local one = { column = number, operator = rng:pick(operators) }
      if type.family == "net" then one.opclass = "inet_ops" end
      if rng:chance(20) and type.family == "text" then one = { expression = about(rng, number, "lower(«c»)"),
        operator = "=" } end
      if rng:chance(20) and type.family == "int" then one = { expression = about(rng, number, "«c»::int + 1"),
        operator = one.operator } end
      case.keys[#case.keys + 1] = one
      if #case.keys >= most or rng:chance(50) then break end
    end
  end
  if #case.keys == 0 then case.method, case.keys = "btree", { { column = 1, operator = "=" } } end
  if rng:chance(40) then case.where = predicate(rng, case.relation, 1) end
  if rng:chance(15) and (case.method == "gist" or case.method == "btree") then case.include = include(rng, case, 2) end
  if rng:chance(15) then case.with = { { "fillfactor", "60" } } end
  if rng:chance(5) then case.tablespace = "round_trip" end
  constraint_options(rng, case)
end

local actions = { "no action", "restrict", "cascade", "set null", "set default" }
function make.foreign_key(rng, case)
  case.keys = equality_columns(rng, case.relation, 3)
  case.target = {
    schema = rng:pick { "ref", "public", "Odd Schema" },
    name = relations.name(rng, "r" .. case.number),
    order = rng:integer(1, 1000000),      -- its columns stand in another order
    unique_index = rng:chance(25),        -- no constraint, just an index
  }
  case.target.key = not case.target.unique_index and rng:chance(35) -- its primary key, not named
  if rng:chance(70) then case.on_delete = rng:pick(actions) end
  if rng:chance(50) then case.on_update = rng:pick(actions) end
  if case.version >= 15 and (case.on_delete or ""):find "^set" and rng:chance(60) then
    case.on_delete_columns = { case.keys[rng:integer(1, #case.keys)].column }
  end
  if rng:chance(25) then case.match = "full" end
  constraint_options(rng, case)
end

local function note_features(case)
  local features = case.features
  local function note(condition, what)
    if condition then features[what] = true end
  end
  local relation = case.relation
  note(true, case.kind)
  note(case.kind == "index", "method " .. (case.method or ""))
  note(case.kind == "index", "relation " .. relation.kind)
  note(relation.nested and #relation.partitions > 0, "nested partitions")
  for _, partition in ipairs(relation.partitions or {}) do
    note(partition.order, "partition of another column order")
  end
  note(relation.twin, "same name in two schemas")
  note(relation.dropped > 0, "dropped columns")
  note(relation.name:find "%A" and not relation.name:find "^t%d+$", "odd relation")
  note(not case.name, "no name")
  note(case.name and case.name:find "[^%w_]", "odd name")
  note(case.name and #case.name == 63, "name of 63 bytes")
  note(case.name and case.name:find "\n", "newline in a name")
  note(#case.keys > 1, "several keys")
  local expressions, columns = 0, 0
  for _, one in ipairs(case.keys) do
    if one.expression then expressions = expressions + 1 else columns = columns + 1 end
    note(one.desc, "desc")
    note(one.nulls, "nulls " .. (one.nulls or ""))
    note(one.opclass, "opclass")
    note(one.options, "opclass parameters")
    note(one.collate, "collation")
    note(one.collate == "lib.loose", "nondeterministic collation")
    local column = one.column and relation.columns[one.column]
    if column then
      note(true, "type " .. column.type.family)
      note(column.renamed, "renamed column")
      note(column.generated, "generated column")
      note(column.collation, "column of its own collation")
    end
  end
  note(expressions > 0, "expression")
  note(expressions > 0 and columns > 0, "expressions and columns")
  note(case.include, "include")
  note(case.where, "predicate")
  note(type(case.where) == "table", "compound predicate")
  note(case.unique, "unique")
  note(case.nulls_not_distinct, "nulls not distinct")
  note(case.with, "storage parameters")
  note(case.tablespace, "tablespace")
  note(case.deferrable, "deferrable")
  note(case.on_delete, "on delete " .. (case.on_delete or ""))
  note(case.on_update, "on update " .. (case.on_update or ""))
  note(case.on_delete_columns, "on delete columns")
  note(case.match, "match full")
  note(case.as_sql, "as sql")
  note(case.again, "duplicate")
end

--- Case `number` of `seed`, which depends on nothing else.
---@param seed integer
---@param number integer
---@param version integer       # of the server
---@return support.Case
function M.random(seed, number, version)
  local slot = (number - 1) % M.per_relation
  local relation = relations.random(seed, (number - 1) // M.per_relation + 1, version)
  local rng = random.new(seed, 2, number)
  local case = { seed = seed, number = number, version = version, relation = relation, features = {} }
  case.twin = relation.twin ~= nil and rng:chance(35)
  case.name = rng:chance(85) and relations.name(rng, "i" .. number) or nil
  local weights = { { "index", 70 }, { "unique_constraint", 8 }, { "exclusion_constraint", 7 }, { "foreign_key", 12 } }
  if slot == 0 and not case.twin then weights[#weights + 1] = { "primary_key", 25 } end -- there is one to a table
  case.kind = relation.kind == "view" and "index" or rng:weighted(weights)
  if case.kind == "exclusion_constraint" and relation.kind == "partitioned" then case.kind = "index" end
  make[case.kind](rng, case)
  if rng:chance(20) and not case.partitions and not case.features["whole row"] then case.as_sql = rng:integer(0, 63) end
  note_features(case)
  return case
end

-- As SQL --------------------------------------------------------------------------------------------------------------

local identifier = relations.identifier

local function quoted(text) return "'" .. text:gsub("'", "''") .. "'" end

local function schema_of(case) return case.twin and case.relation.twin or case.relation.schema end

--- The relation as SQL takes it.
---@param case support.Case
---@return string
function M.table_of(case)
  return identifier(schema_of(case)) .. "." .. identifier(case.relation.name)
end

local function column_of(case, number) return identifier(case.relation.columns[number].name) end

local function columns_text(case, numbers)
  local names = {}
  for i, number in ipairs(numbers) do names[i] = column_of(case, number) end
  return table.concat(names, ", ")
end

local function keys_text(case)
  local parts = {}
  for i, one in ipairs(case.keys) do
    local text = one.column and column_of(case, one.column)
      or "(" .. relations.fill(case.relation, one.expression) .. ")"
    if one.collate then text = text .. " COLLATE " .. one.collate end
    if one.opclass then text = text .. " " .. one.opclass end
    if one.options then
      local options = {}
      for j, option in ipairs(one.options) do options[j] = option[1] .. " = " .. quoted(option[2]) end
      text = text .. " (" .. table.concat(options, ", ") .. ")"
    end
    if one.desc then text = text .. " DESC" end
    if one.nulls then text = text .. " NULLS " .. one.nulls:upper() end
    if one.operator then text = text .. " WITH " .. one.operator end
    parts[i] = text
  end
  return table.concat(parts, ", ")
end

local function storage_text(options)
  local parts = {}
  for i, option in ipairs(options) do parts[i] = option[1] .. " = " .. quoted(option[2]) end
  return " WITH (" .. table.concat(parts, ", ") .. ")"
end

local function where_text(case)
  return case.where and relations.fill(case.relation, predicate_text(case.where))
end

local function target_of(case)
  return identifier(case.target.schema) .. "." .. identifier(case.target.name)
end

local function index_sql(case, name, decorated)
  local style = decorated and case.as_sql or 0
  local parts = { case.unique and "CREATE UNIQUE INDEX" or "CREATE INDEX" }
  local function add(text) parts[#parts + 1] = text end
  if style & 1 ~= 0 then add "CONCURRENTLY" end
  if style & 2 ~= 0 and name then add "IF NOT EXISTS" end
  if name then add(identifier(name)) end
  add(style & 32 ~= 0 and "/* over */ ON" or "ON")
  add(M.table_of(case))
  if case.method ~= "btree" or style & 4 ~= 0 then add("USING " .. case.method) end
  add("(" .. keys_text(case) .. ")")
  if case.include then add("INCLUDE (" .. columns_text(case, case.include) .. ")") end
  if case.nulls_not_distinct then add "NULLS NOT DISTINCT" end
  if case.with then add(storage_text(case.with)) end
  if case.tablespace then add("TABLESPACE " .. identifier(case.tablespace)) end
  if case.where then add("WHERE " .. where_text(case)) end
  return table.concat(parts, style & 8 ~= 0 and "\n  " or " ") .. (style & 16 ~= 0 and ";" or "")
end

local function deferrable_sql(case)
  return (case.deferrable and " DEFERRABLE" or "") .. (case.initially_deferred and " INITIALLY DEFERRED" or "")
end

local function referenced_columns(case)
  local names = {}
  for i in ipairs(case.keys) do names[i] = identifier("k" .. i) end
  return table.concat(names, ", ")
end

local words = { primary_key = "PRIMARY KEY", unique_constraint = "UNIQUE" }
local function constraint_sql(case)
  local text = "ALTER TABLE " .. M.table_of(case) .. " ADD "
  if case.name then text = text .. "CONSTRAINT " .. identifier(case.name) .. " " end
  if case.kind == "foreign_key" then
    text = text .. ("FOREIGN KEY (%s) REFERENCES %s"):format(keys_text(case), target_of(case))
    if not case.target.key then text = text .. " (" .. referenced_columns(case) .. ")" end
    if case.match then text = text .. " MATCH FULL" end
    if case.on_update then text = text .. " ON UPDATE " .. case.on_update:upper() end
    if case.on_delete then text = text .. " ON DELETE " .. case.on_delete:upper() end
    if case.on_delete_columns then text = text .. " (" .. columns_text(case, case.on_delete_columns) .. ")" end
    return text .. deferrable_sql(case)
  end
  if case.kind == "exclusion_constraint" then
    text = text .. ("EXCLUDE USING %s (%s)"):format(case.method, keys_text(case))
  else
    text = text .. words[case.kind] .. (case.nulls_not_distinct and " NULLS NOT DISTINCT" or "") .. " ("
      .. keys_text(case) .. ")"
  end
  if case.include then text = text .. " INCLUDE (" .. columns_text(case, case.include) .. ")" end
  if case.with then text = text .. storage_text(case.with) end
  if case.tablespace then text = text .. " USING INDEX TABLESPACE " .. identifier(case.tablespace) end
  if case.where then text = text .. " WHERE (" .. where_text(case) .. ")" end
  return text .. deferrable_sql(case)
end

--- The one statement that makes what the case declares.
---@param case support.Case
---@return string
function M.sql(case)
  if case.kind == "index" then return index_sql(case, case.name, false) end
  return constraint_sql(case)
end

--- The same definition under another name.
---@param case support.Case
---@param name string
---@return support.Case
function M.called(case, name)
  local result = {}
  for field, value in pairs(case) do result[field] = value end
  result.name, result.again = name, nil
  return result
end

--- What has to be there before: the table that a foreign key references.
---@param case support.Case
---@return string
function M.setup(case)
  if not case.target then return "" end
  local columns = {}
  for i, one in ipairs(case.keys) do
    local column = case.relation.columns[one.column]
    columns[i] = ("k%d %s%s"):format(i, column.type.sql, column.collation and " COLLATE " .. column.collation or "")
  end
  columns = random.new(case.target.order):shuffled(columns)
  local names = referenced_columns(case)
  local text = ("CREATE TABLE %s (%s);\n"):format(target_of(case), table.concat(columns, ", "))
  if case.target.unique_index then
    return text .. ("CREATE UNIQUE INDEX ON %s (%s);\n"):format(target_of(case), names)
  end
  local kind = case.target.key and "PRIMARY KEY" or "UNIQUE"
  return text .. ("ALTER TABLE %s ADD %s (%s);\n"):format(target_of(case), kind, names)
end

-- As a registry -------------------------------------------------------------------------------------------------------

-- Lua strings in all the ways that people write them.
local function lua_string(text)
  local way = #text % 3
  if way == 0 and not text:find "[\r]" and text:sub(1, 1) ~= "\n" then
    local level = ""
    while text:find("]" .. level, 1, true) do level = level .. "=" end
    return "[" .. level .. "[" .. text .. "]" .. level .. "]"
  end
  return (("%q"):format(text):gsub("\\\n", "\\n"):gsub("\t", "\\t"))
end

local function key_registry(case, one, index)
  local base = one.column and lua_string(case.relation.columns[one.column].name)
    or "expr " .. lua_string(relations.fill(case.relation, one.expression))
  if not (one.opclass or one.collate or one.operator or one.nulls) then
    if not one.desc then return (case.number + index) % 7 == 0 and one.column and "asc " .. base or base end
    if one.column and case.number % 2 == 0 then return "desc " .. base end
    if one.expression and case.number % 3 == 0 then return "desc(" .. base .. ")" end
  end
  local parts = { base }
  local function add(text, ...) parts[#parts + 1] = text:format(...) end
  if one.desc then add "desc = true" end
  if one.nulls then add("nulls = %q", one.nulls) end
  if one.options then
    local options = {}
    for i, option in ipairs(one.options) do options[i] = ("%s = %s"):format(option[1], option[2]) end
    add("opclass = { %s, %s }", lua_string(one.opclass), table.concat(options, ", "))
  elseif one.opclass then
    add("opclass = %s", lua_string(one.opclass))
  end
  if one.collate then add("collate = %s", lua_string(one.collate)) end
  if one.operator then add("with = %q", one.operator) end
  return "key { " .. table.concat(parts, ", ") .. " }"
end

local function list_registry(case, numbers)
  local names = {}
  for i, number in ipairs(numbers) do names[i] = lua_string(case.relation.columns[number].name) end
  return "{ " .. table.concat(names, ", ") .. " }"
end

local function item(case, name, duplicate_of)
  local parts = {}
  local function add(text, ...) parts[#parts + 1] = text:format(...) end
  if case.as_sql then
    add("sql = %s", lua_string(case.kind == "index" and index_sql(case, name, true) or constraint_sql(case)))
    if duplicate_of then add("duplicate_of = %s", lua_string(duplicate_of)) end
    return ("  %s { %s },\n"):format(case.kind == "index" and "index" or "constraint", table.concat(parts, ", "))
  end
  for i, one in ipairs(case.keys) do
    if case.kind == "index" or case.kind == "exclusion_constraint" then
      add("%s", key_registry(case, one, i))
    else
      add("%s", lua_string(case.relation.columns[one.column].name))
    end
  end
  if name then add("name = %s", lua_string(name)) end
  if case.method and (case.method ~= "btree" or case.kind ~= "index" or case.number % 5 == 0) then
    add("method = %q", case.method)
  end
  if case.unique then add "unique = true" end
  if case.nulls_not_distinct then add "nulls_distinct = false" end
  if case.include then add("include = %s", list_registry(case, case.include)) end
  if case.where then add("where = %s", lua_string(where_text(case))) end
  if case.with then
    local options = {}
    for i, option in ipairs(case.with) do
      options[i] = #case.with == 1 and option[1] .. " = " .. lua_string(option[2])
        or ("{ %q, %s }"):format(option[1], lua_string(option[2]))
    end
    add("with = { %s }", table.concat(options, ", "))
  end
  if case.tablespace then add("tablespace = %s", lua_string(case.tablespace)) end
  if case.target then
    local target = lua_string(relations.qualified(case.target.schema, case.target.name))
    if not case.target.key then
      target = "{ " .. target
      for i in ipairs(case.keys) do target = target .. (", \"k%d\""):format(i) end
      target = target .. " }"
    end
    add("references = %s", target)
  end
  for _, option in ipairs { "on_delete", "on_update", "match" } do
    if case[option] then add("%s = %q", option, case[option]) end
  end
  if case.on_delete_columns then add("on_delete_columns = %s", list_registry(case, case.on_delete_columns)) end
  for _, option in ipairs { "deferrable", "initially_deferred" } do
    if case[option] then add("%s = true", option) end
  end
  if duplicate_of then add("duplicate_of = %s", lua_string(duplicate_of)) end
  if case.partitions then
    local names = {}
    for i, partition in ipairs(case.relation.partitions) do
      if case.partitions[i] then
        names[#names + 1] = ("[ %s ] = %s"):format(lua_string(relations.qualified(partition.schema, partition.name)),
          lua_string(case.partitions[i]))
      end
      if partition.child and case.partitions.child then
        names[#names + 1] = ("[ %s ] = %s"):format(lua_string(relations.qualified(partition.child.schema,
          partition.child.name)), lua_string(case.partitions.child))
      end
    end
    add("partitions = { %s }", table.concat(names, ", "))
  end
  return ("  %s { %s },\n"):format(case.kind, table.concat(parts, ", "))
end

--- The relation as on "…" takes it.
---@param case support.Case
---@return string
function M.relation_name(case) return relations.qualified(schema_of(case), case.relation.name) end

--- The registry of some cases.
---@param cases support.Case[]
---@return string
function M.registry(cases)
  local blocks, by_relation = {}, {}
  for _, case in ipairs(cases) do
    local relation = M.relation_name(case)
    if not by_relation[relation] then
      by_relation[relation] = {}
      blocks[#blocks + 1] = relation
    end
    local list = by_relation[relation]
    list[#list + 1] = item(case, case.name)
    if case.again then list[#list + 1] = item(case, case.again, case.name) end
  end
  local texts = {}
  for i, relation in ipairs(blocks) do
    texts[i] = ("on %s {\n%s}\n"):format(lua_string(relation), table.concat(by_relation[relation]))
  end
  return table.concat(texts)
end

--- The custom names of indexes on partitions: { schema, relation, name }.
---@param case support.Case
---@return string[][]
function M.partition_names(case)
  local list = {}
  for i, partition in ipairs(case.partitions and case.relation.partitions or {}) do
    if case.partitions[i] then list[#list + 1] = { partition.schema, partition.name, case.partitions[i] } end
    if partition.child and case.partitions.child then
      list[#list + 1] = { partition.child.schema, partition.child.name, case.partitions.child }
    end
  end
  return list
end

-- Smaller cases -------------------------------------------------------------------------------------------------------

local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for name, item_value in pairs(value) do result[name] = copy(item_value) end
  return result
end

local function uses(case)
  local used = { [1] = case.relation.kind == "partitioned", [2] = case.relation.nested }
  local function look(template)
    for number in (template or ""):gmatch "«(%d+)»" do used[tonumber(number)] = true end
  end
  for _, one in ipairs(case.keys) do
    if one.column then used[one.column] = true end
    look(one.expression)
  end
  for _, name in ipairs { "include", "on_delete_columns" } do
    for _, number in ipairs(case[name] or {}) do used[number] = true end
  end
  if case.where then look(predicate_text(case.where)) end
  for i, column in ipairs(case.relation.columns) do
    if used[i] then look(column.generated) end
  end
  return used
end

--- The cases that are one step simpler than this one. Whether they are valid is for the server to say.
---@param case support.Case
---@return support.Case[]
function M.smaller(case)
  local list = {}
  local function try(change)
    local smaller = copy(case)
    if change(smaller) ~= false then list[#list + 1] = smaller end
  end
  for _, option in ipairs { "where", "include", "with", "tablespace", "partitions", "again", "unique",
    "nulls_not_distinct", "deferrable", "initially_deferred", "on_delete", "on_update", "on_delete_columns", "match",
    "as_sql" } do
    if case[option] then try(function(one)
      one[option] = nil
      if option == "deferrable" then one.initially_deferred = nil end
      if option == "unique" then one.nulls_not_distinct = nil end
      if option == "on_delete" then one.on_delete_columns = nil end
    end) end
  end
  if #case.keys > 1 then
    for i in ipairs(case.keys) do try(function(one) table.remove(one.keys, i) end) end
  end
  if type(case.where) == "table" then
    for i = 2, #case.where do try(function(one) one.where = one.where[i] end) end
    for i = 2, #case.where do
      if type(case.where[i]) == "table" then
        for j = 2, #case.where[i] do try(function(one) one.where[i] = one.where[i][j] end) end
      elseif #case.where > 3 then
        try(function(one) table.remove(one.where, i) end)
      end
    end
  end
  for i, key_of in ipairs(case.keys) do
    for _, option in ipairs { "desc", "nulls", "options", "opclass", "collate" } do
      if key_of[option] then try(function(one)
        one.keys[i][option] = nil
        if option == "opclass" then one.keys[i].options = nil end
      end) end
    end
    if key_of.expression and key_of.expression:find "«%d" then
      try(function(one)
        one.keys[i] = { column = tonumber(key_of.expression:match "«(%d+)»"), operator = key_of.operator }
      end)
    end
    if key_of.column and key_of.column ~= 1 and not key_of.operator then
      try(function(one) one.keys[i] = { column = 1 } end)
    end
  end
  for _, option in ipairs { "include", "with" } do
    for i = 1, #(case[option] or {}) > 1 and #case[option] or 0 do
      try(function(one) table.remove(one[option], i) end)
    end
  end
  if case.method and case.method ~= "btree" and case.kind == "index" then
    try(function(one)
      one.method, one.with = "btree", nil
      for _, each in ipairs(one.keys) do each.opclass, each.options = nil, nil end
    end)
  end
  if case.name ~= "i" then try(function(one) one.name = "i" end) end
  -- The relation.
  local relation = case.relation
  if relation.kind ~= "plain" then try(function(one)
    one.relation.kind, one.relation.partitions, one.relation.nested, one.partitions = "plain", nil, nil, nil
  end) end
  for i = #(relation.partitions or {}), 1, -1 do
    try(function(one)
      table.remove(one.relation.partitions, i)
      if one.partitions then table.remove(one.partitions, i) end
      if one.partitions and not next(one.partitions) then one.partitions = nil end
    end)
  end
  if relation.nested then try(function(one)
    one.relation.nested = nil
    for _, partition in ipairs(one.relation.partitions) do partition.nested, partition.child = nil, nil end
    if one.partitions then one.partitions.child = nil end
  end) end
  for i, partition in ipairs(relation.partitions or {}) do
    if partition.order then try(function(one) one.relation.partitions[i].order = nil end) end
    if partition.name ~= "p" .. i then try(function(one) one.relation.partitions[i].name = "p" .. i end) end
  end
  if relation.twin then try(function(one) one.relation.twin, one.twin = nil, false end) end
  if relation.dropped > 0 then try(function(one) one.relation.dropped = 0 end) end
  if relation.row_function then try(function(one) one.relation.row_function = false end) end
  if relation.name ~= "t" then try(function(one) one.relation.name = "t" end) end
  if relation.schema ~= "public" then try(function(one) one.relation.schema = "public" end) end
  if case.target and case.target.name ~= "r" then try(function(one)
    one.target.name, one.target.schema = "r", "public"
  end) end
  local used = uses(case)
  for i, column in ipairs(relation.columns) do
    if not used[i] and not column.absent then try(function(one) one.relation.columns[i].absent = true end) end
    if not column.absent then
      if column.name ~= "c" .. i then try(function(one) one.relation.columns[i].name = "c" .. i end) end
      if column.renamed then try(function(one) one.relation.columns[i].renamed = nil end) end
      if column.collation then try(function(one) one.relation.columns[i].collation = nil end) end
      if column.generated then try(function(one) one.relation.columns[i].generated = nil end) end
    end
  end
  return list
end

return M
