-- What rules cost: all that need no statistics, on 20,000 indexes that are as they are declared, against the read of
-- the catalog that every plan begins with. Both in one process, in turns.
--   ./dev bench rules
local bench = require "support.bench"
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
server:create_database "bench"
bench.fill(server, "bench", 1, tables)

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
  print(("%d indexes: catalog %.3f s, rules %.3f s (%d findings); median of rules by catalog %.2f"):format(
    plan.summary.live, least.catalog, least.rules, findings, bench.median(ratios)))
end)
server:stop()
