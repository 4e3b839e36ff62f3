--- Who writes down the steps of one change, for the parts of lunadex.postgres.steps.
--
-- Its methods are in one file for each subject: parts, build, replace, in_place.

local common = require "lunadex.steps"
local naming = require "lunadex.postgres.name"

local copy = common.copy

local default_blockers_after = 30 -- seconds

---@class lunadex.postgres.Writer
---@field change lunadex.PlannedChange
---@field context table            # of the plan: lunadex.postgres.steps, M.context
---@field options lunadex.StepOptions
---@field steps lunadex.Step[]
---@field checked boolean?         # a step was told to look for duplicates
---@field took_over any            # what an index in parts is made of was there before
---@field later (fun())[]?         # a replacement in parts: what the parts take when the old ones are gone
---@field top integer?             # an index in parts: where the next head goes
---@field heads table<lunadex.Step, lunadex.Step[]>?   # likewise: what takes each of them back
local Writer = {}
Writer.__index = Writer

-- What writes the steps of each action.
---@type table<string, fun(writer: lunadex.postgres.Writer)>
Writer.make = {}

-- Whether a foreign key of a partitioned table can be added first and validated later.
function Writer.validates_later(fields, version)
  return fields.kind == "foreign_key" and version >= 180000
end

-- Exclusion constraints are made with their index, and foreign keys have none.
function Writer.is_key(fields)
  return fields.kind == "unique_constraint" or fields.kind == "primary_key"
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

-- Appends a step on `relation`.
function Writer:add(kind, relation, step)
  local options, entry = self.options, self.change.entry or {}
  step.kind = kind
  step.schema, step.relation = relation.schema, relation.name
  local partitioned = relation.kind == "partitioned table"
  if step.kind == "build" and partitioned then
    -- Only then does the server take a key or foreign key of a partitioned table in no other way than in one go.
    local whole = step.fields.kind ~= "index" and not step.only
    step.partitioned = whole and not Writer.validates_later(step.fields, self.context.version) or nil
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
  step.blockers_after = options.blockers_after or default_blockers_after
  step.maintenance_work_mem = entry.maintenance_work_mem or options.maintenance_work_mem
  step.parallel_workers = entry.parallel_workers or options.parallel_workers
  if kind == "build" and options.check_duplicates and not self.checked then
    self.checked, step.check_duplicates = true, true -- once: what is partitioned is read as a whole
  end
  step.list_duplicates = kind == "build" and options.list_duplicates or nil
  step.retry = { attempts = options.retries or common.default_retries }
  if step.fields then
    -- The schema that the search path gave, so that every statement means the same relation.
    step.fields = copy(step.fields, { schema = relation.schema, relation = relation.name })
  end
  self.steps[#self.steps + 1] = step
  return step
end

-- The number of what is live, by which a step tells it from what has its name by then.
function Writer.number(live)
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
    name = name or live.name, id = Writer.number(live), fields = live:fields(), only_invalid = only_invalid,
  })
end

return Writer
