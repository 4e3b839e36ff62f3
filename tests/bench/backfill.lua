-- Backfills against one single statement, and against the batches that people write by hand, in turns; then what
-- clients that write single rows notice of each. The server does not wait for the disk (fsync = off), which a machine
-- has with others: it is about statements, locks and processors.
--   ./dev bench backfill                all, 2 million rows
--   LUNADEX_BENCH_ROWS=200000           fewer rows
--   LUNADEX_BENCH_RUNS=11               the median of eleven (default 5), after one that warms caches: single turns
--                                       differ by a tenth where a machine has others beside it
local bench = require "support.bench"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"

local rows = math.tointeger(tonumber(os.getenv "LUNADEX_BENCH_ROWS" or 2000000))
local runs = math.tointeger(tonumber(os.getenv "LUNADEX_BENCH_RUNS" or 5))

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

-- Runs one, all of whose rows then have their totals.
local function run(each)
  local seconds = bench.time(each.words)
  assert(server:value(nil, "SELECT count(*) FROM orders WHERE total IS DISTINCT FROM price * quantity") == "0")
  return seconds
end

for _, each in ipairs(contenders) do each.times = {} end
for round = 0, runs do
  for _, each in ipairs(contenders) do
    make_table()
    local seconds = run(each)
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

local function load()
  return bench.pgbench(server, { read = "SELECT note FROM orders WHERE id = :id",
    write = "UPDATE orders SET touched = touched + 1 WHERE id = :id" }, rows)
end

local reading = psql(("SET max_parallel_workers_per_gather = 0; SELECT max(md5(note || n)) FROM orders, "
  .. "generate_series(1, %d) n"):format(math.max(12000000 // rows, 1)))

bench.beside(load, reading, contenders, runs, make_table)
server:stop()
