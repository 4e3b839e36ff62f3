--- What a `transform` changes in the rows of a batch: the rows that it is given, its values as the server reads them.

local core = require "lunadex.core"
local key = require "lunadex.postgres.backfill.key"
local statement = require "lunadex.postgres.backfill.statement"
local value = require "lunadex.postgres.backfill.value"

local M = {}

-- The names of the columns that it is given.
local function shown_of(subject)
  local shown = subject.backfill.columns and {} or subject.columns
  for _, name in ipairs(subject.backfill.columns or {}) do shown[name] = true end
  return shown
end

-- What changes in a row, as texts for the server by the names of columns; or nil and why it cannot be done. What is
-- given back as it was given is no change: it need not be the whole of what the server has.
local function changes_of(subject, shown, row, result)
  if result.failed then return nil, result.failed end
  local given, names, texts = result.changes or {}, {}, {}
  for name, item in next, given do
    if not shown[name] or not value.same(item, row[name]) then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local column = subject.columns[name]
    if not column then return nil, ("transform gave %s, and there is no such column"):format(name) end
    if column.generated then return nil, ("transform gave %s, which is generated"):format(name) end
    local text, wrong = value.text(given[name], column)
    if wrong then return nil, ("transform gave %s for %s, which is of type %s"):format(wrong, name, column.type) end
    texts[name] = text
  end
  local err = key.refuse_change(subject, texts)
  if err then return nil, err.message end
  return texts
end

-- The rows in which something changes: key, texts, and all that they were given; and the names of all columns that
-- change in one of them, in order.
local function changed_rows(subject, rows, results, failures)
  local shown = shown_of(subject)
  local changed, names, known = {}, {}, {}
  for i, row in ipairs(rows) do
    local texts, wrong = changes_of(subject, shown, row, results[i])
    if not texts then
      failures[#failures + 1] = { key = row[subject.mark], message = wrong }
    elseif next(texts) then
      changed[#changed + 1] = { key = row[subject.mark], texts = texts, given = results[i].changes }
      for name in next, texts do
        if not known[name] then known[name], names[#names + 1] = true, name end
      end
    end
  end
  table.sort(names)
  return changed, names
end

-- Rows by the columns that they were given, so that each group is one statement; a column that it was given as it is, a
-- row keeps. (By the columns that change there could be as many groups as rows.)
local function groups_of(changed, all)
  local groups, by_names = {}, {}
  for _, row in ipairs(changed) do
    local names = {}
    for _, name in ipairs(all) do
      if row.given[name] ~= nil then names[#names + 1] = name end
    end
    local signature = table.concat(names, "\0")
    local group = by_names[signature]
    if not group then
      group = { keys = {}, columns = {} }
      for k, name in ipairs(names) do group.columns[k] = { name = name, texts = {}, kept = {} } end
      by_names[signature], groups[#groups + 1] = group, group
    end
    local n = #group.keys + 1
    group.keys[n] = row.key
    for _, column in ipairs(group.columns) do
      local text = row.texts[column.name]
      column.texts[n], column.kept[n] = text == nil and core.null or text, text == nil
      column.keeps = column.keeps or text == nil
    end
  end
  return groups
end

-- A text that is made a varchar(5) is cut off, and one that is assigned to such a column is refused: the length is left
-- to the assignment.
local function update_group(tx, subject, range, batch, group)
  local it = statement.new()
  local sets, names, lists = {}, { "key" }, { it:value(group.keys, "text[]") }
  local function list(name, values, type)
    names[#names + 1], lists[#lists + 1] = name, it:value(values, type)
  end
  for k, column in ipairs(group.columns) do
    local quoted = statement.quoted(column.name)
    local given = ("given.c%d::%s"):format(k, subject.columns[column.name].base)
    list("c" .. k, column.texts, "text[]")
    if column.keeps then
      list("k" .. k, column.kept, "boolean[]")
      given = ("CASE WHEN given.k%d THEN t.%s ELSE %s END"):format(k, quoted, given)
    end
    sets[k] = quoted .. " = " .. given
  end
  -- All are between these two keys anyway: the server need not look for each of them by itself.
  local rows, err = it:ask(tx, ("UPDATE %s AS t SET %s FROM unnest(%s) AS given (%s) WHERE %s AND %s"):format(
    subject.table, table.concat(sets, ", "), table.concat(lists, ", "), table.concat(names, ", "),
    key.equal(subject, "given.key::text[]", "t"), key.between(subject, it, range.cursor, batch.cursor, "t")))
  if not rows then return nil, err end
  batch.changed = batch.changed + rows.affected
  return true
end

--- What is wrong with what is to change in a row, as far as that is known before the server sees it; nil: nothing.
---@param subject lunadex.postgres.BackfillSubject
---@param row table
---@param result lunadex.backfill.Change
---@return string?
function M.flaw(subject, row, result)
  return select(2, changes_of(subject, shown_of(subject), row, result))
end

--- A row without what we have added to it, and independent of it.
---@param subject lunadex.postgres.BackfillSubject
---@param row table
---@return table
function M.plain(subject, row)
  local copy = {}
  for name, item in pairs(row) do
    if name ~= subject.mark then copy[name] = value.copy(item) end
  end
  return copy
end

local function lock_rows(tx, subject, range, batch)
  local it = statement.of(subject.backfill)
  local keys_between = key.between(subject, it, range.cursor, batch.cursor)
  return it:ask(tx, ("SELECT %s AS %s, %s FROM %s WHERE %s AND %s ORDER BY %s FOR NO KEY UPDATE"):format(
    key.text(subject), subject.mark, table.concat(subject.given, ", "), subject.table, keys_between, it:where(),
    key.list(subject)))
end

--- Changes what the transform says; gives the rows that failed.
---@param tx lunadex.Session
---@param subject lunadex.postgres.BackfillSubject
---@param range lunadex.backfill.Range
---@param batch lunadex.backfill.Batch
---@param transform fun(rows: table[]): lunadex.backfill.Change[]
---@return {key: string, message: string}[]? failures
---@return lunadex.Error? err
function M.run(tx, subject, range, batch, transform)
  local rows, err = lock_rows(tx, subject, range, batch)
  if not rows then return nil, err end
  local given = {}
  for i, row in ipairs(rows) do given[i] = M.plain(subject, row) end
  local failures = {}
  for _, group in ipairs(groups_of(changed_rows(subject, rows, transform(given), failures))) do
    local ok
    ok, err = update_group(tx, subject, range, batch, group)
    if not ok then return nil, err end
  end
  return failures
end

return M
