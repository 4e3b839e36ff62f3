--- What runs have done, kept in the database itself (docs/history.md) when that is asked for.
--
-- A recorder hears the events of a run and writes on a session of its own, beside the run: nothing waits for it but the
-- run's last event. What cannot be written is told once, and changes nothing else.

local core = require "lunadex.core"
local database = require "lunadex.database"
local errors = require "lunadex.errors"
local task = require "lunadex.task"

local M = {}

---@class lunadex.Recorder
---@field connection lunadex.Connection
---@field run integer?             # its number in the history
---@field queue {what: string, make: fun(run: integer): table}[]   # what is not written yet
---@field changes table<integer, table>   # of each change its first columns, by number
---@field failure lunadex.Error?   # the first; from then on, nothing but the end is written
---@field warn fun(err: lunadex.Error)
local Recorder = {}
Recorder.__index = Recorder

local on = {}

function on:run_started(event)
  self:add("run", function() return { core.version, event.existing, event.planned } end)
end

function on:build_started(event)
  local first = { event.number, event.action, event.relation, event.name, event.definition, event.critical }
  self.changes[event.number] = first
  self:add("change", function(run) return { run, table.unpack(first, 1, 6) } end)
end

function on:build_finished(event)
  local first = self.changes[event.number]
  if not first then return end -- what is there already is no change
  self:add("change", function(run)
    local row = { run, table.unpack(first, 1, 6) }
    row[8], row[9], row[10], row[11] = event.seconds, event.attempts, event.outcome, event.error and event.error.message
    row.n = 11
    return row
  end)
end

---@param event table
function Recorder:hear(event)
  if on[event.event] then on[event.event](self, event) end
end

function Recorder:add(what, make)
  self.queue[#self.queue + 1] = { what = what, make = make }
  self.changed:announce()
end

function Recorder:write(record)
  if record.what ~= "run" and not self.run or record.what == "change" and self.failure then return end
  local parameters = record.make(self.run)
  parameters.n = parameters.n or (record.what == "change" and 11 or #parameters)
  local rows, err = self.connection:history(record.what, parameters)
  if not rows and record.what ~= "run" and (err.retryable or err.code == "cancelled") then
    -- Its session was lost, or it was interrupted with the run. To write a row twice does no harm.
    rows, err = self.connection:history(record.what, parameters)
  end
  if rows and record.what == "run" then
    self.run = rows[1] and rows[1].id
    if not self.run then err = errors.new("lock_held", "the run lock is not held") end
  end
  if err and not self.failure then
    self.failure = err
    self.warn(err)
  end
end

function Recorder:work()
  while true do
    local record = table.remove(self.queue, 1)
    if record then
      self:write(record)
    elseif self.ended then
      return
    else
      self.changed:wait()
    end
  end
end

--- Writes the end of the run, and waits until all is written.
---@param outcome lunadex.Outcome
function Recorder:finish(outcome)
  local halted = outcome.halted
  local word = outcome.interrupted and "interrupted" or halted and halted.code == "link_lost" and "lock lost"
    or (halted or #outcome.failures > 0) and "failed" or "finished"
  self:add("end", function(run)
    local incomplete = self.failure and "not all changes could be recorded: " .. self.failure.message
    return { run, word, halted and halted.message or incomplete or nil, n = 3 }
  end)
  self.ended = true
  self.changed:announce()
  self.worker:join()
  self.connection:close()
end

--- A recorder for the run that begins on this connection's database and holds its lock.
---@param connection lunadex.Connection
---@param warn fun(err: lunadex.Error)   # hears of the first failure
---@return lunadex.Recorder?
function M.recorder(connection, warn)
  local own, err = database.open(connection.target, { jobs = 1, application_name = "lunadex history" })
  if not own then
    warn(err)
    return nil
  end
  local self = setmetatable({
    connection = own, queue = {}, changes = {}, warn = warn, changed = task.point(),
  }, Recorder)
  self.worker = task.spawn(self.work, self)
  return self
end

--- The last runs, the newest first; nil where none was ever recorded.
---@param connection lunadex.Connection
---@return table[]? runs
---@return lunadex.Error? err
function M.read(connection)
  local rows, err = connection:history("read")
  if not rows then return nil, err end
  if #rows.columns == 0 then return nil end
  return table.move(rows, 1, #rows, 1, {})
end

return M
