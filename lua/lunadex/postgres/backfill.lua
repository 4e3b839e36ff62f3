--- Backfills on PostgreSQL: the relation's key, ranges of it, one batch. See lunadex.backfill.Dialect.
--
-- A batch takes five round trips: BEGIN; taking the checkpoint, and the walk; the change; the checkpoint; COMMIT. With
-- `transform` there is one more. It walks by the key's own index and changes by a condition on the key, so that a row
-- that others change meanwhile is looked at again as it is by then. COMMIT does not wait for the disk: what a crash of
-- the server takes back, it takes back together with its checkpoint.

local core = require "lunadex.core"
local errors = require "lunadex.errors"

local M = {}

M.default_batch, M.default_target = 10000, 0.5

local function quoted(name)
  return '"' .. name:gsub('"', '""') .. '"'
end

local function qualified(schema, name)
  return (schema and quoted(schema) .. "." or "") .. quoted(name)
end

-- Relation and key ----------------------------------------------------------------------------------------------------

local find = [[
SELECT c.oid::int8 AS oid, c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = pg_catalog.to_regclass($1)]]

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

local columns_of = [[
SELECT a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       a.attgenerated <> '' AS generated
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum]]

local kinds = { r = true, p = true }

---@class lunadex.postgres.BackfillSubject: lunadex.backfill.Subject
---@field oid integer
---@field table string             # quoted, with its schema
---@field columns table<string, {type: string, generated: boolean}>   # by name
---@field keys {name: string, type: string}[]   # quoted
---@field given string[]           # quoted: what a transform is given

local function live_relation(connection, on)
  local schema, name = core.split_name(on)
  local rows, err = connection:ask(find, { qualified(schema, name) })
  if not rows then return nil, err end
  local found = rows[1]
  if not found then return nil, errors.new("undefined", ("relation %s does not exist"):format(on)) end
  if not kinds[found.kind] then
    return nil, errors.new("refused", ("%s is no table"):format(on), "Name the table itself.")
  end
  return found
end

local function read_columns(connection, subject)
  local rows, err = connection:ask(columns_of, { subject.oid })
  if not rows then return nil, err end
  subject.columns, subject.given = {}, {}
  for i, column in ipairs(rows) do
    subject.columns[column.name] = column
    subject.given[i] = quoted(column.name)
  end
  return true
end

local function read_key(connection, subject)
  local rows, err = connection:ask(keys, { subject.oid })
  if not rows then return nil, err end
  if not rows[1] then
    return nil, errors.new("refused", ("%s has neither a primary key nor a unique index on columns that are never null")
      :format(subject.relation), "A backfill goes along such a key: build one first.")
  end
  subject.key, subject.keys = rows[1].columns, {}
  for i, name in ipairs(subject.key) do subject.keys[i] = { name = quoted(name), type = subject.columns[name].type } end
  return true
end

local function refuse_columns(subject)
  local names = {}
  for i, name in ipairs(subject.backfill.columns or {}) do
    if not subject.columns[name] then
      return errors.new("undefined", ("%s has no column %s, which transform is to be given"):format(subject.relation,
        name))
    end
    names[i] = quoted(name)
  end
  if subject.backfill.columns then subject.given = names end
end

-- Statements ----------------------------------------------------------------------------------------------------------

--- A statement that is put together: its texts, and its parameters by the way.
local Statement = {}
Statement.__index = Statement

-- What the registry's own texts call $1 … comes first.
local function statement(subject)
  local parameters = { n = 0 }
  for i, value in ipairs(subject.backfill.params or {}) do parameters[i], parameters.n = value, i end
  return setmetatable({ parameters = parameters, own = parameters.n, texts = {} }, Statement)
end

--- Gives the name of a parameter.
function Statement:value(value, type)
  local parameters = self.parameters
  parameters.n = parameters.n + 1
  parameters[parameters.n] = value
  return ("$%d::%s"):format(parameters.n, type)
end

--- A text of the registry. It may end in a comment.
function Statement:user(text)
  self.texts[#self.texts + 1] = text
  return text .. "\n"
end

-- A condition that is true: the server cannot tell of which type a parameter is that nobody mentions.
function Statement:unmentioned()
  local all, list = table.concat(self.texts, "\n"), {}
  for i = 1, self.own do
    local mentioned = all:find(("%%$%d%%f[%%D]"):format(i))
    if not mentioned then list[#list + 1] = (" AND ($%d::text IS NULL OR true)"):format(i) end
  end
  return table.concat(list)
end

local function key_list(subject, direction)
  local list = {}
  for i, key in ipairs(subject.keys) do list[i] = key.name .. (direction or "") end
  return table.concat(list, ", ")
end

-- The key as it is kept: text[], as text.
local function key_text(subject)
  local list = {}
  for i, key in ipairs(subject.keys) do list[i] = key.name .. "::text" end
  return "ARRAY[" .. table.concat(list, ", ") .. "]::text"
end

-- The key compared with one that is kept.
local function compared(subject, operator, kept)
  local left, right = {}, {}
  for i, key in ipairs(subject.keys) do
    left[i] = subject.table .. "." .. key.name
    right[i] = ("((%s)[%d])::%s"):format(kept, i, key.type)
  end
  if #left == 1 then return ("%s %s %s"):format(left[1], operator, right[1]) end
  return ("(%s) %s (%s)"):format(table.concat(left, ", "), operator, table.concat(right, ", "))
end

-- The rows after `cursor`, up to `high`, as a condition.
local function between(subject, it, cursor, high)
  local parts = {}
  if cursor then parts[1] = compared(subject, ">", it:value(cursor, "text[]")) end
  if high then parts[#parts + 1] = compared(subject, "<=", it:value(high, "text[]")) end
  return #parts > 0 and table.concat(parts, " AND ") or "true"
end

-- Which rows, as the registry says it: the last of its texts in a statement.
local function where(subject, it)
  local text = subject.backfill.where
  return (text and ("(%s)"):format(it:user(text)) or "true") .. it:unmentioned()
end

local function ask(connection, it, text)
  return connection:ask(text, it.parameters)
end

local function explain(connection, it, text)
  return ask(connection, it, "EXPLAIN " .. text)
end

-- Judging -------------------------------------------------------------------------------------------------------------

-- Says which texts of the registry an error is about.
local function placed(err, backfill, texts)
  if err.retryable or err.code == "cancelled" then return err end
  return errors.new(err.code, ("%s of %s:%d: %s"):format(texts, backfill.file, backfill.line, err.message), err.hint)
end

-- A row whose key changes would be met again, or never. `names`: a table with what changes as its keys.
local function refuse_key_change(subject, names)
  for _, key in ipairs(subject.key) do
    if names[key] ~= nil then
      return errors.new("refused", ("it changes %s, which is part of the key that it goes along"):format(key),
        "A row would be met twice, or never.")
    end
  end
end

local function refuse_set(subject)
  local backfill, names = subject.backfill, {}
  if not backfill.set then return nil end
  local columns, err = core.assigned_columns(backfill.set)
  if not columns then return placed(err, backfill, "set") end
  for _, column in ipairs(columns) do names[column] = true end
  return refuse_key_change(subject, names)
end

local function verification(subject)
  local it, verify = statement(subject), subject.backfill.verify
  if verify == true then
    return it, ("SELECT pg_catalog.count(*) FROM %s WHERE %s"):format(subject.table, where(subject, it))
  end
  local query = it:user(verify:gsub("[;%s]+$", ""))
  return it, ("SELECT q.* FROM (%s) q WHERE true%s"):format(query, it:unmentioned())
end

-- What the server says of the registry's texts.
local function judge(connection, subject)
  local backfill, it = subject.backfill, statement(subject)
  local text
  if backfill.set then
    local set = it:user(backfill.set)
    text = ("UPDATE %s SET %s WHERE %s"):format(subject.table, set, where(subject, it))
  else
    text = ("SELECT FROM %s WHERE %s"):format(subject.table, where(subject, it))
  end
  local rows, err = explain(connection, it, text)
  if not rows then return nil, placed(err, backfill, backfill.set and "where or set" or "where") end
  if backfill.verify then
    it, text = verification(subject)
    rows, err = explain(connection, it, text)
    if not rows then return nil, placed(err, backfill, "verify") end
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

function M.prepare(connection, backfill)
  local found, err = live_relation(connection, backfill.on)
  if not found then return nil, err end
  local subject = { backfill = backfill, relation = core.quote_name(found.schema, found.name),
    oid = found.oid, table = qualified(found.schema, found.name) }
  for _, step in ipairs { read_columns, read_key, read_rows } do
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

-- Ranges --------------------------------------------------------------------------------------------------------------

local rows_sampled = 200 -- for each range

function M.cut(connection, subject, count)
  local last, err = connection:ask(("SELECT %s AS high FROM %s ORDER BY %s LIMIT 1"):format(key_text(subject),
    subject.table, key_list(subject, " DESC")))
  if not last then return nil, err end
  if not last[1] then return {} end
  local highs = {}
  if count > 1 then
    local share = math.min(100 * count * rows_sampled / math.max(subject.rows, 1), 100)
    highs, err = connection:ask(([[
      SELECT DISTINCT ON (tile) %s AS high
        FROM (SELECT %s, pg_catalog.ntile(%d) OVER (ORDER BY %s) AS tile FROM %s TABLESAMPLE SYSTEM (%.6f)) s
       ORDER BY tile, %s]]):format(key_text(subject), key_list(subject), count, key_list(subject), subject.table, share,
      key_list(subject, " DESC")))
    if not highs then return nil, err end
  end
  local ranges, low = {}, nil
  for i = 1, math.max(#highs, 1) do
    local high = i < #highs and highs[i].high or last[1].high
    ranges[i] = { number = i, cursor = low, high = high, done = false, seen = 0, changed = 0, failed = 0 }
    low = high
  end
  return ranges
end

-- A batch -------------------------------------------------------------------------------------------------------------

-- A plan that reads the whole table for each batch would never come to an end; where there is no other for something in
-- `set`, what it then seems to cost is no reason to compile it. A machine that is lost without a word must not keep its
-- locks.
local settings = [[SELECT pg_catalog.set_config('lock_timeout', '2s', true),
  pg_catalog.set_config('synchronous_commit', 'off', true), pg_catalog.set_config('enable_seqscan', 'off', true),
  pg_catalog.set_config('jit', 'off', true),
  pg_catalog.set_config('idle_in_transaction_session_timeout', '5min', true)]]

local checkpoint = "backfill = %s AND generation = %s AND number = %s"

local function checkpoint_of(state, range, it)
  return checkpoint:format(it:value(state.id, "int"), it:value(state.generation, "int"), it:value(range.number, "int"))
end

-- Takes the checkpoint and looks where the batch ends. OFFSET counts from the checkpoint, as far as the batch goes.
local function walk(tx, subject, state, range, size)
  local it = statement { backfill = {} }
  local mine = checkpoint_of(state, range, it)
  local cursor = it:value(range.cursor, "text[]")
  local keys_between = between(subject, it, range.cursor, range.high)
  local rows, err = ask(tx, it, ([[
    WITH settings AS MATERIALIZED (%s), mine AS MATERIALIZED (
      SELECT FROM lunadex.backfill_range WHERE %s AND cursor IS NOT DISTINCT FROM %s AND NOT done FOR UPDATE NOWAIT
    ), last AS MATERIALIZED (
      SELECT (SELECT %s FROM %s WHERE %s ORDER BY %s OFFSET %s LIMIT 1) AS cursor
    )
    SELECT (SELECT pg_catalog.count(*) FROM settings), (SELECT pg_catalog.count(*) FROM mine) AS mine, cursor,
           CASE WHEN cursor IS NULL THEN (SELECT pg_catalog.count(*) FROM %s WHERE %s) END AS rest
      FROM last]]):format(settings, mine, cursor, key_text(subject), subject.table, keys_between, key_list(subject),
    it:value(size - 1, "bigint"), subject.table, keys_between))
  if not rows then return nil, err end
  local walked = rows[1]
  if walked.mine == 0 then return nil, errors.new("moved", "another run has moved the checkpoint") end
  -- Up to the range's end there is nothing more, and what comes in meanwhile belongs to this batch.
  return { seen = walked.rest or size, changed = 0, failed = 0, done = walked.cursor == nil,
    cursor = walked.cursor or range.high }
end

local function change(tx, subject, range, batch)
  local it = statement(subject)
  local set = it:user(subject.backfill.set)
  local keys_between = between(subject, it, range.cursor, batch.cursor)
  local rows, err = ask(tx, it, ("UPDATE %s SET %s WHERE %s AND %s"):format(subject.table, set, keys_between,
    where(subject, it)))
  if not rows then return nil, err end
  batch.changed = rows.affected
  return {}
end

-- As a literal of an array.
local function array_text(list)
  local items = {}
  for i = 1, list.n or #list do
    local item = list[i]
    if item == nil or item == core.null then
      items[i] = "NULL"
    elseif type(item) == "table" then
      items[i] = array_text(item)
    else
      items[i] = '"' .. tostring(item):gsub('[\\"]', "\\%0") .. '"'
    end
  end
  return "{" .. table.concat(items, ",") .. "}"
end

-- A value as the text that the server reads for a column of this type.
local function value_text(value, type_name)
  if value == core.null then return value end
  if type(value) == "table" then return array_text(value) end
  if type_name == "bytea" and type(value) == "string" then
    return "\\x" .. value:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  end
  return value
end

-- Rows by what changes in them, so that each group is one statement.
local function groups_of(subject, rows, changes, failures)
  local groups, by_columns = {}, {}
  for i, row in ipairs(rows) do
    local each = changes[i]
    local names = {}
    for name in pairs(each.changes or {}) do names[#names + 1] = name end
    table.sort(names)
    local wrong = each.failed
    for _, name in ipairs(names) do
      local column = subject.columns[name]
      wrong = wrong or not column and ("transform gave %s, and there is no such column"):format(name)
        or column.generated and ("transform gave %s, which is generated"):format(name)
    end
    local key_change = not wrong and refuse_key_change(subject, each.changes or {})
    wrong = wrong or key_change and key_change.message
    if wrong then
      failures[#failures + 1] = { key = row.lunadex_key, message = wrong }
    elseif #names > 0 then
      local signature = table.concat(names, "\0")
      local group = by_columns[signature]
      if not group then
        group = { names = names, keys = {}, values = {} }
        for k in ipairs(names) do group.values[k] = {} end
        by_columns[signature], groups[#groups + 1] = group, group
      end
      group.keys[#group.keys + 1] = row.lunadex_key
      for k, name in ipairs(names) do
        local value = each.changes[name]
        group.values[k][#group.keys] = value_text(value, subject.columns[name].type)
      end
    end
  end
  return groups
end

local function update_group(tx, subject, range, batch, group)
  local it = statement { backfill = {} }
  local sets, names, lists = {}, { "key" }, { it:value(group.keys, "text[]") }
  for k, name in ipairs(group.names) do
    sets[k] = ("%s = v.c%d::%s"):format(quoted(name), k, subject.columns[name].type)
    names[k + 1], lists[k + 1] = "c" .. k, it:value(group.values[k], "text[]")
  end
  local rows, err = ask(tx, it, ("UPDATE %s SET %s FROM unnest(%s) AS v (%s) WHERE %s AND %s"):format(subject.table,
    table.concat(sets, ", "), table.concat(lists, ", "), table.concat(names, ", "), compared(subject, "=",
      "v.key::text[]"), between(subject, it, range.cursor, batch.cursor)))
  if not rows then return nil, err end
  batch.changed = batch.changed + rows.affected
  return true
end

local function record(tx, state, failures)
  local keys_failed, messages = {}, {}
  for i, failure in ipairs(failures) do keys_failed[i], messages[i] = failure.key, failure.message end
  return tx:ask([[
    INSERT INTO lunadex.backfill_error (backfill, generation, key, message)
    SELECT $1::int, $2::int, f.key::text[], f.message FROM unnest($3::text[], $4::text[]) AS f (key, message)
        ON CONFLICT (backfill, generation, key) DO UPDATE SET message = excluded.message,
           at = pg_catalog.clock_timestamp()]], { state.id, state.generation, keys_failed, messages })
end

local function key_shown(key)
  return (key:gsub("^{", ""):gsub("}$", ""):gsub('^"(.*)"$', "%1"))
end

-- Records what failed, if that is allowed, and sets the checkpoint.
local function finish(tx, state, range, batch, failures, admit)
  if #failures > 0 then
    local ok, err = admit(#failures, key_shown(failures[1].key), failures[1].message)
    if not ok then return nil, err end
    ok, err = record(tx, state, failures)
    if not ok then return nil, err end
  end
  batch.failed = #failures
  local it = statement { backfill = {} }
  local rows, err = ask(tx, it, ([[
    UPDATE lunadex.backfill_range SET cursor = %s, done = %s, seen = seen + %s, changed = changed + %s,
           failed = failed + %s
     WHERE %s]]):format(it:value(batch.cursor, "text[]"), it:value(batch.done, "bool"), it:value(batch.seen, "bigint"),
    it:value(batch.changed, "bigint"), it:value(batch.failed, "bigint"), checkpoint_of(state, range, it)))
  return rows and batch or nil, err
end

-- Without what we have added to it.
local function plain(row)
  local copy = {}
  for name, value in pairs(row) do
    if name ~= "lunadex_key" then copy[name] = value end
  end
  return copy
end

local function lock_rows(tx, subject, range, batch)
  local it = statement(subject)
  local keys_between = between(subject, it, range.cursor, batch.cursor)
  return ask(tx, it, ("SELECT %s AS lunadex_key, %s FROM %s WHERE %s AND %s ORDER BY %s FOR NO KEY UPDATE"):format(
    key_text(subject), table.concat(subject.given, ", "), subject.table, keys_between, where(subject, it),
    key_list(subject)))
end

-- Changes what the transform says; gives the rows that failed.
local function transformed(tx, subject, range, batch, transform)
  local rows, err = lock_rows(tx, subject, range, batch)
  if not rows then return nil, err end
  local given = {}
  for i, row in ipairs(rows) do given[i] = plain(row) end
  local failures = {}
  for _, group in ipairs(groups_of(subject, rows, transform(given), failures)) do
    local ok
    ok, err = update_group(tx, subject, range, batch, group)
    if not ok then return nil, err end
  end
  return failures
end

function M.batch(connection, subject, state, range, request)
  return connection:atomically(function(tx)
    local batch, err = walk(tx, subject, state, range, request.size)
    if not batch then return nil, err end
    local failures = {}
    if batch.seen == 0 then -- luacheck: ignore 542
    elseif request.skip then
      failures[1] = { key = batch.cursor, message = request.skip }
    elseif request.transform then
      failures, err = transformed(tx, subject, range, batch, request.transform)
    else
      failures, err = change(tx, subject, range, batch)
    end
    if not failures then return nil, err end
    return finish(tx, state, range, batch, failures, request.admit)
  end)
end

--- What a value of the row is the reason of: data that an expression or a column cannot take, broken constraints, what
--- triggers raise.
function M.about_a_row(err)
  local native = err.native or ""
  return native:find "^22" ~= nil or native:find "^23" ~= nil or native == "P0001"
end

function M.verify(connection, subject)
  local it, text = verification(subject)
  local rows, err = ask(connection, it, text)
  if not rows then return nil, err end
  local count = rows[1] and tonumber(rows[1][rows.columns[1]])
  if count then return count end
  return nil, errors.new("invalid_definition", "verify gave no number", "SELECT count(*) … is what it should be.")
end

-- Preview -------------------------------------------------------------------------------------------------------------

local patience = "10s" -- for counting, and for looking for samples
local tried = 1000     -- rows

local undone = {} -- why a transaction of a preview ends: so that nothing stays

-- Runs something that is taken back; what it gave.
local function rehearse(connection, run)
  local result, problem
  local _, err = connection:atomically(function(tx)
    local ok
    ok, problem = tx:ask(("SELECT pg_catalog.set_config('lock_timeout', '2s', true), "
      .. "pg_catalog.set_config('statement_timeout', '%s', true)"):format(patience))
    if ok then result, problem = run(tx) end
    return nil, undone
  end)
  if err ~= undone then return nil, err end
  return result, problem
end

local function count_matching(connection, subject)
  return rehearse(connection, function(tx)
    local it = statement(subject)
    local rows, err = ask(tx, it, ("SELECT pg_catalog.count(*) AS n FROM %s WHERE %s"):format(subject.table,
      where(subject, it)))
    return rows and rows[1].n, err
  end)
end

local function read_samples(tx, subject, count)
  local it = statement(subject)
  local rows, err = ask(tx, it, ("SELECT %s AS lunadex_key, %s.* FROM %s WHERE %s LIMIT %d"):format(key_text(subject),
    subject.table, subject.table, where(subject, it), count))
  if not rows then return nil, err end
  local samples = {}
  for i, row in ipairs(rows) do
    samples[i] = { kept = row.lunadex_key, key = key_shown(row.lunadex_key), before = plain(row) }
  end
  return samples
end

local function change_samples(tx, subject, samples)
  local it = statement(subject)
  local set, kept, by_key = it:user(subject.backfill.set), {}, {}
  for i, sample in ipairs(samples) do kept[i], by_key[sample.kept] = sample.kept, sample end
  local rows, err = ask(tx, it, ("UPDATE %s SET %s WHERE %s = ANY (%s) AND %s RETURNING %s AS lunadex_key, %s.*")
    :format(subject.table, set, key_text(subject), it:value(kept, "text[]"), where(subject, it), key_text(subject),
      subject.table))
  if not rows then return nil, err end
  for _, row in ipairs(rows) do
    if by_key[row.lunadex_key] then by_key[row.lunadex_key].after = plain(row) end
  end
  return true
end

local function transform_samples(subject, samples, transform)
  local rows = {}
  for i, sample in ipairs(samples) do
    rows[i] = {}
    for _, name in ipairs(subject.backfill.columns or {}) do rows[i][name] = sample.before[name] end
    if not subject.backfill.columns then rows[i] = plain(sample.before) end
  end
  for i, each in ipairs(transform(rows)) do
    local after = plain(samples[i].before)
    for name, value in pairs(each.changes or {}) do after[name] = value ~= core.null and value or nil end
    samples[i].after, samples[i].failed = not each.failed and after or nil, each.failed
  end
  return true
end

-- Seconds that the first rows take.
local function try_some(tx, subject)
  local began = core.now()
  local it = statement(subject)
  local set = it:user(subject.backfill.set)
  local list = key_list(subject)
  local rows, err = ask(tx, it, ("UPDATE %s SET %s WHERE (%s) IN (SELECT %s FROM %s ORDER BY %s LIMIT %d) AND %s")
    :format(subject.table, set, list, list, subject.table, list, tried, where(subject, it)))
  return rows and core.now() - began, err
end

function M.preview(connection, subject, samples, transform)
  local preview = { rows = subject.rows, samples = {} }
  local err, problem
  preview.matching, err = count_matching(connection, subject)
  if not preview.matching and err.native ~= "57014" then return nil, err end
  local ok
  ok, err = rehearse(connection, function(tx)
    local list
    list, problem = read_samples(tx, subject, samples)
    if not list then return nil, problem end
    preview.samples = list
    if transform then return transform_samples(subject, list, transform) end
    if #list > 0 then return change_samples(tx, subject, list) end
    return true
  end)
  if not ok and err.native ~= "57014" then return nil, err end
  if not transform and subject.rows > 0 then
    local seconds = rehearse(connection, function(tx) return try_some(tx, subject) end)
    preview.seconds = seconds and seconds * subject.rows / math.min(tried, subject.rows)
  end
  return preview
end

return M
