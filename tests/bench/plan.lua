-- A plan with nothing to do, process start and registry loading included, against what psql needs for the bare catalog
-- query; growth from 2,000 to 100,000 indexes; peak memory; and peers that install in a minute.
--   ./dev bench plan            all
--   LUNADEX_BENCH=quick         2,000 and 20,000 only
--   LUNADEX_BENCH=peers         also migra and Alembic, on 20,000
local bench = require "support.bench"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

local mode = os.getenv "LUNADEX_BENCH" or ""
local runs = 15

-- The least a client can ask: raw columns, text only where there is an expression or predicate.
local bare = [[
SELECT i.indexrelid, i.indrelid, n.nspname, r.relname, c.relname, i.indnatts, i.indnkeyatts, i.indisunique,
       i.indisprimary, i.indisvalid, i.indkey, i.indcollation, i.indclass, i.indoption, c.relam, c.reloptions,
       CASE WHEN i.indexprs IS NOT NULL THEN pg_get_expr(i.indexprs, i.indrelid) END,
       CASE WHEN i.indpred IS NOT NULL THEN pg_get_expr(i.indpred, i.indrelid) END
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class r ON r.oid = i.indrelid
JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
]]

local server = pg.start { settings = { shared_buffers = "512MB", max_locks_per_transaction = 1024 } }
local counts = mode == "quick" and { 2000, 20000 } or { 2000, 20000, 100000 }
local tables = 0
server:create_database "bench"

print(("PostgreSQL %s; %d runs in turns after one to warm up: best, ratio of the best, median ratio"):format(
  server:value(nil, "SHOW server_version"), runs))
print(("%9s  %12s  %14s  %7s  %6s  %10s"):format("indexes", "psql, bare", "lunadex plan", "ratio", "median", "peak"))
for _, count in ipairs(counts) do
  bench.fill(server, "bench", tables + 1, count // 10)
  tables = count // 10
  local url = server:url "bench"
  local registry = shell.directory("bench") .. "/registry.lua"
  local made = lunadex.run { "snapshot", "-o", registry, "--target", url }
  assert(made.status == 0, tostring(made))
  local plan = { lunadex.program, "plan", registry, "--target", url, "--detailed-exitcode" }
  local psql, ours = table.unpack(bench.in_turns({
    { "psql", "-X", "-q", "-A", "-t", "-o", "/dev/null", "-d", url, "-c", bare }, plan }, runs))
  print(("%9d  %10.3f s  %12.3f s  %7.2f  %6.2f  %7.0f MB"):format(count, psql.best, ours.best, ours.best / psql.best,
    bench.ratio(ours.times, psql.times), (bench.peak(plan))))
  io.flush()

  if mode == "peers" and count == 20000 then
    shell.check [[
      [ -x .deps/peers/bin/migra ] || {
        python3 -m venv .deps/peers &&
          .deps/peers/bin/pip -q install 'setuptools<80' 'sqlalchemy<2.1' migra psycopg2-binary alembic
      }
    ]]
    -- migra compares two databases; the same one twice is the least it can do.
    local sqlalchemy_url = url:gsub("^postgresql:", "postgresql+psycopg2:")
    print(("%9d  migra         %12.3f s"):format(count, bench.best({ ".deps/peers/bin/migra", url, url }, 1)))
    local script = ([[
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.autogenerate import compare_metadata
engine = sa.create_engine("%s")
metadata = sa.MetaData()
metadata.reflect(engine)
with engine.connect() as connection:
    compare_metadata(MigrationContext.configure(connection), metadata)
]]):format(sqlalchemy_url)
    local python = { ".deps/peers/bin/python", "-W", "ignore", "-c", script }
    print(("%9d  Alembic       %12.3f s"):format(count, bench.best(python, 1)))
  end
end
server:stop()
