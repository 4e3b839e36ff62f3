--- What a `transform` changes in the rows of a batch: the rows that it is given, its values as the server reads them.

local key = require "lunadex.postgres.backfill.key"
local statement = require "lunadex.postgres.backfill.statement"
local value = require "lunadex.postgres.backfill.value"

local M = {}

-- What changes in a row: the names in order, and texts for the server by them; or nil and why it cannot be done. What
-- is given back as it was given is no change: it need not be the whole of what the server has.
local function changes_of(subject, shown, row, given)
  local names, texts = {}, {}
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
  return names, texts
end

-- Rows by what changes in them, so that each group is one statement.
local function groups_of(subject, rows, changes, failures)
  local shown = subject.backfill.columns and {} or subject.columns
  for _, name in ipairs(subject.backfill.columns or {}) do shown[name] = true end
  local groups, by_columns = {}, {}
  for i, row in ipairs(rows) do
    local names, result = nil, changes[i].failed
    if not result then names, result = changes_of(subject, shown, row, changes[i].changes or {}) end
    if not names then
      failures[#failures + 1] = { key = row[subject.mark], message = result }
    elseif #names > 0 then
      local signature = table.concat(names, "\0")
      local group = by_columns[signature]
      if not group then
        group = { names = names, keys = {}, values = {} }
        for k in ipairs(names) do group.values[k] = {} end
        by_columns[signature], groups[#groups + 1] = group, group
      end
      group.keys[#group.keys + 1] = row[subject.mark]
      for k, name in ipairs(names) do group.values[k][#group.keys] = result[name] end
    end
  end
  return groups
end

local function update_group(tx, subject, range, batch, group)
  local it = statement.new()
  local sets, names, lists = {}, { "key" }, { it:value(group.keys, "text[]") }
  for k, name in ipairs(group.names) do
    sets[k] = ("%s = given.c%d::%s"):format(statement.quoted(name), k, subject.columns[name].type)
    names[k + 1], lists[k + 1] = "c" .. k, it:value(group.values[k], "text[]")
  end
  -- All are between these two keys anyway: the server need not look for each of them by itself.
  local rows, err = it:ask(tx, ("UPDATE %s AS t SET %s FROM unnest(%s) AS given (%s) WHERE %s AND %s"):format(
    subject.table, table.concat(sets, ", "), table.concat(lists, ", "), table.concat(names, ", "),
    key.equal(subject, "given.key::text[]", "t"), key.between(subject, it, range.cursor, batch.cursor, "t")))
  if not rows then return nil, err end
  batch.changed = batch.changed + rows.affected
  return true
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
  for _, group in ipairs(groups_of(subject, rows, transform(given), failures)) do
    local ok
    ok, err = update_group(tx, subject, range, batch, group)
    if not ok then return nil, err end
  end
  return failures
end

return M
