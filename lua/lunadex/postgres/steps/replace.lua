-- What is built under a temporary name and takes the place of another.

local common = require "lunadex.steps"
local naming = require "lunadex.postgres.name"
local Writer = require "lunadex.postgres.steps.writer"

local copy, named, number = common.copy, common.named, Writer.number
local make = Writer.make

-- What is called `temporary`, an index or a constraint, takes the place of the constraint `old`, if there is one, in
-- one transaction.
function Writer:take_place(temporary, name, old)
  local fields = self.change.entry.fields
  self:add("rename", self.change.on, {
    name = temporary, other = name, fields = copy(fields, { name = name }), replace = old and true,
    id = old and number(old), old_fields = old and old:fields(),
  }).undo = self:undo_all(self.change.on, temporary, fields)
end

-- The index `temporary` takes the place of `old`, which is called `spare` from then on.
function Writer:swap(temporary, spare, old)
  local change = self.change
  return self:add("swap", change.on, {
    name = change.name, other = temporary, spare = spare, fields = change.entry.fields,
    id = old and number(old), old_fields = old and old:fields(),
  })
end

-- What an interrupted replacement has built, or attached already: it stays if it is what is wanted now, storage options
-- and tablespace included, which of a partitioned index could not be changed later.
function Writer:begun(temporary, index_of_key)
  local change = self.change
  local relation = change.on
  local live = named(relation, temporary)
  if not live then return nil end
  if self.context.matches(live, change, { as_index = index_of_key, storage = true }) then return live end
  self:discard(live)
end

-- The new one is built under a temporary name and takes the old one's place in one transaction: there is no moment
-- without either. A table has but one primary key: one that cannot be made from an index replaces the old one while
-- both are locked.
function make:replace()
  local change = self.change
  local relation, fields, name = change.on, change.entry.fields, change.name
  local temporary, spare = naming.temporary(name, "new"), naming.temporary(name, "old")
  -- What had to give way before comes back.
  if change.resume == "old" then temporary, spare = spare, temporary end
  local old = change.fact.live
  if change.resume then old = named(relation, name) end
  if old and old.name ~= name and fields.kind == "index" then
    -- It has another name already: nobody has to give way.
    self:build_index(name)
    self:drop(old)
    return
  end
  local left = named(relation, spare)
  if left then self:discard(left) end -- or the swap would fail after all the work
  local constraint = old and old.constraint and old or nil

  if fields.kind == "index" then
    self.later = {}
    self:build_index(temporary, self:begun(temporary))
    if not old or constraint then
      self:take_place(temporary, name, constraint)
    else
      self:swap(temporary, spare, old).undo = self:undo_all(relation, temporary, fields)
      self:drop(old, spare)
    end
    for _, add in ipairs(self.later) do add() end
    return
  end

  local by_index = Writer.from_index(fields) and relation.kind ~= "partitioned table"
  local primary = fields.kind == "primary_key"
  local index = {
    kind = "index", keys = fields.keys, include = fields.include, unique = true, method = fields.method,
    nulls_not_distinct = fields.nulls_not_distinct, with = fields.with, tablespace = fields.tablespace,
    name = temporary,
  }
  if by_index then
    self:begun(temporary, true)
    self:add("build", relation, { name = temporary, fields = index })
  elseif not primary then
    self:build_constraint(temporary, self:begun(temporary))
  end
  local undo = not (primary and not by_index) and self:undo_all(relation, temporary, by_index and index or fields)
    or nil
  if old and not constraint then
    self:add("rename", relation, { name = name, other = spare, id = number(old), fields = old:fields() }).undo = undo
  end
  if not by_index and not primary then
    self:take_place(temporary, name, constraint)
  else
    self:add("build", relation, {
      name = name, fields = copy(fields, { name = name }), use_existing = by_index or nil,
      other = by_index and temporary or nil, replace = constraint and true,
      id = constraint and number(constraint), old_fields = constraint and constraint:fields(),
    }).undo = by_index and constraint and undo or nil
  end
  if old and not constraint then self:drop(old, spare) end
end
