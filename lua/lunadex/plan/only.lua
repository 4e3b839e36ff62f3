-- --only: what it names, and what it may have meant.

local Maker = require "lunadex.plan.maker"
local errors = require "lunadex.errors"

--- Whether --only names one of these.
function Maker.matches_only(only, name, live_name, relation, written)
  return name and only[name] or live_name and only[live_name] or written and only[written]
    or relation and (only[relation.display] or only[relation.name]
      or relation.schema and only[relation.schema .. "." .. relation.name])
end

--- Narrows the plan to what --only names, if it names anything.
function Maker:narrow()
  local names, plan = self.options.only or {}, self.plan
  if #names == 0 then return end
  self.only = {}
  for _, name in ipairs(names) do self.only[name] = true end
  plan.only = self.only
  local summary = plan.summary
  summary.declared, summary.live, summary.keep = 0, 0, 0
end

-- `--only` that nothing answers to, with the nearest of what would have been an answer.
function Maker:unmatched()
  local names = {}
  for fact in self.plan.diff:changes(false) do
    local entry = fact.ordinal and self.plan.entries[fact.ordinal]
    local relation = fact.relation or fact.live and fact.live.relation
    if entry then
      names[entry.relation] = true
      if entry.name then names[entry.name] = true end
    end
    if fact.live then names[fact.live.name] = true end
    if relation then names[relation.display], names[relation.name] = true, true end
  end
  local hint
  for _, name in ipairs(self.options.only) do hint = hint or Maker.did_you_mean(name, names) end
  local err = errors.new("usage", "--only " .. table.concat(self.options.only, ", ") .. " matches nothing",
    hint or "Give the name of a declared index, or of a relation as the plan shows it.")
  err.unmatched = true -- of several databases, another may have it
  return err
end
