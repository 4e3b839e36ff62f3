-- Sizes, uses and builders for everything that is worth a question.

local Maker = require "lunadex.plan.maker"

local known = Maker.known

-- To hundredths: a guess is no truer for more of them.
local function rounded(seconds) return seconds and math.floor(100 * seconds + 0.5) / 100 end

local builds = { create = true, replace = true, rebuild = true }

-- What is asked about a change, as the core takes it.
function Maker:question(change)
  local action, live = change.action, change.fact.live
  local alters = action == "alter" or action == "stray" and self:hides(live)
  return {
    relation = change.on, index = action ~= "create" and action ~= "alter" and live or nil,
    fields = builds[action] and self.plan.set:fields(change.ordinal) or nil,
    build = builds[action], alter = alters, drop = action == "replace" or action == "stray" and not alters,
  }
end

--- Says which right the user lacks for a change, once for each relation and right.
---@param change lunadex.PlannedChange
function Maker:tell_forbidden(change)
  local why = change.measure and change.measure.forbidden or ""
  local told = change.relation .. "\0" .. why
  if why == "" or self.forbidden[told] then return end
  self.forbidden[told] = true
  self:finding(change, { level = "warning", rule = "permission",
    message = ("the indexes of %s cannot be changed: %s"):format(change.relation, why), hint = self.dialect.rights })
end

-- Sizes, uses and builders for everything that is worth a question.
function Maker:measure()
  if #self.measured == 0 then return true end
  local items = {}
  for i, change in ipairs(self.measured) do items[i] = self:question(change) end
  local measures, err = self.plan.connection:measure(items)
  if not measures then
    if err.code == "cancelled" then return nil, err end
    -- The plan is right without figures.
    self:finding(nil, { level = "warning", rule = "no-measure", message = "sizes cannot be read: " .. err.message })
    return true
  end
  for i, change in ipairs(self.measured) do
    local measure = measures[i]
    change.measure = measure
    if change.action ~= "alter" then -- which reads nothing
      change.estimate = {
        rows = known(measure.rows), table_bytes = known(measure.table_bytes), index_bytes = known(measure.index_bytes),
        seconds = items[i].build and rounded(self.dialect.steps.seconds(measure, items[i].fields)) or nil,
      }
    end
    if change.entry then self:tell_forbidden(change) end
    if measure.being_built and (change.action == "rebuild" or change.resume) then
      change.action = "wait"
      change.builder = measure.builder ~= "" and measure.builder or nil
      change.reason = "being built" .. (change.builder and " by " .. change.builder or " by somebody")
    elseif measure.being_built and change.action == "replace" then
      change.builder = measure.builder ~= "" and measure.builder or "somebody"
      change.reason = ("being built by %s as something else: %s"):format(change.builder, change.reason)
    end
  end
  return true
end
