--- What a backfill would do, tried on a few rows and taken back.

local core = require "lunadex.core"
local key = require "lunadex.postgres.backfill.key"
local statement = require "lunadex.postgres.backfill.statement"
local transforms = require "lunadex.postgres.backfill.transform"

local M = {}

local patience = "10s" -- for counting, and for looking for samples
local tried = 1000     -- rows

local undone = {} -- why a transaction of a preview ends: so that nothing stays

-- Runs something that is taken back; what it gave.
local function rehearse(connection, run)
  local result, problem
  local _, err = connection:atomically(function(tx)
    local ok
    ok, problem = tx:ask(("SELECT pg_catalog.set_config('lock_timeout', '2s', true), "
      .. "pg_catalog.set_config('statement_timeout', '%s', true)"):format(patience))
    if ok then result, problem = run(tx) end
    return nil, undone
  end)
  if err ~= undone then return nil, err end
  return result, problem
end

local function count_matching(connection, subject)
  return rehearse(connection, function(tx)
    local it = statement.of(subject.backfill)
    local rows, err = it:ask(tx, ("SELECT pg_catalog.count(*) AS n FROM %s WHERE %s"):format(subject.table,
      it:where()))
    return rows and rows[1].n, err
  end)
end

local function read_samples(tx, subject, count)
  local it = statement.of(subject.backfill)
  local rows, err = it:ask(tx, ("SELECT %s AS %s, %s.* FROM %s WHERE %s LIMIT %d"):format(key.text(subject),
    subject.mark, subject.table, subject.table, it:where(), count))
  if not rows then return nil, err end
  local samples = {}
  for i, row in ipairs(rows) do
    local kept = row[subject.mark]
    samples[i] = { kept = kept, key = key.show(kept), before = transforms.plain(subject, row) }
  end
  return samples
end

local function change_samples(tx, subject, samples)
  local it = statement.of(subject.backfill)
  local set, these, by_key = it:user(subject.backfill.set), {}, {}
  for i, sample in ipairs(samples) do
    these[i], by_key[sample.kept] = key.equal(subject, it:value(sample.kept, "text[]")), sample
  end
  local rows, err = it:ask(tx, ("UPDATE %s SET %s WHERE (%s) AND %s RETURNING %s AS %s, %s.*"):format(subject.table,
    set, table.concat(these, " OR "), it:where(), key.text(subject), subject.mark, subject.table))
  if not rows then return nil, err end
  for _, row in ipairs(rows) do
    local sample = by_key[row[subject.mark]]
    if sample then sample.after = transforms.plain(subject, row) end
  end
  return true
end

local function transform_samples(subject, samples, transform)
  local rows = {}
  for i, sample in ipairs(samples) do
    rows[i] = {}
    for _, name in ipairs(subject.backfill.columns or {}) do rows[i][name] = sample.before[name] end
    if not subject.backfill.columns then rows[i] = transforms.plain(subject, sample.before) end
  end
  for i, each in ipairs(transform(rows)) do
    local after = transforms.plain(subject, samples[i].before)
    for name, value in pairs(each.changes or {}) do after[name] = value ~= core.null and value or nil end
    samples[i].after, samples[i].failed = not each.failed and after or nil, each.failed
  end
  return true
end

-- Seconds that the first rows take.
local function try_some(tx, subject)
  local began = core.now()
  local it = statement.of(subject.backfill)
  local set = it:user(subject.backfill.set)
  local list = key.list(subject)
  local rows, err = it:ask(tx, ("UPDATE %s SET %s WHERE (%s) IN (SELECT %s FROM %s ORDER BY %s LIMIT %d) AND %s")
    :format(subject.table, set, list, list, subject.table, list, tried, it:where()))
  return rows and core.now() - began, err
end

---@param connection lunadex.Connection
---@param subject lunadex.postgres.BackfillSubject
---@param samples integer
---@param transform (fun(rows: table[]): lunadex.backfill.Change[])?
---@return lunadex.backfill.Preview?
---@return lunadex.Error? err
function M.of(connection, subject, samples, transform)
  local preview = { rows = subject.rows, samples = {} }
  local err, problem
  preview.matching, err = count_matching(connection, subject)
  if not preview.matching and err.native ~= "57014" then return nil, err end
  local ok
  ok, err = rehearse(connection, function(tx)
    local list
    list, problem = read_samples(tx, subject, samples)
    if not list then return nil, problem end
    preview.samples = list
    if transform then return transform_samples(subject, list, transform) end
    if #list > 0 then return change_samples(tx, subject, list) end
    return true
  end)
  if not ok and err.native ~= "57014" then return nil, err end
  if not transform and subject.rows > 0 then
    local seconds = rehearse(connection, function(tx) return try_some(tx, subject) end)
    preview.seconds = seconds and seconds * subject.rows / math.min(tried, subject.rows)
  end
  return preview
end

return M
