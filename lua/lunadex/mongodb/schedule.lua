--- Which changes may run side by side on MongoDB, and which comes first.
--
-- * Builds share a collection, and the server: it runs so many at a time (maxNumActiveUserIndexBuilds) and lets the
--   others wait. One more than that would count as running here and keep another from its place.
-- * A change in place (collMod) is refused while anything is built on its collection: it comes first, and alone there.
-- * So is the end of a unique build, which is one (core/drivers/mongodb/unique.c): it is begun when all others of its
--   collection are; or, where it is critical, before them, and they wait for it.
-- * What is dropped goes when the builds of its collection are done, for one of them may be what replaces it in use.
-- * Where a collection does not fit into the server's memory, each build would read it from disk. So its plain new
--   indexes are built together: as many commands as builds run side by side, each with its share of them. The first
--   of a share is begun for all; the others' own steps then find them there, or build them if that came to nothing.
-- * No more is replaced at a time than a collection has room for; what is created comes later where it would take that.
-- Critical builds first, then the longest.

local schedule = require "lunadex.schedule"
local server = require "lunadex.mongodb.server"
local steps = require "lunadex.mongodb.steps"

local M = {}

local waves = { alter = 1, create = 2, replace = 2, rebuild = 2, wait = 2, drop = 3 }
local ALTER, BUILD, DROP = waves.alter, waves.create, waves.drop
local MAKES_ROOM = 0

-- The changes that can be built together, by what they have in common: collection, commit quorum, and whether they are
-- critical, for those wait for nothing else. What becomes unique has more to do than to be built.
local function candidates(plan)
  local groups, found = {}, {}
  for change in plan:work() do
    local entry = change.entry
    if change.action == "create" and not entry.fields.unique then
      local key = ("%s %s %s"):format(change.critical, entry.commit_quorum, change.relation)
      if not found[key] then
        found[key] = {}
        groups[#groups + 1] = found[key]
      end
      table.insert(found[key], change)
    end
  end
  return groups
end

local function seconds(change) return change.estimate and change.estimate.seconds or 0 end

-- Deals them out among so many commands, the longest first, for all to end at about the same time. `together` has, by
-- change, those that are built by one command; the first of them is begun for all.
local function share_out(changes, commands, together)
  local shares = {}
  table.sort(changes, function(a, b)
    local x, y = seconds(a), seconds(b)
    if x ~= y then return x > y end
    return a.name < b.name
  end)
  for i, change in ipairs(changes) do
    local turn, place = (i - 1) // commands, (i - 1) % commands
    local share = turn % 2 == 0 and place + 1 or commands - place
    shares[share] = shares[share] or {}
    table.insert(shares[share], change)
  end
  for _, share in ipairs(shares) do
    for _, change in ipairs(share) do together[change] = #share > 1 and share or nil end
  end
end

-- What is on disk, and not the documents' size, is what does or does not stay in memory.
local function put_together(plan, commands)
  local together = {}
  for _, changes in ipairs(candidates(plan)) do
    local bytes = #changes > commands and changes[1].estimate and changes[1].estimate.table_bytes or 0
    local memory = bytes > 0 and server.memory(plan)
    if memory and bytes > memory and server.bytes_stored(plan, changes[1].relation) > memory then
      share_out(changes, commands, together)
    end
  end
  return together
end

--- Asks the server what it takes to build well, where it matters: how many builds it runs at a time, and what does not
--- fit into its memory. Who may not ask takes the usual number, and takes it that all fits.
---@param plan lunadex.Plan
---@param jobs integer
function M.prepare(plan, jobs)
  local builds = 0
  for change in plan:work() do
    if waves[change.action] == BUILD then builds = builds + 1 end
  end
  if builds < 2 then return end
  plan.dialect_state.together = put_together(plan, jobs > 1 and math.min(jobs, server.builds_at_once(plan)) or 1)
end

---@class lunadex.mongodb.Item: lunadex.Item
---@field wave integer
---@field room integer?            # how many like it its collection has room for at a time
---@field first boolean?           # and only before anything is created there

---@class lunadex.mongodb.Schedule: lunadex.Schedule
---@field limit integer
---@field building integer
---@field collections table<string, lunadex.mongodb.Item[]>
---@field busy table<string, {replacing: integer, altering: lunadex.Item?}>   # by collection
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
  [MAKES_ROOM] = "it makes room",
  room = "there is no room to replace that when this one is there",
  together = "it is built by the same command, as the collection does not fit into the server's memory",
}

--- The schedule of a plan's changes.
---@param plan lunadex.Plan
---@return lunadex.Schedule
function M.of(plan)
  local state = plan.dialect_state
  local self = setmetatable({ items = {}, collections = {}, busy = {}, building = 0,
    limit = state.builds_at_once or server.usual_builds_at_once }, Schedule)
  local leaders, together = {}, state.together or {}
  for change in plan:work() do
    local room, first = steps.room(change, plan)
    local wave = steps.makes_room(change, plan) and MAKES_ROOM or waves[change.action]
    local item = schedule.item(change, #self.items + 1, { wave = wave, room = room, first = first })
    self.items[#self.items + 1] = item
    if together[change] and together[change][1] == change then leaders[change] = item end
    local others = self.collections[change.relation] or {}
    self.collections[change.relation] = others
    others[#others + 1] = item
  end
  for _, item in ipairs(self.items) do
    local leader = together[item.change] and leaders[together[item.change][1]]
    if leader and leader ~= item then
      item.needs[1] = { item = leader, reason = reasons.together }
      leader.seconds, item.seconds = leader.seconds + item.seconds, schedule.least_seconds
    end
  end
  for collection, items in pairs(self.collections) do
    self.busy[collection] = { replacing = 0 }
    for _, item in ipairs(items) do
      for _, other in ipairs(items) do
        local reason = other.wave < item.wave and reasons[other.wave == MAKES_ROOM and MAKES_ROOM or item.wave]
          or other.first and item.change.action == "create" and reasons.room
        if reason then item.needs[#item.needs + 1] = { item = other, reason = reason } end
      end
    end
  end
  self:fill(better)
  return self
end

local function is_unique(item)
  return item.wave == BUILD and item.change.entry.fields.unique or false
end

-- A build that has to begin, or to end, before this one begins; but none that is created when this one is replaced.
local function before_it(item, others)
  local unique, critical = is_unique(item), item.change.critical or false
  for _, other in ipairs(others) do
    local later = item.first and other.change.action == "create"
    if other ~= item and not later and other.wave == BUILD and is_unique(other) ~= unique then
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
  if item.room and busy.replacing >= item.room then return "room" end
  local other = before_it(item, self.collections[item.change.relation])
  if other then return "unique", other end
end

local function count(self, item, step)
  local busy = self.busy[item.change.relation]
  if item.wave == BUILD then self.building = self.building + step end
  if item.room then busy.replacing = busy.replacing + step end
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
  if obstacle == "room" then
    return ("the collection has room for %d more at a time"):format(item.room)
  end
  local change = (other.item or other).change
  local reason = other.reason or obstacle == "busy" and "one change in place at a time"
    or "an index becomes unique when nothing else is built on its collection"
  return ("after %s: %s"):format(change.name or change.live_name, reason)
end

return M
