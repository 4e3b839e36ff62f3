--- Who keeps a session waiting for a lock, in the words of the core's notes (core/drivers/postgres/patience.c, who.c).

local format = require "lunadex.format"

local M = {}

-- The oldest of those who have the lock, before those who wait for it ahead of us; a prepared transaction is nobody's.
local find = [[
SELECT b.pid, a.usename::text AS user, coalesce(a.client_hostname, pg_catalog.host(a.client_addr)) AS host,
       a.application_name AS application, a.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS seconds,
       nullif(a.query, '<insufficient privilege>') AS query, has.it,
       (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = w.relation) AS relation
  FROM pg_catalog.pg_locks w CROSS JOIN unnest(pg_catalog.pg_blocking_pids(w.pid)) b (pid)
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
 CROSS JOIN LATERAL (
       SELECT b.pid = 0 OR EXISTS (SELECT FROM pg_catalog.pg_locks l
                                    WHERE l.pid = b.pid AND l.granted AND l.relation = w.relation) AS it) has
 WHERE w.pid = $1::int AND NOT w.granted
 ORDER BY has.it DESC, a.xact_start
 LIMIT 1]]

local most = 120 -- columns of a statement

local function who(row)
  if row.pid == 0 then return "a prepared transaction (pg_prepared_xacts)" end
  local text = ("pid %d%s%s"):format(row.pid, row.user and " " .. row.user or "", row.host and "@" .. row.host or "")
  if (row.application or "") ~= "" then text = ('%s "%s"'):format(text, row.application) end
  if row.state and row.seconds then
    text = ("%s, %s since %s"):format(text, row.state == "active" and "active, in a transaction" or row.state,
      format.clock(row.seconds))
  end
  if (row.query or "") == "" then return text end
  return text .. ": " .. format.clip(format.line((row.query:gsub("%s+", " "))), most)
end

--- The server's number of a connection's one session.
---@param connection lunadex.Connection
---@return integer?
---@return lunadex.Error? err
function M.session(connection)
  local rows, err = connection:ask "SELECT pg_catalog.pg_backend_pid() AS pid"
  return rows and rows[1].pid, err
end

---@param connection lunadex.Connection
---@param session integer
---@return lunadex.backfill.Blocker|false|nil
---@return lunadex.Error? err
function M.of(connection, session)
  local rows, err = connection:ask(find, { session })
  if not rows then return nil, err end
  local row = rows[1]
  if not row then return false end
  local text = who(row)
  return { id = row.pid, who = text, reason = ("%s is %s by %s"):format(row.relation or "what it reads",
    row.it and "locked" or "about to be locked", text) }
end

return M
