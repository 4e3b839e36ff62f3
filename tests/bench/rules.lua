-- What rules cost: all that need no statistics, on 20,000 indexes that are as they are declared, against the read of
-- the catalog that every plan begins with. Both in one process, in turns.
--   ./dev bench rules
local lunadex = require "support.lunadex"
package.cpath = lunadex.build .. "/?.so;" .. package.cpath
require "lunadex"
local database = require "lunadex.database"
local pg = require "support.postgres"
local planning = require "lunadex.plan"
local registry = require "lunadex.registry"
local rules = require "lunadex.rules"
local shell = require "support.shell"
local task = require "lunadex.task"

local runs, tables = 15, 2000

-- What asks the server for more than its catalog; the rest is asked, the conventions that nobody asked for included.
local asking = { "disk-space", "long-transaction", "unserved-query", "unused-index", "used-index-drop" }
local asked_for = [[
rule "build-window" {}
rule "naming" { options = { pattern = "^{relation}_" } }
]]

local server = pg.start { settings = { max_locks_per_transaction = "1024" } }
server:psql("postgres", "CREATE DATABASE bench")
server:psql("bench", ([[
SET client_min_messages = warning;
CREATE PROCEDURE fill(last integer) LANGUAGE plpgsql AS $$
BEGIN
  FOR n IN 1..last LOOP
    EXECUTE format('CREATE TABLE t%%s (id bigint PRIMARY KEY, a integer, b integer, c text, d text, e timestamptz,
                    f jsonb, g boolean)', n);
    EXECUTE format('CREATE INDEX t%%1$s_a ON t%%1$s (a)', n);
    EXECUTE format('CREATE INDEX t%%1$s_ab ON t%%1$s (a, b DESC)', n);
    EXECUTE format('CREATE INDEX t%%1$s_b ON t%%1$s (b) INCLUDE (c)', n);
    EXECUTE format('CREATE UNIQUE INDEX t%%1$s_c ON t%%1$s (c)', n);
    EXECUTE format('CREATE INDEX t%%1$s_d ON t%%1$s (d text_pattern_ops)', n);
    EXECUTE format('CREATE INDEX t%%1$s_e ON t%%1$s USING brin (e)', n);
    EXECUTE format('CREATE INDEX t%%1$s_f ON t%%1$s USING gin (f jsonb_path_ops)', n);
    EXECUTE format('CREATE INDEX t%%1$s_lower ON t%%1$s (lower(d))', n);
    EXECUTE format('CREATE INDEX t%%1$s_open ON t%%1$s (e) WHERE b IS NULL AND c <> ''done''', n);
    IF n %% 100 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;
CALL fill(%d);
VACUUM ANALYZE pg_catalog.pg_class, pg_catalog.pg_index, pg_catalog.pg_attribute]]):format(tables))

local path = shell.directory("bench") .. "/registry.lua"
local made = lunadex.run { "snapshot", "-o", path, "--target", server:url "bench" }
assert(made.status == 0, tostring(made))
shell.write_file(path, shell.read_file(path) .. asked_for)

local least = {}
local function time(what, work)
  collectgarbage()
  local start = shell.now()
  local result = assert(work())
  local seconds = shell.now() - start
  least[what] = math.min(least[what] or math.huge, seconds)
  return seconds, result
end

task.run(function()
  local loaded = assert(registry.load(path, { target = server:url "bench" }))
  local connection <close> = assert(database.open(server:url "bench", { jobs = 1 }))
  local plan = assert(planning.make(loaded.databases[1], connection, { without = asking }))
  -- As the program has it.
  collectgarbage("setpause", 1000)
  local ratios, findings = {}, 0
  for run = 0, runs do
    local catalog = time("catalog", function() return connection:catalog() end)
    local judged = time("rules", function()
      findings = 0
      return rules.judge(plan, loaded.databases[1], { without = asking, advice = true }, function(_, finding)
        if finding.level ~= "info" then findings = findings + 1 end
      end)
    end)
    if run > 0 then ratios[run] = judged / catalog end
  end
  table.sort(ratios)
  print(("%d indexes: catalog %.3f s, rules %.3f s (%d findings); median of rules by catalog %.2f"):format(
    plan.summary.live, least.catalog, least.rules, findings, ratios[(runs + 1) // 2]))
end)
server:stop()
