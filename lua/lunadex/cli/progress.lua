--- What an apply tells while it runs: live lines on a terminal, one line per event elsewhere, and the summary.

local common = require "lunadex.cli.common"
local core = require "lunadex.core"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local output = require "lunadex.cli.output"
local standing = require "lunadex.backfill.standing"

local M = {}

---@class lunadex.cli.Progress
local Progress = {}
Progress.__index = Progress

---@param options {verbose: boolean?, quiet: boolean?, live: boolean?}
---@return lunadex.cli.Progress
function M.new(options)
  local live = options.live
  if live == nil then live = output.live() end
  return setmetatable({ live = live and not options.quiet, quiet = options.quiet, verbose = options.verbose,
    running = {}, order = {}, queued = {}, drawn = 0 }, Progress)
end

local doing = {
  create = "building", replace = "building the replacement", rename = "renaming", alter = "altering",
  rebuild = "rebuilding", drop = "dropping", wait = "waiting for", backfill = "backfilling",
}

local function doing_text(event)
  return event.hide and "hiding from queries" or doing[event.action]
end

-- With several databases, events say of which they are.
local function label(event)
  return event.database and format.line(event.database) .. ": " or ""
end

local function key(event)
  return label(event) .. event.number
end

local function heading(event)
  -- What has not begun has no number yet.
  return ("%s[%s/%d] %s %s"):format(label(event), event.number or "-", event.total, format.line(event.relation),
    format.line(event.name))
end

local function describe(event)
  if not event.description then return "" end
  return " - " .. format.line(event.description)
end

local BAR = 10 -- cells

local function bar(percent)
  local full = math.floor(math.min(percent, 100) / 100 * BAR)
  return ("█"):rep(full) .. ("░"):rep(BAR - full) .. " "
end

local function phase_text(event, live)
  -- Figures first: a narrow terminal cuts the end.
  local parts = {}
  if event.percent then
    parts[#parts + 1] = (live and bar(event.percent) or "") .. ("%3.0f %%"):format(event.percent)
  end
  if event.seconds_left then parts[#parts + 1] = format.clock(event.seconds_left) .. " left" end
  if event.rate then parts[#parts + 1] = format.count(event.rate) .. " " .. (event.unit or "") .. "/s" end
  parts[#parts + 1] = event.phase
  if event.draining then parts[#parts + 1] = "work is done" end
  return table.concat(parts, "  ")
end

-- Of what may not begin yet, this many are shown at a time.
local QUEUED_SHOWN = 3

-- Live lines ----------------------------------------------------------------------------------------------------------

local function erase(self)
  if self.drawn > 0 then output.write(("\27[%dA\r\27[J"):format(self.drawn)) end
  self.drawn = 0
end

local function draw(self)
  local width = (output.columns() or 80) - 1
  local rows = 0
  for _, each in ipairs(self.order) do
    local state = self.running[each]
    local text = "   " .. (state.text or "starting")
    -- How far it is says more than the end of a long name.
    local room = math.max(width - (utf8.len(text) or #text), width // 2)
    output.line(format.clip(format.clip(state.heading, room) .. text, width))
    rows = rows + 1
    if state.blocker then
      output.line(output.style("yellow", format.clip("      blocked by " .. format.line(state.blocker), width)))
      rows = rows + 1
    end
  end
  for i = 1, math.min(#self.queued, QUEUED_SHOWN) do
    local queued = self.queued[i]
    output.line(output.style("dim", format.clip(("%s   waits: %s"):format(heading(queued), format.line(queued.reason)),
      width)))
    rows = rows + 1
  end
  self.drawn = rows
end

-- A finished line scrolls, what runs is drawn again below it.
function Progress:say(text)
  if self.quiet then return end
  if self.live then erase(self) end
  output.line(text)
  if self.live then draw(self) end
  output.flush()
end

-- Events --------------------------------------------------------------------------------------------------------------

local on = {}

function on:run_started(event)
  if self.quiet then return end
  local to_do = event.planned == 0 and "nothing to do" or format.quantity(event.planned, "change")
  output.line(("%s%s: %s"):format(event.databases and label(event) or "", event.target, to_do))
  output.flush()
end

function on:waiting_for_lock(event)
  self:say(("%s%s: another run holds the lock, this one waits: %s"):format(label(event), event.target,
    format.line(event.blocker)))
end

function on:lock_taken(event)
  self:say(("took the lock after %s"):format(format.duration(event.seconds)))
end

function on:existing(event)
  self:say(("%s%d skipped: already exist"):format(label(event), event.count))
end

function on:queued(event)
  if self.live then
    erase(self)
    self.queued[#self.queued + 1] = event
    draw(self)
    output.flush()
  else
    self:say(("%s: waits: %s"):format(heading(event), format.line(event.reason)))
  end
end

local function begins(queued, event)
  for i, each in ipairs(queued) do
    if each.database == event.database and each.relation == event.relation and each.name == event.name then
      return table.remove(queued, i)
    end
  end
end

function on:build_started(event)
  local state = { heading = heading(event), at = core.now() }
  self.running[key(event)] = state
  self.order[#self.order + 1] = key(event)
  if self.live then
    state.text = doing_text(event)
    erase(self)
    begins(self.queued, event)
    draw(self)
    output.flush()
  else
    self:say(("%s%s: %s %s%s"):format(heading(event), event.critical and " (critical)" or "", doing_text(event),
      format.line(event.builder and event.builder .. ": " .. event.definition or event.definition), describe(event)))
  end
end

function on:progress(event)
  local state = self.running[key(event)]
  if not state then return end
  if self.live then
    state.text, state.blocker = phase_text(event, true), event.blocker
    erase(self)
    draw(self)
    output.flush()
    return
  end
  -- A log wants to know that it goes on, not every step of the way.
  local now = core.now()
  if event.phase == "" or now - (state.told or state.at) < (self.verbose and 1 or 10) then return end
  state.told = now
  self:say(heading(event) .. ": " .. phase_text(event))
end

function on:waiting(event)
  if event.reason then return self:say(("%s: waits: %s"):format(heading(event), format.line(event.reason))) end
  if not self.live then self:say(("%s: waits for %s"):format(heading(event), format.line(event.blocker))) end
end

function on:resumed(event)
  self:say(heading(event) .. ": goes on")
end

function on:retry(event)
  self:say(("%s: attempt %d failed, next in %s: %s"):format(heading(event), event.attempt,
    format.duration(event.delay), format.line(event.error.message)))
end

function on:note(event)
  local text = (event.number and heading(event) .. ": " or label(event)) .. format.line(event.text)
  -- It may be what brings back what is dropped: that is told in any case.
  if self.quiet then output.complain(text) else self:say(text) end
end

-- To standard error, and so even where nothing else is told.
local function complain(self, text)
  if self.live then erase(self) end
  output.complain(text)
  if self.live then draw(self) end
  output.flush()
end

function on:warning(event)
  complain(self, label(event) .. "warning: " .. format.line(event.message))
end

function on:stopping(event)
  complain(self, common.stopping_text(event))
end

-- What this run of a backfill did, and what there was before it.
local function rows_text(event)
  local function text(form, rows)
    return form:format(rows.changed, rows.seen) .. (rows.failed > 0 and (", %d failed"):format(rows.failed) or "")
  end
  local before = event.before
  local now = text("%d of %d rows changed", standing.since(event, before))
  return before.seen > 0 and now .. text("; %d of %d before this run", before) or now
end

local colours = { skipped = "dim", failed = "red", aborted = "red", cancelled = "yellow" }

function on:build_finished(event)
  for i, each in ipairs(self.order) do
    if each == key(event) then table.remove(self.order, i) break end
  end
  self.running[key(event)] = nil
  local text
  if event.outcome == "skipped" then
    text = "skipped: " .. (event.reason or "already exists")
    if event.live_name and event.live_name ~= event.name then text = text .. " as " .. format.line(event.live_name) end
  elseif event.outcome == "failed" then
    text = "failed: " .. format.line(event.error.message)
  elseif event.outcome == "cancelled" then
    text = event.reason and "cancelled: " .. format.line(event.reason) or "cancelled"
  else
    text = (event.hide and "hidden" or event.outcome) .. " in " .. format.duration(event.seconds)
    if event.attempts and event.attempts > 1 then text = text .. (" (attempt %d)"):format(event.attempts) end
    if event.changed then text = text .. ": " .. rows_text(event) end
  end
  self:say(heading(event) .. (event.critical and " (critical)" or "") .. ": "
    .. output.style(colours[event.outcome] or "green", text)
    .. ((self.live or event.outcome == "skipped") and describe(event) or ""))
end

--- Hears an event of a run.
---@param event table
function Progress:hear(event)
  if on[event.event] then on[event.event](self, event) end
end

-- The end -------------------------------------------------------------------------------------------------------------

--- `total 3, created 2, skipped 1, failed 0`, and what else there was.
---@param summary table<string, integer>
---@return string
function M.summary_line(summary)
  local parts = {}
  for _, name in ipairs { "total", "created", "skipped", "failed" } do
    parts[#parts + 1] = name .. " " .. summary[name]
  end
  for _, name in ipairs { "replaced", "rebuilt", "renamed", "altered", "dropped", "cancelled" } do
    if summary[name] > 0 then parts[#parts + 1] = name .. " " .. summary[name] end
  end
  if (summary.held or 0) > 0 then parts[#parts + 1] = "held back " .. summary.held end
  return table.concat(parts, ", ")
end

local function shell_word(text)
  if text:match("^[%w_./:@=-]+$") then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Whatever may stand before a password, in a url or in key=value pairs.
local function holds_secret(text)
  return text:find "://[^/@]*:[^@]*@" ~= nil or text:lower():find("pass", 1, true) ~= nil
end

local with_value = { ["--only"] = true, ["--target"] = true, ["--database"] = true }

-- The command that was given, for one change only; a password is not repeated.
local function again(plan, words, name)
  local result, database, i = { "lunadex" }, plan.connection.label, 1
  while words[i] do
    local option, value = words[i]:match "^(%-%-[%w-]+)=(.*)$"
    option = option or words[i]
    if with_value[option] and not value then
      i = i + 1
      value = words[i] or ""
    end
    if option == "--target" and holds_secret(value) then value = plan.target end
    if option == "--database" then database = nil end
    if option ~= "--only" then
      result[#result + 1] = shell_word(option)
      result[#result + 1] = value and shell_word(value)
    end
    i = i + 1
  end
  if database then table.move({ "--database", shell_word(database) }, 1, 2, #result + 1, result) end
  return table.concat(result, " ") .. " --only " .. shell_word(name)
end

--- What to do about one failure.
---@param failure {change: lunadex.PlannedChange, error: lunadex.Error, notes: string[]}
---@param plan lunadex.Plan
---@param words string[]           # the command line
---@return string[] lines
function M.failure_lines(failure, plan, words)
  local change, err = failure.change, failure.error
  local name = change.name or change.live_name
  local lines = { ("%s%s %s: %s"):format(change.critical and "critical: " or "", change.relation, name,
    format.line(errors.describe(err):gsub("[%s;.]*\n", "; "))) }
  for _, note in ipairs(failure.notes) do lines[#lines + 1] = "  " .. format.line(note) end
  local command = again(plan, words, name)
  lines[#lines + 1] = "  try again: " .. command
  if err.code == "duplicate_key" and not command:find " %-%-json " then
    lines[#lines + 1] = "  --json lists every key with all that have it"
  end
  return lines
end

return M
