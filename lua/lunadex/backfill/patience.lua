--- What is tried again, and for how long.

local core = require "lunadex.core"
local task = require "lunadex.task"

local M = {}

-- `total`: seconds of failures without one success in between, after which it is given up.
local policy = { attempts = math.maxinteger, first_delay = 0.1, max_delay = 5, total = 600 }

-- Somebody has ended a statement: whoever wants the backfill to end says so. SQLSTATE, and MongoDB's Interrupted.
local ended_by_another = { ["57014"] = true, ["11601"] = true }

--- Whether the same may be done later: somebody else's doing. (Of a statement whose link was lost it is not known what
--- came of it; whoever tries it again has seen to that.)
---@param err lunadex.Error
---@return boolean
function M.may_pass(err)
  return err.retryable or err.code == "moved" or err.code == "server" and ended_by_another[err.native] == true
end

---@class lunadex.backfill.Patience
---@field failures integer         # in a row
---@field since number?            # the first of them
---@field on_retry fun(err: lunadex.Error, attempt: integer, delay: number)
local Patience = {}
Patience.__index = Patience

---@param on_retry fun(err: lunadex.Error, attempt: integer, delay: number)
---@return lunadex.backfill.Patience
function M.new(on_retry)
  return setmetatable({ failures = 0, on_retry = on_retry }, Patience)
end

--- Forgets failures: something was done.
function Patience:calm()
  self.failures, self.since = 0, nil
end

--- Sleeps after a failure; whether it is to be tried again.
---@param err lunadex.Error
---@return boolean
function Patience:bears(err)
  if not M.may_pass(err) or task.ending() then return false end
  local now = core.now()
  self.failures, self.since = self.failures + 1, self.since or now
  local delay = core.retry_delay(self.failures, now - self.since, math.random(), policy)
  if not delay then return false end
  self.on_retry(err, self.failures, delay)
  task.sleep(delay)
  return not task.ending()
end

--- Calls what gives nil and an error until it is done or will not be.
---@param call function
---@return any ...
function Patience:try(call, ...)
  while true do
    local results = table.pack(call(...))
    local err = results[2]
    if results[1] ~= nil or err == nil or not self:bears(err) then
      self:calm()
      return table.unpack(results, 1, results.n)
    end
  end
end

return M
