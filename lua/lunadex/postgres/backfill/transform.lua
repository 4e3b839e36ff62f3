--- What a `transform` changes in the rows of a batch: the rows that it is given, its values as the server reads them.

local core = require "lunadex.core"
local key = require "lunadex.postgres.backfill.key"
local statement = require "lunadex.postgres.backfill.statement"

local M = {}

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
    local key_change = not wrong and key.refuse_change(subject, each.changes or {})
    wrong = wrong or key_change and key_change.message
    if wrong then
      failures[#failures + 1] = { key = row[subject.mark], message = wrong }
    elseif #names > 0 then
      local signature = table.concat(names, "\0")
      local group = by_columns[signature]
      if not group then
        group = { names = names, keys = {}, values = {} }
        for k in ipairs(names) do group.values[k] = {} end
        by_columns[signature], groups[#groups + 1] = group, group
      end
      group.keys[#group.keys + 1] = row[subject.mark]
      for k, name in ipairs(names) do
        local value = each.changes[name]
        group.values[k][#group.keys] = value_text(value, subject.columns[name].type)
      end
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

--- A row without what we have added to it.
---@param subject lunadex.postgres.BackfillSubject
---@param row table
---@return table
function M.plain(subject, row)
  local copy = {}
  for name, value in pairs(row) do
    if name ~= subject.mark then copy[name] = value end
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
