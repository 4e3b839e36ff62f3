--- What rules are told: views of a plan's changes, indexes, relations and queries, and the context beside them.
--
-- Views are made when somebody looks, and can change nothing (core/lua/view.c). What only the server knows is not asked
-- for beforehand: whoever needs it is interrupted (`need`), it is read in one go for all, and he is asked again
-- (rules/ask.lua).

local core = require "lunadex.core"
local backfills = require "lunadex.backfill.order"
local suggest = require "lunadex.suggest"

local M = {}

---@class lunadex.rules.Scene
---@field plan lunadex.Plan|lunadex.rules.Declared
---@field offline boolean          # there is no server to be asked
---@field facts table<string, any> # what was read, by name
---@field missing table<string, string>   # what could not be read, and why
---@field needed string?           # what somebody was interrupted for
---@field make table<string, function>   # makes views, by kind
---@field views table<any, userdata>      # by what they are made of: of declared indexes, their ordinals
---@field expanded table<lunadex.rules.Relation, integer[]>   # runs of ordinals
local Scene = {}
Scene.__index = Scene

---@class lunadex.rules.Declared   # stands for a plan where there is no server
---@field database string
---@field dialect lunadex.Dialect
---@field set lunadex.Declarations
---@field entries lunadex.Entry[]
---@field offline true

--- Interrupts a rule until `what` is read.
---@param what "target"|"statistics"|"null_checks"|"transactions"|"disk"|"explain"|"backfills"
function Scene:need(what)
  local value = self.facts[what]
  if value ~= nil then return value end
  self.needed = what
  error("asks for what is not read yet: " .. what, 0)
end

-- The core says -1 where it does not know; whole numbers are shown as such.
local function known(number)
  return number and number >= 0 and math.floor(number + 0.5) or nil
end

-- Views ---------------------------------------------------------------------------------------------------------------
--
-- A kind of view is its fields by name, each with how it comes to its value, or true: that is given with the view.

local function statistic(name)
  return function(scene, _, live)
    if scene.offline then scene:need "target" end
    if not live then return nil end
    local measure = scene:need("statistics")[live.relation.display .. "\0" .. live.name]
    return measure and known(measure[name])
  end
end

local function of_live(name)
  return function(scene, _, live)
    if scene.offline then scene:need "target" end
    return live and live[name]
  end
end

local function of_entry(name)
  return function(scene, ordinal)
    return ordinal and scene.plan.entries[ordinal][name]
  end
end

-- What a predicate says of nulls: the columns of which it is true for none, and whether it says no more than that.
local function of_nulls(what)
  return function(scene, ordinal, live)
    local read = scene.plan.dialect.facts.excluded_nulls
    local fields = read and (ordinal and scene.plan.set:fields(ordinal) or live:fields())
    if not (fields and fields.where) then return nil end
    local columns, nothing_else = read(fields.where)
    return columns and (what == "columns" and columns or what == "only" and nothing_else)
  end
end

-- Beside those that the definition itself has.
local index_fields = {
  action = function() return "index" end,
  critical = function(scene, ordinal) return ordinal ~= nil and scene.plan.entries[ordinal].critical end,
  description = of_entry "description", file = of_entry "file", line = of_entry "line",
  excluded_nulls = of_nulls "columns", excludes_nulls_only = of_nulls "only",
  definition = function(scene, ordinal, live) return ordinal and scene.plan.set:text(ordinal) or live.text end,
  live = function(scene, _, live)
    if scene.offline then scene:need "target" end
    return live ~= nil
  end,
  live_name = of_live "name", valid = of_live "valid", constraint = of_live "constraint",
  inherited = of_live "inherited", replica_identity = of_live "replica_identity", referenced = of_live "referenced",
  bytes = statistic "index_bytes", scans = statistic "scans", scans_since = statistic "scans_since",
  overlaps = function(scene, ordinal, _, relation)
    local list = {}
    for i, other in ipairs(ordinal and scene:overlaps()[ordinal] or {}) do list[i] = scene:index(other, relation) end
    return list
  end,
}

-- Of the column that a key is: nil where it is none.
local key_fields = {
  type = function(scene, number)
    if scene.offline then scene:need "target" end
    return number and scene.plan.dialect.facts.types[number]
  end,
  not_null = function(scene, _, not_null, name, relation)
    if scene.offline then scene:need "target" end
    if not_null ~= false then return not_null end -- nobody knows, or it is no column
    return scene:is_checked(relation, name)
  end,
}

--- Whether a check lets no null into a column.
---@param relation lunadex.Relation
---@param column string
---@return boolean
function Scene:is_checked(relation, column)
  local columns = self:need("null_checks")[relation.display]
  return columns and columns[column] or false
end

--- Of a declared index by its ordinal, of another one that is live.
---@param of integer|lunadex.Index
---@param relation string?         # the name of its relation, where that is at hand
function Scene:index(of, relation)
  local views = self.views
  local view = views[of]
  if not view then
    relation = relation or (math.type(of) and self:relation_with(of).name or of.relation.display)
    view = self.make.index(of, relation)
    views[of] = view
  end
  return view
end

local function of_relation(name)
  return function(scene, values)
    if scene.offline then scene:need "target" end
    local on = values.data.on
    local value = on and on[name]
    if type(value) == "number" then return known(value) end
    return value
  end
end

-- All that will be there: what is declared, and what is live and stays.
local function indexes_of(scene, values)
  local list, data = {}, values.data
  for i, ordinal in ipairs(scene:ordinals(data)) do list[i] = scene:index(ordinal, data.name) end
  for _, live in ipairs(data.on and scene.plan.diff:undeclared(data.on) or {}) do
    if not scene:drops(live) then list[#list + 1] = scene:index(live) end
  end
  return list
end

local relation_fields = {
  action = true, name = true, description = true, file = true, line = true,
  kind = of_relation "kind", rows = of_relation "rows", bytes = of_relation "bytes",
  partition = of_relation "partition", shard_key = of_relation "shard_key",
  shard_fields = function(scene, values)
    if scene.offline then scene:need "target" end
    local shard_fields = scene.plan.dialect.facts.shard_fields
    return shard_fields and shard_fields(values.data.on)
  end,
  parent = function(scene, values)
    if scene.offline then scene:need "target" end
    local on = values.data.on
    return on and on.parent and on.parent.display
  end,
  columns = function(scene, values)
    if scene.offline then scene:need "target" end
    local columns, types, on = {}, scene.plan.dialect.facts.types, values.data.on
    for _, column in ipairs(on and on:columns() or {}) do
      columns[column.name] = { name = column.name, type = types[column.base],
        not_null = column.never_null or scene:is_checked(on, column.name) }
    end
    return columns
  end,
  indexes = indexes_of,
  partitions = function(scene, values)
    local list, on = {}, values.data.on
    for i, partition in ipairs(on and on:partitions() or {}) do list[i] = scene:part(partition) end
    return list
  end,
  queries = function(scene, values)
    local list, info = {}, values.data.info
    for i, query in ipairs(info and info.queries or {}) do list[i] = scene:query(query, values.name) end
    return list
  end,
}

--- By its name as the plan shows it, or as the registry writes it.
---@param name string
function Scene:relation(name)
  local data = self:relations()[name]
  return data and self:relation_of(data)
end

--- A partition, whether the registry speaks of it or not.
---@param on lunadex.Relation
function Scene:part(on)
  return self:relation_of(self:relations()[on.display] or { name = on.display, on = on, runs = {} })
end

function Scene:relation_of(data)
  local view = self.views[data]
  if not view then
    local info = data.info or {}
    view = self.make.relation { action = "relation", name = data.name, description = info.description, file = info.file,
      line = info.line, data = data }
    self.views[data] = view
  end
  return view
end

--- Lets go of the views that were made: they are many, and what is at hand is what is looked at next.
function Scene:forget()
  self.views, self.expanded = {}, {}
end

local function explained(name)
  return function(scene, values)
    if scene.offline then scene:need "target" end
    local answer = scene:need("explain")[values.query]
    return answer and answer[name]
  end
end

local query_fields = {
  action = true, name = true, relation = true, text = true, description = true, expect_index = true, file = true,
  line = true,
  served = explained "served", uses = explained "uses", refused = explained "refused", unknown = explained "unknown",
  targeted = function(scene, values)
    if scene.offline then scene:need "target" end
    local targeted = scene.plan.dialect.facts.targeted
    if not targeted then return nil end
    return targeted(scene:relations()[values.relation].on, values.query)
  end,
}

function Scene:query(query, relation)
  local view = self.views[query]
  if not view then
    view = self.make.query { action = "query", name = query.name, relation = relation, text = query.sql or query.filter,
      description = query.description, expect_index = query.expect_index, file = query.file, line = query.line,
      query = query }
    self.views[query] = view
  end
  return view
end

local estimate_fields = { rows = true, table_bytes = true, index_bytes = true, seconds = true }

local function measured(name)
  return function(_, values)
    local measure = values.change.measure
    return measure and known(measure[name])
  end
end

-- A check that an interrupted primary key has left is dropped as well.
local function is_about_index(change)
  return change.ordinal ~= nil or change.fact.live.kind ~= "check"
end
M.is_about_index = is_about_index

local change_fields = {
  action = true, relation = true, name = true, live_name = true, definition = true, reason = true,
  builder = true, critical = true, description = true, mode = true,
  scans = measured "scans", scans_since = measured "scans_since",
  held = function(_, values) return values.change.held and values.change.held.verdict end,
  estimate = function(scene, values)
    local estimate = values.change.estimate
    return scene.make.estimate { rows = estimate.rows, table_bytes = estimate.table_bytes,
      index_bytes = estimate.index_bytes, seconds = estimate.seconds }
  end,
  index = function(scene, values)
    local change = values.change
    return is_about_index(change) and scene:index(change.ordinal or change.fact.live) or nil
  end,
  backfill = function(scene, values)
    for _, each in ipairs(backfills.before(values.change, scene.plan.backfills, scene.plan.dialect)) do
      if scene:need("backfills")[each.name] then return each.name end
    end
  end,
}

--- A new one each time: what rules before amended shows.
---@param change lunadex.PlannedChange
function Scene:change(change)
  local entry = change.entry
  return self.make.change { action = change.action, relation = change.relation, name = change.name,
    live_name = change.live_name, definition = change.definition, reason = change.reason, builder = change.builder,
    critical = change.critical, description = change.description,
    mode = self.plan.options.mode or entry and entry.mode or "auto", change = change }
end

local plan_fields = {
  action = true, database = true, target = true,
  summary = function(scene)
    local summary = {}
    for name, count in pairs(scene.plan.summary) do summary[name] = count end
    return summary
  end,
  changes = function(scene)
    local list = {}
    for i, change in ipairs(scene.plan.planned) do list[i] = scene:change(change) end
    return list
  end,
}

function Scene:whole()
  return self.make.plan { action = "plan", database = self.plan.database, target = self.plan.target }
end

-- What the views are made of -----------------------------------------------------------------------------------------

---@class lunadex.rules.Relation
---@field name string
---@field on lunadex.Relation?
---@field info lunadex.RegistryRelation?
---@field runs integer[]           # its declarations by their ordinals: the first and last of each run of them
---@field count integer            # of declarations

local function add_relation(self, name, on)
  local data = self.all[name]
  if not data then
    data = { name = name, on = on, runs = {}, count = 0 }
    self.all[name] = data
    self.names[#self.names + 1] = name
  end
  return data
end

-- Finds out which relations there are, and in what order their declarations stand.
function Scene:look_around()
  local plan, order = self.plan, {}
  local entries = plan.entries
  self.all, self.names, self.order = {}, {}, order
  local function add(first, last, on)
    local title = entries[first].relation
    local data = add_relation(self, on and on.display or title, on)
    self.all[title] = data
    local runs = data.runs
    runs[#runs + 1], runs[#runs + 2] = first, last
    data.count = data.count + last - first + 1
    order[#order + 1] = { last = last, data = data }
  end
  if plan.diff then
    for first, last, relation in plan.diff:runs() do add(first, last, relation) end
  else
    for ordinal in ipairs(entries) do add(ordinal, ordinal) end
  end
  for written, info in pairs(self.registry_relations) do
    local data = self.all[written]
    if not data then
      local name, schema = plan.dialect.name.relation(written)
      local on = plan.catalog and plan.catalog:relation(schema, name)
      data = add_relation(self, on and on.display or written, on)
      self.all[written] = data
    end
    data.info = data.info or info
  end
  table.sort(self.names)
end

--- The relations that the registry speaks of, by every name they have; `self.names` are the names, once each.
---@return table<string, lunadex.rules.Relation>
function Scene:relations()
  if not self.all then self:look_around() end
  return self.all
end

--- The declarations of a relation, in order.
---@param data lunadex.rules.Relation
---@return integer[]
function Scene:ordinals(data)
  local ordinals, runs = self.expanded[data], data.runs
  if not ordinals then
    ordinals = {}
    for r = 1, #runs, 2 do
      for ordinal = runs[r], runs[r + 1] do ordinals[#ordinals + 1] = ordinal end
    end
    self.expanded[data] = ordinals
  end
  return ordinals
end

--- Those of them that queries are declared of.
---@return lunadex.rules.Relation[]
function Scene:queried()
  local list = {}
  for written, info in pairs(self.registry_relations) do
    if #info.queries > 0 then list[#list + 1] = self:relations()[written] end
  end
  return list
end

--- Which relation a declaration is on.
---@param ordinal integer
---@return lunadex.rules.Relation
function Scene:relation_with(ordinal)
  self:relations()
  local order, low = self.order, 1
  local high = #order
  while low < high do
    local middle = (low + high) // 2
    if order[middle].last < ordinal then low = middle + 1 else high = middle end
  end
  return order[low].data
end

--- The declared indexes that a rule is asked about which is not asked about all: by relation, their ordinals in order.
---@param rule lunadex.Rule
---@return table<lunadex.rules.Relation, integer[]>
function Scene:asked_about(rule)
  local filter = {}
  for field, value in pairs(rule.only or {}) do filter[field] = value end
  if filter.type then
    filter.type = -2 -- no type at all
    for number, name in pairs(self.plan.dialect.facts.types) do
      if name == rule.only.type then filter.type = number end
    end
  end
  local overlaps, found = not rule.on.index and self:overlaps(), {}
  if overlaps and not next(overlaps) then return found end
  local place, run = 0, nil
  for _, ordinal in ipairs(self.plan.set:select(filter)) do
    if not overlaps or overlaps[ordinal] then
      self:relations()
      while not run or run.last < ordinal do
        place = place + 1
        run = self.order[place]
      end
      local ordinals = found[run.data] or {}
      found[run.data] = ordinals
      ordinals[#ordinals + 1] = ordinal
    end
  end
  return found
end

--- By ordinal, which other indexes begin with the keys of a declared one.
function Scene:overlaps()
  self.overlapping = self.overlapping or self.plan.set:overlaps(self.plan.diff)
  return self.overlapping
end

-- Whether the plan drops a live index.
function Scene:drops(live)
  if not self.dropped then
    self.dropped = {}
    for _, change in ipairs(self.plan.planned or {}) do
      if change.action == "drop" then self.dropped[change.fact.live] = true end
    end
  end
  return self.dropped[live]
end

-- The context -------------------------------------------------------------------------------------------------------

local context_fields = {
  server = function(scene)
    if scene.offline then scene:need "target" end
    local info = scene.plan.info
    return { product = info.product, version = info.version, version_number = info.version_number,
      database = info.database, user = info.user, host = info.host, standby = info.standby,
      warning = info.warning ~= "" and info.warning or nil }
  end,
  driver = function(scene) return scene.plan.dialect.driver end,
  database = function(scene) return scene.plan.database end,
  time = function(scene) return scene.time end,
  date = function(scene) return os.date("*t", scene.time) end,
  transactions = function(scene)
    if scene.offline then scene:need "target" end
    return scene:need "transactions"
  end,
  disk = function(scene)
    if scene.offline then scene:need "target" end
    return scene:need "disk" or nil
  end,
  env = function(scene) return scene.env end,
  find = function(scene) return scene.find end,
  relations = function(scene) return scene.each_relation end,
  relation = function(scene, values) return values.about and scene:relation(values.about) end,
  options = true,
}

--- The context of one rule. `aim` says of which relation the subject is: of another one each time it is asked.
---@param rule lunadex.Rule
---@return userdata context
---@return fun(relation: string?) aim
function Scene:context(rule)
  local values = { options = core.views("context.options", rule.options, self, suggest.hint)(rule.values) }
  return self.make.context(values), function(relation)
    if relation ~= values.about then values.about, values.relation = relation, nil end
  end
end

local kinds = {
  relation = { "a relation", relation_fields }, query = { "a query", query_fields },
  change = { "a change", change_fields }, estimate = { "an estimate", estimate_fields },
  plan = { "a plan", plan_fields }, context = { "the context", context_fields },
}

--- What rules about this plan are told.
---@param plan lunadex.Plan|lunadex.rules.Declared
---@param relations table<string, lunadex.RegistryRelation>
---@param secrets lunadex.registry.Problems   # hides what variables of the environment held
---@return lunadex.rules.Scene
function M.of(plan, relations, secrets)
  local self = setmetatable({ plan = plan, offline = plan.offline or false,
    registry_relations = relations, facts = {}, missing = {}, views = {}, expanded = {}, time = os.time() }, Scene)
  self.make = { index = core.index_views("an index", index_fields, self, suggest.hint, key_fields,
    plan.diff or plan.set) }
  for kind, of in pairs(kinds) do self.make[kind] = core.views(of[1], of[2], self, suggest.hint) end
  function self.env(name)
    if type(name) ~= "string" then error("context.env takes the name of a variable", 2) end
    local value = os.getenv(name)
    if value then secrets:hide(name, value) end
    return value
  end
  function self.find(name)
    if type(name) ~= "string" then error("context.find takes the name of a relation", 2) end
    return self:relation(name)
  end
  function self.each_relation()
    self:relations()
    local i = 0
    return function()
      i = i + 1
      return self.names[i] and self:relation(self.names[i])
    end
  end
  return self
end

return M
