--- lunadex status: what is being built now and by whom it waits, what was left over, who holds the run lock.

local common = require "lunadex.cli.common"
local format = require "lunadex.format"
local json = require "lunadex.cli.json"
local output = require "lunadex.cli.output"

local M = {}

M.summary = "what is being built now, by whom it waits, leftovers"

M.examples = [[
  lunadex status --target postgresql://app@db/shop
  lunadex status --json]]

M.without_registry = true

---@param command table            # of argparse
function M.define(command) -- luacheck: ignore 212
end

-- Rows as tables by column name.
local function records(rows)
  local result = {}
  for i, row in ipairs(rows) do
    local record = {}
    for c, column in ipairs(rows.columns) do record[column] = row[c] end
    result[i] = record
  end
  return result
end

---@param options table
---@return integer status
function M.run(options)
  local connection, err = common.open(options)
  if not connection then return common.fail(err, options) end
  local closing <close> = connection -- luacheck: ignore 211
  local info, rows
  info, err = connection:connect()
  if not info then return common.fail(err, options) end
  rows, err = connection:status()
  if not rows then return common.fail(err, options) end
  local items = records(rows)
  if options.json then
    output.line(json.encode { target = info.display, items = items })
    return 0
  end
  output.line(output.style("bold", info.database), "  ", info.display, "   ", info.product, " ", info.version)
  for _, item in ipairs(items) do
    local parts = {}
    for _, column in ipairs(rows.columns) do
      if item[column] ~= nil and item[column] ~= "" then parts[#parts + 1] = column .. " " .. tostring(item[column]) end
    end
    output.line("  ", format.line(table.concat(parts, "  ")))
  end
  if #items == 0 then output.line("  nothing is being built, nothing is left over") end
  return 0
end

return M
