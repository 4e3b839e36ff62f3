--- What a registry's database needs: its declarations against the live catalog, with policy applied.
--
-- The core's diff says what the facts are; here it is decided what follows from them: whether a stray is dropped, a
-- name is changed, an invalid index is repaired or somebody is still building it, and under which name an unnamed
-- declaration is built. Plain keeps stay inside the core: nothing here runs once per index that needs nothing.

local core = require "lunadex.core"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local Maker = require "lunadex.plan.maker"
local format = require "lunadex.format"
local rules = require "lunadex.rules"
local schedule = require "lunadex.schedule"
for _, part in ipairs { "names", "leftovers", "check", "measure", "only", "decide" } do
  require("lunadex.plan." .. part)
end

local M = {}

---@class lunadex.Finding
---@field level "error"|"warning"|"info"
---@field rule string
---@field message string
---@field hint string?
---@field refused boolean?         # an error that is none of the registry: what is wanted is not safe
---@field verdict string?          # of a rule: "allow", "warn", "skip", "put off", "block"
---@field amend table<string, any>?   # what that rule changed
---@field allowed string?          # why the rule does not count here
---@field relation string?
---@field name string?
---@field definition string?
---@field file string?
---@field line integer?
---@field ordinal integer?         # of the plain keep that it is about

---@class lunadex.PlannedChange
---@field action "create"|"replace"|"rename"|"alter"|"rebuild"|"drop"|"wait"|"keep"
---@field relation string          # display name
---@field name string?             # what it is, or will be, called
---@field live_name string?        # what the live index is called now
---@field definition string        # one line
---@field reason string
---@field critical boolean
---@field description string?
---@field estimate {rows: number?, table_bytes: number?, index_bytes: number?, seconds: number?}
---@field findings lunadex.Finding[]
---@field held {verdict: "skip"|"put off"|"block", rule: string, message: string}?   # it is not made
---@field waits string?            # why it will not begin at once, as far as that can be told now
---@field builder string?          # wait, or replace of what is not finished: who builds it
---@field entry lunadex.Entry?
---@field fact lunadex.Change      # what the core found
---@field on lunadex.Relation?     # nil only where there is no such relation
---@field ordinal integer?
---@field use_existing boolean
---@field hide boolean?            # alter: a stray
---@field after lunadex.PlannedChange?   # frees the name that this one is to have
---@field room_by lunadex.PlannedChange?   # MongoDB: the drop without which there is no room for it
---@field aside lunadex.PlannedChange?   # rename: what has the name and is moved out of the way first
---@field moved_name string?       # rename: what it is called until then
---@field beside string?          # replace, where nothing can be renamed: what it is called from then on
---@field left lunadex.Index[]?    # replace: of earlier ones that were not finished; they go first
---@field resume "new"|"old"|nil   # replace: what an earlier run has left under this name of ours takes its place

---@class lunadex.Plan
---@field target string            # without secrets
---@field database string          # its name in the registry
---@field info lunadex.ServerInfo
---@field dialect lunadex.Dialect
---@field findings lunadex.Finding[]
---@field summary table<string, integer>
---@field has_errors boolean?      # it cannot be applied
---@field is_wrong boolean?        # as the registry contradicts the database
---@field blocked boolean?         # a rule found an error: what it was about is not made
---@field rules lunadex.Rule[]     # in the order in which they were asked
---@field decided lunadex.PlannedChange[]   # what follows from the facts, before it is known what is possible
---@field planned lunadex.PlannedChange[]   # all but plain keeps
---@field dialect_state table     # what its dialect knows besides, which nobody else reads
---@field entries lunadex.Entry[]
---@field diff lunadex.Diff
---@field set lunadex.Declarations
---@field catalog lunadex.Catalog
---@field connection lunadex.Connection
---@field options lunadex.PlanOptions
---@field several boolean?         # the registry has other databases
---@field backfills lunadex.Backfill[]   # of its database
---@field applied boolean?         # that was begun: what is live is another thing now
---@field unfound table<string, string>?   # names of --only that nothing here answers to, each with a hint or ""
local Plan = {}
Plan.__index = Plan
Plan.__name = "lunadex.Plan"

---@class lunadex.PlanOptions
---@field only string[]?           # names of indexes or relations
---@field drop_strays boolean?
---@field repair boolean?         # drop what failed builds left and no declaration is about, on any relation
---@field rename boolean?
---@field hide_first boolean?      # MongoDB: strays are hidden; only those that are hidden already are dropped
---@field allow_gap boolean?       # MongoDB: what cannot be replaced side by side may be missing for a while
---@field mode "auto"|"concurrent"|"blocking"|nil
---@field jobs integer?            # changes at a time
---@field without string[]?        # rules that are not asked
---@field advice boolean?          # ask also those rules that only `lunadex check` asks

-- Order in which a plan is read: what is done, then what is waited for.
M.actions = { "create", "replace", "rename", "alter", "rebuild", "drop", "wait" }

-- Relations that are spoken of without an index: whatever is live on them is stray.
local function add_bare(database, set, dialect)
  local bare = {}
  for title, relation in pairs(database.relations or {}) do
    if relation.bare then
      local name, schema = dialect.name.relation(title)
      set:add_relation(schema, name)
      bare[#bare + 1] = { title = title, schema = schema, name = name, file = relation.file, line = relation.line }
    end
  end
  return bare
end

-- The plan as yet without changes, or nil and why the two sides could not be compared; then the bare relations.
local function compare(database, connection, options, several)
  local info, err = connection:connect()
  if not info then return nil, err end
  local dialect = dialects.of(info.driver)
  if database.driver and database.driver ~= dialect.driver then
    return nil, errors.new("usage", ("the registry was read as one of %s, but %s is a database of %s"):format(
      dialects.of(database.driver).product, info.display, dialect.product),
      "Say beforehand which server is meant: with a url in the registry, or the target given to lunadex.load.")
  end
  connection:prefetch() -- while the set is copied
  local set = database.set:copy()
  local bare = add_bare(database, set, dialect)
  local catalog, ok
  catalog, err = connection:catalog()
  if not catalog then return nil, err end
  ok, err = connection:resolve(set, catalog)
  if not ok then return nil, err end
  local diff = core.diff(set, catalog)
  return setmetatable({
    target = info.display, database = database.name, info = info, dialect = dialect, findings = {}, planned = {},
    entries = database.entries, diff = diff, set = set, catalog = catalog, connection = connection, options = options,
    several = several, backfills = database.backfills or {}, dialect_state = {},
    summary = {
      declared = diff.declared, live = diff.live, keep = diff:total("keep"), create = 0, replace = 0, rename = 0,
      alter = 0, rebuild = 0, drop = 0, wait = 0, blocked = 0, skipped = 0, put_off = 0, stray = 0, error = 0,
    },
  }, Plan), bare
end

-- What has to be said of the server and of relations, whatever is declared on them.
local function tell_beforehand(maker, bare)
  local plan, dialect = maker.plan, maker.dialect
  for _, text in ipairs(plan.info.warnings or {}) do
    maker:finding(nil, { level = "warning", rule = "server", message = text })
  end
  for _, finding in ipairs(dialect.steps.without_counterpart(plan.options)) do maker:finding(nil, finding) end
  for _, relation in ipairs(bare) do
    if not dialect.makes_relations and not plan.catalog:relation(relation.schema, relation.name) then
      maker:finding(nil, { level = "error", rule = "missing-relation", relation = relation.title,
        message = "the relation does not exist", file = relation.file, line = relation.line })
      plan.summary.error = plan.summary.error + 1
    end
  end
end

-- Which changes begin later, and why, if any may begin at all.
local function rehearse(plan)
  for _, finding in ipairs(plan.findings) do
    if finding.level == "error" and not finding.verdict then
      plan.has_errors = true
      plan.is_wrong = plan.is_wrong or not finding.refused
    end
  end
  if plan.has_errors then return end
  local dialect, jobs = plan.dialect, plan.options.jobs or schedule.default_jobs
  if dialect.schedule.prepare then dialect.schedule.prepare(plan, jobs) end
  for _, step in ipairs(dialect.schedule.of(plan, plan.options):rehearse(jobs)) do
    step.item.change.waits = step.reason
  end
end

--- The plan of one database of a registry.
---@param database {name: string, set: lunadex.Declarations, entries: lunadex.Entry[], allowing: lunadex.Entry[]}
---@param connection lunadex.Connection
---@param options lunadex.PlanOptions|{index: lunadex.Index?}|nil   # `index`: only this one, which is live
---@param several boolean?         # --only may name what is in another database: see M.unfound
---@return lunadex.Plan?
---@return lunadex.Error? err
function M.make(database, connection, options, several)
  local plan, bare = compare(database, connection, options or {}, several)
  if not plan then return nil, bare end
  local maker = Maker.of(plan)
  tell_beforehand(maker, bare)
  local changes, err = maker:decide()
  if not changes then return nil, err end
  plan.decided = changes
  for _, change in ipairs(changes) do maker:settle(change) end
  plan.rules, err = rules.judge(plan, database, plan.options, function(...) maker:finding(...) end)
  if not plan.rules then return nil, err end
  maker:break_circles()
  rehearse(plan)
  return plan
end

--- The error of what --only names and none of several plans is about.
---@param plans lunadex.Plan[]
---@param only string[]
---@return lunadex.Error?
function M.unfound(plans, only)
  local missing = {}
  for i, plan in ipairs(plans) do missing[i] = plan.unfound or false end
  return Maker.unfound_error(only, missing)
end

--- Whether --only names something of its database, or names nothing.
---@return boolean
function Plan:is_meant()
  local only = self.options.only or {}
  for _, name in ipairs(only) do
    if not (self.unfound and self.unfound[name]) then return true end
  end
  return #only == 0
end

--- Whether there is anything to do (or to wait for).
---@return boolean
function Plan:has_changes()
  for _, action in ipairs(M.actions) do
    if self.summary[action] > 0 then return true end
  end
  return self.summary.put_off > 0
end

--- The error that keeps this plan from being applied, if there is one.
---@return lunadex.Error?
function Plan:refusal()
  if not self.has_errors then return nil end
  local lines = {}
  for _, finding in ipairs(self.findings) do
    if finding.level == "error" and not finding.verdict then lines[#lines + 1] = M.finding_text(finding) end
  end
  return errors.new(self.is_wrong and "invalid_definition" or "refused", table.concat(lines, "\n"))
end

--- The changes in order of declaration, strays to be dropped last. Plain keeps are left out unless asked for:
--- `plan:changes { keeps = true }`.
---@param options {keeps: boolean?}?
---@return fun(): lunadex.PlannedChange?
function Plan:changes(options)
  if not (options and options.keeps) then
    local i = 0
    return function()
      i = i + 1
      return self.planned[i]
    end
  end
  local by_ordinal, rest = {}, {}
  for _, change in ipairs(self.planned) do
    if change.ordinal then by_ordinal[change.ordinal] = change else rest[#rest + 1] = change end
  end
  local maker, told = Maker.of(self), {} -- of plain keeps
  for _, finding in ipairs(self.findings) do
    local ordinal = finding.ordinal
    if ordinal then
      told[ordinal] = told[ordinal] or {}
      table.insert(told[ordinal], finding)
    end
  end
  local next_fact, i = self.diff:changes(false), 0
  return function()
    for fact in next_fact do
      local ordinal = fact.ordinal
      if not ordinal then break end -- strays follow
      local change = by_ordinal[ordinal]
      if change then return change end
      if fact.action == "keep" and not fact.name_differs and not self.only then
        change = maker:change(fact)
        change.name = change.name or change.live_name
        change.findings = told[ordinal] or change.findings
        return change
      end
    end
    i = i + 1
    return rest[i]
  end
end

--- Those of them that take something to be done, or waited for; what a rule holds back only if that is asked for.
---@param options {held: boolean?}?
---@return fun(): lunadex.PlannedChange?
function Plan:work(options)
  local i, held = 0, options and options.held
  return function()
    local change
    repeat
      i = i + 1
      change = self.planned[i]
    until not change or change.action ~= "keep" and (held or not change.held)
    return change
  end
end

--- One finding on one line: where, what, what to do.
---@param finding lunadex.Finding
---@return string
function M.finding_text(finding)
  local where = finding.file and ("%s:%d: "):format(finding.file, finding.line or 0) or ""
  local what = (finding.relation or "") .. (finding.name and " " .. finding.name or "")
  return format.line(where .. (what ~= "" and what .. ": " or "") .. finding.message
    .. (finding.hint and " (" .. finding.hint .. ")" or ""))
end

--- The same, with the rule in front where one says so.
---@param finding lunadex.Finding
---@return string
function M.named_text(finding)
  return (finding.verdict and finding.rule .. ": " or "") .. M.finding_text(finding)
end

M.Plan = Plan
return M
