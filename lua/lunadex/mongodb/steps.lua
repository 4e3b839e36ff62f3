--- What one change of a plan takes on MongoDB: the steps that the core performs, in order.
--
-- Nothing here is renamed: the server cannot. What replaces an index is built beside it under a name of its own
-- (plan/names.lua, name_beside) where the server keeps two of the same keys apart; where it does not, the old one goes
-- first, and only if that was allowed.

local common = require "lunadex.steps"
local format = require "lunadex.format"
local json = require "lunadex.mongodb.json"
local suggest = require "lunadex.suggest"

local copy, named = common.copy, common.named

local M = {}

local MOST_INDEXES = 64 -- of a collection

local function is_text(fields)
  for _, key in ipairs(fields.keys) do
    if key.opclass == "text" then return true end
  end
  return false
end

local function with_option(fields, name, value)
  local with = {}
  for _, pair in ipairs(fields.with or {}) do
    if pair[1] ~= name then with[#with + 1] = pair end
  end
  with[#with + 1] = { name, value }
  return copy(fields, { with = with })
end

local function option_of(fields, name)
  for _, pair in ipairs(fields.with or {}) do
    if pair[1] == name then return pair[2] end
  end
end

local function has_option(index, name) return option_of(index:fields(), name) == "true" end

--- Whether an index is kept from queries.
---@param index lunadex.Index
---@return boolean
function M.is_hidden(index) return has_option(index, "hidden") end

local PREPARED = "refuses new duplicates since a conversion to unique that did not end"

--- What is to be known of a stray besides its definition.
---@param index lunadex.Index
---@return string?
function M.state(index)
  local parts = {}
  if M.is_hidden(index) then parts[1] = "hidden" end
  if has_option(index, "prepareUnique") then parts[#parts + 1] = PREPARED end
  return parts[1] and table.concat(parts, "; ")
end

-- Steps ---------------------------------------------------------------------------------------------------------------

local Writer = {}
Writer.__index = Writer

local function step_of(self, kind, name, fields)
  local options, entry, relation = self.options, self.change.entry or {}, self.change.on
  return {
    kind = kind, relation = relation.name, name = name, commit_quorum = entry.commit_quorum,
    fields = fields and copy(fields, { relation = relation.name, name = name }),
    lock_timeout = options.lock_timeout or common.default_lock_timeout,
    existing = kind == "build" and not relation.absent or nil,
    check_duplicates = kind == "build" and fields.unique and options.check_duplicates or nil,
    retry = { attempts = options.retries or common.default_retries },
  }
end

function Writer:add(kind, name, fields)
  local step = step_of(self, kind, name, fields)
  self.steps[#self.steps + 1] = step
  return step
end

local make = {}

-- The very one that was looked at: it may be hours since, and its name somebody else's by now.
function Writer:drop(live)
  self:add("drop", live.name, live:fields())
end

function make:create()
  local change, together = self.change, self.change.together
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
  local same = joins(change.fact.live, self.context.canonical(change))
  self:add(same and "build" or "alter", change.live_name, change.entry.fields)
  local old = change.resume and named(change.on, change.name)
  if old then self:drop(old) end
end

make.rebuild = make.wait

function make:alter()
  local change = self.change
  local live = change.fact.live
  local step = self:add("alter", change.live_name, change.hide and with_option(live:fields(), "hidden", "true")
    or change.entry.fields)
  step.old_fields = live:fields()
end

function make:drop()
  self:drop(self.change.fact.live)
end

-- What there is of a collection, and what the plan adds to it for good: altogether, and up to the change looked at.
local function tally_of(change, plan)
  plan.tallies = plan.tallies or {}
  local tally = plan.tallies[change.relation]
  if not tally then
    tally = { indexes = change.on.absent and 1 or 0, creates = 0, created = 0 }
    for _, index in ipairs(change.on:indexes()) do
      if not index.clustered then tally.indexes = tally.indexes + 1 end
    end
    for _, other in ipairs(plan.decided) do
      if other.action == "create" and other.relation == change.relation then tally.creates = tally.creates + 1 end
    end
    plan.tallies[change.relation] = tally
  end
  return tally
end

-- How many indexes a collection takes beside those it has, and beside those it will have.
local function room_of(change, plan)
  local tally = tally_of(change, plan)
  local now = MOST_INDEXES - tally.indexes
  return now, now - tally.creates
end

-- Why the server would not have both at a time; nil: it would.
local function obstacle(change, context)
  local live, fields = change.fact.live, change.entry.fields
  if context.matches(live, change) then
    if change.resume then return nil end -- it is the new one
    return "to the server it is the same index, as keys, unique, sparse, partial and collation are"
  end
  if is_text(live:fields()) and is_text(fields) then return "a collection has but one text index" end
  if change.resume or (room_of(change, context.plan)) >= 1 then return nil end
  return ("a collection has %d indexes at most"):format(MOST_INDEXES)
end

--- How many changes like this one can be made on its collection at a time, as what they build stands beside what is
--- there for a while; nil: there is no such limit. And whether there is room only before anything is created there.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return integer?
---@return boolean? first
function M.room(change, plan)
  if change.action ~= "replace" or change.resume or obstacle(change, M.context(plan)) then return nil end
  local now, afterwards = room_of(change, plan)
  if afterwards >= 1 then return afterwards end
  return now, true
end

function make:replace()
  local change = self.change
  local live, fields = change.fact.live, change.entry.fields
  for _, index in ipairs(change.left or {}) do self:drop(index) end
  if obstacle(change, self.context) then
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

-- Findings ------------------------------------------------------------------------------------------------------------

local function about(seconds)
  return seconds and seconds >= 1 and " for about " .. format.rough(seconds) or ""
end

local function gap(change, reason, allowed)
  return {
    level = allowed and "warning" or "error", rule = "gap", refused = true,
    message = ("%s cannot be built beside the old one, as %s: queries and constraints would be without it%s"):format(
      change.name, reason, about(change.estimate.seconds)),
    hint = allowed and "The old one is dropped first, since --allow-gap was given."
      or "--allow-gap drops the old one first; declaring it as it is keeps it.",
  }
end

-- A text index of the collection that stands in the way of another.
local function other_text_index(change)
  if not is_text(change.entry.fields) then return nil end
  for _, index in ipairs(change.on:indexes()) do
    if is_text(index:fields()) then return index end
  end
end

-- What is built has to have room beside all that is there, for what goes goes afterwards.
local function check_room(change, plan, finding)
  local tally = tally_of(change, plan)
  tally.created = tally.created + 1
  if change.on.absent and tally.created == 1 then
    finding { level = "info", rule = "new-collection",
      message = "the collection does not exist: its first index creates it" }
  end
  local most = tally.indexes + tally.created
  if most <= MOST_INDEXES then return end
  finding {
    level = "error", rule = "too-many-indexes",
    message = ("there is no room for it: a collection has %d indexes at most, with the one on _id, and with it there "
      .. "would be %d"):format(MOST_INDEXES, most),
    hint = "What is not needed has to go first: --drop-strays, with --only and its name.",
  }
end

-- The replica set's members that hold data, and its own write concerns; false: it is none, or the user may not know.
local function replica_set(plan)
  if plan.replica_set ~= nil then return plan.replica_set end
  plan.replica_set = false
  local rows = plan.connection:ask '{ "replSetGetConfig": 1, "$db": "admin" }'
  local config = rows and rows[1] and json.field(json.parse(rows[1].document), "config")
  local members = config and json.field(config, "members")
  if not members then return false end
  local set = { members = 0, modes = {} }
  for _, member in ipairs(members) do
    if json.field(member, "arbiterOnly") ~= true then set.members = set.members + 1 end
  end
  local settings = json.field(config, "settings")
  for _, mode in ipairs(settings and json.field(settings, "getLastErrorModes") or {}) do set.modes[mode[1]] = true end
  plan.replica_set = set
  return set
end

local QUORUMS = { votingMembers = true, majority = true }

local function check_quorum(change, plan, finding)
  local wanted = change.entry.commit_quorum
  if not wanted or QUORUMS[wanted] then return end
  local set = replica_set(plan)
  local number = math.tointeger(tonumber(wanted))
  if not set or set.modes[wanted] or number and number <= set.members then return end
  local known = { "votingMembers", "majority" }
  for mode in pairs(set.modes) do known[#known + 1] = mode end
  local nearest = not number and suggest.nearest(wanted, known)
  finding {
    level = "error", rule = "commit-quorum",
    message = number and ("commit_quorum is %d, but the replica set has %s with data"):format(number,
      format.quantity(set.members, "member"))
      or ('commit_quorum is "%s", but the replica set has no write concern of that name'):format(wanted),
    hint = nearest and ('Did you mean "%s"?'):format(nearest)
      or '"votingMembers" and "majority" follow the replica set as it changes.',
  }
end

local function about_create(change, finding)
  local other = other_text_index(change)
  if not other then return end
  finding {
    level = "error", rule = "one-text-index",
    message = ("%s has a text index already, %s: %s"):format(change.relation, other.name, other.text),
    hint = "A collection has but one. Give the declaration that name, which replaces it, or drop it first.",
  }
end

local function about_alter(change, finding)
  local live = change.fact.live
  local hides = change.entry and option_of(change.entry.fields, "hidden") == "true" and not M.is_hidden(live)
  if live.referenced and hides then
    finding { level = "error", rule = "referenced", refused = true,
      message = ("%s cannot be hidden: it carries the shard key of %s, %s"):format(live.name, change.relation,
        change.on.shard_key), hint = "Declare it without hidden." }
  end
  if not has_option(live, "prepareUnique") then return end
  local ends = change.entry and change.entry.fields.unique and "apply goes on with it." or "apply takes that back."
  finding { level = "warning", rule = "unfinished-conversion", message = "it " .. PREPARED, hint = ends }
end

local function about_replace(change, plan, finding, reason)
  if reason then
    finding(gap(change, reason, plan.options.allow_gap))
  elseif not change.resume and change.beside ~= change.name then
    finding {
      level = "warning", rule = "other-name",
      message = ("it will be called %s, as nothing can be renamed and %s is there until it is built"):format(
        change.beside, change.name),
      hint = "Queries that name their index in a hint have to name this one.",
    }
  end
  if not change.fact.live.valid and not change.resume then
    finding { level = "warning", rule = "other-build",
      message = ("%s is being built by %s, but as %s: that build is waited for, and then replaced"):format(
        change.live_name, change.builder or "somebody", change.fact.live.text),
      hint = "Whoever wants that one should know; or stop the build first." }
  end
  for _, index in ipairs(change.left or {}) do
    finding { level = "info", rule = "left", message = ("%s, %s, is dropped first: left by an interrupted replacement")
      :format(index.name, index.text) }
  end
end

--- What has to be said of a change before it is made.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return lunadex.Finding[]
function M.findings(change, plan)
  local action, found = change.action, {}
  local function finding(each) found[#found + 1] = each end
  if action == "alter" then about_alter(change, finding) end
  if action ~= "create" and action ~= "replace" then return found end
  if action == "create" then
    about_create(change, finding)
    check_room(change, plan, finding)
  else
    about_replace(change, plan, finding, obstacle(change, M.context(plan)))
  end
  check_quorum(change, plan, finding)
  return found
end

--- Why a live index that something else needs cannot be replaced, and what to do.
---@param change lunadex.PlannedChange
---@param live lunadex.Index
---@return string message
---@return string hint
function M.relied_upon(change, live)
  return ("%s, %s, cannot be replaced: it carries the shard key of %s, %s"):format(live.name, live.text,
    change.relation, change.on.shard_key), "Declare it as it is, and the new one beside it under another name."
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

--- What a plan's steps share.
---@param plan lunadex.Plan
---@return table
function M.context(plan)
  return { plan = plan, matches = common.matches(plan),
    canonical = function(change) return plan.set:fields(change.ordinal) end }
end

--- The steps of one change.
---@type fun(change: lunadex.PlannedChange, context: table, options: lunadex.StepOptions): lunadex.Step[]
M.of = common.writes(Writer, make)

--- What the statements of a replacement do not show: nothing.
function M.not_shown() end

return M
