-- Single steps of the MongoDB driver, through `lunadex.core`, and builds that are held up where a spec wants them.
local assert = require "luassert"
local core = require "lunadex.core"
local mongodb = require "support.mongodb"
local shell = require "support.shell"

local M = {}

---@class support.Stepper
---@field server support.MongoServer
---@field database string
---@field db lunadex.core.Database
local Stepper = {}
Stepper.__index = Stepper

--- A connection of its own to `database`.
---@param server support.MongoServer
---@param database string
---@param options table?   of core.open
---@return support.Stepper
function M.open(server, database, options)
  local settings = { jobs = 2, application_name = "lunadex specs" }
  for name, value in pairs(options or {}) do settings[name] = value end
  local url = settings.url or server:url(database)
  settings.url = nil
  return setmetatable({ server = server, database = database, db = assert(core.open(url, settings)), events = {} },
    Stepper)
end

function Stepper:close()
  if self.db then self.db:close() end
  self.db = nil
end

--- The fields of an index: `keys` is a list of names, or of tables as the core takes them.
---@param relation string
---@param keys (string|table)[]
---@param more table?
---@return table fields
function M.index(relation, keys, more)
  local fields = { kind = "index", relation = relation, method = "", keys = {} }
  for i, key in ipairs(keys) do
    fields.keys[i] = type(key) == "string" and { column = key, nulls = "first" } or key
  end
  for name, value in pairs(more or {}) do fields[name] = value end
  return fields
end

--- Submits a step; it is tried once unless it says otherwise.
---@param step table
---@return integer job
function Stepper:submit(step)
  step.retry = step.retry or { attempts = 1 }
  return self.db:perform(step)
end

--- Events until one of `job` fulfils `wanted`: it, and all that came.
---@param job integer
---@param wanted fun(event: table): boolean?
---@return table event
function Stepper:await(job, wanted)
  self.events[job] = self.events[job] or {}
  local stop = core.now() + 60
  while core.now() < stop do
    local event = self.db:poll(1)
    if event and event.job then
      local events = self.events[event.job] or {}
      self.events[event.job] = events
      events[#events + 1] = event
      if event.event == "rows" then self.db:more(event.job) end
      if event.job == job and wanted(event) then return event, events end
    elseif event then
      self.events.others = self.events.others or {}
      table.insert(self.events.others, event)
    end
  end
  error("waited a minute in vain; so far: " .. require("dkjson").encode(self.events[job], { exception = tostring }), 2)
end

--- The end of a job; and all its events.
---@param job integer
---@return table done
---@return table[] events
function Stepper:finish(job)
  for _, event in ipairs(self.events[job] or {}) do
    if event.event == "done" then return event, self.events[job] end
  end
  return self:await(job, function(event) return event.event == "done" end)
end

--- A step from its start to its end.
function Stepper:step(step) return self:finish(self:submit(step)) end

---@param relation string
---@param name string
---@param keys (string|table)[]
---@param more table?    fields of the definition
---@param options table? of the step
function Stepper:build(relation, name, keys, more, options)
  return self:step(M.build(relation, name, keys, more, options))
end

--- A step that builds.
function M.build(relation, name, keys, more, options)
  local step = { kind = "build", relation = relation, name = name, fields = M.index(relation, keys, more) }
  for option, value in pairs(options or {}) do step[option] = value end
  return step
end

--- A step that changes in place.
function M.alter(relation, name, keys, more)
  return { kind = "alter", relation = relation, name = name, fields = M.index(relation, keys, more) }
end

--- A step that ends the refusal of duplicates by what is not unique, as runs do after the last attempt.
function M.take_back(relation, name, keys)
  local step = M.alter(relation, name, keys)
  step.only_invalid = true
  return step
end

--- The notes among events, a line each.
---@param events table[]
---@return string
function M.notes(events)
  local found = {}
  for _, event in ipairs(events) do
    if event.event == "note" then found[#found + 1] = event.text end
  end
  return table.concat(found, "\n")
end

--- The groups that a step has listed among its events: the key of each, and the texts of its _ids.
---@param events table[]
---@return {key: string, ids: string[]}[]
function M.listed(events)
  local groups = {}
  for _, event in ipairs(events) do
    for _, row in ipairs(event.event == "rows" and event.rows or {}) do
      local group = groups[row.group] or { key = row.key, ids = {} }
      assert.equal(group.key, row.key)
      table.move(row.ids, 1, #row.ids, #group.ids + 1, group.ids)
      groups[row.group] = group
    end
  end
  return groups
end

--- The specification of an index, or nil.
function Stepper:spec(relation, name)
  for _, spec in ipairs(self.server:indexes(self.database, relation)) do
    if spec.name == name then return spec end
  end
end

--- Asserts that the collection `t` has one index besides that of _id, which is finished, and unique if that was wanted.
---@param more table?    fields of the definition
function Stepper:stands(more)
  local specs = self.server:indexes(self.database, "t")
  assert.equal(2, #specs)
  assert.is_nil(specs[2].buildUUID)
  assert.equal(more and more.unique, specs[2].unique)
  assert.is_nil(specs[2].prepareUnique)
end

--- Waits until a job shows a phase.
function Stepper:phase(job, pattern)
  return self:await(job, function(event)
    if event.event == "done" then error("ended before: " .. tostring(event.error), 0) end
    return event.event == "progress" and event.phase:find(pattern) ~= nil
  end)
end

-- Fail points --------------------------------------------------------------------------------------------------------

---@class support.Held   a fail point that is on
local Held = {}
Held.__index = Held

--- Turns a fail point of the server on; closed, it is off.
---@param server support.Commands   a set, or one member
---@param name string
---@param data table?
---@param mode any?   default "alwaysOn"
---@return support.Held
function M.hold(server, name, data, mode)
  local reply = server:command("admin", { "configureFailPoint", name, mode = mode or "alwaysOn", data = data })
  return setmetatable({ server = server, name = name, count = reply.count }, Held)
end

--- Waits until the server is at it.
function Held:reached()
  self.server:command("admin", { "waitForFailPoint", self.name, timesEntered = self.count + 1, maxTimeMS = 30000 })
  return self
end

function Held:release()
  if self.name then self.server:try("admin", { "configureFailPoint", self.name, mode = "off" }) end
  self.name = nil
end
Held.__close = Held.release

--- Where a build has read nothing yet, and can be cancelled.
M.scanning = "hangAfterSettingUpIndexBuildUnlocked"

--- Fails commands of the program, whose links say so by their name, as the server would.
---@param server support.Commands
---@param commands string[]
---@param how table   errorCode, closeConnection …
---@param times integer? default 1
---@return support.Held
function M.fail(server, commands, how, times)
  local data = { failCommands = commands, appName = "lunadex specs" }
  for name, value in pairs(how) do data[name] = value end
  return M.hold(server, "failCommand", data, { times = times or 1 })
end

--- Ends the lease of a run that was killed or halted, as half a minute would.
---@param server support.Commands
---@param database string
function M.end_lease(server, database)
  server:command(database, '{"update":"lunadex.lock","updates":[{"q":{"_id":"run"},"u":'
    .. '[{"$set":{"expires":{"$subtract":["$$NOW",1000]}}}]}]}')
end

--- Kills a run at a random moment.
---@param process support.Process
---@param rng support.Random
---@param longest integer          # milliseconds within which it is killed
---@return boolean killed          # false: it was over by then, which counts for nothing
---@return integer longest         # for the next one
function M.kill(process, rng, longest)
  local delay = rng:integer(20, longest)
  shell.sleep(delay / 1000)
  process:kill "KILL"
  if process:wait().status == 128 + 9 then return true, longest end
  return false, (longest + delay) // 2
end

--- Waits until the server runs that command for somebody.
---@param server support.Commands
---@param command string
function M.runs(server, command)
  shell.eventually(command .. " to run", function()
    local reply = server:command("admin", { "aggregate", cursor = mongodb.document(), pipeline = {
      { ["$currentOp"] = { allUsers = true } },
      { ["$match"] = { ["command." .. command] = { ["$exists"] = true } } },
    } })
    return reply.cursor.firstBatch[1] ~= nil
  end)
end

return M
