-- What benchmarks measure with: times of whole processes, in turns, and their peak memory; what clients notice
-- meanwhile; and a schema of any size.
local mongodb = require "support.mongodb"
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

-- Clients that read and write single rows ----------------------------------------------------------------------------

---@class support.Load
---@field count fun()              what begins from here on is counted
---@field stop fun(): number[][]   ends it: milliseconds of each read, and of each write, that began until here

--- Two clients of pgbench, which together do 250 reads and 250 writes a second, as chance has it.
---@param server support.Server
---@param statements { read: string, write: string }   SQL, with `:id`
---@param rows integer   there are rows with the keys from 1 to this
---@return support.Load
function M.pgbench(server, statements, rows)
  local directory = shell.directory "load"
  local files = {}
  for i, name in ipairs { "read", "write" } do
    files[i] = directory .. "/" .. name
    shell.write_file(files[i], ("\\set id random(1, %d)\n%s;\n"):format(rows, statements[name]))
  end
  local process = shell.start { server.programs .. "/pgbench", "--no-vacuum", "--client=2", "--rate=500", "--time=9999",
    "--log", "--log-prefix=" .. directory .. "/log", "--file=" .. files[1], "--file=" .. files[2],
    server:url "postgres" }
  local function clock() return tonumber(shell.check "date +%s.%N") end
  local from
  local function stop()
    local to, times = clock(), { {}, {} }
    -- It writes its log to the end only where it ends by itself.
    server:psql(nil, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbench'")
    process:wait(60)
    local line = "%d+ %d+ (%d+) (%d) (%d+) (%d+) (%d+)\n" -- of a client that was ended there is another
    for whole, script, seconds, micros, late in shell.check("cat " .. directory .. "/log.*"):gmatch(line) do
      local took = tonumber(whole) - tonumber(late)
      local began = tonumber(seconds) + (tonumber(micros) - took) / 1e6
      if began >= from and began <= to then table.insert(times[tonumber(script) + 1], took / 1000) end
    end
    return times
  end
  return { count = function() from = clock() end, stop = stop }
end

-- A client that reads and writes one document by turns, with pauses of 3 ms. What is said counts once the first file is
-- there; what is under way when the second appears still counts: it may have waited for what has just ended.
local client = [[
  local shell = require "support.shell"
  local library, url, database, rows, from, to = table.unpack(arg)
  local mongo = assert(package.loadlib(library, "luaopen_mongo"))().connect(url)
  local function is_there(file)
    local handle = io.open(file)
    return handle and handle:close()
  end
  while not is_there(to) do
    for i = 7, 8 do
      local command, counts = arg[i]:format(math.random(rows)), is_there(from)
      local began = shell.now()
      assert(mongo:command(database, command))
      if counts then print(i - 6, (shell.now() - began) * 1000) end
      shell.sleep(0.003)
    end
  end
]]

--- Two clients of MongoDB, over libmongoc alone.
---@param url string
---@param database string
---@param commands { read: string, write: string }   JSON, with `%d` for a key
---@param rows integer   as above
---@return support.Load
function M.mongo_clients(url, database, commands, rows)
  local directory = shell.directory "load"
  local script, from, to = directory .. "/client.lua", directory .. "/from", directory .. "/to"
  shell.write_file(script, client)
  local processes = {}
  for i = 1, 2 do
    processes[i] = shell.start { "lua5.4", script, mongodb.library(), url, database, rows, from, to, commands.read,
      commands.write }
  end
  local function stop()
    shell.write_file(to, "")
    local times = { {}, {} }
    for _, process in ipairs(processes) do
      local ended = process:wait(60)
      assert(ended.status == 0, ended.stderr)
      for i, took in ended.stdout:gmatch "(%d)\t(%S+)" do table.insert(times[tonumber(i)], tonumber(took)) end
    end
    return times
  end
  return { count = function() shell.write_file(from, "") end, stop = stop }
end

-- What they notice of some work: median, p99 and slowest of reads, and of writes.
local function noticed(load, work)
  local clients_beside = load()
  shell.sleep(1) -- connections and caches
  clients_beside.count()
  work()
  local figures = {}
  for _, times in ipairs(clients_beside.stop()) do
    table.sort(times)
    for _, share in ipairs { 0.5, 0.99, 1 } do figures[#figures + 1] = times[math.max(math.ceil(#times * share), 1)] end
  end
  return figures
end

--- Prints what clients notice of each contender: of several turns the medians, and the p99 of writes to that of the
--- same turn when there is nothing else. What comes of the processors alone, of which small machines have few, shows
--- beside a query that only reads.
---@param load fun(): support.Load
---@param reading any[]   words of that query, of ten seconds or so
---@param contenders { name: string, words: any[] }[]
---@param turns integer   after one that is not counted: of that the server keeps files, into which it writes faster
---@param before fun()   what is done before each, unmeasured
function M.beside(load, reading, contenders, turns, before)
  local all = { { name = "nothing else", words = { "sleep", "10" } },
    { name = "a query that only reads", words = reading } }
  for _, each in ipairs(contenders) do all[#all + 1] = { name = each.name, words = each.words } end
  for turn = 0, turns do
    for _, each in ipairs(all) do
      before()
      shell.check "sync" -- what was written before is nobody's here
      each[turn] = noticed(load, function() M.time(each.words) end)
    end
  end
  local form = "%-34s %8s %8s %8s %10s %8s %8s %8s"
  print("\n" .. form:format("beside it, in ms", "read", "p99", "slowest", "write", "p99", "slowest", "to idle"))
  for _, each in ipairs(all) do
    local cells = {}
    for i = 1, 6 do
      local values = {}
      for turn, figures in ipairs(each) do values[turn] = figures[i] end
      cells[i] = ("%.1f"):format(M.median(values))
    end
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
