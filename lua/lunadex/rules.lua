--- Rules: which there are, whether they are asked, and what their verdicts make of a plan (docs/rules.md).
--
-- The order is that of `M.of`: those that come with Lunadex, by name, then the project's plugins, then what the
-- registry declares, as it stands there. Every rule is asked about everything it looks at, so that all is told at once;
-- of several that hold a change back, the strongest counts, and of these the first.

local ask = require "lunadex.rules.ask"
local errors = require "lunadex.errors"
local order = require "lunadex.backfill.order"
local options_of = require "lunadex.rules.options"
local plugin = require "lunadex.plugin"
local problem = require "lunadex.registry.problem"
local scenes = require "lunadex.rules.scene"
local suggest = require "lunadex.suggest"
local verdicts = require "lunadex.rules.verdict"

local M = {}

---@class lunadex.Rule
---@field name string
---@field description string
---@field check fun(subject: table, context: table): any, string?
---@field on table<string, boolean>
---@field only table<string, any>?  # of declared indexes, it is only asked about those that are so
---@field options table<string, lunadex.RuleOption>
---@field values table             # of its options
---@field asked boolean
---@field off string?              # why it is not asked, where somebody said so
---@field database boolean?        # without one it says nothing
---@field unasked boolean?         # of some subject: there is no database, or it did not tell
---@field environment table?       # of a registry's sandbox
---@field secrets lunadex.registry.Problems?   # hides what variables held that the registry read
---@field trusted boolean?         # it comes with Lunadex, and nobody gave it what may take for ever
---@field broken string?           # why it cannot be loaded: then there is no check
---@field file string
---@field line integer?

local changes = { "create", "replace", "rename", "alter", "rebuild", "drop", "wait" }

local function set_of(list)
  local set = {}
  for _, each in ipairs(list or changes) do set[each] = true end
  return set
end

-- What the registry says of rules that are there: by name, the later one counts.
local function settings_of(database)
  local settings = {}
  for _, rule in ipairs(database.rules or {}) do
    if not rule.check then
      local known = settings[rule.name] or { options = {} }
      settings[rule.name] = known
      for name, value in pairs(rule.options or {}) do known.options[name] = value end
      known.off, known.on, known.description = rule.off, rule.on or known.on, rule.description or known.description
    end
  end
  return settings
end

local function rule_of(name, rule, setting, default)
  setting = setting or { options = {} }
  local off, options = setting.off or rule.off, rule.options or {}
  return {
    name = name, check = rule.check, on = set_of(setting.on or rule.on), off = off, asked = not off and default,
    options = options, values = options_of.values(options, setting.options), file = rule.file, line = rule.line,
    environment = rule.environment, secrets = rule.secrets, broken = rule.broken,
    trusted = rule.trusted and not options_of.has_pattern(options, setting.options),
    only = rule.only, database = rule.database,
    description = setting.description or rule.description or "",
  }
end

--- All rules for a database, in order, whether they are asked or not.
---@param database lunadex.RegistryDatabase
---@param driver string            # "postgres" or "mongodb"
---@param advice boolean?          # also those that are only asked by `lunadex check`
---@return lunadex.Rule[]
function M.of(database, driver, advice)
  local settings, list = settings_of(database), {}
  for _, each in ipairs(plugin.rules(database.plugins)) do
    -- Of one that cannot be loaded nobody knows whom it would have to be asked by.
    local rule, setting = each.rule or { default = "plan" }, settings[each.name]
    if not rule.driver or rule.driver == driver then
      local default = setting ~= nil or rule.default == "plan" or rule.default == "check" and advice or false
      list[#list + 1] = rule_of(each.name, { check = rule.check, on = rule.on, only = rule.only, options = each.options,
        database = rule.database, description = each.describe, file = each.file, trusted = each.shipped,
        broken = each.broken }, setting, default)
    end
  end
  for _, rule in ipairs(database.rules or {}) do
    if rule.check then list[#list + 1] = rule_of(rule.name, rule, settings[rule.name], true) end
  end
  return list
end

-- A rule may be left out of a run on databases of both kinds, of which only one has it.
local function is_elsewhere(name, database)
  if (database.rule_names or {})[name] then return true end
  for _, each in ipairs(plugin.rules(database.plugins)) do
    if each.name == name then return true end
  end
  return false
end

-- Judging -------------------------------------------------------------------------------------------------------------

---@class lunadex.rules.Judge
---@field plan lunadex.Plan|lunadex.rules.Declared
---@field list lunadex.Rule[]
---@field scene lunadex.rules.Scene
---@field secrets lunadex.registry.Problems
---@field tell fun(change: lunadex.PlannedChange?, finding: lunadex.Finding)
---@field advice boolean?
---@field askers table<lunadex.Rule, lunadex.rules.Asker>
---@field answers table<lunadex.Rule, table<string, table[]>>   # what they had to say, by kind of subject
---@field err lunadex.Error?       # the run was interrupted
local Judge = {}
Judge.__index = Judge

-- Reads for a rule what it asks for. What cannot be read is told once.
function Judge:read(what)
  local scene = self.scene
  if what == "target" then
    scene.missing.target = "there is no database to be asked"
    return
  end
  local value, err
  if what == "statistics" then
    value, err = self:statistics()
  elseif what == "backfills" then
    value, err = order.unfinished(self.plan.backfills, self.plan.connection, self.plan.dialect)
    self.err = err -- what is to wait for one of them must not be made because nobody knows
  else
    value, err = self.plan.dialect.facts[what](self.plan, scene)
  end
  if value ~= nil then
    scene.facts[what] = value
    if err then
      self.tell(nil, { level = "info", rule = "rules", verdict = "allow", allowed = err.message, hint = err.hint,
        message = ("rules that ask for %s do not see all: %s"):format(what, err.message) })
    end
    return
  end
  scene.missing[what] = err and err.message or "unknown"
  if err and err.code == "cancelled" then self.err = err end
  -- Who may not look, or what no server of the kind tells, is not told with every plan.
  local unsupported = err and err.code == "unsupported"
  if (unsupported or err and err.code == "permission") and not self.advice then return end
  local finding = { level = "warning", rule = "rules", hint = err and err.hint,
    message = ("rules that ask for %s say nothing: %s"):format(what, scene.missing[what]) }
  if unsupported then
    finding.level, finding.verdict, finding.allowed = "info", "allow", scene.missing[what]
  end
  self.tell(nil, finding)
end

-- Sizes and uses of all live indexes of the relations that the registry speaks of. What was made after its server began
-- to count, was not there to be used before.
function Judge:statistics()
  local items, keys = {}, {}
  for name, data in pairs(self.scene:relations()) do
    for _, live in ipairs(name == data.name and data.on and data.on:indexes() or {}) do
      if live.kind ~= "foreign_key" then
        items[#items + 1] = { relation = data.on, index = live }
        keys[#items] = name .. "\0" .. live.name
      end
    end
  end
  local measures, err = self.plan.connection:measure(items)
  if not measures then return nil, err end
  local ages, made = self.plan.dialect.facts.ages, {}
  if ages then
    made, err = ages(self.plan)
    if not made then return nil, err end
  end
  local found = {}
  for i, key in ipairs(keys) do
    local measure, age = measures[i], made[key]
    if age and age < measure.scans_since then measure.scans_since = age end
    found[key] = measure
  end
  return found
end

---@class lunadex.rules.Subjects   # what a rule is asked about; three lists
---@field views userdata[]
---@field relations (string|false)[]
---@field abouts (table|integer)[]   # what a finding has to say of each; of a declared index its ordinal

local function no_subjects()
  return { views = {}, relations = {}, abouts = {} }
end

local function add(subjects, view, relation, about)
  local views = subjects.views
  local i = #views + 1
  views[i], subjects.relations[i], subjects.abouts[i] = view, relation or false, about
end

-- The changes of the plan that a rule looks at, as they are by now; and the plan.
function Judge:planned_for(rule)
  local plan, scene, subjects = self.plan, self.scene, no_subjects()
  if plan.offline then return subjects end
  for change in plan:changes { keeps = rule.on.keep } do
    local planned = not change.ordinal or self.by_ordinal[change.ordinal]
    if rule.on[change.action] and scenes.is_about_index(change) then
      add(subjects, scene:change(change), change.relation, planned and { change = change } or change.ordinal)
    end
  end
  if rule.on.plan then add(subjects, scene:whole(), nil, { all = true }) end
  return subjects
end

local nothing = {}

-- Subjects that are declared, and what makes them of names of relations. Those of "overlap" are some of "index".
-- Queries come when all else is judged: what is held back serves none.
local declared, queried = { "index", "relation" }, { "query" }
local subjects_of = { index = "indexes_of", relation = "relations_of", query = "queries_of" }

---@class lunadex.rules.Askable   # which rules are asked about what is declared
---@field index lunadex.Rule[]
---@field relation lunadex.Rule[]
---@field query lunadex.Rule[]
---@field some table<lunadex.Rule, table<table, integer[]>>   # of rules about some indexes: which, by relation

function Judge:askable(kinds)
  local askable, meant = { index = {}, relation = {}, query = {}, some = {} }, set_of(kinds)
  for _, rule in ipairs(self.list) do
    if rule.asked and not rule.broken then
      if meant.index and (rule.on.index or rule.on.overlap) then
        table.insert(askable.index, rule)
        if rule.only or not rule.on.index then askable.some[rule] = self.scene:asked_about(rule) end
      end
      if meant.relation and rule.on.relation then table.insert(askable.relation, rule) end
      if meant.query and rule.on.query and not self.plan.only then table.insert(askable.query, rule) end
    end
  end
  return askable
end

-- The names of relations about which somebody is asked, in order.
function Judge:asked_about(askable)
  local meant = self.plan.only and self:touched()
  local all = #askable.relation > 0
  for _, rule in ipairs(askable.index) do all = all or not askable.some[rule] end
  local some = {}
  for _, by_relation in pairs(askable.some) do
    for data in pairs(by_relation) do some[data] = true end
  end
  for _, data in ipairs(#askable.query > 0 and self.scene:queried() or {}) do some[data] = true end
  local names = {}
  if not (all or next(some)) then return names end
  local relations = self.scene:relations()
  for _, name in ipairs(self.scene.names) do
    if (all or some[relations[name]]) and (not meant or meant[name]) then names[#names + 1] = name end
  end
  return names
end

-- Indexes of these relations, all or some.
function Judge:indexes_of(names, some)
  local scene, only, by_ordinal, subjects = self.scene, self.plan.only, self.by_ordinal, no_subjects()
  local views, relations, abouts, count = subjects.views, subjects.relations, subjects.abouts, 0
  local made, all = scene.views, scene:relations()
  for _, name in ipairs(names) do
    local data = all[name]
    local ordinals = some and (some[data] or nothing) or scene:ordinals(data)
    for i = 1, #ordinals do
      local ordinal = ordinals[i]
      if not only or by_ordinal[ordinal] then
        count = count + 1
        views[count], relations[count], abouts[count] = made[ordinal] or scene:index(ordinal, name), name, ordinal
      end
    end
  end
  return subjects
end

function Judge:relations_of(names)
  local subjects = no_subjects()
  for _, name in ipairs(names) do
    local view = self.scene:relation(name)
    add(subjects, view, name, { relation = name, file = view.file, line = view.line })
  end
  return subjects
end

function Judge:queries_of(names)
  local scene, subjects = self.scene, no_subjects()
  for _, name in ipairs(names) do
    local info = scene:relations()[name].info
    for _, query in ipairs(info and info.queries or {}) do
      add(subjects, scene:query(query, name), name,
        { query = true, relation = name, file = query.file, line = query.line })
    end
  end
  return subjects
end

-- Asks all rules about what is declared of these kinds, some relations at a time: a view is made once, asked about
-- while it is at hand, and let go. Were tens of thousands kept from rule to rule, each look at one would come from main
-- memory.
function Judge:ask_declared(kinds)
  local scene, askable = self.scene, self:askable(kinds)
  local names, size = {}, 0
  local function ask_about()
    for _, kind in ipairs(kinds) do
      local all -- the same for all rules that are asked about all
      for _, rule in ipairs(askable[kind]) do
        local some = askable.some[rule]
        local subjects = kind == "index" and some and self:indexes_of(names, some) or all
        if not subjects then
          all = self[subjects_of[kind]](self, names)
          subjects = all
        end
        self:ask(rule, kind, subjects)
      end
    end
    scene:forget()
    names, size = {}, 0
  end
  for _, name in ipairs(self:asked_about(askable)) do
    names[#names + 1] = name
    size = size + 1 + scene:relations()[name].count
    if size >= ask.at_once then ask_about() end
    if self.err then return end
  end
  if #names > 0 then ask_about() end
end

-- The relations that planned changes are about.
function Judge:touched()
  local set = {}
  for _, change in ipairs(self.plan.planned) do set[change.relation] = true end
  return set
end

-- The changes that a verdict on this holds back or amends: of the actions that it names, if it does.
function Judge:meant(about, verdict)
  local plan, list, actions = self.plan, {}, verdict.changes and set_of(verdict.changes)
  if about.change then return { about.change } end
  if about.ordinal then return { self.by_ordinal[about.ordinal] } end
  if about.query then return list end
  for _, change in ipairs(plan.planned or {}) do
    if (about.all or change.relation == about.relation) and (not actions or actions[change.action]) then
      list[#list + 1] = change
    end
  end
  return list
end

local held_as = { block = "blocked", skip = "skipped", ["put off"] = "put_off" }

local function hold(plan, change, verdict, rule, message)
  if change.action == "keep" then return end
  local before, summary = change.held, plan.summary
  if before and verdicts.holds[before.verdict] >= verdicts.holds[verdict] then return end
  if before then
    summary[held_as[before.verdict]] = summary[held_as[before.verdict]] - 1
  else
    summary[change.action] = summary[change.action] - 1
  end
  summary[held_as[verdict]] = summary[held_as[verdict]] + 1
  change.held = { verdict = verdict, rule = rule, message = message }
end

local function amend(change, amended)
  -- The registry's own entry stays as it is: other plans may be made of it.
  change.entry = setmetatable({}, { __index = change.entry })
  for option, value in pairs(amended) do change.entry[option] = value end
  if amended.critical ~= nil then change.critical = amended.critical end
  change.description = amended.description or change.description
end

local function amended_text(amended)
  local parts = {}
  for option, value in pairs(amended) do parts[#parts + 1] = ("%s = %s"):format(option, value) end
  table.sort(parts)
  return "amended: " .. verdicts.text(table.concat(parts, ", "))
end

-- What a rule says, without what it or its registry was told by the environment and nobody else is to know.
function Judge:clean(rule, verdict)
  local function clean(text)
    text = self.secrets:clean(text)
    return rule.secrets and rule.secrets:clean(text) or text
  end
  verdict.message = clean(verdict.message)
  local amended = verdict.amend
  if amended and amended.description then amended.description = clean(amended.description) end
end

-- What a rule had to say of one subject.
function Judge:pronounce(rule, about, verdict, failed)
  local plan = self.plan
  local change = about.change or about.ordinal and self.by_ordinal[about.ordinal] or nil
  local entry = change and change.entry or about.ordinal and plan.entries[about.ordinal]
  if verdict.verdict == "allow" and verdict.message == "" and not verdict.amend then return end
  self:clean(rule, verdict)
  local kept = about.ordinal and not change -- which has no change to tell it of
  local finding = {
    level = verdicts.levels[verdict.verdict], rule = rule.name, verdict = verdict.verdict, amend = verdict.amend,
    message = verdict.message, relation = about.relation, name = about.name,
    definition = about.definition, file = about.file, line = about.line, ordinal = kept and about.ordinal or nil,
  }
  if failed then finding.hint = "A rule that fails blocks what it was asked about; --without leaves it out." end
  if finding.amend then
    finding.message = (finding.message ~= "" and finding.message .. "; " or "") .. amended_text(finding.amend)
  elseif finding.message == "" then
    finding.message = "no reason is given"
  end
  local reason = entry and entry.allow and entry.allow[rule.name]
  if reason then
    finding.level, finding.allowed, finding.verdict, finding.amend = "info", reason, "allow", nil
    finding.message = ("%s; allowed: %s"):format(finding.message, reason)
  elseif not plan.offline and not kept then
    for _, each in ipairs(self:meant(about, verdict)) do
      local excused = each.entry and each.entry.allow and each.entry.allow[rule.name]
      if excused then
        self.tell(each, { level = "info", rule = rule.name, verdict = "allow", allowed = excused,
          message = ("%s; allowed: %s"):format(finding.message, excused) })
      else
        if verdict.amend and each.entry then amend(each, verdict.amend) end
        if verdicts.holds[verdict.verdict] then hold(plan, each, verdict.verdict, rule.name, finding.message) end
      end
    end
  end
  if finding.level == "error" then plan.blocked = true end
  self.tell(change, finding)
end

-- What a finding has to say of a declared index, where no change says it: looked up while it is at hand.
function Judge:about(ordinal, view)
  if self.by_ordinal[ordinal] then return { ordinal = ordinal } end
  local plan = self.plan
  local entry = plan.entries[ordinal]
  return { ordinal = ordinal, relation = view.relation, name = view.name, definition = plan.set:text(ordinal),
    file = entry.file, line = entry.line }
end

-- Asks a rule about some subjects, and keeps what it had to say: later, it is told rule by rule.
function Judge:ask(rule, kind, subjects)
  if self.err then return end
  local asker = self.askers[rule] or ask.of(rule, self.scene)
  self.askers[rule] = asker
  local kept = self.answers[rule] or {}
  self.answers[rule] = kept
  kept[kind] = kept[kind] or {}
  local dialect, by_ordinal = self.plan.dialect, self.by_ordinal
  local function read(what) self:read(what) end
  local function verdict_of(about, first, second)
    local change
    if math.type(about) then change = by_ordinal[about] else change = about.change end
    return verdicts.of(first, second, dialect, not change and nothing or change.entry)
  end
  for _, answer in ipairs(asker:all(subjects, read, verdict_of)) do
    if math.type(answer.about) then answer.about = self:about(answer.about, subjects.views[answer.number]) end
    if answer.unasked then rule.unasked = true else table.insert(kept[kind], answer) end
  end
end

-- Answers about declarations in the order of these: mostly they were asked relation by relation.
local function in_order(answers)
  local before, sorted = 0, true
  for _, answer in ipairs(answers) do
    local ordinal = answer.about.ordinal
    if not ordinal then return answers end
    sorted, before = sorted and before < ordinal, ordinal
  end
  if not sorted then table.sort(answers, function(a, b) return a.about.ordinal < b.about.ordinal end) end
  return answers
end

-- What a rule had to say of these kinds, in the order of what it was asked about.
function Judge:tell_answers(rule, kinds)
  local kept = self.answers[rule] or {}
  for _, kind in ipairs(kinds) do
    for _, answer in ipairs(in_order(kept[kind] or {})) do
      local verdict, flaw = answer.verdict, answer.failed
      if flaw then verdict = { verdict = "block", message = "the rule failed: " .. flaw } end
      self:pronounce(rule, answer.about, verdict, flaw)
    end
  end
end

-- Asks about what is planned, which earlier rules may have changed, and tells all that a rule had to say.
function Judge:judge(rule)
  if rule.broken then
    self:pronounce(rule, { all = true }, { verdict = "block", message = "cannot be loaded: " .. rule.broken }, true)
    return
  end
  self:ask(rule, "plan", self:planned_for(rule))
  self:tell_answers(rule, { "plan", table.unpack(declared) })
end

-- Asks about the declared queries, once it is known what is held back.
function Judge:judge_queries()
  self.scene.facts.explain = nil -- somebody may have asked before
  self:ask_declared(queried)
  for _, rule in ipairs(self.list) do self:tell_answers(rule, queried) end
end

-- Where a name is misspelt, the index that was meant would be built before its data are right, or a backfill never
-- begin.
function Judge:unknown_order()
  local plan = self.plan
  if #(plan.options.only or {}) > 0 then return end -- not all is planned that there is
  for _, backfill in ipairs(plan.backfills) do
    for _, each in ipairs(order.unknown(backfill, plan)) do
      self.tell(nil, { level = "warning", rule = order.rule, relation = backfill.on, name = backfill.name,
        file = backfill.file, line = backfill.line, hint = each.hint,
        message = ("the backfill's %s names %q, which is no backfill, and no index or key of its relation")
          :format(each.option, each.name) })
    end
  end
end

-- What cannot be made, or would be a loss, without something that is held back.
function Judge:follow()
  local plan, builds = self.plan, { create = true, replace = true, rebuild = true }
  local function also(change, other, verdict, message)
    hold(plan, change, verdict, other.held.rule, message)
    self.tell(change, { level = verdicts.levels[verdict], rule = other.held.rule, verdict = verdict,
      message = message })
  end
  -- What is to be built, and is not; by relation, the first of it there.
  local function find_unmade()
    local unmade, missing = {}, {}
    for _, change in ipairs(plan.planned) do
      if change.held and builds[change.action] then
        unmade[#unmade + 1] = change
        missing[change.relation] = missing[change.relation] or change
      end
    end
    return unmade, missing
  end
  local unmade, missing = find_unmade()
  local key_maker = #unmade > 0 and plan.dialect.steps.key_maker
  for _, change in ipairs(key_maker and plan.planned or {}) do
    local other = not change.held and key_maker(change, unmade, plan)
    if other then
      also(change, other, other.held.verdict, ("it refers to a key that is not made: %s"):format(other.name))
    end
  end
  -- For what a change is not made either, with which verdict, and in which words.
  local function obstacle(change)
    local name, room, other = change.after, change.room_by, missing[change.relation]
    if name and name.held then
      return name, name.held.verdict, ("the name %s is not freed: %s keeps it"):format(change.name, name.definition)
    elseif room and room.held then
      return room, room.held.verdict, ("there is no room for it: %s stays"):format(room.live_name)
    elseif other and (change.action == "drop" or change.hide) and change.fact.action == "stray" then
      -- It may be doing the work of what is not made.
      return other, "skip", ("kept: %s is not made"):format(other.name or other.live_name)
    end
  end
  local again
  repeat
    again = false
    missing = select(2, find_unmade())
    for _, change in ipairs(plan.planned) do
      if not change.held then
        local other, verdict, message = obstacle(change)
        if other then
          also(change, other, verdict, message)
          again = true
        end
      end
    end
  until not again
end

-- Names that no rule has, in what switches rules off.
function Judge:unknown(entries, known)
  local reported = {}
  for _, entry in ipairs(entries) do
    for name in pairs(entry.allow) do
      if not known[name] and not reported[name] then
        reported[name] = true
        self.tell(nil, { level = "warning", rule = "unknown-rule", relation = entry.relation, name = entry.name,
          file = entry.file, line = entry.line, message = ("allow names %q, which is no rule"):format(name),
          hint = suggest.hint(name, known) })
      end
    end
  end
end

--- All rules for a database, in order, as a call has them asked or not.
---@param database lunadex.RegistryDatabase
---@param driver string            # "postgres" or "mongodb"
---@param options {without: string[]?, advice: boolean?}
---@param offline boolean?         # there is no server
---@return lunadex.Rule[]? rules
---@return table<string, true>|lunadex.Error known   # their names
function M.asked(database, driver, options, offline)
  local list, known, without = M.of(database, driver, options.advice), {}, {}
  for _, rule in ipairs(list) do known[rule.name] = true end
  for _, name in ipairs(options.without or {}) do
    if not known[name] and not is_elsewhere(name, database) then
      return nil, errors.new("usage", ("--without %s: there is no such rule"):format(name),
        suggest.hint(name, known) or "lunadex check --rules lists them.")
    end
    without[name] = true
  end
  for _, rule in ipairs(list) do
    if without[rule.name] then rule.asked, rule.off = false, "--without" end
    -- Without a database there are no changes.
    rule.unasked = offline and not rule.broken and (rule.database or not (rule.on.index or rule.on.overlap
      or rule.on.relation or rule.on.query))
  end
  return list, known
end

--- Has all rules say what they have to say of a plan: findings are told, changes amended and held back.
---@param plan lunadex.Plan|lunadex.rules.Declared
---@param database lunadex.RegistryDatabase
---@param options {without: string[]?, advice: boolean?}
---@param tell fun(change: lunadex.PlannedChange?, finding: lunadex.Finding)
---@return lunadex.Rule[]? rules   # as they were, or were not, asked
---@return lunadex.Error? err
function M.judge(plan, database, options, tell)
  local list, known = M.asked(database, plan.dialect.driver, options, plan.offline)
  if not list then return nil, known end
  local secrets = problem.list()
  local self = setmetatable({ plan = plan, list = list, secrets = secrets, tell = tell, by_ordinal = {},
    advice = options.advice, askers = {}, answers = {},
    scene = scenes.of(plan, database.relations or {}, secrets) }, Judge)
  for _, change in ipairs(plan.planned or {}) do
    if change.ordinal then self.by_ordinal[change.ordinal] = change end
  end
  self:unknown(database.allowing, known)
  self:ask_declared(declared)
  for _, rule in ipairs(list) do
    if rule.off then
      tell(nil, { level = "info", rule = rule.name, verdict = "allow", allowed = rule.off,
        message = "not asked: " .. rule.off })
    end
    if rule.asked then self:judge(rule) end
    if self.err then return nil, self.err end
  end
  if not plan.offline then
    for _, rule in ipairs(list) do
      if rule.name == order.rule and rule.asked then self:unknown_order() end
    end
    self:follow()
  end
  self:judge_queries()
  if self.err then return nil, self.err end
  return list
end

return M
