--- What has to be said of a change, or of an index, before anything is done.

local fields = require "lunadex.mongodb.fields"
local format = require "lunadex.format"
local json = require "lunadex.mongodb.json"
local room = require "lunadex.mongodb.steps.room"
local server = require "lunadex.mongodb.server"
local suggest = require "lunadex.suggest"

local has, key_of_type, option = fields.has, fields.key_of_type, fields.option

local M = {}

local PREPARED = "refuses new duplicates since a conversion to unique that did not end"

--- What is to be known of a stray besides its definition.
---@param index lunadex.Index
---@return string?
function M.state(index)
  local parts = {}
  if has(index, "hidden") then parts[1] = "hidden" end
  if has(index, "prepareUnique") then parts[#parts + 1] = PREPARED end
  return parts[1] and table.concat(parts, "; ")
end

local function about(seconds)
  return seconds and " for about " .. format.rough(math.max(seconds, 1)) or ""
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
  if not key_of_type(change.entry.fields, "text") then return nil end
  for _, index in ipairs(change.on:indexes()) do
    if key_of_type(index:fields(), "text") then return index end
  end
end

-- What clients encrypt in a collection: the paths.
local function encrypted(relation)
  local paths, options = {}, relation.options
  local declared = options and json.field(json.parse(options), "encryptedFields")
  for i, each in ipairs(declared and json.field(declared, "fields") or {}) do paths[i] = json.field(each, "path") end
  return paths
end

-- What the server takes, and what is of no use. What it does not take was an error before.
local function about_encrypted(change, finding)
  local wanted = change.entry.fields
  local wildcard = wanted.keys[1].column:match "^(.-)%.?%$%*%*$"
  for _, path in ipairs(encrypted(change.on)) do
    if wildcard and (wildcard == "" or path:find(wildcard .. ".", 1, true) == 1) then
      finding { level = "warning", rule = "encrypted-field",
        message = ("it holds %s only as clients encrypt it, by which no query finds anything"):format(path),
        hint = "Leave the field out by a projection, or index the others by their names." }
    end
    local asked = wanted.where and json.field(json.parse(wanted.where), path)
    if asked and not (type(asked) == "table" and json.field(asked, "$exists") ~= nil) then
      finding { level = "warning", rule = "encrypted-field",
        message = ("its filter looks at %s, which clients encrypt: no value that it names is there"):format(path) }
    end
  end
end

-- What is built has to have room beside all that is there, for what goes goes afterwards, unless it is in the way.
local function check_room(change, plan, finding)
  local tally = room.tally(change, plan)
  if change.on.absent and tally.creates[1] == change then
    finding { level = "info", rule = "new-collection",
      message = "the collection does not exist: its first index creates it" }
  end
  local most = tally.place[change] - #tally.drops
  if most <= room.most then return end
  finding {
    level = "error", rule = "too-many-indexes",
    message = ("there is no room for it: a collection has %d indexes at most, with the one on _id, and with it there "
      .. "would be %d"):format(room.most, most),
    hint = "What is not needed has to go: --drop-strays drops first what is not declared.",
  }
end

local function tell_room(change, plan, finding)
  local drop = room.made_by(change, plan)
  if not drop then return end
  change.room_by = drop
  finding { level = "warning", rule = "room",
    message = ("%s, %s, is dropped before, as a collection has %d indexes at most"):format(drop.live_name,
      drop.definition, room.most) }
end

local QUORUMS = { votingMembers = true, majority = true }

local function check_quorum(change, plan, finding)
  local wanted = change.entry.commit_quorum
  local set = wanted and server.replica_set(plan)
  if set and set.alone then
    finding { level = "error", rule = "commit-quorum",
      message = "commit_quorum is for replica sets, and the server is none", hint = "Leave it out." }
  end
  if not set or set.alone or QUORUMS[wanted] then return end
  local number = math.tointeger(tonumber(wanted))
  if set.modes[wanted] or number and number <= set.members then return end
  local known = { "votingMembers", "majority" }
  for mode in pairs(set.modes) do known[#known + 1] = mode end
  finding {
    level = "error", rule = "commit-quorum",
    message = number and ("commit_quorum is %d, but the replica set has %s with data"):format(number,
      format.quantity(set.members, "member"))
      or ('commit_quorum is "%s", but the replica set has no write concern of that name'):format(wanted),
    hint = not number and suggest.question(wanted, known)
      or '"votingMembers" and "majority" follow the replica set as it changes.',
  }
end

-- What is declared besides and comes to the same by the server's own form: in other words, or by the collection's
-- collation. (What is the same as it is written was refused when the registry was read.) A live one that is the same is
-- another declaration's, for this one has none.
local function twin_of(change, plan)
  for _, live in ipairs(change.on:indexes()) do
    if live:matches(plan.set, change.ordinal) then return live.name end
  end
  local state = plan.dialect_state
  if not state.created then
    state.created = {}
    for _, other in ipairs(plan.decided) do
      local mark = other.relation .. "\0" .. other.definition
      if other.action == "create" and not state.created[mark] then state.created[mark] = other end
    end
  end
  local first = state.created[change.relation .. "\0" .. change.definition]
  return first ~= change and first.name or nil
end

local function about_create(change, plan, finding)
  local twin = twin_of(change, plan)
  if twin then
    finding { level = "error", rule = "declared-twice",
      message = ("to the server it is the same as %s: %s"):format(twin, change.definition),
      hint = "Leave one of them out: a collection takes it once only." }
  end
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
  local hides = change.entry and option(change.entry.fields.with, "hidden") == "true" and not has(live, "hidden")
  if live.referenced and hides then
    finding { level = "error", rule = "referenced", refused = true,
      message = ("%s cannot be hidden: it carries the shard key of %s, %s"):format(live.name, change.relation,
        change.on.shard_key), hint = "Declare it without hidden." }
  end
  local stays = change.entry and option(change.entry.fields.with, "prepareUnique") == "true"
  if not has(live, "prepareUnique") or stays then return end
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
    about_create(change, plan, finding)
    check_room(change, plan, finding)
  else
    about_replace(change, plan, finding, room.obstacle(change, plan))
  end
  about_encrypted(change, finding)
  tell_room(change, plan, finding)
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

return M
