--- How a backfill stands, as people read it.

local format = require "lunadex.format"
local output = require "lunadex.cli.output"

local M = {}

local colours = { finished = "green", running = "blue", failed = "red", aborted = "red" }

--- Writes it on one line, and below it what it waits for, what went wrong and which rows failed.
---@param state lunadex.backfill.Standing
function M.tell(state)
  local word, parts = state.state, {}
  if state.percent and word ~= "finished" then parts[#parts + 1] = ("%d %%"):format(state.percent // 1) end
  parts[#parts + 1] = ("%d rows seen, %d changed"):format(state.seen, state.changed)
  if state.failed > 0 then parts[#parts + 1] = state.failed .. " failed" end
  if state.rate then parts[#parts + 1] = format.count(state.rate) .. " rows/s" end
  if state.seconds_left then parts[#parts + 1] = format.clock(state.seconds_left) .. " left" end
  if state.attempts > 1 then parts[#parts + 1] = ("run %d times"):format(state.attempts) end
  if state.who then parts[#parts + 1] = "by " .. state.who end
  output.line("  ", format.pad(format.line(state.name), 24), " ", output.style(colours[word] or "yellow", word), "  ",
    format.line(state.relation .. ": " .. table.concat(parts, ", ")))
  if state.waits then output.line("    waits: ", format.line(state.waits)) end
  if state.error then output.line("    ", output.style("red", format.line(state.error))) end
  for _, sample in ipairs(state.samples) do
    output.line("    ", format.line(("failed %s: %s"):format(format.clip(sample.key, 60), sample.message)))
  end
end

return M
