-- What benchmarks measure with: times of whole processes, in turns, and their peak memory; what clients notice
-- meanwhile; and a schema of any size.
local lunadex = require "support.lunadex"
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
  local sorted = table.move(list, 1, #list, 1, {}) -- the list itself is in the order of the turns
  table.sort(sorted)
  return sorted[(#sorted + 1) // 2]
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

-- Two clients, each of which reads and writes one row by turns, with pauses of 3 ms. They count once the first file
-- is there; what is under way when the second appears still counts: it may have waited for what has just ended.
local load = [[
  local lunadex = require "lunadex"
  local url, rows, from, to = arg[1], tonumber(arg[2]), arg[3], arg[4]
  local db = assert(lunadex.connect(url))
  local operations = {
    { times = {}, run = function(id) return %s end },
    { times = {}, run = function(id) return %s end },
  }
  local function is_there(file)
    local handle = io.open(file)
    return handle and handle:close()
  end
  local function work()
    while not is_there(to) do
      for _, each in ipairs(operations) do
        local began = lunadex.now()
        assert(each.run(math.random(rows)))
        if is_there(from) then table.insert(each.times, (lunadex.now() - began) * 1000) end
        lunadex.sleep(0.003)
      end
    end
  end
  local clients = { lunadex.spawn(work), lunadex.spawn(work) }
  for _, client in ipairs(clients) do client:join() end
  for _, each in ipairs(operations) do
    table.sort(each.times)
    for _, share in ipairs { 0.5, 0.99, 1 } do print(each.times[math.max(math.ceil(#each.times * share), 1)]) end
  end
]]

--- Prints what clients that read and write single rows notice of each contender: of several turns the medians, and the
--- p99 of writes to that of the same turn when there is nothing else.
---@param url string
---@param rows integer   there are rows with the keys from 1 to this
---@param contenders { name: string }[]
---@param turns integer
---@param run fun(contender: table)
---@param operations { read: string, write: string }   Lua, with `db` and `id`
---@param before fun()?   what is done before each, unmeasured
function M.beside(url, rows, contenders, turns, run, operations, before)
  local directory = shell.directory "beside"
  local script = directory .. "/load.lua"
  shell.write_file(script, load:format(operations.read, operations.write))
  local function notice(work)
    if before then before() end
    local from, to = directory .. "/from", directory .. "/to"
    os.remove(from)
    os.remove(to)
    local process = lunadex.start { "run", script, url, rows, from, to }
    shell.sleep(1) -- connections and caches
    shell.write_file(from, "")
    work()
    shell.write_file(to, "")
    local ended = process:wait(60)
    assert(ended.status == 0, ended.stderr)
    local figures = {}
    for figure in ended.stdout:gmatch "[^\n]+" do figures[#figures + 1] = tonumber(figure) end
    return figures
  end
  -- What any work costs them by taking a processor, of which small machines have few.
  local function keep_busy()
    local process = shell.start { "sh", "-c", "while :; do :; done" }
    shell.sleep(10)
    process:kill "KILL"
    process:wait(60)
  end
  local all = { { name = "nothing else", work = function() shell.sleep(10) end },
    { name = "a processor that is busy", work = keep_busy } }
  for _, each in ipairs(contenders) do all[#all + 1] = { name = each.name, work = function() run(each) end } end
  for _ = 1, turns do
    for _, each in ipairs(all) do table.insert(each, notice(each.work)) end
  end
  local form = "%-34s %8s %8s %8s %10s %8s %8s %8s"
  print("\n" .. form:format("beside it, in ms", "read", "p99", "slowest", "write", "p99", "slowest", "to idle"))
  for _, each in ipairs(all) do
    local function column(i)
      local values = {}
      for turn, figures in ipairs(each) do values[turn] = figures[i] end
      return values
    end
    local cells = {}
    for i = 1, 6 do cells[i] = ("%.1f"):format(M.median(column(i))) end
    local ratios = {}
    for turn, figures in ipairs(each) do ratios[turn] = figures[5] / all[1][turn][5] end
    cells[7] = ("%.2f"):format(M.median(ratios))
    print(form:format(each.name, table.unpack(cells)))
  end
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
