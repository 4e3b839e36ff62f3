--- Transactions of a connection. Each has a session for itself, which the next one gets.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local session = require "lunadex.session"
local task = require "lunadex.task"

local M = {}

---@alias lunadex.Statement {[1]: string, [2]: table?}   # SQL, and its parameters

---@class lunadex.Begun            # a transaction, and the statements that were sent together with its BEGIN
---@field results lunadex.Rows[]   # of those of them that were done
---@field err lunadex.Error?       # why it is over

---@class lunadex.Transactions     # one after the other
---@field connection lunadex.Connection
---@field open lunadex.Session?    # the one that has begun and not ended
local Transactions = {}
Transactions.__index = Transactions

---@param connection lunadex.Connection
---@return lunadex.Transactions
function M.of(connection)
  return setmetatable({ connection = connection }, Transactions)
end

-- An engine of one session.
local function engine(connection)
  local spare = table.remove(connection.spare)
  if spare then return spare end
  local given = connection.given
  return core.open(connection.target, { jobs = 1, application_name = given.application_name,
    connect_timeout = given.connect_timeout, read_only = given.read_only, to_write = given.to_write,
    notices = given.notices })
end

function Transactions:opened(handle)
  local connection = self.connection
  self.open = setmetatable({ handle = handle, driver = connection.driver, display = connection.display, jobs = 1,
    open_rows = 0, on_notice = connection.on_notice, transaction_of = connection }, session.Session)
end

-- Sends one of the core's words: then a transaction is open, or the engine is free for another.
function Transactions:send(handle, how, last, first)
  local connection = self.connection
  local ticket = task.ticket(handle, handle:transact(how, last, first), function(event) connection:hear(event) end,
    "an answer of " .. connection.display)
  local heard, problem = pcall(ticket.await, ticket)
  local event = ticket.event
  if event and event.ok and (how == "begin" or how == "next") then
    self:opened(handle)
  elseif event and connection.handle then
    table.insert(connection.spare, handle)
  else
    handle:close()
  end
  if heard then return event end
  self:rollback() -- a listener raised
  error(problem, 0)
end

--- Begins one.
---@param first lunadex.Statement[]?   # that are sent together with BEGIN
---@return lunadex.Begun
function Transactions:begin(first)
  if task.ending() then return { results = {}, err = session.interrupted() } end
  local handle, wrong = engine(self.connection)
  if not handle then return { results = {}, err = wrong } end
  local event = self:send(handle, "begin", nil, first)
  return { results = event.results, err = event.error }
end

-- Ends the one that is open; the event of its end, or nil and why there is none.
function Transactions:finish(how, last, first)
  local tx = self.open
  local handle, unfinished = tx.handle, tx.open_rows > 0
  tx.handle, self.open = nil, nil
  if not self.connection.handle then
    task.forget(handle)
    handle:close()
    return nil, errors.new("link_lost", "the connection was closed before the end of the transaction")
  end
  if not unfinished then return self:send(handle, how, last, first) end
  -- A loop that was left without its end keeps the session.
  handle:cancel()
  self:send(handle, "rollback")
  return nil, errors.new("usage", "a loop over rows was not at its end when the transaction was",
    "Nothing was changed: read all rows, or leave the loop by break.")
end

--- Rolls back the one that is open, if there is.
function Transactions:rollback()
  if self.open then self:finish("rollback") end
end

--- Commits the one that is open, and begins another if `first` is given.
---@param last lunadex.Statement[]?    # that are sent together with COMMIT, before it
---@param first lunadex.Statement[]?   # that are sent together with the next BEGIN
---@return lunadex.Begun|true|nil      # the one that was begun; true: none was to be; nil: it may not be committed
---@return lunadex.Error? err
function Transactions:commit(last, first)
  local event, err = self:finish(first and "next" or "commit", last, first)
  if not event then return nil, err end
  if not event.committed then return nil, event.error end
  if not first then return true end
  return { results = table.move(event.results, last and #last + 1 or 1, #event.results, 1, {}), err = event.error }
end

--- Runs a function in one, which is committed when it returns, and rolled back when it returns nil and an error or
--- raises one.
---@param connection lunadex.Connection
---@param run fun(tx: lunadex.Session): any ...
---@param first lunadex.Statement[]?
---@return any ...                 # what it returned (true if nothing), or nil and an error; what it raised is raised
function M.run(connection, run, first)
  local it = M.of(connection)
  local begun = it:begin(first)
  if begun.err then return nil, begun.err end
  local results = table.pack(pcall(run, it.open))
  local failed = not results[1] or results[2] == nil and results[3] ~= nil
  local ok, err
  if failed then it:rollback() else ok, err = it:commit() end
  if not results[1] then error(results[2], 0) end
  if failed then return nil, results[3] end
  if not ok then return nil, err end
  if results.n == 1 then return true end
  return table.unpack(results, 2, results.n)
end

local undone = {} -- why the transaction of a rehearsal ends

--- Runs a function in one of which nothing stays.
---@param connection lunadex.Connection
---@param run fun(tx: lunadex.Session): any, lunadex.Error?
---@param first lunadex.Statement[]?
---@return any                     # what it returned
---@return lunadex.Error? err
function M.rehearse(connection, run, first)
  local result, problem
  local _, err = M.run(connection, function(tx)
    result, problem = run(tx)
    return nil, undone
  end, first)
  if err ~= undone then return nil, err end
  return result, problem
end

return M
