-- What is built anew: what is missing, what is of no use as it is, and what somebody else is building.

local common = require "lunadex.steps"
local naming = require "lunadex.postgres.name"
local Writer = require "lunadex.postgres.steps.writer"

local copy, named = common.copy, common.named
local make = Writer.make

-- A plain index under `name`; on a partitioned relation with everything below it.
function Writer:build_index(name, live)
  local change = self.change
  local relation, fields = change.on, copy(change.entry.fields, { name = name })
  if relation.kind ~= "partitioned table" then
    self:add("build", relation, { fields = fields, name = name })
  elseif Writer.foreign_partition(relation) then
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
function Writer.from_index(fields) return Writer.is_key(fields) and not fields.without_overlaps end

-- A constraint under `name`, as far as it can be without blocking anybody.
function Writer:build_constraint(name, live)
  local fields, relation = self.change.entry.fields, self.change.on
  if relation.kind == "partitioned table" and Writer.from_index(fields) then
    return self:build_in_parts(name, live)
  end
  return self:add("build", relation, { fields = copy(fields, { name = name }), name = name })
end

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
