-- A real terminal, which tmux holds: the program under test in it, keys to press, a screen to look at.
local lunadex = require "support.lunadex"
local shell = require "support.shell"

local M = {}

---@class support.Terminal
---@field directory string
---@field socket string
local Terminal = {}
Terminal.__index = Terminal

--- Why there is none, or nil.
---@return string? reason
function M.missing()
  if shell.run("command -v tmux") then return nil end
  if os.getenv "CI" == "true" then error("tmux is not installed", 2) end
  return "tmux is not installed"
end

function Terminal:tmux(...)
  return shell.check(shell.command { "tmux", "-S", self.socket, "-f", self.directory .. "/conf", ... })
end

--- `lunadex ARGUMENTS` in a terminal of its own. `state`: where it keeps its history, a new directory by default.
---@param arguments string[]
---@param options {columns: integer?, lines: integer?, state: string?}?
---@return support.Terminal
function M.start(arguments, options)
  options = options or {}
  local self = setmetatable({ directory = shell.directory("terminal") }, Terminal)
  self.state = options.state or self.directory .. "/state"
  -- A socket's path is short, or it is none.
  self.socket = self.directory .. "/tmux"
  shell.write_file(self.directory .. "/conf", "set -g remain-on-exit on\nset -g status off\n")
  local words = { "env", "XDG_STATE_HOME=" .. self.state, "LC_ALL=C.UTF-8", "HOME=" .. self.directory }
  for name in ("NO_COLOR PGHOST PGPORT PGUSER PGDATABASE DATABASE_URL MONGODB_URI LUNADEX_TARGET"):gmatch "%S+" do
    table.insert(words, 2, "-u")
    table.insert(words, 3, name)
  end
  table.move({ lunadex.program, table.unpack(arguments) }, 1, #arguments + 1, #words + 1, words)
  self:tmux("new-session", "-d", "-s", "it", "-x", tostring(options.columns or 100), "-y",
    tostring(options.lines or 40), shell.command(words))
  shell.write_file(self.directory .. "/guarded.pid", self:tmux("display-message", "-p", "#{pid}"):match "%d+")
  return self
end

--- Types a text.
---@param text string
---@return support.Terminal self
function Terminal:type(text)
  -- For tmux a semicolon at the end is the end of a command of its own.
  self:tmux("send-keys", "-t", "it", "-l", "--", (text:gsub(";$", "\\;")))
  return self
end

--- Presses keys, by the names that tmux has for them.
---@param ... string
---@return support.Terminal self
function Terminal:press(...)
  self:tmux("send-keys", "-t", "it", ...)
  return self
end

--- Types a line, and presses Enter.
---@param text string
---@return support.Terminal self
function Terminal:enter(text)
  return self:type(text):press "Enter"
end

--- Pastes a text, which the terminal says it does unless it is an old one.
---@param text string
---@param old boolean?
---@return support.Terminal self
function Terminal:paste(text, old)
  shell.write_file(self.directory .. "/paste", text)
  self:tmux("load-buffer", self.directory .. "/paste")
  self:tmux("paste-buffer", "-t", "it", old and "-d" or "-dp")
  return self
end

---@param columns integer
---@param lines integer
---@return support.Terminal self
function Terminal:resize(columns, lines)
  self:tmux("resize-window", "-t", "it", "-x", tostring(columns), "-y", tostring(lines))
  local tty = self:tmux("list-panes", "-F", "#{pane_tty}"):gsub("\n", "")
  shell.eventually("the terminal's new size", function()
    return shell.check("stty size <" .. tty) == ("%d %d\n"):format(lines, columns)
  end)
  return self
end

--- What is on the screen; with `all`, also what has scrolled out of it.
---@param all boolean?
---@return string
function Terminal:screen(all)
  local text = self:tmux("capture-pane", "-p", "-t", "it", table.unpack(all and { "-S", "-" } or {}))
  return (text:gsub("%s+$", "")) .. "\n"
end

--- Waits until the screen shows a text, and gives the screen.
---@param text string
---@param pattern boolean?         # it is a pattern
---@return string screen
function Terminal:shows(text, pattern)
  local screen
  local ok = pcall(shell.eventually, text, function()
    screen = self:screen()
    return screen:find(text, 1, not pattern)
  end)
  if not ok then error(("the terminal never showed %q, but:\n%s"):format(text, screen), 2) end
  return screen
end

--- Waits for an empty prompt at the end of the screen, and gives the screen.
---@param prompt string
---@return string screen
function Terminal:rests(prompt)
  return self:shows("%f[^\n%z]" .. prompt:gsub("%W", "%%%0"):gsub("%% $", "") .. "\n$", true)
end

--- Waits for the end of the program, and gives its exit status.
---@return integer
function Terminal:ended()
  local server = self:tmux("display-message", "-p", "#{pid}"):match "%d+"
  return shell.eventually("the program to end", function()
    shell.run("kill -CHLD " .. server) -- tmux 3.3 may miss the end of its child, which stays a zombie
    return math.tointeger(tonumber(self:tmux("list-panes", "-F", "#{pane_dead_status}"):match "%d+"))
  end)
end

function Terminal:close()
  shell.run(shell.command { "tmux", "-S", self.socket, "kill-server" })
  os.remove(self.directory .. "/guarded.pid")
end

return M
