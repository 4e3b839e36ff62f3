--- The two streams: standard output carries the result, standard error the rest.
--
-- A reader that goes away (`| head`) must not end a run: a failed write is remembered and nothing more is written.
-- Other failures (a full disk) do not end it either, but the result is lost then, and the exit status has to say so.

local core = require "lunadex.core"

---@type {closed: boolean, lost: string?}
local M = { closed = false }

local broken_pipe = 32

--- The width of a terminal at standard output, or nil.
---@return integer?
function M.columns()
  return core.terminal(1)
end

local codes = {
  bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34", magenta = "35", cyan = "36",
}

local coloured

--- Decides once whether there is colour.
---@param wanted boolean           # false: --no-color
function M.setup(wanted)
  local no_color = os.getenv "NO_COLOR"
  coloured = wanted and core.terminal(1) ~= nil and (no_color == nil or no_color == "")
    and os.getenv "TERM" ~= "dumb"
end

--- `text` in a colour, if there is colour.
---@param style string
---@param text string
---@return string
function M.style(style, text)
  if not coloured or text == "" then return text end
  return "\27[" .. codes[style] .. "m" .. text .. "\27[0m"
end

--- Whether lines can be redrawn.
---@return boolean
function M.live()
  return core.terminal(1) ~= nil and os.getenv "TERM" ~= "dumb"
end

local function note(ok, why, code)
  if ok then return end
  M.closed = true
  if code ~= broken_pipe then M.lost = why end
end

function M.write(...)
  if not M.closed then note(io.stdout:write(...)) end
end

function M.flush()
  if not M.closed then note(io.stdout:flush()) end
end

function M.line(...)
  M.write(...)
  M.write "\n"
end

--- To standard error, after the program's name.
---@param text string
function M.complain(text)
  M.flush()
  io.stderr:write("lunadex: ", text, "\n")
end

return M
