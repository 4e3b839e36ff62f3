--- How a backfill stands, as people and machines are told it.

local M = {}

local told = { pause = "paused", abort = "aborted" }

--- What its state is called: what somebody has told it goes before what it is at.
---@param state lunadex.backfill.State
---@return string
function M.word(state)
  return told[state.command] or state.state
end

--- How far it is, and how many seconds the rest may take. How many rows there are is an estimate, and can be too few.
---@param rows number              # -1: nobody knows
---@param seen integer
---@param rate number?             # rows a second
---@param walked boolean           # no range is left
---@return number? percent
---@return number? seconds_left
function M.extent(rows, seen, rate, walked)
  if walked then return 100 end
  if rows <= 0 then return nil end
  local left = rows - seen
  return math.min(100 * seen / rows, 99), rate and left > 0 and left / rate or nil
end

--- What a run did itself.
---@param rows {seen: integer, changed: integer, failed: integer}     # with what was done before
---@param before {seen: integer, changed: integer, failed: integer}
---@return {seen: integer, changed: integer, failed: integer}
function M.since(rows, before)
  return { seen = rows.seen - before.seen, changed = rows.changed - before.changed,
    failed = rows.failed - before.failed }
end

---@class lunadex.backfill.Standing: lunadex.backfill.State
---@field state string             # also "paused"
---@field percent number?
---@field seconds_left number?

---@param state lunadex.backfill.State
---@return lunadex.backfill.Standing
function M.of(state)
  local copy = {}
  for name, value in pairs(state) do copy[name] = value end
  copy.state = M.word(state)
  copy.percent, copy.seconds_left = M.extent(state.rows, state.seen, state.rate,
    state.state ~= "new" and state.ranges_done == state.ranges)
  return copy
end

return M
