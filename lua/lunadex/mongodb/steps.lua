--- What one change of a plan takes on MongoDB: the steps that the core performs, in order.
--
-- Nothing here is renamed: the server cannot. What replaces an index is built beside it under a name of its own
-- (plan/names.lua, name_beside) where the server keeps two of the same keys apart; where it does not, the old one goes
-- first, and only if that was allowed.

local beforehand = require "lunadex.mongodb.steps.beforehand"
local common = require "lunadex.steps"
local has = require("lunadex.mongodb.fields").has
local room = require "lunadex.mongodb.steps.room"
local server = require "lunadex.mongodb.server"

local copy, named = common.copy, common.named

local M = {}

-- What has to be said before a change is made, or of a stray; and how many of them a collection has room for.
M.findings, M.relied_upon, M.state = beforehand.findings, beforehand.relied_upon, beforehand.state
M.room, M.makes_room = room.of, room.makes

--- How long a build may take.
M.seconds = require "lunadex.mongodb.steps.seconds"

--- Whether an index is kept from queries.
---@param index lunadex.Index
---@return boolean
function M.is_hidden(index) return has(index, "hidden") end

--- Whether what the catalog says can be changed in place can be on this server: told to be like one of 5.0, it makes no
--- index unique.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return boolean
function M.can_alter(change, plan)
  return not change.entry.fields.unique or change.fact.live:fields().unique == true or server.converts(plan)
end

--- What was asked for and means nothing here.
---@type fun(options: lunadex.PlanOptions): lunadex.Finding[]
M.without_counterpart = common.without_counterpart {
  { "rename", "--rename: MongoDB cannot rename an index; one under another name is as good" },
  { "mode", "--mode: MongoDB has one way to build, and others read and write meanwhile", except = "auto" },
  { "repair", "--repair: MongoDB goes on with every build until it is done or ended; nothing invalid is left" },
  { "drain_timeout", "--drain-timeout: a build of MongoDB is never given up for whom it waits at its end" },
  { "cancel_blockers", "--cancel-blockers: on MongoDB who is in the way is waited for" },
  { "terminate_blockers", "--terminate-blockers: on MongoDB who is in the way is waited for" },
  { "blockers_after", "--blockers-after: on MongoDB who is in the way is waited for" },
  { "maintenance_work_mem",
    "--maintenance-work-mem: MongoDB's parameter maxIndexBuildMemoryUsageMegabytes decides for all builds" },
  { "parallel_workers", "--parallel-workers: MongoDB builds an index with one thread" },
}

local function with_option(fields, name, value)
  local with = {}
  for _, pair in ipairs(fields.with or {}) do
    if pair[1] ~= name then with[#with + 1] = pair end
  end
  with[#with + 1] = { name, value }
  return copy(fields, { with = with })
end

local Writer = {}
Writer.__index = Writer

local function step_of(self, kind, name, fields, old_fields)
  local options, entry, relation = self.options, self.change.entry or {}, self.change.on
  return {
    kind = kind, relation = relation.name, name = name, commit_quorum = entry.commit_quorum,
    fields = fields and copy(fields, { relation = relation.name, name = name }), old_fields = old_fields,
    lock_timeout = options.lock_timeout or common.default_lock_timeout,
    existing = kind == "build" and not relation.absent or nil,
    check_duplicates = kind == "build" and fields.unique and options.check_duplicates or nil,
    list_duplicates = kind ~= "drop" and fields and fields.unique and options.list_duplicates or nil,
    retry = { attempts = options.retries or common.default_retries },
  }
end

-- An index refuses new duplicates before it is unique: not for longer than somebody is at it.
local function take_back(self, name, fields, old_fields)
  local step = step_of(self, "alter", name, copy(fields, { unique = false }), old_fields)
  step.only_invalid = true
  return step
end

function Writer:add(kind, name, fields, old_fields)
  local step = step_of(self, kind, name, fields, old_fields)
  if kind ~= "drop" and fields and fields.unique then step.cleanup = { take_back(self, name, fields, old_fields) } end
  self.steps[#self.steps + 1] = step
  return step
end

local make = {}

-- The very one that was looked at: it may be hours since, and its name somebody else's by now.
function Writer:alter(live, fields)
  self:add("alter", live.name, fields, live:fields())
end

-- Likewise.
function Writer:drop(live)
  self:add("drop", live.name, live:fields())
end

function make:create()
  local change = self.change
  local together = self.context.together[change]
  local step = self:add("build", change.name, change.entry.fields)
  if not together or together[1] ~= change then return end
  step.companions = {}
  for i = 2, #together do
    local other = together[i]
    step.companions[i - 1] = copy(other.entry.fields, { relation = step.relation, name = other.name })
  end
end

-- Whether a build of `live` that is asked for as declared would be joined and come to what is declared: what it has
-- beside the keys has to be the same. prepareUnique is on the way to unique, and else has to be taken back.
local function joins(live, fields)
  local wanted = {}
  for _, pair in ipairs(fields.with or {}) do wanted[pair[1]] = pair[2] end
  for _, pair in ipairs(live:fields().with or {}) do
    local on_its_way = pair[1] == "prepareUnique" and fields.unique
    if not on_its_way and wanted[pair[1]] ~= pair[2] then return false end
    wanted[pair[1]] = nil
  end
  return next(wanted) == nil
end

-- Somebody is at it, or it will go on by itself: to ask for it again is to wait for it. What it is to have besides it
-- gets once it is finished.
function make:wait()
  local change = self.change
  local live, fields = change.fact.live, change.entry.fields
  if joins(live, self.context.canonical(change)) then
    self:add("build", live.name, fields)
  else
    self:alter(live, fields)
  end
  local old = change.resume and named(change.on, change.name)
  if old then self:drop(old) end
end

make.rebuild = make.wait

function make:alter()
  local change = self.change
  local live = change.fact.live
  self:alter(live, change.hide and with_option(live:fields(), "hidden", "true") or change.entry.fields)
end

function make:drop()
  self:drop(self.change.fact.live)
end

function make:replace()
  local change = self.change
  local live, fields = change.fact.live, change.entry.fields
  for _, index in ipairs(change.left or {}) do self:drop(index) end
  if room.obstacle(change, self.context.plan) then
    local name = change.beside == change.name and change.name or live.name
    if not live.valid then self:add("await", live.name) end
    self:drop(live)
    local build = self:add("build", name, fields)
    -- The old one was good enough until now.
    build.undo = { step_of(self, "build", live.name, live:fields()) }
    build.stays = ("%s is dropped, and nothing is there in its place: the next run builds it"):format(live.name)
    return
  end
  self:add("build", change.beside, fields)
  if change.resume then live = named(change.on, change.name) end
  if not live.valid then self:add("await", live.name) end
  self:drop(live)
end

--- What a plan's steps share.
---@param plan lunadex.Plan
---@return table
function M.context(plan)
  return { plan = plan, together = plan.dialect_state.together or {},
    canonical = function(change) return plan.set:fields(change.ordinal) end }
end

--- The steps of one change.
---@type fun(change: lunadex.PlannedChange, context: table, options: lunadex.StepOptions): lunadex.Step[]
M.of = common.writes(Writer, make)

--- What the statements of a replacement do not show: nothing.
function M.not_shown() end

return M
