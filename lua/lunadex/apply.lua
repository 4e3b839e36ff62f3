--- Plans made real: changes as the schedules let them begin, side by side, and what came of each.
--
-- One database's plan is a run (apply/run.lua); the runs of several databases share one pool of workers
-- (apply/pool.lua).

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local lock = require "lunadex.lock"
local Pool = require "lunadex.apply.pool"
local Run = require "lunadex.apply.run"
local schedule = require "lunadex.schedule"
local task = require "lunadex.task"

local M = {}

---@class lunadex.ApplyOptions: lunadex.StepOptions
---@field jobs integer?            # changes at a time, in all databases together, default 2
---@field on_event fun(event: table)?   # with several databases, each names its own
---@field locked boolean?          # the caller has taken the run locks; they are given back all the same
---@field record boolean?          # in the database's history (docs/history.md)
---@field wait number?             # seconds to wait for another run's end; default none

---@class lunadex.Outcome
---@field summary table<string, integer>
---@field failures {change: lunadex.PlannedChange, error: lunadex.Error, notes: string[]}[]
---@field critical_failed boolean
---@field interrupted integer?     # the signal
---@field halted lunadex.Error?    # why it ended early: the run lock was lost; or an internal error
---@field seconds number

--- How many sessions make `jobs` changes at a time: as many again may be waiting.
---@param jobs integer
---@return integer
function M.sessions(jobs)
  return Pool.size(jobs)
end

-- Whether these plans may be applied, now.
local function check(plans, options)
  local connections = {}
  for i, plan in ipairs(plans) do
    local refusal = plan:refusal() or plan.info.read_only and errors.read_only(plan.info)
    if refusal then return nil, refusal, plan.connection end
    connections[i] = plan.connection
  end
  if not options.locked then return lock.take(connections, options) end
  for _, connection in ipairs(connections) do
    -- Making the plans took its time.
    local ok, err = connection:locked()
    if not ok then return nil, err, connection end
  end
  return true
end

--- Applies the plans of several databases under one budget. Failures of single changes are in the outcomes, which come
--- in the order of the plans; `nil, err` means that nothing was begun.
---@param plans lunadex.Plan[]
---@param options lunadex.ApplyOptions?
---@return lunadex.Outcome[]?
---@return lunadex.Error? err
---@return lunadex.Connection? connection   # whose error it is
function M.together(plans, options)
  options = options or {}
  return task.run(function()
    local ok, err, connection = check(plans, options)
    if not ok then return nil, err, connection end
    local jobs = math.max(options.jobs or schedule.default_jobs, 1)
    local runs, pool = {}, Pool.of(jobs)
    for i, plan in ipairs(plans) do
      local run = Run.of(plan, options, pool)
      run.place, run.databases = i, #plans > 1 and #plans or nil
      if run.databases then run.label = run.label or plan.database end
      runs[i], pool.runs[i] = run, run
    end
    for _, run in ipairs(runs) do run:start() end
    for _, run in ipairs(runs) do run:end_if_over() end
    pool:run()
    local results = {}
    for i, run in ipairs(runs) do
      run.ending = run.ending or task.spawn(run.finish, run)
      run.ending:join()
      results[i] = run.outcome
    end
    if pool.failure then error(pool.failure, 0) end
    return results
  end)
end

--- Applies one plan.
---@param plan lunadex.Plan
---@param options lunadex.ApplyOptions?
---@return lunadex.Outcome?
---@return lunadex.Error? err
function M.run(plan, options)
  local results, err = M.together({ plan }, options)
  return results and results[1], err
end

--- The statements that applying would send, change by change.
---@param plan lunadex.Plan
---@param options lunadex.StepOptions?
---@return {change: lunadex.PlannedChange, sql: string[], not_shown: string?}[]
function M.statements(plan, options)
  local steps, result = plan.dialect.steps, {}
  local context = steps.context(plan)
  for change in plan:work() do
    local sql = {}
    for _, step in ipairs(steps.of(change, context, options or {})) do
      local text = core.describe(step, plan.connection.target)
      if text ~= "" then sql[#sql + 1] = text end -- it only looks
    end
    result[#result + 1] = { change = change, sql = sql, not_shown = steps.not_shown(change) }
  end
  return result
end

return M
