--- What `lunadex run` and the REPL have in common: what is told of a failure of the user's code, and of what a server
--- says beside results, and how a signal reaches code that computes.

local common = require "lunadex.cli.common"
local core = require "lunadex.core"
local errors = require "lunadex.errors"
local output = require "lunadex.cli.output"
local session = require "lunadex.session"
local show = require "lunadex.cli.show"
local task = require "lunadex.task"

local M = {}

--- Whether a line of a traceback is ours, or C: of no use to who wrote the code.
---@param place string             # "lua/lunadex/task.lua:7"
---@return boolean
function M.is_ours(place)
  return place:find "^%[C%]" ~= nil or place:find "^lua/lunadex/" ~= nil or place:find "^%[string" ~= nil
    or place:find "^%.%.%." ~= nil
end

--- What is said of something that was raised.
---@param failure any
---@return string
function M.text(failure)
  if type(failure) == "string" then return failure end
  local told = type(failure) == "table" and (rawget(failure, "message") or show.is_failure(failure))
  if told then return errors.describe(failure) end
  return show.text(failure) .. " was raised"
end

--- What a server said beside a result, to standard error; but nothing more to whoever has interrupted it.
---@param notice lunadex.Notice
function M.tell_notice(notice)
  if task.stopping() then return end
  output.flush()
  -- What a database holds, and a message quotes, is not to steer a terminal.
  io.stderr:write((tostring(notice):gsub("[^%C\n\t]", " ")), "\n")
end

local own = { [common.EXIT.locked] = true, [common.EXIT.unreachable] = true, [common.EXIT.refused] = true }

--- The exit status of a failure.
---@param failure any
---@return integer
function M.status(failure)
  local status = type(failure) == "table" and failure.code and common.status(failure)
  return own[status] and status or common.EXIT.registry
end

--- From now on code that computes is ended by a signal, in every coroutine that begins here. Not while it is in the
--- library, which looks for itself, and may have something to take back; unless that may be left anywhere.
---@param anywhere boolean?
function M.watch_signals(anywhere)
  local raised = 0
  local function look()
    task.check_signal()
    if not task.stopping() then return end
    -- Code that has caught it twice and goes on would do so for ever: it gets no further, wherever it is next.
    raised = raised + 1
    if raised > 2 then core.call_while_computing(look, anywhere, true) end
    error(session.interrupted(), 0)
  end
  core.call_while_computing(look, anywhere)
end

return M
