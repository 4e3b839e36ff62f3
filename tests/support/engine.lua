-- The core's handle of a database for specs: jobs run to their end, one after the other.
local core = require "lunadex.core"

local M = {}

---@class support.Engine
---@field db lunadex.Database
local Engine = {}
Engine.__index = Engine
Engine.__close = function(self) self.db:close() end

---@param url string
---@param options table?
---@return support.Engine
function M.open(url, options)
  options = options or { jobs = 1, application_name = "lunadex specs" }
  return setmetatable({ db = assert(core.open(url, options)) }, Engine)
end

--- Runs a job to its end; gives its "done" event, and all others before it.
---@param job integer
---@return lunadex.Event done
---@return lunadex.Event[] events
function Engine:finish(job)
  local events = {}
  while true do
    local event = assert(self.db:poll(60), "no event for a minute")
    if event.job == job and event.event == "done" then return event, events end
    events[#events + 1] = event
  end
end

local function result_of(done)
  if done.ok then return done.result or true end
  return nil, done.error
end

--- `engine:run("catalog")`, `engine:run("resolve", set, catalog)`: the job's result, or nil and its error.
---@param method string
---@param ... any
---@return any
---@return lunadex.Error?
function Engine:run(method, ...)
  return result_of((self:finish(self.db[method](self.db, ...))))
end

--- The difference between declared fields and what is live; and both of what it was made of.
---@param list table[]     # lunadex.Fields
---@return lunadex.Diff
---@return lunadex.Declarations set
---@return lunadex.Catalog catalog
function Engine:diff(list)
  local set = core.declarations()
  for _, fields in ipairs(list) do set:add(fields) end
  local catalog = assert(self:run "catalog")
  assert(self:run("resolve", set, catalog))
  return core.diff(set, catalog), set, catalog
end

function Engine:close() self.db:close() end

return M
