--- The two streams: standard output carries the result, standard error the rest.
--
-- A reader that goes away (`| head`) must not end a run: a failed write is remembered and nothing more is written.
-- Other failures (a full disk) do not end it either, but the result is lost then, and the exit status has to say so.
-- Nor must a reader that does not read hold up a run, which has locks: what it has not taken waits in memory, and the
-- program waits for it when all work is done.

local core = require "lunadex.core"

---@type {closed: boolean, cut_off: boolean?, lost: string?}
local M = { closed = false }

local interrupted, broken_pipe = 4, 32 -- EINTR, EPIPE

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
  M.closed, M.cut_off = true, code == interrupted
  if code ~= broken_pipe then M.lost = why end
end

--- Goes on after a signal came in the middle of a write: whoever sent it wants to see no more of that.
function M.go_on()
  if not M.cut_off then return end
  M.closed, M.cut_off, M.lost = false, nil, nil
end

local AT_ONCE = 4096 -- bytes that go where there is room at all: PIPE_BUF

local beside = false -- whether work goes on that must not wait for a reader
local fresh = {} -- since the last flush
local waiting, first, last = {}, 1, 0 -- to be written

--- From now on nothing that is written waits for its reader, until `finish`.
function M.go_beside()
  beside = true
end

local function send(patient)
  while first <= last and not M.closed and (patient or core.writable(1)) do
    local text = waiting[first]
    note(io.stdout:write(text:sub(1, AT_ONCE)))
    if not M.closed then note(io.stdout:flush()) end
    waiting[first] = #text > AT_ONCE and text:sub(AT_ONCE + 1) or nil
    if not waiting[first] then first = first + 1 end
  end
end

function M.write(...)
  if M.closed then return end
  if beside then
    fresh[#fresh + 1] = table.concat { ... }
  else
    note(io.stdout:write(...))
  end
end

function M.flush()
  if M.closed then return end
  if not beside then return note(io.stdout:flush()) end
  if #fresh > 0 then
    last = last + 1
    waiting[last], fresh = table.concat(fresh), {}
  end
  send(false)
end

--- Writes what is left, however long its reader takes.
function M.finish()
  M.flush()
  send(true)
  beside = false
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
