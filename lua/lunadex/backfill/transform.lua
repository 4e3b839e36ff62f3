--- Asks a backfill's `transform` what changes in rows, in the registry's sandbox. What goes wrong is about one row.

local format = require "lunadex.format"
local sandbox = require "lunadex.sandbox"
local schema = require "lunadex.registry.schema"

local M = {}

-- For one row, as the last of a batch.
local limits = { instructions = 100 * 1000 * 1000, memory = 256 * 1024 * 1024 }

local function flaw(changes)
  if changes == nil then return nil end
  if type(changes) ~= "table" then
    return ("transform gave %s; expected { column = value } or nil"):format(schema.show(changes))
  end
  if debug.getmetatable(changes) then return "transform gave a whole document; expected the fields that change" end
  for name in next, changes do
    if type(name) ~= "string" then
      return ("transform gave the key %s; expected names of columns"):format(schema.show(name))
    end
    local wrong = schema.unsendable(name)
    if wrong then return ("transform gave a column whose name %s"):format(wrong) end
  end
end

--- A function that gives what changes in each of a list of rows; nil where the backfill has none.
---@param backfill lunadex.Backfill
---@return (fun(rows: table[]): lunadex.backfill.Change[])?
function M.of(backfill)
  local transform = backfill.transform
  if not transform then return nil end
  local own = debug.getinfo(transform, "S").short_src
  local function failure(message, line, file)
    local place = file == own and line and line > 0 and ("%s:%d: "):format(backfill.file, line) or ""
    -- It may quote whatever stands in a row, or in a variable of the registry.
    return { failed = place .. backfill.secrets:clean(format.storable(message)) }
  end
  return function(rows)
    local results, i = {}, 1
    while i <= #rows do
      local first = i
      local ok, message, line, limit, file = sandbox.run(function()
        while i <= #rows do
          local changes = transform(rows[i])
          local wrong = flaw(changes)
          results[i] = wrong and { failed = backfill.secrets:clean(wrong) } or { changes = changes }
          i = i + 1
        end
      end, backfill.environment, limits)
      -- A row that ended the run by its limits was perhaps only the last straw: it is asked once more, alone.
      if not ok and not (limit and i > first) then
        results[i] = failure(message, line, file)
        i = i + 1
      end
    end
    return results
  end
end

return M
