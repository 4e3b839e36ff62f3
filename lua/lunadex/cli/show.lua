--- Lua values as people read them: results and lists of alike tables as tables, everything else as Lua.

local errors = require "lunadex.errors"
local format = require "lunadex.format"
local lua_text = require "lunadex.lua_text"
local output = require "lunadex.cli.output"
local planning = require "lunadex.plan"
local report = require "lunadex.cli.report"
local tables = require "lunadex.cli.table"

local M = {}

--- Whether tables are shown as records, one line for each column (\x).
M.records = false

local most_columns = 30 -- of a list of tables without an order of their own
local deepest = 6
local deepest_document = 100 -- as MongoDB allows
local widest_nested = 60 -- what is in a document, and still is a cell of a table

-- What is worth a column of these views of the catalog.
local views = {
  ["lunadex.Relation"] = { "display", "kind", "rows", "bytes" },
  ["lunadex.Index"] = { "name", "relation", "text", "valid", "bytes" },
}

local function class_of(value)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__name") or nil
end

local function is_failure(value)
  return getmetatable(value) == getmetatable(errors.new("usage", "")) or class_of(value) == "lunadex.Error"
end
M.is_failure = is_failure

local function is_list(value)
  local count = 0
  for key in next, value do
    if math.type(key) ~= "integer" or key < 1 or key > #value then return false end
    count = count + 1
  end
  return count > 0
end

-- The fields of a table in the order that its kind has: a document's own, or that of their names.
local function fields_of(value)
  local names = {}
  if class_of(value) == "lunadex.Document" then
    for name in pairs(value) do names[#names + 1] = name end
    return names
  end
  for key in next, value do names[#names + 1] = key end
  table.sort(names, function(a, b)
    if math.type(a) == "integer" and math.type(b) == "integer" then return a < b end
    return tostring(a) < tostring(b)
  end)
  return names
end

local inspect

local function inspect_fields(value, indent, seen, depth)
  local parts, list = {}, is_list(value)
  for _, key in ipairs(fields_of(value)) do
    local text = inspect(value[key], indent .. "  ", seen, depth)
    if list then
      parts[#parts + 1] = text
    elseif type(key) == "string" and lua_text.is_identifier(key) then
      parts[#parts + 1] = key .. " = " .. text
    else
      parts[#parts + 1] = "[" .. inspect(key, indent, seen, depth) .. "] = " .. text
    end
  end
  if #parts == 0 then return "{}" end
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if #indent + format.width(line) <= (output.columns() or 100) and not line:find("\n", 1, true) then return line end
  return "{\n" .. indent .. "  " .. table.concat(parts, ",\n" .. indent .. "  ") .. ",\n" .. indent .. "}"
end

function inspect(value, indent, seen, depth)
  if type(value) == "string" then return lua_text.quote(value) end
  if type(value) ~= "table" then return format.line(tostring(value)) end
  local meta = debug.getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__tostring") then return format.line(tostring(value)) end
  if seen[value] then return "…" end
  if #indent / 2 >= depth then return "{ … }" end
  seen[value] = true
  local text = inspect_fields(value, indent, seen, depth)
  seen[value] = nil
  return text
end

--- A value as Lua, of several lines if need be.
---@param value any
---@return string
function M.text(value)
  return inspect(value, "", {}, class_of(value) == "lunadex.Document" and deepest_document or deepest)
end

-- In a table there is one line for it. Bytes that are no text are shown as the server would.
local function cell(value)
  if value == nil then return "" end
  if type(value) == "string" then
    if utf8.len(value) and not value:find "\0" then return value end
    return "\\x" .. value:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
  end
  if class_of(value) == "lunadex.Relation" then return value.display end
  if math.type(value) == "float" then value = math.tointeger(value) or value end
  return (M.text(value):gsub("\n%s*", " "))
end

-- The columns of a list of records: those that the server gave, or all that are found in them.
local function columns_of(rows)
  local names = rows.columns
  if not names then
    local seen = {}
    names = views[class_of(rows[1])]
    if not names then
      names = {}
      for _, row in ipairs(rows) do
        for _, name in ipairs(fields_of(row)) do
          if not seen[name] then names[#names + 1] = name end
          seen[name] = true
        end
      end
    end
  end
  local columns, last = {}, {}
  for i, name in ipairs(names) do last[name] = i end
  for i, name in ipairs(names) do
    -- Of several columns of one name only the last has it in the rows.
    local field, figures = last[name] == i and name or i, rows[1] ~= nil
    for _, row in ipairs(rows) do
      local value = row[field]
      if value ~= nil and type(value) ~= "number" then figures = false end
    end
    columns[i] = { title = tostring(name), field = field, right = figures }
  end
  return columns
end

-- MongoDB says nothing of columns.
local function is_empty_result(rows)
  for key in next, rows do
    if key ~= "command" and key ~= "affected" then return false end
  end
  return true
end

local function records(rows)
  if type(rows) ~= "table" then return false end
  if rows.command and (rows.columns or is_empty_result(rows)) then return true end
  if not is_list(rows) and not (rows.command and #rows > 0) then return false end
  local view = views[class_of(rows[1])]
  for _, row in ipairs(rows) do
    if view then
      if class_of(row) ~= class_of(rows[1]) then return false end
    elseif type(row) ~= "table" or is_list(row) or next(row) == nil or is_failure(row)
      or class_of(row) == "lunadex.Value" then
      return false
    end
  end
  return view ~= nil or rows.command ~= nil or #columns_of(rows) <= most_columns
end

--- A result of a statement, or a list of tables.
---@param rows table[]
function M.rows(rows)
  local columns, cells = columns_of(rows), {}
  if rows.columns and #columns == 0 then return output.line(rows.command) end
  if #columns == 1 and columns[1].title == "QUERY PLAN" then
    for _, row in ipairs(rows) do output.line((row["QUERY PLAN"]:gsub("\n$", ""))) end
    return
  end
  local nested = false -- some document has more inside of it than a cell is to show
  for i, row in ipairs(rows) do
    cells[i] = {}
    for j, column in ipairs(columns) do
      local value = row[column.field]
      cells[i][j] = cell(value)
      nested = nested or not rows.columns and type(value) == "table" and class_of(row) == "lunadex.Document"
        and format.width(cells[i][j]) > widest_nested
    end
  end
  local cut
  if nested then
    for _, row in ipairs(rows) do output.line(M.text(row)) end
  elseif #columns > 0 then
    cut = tables.write(columns, cells, M.records)
  end
  tables.finish(("%d %s"):format(#rows, #rows == 1 and "row" or "rows"), cut)
end

--- What an expression gave.
---@param value any
function M.value(value)
  if type(value) == "string" then
    -- What a database holds is not to steer a terminal.
    output.line(output.columns() and value:gsub("[^%C\n\t]", " ") or value)
  elseif getmetatable(value) == planning.Plan then
    report.plan(value, {})
  elseif records(value) then
    M.rows(value)
  else
    output.line(M.text(value))
  end
end

return M
