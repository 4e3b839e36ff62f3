--- The key that a backfill goes along: which it is, and how statements speak of it.

local errors = require "lunadex.errors"
local statement = require "lunadex.postgres.backfill.statement"

local M = {}

-- The primary key, else the unique index of the fewest columns that are never null; in the order of a plain comparison.
local keys = [[
SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, n)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              WHERE k.n <= i.indnkeyatts ORDER BY k.n) AS columns
  FROM pg_catalog.pg_index i
 WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
   AND (i.indisprimary OR i.indimmediate)
   AND NOT EXISTS (
       SELECT FROM unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[], i.indoption::int2[])
              WITH ORDINALITY k (attnum, class, locale, option, n)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         LEFT JOIN pg_catalog.pg_opclass o ON o.oid = k.class
        WHERE k.n <= i.indnkeyatts
          AND NOT (a.attnotnull AND o.opcdefault AND k.option = 0 AND k.locale = a.attcollation))
 ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
 LIMIT 1]]

--- Finds it.
---@param connection lunadex.Connection
---@param subject lunadex.postgres.BackfillSubject
---@return true? found
---@return lunadex.Error? err
function M.read(connection, subject)
  local rows, err = connection:ask(keys, { subject.oid })
  if not rows then return nil, err end
  if not rows[1] then
    return nil, errors.new("refused", ("%s has neither a primary key nor a unique index on columns that are never null")
      :format(subject.relation), "A backfill goes along such a key: build one first.")
  end
  subject.key, subject.keys = rows[1].columns, {}
  for i, name in ipairs(subject.key) do
    subject.keys[i] = { name = statement.quoted(name), type = subject.columns[name].type }
  end
  return true
end

--- Its columns, in order.
---@param subject lunadex.postgres.BackfillSubject
---@param direction string?
---@return string
function M.list(subject, direction)
  local list = {}
  for i, key in ipairs(subject.keys) do list[i] = key.name .. (direction or "") end
  return table.concat(list, ", ")
end

--- As it is kept: text[], as text.
---@param subject lunadex.postgres.BackfillSubject
---@return string
function M.text(subject)
  local list = {}
  for i, key in ipairs(subject.keys) do list[i] = key.name .. "::text" end
  return "ARRAY[" .. table.concat(list, ", ") .. "]::text"
end

--- Compared with one that is kept.
---@param subject lunadex.postgres.BackfillSubject
---@param operator string
---@param kept string
---@return string
function M.compared(subject, operator, kept)
  local left, right = {}, {}
  for i, key in ipairs(subject.keys) do
    left[i] = subject.table .. "." .. key.name
    right[i] = ("((%s)[%d])::%s"):format(kept, i, key.type)
  end
  if #left == 1 then return ("%s %s %s"):format(left[1], operator, right[1]) end
  return ("(%s) %s (%s)"):format(table.concat(left, ", "), operator, table.concat(right, ", "))
end

--- The rows after `cursor`, up to `high`, as a condition.
---@param subject lunadex.postgres.BackfillSubject
---@param it lunadex.postgres.Statement
---@param cursor string?
---@param high string?
---@return string
function M.between(subject, it, cursor, high)
  local parts = {}
  if cursor then parts[1] = M.compared(subject, ">", it:value(cursor, "text[]")) end
  if high then parts[#parts + 1] = M.compared(subject, "<=", it:value(high, "text[]")) end
  return #parts > 0 and table.concat(parts, " AND ") or "true"
end

--- One that is kept, for people.
---@param kept string
---@return string
function M.show(kept)
  return (kept:gsub("^{", ""):gsub("}$", ""):gsub('^"(.*)"$', "%1"))
end

--- What refuses a backfill, or a row, that would change it: that row would be met again, or never.
---@param subject lunadex.postgres.BackfillSubject
---@param names table<string, any> # columns that change
---@return lunadex.Error?
function M.refuse_change(subject, names)
  for _, key in ipairs(subject.key) do
    if names[key] ~= nil then
      return errors.new("refused", ("it changes %s, which is part of the key that it goes along"):format(key),
        "A row would be met twice, or never.")
    end
  end
end

return M
