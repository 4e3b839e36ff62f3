--- What one change of a plan takes: the steps that the core performs, in order.
--
-- Each function returns a list of steps. What the change leaves when one of them fails is known beforehand and goes
-- with that step: `undo` lists the steps that take back what the earlier ones built if it fails in a way that would
-- repeat itself, `cleanup` those that do so however it fails, also when the run is interrupted; `finished` names what
-- is good as it is, and `incomplete` what is of no use, until the next run goes on with it; `stays` says what there is
-- where nothing was undone, if it is not what was built. Nothing here waits or schedules; a dry run prints the same
-- list.

local common = require "lunadex.steps"
local naming = require "lunadex.postgres.name"

local copy, named = common.copy, common.named

local M = {}

---@class lunadex.StepOptions
---@field mode "auto"|"concurrent"|"blocking"|nil
---@field lock_timeout number?     # seconds
---@field retries integer?
---@field drain_timeout number?    # seconds a build may wait for other transactions when its work is done; nil: any
---@field cancel_blockers string[]?    # application names: what they run is cancelled when it has been in the way
---@field terminate_blockers string[]? # likewise: their sessions are ended
---@field blockers_after number?   # for so many seconds; default 30
---@field check_duplicates boolean?   # read the table before something unique is built
---@field maintenance_work_mem string?   # for builds that name none of their own
---@field parallel_workers integer?      # likewise

M.default_blockers_after = 30 -- seconds

-- Whether a foreign key of a partitioned table can be added first and validated later.
local function validates_later(fields, version)
  return fields.kind == "foreign_key" and version >= 180000
end

-- The columns of a key that may hold null as yet.
local function nullable_columns(relation, fields)
  local wanted, found = {}, {}
  for _, key in ipairs(fields.keys) do wanted[key.column] = true end
  for _, column in ipairs(relation:columns()) do
    if wanted[column.name] and not column.not_null then found[#found + 1] = column.name end
  end
  return found
end

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

local Writer = {}
Writer.__index = Writer

-- Appends a step on `relation`.
function Writer:add(kind, relation, step)
  local options, entry = self.options, self.change.entry or {}
  step.kind = kind
  step.schema, step.relation = relation.schema, relation.name
  local partitioned = relation.kind == "partitioned table"
  if step.kind == "build" and partitioned then
    -- Only then does the server take a key or foreign key of a partitioned table in no other way than in one go.
    local whole = step.fields.kind ~= "index" and not step.only
    step.partitioned = whole and not validates_later(step.fields, self.context.version) or nil
  elseif step.kind == "drop" then
    step.only = partitioned or nil -- which cannot be dropped concurrently
  end
  if step.kind == "build" and step.fields.kind == "primary_key" and relation == self.change.on then
    -- What is below follows: partitions have no nulls where the whole has none.
    step.nullable = nullable_columns(relation, step.fields)
    if #step.nullable > 0 then step.cleanup = self:undo(relation, naming.null_check) end
  end
  step.mode = step.mode or options.mode or entry.mode or "auto"
  step.lock_timeout = options.lock_timeout or entry.lock_timeout or common.default_lock_timeout
  step.drain_timeout = options.drain_timeout
  step.cancel_blockers, step.terminate_blockers = options.cancel_blockers, options.terminate_blockers
  step.blockers_after = options.blockers_after or M.default_blockers_after
  step.maintenance_work_mem = entry.maintenance_work_mem or options.maintenance_work_mem
  step.parallel_workers = entry.parallel_workers or options.parallel_workers
  if kind == "build" and options.check_duplicates and not self.checked then
    self.checked, step.check_duplicates = true, true -- once: what is partitioned is read as a whole
  end
  step.retry = { attempts = options.retries or common.default_retries }
  if step.fields then
    -- The schema that the search path gave, so that every statement means the same relation.
    step.fields = copy(step.fields, { schema = relation.schema, relation = relation.name })
  end
  self.steps[#self.steps + 1] = step
  return step
end

-- Some partition, at any depth, that is a foreign table.
local function foreign_partition(relation)
  for _, partition in ipairs(relation:partitions()) do
    local found = partition.kind == "foreign table" and partition or foreign_partition(partition)
    if found then return found end
  end
end

local function is_key(fields)
  return fields.kind == "unique_constraint" or fields.kind == "primary_key"
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
local function attached(partition, parent)
  if not parent then return nil end
  for _, index in ipairs(partition:indexes()) do
    if index.parent and index.parent.name == parent.name and index.parent.relation.display == parent.relation.display
    then
      return index
    end
  end
end

-- The number of what is live, by which a step tells it from what has its name by then.
local function number(live)
  return live.constraint and live.constraint_id or live.id
end

-- Steps that drop what is called `name`, if it is what was built: a constraint with all that is attached to it, or an
-- index. `fields` nil: it is the constraint that has this name of ours.
function Writer:undo(relation, name, fields)
  local undo = { change = self.change, options = self.options, context = self.context, steps = {} }
  local index = fields and fields.kind == "index"
  setmetatable(undo, Writer):add(index and "drop" or "drop_constraint", relation, { name = name, fields = fields })
  return undo.steps
end

-- What was built in parts goes only if every part is this run's: what was taken over would go with it.
function Writer:undo_all(relation, name, fields)
  return not self.took_over and self:undo(relation, name, fields) or nil
end

-- What the plan saw goes, if it is that still: it may be hours since. `name`: what it is called by then, if it has
-- given way; `only_invalid`: as long as it is of no use.
function Writer:drop(live, name, only_invalid)
  self:add(live.constraint and "drop_constraint" or "drop", live.relation, {
    name = name or live.name, id = number(live), fields = live:fields(), only_invalid = only_invalid,
  })
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
    local there = attached(partition, live)
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
  local relation, fields = self.change.on, copy(self.change.entry.fields, { name = name })
  local first = #self.steps + 1
  self.top, self.heads, self.took_over = first, {}, live
  self:build_head(relation, { fields = fields, name = name }, live)
  self:partitions(relation, name, live, true)
  self:add("validate", relation, { fields = fields, name = name })
  self:guard_heads(first)
end

-- A plain index under `name`; on a partitioned relation with everything below it.
function Writer:build_index(name, live)
  local change = self.change
  local relation, fields = change.on, copy(change.entry.fields, { name = name })
  if relation.kind ~= "partitioned table" then
    self:add("build", relation, { fields = fields, name = name })
  elseif foreign_partition(relation) then
    -- A foreign table's index cannot be attached, so a parent made ON ONLY would never become valid. With the other
    -- partitions' indexes in place, an ordinary build finds them and takes no time.
    local first = #self.steps + 1
    self.top, self.heads = first, {}
    self:partitions(relation, name, live, false)
    self:add("build", relation, { fields = fields, name = name, mode = "blocking" })
    self:guard_heads(first)
  else
    self:build_in_parts(name, live)
  end
end

-- Whether a key is made of an index that was built first, on a partitioned relation in every partition.
local function from_index(fields) return is_key(fields) and not fields.without_overlaps end

-- A constraint under `name`, as far as it can be without blocking anybody.
function Writer:build_constraint(name, live)
  local fields, relation = self.change.entry.fields, self.change.on
  if relation.kind == "partitioned table" and from_index(fields) then
    return self:build_in_parts(name, live)
  end
  return self:add("build", relation, { fields = copy(fields, { name = name }), name = name })
end

local make = {}

function make:create()
  local change = self.change
  local fields = copy(change.entry.fields, { name = change.name })
  if fields.kind == "index" then return self:build_index(change.name) end
  if not change.use_existing then return self:build_constraint(change.name) end
  self:add("build", change.on, { fields = fields, name = change.name, use_existing = true, other = change.live_name })
end

function make:rebuild()
  local change = self.change
  local live, fields = change.fact.live, change.entry.fields
  if live.name ~= change.name and not live.partitioned then
    self:drop(live, nil, true)
  end
  local name = live.partitioned and live.name or change.name
  if fields.kind == "index" then return self:build_index(name, live) end
  self:build_constraint(name, live)
end

-- Somebody is at it: the driver waits for that build and looks at what came of it.
function make:wait()
  local change = self.change
  local name = change.live_name or change.name
  self:add("build", change.on, { fields = copy(change.entry.fields, { name = name }), name = name })
  if change.name and name == naming.temporary(change.name, "new") then
    local old, spare = named(change.on, change.name), naming.temporary(change.name, "old")
    self:swap(name, spare, old)
    if old then self:drop(old, spare) end
  end
end

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

function make:alter()
  local change = self.change
  local relation = change.on
  if change.entry.fields.kind == "foreign_key" then
    self:add("validate", relation, { name = change.live_name })
    if change.name and change.live_name == naming.temporary(change.name, "new") then
      -- An earlier run was stopped before it came to that.
      self:take_place(change.live_name, change.name, named(relation, change.name))
    end
  else
    self:add("alter", relation, { name = change.live_name, fields = change.entry.fields })
  end
end

function make:rename()
  local change = self.change
  local aside = change.aside
  local function rename(writer, from, to, of)
    local live = of.fact.live
    return writer:add("rename", change.on, { name = from, other = to, id = number(live), fields = live:fields() })
  end
  if aside then rename(self, aside.live_name, aside.moved_name, aside) end
  local last = rename(self, change.moved_name or change.live_name, change.name, change)
  if not aside then return end
  local back = setmetatable({ change = change, options = self.options, context = self.context, steps = {} }, Writer)
  rename(back, aside.moved_name, aside.live_name, aside)
  last.cleanup = back.steps
end

function make:drop()
  local live = self.change.fact.live
  self:discard(live, not live.valid)
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

-- Drops what an earlier run left; with an index in parts that is incomplete also the heads below that were to become a
-- part of it and are incomplete themselves.
function Writer:discard(live, only_invalid)
  self:drop(live, nil, only_invalid)
  local function heads_below(relation)
    for _, partition in ipairs(live.partitioned and not live.valid and relation:partitions() or {}) do
      for _, index in ipairs(partition:indexes()) do
        if index.partitioned and not index.valid and not index.parent and index:equals(live) then
          self:drop(index, nil, only_invalid)
        end
      end
      heads_below(partition)
    end
  end
  heads_below(live.relation)
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

  local by_index = from_index(fields) and relation.kind ~= "partitioned table"
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

-- A primary key that some partition has of its own and that cannot become a part of the one declared.
local function other_primary_key(relation, change, set)
  for _, partition in ipairs(relation:partitions()) do
    for _, index in ipairs(partition:indexes()) do
      if index.kind == "primary_key" and not index.inherited and not index:matches(set, change.ordinal) then
        return index
      end
    end
    local found = other_primary_key(partition, change, set)
    if found then return found end
  end
end

-- What is blocked while the change is made, because the server knows no other way.
local function blocking(change, version)
  local fields, relation = change.entry.fields, change.on
  local partitioned = relation.kind == "partitioned table"
  local all = "reads and writes of " .. relation.display .. " are blocked"
  if fields.kind == "exclusion_constraint" then
    return all .. " while its index is built: an exclusion constraint cannot be made from an index"
  elseif fields.without_overlaps and fields.kind ~= "foreign_key" then
    return all .. " while its index is built: a key WITHOUT OVERLAPS cannot be made from an index"
  elseif fields.kind == "primary_key" and partitioned and change.action == "replace" then
    return all .. " while its indexes are built: a table has but one primary key, and that of a partitioned table "
      .. "cannot be made from an index"
  elseif fields.kind == "foreign_key" and partitioned and not fields.not_enforced
    and not validates_later(fields, version) then
    return ("writes to %s and %s are blocked while all rows are checked: before PostgreSQL 18, a foreign key of a "
      .. "partitioned table cannot be validated later"):format(relation.display, fields.references.relation)
  end
end

--- What has to be said of a change before it is made: what will be blocked, and what cannot be done at all.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return lunadex.Finding[]
function M.findings(change, plan)
  local found = {}
  local action, relation = change.action, change.on
  if action ~= "create" and action ~= "replace" and action ~= "rebuild" then return found end
  local fields = change.entry.fields
  local foreign = is_key(fields) and foreign_partition(relation)
  if foreign then
    found[#found + 1] = {
      level = "error", rule = "foreign-partition",
      message = ("%s cannot have a key: its partition %s is a foreign table"):format(relation.display, foreign.display),
    }
  end
  local other = fields.kind == "primary_key" and other_primary_key(relation, change, plan.set)
  if other then
    found[#found + 1] = {
      level = "error", rule = "other-primary-key",
      message = ("the partition %s has a primary key of its own, %s: %s"):format(other.relation.display, other.name,
        other.text),
      hint = "Drop it, or declare the same for the whole table.",
    }
  end
  local blocked = #found == 0 and blocking(change, plan.info.version_number)
  if blocked then found[1] = { level = "warning", rule = "blocks", message = blocked } end
  local outside = fields.kind == "index" and foreign_partition(relation)
  if outside then
    found[#found + 1] = {
      level = "info", rule = "blocks",
      message = ("writes to %s are blocked for a moment in the end: its partition %s is a foreign table, so that the "
        .. "parts are put together by a statement that would also build them"):format(relation.display,
        outside.display),
    }
  end
  return found
end

-- The foreign keys that rely on a live index, as far as their columns tell: for a message.
local function foreign_keys_on(catalog, live)
  local columns, list = {}, {}
  for _, key in ipairs(live:fields().keys) do columns[key.column] = true end
  for relation in catalog:relations() do
    for _, each in ipairs(relation:indexes()) do
      local to = each.kind == "foreign_key" and not each.inherited and each:fields().references
      local relies = to and to.schema == live.relation.schema and to.relation == live.relation.name
      for _, column in ipairs(relies and to.columns or {}) do relies = relies and columns[column] end
      if relies then list[#list + 1] = ("%s of %s"):format(each.name, relation.display) end
    end
  end
  return table.concat(list, ", ")
end

--- Why a live index that something else needs cannot be replaced, and what to do.
---@param change lunadex.PlannedChange
---@param live lunadex.Index
---@param catalog lunadex.Catalog
---@return string message
---@return string hint
function M.relied_upon(change, live, catalog)
  return ("%s, %s, cannot be replaced: foreign keys rely on it: %s"):format(live.name, live.text,
    foreign_keys_on(catalog, live)), "Drop these first, or declare the live one as it is"
    .. (change.entry.fields.kind == "primary_key" and "."
      or ", and the new one beside it under another name.")
end

--- What was asked for and means nothing here.
---@type fun(options: lunadex.PlanOptions): lunadex.Finding[]
M.without_counterpart = common.without_counterpart {
  { "hide_first", "--hide-first: PostgreSQL cannot hide an index from queries; strays are kept, or dropped if asked" },
  { "allow_gap", "--allow-gap: on PostgreSQL whatever is replaced is replaced without a gap" },
}

local function add_marks(index, relation, found)
  if index.replica_identity then found[#found + 1] = "the replica identity of " .. relation.display end
  if index.clustered then found[#found + 1] = "what " .. relation.display .. " is clustered on" end
  for _, partition in ipairs(index.partitioned and relation:partitions() or {}) do
    local part = attached(partition, index)
    if part then add_marks(part, partition, found) end
  end
  return found
end

--- What the statements of a replacement do not show, for whoever would send them by hand: what the old one is to its
--- table goes over to the new one in the transaction that exchanges them. The catalog knows nothing of comments and
--- statistics targets.
---@param change lunadex.PlannedChange
---@return string?
function M.not_shown(change)
  if change.action ~= "replace" then return nil end
  local old = named(change.on, change.name)
  if not old or old.kind == "foreign_key" then return nil end
  local marks = add_marks(old, change.on, {})
  return ("not shown: in the transaction that exchanges the two, apply %sgives the new one the old one's comments and "
    .. "statistics targets, if there are any")
    :format(#marks > 0 and "makes the new one " .. table.concat(marks, " and ") .. ", and " or "")
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
    version = plan.info.version_number,
    declared = declared,
    matches = common.matches(plan),
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
---@type fun(change: lunadex.PlannedChange, context: table, options: lunadex.StepOptions): lunadex.Step[]
M.of = common.writes(Writer, make)

return M
