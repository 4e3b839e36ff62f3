--- What a backfill would do, tried on a few rows and taken back.

local core = require "lunadex.core"
local key = require "lunadex.postgres.backfill.key"
local statement = require "lunadex.postgres.backfill.statement"
local transforms = require "lunadex.postgres.backfill.transform"

local M = {}

-- For counting, and for looking for samples.
local limits = { { [[
  SELECT pg_catalog.set_config(name, value, true)
    FROM (VALUES ('lock_timeout', '2s'), ('statement_timeout', '10s')) AS s (name, value)]] } }
local tried = 1000 -- rows

-- Whether it would have gone on for too long.
local function is_late(err) return err.native == "57014" end

local function count_matching(connection, subject)
  return connection:rehearse(function(tx)
    local it = statement.of(subject.backfill)
    local rows, err = it:ask(tx, ("SELECT pg_catalog.count(*) AS n FROM %s WHERE %s"):format(subject.table,
      it:where()))
    return rows and rows[1].n, err
  end, limits)
end

local function read_samples(tx, subject, count)
  local it = statement.of(subject.backfill)
  local rows, err = it:ask(tx, ("SELECT %s AS %s, %s.* FROM %s WHERE %s LIMIT %d"):format(key.text(subject),
    subject.mark, subject.table, subject.table, it:where(), count))
  if not rows then return nil, err end
  local samples = { keys = {} }
  for i, row in ipairs(rows) do
    samples.keys[i] = row[subject.mark]
    samples[i] = { key = key.show(row[subject.mark]), before = transforms.plain(subject, row) }
  end
  return samples
end

local function change_sample(tx, subject, kept)
  local it = statement.of(subject.backfill)
  local set = it:user(subject.backfill.set)
  local this = key.equal(subject, it:value(kept, "text[]"))
  return it:ask(tx, ("UPDATE %s SET %s WHERE %s AND %s RETURNING %s.*"):format(subject.table, set, this, it:where(),
    subject.table))
end

-- Each by itself: that one would fail says nothing of the others.
local function change_samples(connection, subject, samples)
  for i, sample in ipairs(samples) do
    local rows, err = connection:rehearse(function(tx) return change_sample(tx, subject, samples.keys[i]) end, limits)
    if not rows and (err.retryable or err.code == "cancelled") then return nil, err end
    -- A trigger may keep the row as it is.
    if rows then sample.after = rows[1] or sample.before else sample.failed = err.message end
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
    for name, value in pairs(each.changes or {}) do after[name] = value end
    local wrong = transforms.flaw(subject, samples[i].before, each)
    samples[i].after, samples[i].failed = not wrong and after or nil, wrong
  end
end

-- What is null says so: who reads JSON knows no other rows.
local function tell_nulls(subject, samples)
  for _, sample in ipairs(samples) do
    for _, row in ipairs { sample.before, sample.after } do
      for name in pairs(subject.columns) do
        if row[name] == nil then row[name] = core.null end
      end
    end
  end
end

-- Seconds that it takes to change some rows, those behind a key, and how many were changed.
local function try_some(tx, subject, kept)
  local began = core.now()
  local it = statement.new()
  local rows, err = it:ask(tx, "SELECT " .. key.ahead(subject, it, key.between(subject, it, kept), tried) .. " AS high")
  if not rows then return nil, err end
  it = statement.of(subject.backfill)
  local set, these = it:user(subject.backfill.set), key.between(subject, it, kept, rows[1].high)
  rows, err = it:ask(tx, ("UPDATE %s SET %s WHERE %s AND %s"):format(subject.table, set, these, it:where()))
  return rows and { seconds = core.now() - began, changed = rows.affected }, err
end

-- Seconds that all of it may take; nil: that cannot be said.
local function estimate(connection, subject, preview)
  if not preview.samples[1] then return nil end
  local some = connection:rehearse(function(tx) return try_some(tx, subject, preview.samples.keys[1]) end, limits)
  if not some or subject.rows <= 0 then return nil end
  if preview.matching and some.changed > 0 then return some.seconds * preview.matching / some.changed end
  return some.seconds * subject.rows / math.min(tried, subject.rows)
end

---@param connection lunadex.Connection
---@param subject lunadex.postgres.BackfillSubject
---@param samples integer
---@param transform (fun(rows: table[]): lunadex.backfill.Change[])?
---@return lunadex.backfill.Preview?
---@return lunadex.Error? err
function M.of(connection, subject, samples, transform)
  local preview = { rows = subject.rows, samples = {} }
  local list, ok, err
  preview.matching, err = count_matching(connection, subject)
  if not preview.matching and not is_late(err) then return nil, err end
  list, err = connection:rehearse(function(tx) return read_samples(tx, subject, samples) end, limits)
  if not list then return is_late(err) and preview or nil, err end
  preview.samples = list
  if transform then
    transform_samples(subject, list, transform)
  else
    ok, err = change_samples(connection, subject, list)
    if not ok then return nil, err end
    preview.seconds = estimate(connection, subject, preview)
  end
  list.keys = nil
  tell_nulls(subject, list)
  return preview
end

return M
