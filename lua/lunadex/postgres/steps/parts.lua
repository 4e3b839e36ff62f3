-- An index or key of a partitioned table: its own, without parts, and one for each partition, attached one by one.

local common = require "lunadex.steps"
local naming = require "lunadex.postgres.name"
local Writer = require "lunadex.postgres.steps.writer"

local copy, named, is_key = common.copy, common.named, Writer.is_key

-- Whether some partition, at any depth, has one of these columns NOT NULL for itself.
local function own_not_null(relation, columns)
  local wanted = {}
  for _, name in ipairs(columns) do wanted[name] = true end
  for _, partition in ipairs(relation:partitions()) do
    for _, column in ipairs(partition:columns()) do
      if wanted[column.name] and column.not_null then return true end
    end
    if own_not_null(partition, columns) then return true end
  end
  return false
end

-- Some partition, at any depth, that is a foreign table.
function Writer.foreign_partition(relation)
  for _, partition in ipairs(relation:partitions()) do
    local found = partition.kind == "foreign table" and partition or Writer.foreign_partition(partition)
    if found then return found end
  end
end

local as_index = { as_index = true }

-- Of an index: one of a partition that can be attached, as it has the same definition, is attached to nothing and
-- nobody's constraint; nor declared for itself, unless it has the name that this one is to have. Of a key: the same,
-- but it is a constraint, or (second result) an index that one can be made from. Its storage options and tablespace may
-- be others: so they may where the server itself takes over what it finds.
function Writer:reusable(partition, name)
  local change, context = self.change, self.context
  local key = is_key(change.entry.fields)
  local function find(options, constraint)
    local found
    for _, index in ipairs(partition:indexes()) do
      if index.valid and not index.parent and index.constraint == constraint
        -- A table has but one primary key, whoever declares it.
        and (index.name == name or index.kind == "primary_key"
          or not found and not context.declared(partition.schema, index.name))
        and context.matches(index, change, options) then
        if index.name == name then return index end
        found = index
      end
    end
    return found
  end
  local found = find(nil, key)
  if found or not key or partition.kind == "partitioned table" then return found end
  return nil, find(as_index, false)
end

-- What a partition has under exactly this name that is what is wanted, but not finished: a run that was killed left it,
-- or its build still goes on in the server, where a second one beside it would meet it in a deadlock. A build step
-- under its name waits for it, accepts it if it became valid, or drops it and builds it again.
function Writer:unfinished(partition, name)
  local change, matches = self.change, self.context.matches
  local index, key = named(partition, name), is_key(change.entry.fields)
  if not index or index.valid or index.parent then return nil end
  if index.constraint == key and matches(index, change) then return index end
  return key and not index.constraint and matches(index, change, as_index) and index or nil
end

-- The index of `partition` that is attached to `parent` already.
function Writer.attached(partition, parent)
  if not parent then return nil end
  for _, index in ipairs(partition:indexes()) do
    if index.parent and index.parent.name == parent.name and index.parent.relation.display == parent.relation.display
    then
      return index
    end
  end
end

-- A part that has parts itself comes before everything that takes its time: what the server refuses fails at once, and
-- takes the others back. `live`: what there is of it already, which is not this run's to take back.
function Writer:build_head(relation, step, live)
  step.only = true
  self:add("build", relation, step)
  table.insert(self.steps, self.top, table.remove(self.steps))
  self.top = self.top + 1
  self.heads[step] = live and {} or self:undo(relation, step.name, step.fields)
  local nullable = not live and step.nullable or {}
  -- Before PostgreSQL 18 it would be taken from all partitions, and could be given back to none without a scan.
  if #nullable > 0 and (self.context.version >= 180000 or not own_not_null(relation, nullable)) then
    self.heads[step][1].nullable = nullable
  end
end

-- From step `first` on an index is built in parts. Until it is whole, a head to which nothing is attached is worth
-- nothing, and nobody would know whose it is: it goes again, however the change ends, the innermost first. One with
-- parts stays, for the sake of these.
function Writer:guard_heads(first)
  local empty, begun = {}, {} -- heads without a part, with some
  local function leave(heads, name, schema)
    for i, head in ipairs(heads) do
      if head.name == name and head.schema == schema then return table.remove(heads, i) end
    end
  end
  for i = first, #self.steps do
    local step = self.steps[i]
    if step.kind == "attach" then
      leave(begun, step.other, step.other_schema) -- by now it is whole
      step.finished = step.other
    end
    local cleanup = step.cleanup or {}
    for j = #empty, 1, -1 do
      table.move(self.heads[empty[j]], 1, 1, #cleanup + 1, cleanup)
      if empty[j].name == step.other then step.finished = nil end
    end
    if #cleanup > 0 then step.cleanup = cleanup end
    for j, head in ipairs(begun) do
      step.incomplete = step.incomplete or {}
      step.incomplete[j] = head.name
    end
    local undo = self.heads[step]
    if undo then
      table.insert(#undo > 0 and empty or begun, step)
    elseif step.kind == "attach" then
      leave(empty, step.other, step.other_schema)
      begun[#begun + 1] = leave(empty, step.name, step.schema)
    end
  end
end

-- What one partition lacks of the index `name` of `relation`: an index of its own, and its attachment.
function Writer:partition(relation, partition, name, attach)
  local change, context = self.change, self.context
  local all = change.entry.partitions or {}
  local own = all[partition.display] or all[partition.name] or {}
  local declared = change.entry.fields
  local index, source = self:reusable(partition, own.name)
  local child = index and index.name or source and source.name or own.name
  local begun = not index and child and self:unfinished(partition, child)
  if not child then
    child = naming.choose(declared, partition.name, function(name_)
      begun = not context.chosen(partition.schema, name_) and self:unfinished(partition, name_)
      return not begun and context.taken(partition.schema, name_)
    end)
    context.take(partition.schema, child)
  elseif not index and not begun and self.later and context.live(partition.schema, child) then
    -- The old index's part still has that name.
    local final = child
    child = naming.temporary(final, "new")
    self.later[#self.later + 1] = function() self:add("rename", partition, { name = child, other = final }) end
  end
  self.took_over = self.took_over or index or source or begun
  if not index then
    local step = {
      name = child, use_existing = source and true, other = source and source.name,
      other_schema = relation.schema, other_relation = relation.name,
      fields = copy(declared, {
        name = child, keys = own.keys or declared.keys, with = own.with or declared.with,
        tablespace = own.tablespace or declared.tablespace,
      }),
    }
    if partition.kind == "partitioned table" then
      self:build_head(partition, step, begun)
      self:partitions(partition, child, begun or nil, true)
    else
      self:add("build", partition, step)
    end
  end
  if attach then
    self:add("attach", relation, {
      name = name, other = child, other_schema = partition.schema, other_relation = partition.name,
    })
  end
end

-- The same for all partitions of `relation`; `live` is its index where there is one already.
function Writer:partitions(relation, name, live, attach)
  for _, partition in ipairs(relation:partitions()) do
    local there = Writer.attached(partition, live)
    if there then
      if there.partitioned and not there.valid then self:partitions(partition, there.name, there, attach) end
    elseif partition.kind ~= "foreign table" then -- which has no indexes of its own
      self:partition(relation, partition, name, attach)
    end
  end
end

-- The index or key of a partitioned relation without its partitions, then theirs, one by one, which makes it valid.
-- `live` is what there is of it.
function Writer:build_in_parts(name, live)
  local relation, first = self.change.on, #self.steps + 1
  self.top, self.heads, self.took_over = first, {}, live
  self:build_head(relation, { fields = copy(self.change.entry.fields, { name = name }), name = name }, live)
  self:partitions(relation, name, live, true)
  self:add("await", relation, { name = name })
  self:guard_heads(first)
end
