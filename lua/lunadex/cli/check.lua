--- lunadex check: what rules have to say of the registry, and of the database if there is one. Changes nothing.

local common = require "lunadex.cli.common"
local core = require "lunadex.core"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local json = require "lunadex.cli.json"
local output = require "lunadex.cli.output"
local planning = require "lunadex.plan"
local registry = require "lunadex.registry"
local rules = require "lunadex.rules"
local target = require "lunadex.target"

local M = {}

M.summary = "rules on the registry, and on the database if there is one"

M.examples = [[
  lunadex check                                  all rules, target from the environment
  lunadex check registry/shop.lua --offline      only those that need no database
  lunadex check --without unused-index --json
  lunadex check --rules                          which rules there are, in their order]]

---@param command table            # of argparse
function M.define(command)
  common.without(command)
  command:flag "--offline" :description "Ask no database: only rules that need none."
  command:flag "--rules" :description "List the rules in the order in which they are asked."
end

local function without_target(database, options)
  local dialect, set = dialects.of(database.driver), database.set:copy()
  set:spell(dialect.driver)
  local plan = { offline = true, database = database.name, dialect = dialect, set = set, entries = database.entries,
    findings = {} }
  local err
  plan.rules, err = rules.judge(plan, database, options, function(_, finding)
    plan.findings[#plan.findings + 1] = finding
  end)
  if not plan.rules then return nil, err end
  return plan
end

-- What is worth telling here: what rules said, and what is wrong. The rest is a plan's to tell.
local function told(plan)
  local list = {}
  for _, finding in ipairs(plan.findings) do
    if finding.verdict or finding.level ~= "info" then list[#list + 1] = finding end
  end
  return list
end

local function state_of(rule, offline)
  if rule.off then return "off: " .. rule.off end
  if rule.broken then return "cannot be loaded" end
  if not rule.asked then return "not asked for" end
  if not rule.unasked then return "asked" end
  return offline and "needs a database" or "not judged"
end

local function add_counts(total, findings)
  for _, finding in ipairs(findings) do total[finding.level] = total[finding.level] + 1 end
end

local function print_json(plan, findings, counts)
  local list = {}
  for i, rule in ipairs(plan.rules) do
    list[i] = { name = rule.name, description = rule.description, asked = rule.asked,
      state = state_of(rule, plan.offline) }
  end
  output.write(json.encode { database = plan.database, target = plan.target, findings = json.findings(findings),
    rules = list, summary = counts })
end

local function print_text(plan, findings, options, label)
  if options.quiet then return end
  if options.rules then
    for _, rule in ipairs(plan.rules) do
      local name, state = format.line(rule.name), format.line(state_of(rule, plan.offline))
      output.line(label, format.pad(name, 28), " ", format.pad(state, 18), " ", format.line(rule.description))
    end
    return
  end
  for _, finding in ipairs(findings) do
    output.line(label, finding.level, " ", format.line(finding.rule), ": ", planning.finding_text(finding))
  end
end

-- What is listed of the rules, for each database: nobody has to be asked for that.
local function listings(databases, options)
  local list = { several = #databases > 1 }
  for i, database in ipairs(databases) do
    local offline = options.offline or not target.find(options.target, database.url)
    local asked, known = rules.asked(database, dialects.of(database.driver).driver, options, offline)
    if not asked then return nil, { { error = known, label = list.several and database.name or nil } } end
    list[i] = { offline = offline, database = database.name, rules = asked, findings = {} }
  end
  return list
end

-- The plans that rules are asked about; without a server, what stands for them.
local function look(options)
  if options.offline and options.target then
    return nil, { { error = errors.new("usage", "--offline with --target", "Leave one of them out.") } }
  end
  local loaded, err
  if options.target then
    local found, wrong = target.find(options.target)
    if not found then return nil, { { error = wrong } } end
  end
  if options.rules and not options.given_registry and select(3, core.list_directory "registry") == "missing" then
    loaded = registry.parse("", "registry/", { target = options.target }) -- nothing asks for rules or sets any
  else
    loaded, err = common.load(options)
  end
  local databases
  if loaded then databases, err = common.databases(loaded, options) end
  if not databases then return nil, { { error = err } } end
  if options.rules then return listings(databases, options) end
  local reachable = 0
  for _, database in ipairs(databases) do
    if not options.offline and target.find(options.target, database.url) then reachable = reachable + 1 end
  end
  if reachable == #databases then return common.plans(options, 1) end
  if reachable > 0 then
    return nil, { { error = errors.new("usage", "some databases of the registry have a url and some have none",
      "Name one with --database, or give --offline.") } }
  elseif #(options.only or {}) > 0 then
    return nil, { { error = errors.new("usage", "--only without a database", "Rules are then asked about all that is "
      .. "declared: leave it out, or say with --target which database is meant.") } }
  end
  local plans = { several = #databases > 1 }
  for i, database in ipairs(databases) do
    plans[i], err = without_target(database, options)
    if not plans[i] then return nil, { { error = err, label = plans.several and database.name or nil } } end
  end
  return plans
end

---@param options table
---@return integer status
function M.run(options)
  options.advice = true
  local plans, troubles = look(options)
  if not plans then return common.fail_each(troubles, options) end
  local closing <close> = getmetatable(plans) and plans or nil -- luacheck: ignore 211
  local total = { error = 0, warning = 0, info = 0 }
  local listed = plans.several and options.json
  if listed then output.write '{"databases":[\n' end
  for i, plan in ipairs(plans) do
    local findings, counts = told(plan), { error = 0, warning = 0, info = 0 }
    add_counts(counts, findings)
    add_counts(total, findings)
    if options.json then
      if i > 1 then output.write ",\n" end
      print_json(plan, findings, counts)
    else
      print_text(plan, findings, options, plans.several and format.line(plan.database) .. ": " or "")
    end
  end
  if options.json then
    output.line(listed and "]}" or "")
  elseif not options.rules then
    output.line(output.style("bold", ("Check: %s, %s."):format(format.quantity(total.error, "error"),
      format.quantity(total.warning, "warning"))))
  end
  return total.error > 0 and common.EXIT.refused or 0
end

return M
