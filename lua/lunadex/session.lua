--- Statements of scripts: what connections and transactions have in common.
--
-- Each is a job on a worker of the core, so that it can be cancelled and others go on meanwhile.

local arguments = require "lunadex.arguments"
local core = require "lunadex.core"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local notices = require "lunadex.notice"
local task = require "lunadex.task"

local M = {}

---@class lunadex.Rows: table[]    # tables by the names of the columns, null being nil; or lunadex.Document
---@field columns string[]?        # their names, in order; nil on MongoDB
---@field command string           # "INSERT 0 3", "find"
---@field affected integer?        # rows that were changed, where the server says so

--- What can be said to a database: a connection, or a transaction on one.
---@class lunadex.Session
---@field handle lunadex.Database
---@field driver "postgres"|"mongodb"
---@field display string           # the target without secrets
---@field jobs integer             # statements at a time
---@field open_rows integer        # iterators that are not at their end: each has a session for itself
---@field rolled_back boolean?     # a transaction that is over
---@field last_session integer?    # on which the last statement ran
---@field on_reading fun(event: lunadex.Event)?   # hears what keeps it waiting while it reads
---@field on_notice fun(notice: lunadex.Notice)?  # hears what the server says beside results
local Session = {}
Session.__index = Session
M.Session = Session

local default_batch = 1000

--- The end of a run is no failure that a script could handle: it is raised. Everything else is returned.
---@generic T
---@param result T?
---@param ... any                  # the error; or more results
---@return T?
---@return any ...
function M.finish(result, ...)
  if result == nil and task.stopping() then error((...), 0) end
  return result, ...
end

--- Why nothing new is begun.
---@return lunadex.Failure
function M.interrupted()
  return errors.new("cancelled", task.stopping() and "the run was interrupted" or "the task was cancelled")
end

-- A command of MongoDB as a document, its name first: `find = "users"`, and then the fields. `level`: of who called the
-- public function, as for `error`; so below.
local function command_of(level, call, name, value, fields)
  if type(name) ~= "string" then
    error(("bad argument #1 to '%s' (the name of a command expected, got %s)"):format(call, type(name)), level)
  elseif fields ~= nil and type(fields) ~= "table" then
    error(("bad argument #3 to '%s' (table expected, got %s)"):format(call, type(fields)), level)
  end
  local parts, names = { name, value }, {}
  if value == nil then value = 1 end
  parts[2] = value
  for key in pairs(fields or {}) do
    if type(key) ~= "string" then
      error(("bad argument #3 to '%s' (fields by name expected, got a %s)"):format(call, type(key)), level)
    end
    names[#names + 1] = key
  end
  -- A document tells them in its order; those of a plain table have none.
  if getmetatable(fields or {}) == nil then table.sort(names) end
  for _, key in ipairs(names) do
    parts[#parts + 1] = key
    parts[#parts + 1] = fields[key]
  end
  return core.document(table.unpack(parts))
end

-- Elsewhere they may have names; left out in silence, they would do harm.
local function check_parameters(level, call, parameters)
  for key in next, type(parameters) == "table" and parameters or {} do
    if type(key) == "string" and key ~= "n" then
      error(("bad argument #2 to '%s' (a list expected, in which nothing has a name: $1 stands for the first)")
        :format(call), level)
    end
  end
end

-- The statement of a call, its parameters, and what else was given.
local function statement_of(self, level, call, first, second, third, fourth)
  if not dialects.of(self.driver).sql then
    return command_of(level + 1, call, first, second, third), nil, fourth
  end
  check_parameters(level + 1, call, second)
  return first, second, third
end

--- For the library: what comes beside the answers of a session.
---@param event lunadex.Event
function Session:hear(event)
  if event.event == "notice" then
    if self.on_notice then self.on_notice(notices.of(event)) end
  elseif self.on_reading then
    self.on_reading(event)
  end
end

local function begin(self, level, call, statement, parameters, batch)
  if not self.handle then error("attempt to use a closed connection", level) end
  if self.open_rows >= self.jobs then
    error((self.open_rows == 1 and "a loop over rows is not at its end and leaves no session for another statement"
      or "%d loops over rows are not at their end and leave no session for another statement"):format(self.open_rows),
      level)
  end
  if task.refusal then error(task.refusal, level) end
  if task.ending() then return nil, M.interrupted() end
  local job = arguments.blame(level + 1, call, 1, pcall(self.handle.query, self.handle, statement, parameters, batch))
  return task.ticket(self.handle, job, function(event) self:hear(event) end, "an answer of " .. self.display)
end

local function failure(self, event)
  local err = event.error
  -- What was said in a transaction is undone with its session, unless that was its end.
  if self.transaction_of and err.retry == "verify" then err.retry = "again" end
  return err
end

--- For the library: as `query`, but it fails where that raises.
---@param statement string
---@param value any
---@param fields table?
---@return lunadex.Rows? rows
---@return lunadex.Error? err
function Session:ask(statement, value, fields)
  local text, parameters = statement_of(self, 4, "query", statement, value, fields)
  local ticket, err = begin(self, 4, "query", text, parameters)
  if not ticket then return nil, err end
  local event = ticket:await()
  self.last_session = event.session or self.last_session
  if event.ok then return event.result end
  return nil, failure(self, event)
end

--- Runs a statement and gives all its rows.
---
--- On PostgreSQL: `db:query(sql, parameters)`. With parameters it is one statement, in which `$1` stands for the first
--- of them: texts, numbers, booleans, nil (a list with holes says its length as `n`), and lists, which are arrays. What
--- comes back are integers, numbers, booleans, texts (of `bytea` its bytes), and lists of these; everything else is the
--- server's text, and so is a `numeric` that no Lua number holds. Of columns of
--- one name the last has it, and the others stand under their numbers: `row[1]`.
---
--- On MongoDB: `db:query(command, value, fields)`, as in `db:query("find", "users", { filter = { age = 7 } })`. The
--- rows are the command's documents (see `lunadex.bson`), or its reply if it gives no cursor. The field `$db` names
--- another database. A write that failed for one document is an error, and so is one that was not confirmed as its
--- write concern asks (`link_lost`): it may have been done.
---@param statement string         # SQL; or the name of a command
---@param value any                # a list of parameters; or the command's value
---@param fields table?            # MongoDB: the command's other fields
---@return lunadex.Rows? rows
---@return lunadex.Error? err
function Session:query(statement, value, fields)
  return M.finish(self:ask(statement, value, fields))
end

--- The rows of a statement, for a loop: `for row in db:rows(sql, parameters) do … end`. They are read in batches while
--- the loop goes on, so a result may be larger than memory. Each such loop has a session for itself until it ends;
--- leaving it early ends the statement, as does the collection of a loop that nobody goes on with. A failure in the
--- middle is raised, as a `lunadex.Error`.
---
--- On MongoDB as in `query`, with the options as the fourth argument.
---@param statement string
---@param value any
---@param fields table?            # PostgreSQL: the options
---@param options {batch: integer?}?   # rows at a time, default 1000
---@return fun(): table?
function Session:rows(statement, value, fields, options)
  local text, parameters, given = statement_of(self, 3, "rows", statement, value, fields, options)
  arguments.options(dialects.of(self.driver).sql and 3 or 4, "rows", given, { batch = "integer" })
  local batch_size = given and given.batch or default_batch
  if batch_size < 1 then error("option \"batch\": at least 1 expected", 2) end
  local ticket, err = begin(self, 3, "rows", text, parameters, batch_size)
  if not ticket then error(err, 0) end
  self.open_rows = self.open_rows + 1
  local open = true
  local function finish()
    if open then self.open_rows = self.open_rows - 1 end
    open = false
  end
  local batch, at = {}, 0
  local closing
  local function next_row()
    local _ = closing -- which ends the statement once nobody has this function any more
    while open and not batch[at + 1] do
      batch, at = ticket:rows(), 0
      if not batch then
        finish()
        batch = {}
        if not ticket.event.ok then error(failure(self, ticket.event), 0) end
      end
    end
    at = at + 1
    return batch[at]
  end
  local function leave()
    batch, at = {}, 0
    if not open then return end
    if self.handle and not self.transaction_of then self.handle:cancel(ticket.job) end
    finish()
  end
  closing = setmetatable({}, { __gc = leave, __close = function()
    -- In a transaction to cancel it would be the end of that.
    while open and self.transaction_of and self.handle and ticket:rows() do end -- luacheck: ignore 542
    leave()
  end })
  return next_row, nil, nil, closing
end

return M
