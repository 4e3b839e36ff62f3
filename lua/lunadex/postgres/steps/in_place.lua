-- What is changed where it stands: options, names, what is not validated; and what goes.

local common = require "lunadex.steps"
local naming = require "lunadex.postgres.name"
local Writer = require "lunadex.postgres.steps.writer"

local named, number = common.named, Writer.number
local make = Writer.make

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
    local live = change.fact.live
    self:add("alter", relation, { name = change.live_name, fields = change.entry.fields, id = number(live),
      old_fields = live:fields() })
  end
end

function make:rename()
  local change = self.change
  local aside = change.aside
  local function rename(writer, from, to, of)
    local live = of.fact.live
    return writer:add("rename", of.on, { name = from, other = to, id = number(live), fields = live:fields() })
  end
  if aside then rename(self, aside.live_name, aside.moved_name, aside) end
  local last = rename(self, change.moved_name or change.live_name, change.name, change)
  if not aside then return end
  local back = setmetatable({ change = change, options = self.options, context = self.context, steps = {} }, Writer)
  rename(back, aside.moved_name, aside.live_name, aside)
  last.cleanup = back.steps
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

function make:drop()
  local live = self.change.fact.live
  self:discard(live, not live.valid)
end
