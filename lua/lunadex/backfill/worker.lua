--- One of the workers of a backfill: walks a range batch by batch, with batches of a size that keeps to the time, and
--- tries again what may be tried again.

local core = require "lunadex.core"
local errors = require "lunadex.errors"

local M = {}

-- Rows of the first batch. Those that are given to a function are read as a whole, however wide they are.
local first_size, first_given = 1000, 100

-- Rows of a batch at most, unless it is declared: what is changed is locked until its end. More would save hardly any
-- time, and whoever writes would meet a lock more often, and for longer.
local default_most = 7500

---@class lunadex.backfill.Worker
---@field run lunadex.backfill.Run
---@field size integer            # rows of the next batch
---@field narrow integer?          # the same, while a row is looked for that makes batches fail, and after that
---@field suspect integer?         # rows among which it is
---@field skip {key: string, message: string}?   # the row that is left as it is, and why
---@field patience lunadex.backfill.Patience
local Worker = {}
Worker.__index = Worker

---@param run lunadex.backfill.Run
---@return lunadex.backfill.Worker
function M.new(run)
  local backfill = run.subject.backfill
  local dialect = run.dialect.backfill
  local most = backfill.batch or default_most
  return setmetatable({ run = run, most = most, target = backfill.target or dialect.default_target,
    size = math.min(backfill.transform and first_given or first_size, most), patience = run:new_patience() }, Worker)
end

-- Half as long takes half as many, but no step is larger than by two: one batch may be odd.
function Worker:tune(seconds)
  local factor = math.max(0.5, math.min(self.target / math.max(seconds, 1e-4), 2))
  self.size = math.max(1, math.min(math.floor(self.size * factor + 0.5), self.most))
end

-- The range as it is in the database, where it is not known what came of a batch.
function Worker:reload(range)
  local run = self.run
  local ranges, err = run.patience:try(run.dialect.ledger.ranges, run.connection, run.state)
  for _, each in ipairs(ranges or {}) do
    if each.number == range.number then
      run:replace(range, each)
      return true
    end
  end
  run:fail(err or errors.new("lock_held",
    "its range is gone: another run has begun it anew, or somebody has deleted it"))
  return false
end

-- One row of so many makes a batch fail: it is found by halves.
function Worker:look_closer(err, key, rows)
  self.suspect = self.suspect or rows
  if rows == 1 then self.skip = { key = key, message = self.run:cleaned(err).message } else self.narrow = rows // 2 end
end

-- Where one row failed, there may be more: batches grow from there.
function Worker:looked(batch)
  if self.skip then
    self.skip, self.suspect, self.narrow = nil, nil, 1
  elseif self.suspect then
    self.suspect = self.suspect - batch.seen
    if self.suspect <= 0 then self.suspect = nil end -- somebody else has put it right
  elseif self.narrow then
    self.narrow = self.narrow * 2
    if self.narrow >= self.size then self.narrow = nil end
  end
end

-- Whether the range may be walked on after a batch has failed. (By the time that a row is to be left as it is it may be
-- gone, and another one be there that fails.)
function Worker:recover(range, err, key, rows)
  local run = self.run
  if run:is_over() then return false end
  if not (self.skip and self.skip.key == key) and run.dialect.backfill.about_a_row(err, run.subject) then
    self:look_closer(err, key, rows)
    return true
  end
  -- As many are recorded as may fail, and the one that is told is the first beyond.
  if err.several then
    self.narrow = rows // 2
    return true
  end
  -- Less at a time is less in the way of others, takes less of everything, and less of it is lost.
  self.size = math.max(self.size // 2, 1)
  if not self.patience:bears(err) then
    run:fail(err)
    return false
  end
  return self:reload(range)
end

-- `begun`: what the batch before gave as the next one; `at`: when this one is asked for.
function Worker:request(begun, at)
  local run = self.run
  local function ahead()
    if self.narrow or run.holds or run:is_over() then return nil end
    -- With the next one it will take the time of two.
    if not begun then self:tune(core.now() - at) end
    return self.size
  end
  return { size = begun and begun.size or self.skip and 1 or self.narrow or self.size, begun = begun, skip = self.skip,
    transform = run.transform, admit = function(count, key, message) return run:admit(self, count, key, message) end,
    ahead = ahead }
end

---@param range lunadex.backfill.Range
function Worker:walk(range)
  local run = self.run
  self.skip, self.narrow, self.suspect = nil, nil, nil
  local begun
  while not range.done and (begun or run:may_go_on()) do
    local at = core.now()
    local request = self:request(begun, at)
    local batch, err, key = run.dialect.backfill.batch(run.batches, run.subject, run.state, range, request)
    run.admitted[self] = nil
    if batch then
      run:advance(range, batch)
      -- The time of one batch: not of two, nor of an end alone.
      local of_one = (begun ~= nil) == (batch.ahead ~= nil)
      if of_one and not self.narrow and not batch.done then self:tune(core.now() - at) end
      self:looked(batch)
      self.patience:calm()
    elseif not self:recover(range, err, key, request.size) then
      return
    end
    begun = batch and batch.ahead
  end
end

--- Until no range is left, or the run is over.
function Worker:work()
  local range = self.run:take()
  while range do
    self:walk(range)
    range = not self.run:is_over() and self.run:take() or nil
  end
end

return M
