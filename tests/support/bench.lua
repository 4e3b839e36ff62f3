-- What benchmarks measure with: times of whole processes, in turns, and their peak memory; and a schema of any size.
local shell = require "support.shell"

local M = {}

-- The shell's own clock: whoever waits for a process from here looks every few milliseconds.
local stopwatch = [[
  cd "$1" && shift
  begun=$EPOCHREALTIME
  "$@" >"$0" 2>&1; status=$?
  ended=$EPOCHREALTIME
  echo $((${ended/[.,]/} - ${begun/[.,]/})) $status
]]

--- Runs a program to its end, which has to be a good one.
---@param words any[]
---@param directory string?   where; default here
---@return number seconds
---@return string output   both streams
function M.time(words, directory)
  local output = shell.directory "timed" .. "/output"
  local command = { "bash", "-c", stopwatch, output, directory or ".", table.unpack(words) }
  local result = shell.call(command, { seconds = 3600 })
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
---@param directory string?   where; default here
---@return {times: number[], best: number, output: string}[]
function M.in_turns(commands, runs, directory)
  local results = {}
  for i in ipairs(commands) do results[i] = { times = {}, best = math.huge } end
  for run = 0, runs do
    for i, words in ipairs(commands) do
      local result = results[i]
      local seconds, output = M.time(words, directory)
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

-- Ten indexes a table, of the kinds real schemas have, in the shares they have there: most plain, one in ten partial,
-- one in ten on an expression. A commit every 100 tables keeps the lock table small.
local schema = [[
SET client_min_messages = warning;
CREATE OR REPLACE PROCEDURE fill(first integer, last integer) LANGUAGE plpgsql AS $$
BEGIN
  FOR n IN first..last LOOP
    EXECUTE format('CREATE TABLE t%s (id bigint PRIMARY KEY, a integer, b integer, c text, d text, e timestamptz,
                    f jsonb)', n);
    EXECUTE format('CREATE INDEX t%1$s_a ON t%1$s (a)', n);
    EXECUTE format('CREATE INDEX t%1$s_ab ON t%1$s (a, b DESC)', n);
    EXECUTE format('CREATE INDEX t%1$s_b ON t%1$s (b) INCLUDE (c)', n);
    EXECUTE format('CREATE UNIQUE INDEX t%1$s_c ON t%1$s (c)', n);
    EXECUTE format('CREATE INDEX t%1$s_d ON t%1$s (d text_pattern_ops)', n);
    EXECUTE format('CREATE INDEX t%1$s_e ON t%1$s USING brin (e)', n);
    EXECUTE format('CREATE INDEX t%1$s_f ON t%1$s USING gin (f jsonb_path_ops)', n);
    EXECUTE format('CREATE INDEX t%1$s_lower ON t%1$s (lower(d))', n);
    EXECUTE format('CREATE INDEX t%1$s_open ON t%1$s (e) WHERE b IS NULL AND c <> ''done''', n);
    IF n % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;
]]

--- Tables `t<first>` to `t<last>` of that schema.
---@param server support.Server
---@param database string
---@param first integer
---@param last integer
function M.fill(server, database, first, last)
  server:psql(database, schema)
  server:psql(database, ("CALL fill(%d, %d); VACUUM ANALYZE pg_catalog.pg_class, pg_catalog.pg_index, "
    .. "pg_catalog.pg_attribute"):format(first, last))
end

return M
