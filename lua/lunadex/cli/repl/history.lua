--- What was entered, kept in a file for the next time: an entry a line, newlines and backslashes escaped.

local core = require "lunadex.core"

local M = {}

local most = 5000 -- entries

--- $XDG_STATE_HOME/lunadex/history, or nil where there is no place for it.
---@return string? path
function M.path()
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if state and state:sub(1, 1) == "/" then return state .. "/lunadex/history" end
  if home and home ~= "" then return home .. "/.local/state/lunadex/history" end
end

--- Whether a text may hold a password, and is better forgotten.
---@param text string
---@return boolean
function M.is_secret(text)
  local lower = text:lower()
  return lower:find "passw" ~= nil or lower:find "pwd" ~= nil or lower:find "secret" ~= nil
    or text:find "[%w+.-]://[^%s/]*:[^%s]*@" ~= nil
end

local function escape(text) return (text:gsub("[\\\n]", { ["\\"] = "\\\\", ["\n"] = "\\n" })) end
local function unescape(text) return (text:gsub("\\(.)", { ["\\"] = "\\", n = "\n" })) end

---@class lunadex.cli.History
---@field path string?
---@field last string?
local History = {}
History.__index = History

--- Gives the editor what is in the file, and adds to it from now on. Without a file there is a history all the same.
---@param editor lunadex.Editor
---@return lunadex.cli.History
---@return string? problem
function M.open(editor)
  local self = setmetatable({ path = M.path(), editor = editor }, History)
  if not self.path then return self end
  local ok, problem = core.private_file(self.path)
  local file = ok and io.open(self.path, "r")
  if not file then
    problem = ("the history is not kept: %s: %s"):format(self.path, problem or "it cannot be read")
    self.path = nil
    return self, problem
  end
  local lines = {}
  for line in file:lines() do
    -- A power cut leaves zero bytes in a file that was being appended to.
    if not line:find "\0" then lines[#lines + 1] = line end
  end
  file:close()
  local first = math.max(#lines - most + 1, 1)
  for i = first, #lines do editor:remember(unescape(lines[i])) end
  self.last = lines[#lines] and unescape(lines[#lines])
  if #lines > 2 * most then self:rewrite(lines, first) end
  return self
end

-- Leaves what is read of it. Written beside it: whatever comes in between, there is a whole one.
function History:rewrite(lines, first)
  local place = core.resolve_path(self.path)
  local beside = place .. ".new"
  os.remove(beside)
  local file = core.private_file(beside) and io.open(beside, "w")
  if not file then return end
  local written = file:write(table.concat(lines, "\n", first), "\n")
  if file:close() and written then os.rename(beside, place) else os.remove(beside) end
end

--- Adds an entry, unless it is the one before it or may hold a secret.
---@param text string
function History:add(text)
  if text == self.last or not text:find "%S" or M.is_secret(text) then return end
  self.last = text
  self.editor:remember(text)
  -- At once: nothing is lost where the process is killed, and two of them do not write over each other.
  local file = self.path and io.open(self.path, "a")
  if not file then return end
  file:write(escape(text), "\n")
  file:close()
end

return M
