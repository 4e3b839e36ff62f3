--- What one change of a plan takes: the steps that the core performs, in order.
--
-- Each function returns a list of steps with `undo`, a step that takes back what the earlier ones left if this one
-- fails. Nothing here waits or schedules; a dry run prints the same list.

local naming = require "lunadex.name"

local M = {}

---@class lunadex.StepOptions
---@field mode "auto"|"concurrent"|"blocking"|nil
---@field lock_timeout number?     # seconds
---@field retries integer?

M.default_lock_timeout = 300
M.default_retries = 10

---@param source table
---@param changes table
local function copy(source, changes)
  local result = {}
  for key, value in pairs(source) do result[key] = value end
  for key, value in pairs(changes) do result[key] = value end
  return result
end

local Writer = {}
Writer.__index = Writer

-- Appends a step on `relation`.
function Writer:add(kind, relation, step)
  local options, entry = self.options, self.change.entry or {}
  step.kind = kind
  step.schema, step.relation = relation.schema, relation.name
  if step.kind == "build" and step.fields.kind ~= "index" then
    step.partitioned = relation.kind == "partitioned table" or nil
  end
  step.mode = step.mode or options.mode or entry.mode or "auto"
  step.lock_timeout = options.lock_timeout or entry.lock_timeout or M.default_lock_timeout
  step.maintenance_work_mem, step.parallel_workers = entry.maintenance_work_mem, entry.parallel_workers
  step.retry = { attempts = options.retries or M.default_retries }
  if step.fields then
    -- The schema that the search path gave, so that every statement means the same relation.
    step.fields = copy(step.fields, { schema = relation.schema, relation = relation.name })
  end
  self.steps[#self.steps + 1] = step
  return step
end

local function has_foreign_partition(relation)
  for _, partition in ipairs(relation:partitions()) do
    if partition.kind == "foreign table" or has_foreign_partition(partition) then return true end
  end
  return false
end

-- An index of a partition that can be attached: same definition, attached to nothing, nobody's constraint.
-- Nor one that is declared for itself, unless it has the name that this one is to have.
local function reusable(partition, text, name, declared)
  for _, index in ipairs(partition:indexes()) do
    if index.text == text and index.valid and not index.parent and not index.constraint
      and (index.name == name or not declared(partition.schema, index.name)) then
      return index
    end
  end
end

-- An index of a partition under exactly this name that is what is wanted, but not finished: a run that was killed left
-- it, or its build still goes on in the server, where a second one beside it would meet it in a deadlock. A build step
-- under its name waits for it, accepts it if it became valid, or drops it and builds it again.
local function unfinished(partition, text, name)
  for _, index in ipairs(partition:indexes()) do
    if index.name == name then
      return index.text == text and not index.valid and not index.parent and not index.constraint and index or nil
    end
  end
end

-- The index of `partition` that is attached to `parent` already.
local function attached(partition, parent)
  if not parent then return nil end
  for _, index in ipairs(partition:indexes()) do
    if index.parent and index.parent.name == parent.name and index.parent.relation.display == parent.relation.display
    then
      return index
    end
  end
end

-- What one partition lacks of the index `name` of `relation`: an index of its own, and its attachment.
function Writer:partition(relation, partition, name, attach)
  local change, context = self.change, self.context
  local all = change.entry.partitions or {}
  local own = all[partition.display] or all[partition.name] or {}
  local declared = change.entry.fields
  local index = reusable(partition, change.definition, own.name, context.declared)
  local child = index and index.name or own.name
  local begun = not index and child and unfinished(partition, change.definition, child)
  if not child then
    child = naming.choose(declared, partition.name, function(name_)
      begun = not context.chosen(partition.schema, name_) and unfinished(partition, change.definition, name_)
      return not begun and context.taken(partition.schema, name_)
    end)
    context.take(partition.schema, child)
  elseif not index and not begun and self.later and context.live(partition.schema, child) then
    -- The old index's part still has that name.
    local final = child
    child = naming.temporary(final, "new")
    self.later[#self.later + 1] = function() self:add("rename", partition, { name = child, other = final }) end
  end
  if not index then
    local divided = partition.kind == "partitioned table"
    self:add("build", partition, {
      name = child, only = divided or nil,
      fields = copy(declared, {
        name = child, keys = own.keys or declared.keys, with = own.with or declared.with,
        tablespace = own.tablespace or declared.tablespace,
      }),
    })
    if divided then self:partitions(partition, child, begun or nil, true) end
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
    local there = attached(partition, live)
    if there then
      if there.partitioned and not there.valid then self:partitions(partition, there.name, there, attach) end
    elseif partition.kind ~= "foreign table" then -- which has no indexes of its own
      self:partition(relation, partition, name, attach)
    end
  end
end

-- A plain index under `name`; on a partitioned relation with everything below it.
function Writer:build_index(name, live)
  local change = self.change
  local relation, fields = change.on, copy(change.entry.fields, { name = name })
  if relation.kind ~= "partitioned table" then
    self:add("build", relation, { fields = fields, name = name })
  elseif has_foreign_partition(relation) then
    -- A foreign table's index cannot be attached, so a parent made ON ONLY would never become valid. With the other
    -- partitions' indexes in place, an ordinary build finds them and takes no time.
    self:partitions(relation, name, live, false)
    self:add("build", relation, { fields = fields, name = name, mode = "blocking" })
  else
    self:add("build", relation, { fields = fields, name = name, only = true })
    self:partitions(relation, name, live, true)
  end
end

local function needs_index_first(fields, relation)
  return (fields.kind == "unique_constraint" or fields.kind == "primary_key") and not fields.without_overlaps
    and relation.kind ~= "partitioned table"
end

local make = {}

function make:create()
  local change = self.change
  local fields = copy(change.entry.fields, { name = change.name })
  if fields.kind == "index" then return self:build_index(change.name) end
  self:add("build", change.on, {
    fields = fields, name = change.name,
    use_existing = change.use_existing or nil, other = change.use_existing and change.live_name or nil,
  })
end

function make:rebuild()
  local change = self.change
  local live, fields = change.fact.live, change.entry.fields
  local relation = change.on
  if live.name ~= change.name and not live.partitioned then
    self:add("drop", relation, { name = live.name })
  end
  if fields.kind == "index" then
    return self:build_index(live.partitioned and live.name or change.name, live)
  end
  self:add("build", relation, { fields = copy(fields, { name = change.name }), name = change.name })
end

-- Somebody is at it: the driver waits for that build and looks at what came of it.
function make:wait()
  local change = self.change
  local name = change.live_name or change.name
  self:add("build", change.on, { fields = copy(change.entry.fields, { name = name }), name = name })
  if change.name and name == naming.temporary(change.name, "new") then
    self:add("swap", change.on, {
      name = change.name, other = name, spare = naming.temporary(change.name, "old"),
    })
    self:add("drop", change.on, { name = naming.temporary(change.name, "old") })
  end
end

function make:alter()
  local change = self.change
  local relation = change.on
  if change.entry.fields.kind == "foreign_key" then
    self:add("validate", relation, { name = change.live_name })
  else
    self:add("alter", relation, { name = change.live_name, fields = change.entry.fields })
  end
end

function make:rename()
  local change = self.change
  -- The fields tell what kind of thing has the name: a foreign key is no index.
  self:add("rename", change.on, {
    name = change.live_name, other = change.name, fields = change.entry and change.entry.fields,
  })
end

function make:drop()
  self:add("drop", self.change.on, { name = self.change.live_name })
end

-- What an interrupted replacement has built, or attached already: it stays if it is what is wanted now.
function Writer:begun(temporary, definition)
  local relation = self.change.on
  local live = self.context.live(relation.schema, temporary)
  if not live or live.text == definition then return live end
  self:add("drop", relation, { name = temporary })
end

-- The new one is built under a temporary name and takes the old one's place in one transaction: there is no moment
-- without either, but for primary keys that cannot be made from an index: a table has but one.
function make:replace()
  local change = self.change
  local relation, fields, name = change.on, change.entry.fields, change.name
  local temporary, spare = naming.temporary(name, "new"), naming.temporary(name, "old")
  local old = change.fact.live
  if change.resume then old = self.context.live(relation.schema, name) end
  local undo = { name = temporary }
  if old and old.name ~= name and fields.kind == "index" then
    -- It has another name already: nobody has to give way.
    self:build_index(name)
    self:add("drop", relation, { name = old.name })
    return
  end

  if fields.kind == "index" then
    self.later = {}
    self:build_index(temporary, self:begun(temporary, change.definition))
    if not old then
      self:add("rename", relation, { name = temporary, other = name })
    elseif old.constraint then
      self:add("rename", relation, { name = temporary, other = name, replace = true }).undo = undo
    else
      self:add("swap", relation, { name = name, other = temporary, spare = spare }).undo = undo
      self:add("drop", relation, { name = spare })
    end
    for _, add in ipairs(self.later) do add() end
    return
  end

  local final = copy(fields, { name = name })
  local by_index = needs_index_first(fields, relation)
  if by_index then
    self:begun(temporary, (change.definition:gsub("^%u[%u ]- %(", "UNIQUE btree (")))
    self:add("build", relation, { name = temporary, fields = {
      kind = "index", keys = fields.keys, include = fields.include, unique = true, method = fields.method,
      nulls_not_distinct = fields.nulls_not_distinct, with = fields.with, tablespace = fields.tablespace,
      name = temporary,
    } })
  elseif fields.kind ~= "primary_key" then -- a table has but one primary key: there the old one goes first
    self:add("build", relation, { name = temporary, fields = copy(fields, { name = temporary }) })
  end
  local constraint = old and old.constraint and true or nil
  if old and not constraint then self:add("rename", relation, { name = name, other = spare }).undo = undo end
  local last
  if by_index then
    last = self:add("build", relation, {
      name = name, fields = final, use_existing = true, other = temporary, replace = constraint,
    })
  elseif fields.kind == "primary_key" then
    if constraint then self:add("drop_constraint", relation, { name = name }) end
    self:add("build", relation, { name = name, fields = final })
  else
    last = self:add("rename", relation, { name = temporary, other = name, fields = final, replace = constraint })
  end
  if last and constraint then last.undo = undo end
  if old and not old.constraint then self:add("drop", relation, { name = spare }) end
end

--- What a plan's steps share: which names are taken, also by earlier steps.
---@param plan lunadex.Plan
---@return table
function M.context(plan)
  local chosen
  local function key(schema, name) return schema .. "\0" .. name end
  local function names()
    chosen = {}
    for change in plan:changes() do
      local relation = change.on
      if change.name and relation then chosen[key(relation.schema, change.name)] = true end
      for _, own in pairs(change.entry and change.entry.partitions or {}) do
        if own.name then chosen[key(relation.schema, own.name)] = true end
      end
    end
    return chosen
  end
  local declared_names
  local function declared(schema, name)
    if not declared_names then
      declared_names = {}
      for ordinal, entry in ipairs(plan.entries) do
        if entry.name then declared_names[key(plan.set:fields(ordinal).schema or "", entry.name)] = true end
      end
    end
    return declared_names[key(schema, name)]
  end
  return {
    declared = declared,
    live = function(schema, name) return plan.catalog:index(schema, name) end,
    taken = function(schema, name)
      return (chosen or names())[key(schema, name)] or plan.catalog:index(schema, name) ~= nil
        or plan.catalog:relation(schema, name) ~= nil
    end,
    chosen = function(schema, name) return (chosen or names())[key(schema, name)] end,
    take = function(schema, name) (chosen or names())[key(schema, name)] = true end,
  }
end

--- The steps of one change.
---@param change lunadex.PlannedChange
---@param context table            # of M.context
---@param options lunadex.StepOptions
---@return lunadex.Step[]
function M.of(change, context, options)
  local writer = setmetatable({ change = change, context = context, options = options, steps = {} }, Writer)
  make[change.action](writer)
  return writer.steps
end

return M
