-- What runs that were killed have left under names of ours, and failed builds of whomever: what becomes of it.
--
-- A replacement is `_ldx_new` until it takes its place, what it replaces `_ldx_old` afterwards (the dialect's names).
-- What is wanted takes its place, whichever of the two it is by now; what is not, goes. Where nothing can be renamed, a
-- replacement keeps its name (`stays`) and is left over once there is another one. None of this needs an option: it is
-- the end of what was asked for before.

local Maker = require "lunadex.plan.maker"

local matches_only = Maker.matches_only

Maker.left = "left by an interrupted replacement"

--- The names of a relation's live indexes and keys.
---@param relation lunadex.Relation
---@return string[]
function Maker.names_on(relation)
  local names = {}
  for i, index in ipairs(relation:indexes()) do names[i] = index.name end
  return names
end

-- A foreign key may have the name of an index.
local function key(live)
  return table.concat({ live.kind == "foreign_key" and "f" or "", live.relation.display, live.name }, "\0")
end

local function place(relation, name) return relation.display .. "\0" .. name end

local function named(relation, name, foreign_key)
  for _, index in ipairs(relation:indexes()) do
    if index.name == name and (index.kind == "foreign_key") == foreign_key then return index end
  end
end

-- The facts by what is live, and the relations that there are facts about. It takes all facts, also of what is kept
-- without a word, and so is only made where something of ours is left.
function Maker:claims()
  if not self.claimed then
    self.claimed, self.mentioned = {}, {}
    for fact in self.plan.diff:changes(false) do
      local relation = fact.relation or fact.live and fact.live.relation
      if relation then self.mentioned[relation.display] = true end
      if fact.live and fact.ordinal then self.claimed[key(fact.live)] = fact end
    end
  end
  return self.claimed
end

-- What has the name that a change's live index is to have; false: it cannot give way, for it is declared itself, or
-- another relation's.
function Maker:holder(change)
  local live = change.fact.live
  local foreign_key = live.kind == "foreign_key"
  local holder = named(live.relation, change.name, foreign_key)
    or not foreign_key and self.plan.catalog:index(live.relation.space, change.name) or nil
  if holder and (holder.relation.display ~= live.relation.display or self:claims()[key(holder)]) then return false end
  return holder
end

local reasons = {
  new = "an interrupted replacement has built the new index already",
  unfinished = "an interrupted replacement has left the new index unfinished: it is built again",
  old = "an interrupted replacement is not wanted any more",
}

-- What is declared has a name of ours and takes its place, as soon as it is what it should be: the new one of a
-- replacement that came no further; or the old one, where the registry has gone back meanwhile.
function Maker:resume(change)
  local live, naming = change.fact.live, self.dialect.name
  if naming.stays then
    -- There is something to be done only as long as the old one is there, and nobody else's by now.
    local old = naming.replaced(live.name) == change.name and named(live.relation, change.name, false)
    if not old or self:claims()[key(old)] then return false end
    change.action, change.resume, change.reason = "replace", "new", reasons.new
    return true
  end
  local side = live.name == naming.temporary(change.name, "new") and "new"
    or live.kind == "index" and live.name == naming.temporary(change.name, "old") and "old"
  if not side or self:holder(change) == false then return false end
  change.action, change.resume = "replace", side
  change.reason = reasons[side == "new" and not live.valid and "unfinished" or side]
  return true
end

-- The live indexes that are still on their way in a circle of names, by what is claimed: from one that was moved out of
-- another's way through all whose names are wanted, to a name that is free.
function Maker:going_round()
  if self.circles then return self.circles end
  self.circles = {}
  local plan, naming = self.plan, self.dialect.name
  for _, moved in ipairs(naming.stays and {} or plan.catalog:ending(naming.temporary("", "moved"))) do
    local way, live = {}, moved
    while live do
      local fact = self:claims()[key(live)]
      local name = fact and fact.name_differs and naming.truncate(plan.entries[fact.ordinal].name)
      if not name or live == moved and naming.temporary(name, "moved") ~= live.name then break end
      way[#way + 1] = key(live)
      if live.kind == "foreign_key" then
        live = named(live.relation, name, true)
      else
        live = plan.catalog:index(live.relation.space, name)
      end
      if not live then
        for _, each in ipairs(way) do self.circles[each] = true end
      elseif #way > #plan.entries then
        break
      end
    end
  end
  return self.circles
end

-- An earlier run has begun to give it its name.
function Maker:was_moved(change) return self:going_round()[key(change.fact.live)] == true end

-- What replacements of the same name that were not finished have left beside `change`, where they keep names of ours.
function Maker:left_beside(change)
  local naming, left = self.dialect.name, {}
  if not naming.stays or change.resume then return left end
  for _, index in ipairs(change.on:indexes()) do
    if naming.replaced(index.name) == change.name and index.valid and index.name ~= change.fact.live.name
      and not self:claims()[key(index)] then
      left[#left + 1] = index
    end
  end
  return left
end

--- Notes what goes because something else takes its name, or its place.
---@param changes lunadex.PlannedChange[]
function Maker:note_replaced(changes)
  for _, change in ipairs(changes) do
    if change.action == "replace" or change.resume then
      self.replacing[place(change.on, change.resume and change.name or change.fact.live.name)] = true
      change.left = self:left_beside(change)
      for _, index in ipairs(change.left) do self.replacing[place(change.on, index.name)] = true end
    end
  end
end

-- The valid index that a name of ours was made from.
function Maker:base_of(live, suffix)
  local naming = self.dialect.name
  local base = naming.base_of(live.name, suffix, Maker.names_on(live.relation))
  local index = base and named(live.relation, base, live.kind == "foreign_key")
  return index and index.valid and index or nil
end

--- Whether an undeclared index is dropped by the replacement of another one.
---@param live lunadex.Index
---@return boolean
function Maker:goes_with_replacement(live)
  local relation, naming = live.relation, self.dialect.name
  if naming.stays then
    return self.replacing[place(relation, live.name)] or false
  end
  local names = Maker.names_on(relation)
  local base = naming.base_of(live.name, "new", names) or naming.base_of(live.name, "old", names)
  return self.replacing[place(relation, live.name)] or base and self.replacing[place(relation, base)] or false
end

-- What leaves an index that is declared as it is, is done to it in place, or waits until it is built.
local comes_to_it = { keep = true, alter = true, rebuild = true }

--- Whether an undeclared index is what a replacement has left, before its swap or after it.
---@param live lunadex.Index
---@return boolean
function Maker:own_leftover(live)
  local naming = self.dialect.name
  if naming.stays then
    -- Only once the other one is all that it is to be: until then this one may be doing its work. What is still to be
    -- done to that comes first, and where it fails nothing is dropped.
    local base = naming.replaced(live.name)
    local index = base and named(live.relation, base, false)
    local fact = index and self:claims()[key(index)]
    return fact ~= nil and comes_to_it[fact.action] ~= nil and (self.plan.entries[fact.ordinal].name or base) == base
  end
  local names = Maker.names_on(live.relation)
  return (self:base_of(live, "new") or naming.base_of(live.name, "old", names)) ~= nil
end

--- Where a replacement keeps another name, what it replaced the last time is found under that one.
---@param changes lunadex.PlannedChange[]
function Maker:find_replaced(changes)
  local naming = self.dialect.name
  if not naming.stays then return end
  local created = {}
  for _, change in ipairs(changes) do
    local name = change.action == "create" and change.entry.name
    if name then created[change.relation .. "\0" .. name] = change end
  end
  for i = #self.strays, 1, -1 do
    local stray = self.strays[i]
    local base = naming.replaced(stray.live_name)
    local wanted = base and stray.relation .. "\0" .. base
    local change = wanted and created[wanted]
    if change then
      created[wanted] = nil
      change.action, change.live_name, change.fact.live = "replace", stray.live_name, stray.fact.live
      change.reason = "another definition: live is " .. stray.definition
      stray.action = nil
      table.remove(self.strays, i)
    end
  end
end

--- Constraints are nobody's strays; the new one of a replacement that is not wanted any more goes all the same.
---@param changes lunadex.PlannedChange[]
function Maker:drop_left_constraints(changes)
  local naming = self.dialect.name
  if naming.stays then return end
  for _, live in ipairs(self.plan.catalog:ending(naming.temporary("", "new"))) do
    local base = live.constraint and not live.inherited and self:base_of(live, "new")
    if base and base.constraint and not self:claims()[key(live)] and self.mentioned[live.relation.display]
      and not self:goes_with_replacement(live)
      and (not self.only or matches_only(self.only, base.name, live.name, live.relation)) then
      local change = self:change { action = "stray", live = live, relation = live.relation, reason = self.left }
      change.action = "drop"
      changes[#changes + 1] = change
    end
  end
end

--- The check that a primary key needs until it is there refuses nulls: where no run makes that key any more, it goes.
---@param changes lunadex.PlannedChange[]
function Maker:drop_left_checks(changes)
  local name = self.dialect.name.null_check
  if not name then return end
  local goes_on = {}
  for _, change in ipairs(changes) do
    local made = change.action == "create" or change.action == "replace" or change.action == "rebuild"
    if made and change.entry.fields.kind == "primary_key" then goes_on[change.relation] = true end
  end
  for relation in self.plan.catalog:relations() do
    local wanted = relation.null_check and not goes_on[relation.display]
    if wanted and self.only then wanted = matches_only(self.only, nil, name, relation) end
    if wanted and (self.options.repair or self:claims() and self.mentioned[relation.display]) then
      -- It is no index, and stands in no catalog as one.
      local live = { name = name, relation = relation, kind = "check", text = "CHECK that columns hold no null",
        constraint = true, constraint_id = relation.null_check, valid = true, fields = function() end }
      local change = self:change { action = "stray", live = live, relation = relation,
        reason = "left by an interrupted primary key, and refuses nulls" }
      change.action = "drop"
      changes[#changes + 1] = change
    end
  end
end

local function topmost(index)
  while index.parent do index = index.parent end
  return index
end

-- What a part of a partitioned index is to be called: as its partition's declaration says, or what its name was made
-- from.
local function part_name(part, entry, naming)
  local all = entry.partitions or {}
  local own = all[part.relation.display] or all[part.relation.name] or {}
  if own.name and naming.temporary(own.name, "new") == part.name then return own.name end
  return part.name:sub(1, -1 - #naming.temporary("", "new"))
end

-- The index that a part belongs to, if that stays: its fact.
function Maker:stays(part)
  local top = topmost(part)
  local fact = self:claims()[key(top)]
  if not fact or self.replacing[place(top.relation, top.name)] then return nil end
  return (fact.action == "keep" or fact.action == "rebuild") and fact or nil
end

--- Parts get their names last, when those of what is replaced are gone: it may never have come to that.
---@param changes lunadex.PlannedChange[]
function Maker:rename_parts(changes)
  local naming = self.dialect.name
  if naming.stays then return end
  for _, part in ipairs(self.plan.catalog:ending(naming.temporary("", "new"))) do
    local fact = part.parent and self:stays(part)
    local entry = fact and self.plan.entries[fact.ordinal]
    if fact and (not self.only or matches_only(self.only, entry.name, part.name, part.relation)
        or matches_only(self.only, nil, nil, fact.relation, entry.relation)) then
      local change = self:change { action = "rename", live = part, relation = part.relation, reason = self.left }
      change.name = part_name(part, entry, naming)
      self:make_room(change)
      changes[#changes + 1] = change
    end
  end
end

-- What has the name of a part goes with the index that it is part of, or else the part keeps the name it has.
function Maker:make_room(change)
  local schema = change.on.schema
  local holder = self.plan.catalog:index(schema, change.name)
  local top = holder and topmost(holder)
  change.after = top and self.leaving[top.name .. "\0" .. top.relation.display]
  if change.after or top and self.replacing[place(top.relation, top.name)] then return end
  local other = holder and ("an index of %s (%s)"):format(holder.relation.display, holder.text)
    or self.plan.catalog:relation(schema, change.name) and "a relation"
  if not other then return end
  self:finding(change, { level = "info", rule = "name-taken",
    message = ("%s keeps its name: %s is taken by %s"):format(change.live_name, change.name, other) })
  change.action = nil
end

-- How many partitions there are for an index, and how many have their part attached to it; foreign tables have none.
local function parts_of(live)
  local attached, all = 0, 0
  for _, partition in ipairs(live.relation:partitions()) do
    if partition.kind ~= "foreign table" then all = all + 1 end
    for _, index in ipairs(partition:indexes()) do
      local parent = index.parent
      if parent and parent.name == live.name and parent.relation.display == live.relation.display then
        attached = attached + 1
      end
    end
  end
  return attached, all
end

--- Why an incomplete index of a partitioned table is not certainly what a failed build has left; nil: it is. Whoever
--- restores a dump or works by hand makes the same, and then part by part.
---@param change lunadex.PlannedChange
---@return string?
function Maker:work_in_progress(change)
  local naming = self.dialect.name
  local live, measure = change.fact.live, change.measure
  if measure and measure.at_parts then return measure.at_parts end
  for _, suffix in ipairs { "new", "old" } do
    if live.name:find(naming.temporary("", suffix) .. "$") then return nil end -- that is a name of ours
  end
  local attached, all = parts_of(live)
  return attached > 0 and ("%d of %d partitions have their part of it"):format(attached, all) or nil
end

--- Says what else a failed build may have left: finished parts that were to become a part of what is dropped. They
--- work, and may as well be somebody's.
---@param change lunadex.PlannedChange   # the drop of an incomplete index
---@param relation lunadex.Relation?
function Maker:tell_finished_parts(change, relation)
  local live = change.fact.live
  for _, partition in ipairs((relation or live.relation):partitions()) do
    for _, index in ipairs(partition:indexes()) do
      if index.valid and not index.parent and index.kind ~= "foreign_key" and not self:claims()[key(index)]
        and index:equals(live) then
        self:finding(change, { level = "warning", rule = "finished-part", relation = partition.display,
          name = index.name, definition = index.text,
          message = ("a part of nothing, equal to %s, which is dropped: kept"):format(live.name),
          hint = "Drop it if the same build has left it." })
      end
    end
    self:tell_finished_parts(change, partition)
  end
end

-- Leftovers on relations that no declaration speaks of; keys, which are nobody's strays, on any.
function Maker:collect_leftovers(changes)
  local seen = {}
  for _, change in ipairs(changes) do
    if change.fact.live then seen[change.relation .. "\0" .. change.fact.live.name] = true end
  end
  for relation in self.plan.catalog:relations() do
    for _, index in ipairs(relation:indexes()) do
      -- What is part of something stays or goes with that.
      if not index.valid and index.kind ~= "foreign_key" and not index.parent
        and not seen[relation.display .. "\0" .. index.name]
      then
        local change = self:change { action = "stray", live = index, relation = relation, reason = "" }
        self:add_stray(change)
        changes[#changes + 1] = change
      end
    end
  end
end
