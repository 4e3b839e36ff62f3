--- What is kept of backfills in the schema `lunadex` (docs/backfills.md): see lunadex.backfill.Ledger.
--
-- A checkpoint is a text[] of the key's values, which Lua only passes on, as the server writes it.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local key = require "lunadex.postgres.backfill.key"
local task = require "lunadex.task"

local M = {}

local lock_class = 1819635298 -- that of the run lock is one less

local tables = [[
CREATE TABLE lunadex.backfill (
  id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name        text NOT NULL UNIQUE,
  relation    text NOT NULL,
  generation  integer NOT NULL DEFAULT 0,
  definition  text,
  fingerprint text,
  key         text,
  place       text,
  rows        bigint,
  ranges      integer NOT NULL DEFAULT 0,
  command     text,
  outcome     text,
  error       text,
  started     timestamptz,
  ended       timestamptz,
  attempts    integer NOT NULL DEFAULT 0,
  rate        double precision,
  waits       text,
  role        name NOT NULL DEFAULT session_user
);
COMMENT ON COLUMN lunadex.backfill.generation IS '0: nothing was begun; a new start counts it up';
CREATE TABLE lunadex.backfill_range (
  backfill    integer NOT NULL REFERENCES lunadex.backfill ON DELETE CASCADE,
  generation  integer NOT NULL,
  number      integer NOT NULL,
  cursor      text[],
  high        text[],
  done        boolean NOT NULL DEFAULT false,
  seen        bigint NOT NULL DEFAULT 0,
  changed     bigint NOT NULL DEFAULT 0,
  failed      bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (backfill, generation, number)
) WITH (fillfactor = 50);
COMMENT ON COLUMN lunadex.backfill_range.cursor IS 'rows up to here are done; moves in the transaction that does it';
CREATE TABLE lunadex.backfill_error (
  backfill    integer NOT NULL REFERENCES lunadex.backfill ON DELETE CASCADE,
  generation  integer NOT NULL,
  key         text[] NOT NULL,
  message     text NOT NULL,
  at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  PRIMARY KEY (backfill, generation, key)
)]]

local columns = ([[
SELECT b.id, b.name, b.relation, b.generation, b.definition, b.fingerprint, b.key, b.place, b.command,
       pg_catalog.split_part(b.place, ' ', 1) AS identity, b.outcome, b.error, b.attempts, coalesce(b.rows, -1) AS rows,
       CASE WHEN l.pid IS NOT NULL THEN b.rate END AS rate,
       CASE WHEN l.pid IS NOT NULL THEN b.waits END AS waits, l.pid IS NOT NULL AS held,
       pg_catalog.to_char(b.started AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started,
       pg_catalog.to_char(b.ended AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS ended,
       r.seen, r.changed, r.failed, b.ranges, r.ranges_done,
       (SELECT pg_catalog.concat_ws('@', a.usename, pg_catalog.host(a.client_addr)) || ', pid ' || a.pid
          FROM pg_catalog.pg_stat_activity a WHERE a.pid = l.pid) AS who,
       ARRAY(SELECT e.key::text FROM lunadex.backfill_error e
              WHERE e.backfill = b.id AND e.generation = b.generation ORDER BY e.key LIMIT 10) AS failed_keys,
       ARRAY(SELECT e.message FROM lunadex.backfill_error e
              WHERE e.backfill = b.id AND e.generation = b.generation ORDER BY e.key LIMIT 10) AS failed_messages
  FROM lunadex.backfill b
  LEFT JOIN pg_catalog.pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = %d
       AND l.objid = b.id
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
 CROSS JOIN LATERAL (
       SELECT coalesce(pg_catalog.sum(g.seen), 0)::bigint AS seen,
              coalesce(pg_catalog.sum(g.changed), 0)::bigint AS changed,
              coalesce(pg_catalog.sum(g.failed), 0)::bigint AS failed,
              pg_catalog.count(*) FILTER (WHERE g.done) AS ranges_done
         FROM lunadex.backfill_range g
        WHERE g.backfill = b.id AND g.generation = b.generation) r
 WHERE $1::text IS NULL OR b.name = $1::text
 ORDER BY b.id]]):format(lock_class)

-- `mine`: the lock is our own, and says nothing about others. Whoever begins takes the outcome of before away.
local function state_of(row, mine)
  row.samples = {}
  for i, kept in ipairs(row.failed_keys) do
    row.samples[i] = { key = key.show(kept), message = row.failed_messages[i] }
  end
  row.state = row.generation == 0 and "new" or row.outcome or not mine and row.held and "running" or "stopped"
  row.failed_keys, row.failed_messages, row.held, row.outcome = nil, nil, nil, nil
  return row
end

local anew = "DROP TABLE IF EXISTS lunadex.backfill_error, lunadex.backfill_range, lunadex.backfill has them made "
  .. "anew. Nobody knows then what was done: all that is declared begins from the start."

-- Says what a failure on our own tables means to whoever has not made them.
local function explained(err)
  if err.code == "permission" then
    return errors.new("permission", err.message, "What is done of backfills is kept in three tables of the schema "
      .. "lunadex: it takes the right to create them there (GRANT USAGE, CREATE ON SCHEMA lunadex), or all rights on "
      .. "them. Without that schema it takes CREATE on the database.")
  end
  if err.native == "42703" then
    return errors.new("refused", "the tables of backfills in the schema lunadex are those of another Lunadex: "
      .. err.message, anew)
  end
  return err
end

local function ask(connection, ...)
  local rows, err = connection:ask(...)
  if rows then return rows end
  return nil, explained(err)
end

local function read(connection, name, mine)
  local rows, err = ask(connection, columns, { name, n = 1 })
  if not rows then return nil, err end
  local states = {}
  for i, row in ipairs(rows) do states[i] = state_of(row, mine) end
  return states
end

local look = [[
SELECT pg_catalog.to_regnamespace('lunadex') IS NOT NULL AS has_schema,
       ARRAY(SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'lunadex' AND c.relname IN ('backfill', 'backfill_range', 'backfill_error')
              ORDER BY c.relname) AS tables]]

-- What there is of it: { has_schema, tables }, all of the tables or none.
local function installed(connection)
  local rows, err = connection:ask(look)
  if not rows then return nil, err end
  local found = rows[1]
  if #found.tables == 0 or #found.tables == 3 then return found end
  return nil, errors.new("refused", ("of the tables of backfills in the schema lunadex there is only %s"):format(
    table.concat(found.tables, " and ")), anew)
end

function M.install(connection)
  local found, err = installed(connection)
  if not found then return nil, err end
  if #found.tables > 0 then return true end
  local rows
  rows, err = ask(connection, "BEGIN; SET LOCAL lock_timeout = '5s';"
    .. (found.has_schema and "" or "CREATE SCHEMA lunadex;") .. tables .. "; COMMIT")
  if rows then return true end
  -- Another run may have made them at the same moment.
  found = installed(connection)
  if found and #found.tables > 0 then return true end
  return nil, err
end

function M.read(connection, name)
  local found, err = installed(connection)
  if not found then return nil, err end
  if #found.tables == 0 then return {} end
  return read(connection, name)
end

local function one(connection, name)
  local states, err = read(connection, name, true)
  if not states then return nil, err end
  if states[1] then return states[1] end
  return nil, errors.new("undefined", "its entry in lunadex.backfill was deleted")
end

function M.ranges(connection, state)
  local rows, err = connection:ask([[
    SELECT number, cursor::text AS cursor, high::text AS high, done, seen, changed, failed FROM lunadex.backfill_range
     WHERE backfill = $1::int AND generation = $2::int ORDER BY number]], { state.id, state.generation })
  if not rows then return nil, err end
  return table.move(rows, 1, #rows, 1, {})
end

-- Takes the lock unless this session has it.
local take = ([[CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted
     AND l.pid = pg_catalog.pg_backend_pid() AND l.classid = %d AND l.objid = b.id AND l.objsubid = 2) THEN true
   ELSE pg_catalog.pg_try_advisory_lock(%d, b.id) END]]):format(lock_class, lock_class)

local function held(control, name)
  local states = read(control, name)
  local err = errors.new("lock_held", "another run is at it",
    ("lunadex backfill status --only %s shows how far it is."):format(name))
  err.detail = states and states[1] and states[1].who
  return err
end

function M.claim(control, subject)
  local name = subject.backfill.name
  local rows, err = ask(control,
    "INSERT INTO lunadex.backfill (name, relation) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
    { name, subject.relation })
  if not rows then return nil, err end
  rows, err = control:ask("SELECT " .. take .. " AS mine FROM lunadex.backfill b WHERE b.name = $1", { name })
  if not rows then return nil, err end
  if not (rows[1] and rows[1].mine) then return nil, held(control, name) end
  return one(control, name)
end

local function another()
  return errors.new("lock_held", "another run has begun it anew, or its entry in lunadex.backfill was deleted")
end

-- Whoever begins it counts the generation up, from the one that was claimed: by the time that this is done, or tried
-- again, the lock may have been lost with its session, and others may have begun it. What is there afterwards is what
-- was to be begun, or it is another run's.
function M.begin(control, state, subject, definition, ranges)
  local numbers, cursors, highs = core.list {}, core.list {}, core.list {}
  for i, range in ipairs(ranges) do
    numbers[i], cursors[i], highs[i] = range.number, range.cursor or core.null, range.high or core.null
  end
  local rows, err = control:ask([[
    WITH begun AS (
      UPDATE lunadex.backfill
         SET generation = generation + 1, relation = $2, definition = $3, fingerprint = $4, key = $5,
             place = $11, rows = $6::bigint, ranges = cardinality($7::int[]), command = NULLIF(command, $10),
             outcome = NULL, error = NULL, started = pg_catalog.clock_timestamp(), ended = NULL, attempts = 1,
             rate = NULL, waits = NULL
       WHERE id = $1::int AND generation = $12::int RETURNING id, generation
    ), no_ranges AS (
      DELETE FROM lunadex.backfill_range r USING begun b WHERE r.backfill = b.id
    ), no_errors AS (
      DELETE FROM lunadex.backfill_error e USING begun b WHERE e.backfill = b.id
    )
    INSERT INTO lunadex.backfill_range (backfill, generation, number, cursor, high)
    SELECT b.id, b.generation, n.number, n.cursor::text[], n.high::text[]
      FROM begun b, unnest($7::int[], $8::text[], $9::text[]) AS n (number, cursor, high)]],
    { state.id, subject.relation, definition.text, definition.fingerprint, subject.along.definition,
      math.tointeger(subject.rows // 1), numbers, cursors, highs, state.command, subject.along.place,
      state.generation, n = 12 })
  if not rows then return nil, err end
  local begun
  begun, err = one(control, state.name)
  if not begun then return nil, err end
  local same = begun.fingerprint == definition.fingerprint and begun.relation == subject.relation
    and begun.key == subject.along.definition and begun.place == subject.along.place
  if begun.generation == state.generation + 1 and begun.state == "stopped" and same then return begun end
  return nil, another()
end

function M.go_on(control, state, subject, definition)
  local rows, err = control:ask([[
    UPDATE lunadex.backfill SET relation = $2, definition = $3, fingerprint = $4, place = $6, outcome = NULL,
           error = NULL, ended = NULL, attempts = attempts + 1, rate = NULL, waits = NULL
     WHERE id = $1::int AND generation = $5::int]],
    { state.id, subject.relation, definition.text, definition.fingerprint, state.generation, subject.along.place })
  if not rows then return nil, err end
  if rows.affected == 0 then return nil, another() end
  return one(control, state.name)
end

function M.poll(control, state, figures)
  local rows, err = control:ask([[
    UPDATE lunadex.backfill b SET rate = $2::float8, waits = $3 WHERE id = $1::int AND generation = $4::int
    RETURNING command, ]] .. take .. " AS mine", { state.id, figures.rate, figures.waits, state.generation, n = 4 })
  if not rows then return nil, err end
  if not rows[1] then return nil, another() end
  if not rows[1].mine then return nil, held(control, state.name) end
  return { command = rows[1].command }
end

-- Its commit waits for the disk, and so for all before it, which did not: what a crash has taken back until then, shows
-- in the ranges.
function M.close(control, state, outcome, message)
  local rows, err = control:ask([[
    UPDATE lunadex.backfill b SET outcome = $2, error = $3, command = CASE $2 WHEN 'failed' THEN command END,
           rate = NULL, waits = NULL, ended = pg_catalog.clock_timestamp()
     WHERE id = $1::int AND generation = $4::int AND ($2 <> 'finished' OR NOT EXISTS (
           SELECT FROM lunadex.backfill_range r
            WHERE r.backfill = b.id AND r.generation = b.generation AND NOT r.done))]],
    { state.id, outcome, message, state.generation, n = 4 })
  if not rows then return nil, err end
  if rows.affected == 1 then return true end
  return nil, errors.new("undone", "there are ranges that are not done")
end

--- The end of the session would do as well, but a moment later, and the next run may be there at once.
function M.release(control)
  local job = control.handle:query "SELECT pg_catalog.pg_advisory_unlock_all()"
  task.ticket(control.handle, job, nil, "the end of the backfill's lock"):await()
end

local commands = {
  pause = "command = 'pause'", abort = "command = 'abort', outcome = CASE WHEN generation > 0 THEN 'aborted' END",
  resume = "command = NULL, outcome = NULLIF(outcome, 'aborted')",
}

function M.command(connection, name, command)
  local rows, err = ask(connection, ([[
    UPDATE lunadex.backfill SET %s WHERE name = $1 AND outcome IS DISTINCT FROM 'finished']]):format(commands[command]),
    { name })
  if not rows then return nil, err end
  return rows.affected > 0 or nil
end

return M
