--- lunadex plan: what would change, and why. Changes nothing.

local common = require "lunadex.cli.common"
local json = require "lunadex.cli.json"
local output = require "lunadex.cli.output"
local planning = require "lunadex.plan"
local report = require "lunadex.cli.report"

local M = {}

M.summary = "what would change and why; changes nothing"

M.examples = [[
  lunadex plan                                   registry/, target from the environment
  lunadex plan registry/shop.lua --target postgresql://app@db/shop
  lunadex plan --json --detailed-exitcode        for a pipeline: exit status 2 means changes]]

---@param command table            # of argparse
function M.define(command)
  command:flag "--detailed-exitcode" :description "Exit with 2 when there are changes."
  command:flag "--drop-strays" :description "Plan to drop indexes that are not declared."
  command:flag "--repair"
    :description "Plan to drop what failed builds left invalid, on any relation, where no declaration is about it."
  command:flag "--rename" :description "Plan to rename indexes that match under another name."
  command:option "--mode" :choices { "auto", "concurrent", "blocking" } :description "How indexes would be built."
end

---@param options table
---@return integer status
function M.run(options)
  local opened, several = false, false
  local function prepare(connection)
    connection:prefetch()
    return true
  end
  local status, err = common.each_database(options, 1, prepare, function(database, connection, count)
    local plan, problem = planning.make(database, connection, options)
    if not plan then return nil, problem end
    if options.json then
      -- One database is one object; several are a list of them.
      several = count > 1
      if several then output.write(opened and ",\n" or '{"databases":[\n') end
      opened = true
      json.plan(plan)
    else
      if opened then output.line() end
      opened = true
      report.plan(plan, { files = common.origin(options), mode = options.mode, quiet = options.quiet })
    end
    if plan.has_errors then return common.EXIT.registry end
    return options.detailed_exitcode and plan:has_changes() and common.EXIT.changes or 0
  end)
  if not status then
    -- What began as a list cannot end as something else: the failure goes to standard error alone.
    if opened and options.json then
      output.line(several and "]}" or "")
      return common.fail(err, { json = false })
    end
    return common.fail(err, options)
  end
  if options.json then
    output.line(several and "]}" or "")
  end
  return status
end

return M
