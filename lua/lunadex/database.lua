--- A connection: the core's jobs as functions that wait for their result (lunadex.task).
--
-- Every function returns its result, or nil and an error. Once the run is told to stop, nothing new is started but what
-- cleans up.

local arguments = require "lunadex.arguments"
local core = require "lunadex.core"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local notices = require "lunadex.notice"
local session = require "lunadex.session"
local target = require "lunadex.target"
local task = require "lunadex.task"
local transaction = require "lunadex.transaction"

local M = {}

---@class lunadex.Connection: lunadex.Session
---@field target string            # as given: may hold a password, never to be shown
---@field label string?            # its name among several databases of one run
---@field info lunadex.ServerInfo? # once it has connected
---@field retry lunadex.Retry?     # of connecting, and of taking the run lock; nil: one attempt
---@field holds_lock boolean?
---@field spare lunadex.Database[] # engines of one session each, for transactions
---@field changing boolean?        # a change is under way, others wait for its end
local Connection = setmetatable({}, session.Session)
Connection.__index = Connection
Connection.__name = "lunadex.Connection"

local function outcome(event)
  if event.ok then
    if event.result == nil then return true, event end
    return event.result, event
  end
  return nil, event.error, event
end

-- By the time that what was begun goes on, a listener or another task may have closed it.
local function closed()
  return errors.new("link_lost", "the connection was closed")
end

local function check_open(self)
  if not self.handle then error("attempt to use a closed connection", 3) end
end

local function answer(self)
  return "an answer of " .. self.display
end

-- The ticket of a job whose waits and retries the owner may hear of.
local function reading(self, job)
  return task.ticket(self.handle, job, function(event) self:hear(event) end, answer(self))
end

local doing = {
  build = "build", attach = "attachment", drop = "drop", rename = "renaming", swap = "swap", alter = "alteration",
  validate = "validation", drop_constraint = "drop",
}

local function step_text(step)
  local relation = (step.schema and step.schema .. "." or "") .. step.relation
  return ("the %s of %s on %s"):format(doing[step.kind], step.name, relation)
end

--- Whether all connections of this process only read (the REPL's, unless it may write).
---@type boolean?
M.read_only = nil

--- Hears what servers say beside results to connections of a script that has no listener for it.
---@type fun(notice: lunadex.Notice)?
M.on_notice = nil

---@class lunadex.ConnectOptions
---@field jobs integer?
---@field application_name string?
---@field connect_timeout number?  # seconds
---@field retry lunadex.Retry?
---@field read_only boolean?       # builds, drops, and statements that write are refused (code "read_only")
---@field to_write boolean?        # MongoDB: a replica set without a primary, which could be read, will not do
---@field on_notice fun(notice: lunadex.Notice)?   # PostgreSQL: hears what the server says beside results

--- Opens a connection; nothing is sent before the first job. `jobs`: the most sessions at a time (default 8), each of
--- which is opened when it is first needed. `retry`: how long to go on while the server cannot be reached, or a link is
--- lost, before there is a connection and a run lock; default: not at all.
---@param url string
---@param options lunadex.ConnectOptions?
---@param lasting boolean?         # sessions that have nothing to do are kept
---@return lunadex.Connection?
---@return lunadex.Error? err
function M.open(url, options, lasting)
  options = options or {}
  local given = { jobs = options.jobs or 8, application_name = options.application_name,
    connect_timeout = options.connect_timeout, read_only = options.read_only or M.read_only,
    to_write = options.to_write, notices = options.on_notice ~= nil, lasting = lasting }
  local handle, err = core.open(url, given)
  if not handle then return nil, err end
  return setmetatable({
    target = url, display = target.redact(url), driver = target.driver(url), given = given, jobs = given.jobs,
    retry = options.retry, handle = handle, open_rows = 0, spare = {}, freed = task.point(),
    on_notice = options.on_notice and notices.in_turn(options.on_notice),
  }, Connection)
end

-- Asks for a connection. What the server says to that, nobody may be there to hear: then its warnings are for the plan.
local function connecting(self)
  local warnings = {}
  local told = notices.warnings(function(text) warnings[#warnings + 1] = text end)
  local ticket = task.ticket(self.handle, self.handle:connect(self.retry), function(event)
    if event.event == "notice" and not self.on_notice then told:hear(event) else self:hear(event) end
  end, answer(self))
  return { ticket = ticket, warnings = warnings }
end

--- For the library: asks for the catalog now, so that it is read while the caller does something else.
function Connection:prefetch()
  if task.ending() then return end
  if not self.info then self.connecting = self.connecting or connecting(self) end
  self.catalog_ticket = self.catalog_ticket or reading(self, self.handle:catalog())
end

---@class lunadex.ServerInfo
---@field driver "postgres"|"mongodb"
---@field product string           # "PostgreSQL"
---@field version string           # "15.18"
---@field version_number integer   # 150018
---@field database string
---@field user string
---@field host string
---@field port string
---@field display string           # the target without secrets
---@field identity string          # two targets with the same one lead to the same database
---@field read_only boolean
---@field standby boolean
---@field warning string
---@field warnings string[]        # what the server said when it was connected to, where nobody listened

--- Connects, once, and says to what.
---@return lunadex.ServerInfo? info
---@return lunadex.Error? err
function Connection:connect()
  if self.info then return self.info end
  check_open(self)
  local asked = self.connecting or connecting(self)
  self.connecting = nil
  local info, err = outcome(asked.ticket:await())
  if not info then return nil, err end
  info.warnings = asked.warnings
  self.info = info
  if info.display and info.display ~= "" then self.display = info.display end
  return info
end

--- What is live now: relations and their indexes.
---@return lunadex.Catalog? catalog
---@return lunadex.Error? err
function Connection:catalog()
  check_open(self)
  if not self.catalog_ticket and task.ending() then return nil, session.interrupted() end
  local ticket = self.catalog_ticket or reading(self, self.handle:catalog())
  self.catalog_ticket = nil
  local catalog, err = outcome(ticket:await())
  if not catalog then return nil, err end
  return catalog
end

local function job(method)
  return function(self, ...)
    if not self.handle then return nil, closed() end
    if task.ending() then return nil, session.interrupted() end
    local result, err = outcome(reading(self, self.handle[method](self.handle, ...)):await())
    if result == nil then return nil, err end
    return result
  end
end

--- For the library: brings declarations into canonical form.
---@type fun(self: lunadex.Connection, set: lunadex.Declarations, catalog: lunadex.Catalog): true?, lunadex.Error?
Connection.resolve = job("resolve")

--- For the library: sizes, uses and builders.
---@type fun(self: lunadex.Connection, items: table[]): table[]?, lunadex.Error?
Connection.measure = job("measure")

--- What is being built now, what was left over, and who holds the run lock: rows, as `lunadex status` tells them.
---@type fun(self: lunadex.Connection): lunadex.Rows?, lunadex.Error?
Connection.status = job("status")

--- Runs a function in a transaction: `db:transaction(function(tx) … end)`. What it says to `tx`, which has `query` and
--- `rows`, is committed when it returns, and rolled back when it returns nil and an error, or raises one. Nothing is
--- tried again by itself: after a deadlock, a conflict between transactions, or a link that was lost before the end,
--- `lunadex.retry` repeats the whole; not where the link was lost during the COMMIT, or nobody confirmed that, so that
--- it may have been done (`err.retry` is "verify"). On MongoDB it takes a replica set.
---@param run fun(tx: lunadex.Session): any ...
---@return any ...                 # what it returned (true if nothing); or nil and why it is not done, or may not be
function Connection:transaction(run)
  arguments.check(1, "transaction", run, "function")
  check_open(self)
  return session.finish(self:atomically(run))
end

--- For the library: as `transaction`, but it fails where that raises.
---@type fun(self: lunadex.Connection, run: (fun(tx: lunadex.Session): any ...)): any ...
Connection.atomically = transaction.run

--- For the library: runs a function in a transaction of which nothing stays.
---@type fun(self: lunadex.Connection, run: (fun(tx: lunadex.Session): any ...), first: lunadex.Statement[]?): any ...
Connection.rehearse = transaction.rehearse

--- For the library: transactions one after the other, of which one begins together with the end of the one before.
---@type fun(self: lunadex.Connection): lunadex.Transactions
Connection.transactions = transaction.of

--- For the library: runs what changes the database when no other such work of this connection is under way: they share
--- its run lock.
---@param work function
---@return any ...
function Connection:alone(work, ...)
  if self.changing and task.hears(self) then
    error("a listener cannot wait for the end of the change that it is told of; begin this one after it", 0)
  end
  while self.changing do
    self.freed:wait()
    if task.ending() then return session.finish(nil, session.interrupted()) end
  end
  self.changing = true
  local results = table.pack(pcall(work, ...))
  self.changing = nil
  self.freed:announce()
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

local take = job("lock")

--- For the library: takes the run lock (code "lock_held" if another has it); lunadex.lock waits for it.
---@return true? locked
---@return lunadex.Error? err
function Connection:lock()
  check_open(self)
  self.lock_lost = nil
  task.listen(self.handle, function(event)
    if event.event ~= "lock_lost" or self.lock_lost then return end
    local why = event.error and event.error.message or "its session ended"
    self.lock_lost = errors.new("link_lost", "the run lock was lost: " .. why,
      "Nothing more was begun; run it again to go on.")
    if self.on_lock_lost then self.on_lock_lost(self.lock_lost) end
  end)
  local ok, err = take(self, self.retry)
  self.holds_lock = ok
  return ok, err
end

--- For the library: whether the run lock was kept since it was taken: without it another run may have changed anything.
---@return true? locked
---@return lunadex.Error? err
function Connection:locked()
  if self.lock_lost then return nil, self.lock_lost end
  -- The core looks at the session before it says that the lock is there already.
  local ok, err = take(self)
  if self.lock_lost then return nil, self.lock_lost end
  return ok, err
end

--- For the library: runs one step; `on_event` hears of its progress, of warnings of the server as notes, and of the
--- duplicates that are listed: `{ event = "duplicates", groups }`.
---@param step lunadex.Step
---@param on_event fun(event: lunadex.Event)?
---@param cleaning boolean?        # also while stopping
---@return any result
---@return any event_or_err        # the "done" event, or the error
---@return lunadex.Event? event    # after an error
function Connection:perform(step, on_event, cleaning)
  if not self.handle then return nil, closed() end
  if task.ending() and not cleaning then return nil, session.interrupted() end
  on_event = on_event or function() end
  local warnings = notices.warnings(function(text) on_event { event = "note", text = text } end)
  local ticket = task.ticket(self.handle, self.handle:perform(step), function(event)
    if event.event == "notice" then warnings:hear(event) else on_event(event) end
  end, step_text(step))
  for rows in ticket.rows, ticket do
    on_event { event = "duplicates", groups = table.move(rows, 1, #rows, 1, {}) }
  end
  local done = ticket:await()
  warnings:finish()
  return outcome(done)
end

--- For the library: reads the history, or writes to it (lunadex.history); also while stopping.
---@param what "read"|"run"|"change"|"end"
---@param parameters table?
---@return table? rows
---@return lunadex.Error? err
function Connection:history(what, parameters)
  if not self.handle then return nil, closed() end
  local ticket = task.ticket(self.handle, self.handle:history(what, parameters), nil, "an entry in the history")
  local rows, err = outcome(ticket:await())
  if not rows then return nil, err end
  return rows
end

--- For the library: gives the run lock back; also while stopping.
function Connection:unlock()
  self.holds_lock = nil
  if not self.handle then return nil, closed() end
  local what = "the end of the run lock on " .. self.display
  return outcome(task.ticket(self.handle, self.handle:unlock(), nil, what):await())
end

--- For the library: cancels what runs.
function Connection:cancel()
  if self.handle then self.handle:cancel() end
end

--- For the library: hears of a lost run lock.
---@param listener fun(err: lunadex.Error)
function Connection:listen(listener)
  self.on_lock_lost = listener
end

--- Cancels what runs and closes; may be called again.
function Connection:close()
  if not self.handle then return end
  -- A lease would keep others waiting until it ends, where a session's lock ends with it.
  if self.holds_lock and dialects.of(self.info and self.info.driver).leases then task.run(self.unlock, self) end
  for _, handle in ipairs(self.spare) do handle:close() end
  task.forget(self.handle)
  self.handle:close()
  self.handle, self.spare = nil, {}
end

Connection.__close = Connection.close

function Connection:__tostring()
  return ("lunadex.Connection: %s%s"):format(self.display, self.handle and "" or " (closed)")
end

M.Connection = Connection
return M
