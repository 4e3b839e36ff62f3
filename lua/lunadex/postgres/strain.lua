--- Whether a server of PostgreSQL has too much to do: see lunadex.backfill.Strain.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local format = require "lunadex.format"

local M = {}

-- Positions in the WAL as numbers. Where standbys are, only members of pg_monitor see.
local look = [[
SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::float8 AS position,
       (SELECT pg_catalog.count(DISTINCT l.pid) FROM pg_catalog.pg_locks l
         WHERE NOT l.granted AND l.pid NOT IN (
               SELECT a.pid FROM pg_catalog.pg_stat_activity a
                WHERE a.application_name LIKE 'lunadex backfill %')) AS waiters,
       s.hidden, s.standby, s.replayed
  FROM (VALUES (1)) v
  LEFT JOIN (
       SELECT r.state IS NULL AS hidden, coalesce(nullif(r.application_name, ''), 'pid ' || r.pid) AS standby,
              pg_catalog.pg_wal_lsn_diff(r.replay_lsn, '0/0')::float8 AS replayed
         FROM pg_catalog.pg_stat_replication r
        WHERE r.state IS NULL OR r.state = 'streaming') s ON true]]

-- What the servers say themselves of the time that a standby is behind, stands still with it. So it is remembered when
-- the primary was where: what a standby has not replayed that was written so long ago, is its lag.
local function lag_of(replayed, positions, now)
  local since
  for i = #positions, 1, -1 do
    if positions[i].position <= replayed then break end
    since = positions[i].at
  end
  return since and now - since or 0
end

local function remember(positions, position, now, limit)
  positions[#positions + 1] = { at = now, position = position }
  -- One that is older than the limit is enough to know that it is exceeded.
  while positions[2] and now - positions[2].at > limit do table.remove(positions, 1) end
end

local function lag_text(rows, limit, memory, now)
  memory.positions = memory.positions or {}
  remember(memory.positions, rows[1].position, now, limit)
  for _, row in ipairs(rows) do
    if row.hidden then
      return nil, errors.new("permission", "the role may not see how far standbys are",
        "GRANT pg_monitor lets it.")
    end
    local lag = row.replayed and lag_of(row.replayed, memory.positions, now) or 0
    if lag > limit then
      return ("standby %s is %s behind; the limit is %s"):format(row.standby, format.duration(lag),
        format.duration(limit))
    end
  end
end

local function wal_text(position, limit, memory, now)
  local before = memory.wal
  memory.wal = { at = now, position = position }
  local seconds = before and now - before.at or 0
  if seconds <= 0 then return nil end
  local rate = (position - before.position) / seconds
  if rate <= limit then return nil end
  return ("the server writes %s of WAL a second; the limit is %s"):format(format.bytes(rate), format.bytes(limit))
end

-- Rows that an update leaves behind are there until a vacuum takes them away. (pg_partition_tree would wait for whoever
-- has locked a partition, and nobody could pause or abort it meanwhile.)
local function dead_text(control, subject, limit)
  local rows, err = control:ask([[
    WITH RECURSIVE r (oid) AS (
      SELECT $1::oid UNION SELECT i.inhrelid FROM r JOIN pg_catalog.pg_inherits i ON i.inhparent = r.oid)
    SELECT coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_dead_tuples(r.oid)), 0)::float8 AS dead,
           coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_live_tuples(r.oid)), 0)::float8 AS live
      FROM r]],
    { subject.oid })
  if not rows then return nil, err end
  local dead, live = rows[1].dead, rows[1].live
  if dead <= limit * (dead + live) then return nil end
  return ("%.0f %% of the rows of %s are dead; the limit is %.0f %%"):format(100 * dead / (dead + live),
    subject.relation, 100 * limit)
end

M.limits = { lag = true, waiters = true, wal = true, dead = true }

function M.look(control, subject, memory)
  local limits, now = subject.backfill.throttle, core.now()
  local rows, err = control:ask(look)
  if not rows then return nil, err end
  local reason
  if limits.lag then
    reason, err = lag_text(rows, limits.lag, memory, now)
    if err then return nil, err end
  end
  if not reason and limits.waiters and rows[1].waiters > limits.waiters then
    reason = ("%s for locks; the limit is %d"):format(rows[1].waiters == 1 and "1 session waits"
      or rows[1].waiters .. " sessions wait", limits.waiters)
  end
  if limits.wal then reason = reason or wal_text(rows[1].position, limits.wal, memory, now) end
  if not reason and limits.dead then return dead_text(control, subject, limits.dead) end
  return reason
end

return M
