-- What benchmarks measure with: times of whole processes, in turns, and their peak memory.
local shell = require "support.shell"

local M = {}

-- The shell's own clock: whoever waits for a process from here looks every few milliseconds.
local stopwatch = [[
  begun=$EPOCHREALTIME
  "$@" >"$0" 2>&1; status=$?
  ended=$EPOCHREALTIME
  echo $((${ended/[.,]/} - ${begun/[.,]/})) $status
]]

--- Runs a program to its end, which has to be a good one.
---@param words any[]
---@return number seconds
---@return string output   both streams
function M.time(words)
  local output = shell.directory "timed" .. "/output"
  local result = shell.call({ "bash", "-c", stopwatch, output, table.unpack(words) }, { seconds = 3600 })
  local microseconds, status = result.stdout:match "^(%d+) (%d+)"
  local said = shell.read_file(output)
  assert(status == "0", ("%s\n%s%s"):format(shell.command(words), said, result.stderr))
  return tonumber(microseconds) / 1e6, said
end

--- The best of some runs, in seconds; the first, which warms caches, is not counted.
---@param words any[]
---@param runs integer
---@return number seconds
function M.best(words, runs)
  local least = math.huge
  for run = 0, runs do
    local seconds = M.time(words)
    if run > 0 then least = math.min(least, seconds) end
  end
  return least
end

---@param list number[]
---@return number
function M.median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

--- Several commands in turns, for a machine is not equally fast at any two times: of each its times, the first run,
--- which warms caches, not among them; and what it said last.
---@param commands any[][]
---@param runs integer
---@return {times: number[], best: number, output: string}[]
function M.in_turns(commands, runs)
  local results = {}
  for i in ipairs(commands) do results[i] = { times = {}, best = math.huge } end
  for run = 0, runs do
    for i, words in ipairs(commands) do
      local result = results[i]
      local seconds, output = M.time(words)
      result.output = output
      if run > 0 then result.times[run], result.best = seconds, math.min(result.best, seconds) end
    end
  end
  return results
end

--- The median of one's times by the other's, turn by turn.
---@param a number[]
---@param b number[]
---@return number
function M.ratio(a, b)
  local ratios = {}
  for i in ipairs(a) do ratios[i] = a[i] / b[i] end
  return M.median(ratios)
end

--- Runs a program to its end, which has to be a good one: its seconds, and the high-water mark of its resident memory
--- in MB, as the kernel keeps it.
---@param words any[]
---@return number megabytes
---@return number seconds
function M.peak(words)
  local begun = shell.now()
  local process, most = shell.start(words), 0
  while process:running() do
    local status = shell.read_file(("/proc/%d/status"):format(process.pid)) or ""
    most = math.max(most, tonumber(status:match("VmHWM:%s*(%d+)")) or 0)
    shell.sleep(0.001)
  end
  local result = process:wait()
  assert(result.status == 0, result.stdout .. result.stderr)
  return most / 1024, shell.now() - begun
end

return M
