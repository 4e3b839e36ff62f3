--- What a plan asks its server, each at most once. Who may not know takes what is usual.

local core = require "lunadex.core"

local M = {}

local NO_REPLICATION = "76" -- of the server

--- How many builds a server runs at a time, unless it was told otherwise.
M.usual_builds_at_once = 3

-- What a plan knows under that name; else what `ask` finds out.
local function known(plan, name, ask)
  local state = plan.dialect_state
  if state[name] == nil then state[name] = ask(plan.connection) end
  return state[name]
end

-- The server's answer; empty: there is none.
local function answer(connection, command, value, fields)
  local rows, err = connection:ask(command, value, fields)
  return rows and rows[1] or {}, err
end

local function ask_replica_set(connection)
  local reply, err = answer(connection, "replSetGetConfig", 1, { ["$db"] = "admin" })
  local config, set = reply.config, { members = 0, modes = {} }
  if not config then return err and err.native == NO_REPLICATION and { alone = true } end
  for _, member in ipairs(config.members) do
    if not member.arbiterOnly then set.members = set.members + 1 end
  end
  for mode in pairs(config.settings and config.settings.getLastErrorModes or {}) do set.modes[mode] = true end
  return set
end

--- A replica set's members with data, and its own write concerns; `alone`: it is none. false: the user may not know.
---@param plan lunadex.Plan
---@return {members: integer, modes: table<string, true>, alone: boolean?}|false
function M.replica_set(plan) return known(plan, "replica_set", ask_replica_set) end

--- Whether the server makes an index unique in place: told to be like one of 5.0 it does not.
---@param plan lunadex.Plan
---@return boolean
function M.converts(plan)
  return known(plan, "converts", function(connection)
    local reply = answer(connection, "getParameter", 1, { featureCompatibilityVersion = 1, ["$db"] = "admin" })
    local version = reply.featureCompatibilityVersion
    return not version or tonumber(version.version) >= 6
  end)
end

--- How many builds it runs at a time.
---@param plan lunadex.Plan
---@return integer
function M.builds_at_once(plan)
  return known(plan, "builds_at_once", function(connection)
    local number = answer(connection, "getParameter", 1, { maxNumActiveUserIndexBuilds = 1, ["$db"] = "admin" })
      .maxNumActiveUserIndexBuilds
    return number and number >= 1 and number or M.usual_builds_at_once
  end)
end

--- Bytes of memory that it may use.
---@param plan lunadex.Plan
---@return number
function M.memory(plan)
  return known(plan, "memory", function(connection)
    local system = answer(connection, "hostInfo", 1, { ["$db"] = "admin" }).system
    return system and system.memLimitMB and system.memLimitMB * 2^20 or math.huge
  end)
end

--- Bytes that a collection takes on disk.
---@param plan lunadex.Plan
---@param collection string
---@return number
function M.bytes_stored(plan, collection)
  return answer(plan.connection, "aggregate", collection, { cursor = core.document(), pipeline = {
    { ["$collStats"] = { storageStats = core.document() } },
    { ["$project"] = { _id = 0, bytes = "$storageStats.storageSize" } } } }).bytes or 0
end

return M
