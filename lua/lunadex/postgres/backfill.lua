--- Backfills on PostgreSQL: the relation's key, ranges of it, one batch. See lunadex.backfill.Dialect.
--
-- A batch takes three round trips: BEGIN, with settings, taking the checkpoint, and the walk; the change; setting the
-- checkpoint, with COMMIT. With `transform` the change takes one more, and so does the last batch of a range. It walks
-- by the key's own index and changes by a condition on the key, so that a row that others change meanwhile is looked at
-- again as it is by then. COMMIT does not wait for the disk: what a crash of the server takes back, it takes back
-- together with its checkpoint.

local blockers = require "lunadex.postgres.backfill.blocker"
local errors = require "lunadex.errors"
local key = require "lunadex.postgres.backfill.key"
local preview = require "lunadex.postgres.backfill.preview"
local statement = require "lunadex.postgres.backfill.statement"
local subjects = require "lunadex.postgres.backfill.subject"
local transforms = require "lunadex.postgres.backfill.transform"

local M = {}

M.default_target = 0.5 -- seconds

M.session, M.blocker = blockers.session, blockers.of

M.prepare, M.go_along, M.verify, M.preview = subjects.read, subjects.go_along, subjects.verify, preview.of

-- Ranges --------------------------------------------------------------------------------------------------------------

local rows_sampled = 200 -- for each range

function M.cut(connection, subject, count)
  local last, err = connection:ask(("SELECT %s AS high FROM %s ORDER BY %s LIMIT 1"):format(key.text(subject),
    subject.table, key.list(subject, " DESC")))
  if not last then return nil, err end
  if not last[1] then return {} end
  local highs = {}
  if count > 1 then
    local share = math.min(100 * count * rows_sampled / math.max(subject.rows, 1), 100)
    local rows
    rows, err = connection:ask(([[
      SELECT DISTINCT ON (s.tile) %s AS high
        FROM (SELECT %s, pg_catalog.ntile(%d) OVER (ORDER BY %s) FROM %s TABLESAMPLE SYSTEM (%.6f)) AS %s
       ORDER BY s.tile, %s]]):format(key.text(subject, "s"), key.list(subject), count, key.list(subject),
      subject.table, share, key.named(subject, "s", "tile"), key.list(subject, " DESC", "s")))
    if not rows then return nil, err end
    for i = 1, #rows - 1 do highs[i] = rows[i].high end
  end
  highs[#highs + 1] = last[1].high
  return highs
end

-- A batch -------------------------------------------------------------------------------------------------------------

-- A plan that reads the whole table for each batch would never come to an end; where there is no other for something in
-- `set`, what it then seems to cost is no reason to compile it. A machine that is lost without a word must not keep its
-- locks.
local settings = "SET LOCAL lock_timeout = '2s'; SET LOCAL synchronous_commit = off; SET LOCAL enable_seqscan = off; "
  .. "SET LOCAL jit = off; SET LOCAL idle_in_transaction_session_timeout = '5min'"

-- Takes the checkpoint and looks where the batch ends. Whoever has read from a relation keeps its name until the
-- transaction's end.
local function walk(subject, state, range, size)
  local it = statement.plain()
  return ([[
    WITH mine AS MATERIALIZED (
      SELECT FROM lunadex.backfill_range
       WHERE backfill = %d AND generation = %d AND number = %d AND cursor IS NOT DISTINCT FROM %s AND NOT done
         FOR UPDATE NOWAIT)
    SELECT (SELECT pg_catalog.count(*) FROM mine) AS mine, %s AS cursor, pg_catalog.to_regclass(%s) = %d::oid AS same]])
    :format(state.id, state.generation, range.number, range.cursor and it:value(range.cursor, "text[]") or "NULL",
      key.ahead(subject, it, key.between(subject, it, range.cursor, range.high), size),
      statement.literal(subject.table), subject.oid)
end

local function count_rest(tx, subject, range)
  local it = statement.new()
  local rows, err = it:ask(tx, ("SELECT pg_catalog.count(*) AS count FROM %s WHERE %s"):format(subject.table,
    key.between(subject, it, range.cursor, range.high)))
  return rows and rows[1].count, err
end

-- What the walk has found.
local function walked_batch(tx, subject, range, size, walked)
  if not walked.same then
    return nil, errors.new("undefined", subject.relation .. " was dropped or renamed meanwhile, and another relation "
      .. "has its name now", "The next run is refused, until it is said what to do: --restart or --carry-on.")
  end
  if walked.mine == 0 then return nil, errors.new("moved", "another run has moved the checkpoint") end
  local batch = { seen = size, changed = 0, failed = 0, done = walked.cursor == nil,
    cursor = walked.cursor or range.high }
  if not batch.done then return batch end
  -- Up to the range's end there is nothing more, and what comes in meanwhile belongs to this batch.
  local err
  batch.seen, err = count_rest(tx, subject, range)
  return batch.seen and batch, err
end

local function change(tx, subject, range, batch)
  local it = statement.of(subject.backfill)
  local set = it:user(subject.backfill.set)
  local keys_between = key.between(subject, it, range.cursor, batch.cursor)
  local rows, err = it:ask(tx, ("UPDATE %s SET %s WHERE %s AND %s"):format(subject.table, set, keys_between,
    it:where()))
  if not rows then return nil, err end
  batch.changed = rows.affected
  return {}
end

local function record(tx, state, failures)
  local keys_failed, messages = {}, {}
  for i, failure in ipairs(failures) do keys_failed[i], messages[i] = failure.key, failure.message end
  return tx:ask([[
    INSERT INTO lunadex.backfill_error (backfill, generation, key, message)
    SELECT $1::int, $2::int, f.key::text[], f.message FROM unnest($3::text[], $4::text[]) AS f (key, message)
        ON CONFLICT (backfill, generation, key) DO UPDATE SET message = excluded.message,
           at = pg_catalog.clock_timestamp()]], { state.id, state.generation, keys_failed, messages })
end

-- Records what failed, if that is allowed, and has the checkpoint set.
local function finish(tx, state, range, batch, failures, admit)
  if #failures > 0 then
    local ok, err = admit(#failures, key.show(failures[1].key), failures[1].message)
    if not ok then return nil, err end
    ok, err = record(tx, state, failures)
    if not ok then return nil, err end
  end
  batch.failed = #failures
  -- The row is ours since the walk.
  tx.last = ("UPDATE lunadex.backfill_range SET cursor = %s, done = %s, seen = seen + %d, changed = changed + %d, "
    .. "failed = failed + %d WHERE backfill = %d AND generation = %d AND number = %d"):format(
    batch.cursor and statement.literal(batch.cursor) or "NULL", batch.done, batch.seen, batch.changed, batch.failed,
    state.id, state.generation, range.number)
  return batch
end

function M.batch(connection, subject, state, range, request)
  local reached
  local done, failure = connection:atomically(function(tx, rows)
    local batch, err = walked_batch(tx, subject, range, request.size, rows[1])
    if not batch then return nil, err end
    reached = batch.cursor
    local failures = {}
    if batch.seen == 0 then -- luacheck: ignore 542
    elseif request.skip and request.skip.key == reached then
      failures[1] = request.skip
    elseif request.transform then
      failures, err = transforms.run(tx, subject, range, batch, request.transform)
    else
      failures, err = change(tx, subject, range, batch)
    end
    if not failures then return nil, err end
    return finish(tx, state, range, batch, failures, request.admit)
  end, settings .. ";" .. walk(subject, state, range, request.size))
  return done, failure, reached
end

local function set_of(words)
  local set = {}
  for word in words:gmatch "%S+" do set[word] = true end
  return set
end

-- Classes of what is surely no row's fault: links, transactions, what there is no more of, what an administrator does,
-- snapshots, damage.
local of_others = set_of "08 25 2D 40 53 57 58 72 F0 XX001 XX002"

-- What there is not, what is wrong with the statement, who may what, and when: that was settled before anything was
-- begun. A function or a trigger comes across it in one row.
local of_statement = set_of "26 28 3D 3F 42 55"

function M.about_a_row(err, subject)
  local native = err.native or ""
  local class = native:sub(1, 2)
  if native == "" or err.retryable then return false end
  -- Row security calls it a lack of rights where a row becomes one that its role may not write.
  if native == "42501" and subject.guarded then return true end
  if of_statement[class] then return err.context ~= nil end
  return not (of_others[class] or of_others[native])
end

return M
