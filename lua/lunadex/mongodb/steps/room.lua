--- Whether a collection takes one index more.

local key_of_type = require("lunadex.mongodb.fields").key_of_type

local M = {}

--- How many indexes a collection has at most.
M.most = 64

--- What there is of a collection, and what the plan adds to it for good: how many, and which place each has among them.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return {indexes: integer, creates: integer, place: table<lunadex.PlannedChange, integer>}
function M.tally(change, plan)
  local state = plan.dialect_state
  state.tallies = state.tallies or {}
  local tally = state.tallies[change.relation]
  if not tally then
    tally = { indexes = change.on.absent and 1 or 0, creates = 0, place = {} }
    for _, index in ipairs(change.on:indexes()) do
      if not index.clustered then tally.indexes = tally.indexes + 1 end
    end
    for _, other in ipairs(plan.decided) do
      if other.action == "create" and other.relation == change.relation then
        tally.creates = tally.creates + 1
        tally.place[other] = tally.creates
      end
    end
    state.tallies[change.relation] = tally
  end
  return tally
end

-- How many indexes a collection takes beside those it has, and beside those it will have.
local function room_of(change, plan)
  local tally = M.tally(change, plan)
  local now = M.most - tally.indexes
  return now, now - tally.creates
end

--- Why the server would not have what is replaced and what replaces it at a time; nil: it would.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return string?
function M.obstacle(change, plan)
  local live, fields = change.fact.live, change.entry.fields
  if live:matches(plan.set, change.ordinal) then
    if change.resume then return nil end -- it is the new one
    return "to the server it is the same index, as keys, unique, sparse, partial and collation are"
  end
  if key_of_type(live:fields(), "text") and key_of_type(fields, "text") then
    return "a collection has but one text index"
  end
  if change.resume or (room_of(change, plan)) >= 1 then return nil end
  return ("a collection has %d indexes at most"):format(M.most)
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
