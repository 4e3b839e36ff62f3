--- The run lock: one run at a time in a database.
--
-- It is tried, never waited for by the server: a session that is blocked in a lock holds a snapshot, which the builds
-- of the lock's holder would wait for in turn. Whoever waits asks again every second, with nothing open in between.
-- Of several databases it takes all locks or none: a run that held one while it waited for another might wait for a run
-- that waits for it.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local task = require "lunadex.task"

local M = {}

---@class lunadex.LockOptions
---@field wait number?             # seconds to wait for another run; default none, math.huge: for ever
---@field on_event fun(event: table)?   # "waiting_for_lock", "lock_taken" (after a wait)

local interval = 1  -- seconds between two attempts
local reminder = 60 -- seconds after which a wait that goes on is told again

-- All locks, or none and why not.
local function try(connections)
  local attempts, failure, where = {}, nil, nil
  for i, connection in ipairs(connections) do
    attempts[i] = task.spawn(function() return connection:lock() end)
  end
  local held = {}
  for i, attempt in ipairs(attempts) do
    local ok, err = attempt:join()
    if ok then
      held[#held + 1] = connections[i]
    elseif not failure then
      failure, where = err, connections[i]
    end
  end
  if not failure then return true end
  for _, connection in ipairs(held) do connection:unlock() end
  return nil, failure, where
end

local function gave_up(err, waited)
  local failure = errors.new(err.code, ("%s, still after %s"):format(err.message, format.duration(waited)), err.hint)
  failure.detail = err.detail
  return failure
end

--- Takes the run lock of each connection's database.
---@param connections lunadex.Connection[]
---@param options lunadex.LockOptions?
---@return true? taken
---@return lunadex.Error? err      # code "lock_held"; its detail says who holds it
---@return lunadex.Connection? connection   # whose lock it is
function M.take(connections, options)
  options = options or {}
  local began, told, told_at = core.now(), nil, nil
  local function tell(event)
    if options.on_event then options.on_event(event) end
  end
  while true do
    local ok, err, where = try(connections)
    local waited = core.now() - began
    if ok then
      if told then tell { event = "lock_taken", seconds = waited } end
      return true
    end
    if err.code ~= "lock_held" or not options.wait then return nil, err, where end
    if waited >= options.wait then return nil, gave_up(err, waited), where end
    -- The detail ends with how long the holder has been there, and so is another one every second.
    local who = (where.label or "") .. (err.detail:match("^pid %d+") or "")
    if who ~= told or core.now() - told_at >= reminder then
      told, told_at = who, core.now()
      tell { event = "waiting_for_lock", database = where.label, target = where.display, blocker = err.detail,
        seconds = waited }
    end
    -- Not in step: two runs over the same databases would take each other's half for ever.
    task.sleep(math.min(interval * (0.75 + math.random() / 2), options.wait - waited))
    if task.stopping() then return nil, errors.new("cancelled", "the run was interrupted"), where end
  end
end

return M
