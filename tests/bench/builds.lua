-- 24 indexes over 8 tables: this tool against what people do by hand and against what restores databases, in one run;
-- then the same beside clients that read and write, whose throughput and latency are what production notices.
--   ./dev bench builds                  all, a million rows a table
--   LUNADEX_BENCH_ROWS=100000           smaller tables
--   LUNADEX_BENCH_RUNS=3                the best of three, taken in turns (default 2)
-- Contenders that build plainly lock out writers while they build; they are here for their speed.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

local rows = tonumber(os.getenv "LUNADEX_BENCH_ROWS" or 1000000)
local runs = tonumber(os.getenv "LUNADEX_BENCH_RUNS" or 2)
local TABLES = 8

local server = pg.start { settings = { shared_buffers = "512MB", maintenance_work_mem = "128MB", max_wal_size = "4GB",
  max_connections = 100 } }
local directory = shell.directory "bench"
local url = server:url "data"

-- Schema --------------------------------------------------------------------------------------------------------------

local statements, registry = {}, {}
for n = 1, TABLES do
  local function index(name, plain, words)
    statements[#statements + 1] = { table = n, holds_up = name == "lower" or name == "open",
      sql = ("CREATE INDEX %%s t%d_%s ON t%d %s"):format(n, name, n, plain) }
    return ("  index { %s, name = \"t%d_%s\" },\n"):format(words, n, name)
  end
  registry[n] = ('on "public.t%d" {\n'):format(n)
    .. index("a", "(a)", '"a"')
    .. index("c", "(c, a)", '"c", "a"')
    .. (n % 2 == 0 and index("lower", "(lower(c))", 'expr "lower(c)"')
      or index("open", "(d) WHERE b < 50", '"d", where = "b < 50"'))
    .. "}\n"
end
shell.write_file(directory .. "/registry.lua", table.concat(registry))

local function create_tables(database)
  local sql = {}
  for n = 1, TABLES do
    sql[n] = ("CREATE TABLE t%d (id bigint PRIMARY KEY, a integer, b integer, c text, d timestamptz)"):format(n)
  end
  server:psql(database, table.concat(sql, ";\n"))
end

local function drop_indexes()
  server:psql("data", [[
    SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index
    WHERE indrelid::regclass::text ~ '^t\d$' AND NOT indisprimary \gexec
    CHECKPOINT;
  ]])
end

io.write(("%d tables of %d rows … "):format(TABLES, rows))
io.flush()
server:create_database "data"
create_tables "data"
for n = 1, TABLES do
  server:psql("data", ([[
    INSERT INTO t%d SELECT n, (random() * 1e6)::int, n %% 100, md5((n * 7919::bigint %% %d)::text),
                    timestamptz '2026-01-01' + n * interval '1 second' FROM generate_series(1, %d) n;
  ]]):format(n, rows, rows))
end
server:psql("data", "VACUUM ANALYZE")
-- The same tables without rows, with the indexes: where those tools read what they have to build.
server:create_database "shape"
create_tables "shape"
for _, statement in ipairs(statements) do server:psql("shape", statement.sql:format "") end
print "made"

-- Contenders ----------------------------------------------------------------------------------------------------------

local function file(name, lines)
  shell.write_file(directory .. "/" .. name, table.concat(lines, ";\n") .. ";\n")
  return directory .. "/" .. name
end

local function bash(script)
  return { "bash", "-c", script }
end

local all, by_table, plain_first = {}, { {}, {} }, { {}, {} }
for i, statement in ipairs(statements) do
  all[i] = statement.sql:format "CONCURRENTLY"
  table.insert(by_table[statement.table % 2 + 1], all[i])
end
-- What makes concurrent builds elsewhere wait for its end comes last in each session.
for _, holds_up in ipairs { false, true } do
  for i, statement in ipairs(statements) do
    if statement.holds_up == holds_up then table.insert(plain_first[statement.table % 2 + 1], all[i]) end
  end
end
local psql = "psql -X -q -d " .. shell.quote(url)
local work = directory .. "/pgcopydb"

local function two_sessions(name, lists)
  return bash(("%s -f %s & %s -f %s; s=$?; wait $! && exit $s"):format(psql, file(name .. "1.sql", lists[1]), psql,
    file(name .. "2.sql", lists[2])))
end

local contenders = {
  { name = "lunadex apply", words = { lunadex.program, "apply", directory .. "/registry.lua", "--target", url,
    "--quiet", "--fail-on", "any" } },
  { name = "psql, one after another", words = bash(psql .. " -f " .. file("all.sql", all)) },
  { name = "two sessions, split by table", words = two_sessions("split", by_table) },
  -- The best that can be done by hand, by who knows which builds hold up which.
  { name = "the same, plain ones first", words = two_sessions("plain", plain_first) },
  { name = "xargs -P2", words = bash(("xargs -d '\\n' -P2 -I{} %s -c {} < %s"):format(psql, file("each.sql",
    { table.concat(all, "\n") }))), may_fail = true },
  { name = "lunadex apply --mode blocking", blocking = true, words = { lunadex.program, "apply",
    directory .. "/registry.lua", "--target", url, "--quiet", "--mode", "blocking", "--fail-on", "any" } },
  { name = "pg_restore -j2", words = bash(("pg_restore -j2 -d %s %s"):format(shell.quote(url), directory .. "/dump")),
    blocking = true, may_fail = true }, -- the primary keys are there
}
shell.check(("pg_dump -Fc -s --section=post-data -f %s/dump %s"):format(directory, shell.quote(server:url "shape")))
if shell.run "command -v pgcopydb" then
  contenders[#contenders + 1] = { name = "pgcopydb --index-jobs 2", blocking = true, may_fail = true, words = bash(
    ("rm -rf %s; pgcopydb copy indexes --source %s --target %s --dir %s --index-jobs 2 --not-consistent"):format(work,
      shell.quote(server:url "shape"), shell.quote(url), work)) }
else
  print "pgcopydb is not installed (apt-get install pgcopydb): left out"
end

local function count_indexes()
  return tonumber(server:value("data", "SELECT count(*) FILTER (WHERE indisvalid) FROM pg_index "
    .. "WHERE indrelid::regclass::text ~ '^t\\d$' AND NOT indisprimary"))
end

local function run(contender)
  local start = shell.now()
  local result = shell.call(contender.words, { seconds = 3600 })
  local seconds = shell.now() - start
  assert(result.status == 0 or contender.may_fail, result.stdout .. result.stderr)
  return seconds, count_indexes(), result
end

for round = 1, runs do
  for _, contender in ipairs(contenders) do
    drop_indexes()
    local seconds, valid, result = run(contender)
    contender.best = math.min(contender.best or math.huge, seconds)
    contender.valid = math.min(contender.valid or math.huge, valid)
    if valid < #statements and round == 1 and contender.name ~= "xargs -P2" then
      print(contender.name .. ": " .. result.stdout .. result.stderr)
    end
  end
end

local ours = contenders[1].best
print(("\n%-32s %10s %8s %12s"):format("", "seconds", "ratio", "valid of " .. #statements))
for _, contender in ipairs(contenders) do
  print(("%-32s %10.1f %8.2f %12d%s"):format(contender.name, contender.best, contender.best / ours, contender.valid,
    contender.blocking and "   writers locked out" or ""))
end

-- Under load ----------------------------------------------------------------------------------------------------------

local script = [[
\set t random(1, 8)
\set id random(1, ]] .. rows .. [[)
SELECT a, c FROM t:t WHERE id = :id;
UPDATE t:t SET b = b + 1 WHERE id = :id;
]]
shell.write_file(directory .. "/load.sql", script)

-- Transactions a second and the 99th percentile of their time in ms, from pgbench's log.
local function load_during(work_to_do)
  local logs = shell.directory "pgbench"
  local load = shell.start({ "pgbench", "-n", "-c", "4", "-T", "3600", "-l", "--log-prefix", logs .. "/l", "-f",
    directory .. "/load.sql", "-d", url }, { cwd = logs })
  shell.sleep(2) -- connections and caches
  local from = os.time()
  local start = shell.now()
  work_to_do()
  local seconds = shell.now() - start
  local to = from + seconds
  load:kill "INT"
  load:wait(60)
  local times = {}
  for line in io.popen(("cat %s/l*"):format(shell.quote(logs))):lines() do
    local microseconds, at = line:match "^%d+ %d+ (%d+) %d+ (%d+)"
    at = tonumber(at)
    if at and at >= from and at <= to then times[#times + 1] = tonumber(microseconds) end
  end
  table.sort(times)
  return #times / seconds, (times[math.ceil(#times * 0.99)] or 0) / 1000, seconds
end

drop_indexes()
local idle_rate, idle_p99 = load_during(function() shell.sleep(10) end)
print(("\n%-32s %10s %12s %14s"):format("beside 4 clients that read and write", "seconds", "throughput", "p99"))
print(("%-36s %6s %12.2f %11.1f ms   %.0f transactions a second"):format("nothing else", "", 1, idle_p99, idle_rate))
for round = 1, runs do
  for _, contender in ipairs(contenders) do
    if contender.name ~= "xargs -P2" then
      drop_indexes() -- before the clients begin, with its checkpoint
      local rate, p99, seconds = load_during(function() run(contender) end)
      if round == 1 or seconds < contender.loaded.seconds then
        contender.loaded = { rate = rate, p99 = p99, seconds = seconds }
      end
    end
  end
end
for _, contender in ipairs(contenders) do
  local loaded = contender.loaded
  if loaded then
    print(("%-36s %6.1f %12.2f %11.1f ms"):format(contender.name, loaded.seconds, loaded.rate / idle_rate, loaded.p99))
  end
end
server:stop()
