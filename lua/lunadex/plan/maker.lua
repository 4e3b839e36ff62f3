--- What the parts of planning share: the one who makes a plan, what it has gathered, how it speaks.
--
-- Its methods are in one file for each subject: decide, leftovers, check, names, measure, only.

---@class lunadex.plan.Maker
---@field plan lunadex.Plan
---@field dialect lunadex.Dialect
---@field options lunadex.PlanOptions
---@field only table<string, boolean>?            # what --only names
---@field measured lunadex.PlannedChange[]         # what is worth a question about sizes
---@field strays lunadex.PlannedChange[]           # to be settled when it is measured
---@field chosen table<string, boolean>            # names given to the unnamed
---@field leaving table<string, lunadex.PlannedChange>   # by live name and relation: the rename or drop that frees it
---@field replacing table<string, boolean>         # live names, by relation, that something else is to take
---@field forbidden table<string, boolean>         # by relation: what was said not to be allowed
local Maker = {}
Maker.__index = Maker

---@param plan lunadex.Plan
---@return lunadex.plan.Maker
function Maker.of(plan)
  return setmetatable({
    plan = plan, dialect = plan.dialect, options = plan.options, measured = {}, forbidden = {}, strays = {},
    chosen = {}, leaving = {}, replacing = {},
  }, Maker)
end

--- A live index, or the part of it on some partition, of which something is true.
---@param index lunadex.Index
---@param relation lunadex.Relation
---@param field string             # "replica_identity", "referenced", "dependents", "clustered"
---@return lunadex.Index?
function Maker.part_with(index, relation, field)
  if index[field] then return index end
  for _, partition in ipairs(index.partitioned and relation:partitions() or {}) do
    for _, part in ipairs(partition:indexes()) do
      local found = part.parent and part.parent.name == index.name and part.parent.relation.display == relation.display
        and Maker.part_with(part, partition, field)
      if found then return found end
    end
  end
end

-- The core says -1 where it does not know; estimates are no truer for their fractions.
function Maker.known(number)
  if number and number >= 0 then return math.floor(number + 0.5) end
end

--- Adds a finding to the plan, and to the change it is about.
---@param change lunadex.PlannedChange?
---@param finding lunadex.Finding      # level, rule, message; what the change tells is filled in
function Maker:finding(change, finding)
  if change then
    local entry = change.entry
    finding.relation = finding.relation or change.relation
    finding.name = finding.name or change.name or change.live_name
    finding.definition = finding.definition or change.definition
    if entry and not finding.file then finding.file, finding.line = entry.file, entry.line end
    change.findings[#change.findings + 1] = finding
  end
  self.plan.findings[#self.plan.findings + 1] = finding
end

-- A change as the plan shows it, from a fact of the core.
function Maker:change(fact)
  local entry = fact.ordinal and self.plan.entries[fact.ordinal]
  local live = fact.live
  local relation = fact.relation or live and live.relation
  return {
    action = fact.action,
    relation = relation and relation.display or entry and entry.relation or "",
    name = entry and entry.name and self.dialect.name.truncate(entry.name) or nil,
    live_name = live and live.name or nil,
    definition = fact.ordinal and self.plan.set:text(fact.ordinal) or live.text,
    reason = fact.reason or "",
    critical = entry and entry.critical or false,
    description = entry and entry.description or nil,
    estimate = {
      rows = relation and Maker.known(relation.rows), table_bytes = relation and Maker.known(relation.bytes),
      index_bytes = live and Maker.known(live.bytes),
    },
    findings = {},
    entry = entry,
    fact = fact,
    on = relation,
    ordinal = fact.ordinal,
    use_existing = fact.use_existing and fact.action == "create",
  }
end

return Maker
