--- Whether a collection takes one index more.

local key_of_type = require("lunadex.mongodb.fields").key_of_type

local M = {}

--- How many indexes a collection has at most.
M.most = 64

-- Why the server would not have what is replaced and what replaces it at a time, however much room there is.
local function conflict(change, plan)
  local live, fields = change.fact.live, change.entry.fields
  if live:matches(plan.set, change.ordinal) then
    if change.resume then return nil end -- it is the new one
    return "to the server it is the same index, as keys, unique, sparse, partial and collation are"
  end
  if key_of_type(live:fields(), "text") and key_of_type(fields, "text") then
    return "a collection has but one text index"
  end
end

---@class lunadex.mongodb.Tally   # what there is of a collection, and what the plan makes of that
---@field indexes integer         # that are live
---@field creates lunadex.PlannedChange[]
---@field replaces boolean        # something stands beside what it replaces for a while
---@field drops lunadex.PlannedChange[]   # that go first, for there is no room otherwise
---@field place table<lunadex.PlannedChange, integer>   # of what is created: how many there are then, if none goes

---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return lunadex.mongodb.Tally
function M.tally(change, plan)
  local state = plan.dialect_state
  state.tallies = state.tallies or {}
  local tally = state.tallies[change.relation]
  if tally then return tally end
  tally = { indexes = change.on.absent and 1 or 0, creates = {}, replaces = false, drops = {}, place = {} }
  state.tallies[change.relation] = tally
  for _, index in ipairs(change.on:indexes()) do
    if not index.clustered then tally.indexes = tally.indexes + 1 end
  end
  local drops = {}
  for _, other in ipairs(plan.decided) do
    local here = other.relation == change.relation and other.action
    if here == "create" then
      tally.creates[#tally.creates + 1] = other
      tally.place[other] = tally.indexes + #tally.creates
    elseif here == "replace" then
      tally.replaces = tally.replaces or not other.resume and not conflict(other, plan)
    elseif here == "drop" then
      drops[#drops + 1] = other
    end
  end
  local lacks = tally.indexes + math.max(#tally.creates, tally.replaces and 1 or 0) - M.most
  table.move(drops, 1, math.min(lacks, #drops), 1, tally.drops)
  return tally
end

-- How many indexes a collection takes beside those it has when what makes room is gone, and beside those it will have.
local function room_of(change, plan)
  local tally = M.tally(change, plan)
  local now = M.most - tally.indexes + #tally.drops
  return now, now - #tally.creates
end

--- Why the server would not have what is replaced and what replaces it at a time; nil: it would.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return string?
function M.obstacle(change, plan)
  local why = conflict(change, plan)
  if why or change.resume or (room_of(change, plan)) >= 1 then return why end
  return ("a collection has %d indexes at most"):format(M.most)
end

--- What has to be dropped before there is room for what is created, or stands beside what it replaces; nil: nothing.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return lunadex.PlannedChange?
function M.made_by(change, plan)
  local tally = M.tally(change, plan)
  local beside = change.action == "replace" and not change.resume and not M.obstacle(change, plan)
  local place = tally.place[change] or beside and tally.indexes + 1
  return place and tally.drops[place - M.most]
end

--- Whether that is what a change is, once those are known which lack room.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return boolean
function M.makes(change, plan)
  local tally = (plan.dialect_state.tallies or {})[change.relation]
  for _, drop in ipairs(tally and tally.drops or {}) do
    if drop == change then return true end
  end
  return false
end

--- How many changes like this one can be made on its collection at a time, as what they build stands beside what is
--- there for a while; nil: there is no such limit. And whether there is room only before anything is created there.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return integer?
---@return boolean? first
function M.of(change, plan)
  if change.action ~= "replace" or change.resume or M.obstacle(change, plan) then return nil end
  local now, afterwards = room_of(change, plan)
  if afterwards >= 1 then return afterwards end
  return now, true
end

return M
