--- Backfills on PostgreSQL: the relation's key, ranges of it, one batch. See lunadex.backfill.Dialect.
--
-- A batch is BEGIN, settings, the walk, which takes the checkpoint, the change, setting the checkpoint, and COMMIT.
-- Only the last two have to know what came before them: from there on, all up to the change of the next batch is
-- sent at once. Whenever the server waits for us its processor stops, and its caches are cold afterwards: so it does
-- once for a batch, and where it did three times a backfill took an eighth longer. With `transform`, and where a
-- setting would not do, it does more often. It walks by the key's own index and changes by a condition on the key, so
-- that a row that others change meanwhile is looked at again as it is by then. COMMIT does not wait for the disk: what
-- a crash of the server takes back, it takes back together with its checkpoint.

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
local settings = { [[
  SELECT pg_catalog.set_config(name, value, true)
    FROM (VALUES ('lock_timeout', '2s'), ('synchronous_commit', 'off'), ('enable_seqscan', 'off'), ('jit', 'off'),
                 ('idle_in_transaction_session_timeout', '5min')) AS s (name, value)]] }

-- What the walk has found is told to the change by a setting, for both are sent together.
local reached = "pg_catalog.current_setting('lunadex.reached')::text[]"

-- Takes the checkpoint and looks where the batch ends. Whoever has read from a relation keeps its name until the
-- transaction's end. Without the checkpoint, or where that is another relation by now, nothing is to be changed: no key
-- is up to one that is null.
local function walk(subject, state, range, cursor, size)
  local it = statement.new()
  return it:with(([[
    WITH mine AS MATERIALIZED (
      SELECT FROM lunadex.backfill_range
       WHERE backfill = %d AND generation = %d AND number = %d AND cursor IS NOT DISTINCT FROM %s AND NOT done
         FOR UPDATE NOWAIT),
    walked AS MATERIALIZED (
      SELECT EXISTS (SELECT FROM mine) AS mine, %s AS cursor, pg_catalog.to_regclass(%s) = %d::oid AS same)
    SELECT mine, cursor, same, pg_catalog.set_config('lunadex.reached',
             CASE WHEN mine AND same THEN coalesce(cursor, %s) ELSE '{}' END, true)
      FROM walked]])
    :format(state.id, state.generation, range.number, cursor and it:value(cursor, "text[]") or "NULL",
      key.ahead(subject, it, key.between(subject, it, cursor, range.high), size), it:value(subject.table, "text"),
      subject.oid, it:value(range.high, "text")))
end

-- Without `last` it changes the rows up to where the walk has got.
local function change(subject, cursor, last)
  local it = statement.of(subject.backfill)
  local set = it:user(subject.backfill.set)
  local keys_between = key.between(subject, it, cursor, last)
  if not last then keys_between = keys_between .. " AND " .. key.ordered(subject, "<=", reached) end
  return it:with(("UPDATE %s SET %s WHERE %s AND %s"):format(subject.table, set, keys_between, it:where()))
end

---@class lunadex.postgres.OpenBatch
---@field transactions lunadex.Transactions
---@field size integer
---@field begun lunadex.Begun      # its results are those of settings, walk and, if that was sent, change

-- Where the change is a single statement, it is sent together with the walk; but not where it needs the batch's end as
-- a value. By a setting no partitions are left out, and all would be locked and planned for; and where it is not an
-- index that is asked for it, it is read again for each row.
local function opening(subject, state, range, cursor, size, request)
  local by_setting = not subject.partitioned and key.at_once(subject, "<=")
  local changes = by_setting and not (request.transform or request.skip)
  return { settings, walk(subject, state, range, cursor, size), changes and change(subject, cursor) or nil }
end

local function open_batch(connection, subject, state, range, request)
  local transactions = connection:transactions()
  local first = opening(subject, state, range, range.cursor, request.size, request)
  return { transactions = transactions, size = request.size, begun = transactions:begin(first) }
end

local function count_rest(tx, subject, range)
  local it = statement.new()
  local rows, err = it:ask(tx, ("SELECT pg_catalog.count(*) AS count FROM %s WHERE %s"):format(subject.table,
    key.between(subject, it, range.cursor, range.high)))
  return rows and rows[1].count, err
end

-- What the walk has found; also the key of the last row, if it got so far.
local function walked_batch(subject, range, open)
  local begun = open.begun
  local walked = begun.results[2] and begun.results[2][1]
  if walked and not walked.same then
    return nil, errors.new("undefined", subject.relation .. " was dropped or renamed meanwhile, and another relation "
      .. "has its name now", "The next run is refused, until it is said what to do: --restart or --carry-on.")
  end
  if walked and not walked.mine then return nil, errors.new("moved", "another run has moved the checkpoint") end
  local last = walked and (walked.cursor or range.high)
  if begun.err then return nil, begun.err, last end
  local batch = { seen = open.size, changed = 0, failed = 0, done = walked.cursor == nil, cursor = last }
  if not batch.done then return batch, nil, last end
  -- Up to the range's end there is nothing more, and what comes in meanwhile belongs to this batch. (What came in since
  -- the change is only seen.)
  local err
  batch.seen, err = count_rest(open.transactions.open, subject, range)
  return batch.seen and batch, err, last
end

-- Changes the rows of a batch unless that is done; gives those that failed.
local function changed_rows(subject, range, request, open, batch)
  local tx, skip, change_sent = open.transactions.open, request.skip, open.begun.results[3]
  if change_sent then
    batch.changed = change_sent.affected
    return {}
  end
  if skip and skip.key == batch.cursor then return { skip } end
  if request.transform then return transforms.run(tx, subject, range, batch, request.transform) end
  local rows, err = tx:ask(table.unpack(change(subject, range.cursor, batch.cursor)))
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

-- Does what there is to be done before the checkpoint is set.
local function do_batch(subject, state, range, request, open)
  local batch, err, last = walked_batch(subject, range, open)
  if not batch then return nil, err, last end
  local failures = {}
  if batch.seen > 0 then
    failures, err = changed_rows(subject, range, request, open, batch)
    if not failures then return nil, err, last end
  end
  batch.failed = #failures
  if batch.failed == 0 then return batch, nil, last end
  local ok
  ok, err = request.admit(batch.failed, key.show(failures[1].key), failures[1].message)
  if ok then ok, err = record(open.transactions.open, state, failures) end
  return ok and batch or nil, err, last
end

-- The row is ours since the walk.
local function checkpoint(state, range, batch)
  local it = statement.new()
  return it:with(("UPDATE lunadex.backfill_range SET cursor = %s, done = %s, seen = seen + %d, changed = changed + %d, "
    .. "failed = failed + %d WHERE backfill = %d AND generation = %d AND number = %d"):format(
    it:value(batch.cursor, "text[]"), batch.done, batch.seen, batch.changed, batch.failed, state.id, state.generation,
    range.number))
end

function M.batch(connection, subject, state, range, request)
  local open = request.begun or open_batch(connection, subject, state, range, request)
  local transactions = open.transactions
  local fine, batch, err, last = pcall(do_batch, subject, state, range, request, open)
  if not (fine and batch) then transactions:rollback() end
  if not fine then error(batch, 0) end
  if not batch then return nil, err, last end
  local size = not batch.done and request.ahead() or nil
  local first = size and opening(subject, state, range, batch.cursor, size, request)
  local ended
  ended, err = transactions:commit({ checkpoint(state, range, batch) }, first)
  if not ended then return nil, err, last end
  if size then batch.ahead = { transactions = transactions, size = size, begun = ended } end
  return batch
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
