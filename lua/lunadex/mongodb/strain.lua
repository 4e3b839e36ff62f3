--- Whether a server of MongoDB has too much to do: see lunadex.backfill.Strain.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local format = require "lunadex.format"

local M = {}

local admin = { ["$db"] = "admin" }

-- States of members that hold data and follow the primary: SECONDARY, RECOVERING, ROLLBACK.
local following = { [2] = true, [3] = true, [9] = true }

-- Milliseconds of a date, or nil.
local function time_of(value) return type(value) == "table" and value.value or nil end

-- How far a member is behind what was written, beyond what it is to be behind. One that cannot be reached is not waited
-- for.
local function lag_of(member, written, delays)
  local applied = time_of(member.optimeDate)
  return applied and math.max((written - applied) / 1000 - (delays[member.name] or 0), 0) or 0
end

local function read_delays(control)
  local rows = control:ask("replSetGetConfig", 1, admin)
  local delays = {}
  for _, member in ipairs(rows and rows[1].config.members or {}) do
    delays[member.host] = member.secondaryDelaySecs
  end
  return delays
end

-- The member that is the furthest behind, of those that follow.
local function of_members(status, delays)
  local written, name, worst = nil, nil, 0
  for _, member in ipairs(status.members) do
    if member.state == 1 then written = time_of(member.optimeDate) end
  end
  for _, member in ipairs(status.members) do
    if written and following[member.state] and member.health == 1 then
      local lag = lag_of(member, written, delays)
      if lag > worst then name, worst = member.name, lag end
    end
  end
  return worst, name
end

-- Who may not ask for the members is told how far the majority is.
local function of_majority(control)
  local rows, err = control:ask "hello"
  if not rows then return nil, err end
  if not rows[1].setName and rows[1].msg ~= "isdbgrid" then return 0 end -- nobody follows it
  local last = rows[1].lastWrite
  local written, kept = last and time_of(last.lastWriteDate), last and time_of(last.majorityWriteDate)
  if not kept then return nil, errors.new("unsupported", "the server does not say how far its replica set is") end
  return math.max((written - kept) / 1000, 0), "the majority of the replica set"
end

local function lag_text(control, limit, memory)
  local rows, err = control:ask("replSetGetStatus", 1, admin)
  local lag, who
  if rows then
    memory.delays = memory.delays or read_delays(control)
    lag, who = of_members(rows[1], memory.delays)
  elseif err.code == "permission" then
    lag, who = of_majority(control)
    if not lag then return nil, who end
  elseif err.native == "76" then -- NoReplicationEnabled
    return nil
  else
    return nil, err
  end
  if lag <= limit then return nil end
  return ("%s is %s behind; the limit is %s"):format(who, format.duration(lag), format.duration(limit))
end

local function number_at(document, ...)
  for _, name in ipairs { ... } do
    if type(document) ~= "table" then return nil end
    document = document[name]
  end
  return math.type(document) and document or nil
end

local function waiters_text(status, limit)
  local waiters = number_at(status, "globalLock", "currentQueue", "total")
  if not waiters then return nil, errors.new("unsupported", "the server does not say how many operations wait") end
  if waiters <= limit then return nil end
  return ("%s; the limit is %d"):format(waiters == 1 and "1 operation waits" or waiters .. " operations wait", limit)
end

-- Of a timestamp in what the server says of its oplog.
local function seconds_at(status, name)
  local stamp = type(status.oplog) == "table" and status.oplog[name]
  return type(stamp) == "table" and stamp.type == "timestamp" and stamp.value >> 32 or nil
end

-- Bytes of the journal, of which the oplog is the greater part.
local function wal_text(status, limit, memory, now)
  local position = number_at(status, "wiredTiger", "log", "log bytes written")
  if not position then return nil, errors.new("unsupported", "the server does not say how much it writes") end
  local before = memory.wal
  memory.wal = { at = now, position = position }
  local seconds = before and now - before.at or 0
  -- A restarted server counts anew.
  if seconds <= 0 or position < before.position then return nil end
  local rate = (position - before.position) / seconds
  if rate <= limit then return nil end
  return ("the server writes %s of journal a second; the limit is %s"):format(format.bytes(rate), format.bytes(limit))
end

local full = 0.9 -- a share of its size from which on the oplog forgets

-- How far the oplog reaches back: a member that is away for longer has to be synchronised anew.
local function oplog_text(control, status, limit)
  local earliest, latest = seconds_at(status, "earliestOptime"), seconds_at(status, "latestOptime")
  if not earliest or not latest then
    return nil, errors.new("unsupported", "the server does not say how far its oplog reaches back")
  end
  if latest - earliest >= limit then return nil end
  local rows, err = control:ask("collStats", "oplog.rs", { ["$db"] = "local" })
  if not rows then return nil, err end
  if (number_at(rows[1], "size") or 0) < full * (number_at(rows[1], "maxSize") or 0) then return nil end
  return ("the oplog reaches back %s; the limit is %s"):format(format.duration(latest - earliest),
    format.duration(limit))
end

M.limits = { lag = true, waiters = true, wal = true, oplog = true }

function M.look(control, subject, memory)
  local limits, now = subject.backfill.throttle, core.now()
  local reason, err
  if limits.lag then reason, err = lag_text(control, limits.lag, memory) end
  if reason or err or not (limits.waiters or limits.wal or limits.oplog) then return reason, err end
  local rows
  rows, err = control:ask("serverStatus", 1, { oplog = 1 })
  if not rows then return nil, err end
  if limits.waiters then reason, err = waiters_text(rows[1], limits.waiters) end
  if not reason and not err and limits.wal then reason, err = wal_text(rows[1], limits.wal, memory, now) end
  if not reason and not err and limits.oplog then reason, err = oplog_text(control, rows[1], limits.oplog) end
  return reason, err
end

return M
