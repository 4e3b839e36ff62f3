-- Names: which are taken, and what the unnamed are called.

local Maker = require "lunadex.plan.maker"
local core = require "lunadex.core"
local naming = require "lunadex.name"

-- Where a name has to be its own: a foreign key's among the constraints of its relation, any other's in the schema.
local function name_space(fields, schema, relation, name)
  if fields.kind == "foreign_key" then return table.concat({ "f", schema, relation, name }, "\0") end
  return schema .. "\0" .. name
end

-- Names that are, or will be, in use in a schema by something else than `change`.
function Maker:taken(change, schema, name)
  if not self.declared_names then
    self.declared_names = {}
    for ordinal, entry in ipairs(self.plan.entries) do
      if entry.name then
        local fields = self.plan.set:fields(ordinal)
        local key = name_space(fields, fields.schema or "", fields.relation, naming.truncate(entry.name))
        self.declared_names[key] = self.declared_names[key] or ordinal
      end
    end
  end
  local catalog = self.plan.catalog
  local fields = change.entry.fields
  local by_ordinal = self.declared_names[name_space(fields, schema, change.on.name, name)]
  if by_ordinal == change.ordinal then by_ordinal = nil end
  local live = catalog:index(schema, name)
  local own = change.fact.live
  if live and own and live.name == own.name and live.relation.display == own.relation.display then live = nil end
  if fields.kind ~= "foreign_key" then return live, by_ordinal, catalog:relation(schema, name) end
  -- Only another constraint of the same relation is in a foreign key's way.
  if live and not (live.constraint and live.relation.display == change.relation) then live = nil end
  return live, by_ordinal, nil
end

-- Gives an unnamed creation its name and makes sure that a named one can have it.
function Maker:settle_name(change)
  local fields, relation = change.entry.fields, change.on
  if not change.name then
    change.name = naming.choose(fields, relation.name, function(name)
      local live, declared, table_name = self:taken(change, relation.schema, name)
      return live or declared or table_name or self.chosen[relation.schema .. "\0" .. name]
    end)
    self.chosen[relation.schema .. "\0" .. change.name] = true
    return true
  end
  local live, declared, table_name = self:taken(change, relation.schema, change.name)
  if live and live.relation.display == change.relation then
    change.after = self.leaving[live.name .. "\0" .. live.relation.display]
    if change.after then live = nil end -- it is about to be renamed or dropped
  end
  local holder = live and ("an index of %s (%s)"):format(live.relation.display, live.text)
    or table_name and "a " .. table_name.kind
    or declared and ("the declaration at %s:%d"):format(self.plan.entries[declared].file,
      self.plan.entries[declared].line)
  if not holder then return true end
  self:finding(change, {
    level = "error", rule = "name-taken",
    message = ("the name %s is taken by %s"):format(core.quote_name(relation.schema, change.name), holder),
    hint = "Give the declaration another name, or rename or drop what has this one.",
  })
  return false
end

-- Names that are to go round, as in a swap: each change would wait for the one that has its name. One of them moves
-- that aside, which goes on from there when its own name is free.
function Maker.break_circles(changes)
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
