--- lunadex plan: what would change, and why. Changes nothing.

local common = require "lunadex.cli.common"
local json = require "lunadex.cli.json"
local output = require "lunadex.cli.output"
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
  command:flag "--hide-first"
    :description "Plan to hide such indexes from queries, and to drop only those that are hidden already. MongoDB only."
  command:flag "--allow-gap"
    :description "Plan also what drops the old index before the new one is built. MongoDB only."
  command:flag "--rename" :description "Plan to rename indexes that match under another name. PostgreSQL only."
  command:flag "--repair"
    :description "Plan to drop what failed builds left invalid, on any relation, where no declaration is about it."
  common.without(command)
  command:option "--mode" :choices { "auto", "concurrent", "blocking" } :description "How indexes would be built."
end

--- Tells what plans say.
---@param plans lunadex.cli.Plans
---@param options table
---@return integer status
function M.show(plans, options)
  -- One database is one object; several are a list of them.
  local listed = plans.several and options.json
  if listed then output.write '{"databases":[\n' end
  local status = 0
  for i, plan in ipairs(plans) do
    if options.json then
      if i > 1 then output.write ",\n" end
      json.plan(plan)
    else
      if i > 1 then output.line() end
      report.plan(plan, { files = common.origin(options), mode = options.mode, quiet = options.quiet,
        several = plans.several })
    end
    local own = plan.is_wrong and common.EXIT.registry
      or (plan.has_errors or plan.blocked) and common.EXIT.refused
      or options.detailed_exitcode and plan:has_changes() and common.EXIT.changes or 0
    status = math.max(status, own)
  end
  if options.json then output.line(listed and "]}" or "") end
  return status
end

---@param options table
---@return integer status
function M.run(options)
  local plans <close>, troubles = common.plans(options, 1)
  if not plans then return common.fail_each(troubles, options) end
  return M.show(plans, options)
end

return M
