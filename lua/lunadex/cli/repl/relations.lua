--- What the catalog has, for people: relations, and the indexes of one with definition, size, use and state.

local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local output = require "lunadex.cli.output"
local sql_names = require "lunadex.cli.repl.sql_names"
local show = require "lunadex.cli.show"
local suggest = require "lunadex.suggest"
local tables = require "lunadex.cli.table"

local M = {}

-- `ord*` as a pattern of Lua's; a name in quotes without these.
local function pattern_of(glob)
  local quoted = glob:match '^"(.+)"$'
  glob = quoted and quoted:gsub('""', '"') or glob
  return "^" .. glob:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".") .. "$"
end

--- The relations that a pattern means, by name or by schema and name; all without one.
---@param catalog lunadex.Catalog
---@param glob string?
---@return lunadex.Relation[]
function M.matching(catalog, glob)
  local found, pattern = {}, glob and pattern_of(glob)
  for relation in catalog:relations() do
    if not pattern or relation.name:find(pattern) or relation.display:find(pattern) then
      found[#found + 1] = relation
    end
  end
  return found
end

--- The relation of that name, however it is written.
---@param catalog lunadex.Catalog
---@param driver string
---@param title string
---@return lunadex.Relation?
function M.find(catalog, driver, title)
  local name, schema = dialects.of(driver).name.relation(title)
  return name and catalog:relation(schema, name) or nil
end

-- Whoever misspells a name at night is told the right one.
local function unknown(catalog, title)
  local names = {}
  for relation in catalog:relations() do
    names[#names + 1] = relation.name
    names[#names + 1] = relation.display
    for _, index in ipairs(relation:indexes()) do names[#names + 1] = index.name end
  end
  local near = suggest.nearest(title, names)
  return errors.new("undefined", ("there is no relation or index %s"):format(title),
    near and ("Did you mean %s?"):format(near) or "\\d lists the relations, \\di the indexes.")
end

local function bytes(number) return number and number >= 0 and format.bytes(number) or "" end

-- What queries cannot use stands out.
local function style_of(text)
  if text:find "^INVALID" or text:find "^half dropped" or text:find "^not ready" then return "red" end
  return text:find "^being built" and "blue" or nil
end

local most_measured = 5000 -- above that it would take long to ask for sizes and uses

-- What is known of the sizes and uses of relations or indexes, in the order of the items.
local function measure(connection, items)
  if #items > most_measured or #items == 0 then return {} end
  return connection:measure(items)
end

local function broken(indexes)
  local count = 0
  for _, index in ipairs(indexes) do
    if not (index.valid and index.ready and index.live) then count = count + 1 end
  end
  return count
end

--- A line for each relation.
---@param connection lunadex.Connection
---@param relations lunadex.Relation[]
---@return true?
---@return lunadex.Error? err
function M.list(connection, relations)
  local items, rows, some_broken = {}, {}, false
  for i, relation in ipairs(relations) do items[i] = { relation = relation } end
  local measures, err = measure(connection, items)
  if not measures then return nil, err end
  for i, relation in ipairs(relations) do
    local indexes, known = relation:indexes(), measures[i] or { rows = relation.rows, table_bytes = relation.bytes }
    local invalid = broken(indexes)
    some_broken = some_broken or invalid > 0
    rows[i] = { relation.display, relation.kind, known.rows >= 0 and format.count(known.rows) or "",
      bytes(known.table_bytes), tostring(#indexes), invalid > 0 and invalid .. " invalid" or "" }
  end
  local columns = { { title = "relation" }, { title = "kind" }, { title = "rows", right = true },
    { title = "size", right = true }, { title = "indexes", right = true } }
  if some_broken then columns[#columns + 1] = { title = "state", style = function() return "red" end } end
  tables.finish(format.quantity(#relations, "relation"), tables.write(columns, rows, show.records))
  return true
end

local function uses(known)
  if not known.scans or known.scans < 0 then return "" end
  local text = format.count(known.scans)
  return known.scans_since and known.scans_since >= 0 and ("%s in %s"):format(text, format.rough(known.scans_since))
    or text
end

-- In order of what has to be known first.
local function state(index, known)
  local parts = {}
  if known.being_built then
    parts[1] = "being built" .. (known.builder ~= "" and " by " .. known.builder or "")
  elseif not index.live then
    parts[1] = "half dropped"
  elseif not index.valid then
    parts[1] = "INVALID" .. (index.ready and ", writes maintain it" or "")
  elseif not index.ready then
    parts[1] = "not ready"
  else
    parts[1] = "valid"
  end
  if index.replica_identity then parts[#parts + 1] = "replica identity" end
  if index.referenced then parts[#parts + 1] = "referenced" end
  if index.clustered then parts[#parts + 1] = "clustered" end
  if index.parent then parts[#parts + 1] = "part of " .. index.parent.name end
  if index.extension_owned then parts[#parts + 1] = index.relation.schema and "an extension's" or "the server's own" end
  return table.concat(parts, ", ")
end

-- The largest first, for they matter.
local function by_size(indexes, measures)
  local order = {}
  for i, index in ipairs(indexes) do
    local known = measures[i] or {}
    order[i] = { index = index, known = known, bytes = known.index_bytes or index.bytes, at = i }
  end
  table.sort(order, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes > b.bytes end
    return a.at < b.at
  end)
  return order
end

--- A line for each index; with its relation, and the largest first, if they are `of_several` relations.
---@param connection lunadex.Connection
---@param indexes lunadex.Index[]
---@param of_several boolean?
---@return true?
---@return lunadex.Error? err
function M.indexes(connection, indexes, of_several)
  local items, rows = {}, {}
  for i, index in ipairs(indexes) do items[i] = { relation = index.relation, index = index } end
  local measures, err = measure(connection, items)
  if not measures then return nil, err end
  local columns = { { title = "index" }, { title = "definition" }, { title = "size", right = true },
    { title = "uses", right = true }, { title = "state", style = style_of } }
  if of_several then table.insert(columns, 1, { title = "relation" }) end
  for i, each in ipairs(of_several and by_size(indexes, measures) or indexes) do
    local index, known = each.index or each, each.known or measures[i] or {}
    local row = { index.name, index.text, bytes(known.index_bytes or index.bytes), uses(known), state(index, known) }
    if of_several then table.insert(row, 1, index.relation.display) end
    rows[i] = row
  end
  local cut = tables.write(columns, rows, show.records)
  tables.finish(of_several and ("%d %s"):format(#rows, #rows == 1 and "index" or "indexes") or nil, cut)
  return true
end

local function columns_text(relation)
  local parts = {}
  for i, column in ipairs(relation:columns()) do
    parts[i] = format.line(sql_names.quote(column.name)) .. (column.not_null and "" or " null")
  end
  return table.concat(parts, ", ")
end

--- One relation: what it is, its columns, its indexes.
---@param connection lunadex.Connection
---@param relation lunadex.Relation
---@return true?
---@return lunadex.Error? err
function M.describe(connection, relation)
  local measures, err = measure(connection, { { relation = relation } })
  if not measures then return nil, err end
  local indexes, parts, known = relation:indexes(), { relation.kind }, measures[1]
  if known.rows >= 0 then
    parts[#parts + 1] = format.quantity(known.rows, dialects.of(connection.info.driver).row)
  end
  if known.table_bytes >= 0 then parts[#parts + 1] = format.bytes(known.table_bytes) end
  if relation.parent then parts[#parts + 1] = "partition of " .. relation.parent.display end
  if relation.shard_key then parts[#parts + 1] = "sharded by " .. relation.shard_key end
  output.line(output.style("bold", format.line(relation.display)), "  ", format.line(table.concat(parts, ", ")))
  local columns, partitions = columns_text(relation), relation:partitions()
  if columns ~= "" then output.line("columns: ", columns) end
  if #partitions > 0 then
    output.line(("partitions: %d, %s%s"):format(#partitions, format.line(partitions[1].display),
      #partitions > 1 and " … " .. format.line(partitions[#partitions].display) or ""))
  end
  if #indexes == 0 then
    output.line("no indexes")
    return true
  end
  return M.indexes(connection, indexes)
end

local function find_index(catalog, name)
  for _, relation in ipairs(name and M.matching(catalog) or {}) do
    for _, index in ipairs(relation:indexes()) do
      if index.name == name then return index end
    end
  end
end

--- What a name or a pattern means, described: a relation, an index, or a list.
---@param connection lunadex.Connection
---@param title string?
---@return true?
---@return lunadex.Error? err
function M.tell(connection, title)
  local catalog, err = connection:catalog()
  if not catalog then return nil, err end
  if not title then return M.list(connection, M.matching(catalog)) end
  local relation = M.find(catalog, connection.info.driver, title)
  if relation then return M.describe(connection, relation) end
  local quoted = title:match '^"(.+)"$'
  local index = find_index(catalog, title) or find_index(catalog, quoted and quoted:gsub('""', '"'))
  if index then return M.indexes(connection, { index }, true) end
  if title:find "[*?]" then return M.list(connection, M.matching(catalog, title)) end
  return nil, unknown(catalog, title)
end

--- The indexes whose name or relation is meant.
---@param connection lunadex.Connection
---@param glob string?
---@return true?
---@return lunadex.Error? err
function M.tell_indexes(connection, glob)
  local catalog, err = connection:catalog()
  if not catalog then return nil, err end
  local found, pattern = {}, glob and pattern_of(glob)
  for relation in catalog:relations() do
    local all = not pattern or relation.name:find(pattern) or relation.display:find(pattern)
    for _, index in ipairs(relation:indexes()) do
      if all or index.name:find(pattern) then found[#found + 1] = index end
    end
  end
  if glob and #found == 0 then return nil, unknown(catalog, glob) end
  return M.indexes(connection, found, true)
end

return M
