--- What a schedule is, whatever the database: a queue from which changes are taken as they may begin.
--
-- Which may not overlap, which comes first and why something waits is the dialect's policy: lunadex.postgres.schedule,
-- lunadex.mongodb.schedule. A policy's class derives from this one and gives
--   obstacle(item, now)   why an item may not begin, as a word and what goes with it; nil if it may
--   reason(item, now)     the same for people
--   begins(item), ends(item)   what it takes down about items under way

local M = {}

M.default_jobs = 2 -- changes at a time

--- Unknown sizes are as good as any; but never nothing, or the number of builds would not count.
M.least_seconds = 0.01

---@class lunadex.Item
---@field change lunadex.PlannedChange
---@field number integer           # its place in the plan
---@field needs {item: lunadex.Item, reason: string}[]   # what has to be finished before, and why
---@field seconds number           # estimate
---@field state "queued"|"running"|"finished"
---@field began number?            # when it was taken

---@class lunadex.Schedule
---@field items lunadex.Item[]     # in the plan's order
---@field queue lunadex.Item[]     # what is not begun, best first
---@field obstacle fun(self, item: lunadex.Item, now: number): string?, any
---@field reason fun(self, item: lunadex.Item, now: number): string?
---@field begins fun(self, item: lunadex.Item)
---@field ends fun(self, item: lunadex.Item)
local Schedule = {}

--- A class for a policy's schedules.
function M.class()
  local class = setmetatable({}, { __index = Schedule })
  class.__index = class
  return class
end

--- A change as an item; what the policy has to know of it is in `more`.
---@param change lunadex.PlannedChange
---@param number integer
---@param more table
---@return lunadex.Item
function M.item(change, number, more)
  more.change, more.number, more.state, more.needs = change, number, "queued", {}
  more.seconds = math.max(change.estimate and change.estimate.seconds or 0, M.least_seconds)
  return more
end

--- Fills the queue from the items.
---@param better fun(a: lunadex.Item, b: lunadex.Item): boolean
function Schedule:fill(better)
  self.queue = table.move(self.items, 1, #self.items, 1, {})
  table.sort(self.queue, better)
end

--- Takes the item that is best begun now; nil: none may be.
---@param now number               # seconds, of whatever clock
---@return lunadex.Item?
function Schedule:next(now)
  for i, item in ipairs(self.queue) do
    if not self:obstacle(item, now) then
      table.remove(self.queue, i)
      item.state, item.began = "running", now
      self:begins(item)
      return item
    end
  end
end

---@param item lunadex.Item
function Schedule:finished(item)
  item.state = "finished"
  self:ends(item)
end

--- The order in which `jobs` at a time would begin if all took as long as is estimated, with what each waits for. Uses
--- the schedule up.
---@param jobs integer
---@return {item: lunadex.Item, at: number, reason: string?}[]
function Schedule:rehearse(jobs)
  local order, running, now, reasons = {}, {}, 0, {}
  while true do
    while #running < jobs do
      local item = self:next(now)
      if not item then break end
      order[#order + 1] = { item = item, at = now, reason = reasons[item] }
      running[#running + 1] = { item = item, ends = now + item.seconds }
    end
    if #running == 0 then return order end
    for _, item in ipairs(self.queue) do reasons[item] = reasons[item] or self:reason(item, now) end
    local first = 1
    for i, each in ipairs(running) do
      if each.ends < running[first].ends then first = i end
    end
    local done = table.remove(running, first)
    now = done.ends
    self:finished(done.item)
  end
end

return M
