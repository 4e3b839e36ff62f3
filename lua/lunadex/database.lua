--- A connection: the core's jobs as functions that wait for their result (lunadex.task).
--
-- Every function returns its result, or nil and an error. Once the run is told to stop, nothing new is started but what
-- cleans up.

local core = require "lunadex.core"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local target = require "lunadex.target"
local task = require "lunadex.task"

local M = {}

---@class lunadex.Connection
---@field target string            # as given: may hold a password, never to be shown
---@field display string           # what to show
---@field label string?            # its name among several databases of one run
---@field jobs integer             # sessions at a time
---@field retry lunadex.Retry?     # of connecting, and of taking the run lock; nil: one attempt
---@field holds_lock boolean?
---@field handle lunadex.Database
---@field on_reading fun(event: lunadex.Event)?   # hears what keeps it waiting while it reads
local Connection = {}
Connection.__index = Connection
Connection.__name = "lunadex.Connection"

local function outcome(event)
  if event.ok then
    if event.result == nil then return true, event end
    return event.result, event
  end
  return nil, event.error, event
end

local function interrupted()
  return errors.new("cancelled", "the run was interrupted")
end

local function answer(self)
  return "an answer of " .. self.display
end

-- The ticket of a job whose waits and retries the owner may hear of.
local function reading(self, job)
  return task.ticket(self.handle, job, function(event)
    if self.on_reading then self.on_reading(event) end
  end, answer(self))
end

local doing = {
  build = "build", attach = "attachment", drop = "drop", rename = "renaming", swap = "swap", alter = "alteration",
  validate = "validation", drop_constraint = "drop",
}

local function step_text(step)
  local relation = (step.schema and step.schema .. "." or "") .. step.relation
  return ("the %s of %s on %s"):format(doing[step.kind], step.name, relation)
end

--- Opens a connection; nothing is sent before the first job. `jobs`: the most sessions at a time (default 8), each of
--- which is opened when it is first needed. `retry`: how long to go on while the server cannot be reached, or a link is
--- lost, before there is a connection and a run lock; default: not at all.
---@param url string
---@param options {jobs: integer?, application_name: string?, connect_timeout: number?, retry: lunadex.Retry?}?
---@return lunadex.Connection?
---@return lunadex.Error? err
function M.open(url, options)
  options = options or {}
  local jobs = options.jobs or 8
  local handle, err = core.open(url, {
    jobs = jobs, application_name = options.application_name, connect_timeout = options.connect_timeout,
  })
  if not handle then return nil, err end
  return setmetatable({
    target = url,
    display = target.redact(url),
    jobs = jobs,
    retry = options.retry,
    handle = handle,
  }, Connection)
end

--- Asks for the catalog now, so that it is read while the caller does something else.
function Connection:prefetch()
  self.info_ticket = self.info_ticket or reading(self, self.handle:connect(self.retry))
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

--- Connects, once, and says to what.
---@return lunadex.ServerInfo? info
---@return lunadex.Error? err
function Connection:connect()
  if self.info then return self.info end
  local ticket = self.info_ticket or reading(self, self.handle:connect(self.retry))
  self.info_ticket = nil
  local info, err = outcome(ticket:await())
  if not info then return nil, err end
  self.info = info
  if info.display and info.display ~= "" then self.display = info.display end
  return info
end

--- What is live now (what `prefetch` asked for, if it did).
---@return lunadex.Catalog? catalog
---@return lunadex.Error? err
function Connection:catalog()
  if not self.catalog_ticket and task.stopping() then return nil, interrupted() end
  local ticket = self.catalog_ticket or reading(self, self.handle:catalog())
  self.catalog_ticket = nil
  return outcome(ticket:await())
end

local function job(method)
  return function(self, ...)
    if task.stopping() then return nil, interrupted() end
    local result, err = outcome(reading(self, self.handle[method](self.handle, ...)):await())
    if result == nil then return nil, err end
    return result
  end
end

--- Brings declarations into canonical form.
---@type fun(self: lunadex.Connection, set: lunadex.Declarations, catalog: lunadex.Catalog): true?, lunadex.Error?
Connection.resolve = job("resolve")

--- Sizes, uses and builders.
---@type fun(self: lunadex.Connection, items: table[]): table[]?, lunadex.Error?
Connection.measure = job("measure")

--- One statement; rows as arrays, with `columns` and `command`.
---@type fun(self: lunadex.Connection, sql: string, parameters: table?): table?, lunadex.Error?
Connection.query = job("query")

--- What is being built, left over or locked.
---@type fun(self: lunadex.Connection): table?, lunadex.Error?
Connection.status = job("status")

local take = job("lock")

--- Takes the run lock (code "lock_held" if another has it); lunadex.lock waits for it.
---@return true? locked
---@return lunadex.Error? err
function Connection:lock()
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

--- Whether the run lock was kept since it was taken: without it another run may have changed anything.
---@return true? locked
---@return lunadex.Error? err
function Connection:locked()
  if self.lock_lost then return nil, self.lock_lost end
  -- The core looks at the session before it says that the lock is there already.
  local ok, err = take(self)
  if self.lock_lost then return nil, self.lock_lost end
  return ok, err
end

--- Runs one step; `on_event` hears of its progress.
---@param step lunadex.Step
---@param on_event fun(event: lunadex.Event)?
---@param cleaning boolean?        # also while stopping
---@return any result
---@return any event_or_err        # the "done" event, or the error
---@return lunadex.Event? event    # after an error
function Connection:perform(step, on_event, cleaning)
  if task.stopping() and not cleaning then return nil, interrupted() end
  return outcome(task.ticket(self.handle, self.handle:perform(step), on_event, step_text(step)):await())
end

--- Reads the history, or writes to it (lunadex.history); also while stopping.
---@param what "read"|"run"|"change"|"end"
---@param parameters table?
---@return table? rows
---@return lunadex.Error? err
function Connection:history(what, parameters)
  local ticket = task.ticket(self.handle, self.handle:history(what, parameters), nil, "an entry in the history")
  local rows, err = outcome(ticket:await())
  if not rows then return nil, err end
  return rows
end

--- Gives the run lock back; also while stopping.
function Connection:unlock()
  self.holds_lock = nil
  local what = "the end of the run lock on " .. self.display
  return outcome(task.ticket(self.handle, self.handle:unlock(), nil, what):await())
end

--- Hears of a lost run lock.
---@param listener fun(err: lunadex.Error)
function Connection:listen(listener)
  self.on_lock_lost = listener
end

--- Cancels what runs and closes; may be called again.
function Connection:close()
  if not self.handle then return end
  -- A lease would keep others waiting until it ends, where a session's lock ends with it.
  if self.holds_lock and dialects.of(self.info and self.info.driver).leases then task.run(self.unlock, self) end
  task.forget(self.handle)
  self.handle:close()
  self.handle = nil
end

Connection.__close = Connection.close

function Connection:__tostring()
  return ("lunadex.Connection: %s%s"):format(self.display, self.handle and "" or " (closed)")
end

return M
