--- What the steps of a change have in common, whatever the database: lunadex.postgres.steps, lunadex.mongodb.steps.

local M = {}

M.default_retries = 10
M.default_lock_timeout = 300 -- seconds

--- A copy of a table, with changes.
---@param source table
---@param changes table
---@return table
function M.copy(source, changes)
  local result = {}
  for key, value in pairs(source) do result[key] = value end
  for key, value in pairs(changes) do result[key] = value end
  return result
end

--- The live index, key or foreign key of a relation that has this name.
---@param relation lunadex.Relation
---@param name string
---@return lunadex.Index?
function M.named(relation, name)
  for _, index in ipairs(relation:indexes()) do
    if index.name == name then return index end
  end
end

--- Whether a live index is what a change's declaration says, for the context of a plan's steps.
---@param plan lunadex.Plan
---@return fun(index: lunadex.Index, change: lunadex.PlannedChange, options: table?): boolean
function M.matches(plan)
  return function(index, change, options) return index:matches(plan.set, change.ordinal, options) end
end

--- The function that gives the steps of a change: `make` has one function for each action, which writes them.
---@param Writer table             # a class; its objects have change, context, options and steps
---@param make table<string, fun(writer: table)>
---@return fun(change: lunadex.PlannedChange, context: table, options: lunadex.StepOptions): lunadex.Step[]
function M.writes(Writer, make)
  return function(change, context, options)
    local writer = setmetatable({ change = change, context = context, options = options, steps = {} }, Writer)
    make[change.action](writer)
    return writer.steps
  end
end

---@class lunadex.NoCounterpart
---@field [1] string               # the option's name in lunadex.PlanOptions or lunadex.StepOptions
---@field [2] string               # what there is to say
---@field except any?              # the value that asks for nothing

--- The function that says what was asked for and means nothing on a database.
---@param list lunadex.NoCounterpart[]
---@return fun(options: lunadex.PlanOptions): lunadex.Finding[]
function M.without_counterpart(list)
  return function(options)
    local found = {}
    for _, each in ipairs(list) do
      local value = options[each[1]]
      if value and value ~= each.except and not (type(value) == "table" and #value == 0) then
        found[#found + 1] = { level = "info", rule = "no-counterpart", message = each[2] }
      end
    end
    return found
  end
end

return M
