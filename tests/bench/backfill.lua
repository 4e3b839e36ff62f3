-- Backfills against one single statement, and against the batches that people write by hand, in turns; then what
-- clients that write single rows notice of each.
--   ./dev bench backfill                all, 2 million rows
--   LUNADEX_BENCH_ROWS=200000           fewer rows
--   LUNADEX_BENCH_RUNS=5                the median of five (default 3), after one that warms caches
local bench = require "support.bench"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

local rows = math.tointeger(tonumber(os.getenv "LUNADEX_BENCH_ROWS" or 2000000))
local runs = math.tointeger(tonumber(os.getenv "LUNADEX_BENCH_RUNS" or 3))

local server = pg.start { settings = { shared_buffers = "512MB", max_wal_size = "8GB", autovacuum = "off" } }
local url = server:url "postgres"

-- Before each run the table is made anew: an update leaves another table behind than it has met.
local function make_table()
  server:psql(nil, ([[
    DROP SCHEMA IF EXISTS lunadex CASCADE;
    DROP TABLE IF EXISTS orders;
    CREATE TABLE orders (id bigint, customer int, price numeric(10, 2), quantity int, total numeric(12, 2), note text,
                         touched int);
    INSERT INTO orders SELECT i, i %% 50000, (i %% 1000) / 10.0, i %% 7, NULL, md5(i::text), 0
      FROM generate_series(1, %d) i;
    ALTER TABLE orders ADD PRIMARY KEY (id);
    VACUUM ANALYZE orders;
    CHECKPOINT;
  ]]):format(rows))
end

local registry = lunadex.registry [[
  backfill "total" { on = "public.orders", where = "total IS NULL", set = "total = price * quantity" }
]]

local function psql(text)
  return { "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", text }
end

local function backfill(...)
  return { lunadex.program, "backfill", "run", registry, "--target", url, "--quiet", ... }
end

local contenders = {
  { name = "one UPDATE", words = psql "UPDATE orders SET total = price * quantity WHERE total IS NULL" },
  { name = "lunadex backfill run", words = backfill() },
  { name = "lunadex backfill run --jobs 2", words = backfill("--jobs", "2") },
  -- Right only because these keys have no gaps.
  { name = "a loop over 1000 keys at a time", words = psql [[
      DO $$ DECLARE most bigint := (SELECT max(id) FROM orders); BEGIN
        FOR low IN 0..most BY 1000 LOOP
          UPDATE orders SET total = price * quantity WHERE id > low AND id <= low + 1000 AND total IS NULL;
          COMMIT;
        END LOOP;
      END $$]] },
}

local function check()
  assert(server:value(nil, "SELECT count(*) FROM orders WHERE total IS DISTINCT FROM price * quantity") == "0")
end

for _, each in ipairs(contenders) do each.times = {} end
for round = 0, runs do
  for _, each in ipairs(contenders) do
    make_table()
    local seconds = bench.time(each.words)
    check()
    if round > 0 then each.times[round] = seconds end
  end
end

local single = contenders[1].times
print(("\n%-34s %10s %12s %14s"):format(rows .. " rows", "seconds", "rows/s", "rate to UPDATE"))
for _, each in ipairs(contenders) do
  local ratio = bench.ratio(single, each.times)
  local median = bench.median(each.times)
  print(("%-34s %10.1f %12.0f %14.2f"):format(each.name, median, rows / median, ratio))
end

-- Under load ----------------------------------------------------------------------------------------------------------

local script = shell.directory "bench" .. "/load.sql"
shell.write_file(script, ([[
\set id random(1, %d)
UPDATE orders SET touched = touched + 1 WHERE id = :id;
\sleep 3 ms
]]):format(rows))

-- Percentiles in ms of what two clients that pause 3 ms meet, from pgbench's log.
local function load_during(work)
  local logs = shell.directory "pgbench"
  local load = shell.start({ "pgbench", "-n", "-c", "2", "-T", "3600", "-l", "--log-prefix", logs .. "/l", "-f", script,
    "-d", url }, { cwd = logs })
  shell.sleep(1) -- connections and caches
  local from = os.time()
  work()
  local to = os.time()
  load:kill "INT"
  load:wait(60)
  local times = {}
  for line in io.popen(("cat %s/l*"):format(shell.quote(logs))):lines() do
    local microseconds, at = line:match "^%d+ %d+ (%d+) %d+ (%d+)"
    at = tonumber(at)
    if at and at >= from and at <= to then times[#times + 1] = tonumber(microseconds) / 1000 - 3 end
  end
  table.sort(times)
  local function percentile(share) return times[math.max(math.ceil(#times * share), 1)] or 0 end
  return percentile(0.5), percentile(0.99), percentile(1)
end

print(("\n%-34s %10s %12s %14s"):format("a write beside it, in ms", "median", "p99", "slowest"))
local function tell(name, ...) print(("%-34s %10.1f %12.1f %14.1f"):format(name, ...)) end
make_table()
tell("nothing else", load_during(function() shell.sleep(10) end))
for _, each in ipairs(contenders) do
  make_table()
  tell(each.name, load_during(function() bench.time(each.words) end))
end
server:stop()
