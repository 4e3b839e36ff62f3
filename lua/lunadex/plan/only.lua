-- --only: what it names, and what it may have meant; or the one live index that a script is about.

local Maker = require "lunadex.plan.maker"
local errors = require "lunadex.errors"
local suggest = require "lunadex.suggest"

---@class lunadex.Only
---@field names table<string, true|"found">
---@field index lunadex.Index?     # of another catalog: its relation and name say which it is

local function note(only, name)
  if not (name and only.names[name]) then return false end
  only.names[name] = "found"
  return true
end

local function is_index(index, name, relation)
  local on = index.relation
  return index.name == name and relation ~= nil and on.name == relation.name and on.schema == relation.schema
end

--- Whether --only names one of these. All that it does name are noted: whatever is never found was a mistake.
function Maker.matches_only(only, name, live_name, relation, written)
  if only.index then return is_index(only.index, live_name, relation) end
  local found = note(only, name)
  found = note(only, live_name) or found
  found = note(only, written) or found
  if not relation then return found end
  found = note(only, relation.display) or found
  found = note(only, relation.name) or found
  return note(only, relation.schema and relation.schema .. "." .. relation.name) or found
end

--- Narrows the plan to what --only names, if it names anything.
function Maker:narrow()
  local names, index, plan = self.options.only or {}, self.options.index, self.plan
  if #names == 0 and not index then return end
  self.only = { names = {}, index = index }
  for _, name in ipairs(names) do self.only.names[name] = true end
  plan.only = self.only
  local summary = plan.summary
  summary.declared, summary.live, summary.keep = 0, 0, 0
end

-- What would have been an answer to --only.
local function answers(plan, made_up)
  local names = {}
  for key in pairs(made_up) do names[key:match "%z(.*)$"] = true end
  for fact in plan.diff:changes(false) do
    local entry = fact.ordinal and plan.entries[fact.ordinal]
    local relation = fact.relation or fact.live and fact.live.relation
    if entry then
      names[entry.relation] = true
      if entry.name then names[entry.name] = true end
    end
    if fact.live then names[fact.live.name] = true end
    if relation then names[relation.display], names[relation.name] = true, true end
  end
  return names
end

-- Backfills change data, and no plan does.
local function backfill_hint(plan, name)
  for _, backfill in ipairs(plan.backfills) do
    if backfill.name == name then
      return ("%s is a backfill: lunadex backfill run --only %s does that."):format(name, name)
    end
  end
end

--- The names of --only that nothing answers to, each with a hint, which may be empty; nil: all were found.
---@return table<string, string>?
function Maker:unfound()
  local missing, names
  for _, name in ipairs(self.options.only or {}) do
    if self.only.names[name] ~= "found" then
      missing, names = missing or {}, names or answers(self.plan, self.chosen)
      missing[name] = backfill_hint(self.plan, name) or suggest.question(name, names) or ""
    end
  end
  return missing
end

--- The error of names that are found in none of several databases; nil: each is in one of them.
---@param only string[]
---@param missing (table<string, string>|false)[]   # of each database
---@return lunadex.Failure?
function Maker.unfound_error(only, missing)
  local names, hint = {}, nil
  for _, name in ipairs(only) do
    local nowhere, meant = true, nil
    for _, each in ipairs(missing) do
      if not (each and each[name]) then nowhere = false break end
      if each[name] ~= "" then meant = meant or each[name] end
    end
    if nowhere then
      names[#names + 1] = name
      hint = hint or meant
    end
  end
  if #names == 0 then return nil end
  return errors.new("usage", "--only " .. table.concat(names, ", ") .. " matches nothing",
    hint or "Give the name of a declared index, or of a relation as the plan shows it.")
end
