--- The workers that the runs of several databases share.
--
-- A change costs one of `jobs` wherever it is made. One that only waits for other sessions does no work: meanwhile the
-- next one may begin, so that a report with an old snapshot does not keep the processors idle.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local task = require "lunadex.task"

---@class lunadex.Pool
---@field runs lunadex.Run[]
---@field jobs integer
---@field active integer           # changes under way
---@field waiting integer          # of these, how many only wait for other sessions
---@field freed lunadex.Point      # one of them has ended, or waits
---@field failure any              # the first mistake that was raised, by a listener or by us
local Pool = {}
Pool.__index = Pool

---@param jobs integer
---@return lunadex.Pool
function Pool.of(jobs)
  return setmetatable({ runs = {}, jobs = jobs, active = 0, waiting = 0, freed = task.point() }, Pool)
end

--- How many workers there are: as many again as `jobs` may be waiting.
---@param jobs integer
---@return integer
function Pool.size(jobs)
  return 2 * jobs
end

-- Calls what may raise: a mistake must neither end the worker that runs into it nor leave anything running or locked.
-- The first one stops all runs; it is raised again when they have ended.
function Pool:protect(call, ...)
  local ok, failure = xpcall(call, task.traced, ...)
  if ok or self.failure then return end
  self.failure = failure
  local stopped = errors.new("cancelled", "the run was stopped by a mistake")
  for _, run in ipairs(self.runs) do
    run.halted = run.halted or stopped
    run.connection:cancel()
  end
end

--- Whether a change that is under way only waits for other sessions now.
function Pool:waits(item, waiting)
  if waiting == (item.waiting or false) then return end
  item.waiting = waiting
  self.waiting = self.waiting + (waiting and 1 or -1)
  if waiting then self.freed:announce() end
end

-- The next change, of the run that has got least so far: a database with much to do does not keep the others waiting.
function Pool:next()
  if self.active - self.waiting >= self.jobs then return nil end
  table.sort(self.runs, function(a, b)
    if a.active ~= b.active then return a.active < b.active end
    if a.begun ~= b.begun then return a.begun < b.begun end
    return a.place < b.place
  end)
  for _, run in ipairs(self.runs) do
    local item = not run.halted and run.active < run.connection.jobs and run.schedule:next(core.now())
    if item then return run, item end
  end
end

-- One worker: changes as long as there are any.
function Pool:work()
  while not task.stopping() do
    local run, item = self:next()
    if run then
      self.active, run.active, run.begun = self.active + 1, run.active + 1, run.begun + 1
      self:protect(run.change, run, item)
      self.active, run.active = self.active - 1, run.active - 1
      run.schedule:finished(item)
      run:end_if_over()
      self.freed:announce()
    elseif self.active > 0 then
      for _, each in ipairs(self.runs) do
        if not each.halted then each:tell_why() end
      end
      self.freed:wait()
    else
      return
    end
  end
end

--- Makes the changes of all runs; back when there is nothing more that could begin.
function Pool:run()
  local workers = {}
  for i = 1, Pool.size(self.jobs) do
    workers[i] = task.spawn(self.work, self)
  end
  for _, worker in ipairs(workers) do worker:join() end
end

return Pool
