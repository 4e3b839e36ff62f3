--- Whether a backfill is to hold, and why: the time of day, the registry's function, the server's strain. What cannot
--- be found out holds it as well.

local errors = require "lunadex.errors"
local format = require "lunadex.format"
local sandbox = require "lunadex.sandbox"

local M = {}

local limits = { instructions = 10 * 1000 * 1000, memory = 64 * 1024 * 1024 }

-- Limits that are not about the server.
local own = { window = true, check = true }

-- Minutes of the day; a window may go over midnight.
local function within(window, minute)
  local from, to = window[1], window[2]
  if from < to then return minute >= from and minute < to end
  return minute >= from or minute < to
end

local function clock(minute)
  return ("%02d:%02d"):format(minute // 60, minute % 60)
end

local function window_text(window)
  local now = os.date "*t" --[[@as osdate]]
  if within(window, now.hour * 60 + now.min) then return nil end
  return ("it is not between %s and %s"):format(clock(window[1]), clock(window[2]))
end

-- What the registry's function says: a text, or true, holds. The database keeps it for `status`.
local function check_text(backfill)
  local ok, verdict = sandbox.run(backfill.throttle.check, backfill.environment, limits)
  local function shown(text) return backfill.secrets:clean(format.storable(format.line(text))) end
  if not ok then return "its check failed: " .. shown(tostring(verdict)) end
  if type(verdict) == "string" then return shown(verdict) end
  return verdict and "its check says so" or nil
end

--- What refuses a backfill that has a limit of another kind of database.
---@param dialect lunadex.Dialect
---@param backfill lunadex.Backfill
---@return lunadex.Error?
function M.refuse(dialect, backfill)
  for name in pairs(backfill.throttle or {}) do
    if not dialect.strain.limits[name] and not own[name] then
      return errors.new("refused", ("this kind of database has nothing for its throttle's %s"):format(name))
    end
  end
end

local function strains(dialect, throttle)
  for name in pairs(dialect.strain.limits) do
    if throttle[name] then return true end
  end
  return false
end

--- Why it is to hold now; nil: it may go on.
---@param dialect lunadex.Dialect
---@param control lunadex.Connection
---@param subject lunadex.backfill.Subject
---@param memory table             # the same for each look
---@return string?
function M.look(dialect, control, subject, memory)
  local backfill = subject.backfill
  local throttle = backfill.throttle
  if not throttle then return nil end
  local reason = throttle.window and window_text(throttle.window) or throttle.check and check_text(backfill)
  if reason or not strains(dialect, throttle) then return reason or nil end
  local strain, err = dialect.strain.look(control, subject, memory)
  if err then return "the strain on the server cannot be measured: " .. err.message end
  return strain
end

return M
