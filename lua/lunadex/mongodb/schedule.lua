--- Which changes may run side by side on MongoDB, and which comes first.
--
-- * Builds share a collection, and the server: it runs so many at a time (maxNumActiveUserIndexBuilds) and lets the
--   others wait. One more than that would count as running here and keep another from its place.
-- * A change in place (collMod) is refused while anything is built on its collection: it comes first, and alone there.
-- * So is the end of a unique build, which is one (core/drivers/mongodb/unique.c): it is begun when all others of its
--   collection are; or, where it is critical, before them, and they wait for it.
-- * What is dropped goes when the builds of its collection are done, for one of them may be what replaces it in use.
-- Critical builds first, then the longest.

local json = require "lunadex.mongodb.json"
local schedule = require "lunadex.schedule"

local M = {}

--- How many builds a server runs at a time, unless it was told otherwise.
M.builds_at_once = 3

local waves = { alter = 1, create = 2, replace = 2, rebuild = 2, wait = 2, drop = 3 }
local ALTER, BUILD, DROP = waves.alter, waves.create, waves.drop

--- Asks the server how many that are, where it matters. Who may not ask takes the usual number.
---@param plan lunadex.Plan
---@param jobs integer
function M.prepare(plan, jobs)
  local builds = 0
  for change in plan:work() do
    if waves[change.action] == BUILD then builds = builds + 1 end
  end
  if math.min(builds, jobs) < 2 then return end
  local rows = plan.connection:query '{ "getParameter": 1, "maxNumActiveUserIndexBuilds": 1, "$db": "admin" }'
  local reply = rows and rows[1] and json.parse(rows[1][1])
  local number = reply and json.number(json.field(reply, "maxNumActiveUserIndexBuilds"))
  plan.builds_at_once = number and number >= 1 and number or nil
end

---@class lunadex.mongodb.Item: lunadex.Item
---@field wave integer

---@class lunadex.mongodb.Schedule: lunadex.Schedule
---@field limit integer
---@field building integer
---@field collections table<string, lunadex.mongodb.Item[]>
---@field busy table<string, {building: integer, altering: lunadex.Item?}>   # by collection
local Schedule = schedule.class()

local function better(a, b)
  if a.wave ~= b.wave then return a.wave < b.wave end
  local critical = a.change.critical or false
  if critical ~= (b.change.critical or false) then return critical end
  if a.seconds ~= b.seconds then return a.seconds > b.seconds end
  return a.number < b.number
end

local reasons = {
  [BUILD] = "nothing is changed in place while its collection has builds",
  [DROP] = "it is dropped when the builds of its collection are done",
}

--- The schedule of a plan's changes.
---@param plan lunadex.Plan
---@return lunadex.Schedule
function M.of(plan)
  local self = setmetatable({ items = {}, collections = {}, busy = {}, building = 0,
    limit = plan.builds_at_once or M.builds_at_once }, Schedule)
  for change in plan:work() do
    local item = schedule.item(change, #self.items + 1, { wave = waves[change.action] })
    self.items[#self.items + 1] = item
    local others = self.collections[change.relation] or {}
    self.collections[change.relation] = others
    others[#others + 1] = item
  end
  for collection, items in pairs(self.collections) do
    self.busy[collection] = { building = 0 }
    for _, item in ipairs(items) do
      for _, other in ipairs(items) do
        if other.wave < item.wave then item.needs[#item.needs + 1] = { item = other, reason = reasons[item.wave] } end
      end
    end
  end
  self:fill(better)
  return self
end

local function is_unique(item)
  return item.wave == BUILD and item.change.entry.fields.unique or false
end

-- A build that has to begin, or to end, before this one begins.
local function before_it(item, others)
  local unique, critical = is_unique(item), item.change.critical or false
  for _, other in ipairs(others) do
    if other ~= item and other.wave == BUILD and is_unique(other) ~= unique then
      local first = other.change.critical or false
      if unique and other.state == "queued" and (first or not critical) then return other end
      if not unique and other.state ~= "finished" and first and not critical then return other end
    end
  end
end

function Schedule:obstacle(item)
  for _, need in ipairs(item.needs) do
    if need.item.state ~= "finished" then return "needs", need end
  end
  local busy = self.busy[item.change.relation]
  if busy.altering then return "busy", busy.altering end
  if item.wave ~= BUILD then return nil end
  if self.building >= self.limit then return "limit" end
  local other = before_it(item, self.collections[item.change.relation])
  if other then return "unique", other end
end

local function count(self, item, step)
  local busy = self.busy[item.change.relation]
  if item.wave == BUILD then self.building = self.building + step end
  if item.wave == ALTER then busy.altering = step > 0 and item or nil end
end

function Schedule:begins(item) count(self, item, 1) end

function Schedule:ends(item) count(self, item, -1) end

--- Why a queued item does not run, for people; nil: it only waits for its turn.
---@param item lunadex.Item
---@return string?
function Schedule:reason(item)
  local obstacle, other = self:obstacle(item)
  if not obstacle then return nil end
  if obstacle == "limit" then return ("the server builds %d at a time"):format(self.limit) end
  local change = (other.item or other).change
  local reason = other.reason or obstacle == "busy" and "one change in place at a time"
    or "an index becomes unique when nothing else is built on its collection"
  return ("after %s: %s"):format(change.name or change.live_name, reason)
end

return M
