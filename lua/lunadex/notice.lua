--- What a server says beside results, as values: PostgreSQL's NOTICE, WARNING and the like. MongoDB says nothing so.

local task = require "lunadex.task"

local M = {}

---@class lunadex.Notice           # prints itself, as psql does
---@field severity string          # "NOTICE", "WARNING", "INFO", "LOG", "DEBUG1" …
---@field message string
---@field detail string?
---@field hint string?
---@field native string?           # its SQLSTATE
---@field left_out integer?        # it says that so many were left out here, which came faster than they were taken
local Notice = {}
Notice.__index = Notice
Notice.__name = "lunadex.Notice"

function Notice:__tostring()
  local lines = { ("%s:  %s"):format(self.severity, self.message) }
  if self.detail then lines[#lines + 1] = "DETAIL:  " .. self.detail end
  if self.hint then lines[#lines + 1] = "HINT:  " .. self.hint end
  return table.concat(lines, "\n")
end

local function left_out(count)
  local text = "left out here: %d of the server's messages, which came faster than they were taken"
  return setmetatable({ severity = "WARNING", message = text:format(count), left_out = count }, Notice)
end

--- That of a "notice" event of the core.
---@param event lunadex.Event
---@return lunadex.Notice
function M.of(event)
  if event.left_out then return left_out(event.left_out) end
  return setmetatable({ severity = event.severity, message = event.message, detail = event.detail, hint = event.hint,
    native = event.native }, Notice)
end

local most_waiting = 1000

--- A listener that is told one thing after the other: what comes while it waits for something itself waits, too, unless
--- that is too much.
---@param listen fun(notice: lunadex.Notice)
---@return fun(notice: lunadex.Notice)
function M.in_turn(listen)
  local waiting, first, last, too_many, listens = {}, 1, 0, 0, false
  local function add(notice)
    last = last + 1
    waiting[last] = notice
  end
  return function(notice)
    if last - first >= most_waiting then too_many = too_many + (notice.left_out or 1) else add(notice) end
    if listens then return end
    listens = true
    local ok, problem = true, nil
    while ok and first <= last do
      local each = waiting[first]
      waiting[first], first = nil, first + 1
      ok, problem = xpcall(listen, task.traced, each)
      if first > last and too_many > 0 then
        add(left_out(too_many))
        too_many = 0
      end
    end
    listens = false
    if ok then return end
    waiting, first, last, too_many = {}, 1, 0, 0
    error(problem, 0)
  end
end

local most_told = 5

---@class lunadex.Warnings
---@field tell fun(text: string)
---@field told integer
---@field more integer             # that were not
local Warnings = {}
Warnings.__index = Warnings

--- Tells of warnings, and of nothing less, as notes of a run: of the first ones each on a line, of the rest how many
--- there were; a trigger may warn of every row.
---@param tell fun(text: string)
---@return lunadex.Warnings
function M.warnings(tell)
  return setmetatable({ tell = tell, told = 0, more = 0 }, Warnings)
end

---@param notice lunadex.Notice|lunadex.Event
function Warnings:hear(notice)
  if not notice.left_out and notice.severity ~= "WARNING" then return end
  if notice.left_out or self.told == most_told then
    self.more = self.more + (notice.left_out or 1)
    return
  end
  self.told = self.told + 1
  local parts = { notice.message, notice.detail }
  parts[#parts + 1] = notice.hint
  self.tell("the server warns: " .. table.concat(parts, "; "):gsub("%s*\n%s*", " "))
end

function Warnings:finish()
  if self.more > 0 then self.tell(("%d more warnings of the server"):format(self.more)) end
end

return M
