-- What rules cost: all that need no statistics, on 20,000 indexes that are as they are declared, against the read of
-- the catalog that every plan begins with. Both inside the program, in turns; fails where they cost more.
--   ./dev bench rules
local bench = require "support.bench"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

local tables = 2000

local server = pg.start { settings = { max_locks_per_transaction = "1024" } }
server:create_database "bench"
bench.fill(server, "bench", 1, tables)

-- A folder of its own: in this one, the rules that come with the program would be taken for a project's.
local folder = shell.directory "bench"
local url = server:url "bench"
local made = lunadex.run { "snapshot", "-o", folder .. "/registry.lua", "--target", url }
assert(made.status == 0, tostring(made))
shell.write_file(folder .. "/registry.lua", shell.read_file(folder .. "/registry.lua") .. [[
rule "build-window" {}
rule "naming" { options = { pattern = "^{relation}_" } }
]])

-- It looks behind what scripts are given: a plan asks the rules by itself.
shell.write_file(folder .. "/measure.lua", [[
local core = require "lunadex.core"
local database = require "lunadex.database"
local planning = require "lunadex.plan"
local registry = require "lunadex.registry"
local rules = require "lunadex.rules"
local url, runs = arg[1], 15
debug.sethook() -- by which scripts, and no plans, are interrupted: it costs with each instruction

-- What asks the server for more than its catalog; the rest is asked, the conventions that nobody asked for included.
local without = { "disk-space", "long-transaction", "unserved-query", "unused-index", "used-index-drop" }

local least = {}
local function time(what, work)
  collectgarbage()
  local start = core.now()
  assert(work())
  local seconds = core.now() - start
  least[what] = math.min(least[what] or math.huge, seconds)
  return seconds
end

local loaded = assert(registry.load("registry.lua", { target = url })).databases[1]
local connection <close> = assert(database.open(url, { jobs = 1 }))
local plan = assert(planning.make(loaded, connection, { without = without }))
collectgarbage("setpause", 1000) -- as a plan has it
local ratios, findings = {}, 0
for run = 0, runs do
  local catalog = time("catalog", function() return connection:catalog() end)
  local judged = time("rules", function()
    findings = 0
    return rules.judge(plan, loaded, { without = without, advice = true }, function(_, finding)
      if finding.level ~= "info" then findings = findings + 1 end
    end)
  end)
  if run > 0 then ratios[run] = judged / catalog end
end
table.sort(ratios)
local ratio = ratios[(runs + 1) // 2]
print(("%d indexes: catalog %.3f s, rules %.3f s (%d findings); median of rules by catalog %.2f"):format(
  plan.summary.live, least.catalog, least.rules, findings, ratio))
assert(ratio < 1, "rules cost more than the read of the catalog")
]])
local result = lunadex.run { "run", "measure.lua", url, cwd = folder, seconds = 3600 }
assert(result.status == 0, tostring(result))
io.write(result.stdout)
server:stop()
