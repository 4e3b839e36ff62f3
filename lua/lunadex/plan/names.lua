-- Names: which are taken, and what the unnamed are called.

local Maker = require "lunadex.plan.maker"

-- The ordinals of declarations by where their names have to be their own.
function Maker:ordinals_by_name()
  if self.declared_names then return self.declared_names end
  local naming, found = self.dialect.name, {}
  for ordinal, entry in ipairs(self.plan.entries) do
    if entry.name then
      local fields = self.plan.set:fields(ordinal)
      local key = naming.place(fields, fields.schema, naming.truncate(entry.name))
      found[key] = found[key] or ordinal
    end
  end
  self.declared_names = found
  return found
end

-- What has, or will have, a name that `change` wants: a live index, a declaration's ordinal, a relation.
function Maker:taken(change, name)
  local naming, relation = self.dialect.name, change.on
  local catalog = self.plan.catalog
  local fields = change.entry.fields
  local by_ordinal = self:ordinals_by_name()[naming.place(fields, relation.schema, name)]
  if by_ordinal == change.ordinal then by_ordinal = nil end
  local live = catalog:index(relation.space, name)
  local own = change.fact.live
  if live and own and live.name == own.name and live.relation.display == own.relation.display then live = nil end
  if fields.kind == "foreign_key" then
    -- Only another constraint of the same relation is in a foreign key's way.
    if live and not (live.constraint and live.relation.display == change.relation) then live = nil end
    return live, by_ordinal, nil
  end
  return live, by_ordinal, naming.shared and catalog:relation(relation.schema, name) or nil
end

--- What is built beside the index that has the name `change` is to have is called, where nothing can be renamed: the
--- name itself, if that is free after all, or one that is made from it.
---@param change lunadex.PlannedChange
---@return string
function Maker:name_beside(change)
  local naming, relation, indexes = self.dialect.name, change.on, {}
  for _, index in ipairs(relation:indexes()) do indexes[index.name] = true end
  -- They go first.
  for _, index in ipairs(change.left or {}) do indexes[index.name] = nil end
  local function taken(name)
    local ordinal = self:ordinals_by_name()[naming.place(change.entry.fields, nil, name)]
    return indexes[name] or ordinal and ordinal ~= change.ordinal or self.chosen[relation.space .. "\0" .. name]
  end
  local name = taken(change.name) and naming.replacement(change.name, taken) or change.name
  self.chosen[relation.space .. "\0" .. name] = true
  return name
end

--- Gives a creation that nobody named the name that the server or a driver would make up.
---@param change lunadex.PlannedChange
function Maker:make_up_name(change)
  local relation = change.on
  change.name = self.dialect.name.choose(change.entry.fields, relation.name, function(name)
    local live, declared, table_name = self:taken(change, name)
    return live or declared or table_name or self.chosen[relation.space .. "\0" .. name]
  end)
  self.chosen[relation.space .. "\0" .. change.name] = true
end

-- Makes sure that a creation can have its name.
function Maker:settle_name(change)
  local relation, naming = change.on, self.dialect.name
  local live, declared, table_name = self:taken(change, change.name)
  local leaving = live and self.leaving[live.name .. "\0" .. live.relation.display]
  -- What another table is to lose has to wait for what replaces it there, and so may never be gone.
  if leaving and (leaving.action == "rename" or leaving.relation == change.relation) then
    change.after, live = leaving, nil
  end
  local holder = live and ("an index of %s (%s)"):format(live.relation.display, live.text)
    or table_name and "a " .. table_name.kind
    or declared and ("the declaration at %s:%d"):format(self.plan.entries[declared].file,
      self.plan.entries[declared].line)
  if not holder then return true end
  if live and naming.stays and change.action == "create" then
    change.name = self:name_beside(change)
    self:finding(change, { level = "warning", rule = "other-name",
      message = ("it will be called %s: %s is the name of %s, which is declared as well, and nothing can be renamed")
        :format(change.name, live.name, live.text),
      hint = "Queries that name their index in a hint have to name this one." })
    return true
  end
  self:finding(change, {
    level = "error", rule = "name-taken",
    message = ("the name %s is taken by %s"):format(naming.display(relation, change.name), holder),
    hint = "Give the declaration another name, or rename or drop what has this one.",
  })
  return false
end

-- Names that are to go round, as in a swap: each change would wait for the one that has its name. One of them moves
-- that aside, which goes on from there when its own name is free.
function Maker:break_circles()
  local changes, naming = self.plan.planned, self.dialect.name
  local walks = {} -- which walk came by a change
  for _, change in ipairs(changes) do
    local each = change
    while each.after and not walks[each] do
      walks[each] = change
      each = each.after
    end
    if each.after and walks[each] == change then
      each.aside, each.after = each.after, nil
      each.aside.moved_name = naming.temporary(each.aside.name, "moved")
    end
  end
end
