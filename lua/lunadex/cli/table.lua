--- Aligned tables, as wide as the terminal at most.

local format = require "lunadex.format"
local output = require "lunadex.cli.output"

local M = {}

local gap = "  "
local narrowest = 12 -- no column is made narrower than this, and none that is narrower anyway

---@class lunadex.cli.Column
---@field title string
---@field right boolean?           # figures
---@field style (fun(cell: string): string?)?   # how a cell is to look (output.style), where there is colour

local function natural_widths(columns, rows)
  local widths, total = {}, #gap * (#columns - 1)
  for i, column in ipairs(columns) do
    widths[i] = format.width(column.title)
    for _, row in ipairs(rows) do widths[i] = math.max(widths[i], format.width(row[i])) end
    total = total + widths[i]
  end
  return widths, total
end

-- Takes from the widest columns what is too much; false: there are too many of them.
local function shrink(widths, excess)
  while excess > 0 do
    local widest, second = 1, narrowest
    for i, width in ipairs(widths) do
      if width > widths[widest] then widest = i end
    end
    for i, width in ipairs(widths) do
      if i ~= widest and width > second then second = width end
    end
    local less = math.min(excess, math.max(widths[widest] - second, 1))
    if widths[widest] - less < narrowest then return false end
    widths[widest] = widths[widest] - less
    excess = excess - less
  end
  return true
end

local function write_row(columns, widths, cells, style)
  local parts = {}
  for i, column in ipairs(columns) do
    local cell = format.clip(cells[i], widths[i])
    -- Nothing is to stand behind the last one.
    if i < #columns or column.right then cell = format.pad(cell, widths[i], column.right) end
    local look = style or column.style and column.style(cells[i])
    parts[i] = look and output.style(look, cell) or cell
  end
  output.line((table.concat(parts, gap):gsub(" +$", "")))
end

local function write_records(columns, rows)
  local width = 0
  for _, column in ipairs(columns) do width = math.max(width, format.width(column.title)) end
  for n, row in ipairs(rows) do
    output.line(output.style("dim", ("-- %d"):format(n)))
    for i, column in ipairs(columns) do
      local title = row[i] == "" and column.title or format.pad(column.title, width) .. gap
      output.line(output.style("bold", title), row[i])
    end
  end
end

--- Writes rows of texts under their titles; on a terminal that is too narrow even for cut ones, each row as a record
--- with a line for each column.
---@param columns lunadex.cli.Column[]
---@param rows string[][]
---@param records boolean?         # in any case
---@return boolean cut             # some cells are not shown as a whole
function M.write(columns, rows, records)
  for _, row in ipairs(rows) do
    for i = 1, #columns do row[i] = format.line(row[i]) end
  end
  local room = output.columns()
  local widths, total = natural_widths(columns, rows)
  local cut = room ~= nil and total > room
  if records or cut and not shrink(widths, total - room) then
    write_records(columns, rows)
    return false
  end
  local titles = {}
  for i, column in ipairs(columns) do titles[i] = column.title end
  write_row(columns, widths, titles, "bold")
  for _, row in ipairs(rows) do write_row(columns, widths, row) end
  return cut
end

--- The line below a table in the REPL.
---@param count string?            # "3 rows"
---@param cut boolean?             # of `write`
function M.finish(count, cut)
  local parts = { count }
  if cut then parts[#parts + 1] = "\\x shows what is cut off" end
  if #parts > 0 then output.line(output.style("dim", ("(%s)"):format(table.concat(parts, "; ")))) end
end

return M
