--- What a backfill is about: the relation, and what the server says of the registry's texts.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local key = require "lunadex.postgres.backfill.key"
local statement = require "lunadex.postgres.backfill.statement"
local suggest = require "lunadex.suggest"

local M = {}

local quoted = statement.quoted

local function qualified(schema, name)
  return (schema and quoted(schema) .. "." or "") .. quoted(name)
end

local find = [[
SELECT c.oid::int8 AS oid, c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name,
       pg_catalog.row_security_active(c.oid) AS guarded,
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AS inherited,
       (SELECT r.rulename::text FROM pg_catalog.pg_rewrite r
         WHERE r.ev_class = c.oid AND r.ev_type = '2' AND r.is_instead AND r.ev_enabled IN ('O', 'A') LIMIT 1) AS rule
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = pg_catalog.to_regclass($1)]]

local columns_of = [[
SELECT a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       a.attgenerated <> '' OR a.attidentity = 'a' AS generated, made.list, made.holds, made.base,
       ARRAY(SELECT b.attname::text FROM pg_catalog.pg_attribute b
              WHERE a.attgenerated <> '' AND b.attrelid = a.attrelid AND EXISTS (
                    SELECT FROM pg_catalog.pg_depend p LEFT JOIN pg_catalog.pg_attrdef e ON e.oid = p.objid
                     WHERE p.refclassid = 'pg_catalog.pg_class'::regclass AND p.refobjid = b.attrelid
                       AND p.refobjsubid = b.attnum
                       AND (p.classid = 'pg_catalog.pg_class'::regclass AND p.objid = a.attrelid
                            AND p.objsubid = a.attnum
                            OR p.classid = 'pg_catalog.pg_attrdef'::regclass AND e.adrelid = a.attrelid
                            AND e.adnum = a.attnum AND b.attnum <> a.attnum))) AS made_of
  FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL (
         WITH RECURSIVE made (type, list, n) AS (
           SELECT a.atttypid, false, 0
            UNION ALL
           SELECT coalesce(e.oid, t.typbasetype), m.list OR e.oid IS NOT NULL, m.n + 1
             FROM made m JOIN pg_catalog.pg_type t ON t.oid = m.type
             LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
            WHERE t.typtype = 'd' OR e.oid IS NOT NULL)
         SELECT m.list, pg_catalog.format_type(m.type, NULL) AS holds, pg_catalog.format_type((
                SELECT b.type FROM made b JOIN pg_catalog.pg_type t ON t.oid = b.type
                 WHERE t.typtype <> 'd' ORDER BY b.n LIMIT 1), -1) AS base
           FROM made m ORDER BY m.n DESC LIMIT 1) made
 WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum]]

local kinds = { r = true, p = true }

---@class lunadex.postgres.BackfillColumn
---@field type string
---@field list boolean             # it is an array
---@field base string             # its type without domains, and without a length or the like
---@field holds string             # the same, or of an array that of its elements
---@field generated boolean        # nothing can be written to it
---@field made_of string[]         # columns that the server makes it of

---@class lunadex.postgres.BackfillSubject: lunadex.backfill.Subject
---@field oid integer
---@field table string             # quoted, with its schema
---@field guarded boolean          # row security says which rows its role may change, and into what
---@field partitioned boolean
---@field columns table<string, lunadex.postgres.BackfillColumn>   # by name
---@field keys lunadex.postgres.BackfillKey[]   # that it could go along, the best first
---@field along lunadex.postgres.BackfillKey
---@field given string[]           # quoted: what a transform is given
---@field mark string              # a name that no column has: under it, rows have their key

local function live_relation(connection, on)
  local schema, name = core.split_name(on)
  local rows, err = connection:ask(find, { qualified(schema, name) })
  if not rows then return nil, err end
  local found = rows[1]
  if not found then
    return nil, errors.new("undefined", ("relation %s does not exist"):format(on),
      suggest.relation(connection:catalog(), name, schema))
  end
  if not kinds[found.kind] then
    return nil, errors.new("refused", ("%s is no table"):format(on), "Name the table itself.")
  end
  if found.inherited then
    return nil, errors.new("refused", ("tables inherit from %s, and its key is not unique among their rows"):format(on),
      "Declare a backfill for each of them.")
  end
  if found.rule then
    return nil, errors.new("refused", ("the rule %s of %s does something else instead of an UPDATE"):format(found.rule,
      on), "Drop it, or declare the backfill for the table that it writes to.")
  end
  return found
end

local function read_columns(connection, subject)
  local rows, err = connection:ask(columns_of, { subject.oid })
  if not rows then return nil, err end
  subject.columns, subject.given, subject.mark = {}, {}, "lunadex_key"
  for i, column in ipairs(rows) do
    subject.columns[column.name] = column
    subject.given[i] = quoted(column.name)
  end
  while subject.columns[subject.mark] do subject.mark = subject.mark .. "_" end
  return true
end

local function read_keys(connection, subject)
  local keys, err = key.read(connection, subject)
  if not keys then return nil, err end
  if not keys[1] then
    return nil, errors.new("refused", ("%s has neither a primary key nor a unique index on columns that are never null")
      :format(subject.relation), "A backfill goes along such a key: build one first. One that is deferrable, "
        .. "descending, partial, or of another operator class or collation than its columns will not do.")
  end
  subject.keys, subject.along, subject.key = keys, keys[1], keys[1].names
  return true
end

local function refuse_columns(subject)
  local names = {}
  for i, name in ipairs(subject.backfill.columns or {}) do
    if not subject.columns[name] then
      return errors.new("undefined", ("%s has no column %s, which transform is to be given"):format(subject.relation,
        name), suggest.question(name, subject.columns))
    end
    names[i] = quoted(name)
  end
  if subject.backfill.columns then subject.given = names end
end

-- Judging -------------------------------------------------------------------------------------------------------------

local function refuse_set(subject)
  local backfill, names = subject.backfill, {}
  if not backfill.set then return nil end
  local columns, err = core.assigned_columns(backfill.set)
  if not columns then return errors.placed(err, "set", backfill) end
  for _, column in ipairs(columns) do names[column] = true end
  return key.refuse_change(subject, names)
end

-- `verify` as part of a statement.
local function verification(subject, form)
  local it, verify = statement.of(subject.backfill), subject.backfill.verify
  local query = verify == true and ("SELECT pg_catalog.count(*) FROM %s WHERE %s"):format(subject.table, it:where())
    or it:user(verify)
  return it, form:format(query) .. it:unmentioned()
end

local counted = "SELECT coalesce((%s)::numeric, 0) AS count WHERE true"

--- What `verify` counts.
---@param connection lunadex.Connection
---@param subject lunadex.postgres.BackfillSubject
---@return number?
---@return lunadex.Error? err
function M.verify(connection, subject)
  local it, text = verification(subject, counted)
  local rows, err = it:ask(connection, text)
  return rows and rows[1].count, err
end

-- Of which type its column is, without asking for a row. A text can be cast, but not each.
local type_of = [[
SELECT pg_catalog.format_type(t.oid, NULL) AS type, t.typcategory = 'N' AS number
  FROM pg_catalog.pg_type t
 WHERE t.oid = pg_catalog.pg_typeof((SELECT q.value FROM (%s) q (value) LIMIT 0))]]

-- Whether a plan gives exactly one row: an aggregate of all rows, or what is of no rows at all.
local function gives_one_row(plan)
  local node = plan[1]["QUERY PLAN"]:match "^Finalize (Aggregate)" or plan[1]["QUERY PLAN"]:match "^%a+"
  if node ~= "Aggregate" and node ~= "Result" then return false end
  for _, row in ipairs(plan) do
    local line = row["QUERY PLAN"]
    if line:find "^  [%a-]*%s?Filter:" or node == "Result" and line:find "^  %->" then return false end
  end
  return true
end

-- It has to be a number whatever the rows are by then: only then is it known that the end can be told.
local function judge_verify(connection, subject)
  local it, text = verification(subject, "EXPLAIN " .. counted)
  local rows, err = it:ask(connection, text)
  if not rows then return nil, err end
  it, text = verification(subject, type_of)
  rows, err = it:ask(connection, text)
  if not rows then return nil, err end
  local flaw = not rows[1].number and "it gives " .. rows[1].type
  it, text = verification(subject, "EXPLAIN SELECT q.* FROM (%s) q WHERE true")
  rows, err = it:ask(connection, text)
  if not rows then return nil, err end
  flaw = flaw or not gives_one_row(rows) and "it may give no row, or several"
  if not flaw then return true end
  return nil, errors.new("invalid_definition", flaw .. "; expected one row with one number",
    "SELECT count(*) FROM (…) q counts the rows of any query.")
end

-- What the server says of the registry's texts.
local function judge(connection, subject)
  local backfill, it = subject.backfill, statement.of(subject.backfill)
  local text
  if backfill.set then
    local set = it:user(backfill.set)
    text = ("UPDATE %s SET %s WHERE %s"):format(subject.table, set, it:where())
  else
    text = ("SELECT FROM %s WHERE %s"):format(subject.table, it:where())
  end
  local rows, err = it:ask(connection, "EXPLAIN " .. text)
  if not rows then return nil, errors.placed(err, backfill.set and "where or set" or "where", backfill) end
  if backfill.verify then
    rows, err = judge_verify(connection, subject)
    if not rows then return nil, errors.placed(err, "verify", backfill) end
  end
  return true
end

-- As many rows as the planner believes.
local function read_rows(connection, subject)
  local rows, err = connection:ask("EXPLAIN SELECT FROM " .. subject.table)
  if not rows then return nil, err end
  subject.rows = math.tointeger(tonumber(rows[1]["QUERY PLAN"]:match "rows=(%d+)")) or -1
  return true
end

--- Finds relation and key, and has the server judge what is declared; changes nothing.
---@param connection lunadex.Connection
---@param backfill lunadex.Backfill
---@return lunadex.postgres.BackfillSubject?
---@return lunadex.Error? err
function M.read(connection, backfill)
  local found, err = live_relation(connection, backfill.on)
  if not found then return nil, err end
  local subject = { backfill = backfill, relation = core.quote_name(found.schema, found.name),
    oid = found.oid, identity = ("%d"):format(found.oid), table = qualified(found.schema, found.name),
    guarded = found.guarded, partitioned = found.kind == "p" }
  for _, step in ipairs { read_columns, read_keys, read_rows } do
    local ok
    ok, err = step(connection, subject)
    if not ok then return nil, err end
  end
  err = refuse_columns(subject) or refuse_set(subject)
  if err then return nil, err end
  local ok
  ok, err = judge(connection, subject)
  return ok and subject or nil, err
end

--- Goes along the key that a backfill was begun along, even where there is a better one by now.
---@param subject lunadex.postgres.BackfillSubject
---@param state lunadex.backfill.State
---@return true?
---@return lunadex.Error? err
function M.go_along(subject, state)
  for _, each in ipairs(subject.keys) do
    if key.is(each, state.key, state.place) then
      subject.along, subject.key = each, each.names
      local err = refuse_set(subject)
      return not err or nil, err
    end
  end
  return nil, errors.new("refused", ("it was begun along %s, and %s has no such key any more"):format(state.key,
    subject.relation), "Bring that key back to go on; --restart begins it from the start, along another.")
end

return M
