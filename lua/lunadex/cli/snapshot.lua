--- lunadex snapshot: a registry written from the live database.

local common = require "lunadex.cli.common"
local core = require "lunadex.core"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local output = require "lunadex.cli.output"

local M = {}

M.summary = "a registry written from the live database"

M.examples = [[
  lunadex snapshot -o registry/shop.lua --target postgresql://app@db/shop
  lunadex snapshot | less]]

M.without_registry = true

---@param command table            # of argparse
function M.define(command)
  command:option "-o --output" :argname "<file>" :description "Write to this file. Default: standard output."
end

-- A file is written beside its place and moved there, so that a registry is never half a registry. What is no file
-- (/dev/stdout, a pipe) must not be replaced by one; and a symbolic link stays what it is.
local function write_file(path, text)
  local place, kind = core.resolve_path(path)
  if kind == "other" then
    local file, problem = io.open(path, "w")
    local ok = file ~= nil
    if file then
      ok, problem = file:write(text)
      local closed, why = file:close()
      if ok and not closed then ok, problem = closed, why end
    end
    if ok then return true end
    return nil, errors.new("output", "cannot write " .. path .. ": " .. tostring(problem))
  end
  local temporary = place .. ".ldx_new"
  local file, problem = io.open(temporary, "w")
  local ok = file ~= nil
  if file then
    ok, problem = file:write(text)
    local closed, why = file:close()
    if ok and not closed then ok, problem = closed, why end
    if ok then ok, problem = os.rename(temporary, place) end
    if not ok then os.remove(temporary) end
  end
  if ok then return true end
  return nil, errors.new("output", "cannot write " .. path .. ": " .. tostring(problem))
end

---@param options table
---@return integer status
function M.run(options)
  local connection, err = common.open(options)
  if not connection then return common.fail(err, options) end
  local closing <close> = connection -- luacheck: ignore 211
  local info, catalog
  info, err = connection:connect()
  if not info then return common.fail(err, options) end
  catalog, err = connection:catalog()
  if not catalog then return common.fail(err, options) end
  local text, warnings = dialects.of(info.driver).snapshot.text(catalog)
  for _, warning in ipairs(warnings) do output.complain("warning: " .. warning:gsub("%c", " ")) end
  if not options.output or options.output == "-" then
    output.write(text)
    return 0
  end
  local ok
  ok, err = write_file(options.output, text)
  if not ok then return common.fail(err, options) end
  return 0
end

return M
