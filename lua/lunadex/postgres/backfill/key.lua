--- The key that a backfill goes along: which it is, and how statements speak of it.
--
-- Its columns are named with their relation, and compared by the operators of the key's own index: a column may be
-- called as anything else in a statement, and a search_path may find other operators, with another order.

local errors = require "lunadex.errors"
local statement = require "lunadex.postgres.backfill.statement"

local M = {}

---@class lunadex.postgres.BackfillKey
---@field names string[]
---@field columns {name: string, type: string, cast: string, operators: string[]}[]   # quoted; the type as which it is
---       compared, and the cast to it that it takes; the operators as `comparison` numbers them, with their schema
---@field definition string        # what its order depends on, for people, too: "tenant integer_ops, id uuid_ops"
---@field place string             # the numbers of the relation and its columns: "16402 1 2"

-- The columns of all keys that would do: the primary key, then unique indexes on columns that are never null (from
-- version 18 a column may be NOT NULL with nulls in it, where that is NOT VALID), in the order of a plain comparison,
-- which WITHOUT OVERLAPS has not; those of the fewest columns first. An order is that of an operator family (which int
-- and bigint share), of a collation, and, for families of any array, enum or range, of the type.
local candidates = [[
SELECT i.indexrelid::int8 AS index, a.attname::text AS name, a.attnum AS number,
       own.typtype = 'd' AS domain, t.oid = 'pg_catalog.oid'::pg_catalog.regtype AS oid,
       ARRAY(SELECT pg_catalog.quote_ident(n.nspname) || '.' || o.oprname
               FROM pg_catalog.pg_amop s JOIN pg_catalog.pg_operator o ON o.oid = s.amopopr
               JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
              WHERE s.amopfamily = c.opcfamily AND s.amoplefttype = c.opcintype AND s.amoprighttype = c.opcintype
                AND s.amoppurpose = 's'
              ORDER BY s.amopstrategy) AS operators,
       pg_catalog.concat(pg_catalog.quote_ident(a.attname), ' ', nullif(fn.nspname, 'pg_catalog') || '.', f.opfname,
         CASE WHEN t.typtype = 'p' THEN ' of ' || pg_catalog.format_type(a.atttypid, NULL) END,
         ' COLLATE ' || nullif(ln.nspname, 'pg_catalog') || '.' || pg_catalog.quote_ident(l.collname),
         CASE ln.nspname WHEN 'pg_catalog' THEN ' COLLATE ' || pg_catalog.quote_ident(nullif(l.collname, 'default')) END
       ) AS definition
  FROM pg_catalog.pg_index i
 CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[])
       WITH ORDINALITY k (attnum, class, locale, n)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  JOIN pg_catalog.pg_type own ON own.oid = a.atttypid
  JOIN pg_catalog.pg_opclass c ON c.oid = k.class
  JOIN pg_catalog.pg_type t ON t.oid = c.opcintype
  JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily
  JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
  LEFT JOIN pg_catalog.pg_collation l ON l.oid = k.locale
  LEFT JOIN pg_catalog.pg_namespace ln ON ln.oid = l.collnamespace
 WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
   AND (i.indisprimary OR i.indimmediate)
   AND NOT EXISTS (
       SELECT FROM unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[], i.indoption::int2[])
              WITH ORDINALITY k (attnum, class, locale, option, n)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         LEFT JOIN pg_catalog.pg_opclass o ON o.oid = k.class
         LEFT JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
        WHERE k.n <= i.indnkeyatts
          AND NOT (a.attnotnull AND m.amname = 'btree' AND o.opcdefault AND k.option = 0 AND k.locale = a.attcollation
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c
                                    WHERE c.conrelid = i.indrelid AND c.contype = 'n' AND NOT c.convalidated
                                      AND a.attnum = ANY (c.conkey))))
 ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid, k.n]]

-- As what a column is compared: of a regclass or the like the text is a name, which another may have by now, and its
-- order that of numbers; a domain may have a constraint that is not true of all its values, and enums have no operators
-- for theirs.
local function column_of(row, column)
  local type = row.oid and "oid" or column.base
  return { name = statement.quoted(row.name), type = type, operators = row.operators,
    cast = (row.oid or row.domain) and "::" .. type or "" }
end

--- Finds the keys that would do, the best first.
---@param connection lunadex.Connection
---@param subject lunadex.postgres.BackfillSubject
---@return lunadex.postgres.BackfillKey[]?
---@return lunadex.Error? err
function M.read(connection, subject)
  local rows, err = connection:ask(candidates, { subject.oid })
  if not rows then return nil, err end
  local keys, by_index = {}, {}
  for _, row in ipairs(rows) do
    local key = by_index[row.index]
    if not key then
      key = { names = {}, columns = {}, place = ("%d"):format(subject.oid) }
      by_index[row.index], keys[#keys + 1] = key, key
    end
    key.names[#key.names + 1] = row.name
    key.columns[#key.columns + 1] = column_of(row, subject.columns[row.name])
    key.place = ("%s %d"):format(key.place, row.number)
    key.definition = (key.definition and key.definition .. ", " or "") .. row.definition
  end
  return keys
end

--- Whether it is the same as one that was kept. Columns may have swapped their names since; numbers are of no more use
--- where the relation is another one, as after a dump was restored.
---@param key lunadex.postgres.BackfillKey
---@param definition string
---@param place string?
---@return boolean
function M.is(key, definition, place)
  if key.definition ~= definition then return false end
  return not place or place == key.place or place:match "^%d+" ~= key.place:match "^%d+"
end

-- Strategies of a B-tree.
local comparison = { ["<"] = 1, ["<="] = 2, ["="] = 3, [">="] = 4, [">"] = 5 }

local function listed(subject, alias, ending)
  local list = {}
  for i, column in ipairs(subject.along.columns) do
    list[i] = (alias and alias .. ".k" .. i or subject.table .. "." .. column.name) .. ending(column)
  end
  return table.concat(list, ", ")
end

--- Its columns, in order: those of the relation, or what `named` has called them.
---@param subject lunadex.postgres.BackfillSubject
---@param direction string?        # " DESC"
---@param alias string?
---@return string
function M.list(subject, direction, alias)
  return listed(subject, alias, function() return direction or "" end)
end

--- What a subquery that gives its columns calls them: alias (k1, k2 …).
---@param subject lunadex.postgres.BackfillSubject
---@param alias string
---@param more string?             # another column, behind
---@return string
function M.named(subject, alias, more)
  local list = {}
  for i in ipairs(subject.along.columns) do list[i] = "k" .. i end
  list[#list + 1] = more
  return ("%s (%s)"):format(alias, table.concat(list, ", "))
end

--- As it is kept: text[], as text.
---@param subject lunadex.postgres.BackfillSubject
---@param alias string?            # as in `list`
---@return string
function M.text(subject, alias)
  return "ARRAY[" .. listed(subject, alias, function(column) return column.cast .. "::text" end) .. "]::text"
end

-- One of its columns, and the same of one that is kept.
local function sides(subject, kept, relation, i)
  local column = subject.along.columns[i]
  return (relation or subject.table) .. "." .. column.name .. column.cast, ("((%s)[%d])::%s"):format(kept, i,
    column.type)
end

local function compare(left, column, operator, right)
  return ("%s OPERATOR(%s) %s"):format(left, column.operators[comparison[operator]], right)
end

-- Of several columns, where their operators are of several schemas, and so not to be had in one comparison of rows:
-- the first column alone says where an index is to be read.
local function one_by_one(columns, left, operator, right)
  local strict = operator:sub(1, 1)
  local text = compare(left[#columns], columns[#columns], operator, right[#columns])
  for i = #columns - 1, 1, -1 do
    text = ("(%s OR %s AND %s)"):format(compare(left[i], columns[i], strict, right[i]),
      compare(left[i], columns[i], "=", right[i]), text)
  end
  return compare(left[1], columns[1], strict .. "=", right[1]) .. " AND " .. text
end

--- Whether all of its columns are compared at once: then the whole of it says where an index is to be read.
---@param subject lunadex.postgres.BackfillSubject
---@param operator string
---@return boolean
function M.at_once(subject, operator)
  local columns, strategy = subject.along.columns, comparison[operator]
  for _, column in ipairs(columns) do
    if column.operators[strategy] ~= columns[1].operators[strategy] then return false end
  end
  return true
end

--- Its order beside one that is kept, as a condition.
---@param subject lunadex.postgres.BackfillSubject
---@param operator string
---@param kept string
---@param relation string?         # what it is called; default: its name
---@return string
function M.ordered(subject, operator, kept, relation)
  local columns, left, right = subject.along.columns, {}, {}
  for i in ipairs(columns) do left[i], right[i] = sides(subject, kept, relation, i) end
  if not M.at_once(subject, operator) then return one_by_one(columns, left, operator, right) end
  return ("(%s) OPERATOR(%s) (%s)"):format(table.concat(left, ", "), columns[1].operators[comparison[operator]],
    table.concat(right, ", "))
end

--- Whether it is one that is kept.
---@param subject lunadex.postgres.BackfillSubject
---@param kept string
---@param relation string?         # what it is called; default: its name
---@return string
function M.equal(subject, kept, relation)
  local list = {}
  for i, column in ipairs(subject.along.columns) do
    local left, right = sides(subject, kept, relation, i)
    list[i] = compare(left, column, "=", right)
  end
  return table.concat(list, " AND ")
end

--- The rows after `cursor`, up to `high`, as a condition.
---@param subject lunadex.postgres.BackfillSubject
---@param it lunadex.postgres.Statement
---@param cursor string?
---@param high string?
---@param relation string?         # what it is called; default: its name
---@return string
function M.between(subject, it, cursor, high, relation)
  local parts = {}
  if cursor then parts[1] = M.ordered(subject, ">", it:value(cursor, "text[]"), relation) end
  if high then parts[#parts + 1] = M.ordered(subject, "<=", it:value(high, "text[]"), relation) end
  return #parts > 0 and table.concat(parts, " AND ") or "true"
end

--- The key of the last of so many rows for which a condition holds, as it is kept; NULL: they are not so many. Of those
--- that it leaves behind no text is made.
---@param subject lunadex.postgres.BackfillSubject
---@param it lunadex.postgres.Statement
---@param condition string
---@param size integer
---@return string
function M.ahead(subject, it, condition, size)
  return ("(SELECT %s FROM (SELECT %s FROM %s WHERE %s ORDER BY %s OFFSET %s LIMIT 1) AS %s)"):format(
    M.text(subject, "k"), M.list(subject), subject.table, condition, M.list(subject), it:value(size - 1, "bigint"),
    M.named(subject, "k"))
end

--- One that is kept, for people: its values, without the quotes and escapes of an array's text.
---@param kept string
---@return string
function M.show(kept)
  local function number(c) return ("\\%03d"):format(c:byte()) end
  return (kept:sub(2, -2):gsub("\\(.)", number)
    :gsub('"([^"]*)"', function(value) return (value:gsub(",", number)) end):gsub(",", ", ")
    :gsub("\\(%d%d%d)", function(code) return string.char(code) end))
end

--- What refuses a backfill, or a row, that would change it: that row would be met again, or never.
---@param subject lunadex.postgres.BackfillSubject
---@param changes table<string, any>   # by the names of columns
---@return lunadex.Error?
function M.refuse_change(subject, changes)
  for _, name in ipairs(subject.key) do
    local changed = changes[name] ~= nil and name
    for _, source in ipairs(subject.columns[name].made_of) do changed = changed or changes[source] ~= nil and source end
    if changed then
      return errors.new("refused", ("it changes %s, %s the key that it goes along"):format(changed, changed == name
        and "which is part of" or "of which " .. name .. " is made, which is part of"),
        "A row would be met twice, or never.")
    end
  end
end

return M
