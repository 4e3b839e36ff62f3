--- What rules are told: views of a plan's changes, indexes, relations and queries, and the context beside them.
--
-- Views are made when somebody looks, and can change nothing. What only the server knows is not asked for beforehand:
-- whoever needs it is interrupted (`need`), it is read in one go for all, and he is asked again (rules/ask.lua).

local suggest = require "lunadex.suggest"

local M = {}

---@class lunadex.rules.Scene
---@field plan lunadex.Plan|lunadex.rules.Declared
---@field offline boolean          # there is no server to be asked
---@field facts table<string, any> # what was read, by name
---@field missing table<string, string>   # what could not be read, and why
---@field needed string?           # what somebody was interrupted for
---@field views table<table, table>    # by what they are made of
local Scene = {}
Scene.__index = Scene

---@class lunadex.rules.Declared   # stands for a plan where there is no server
---@field database string
---@field dialect lunadex.Dialect
---@field set lunadex.Declarations
---@field entries lunadex.Entry[]
---@field offline true

--- Interrupts a rule until `what` is read.
---@param what "target"|"statistics"|"transactions"|"disk"|"explain"
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

local DATA = {} -- the key of what a view is made of

-- A kind of view: its fields by name, each with how it comes to its value, or false: it is given when the view is made.
-- The values that were asked for are kept in a table behind the view, which nobody else sees.
local function class(name, fields)
  local lazily = {}
  function lazily.__index(values, key)
    local get = fields[key]
    if get == nil then
      local hint = type(key) == "string" and suggest.hint(key, fields)
      error(("%s has no field %q%s"):format(name, tostring(key), hint and "; " .. hint or ""), 2)
    end
    if not get then return nil end
    local data = values[DATA]
    local value = get(data.scene, data, values)
    if value ~= nil then values[key] = value end
    return value
  end
  local function refuse(_, key)
    error(("a rule cannot set %s of %s: it gives a verdict"):format(tostring(key), name), 2)
  end
  return function(values, data)
    values[DATA] = data
    return setmetatable({}, { __index = setmetatable(values, lazily), __newindex = refuse, __metatable = false })
  end
end

local function statistic(name)
  return function(scene, data)
    if scene.offline then scene:need "target" end
    local live = data.live
    if not live then return nil end
    local measure = scene:need("statistics")[live.relation.display .. "\0" .. live.name]
    return measure and known(measure[name])
  end
end

local function of_live(name)
  return function(scene, data)
    if scene.offline then scene:need "target" end
    local live = data.live
    if live then return live[name] end
  end
end

local function of_entry(name)
  return function(scene, data)
    local entry = data.ordinal and scene.plan.entries[data.ordinal]
    return entry and entry[name]
  end
end

local index_fields = {
  action = function() return "index" end,
  declared = function(_, data) return data.ordinal ~= nil end,
  critical = function(scene, data) return data.ordinal ~= nil and scene.plan.entries[data.ordinal].critical end,
  description = of_entry "description", file = of_entry "file", line = of_entry "line",
  definition = function(scene, data) return data.ordinal and scene.plan.set:text(data.ordinal) or data.live.text end,
  live = function(scene, data)
    if scene.offline then scene:need "target" end
    return data.live ~= nil
  end,
  live_name = of_live "name", valid = of_live "valid", constraint = of_live "constraint",
  inherited = of_live "inherited", replica_identity = of_live "replica_identity", referenced = of_live "referenced",
  bytes = statistic "index_bytes", scans = statistic "scans", scans_since = statistic "scans_since",
}
for field in ("name relation kind method keys include where unique "
  .. "nulls_not_distinct without_overlaps traits with tablespace deferrable initially_deferred not_enforced references "
  .. "on_update on_delete on_delete_columns match"):gmatch "%S+" do
  index_fields[field] = false
end
local new_index = class("an index", index_fields)

-- `data`: ordinal or live or both, and the relation's display name.
function Scene:index(data)
  local view = self.views[data]
  if view then return view end
  local live, ordinal = data.live, data.ordinal
  data.scene = self
  -- A table of its own, to which little is added: there may be many of them.
  local values = ordinal and self.plan.set:fields(ordinal) or live:fields()
  local kind = values.kind
  values.relation, values.schema = data.relation, nil
  if live and not values.name then values.name = live.name end
  if kind ~= "foreign_key" then
    values.unique = values.unique or kind == "primary_key" or kind == "unique_constraint"
    values.method = values.method or "btree"
  end
  view = new_index(values, data)
  self.views[data] = view
  return view
end

local function of_relation(name)
  return function(scene, data)
    if scene.offline then scene:need "target" end
    local value = data.on and data.on[name]
    if type(value) == "number" then return known(value) end
    return value
  end
end

-- All that will be there: what is declared, and what is live and stays.
local function indexes_of(scene, data)
  local list, claimed = {}, {}
  for i, each in ipairs(data.declared) do
    list[i] = scene:index(each)
    if each.live then claimed[each.live] = true end
  end
  for _, live in ipairs(data.on and data.on:indexes() or {}) do
    if not claimed[live] and not scene:drops(live) then
      list[#list + 1] = scene:index { live = live, relation = data.name }
    end
  end
  return list
end

local new_relation = class("a relation", {
  action = false, name = false, description = false, file = false, line = false,
  kind = of_relation "kind", rows = of_relation "rows", bytes = of_relation "bytes",
  partition = of_relation "partition", shard_key = of_relation "shard_key",
  parent = function(scene, data)
    if scene.offline then scene:need "target" end
    return data.on and data.on.parent and data.on.parent.display
  end,
  columns = function(scene, data)
    if scene.offline then scene:need "target" end
    local columns, types = {}, scene.plan.dialect.facts.types
    for _, column in ipairs(data.on and data.on:columns() or {}) do
      columns[column.name] = { name = column.name, not_null = column.not_null, type = types[column.type] }
    end
    return columns
  end,
  indexes = indexes_of,
  queries = function(scene, data)
    local list = {}
    for i, query in ipairs(data.info and data.info.queries or {}) do list[i] = scene:query(query, data) end
    return list
  end,
})

-- By its name as the plan shows it, or as the registry writes it.
function Scene:relation(name)
  local data = self:relations()[name]
  if not data then return nil end
  local view = self.views[data]
  if not view then
    local info = data.info
    data.scene = self
    view = new_relation({ action = "relation", name = data.name, description = info and info.description,
      file = info and info.file, line = info and info.line }, data)
    self.views[data] = view
  end
  return view
end

--- Lets go of the views that were made: they are many, and what is at hand is what is looked at next.
function Scene:forget()
  self.views = {}
end

local function explained(name)
  return function(scene, data)
    if scene.offline then scene:need "target" end
    local answer = scene:need("explain")[data.query]
    if answer then return answer[name] end
  end
end

local new_query = class("a query", {
  action = false, name = false, relation = false, text = false, description = false, expect_index = false, file = false,
  line = false,
  served = explained "served", uses = explained "uses", refused = explained "refused",
})

function Scene:query(query, relation)
  local view = self.views[query]
  if not view then
    view = new_query({ action = "query", name = query.name, relation = relation.name, text = query.sql or query.filter,
      description = query.description, expect_index = query.expect_index, file = query.file, line = query.line },
      { scene = self, query = query })
    self.views[query] = view
  end
  return view
end

local new_estimate = class("an estimate", { rows = false, table_bytes = false, index_bytes = false, seconds = false })

local function measured(name)
  return function(_, data)
    return data.change.measure and known(data.change.measure[name])
  end
end

local change_fields = {
  action = false, relation = false, name = false, live_name = false, definition = false, reason = false,
  builder = false, critical = false, description = false, mode = false,
  scans = measured "scans", scans_since = measured "scans_since",
  held = function(_, data) return data.change.held and data.change.held.verdict end,
  estimate = function(_, data)
    local estimate = data.change.estimate
    return new_estimate({ rows = estimate.rows, table_bytes = estimate.table_bytes, index_bytes = estimate.index_bytes,
      seconds = estimate.seconds }, {})
  end,
  index = function(scene, data)
    local change = data.change
    return scene:index(change.ordinal and scene:records()[change.ordinal]
      or { live = change.fact.live, relation = change.relation })
  end,
}
local new_change = class("a change", change_fields)

--- A new one each time: what rules before amended shows.
---@param change lunadex.PlannedChange
function Scene:change(change)
  local entry = change.entry
  return new_change({ action = change.action, relation = change.relation, name = change.name,
    live_name = change.live_name, definition = change.definition, reason = change.reason, builder = change.builder,
    critical = change.critical, description = change.description,
    mode = self.plan.options.mode or entry and entry.mode or "auto" }, { scene = self, change = change })
end

local new_plan = class("a plan", {
  action = false, database = false, target = false,
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
})

function Scene:whole()
  return new_plan({ action = "plan", database = self.plan.database, target = self.plan.target }, { scene = self })
end

-- What the views are made of -----------------------------------------------------------------------------------------

local function add_relation(self, name, on)
  local data = self.all[name]
  if not data then
    data = { name = name, on = on, declared = {} }
    self.all[name] = data
    self.names[#self.names + 1] = name
  end
  return data
end

-- One pass over the facts: what is declared, by ordinal, and by relation.
function Scene:records()
  if self.by_ordinal then return self.by_ordinal end
  local plan = self.plan
  local by_ordinal, of, entries = {}, {}, plan.entries
  self.by_ordinal, self.all, self.names = by_ordinal, {}, {}
  local before, title, place -- those of one relation mostly stand together
  local function add(ordinal, live, on)
    local its_title = entries[ordinal].relation
    if its_title ~= title or on ~= place then
      title, place = its_title, on
      before = of[on or title]
      if not before then
        before = add_relation(self, on and on.display or title, on)
        of[on or title] = before
      end
      self.all[title] = before
    end
    local record = { ordinal = ordinal, live = live, relation = before.name, scene = self }
    by_ordinal[ordinal], before.declared[#before.declared + 1] = record, record
  end
  if plan.diff then
    for ordinal, relation, live in plan.diff:pairs() do add(ordinal, live, relation) end
  else
    for ordinal in ipairs(plan.entries) do add(ordinal) end
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
  return by_ordinal
end

--- The relations that the registry speaks of, by every name they have; `self.names` are the names, once each.
function Scene:relations()
  self:records()
  return self.all
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
  options = false, relation = false,
}

--- The context of one rule. `aim` says of which relation the subject is: of another one each time it is asked.
---@param options table
---@return table context
---@return fun(relation: string?) aim
function Scene:context(options)
  local about
  local kept = setmetatable({ options = options }, { __index = function(values, key)
    local value
    if key == "relation" then
      value = about and self:relation(about)
    else
      local get = context_fields[key]
      if not get then
        local hint = type(key) == "string" and suggest.hint(key, context_fields)
        error(("the context has no field %q%s"):format(tostring(key), hint and "; " .. hint or ""), 2)
      end
      value = get(self)
    end
    values[key] = value
    return value
  end })
  local context = setmetatable({}, { __index = kept, __metatable = false, __newindex = function(_, key)
    error(("a rule cannot set %s of the context"):format(tostring(key)), 2)
  end })
  return context, function(relation)
    if relation == about then return end
    about, kept.relation = relation, nil
  end
end

--- What rules about this plan are told.
---@param plan lunadex.Plan|lunadex.rules.Declared
---@param relations table<string, lunadex.RegistryRelation>
---@param secrets lunadex.registry.Problems   # hides what variables of the environment held
---@return lunadex.rules.Scene
function M.of(plan, relations, secrets)
  local self = setmetatable({ plan = plan, offline = plan.offline or false, registry_relations = relations, facts = {},
    missing = {}, views = {}, time = os.time() }, Scene)
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
    self:records()
    local i = 0
    return function()
      i = i + 1
      return self.names[i] and self:relation(self.names[i])
    end
  end
  return self
end

return M
