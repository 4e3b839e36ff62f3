--- What one change of a plan takes: the steps that the core performs, in order.
--
-- Each function returns a list of steps. What the change leaves when one of them fails is known beforehand and goes
-- with that step: `undo` lists the steps that take back what the earlier ones built if it fails in a way that would
-- repeat itself, `cleanup` those that do so however it fails, also when the run is interrupted; `finished` names what
-- is good as it is, and `incomplete` what is of no use, until the next run goes on with it; `stays` says what there is
-- where nothing was undone, if it is not what was built. Nothing here waits or schedules; a dry run prints the same
-- list.

local beforehand = require "lunadex.postgres.steps.beforehand"
local common = require "lunadex.steps"
local Writer = require "lunadex.postgres.steps.writer"
for _, part in ipairs { "parts", "build", "replace", "in_place" } do
  require("lunadex.postgres.steps." .. part)
end

local M = {}

---@class lunadex.StepOptions
---@field mode "auto"|"concurrent"|"blocking"|nil
---@field lock_timeout number?     # seconds
---@field retries integer?
---@field drain_timeout number?    # seconds a build may wait for other transactions when its work is done; nil: any
---@field cancel_blockers string[]?    # application names: what they run is cancelled when it has been in the way
---@field terminate_blockers string[]? # likewise: their sessions are ended
---@field blockers_after number?   # for so many seconds; default 30
---@field check_duplicates boolean?   # read the table before something unique is built
---@field list_duplicates boolean?    # tell all duplicates that make a change fail, as events "duplicates"
---@field maintenance_work_mem string?   # for builds that name none of their own
---@field parallel_workers integer?      # likewise

-- What has to be said before a change is made.
M.findings, M.relied_upon, M.not_shown = beforehand.findings, beforehand.relied_upon, beforehand.not_shown
M.key_maker = beforehand.key_maker

--- A first guess at the seconds that a build takes, for people and for the schedule, from what a small machine does
--- with one core: it reads the table, sorts the rows, writes the index. With a predicate the index's size says more of
--- the rows that are left.
---@param measure table            # of the core; -1: unknown
---@param fields lunadex.Fields
---@return number?
function M.seconds(measure, fields)
  local rows, table_bytes, index_bytes = measure.rows, measure.table_bytes, measure.index_bytes
  if rows < 0 or table_bytes < 0 then return nil end
  if index_bytes < 0 then return table_bytes / 200e6 + rows / 800e3 end
  return table_bytes / 400e6 + (fields.where and 0 or rows / 4e6) + index_bytes / 30e6
end

--- What was asked for and means nothing here.
---@type fun(options: lunadex.PlanOptions): lunadex.Finding[]
M.without_counterpart = common.without_counterpart {
  { "hide_first", "--hide-first: PostgreSQL cannot hide an index from queries; strays are kept, or dropped if asked" },
  { "allow_gap", "--allow-gap: on PostgreSQL whatever is replaced is replaced without a gap" },
}

--- What a plan's steps share: which names are taken, also by earlier steps.
---@param plan lunadex.Plan
---@return table
function M.context(plan)
  local chosen
  local function key(schema, name) return schema .. "\0" .. name end
  local function names()
    chosen = {}
    for change in plan:changes() do
      local relation = change.on
      if change.name and relation then chosen[key(relation.schema, change.name)] = true end
      for _, own in pairs(change.entry and change.entry.partitions or {}) do
        if own.name then chosen[key(relation.schema, own.name)] = true end
      end
    end
    return chosen
  end
  local declared_names
  local function declared(schema, name)
    if not declared_names then
      declared_names = {}
      for ordinal, entry in ipairs(plan.entries) do
        if entry.name then declared_names[key(plan.set:fields(ordinal).schema or "", entry.name)] = true end
      end
    end
    return declared_names[key(schema, name)]
  end
  return {
    version = plan.info.version_number,
    declared = declared,
    matches = common.matches(plan),
    live = function(schema, name) return plan.catalog:index(schema, name) end,
    taken = function(schema, name)
      return (chosen or names())[key(schema, name)] or plan.catalog:index(schema, name) ~= nil
        or plan.catalog:relation(schema, name) ~= nil
    end,
    chosen = function(schema, name) return (chosen or names())[key(schema, name)] end,
    take = function(schema, name) (chosen or names())[key(schema, name)] = true end,
  }
end

--- The steps of one change.
---@type fun(change: lunadex.PlannedChange, context: table, options: lunadex.StepOptions): lunadex.Step[]
M.of = common.writes(Writer, Writer.make)

return M
