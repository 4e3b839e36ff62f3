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

-- Views ---------------------------------------------------------------------------------------------------------------

-- A kind of view: its fields by name, each with how it comes to its value. A value is kept in the view.
local function class(name, fields)
  local data_of = setmetatable({}, { __mode = "k" })
  local meta = { __name = name, __metatable = false }
  function meta.__index(view, key)
    local get = fields[key]
    if get == nil then
      error(("%s has no field %q%s"):format(name, tostring(key),
        type(key) == "string" and suggest.hint(key, fields) and "; " .. suggest.hint(key, fields) or ""), 2)
    end
    if not get then return nil end
    local data = data_of[view]
    local value = get(data.scene, data, view)
    if value ~= nil then rawset(view, key, value) end
    return value
  end
  function meta.__newindex(_, key)
    error(("a rule cannot set %s of %s: it gives a verdict"):format(tostring(key), name), 2)
  end
  return function(view, data)
    data_of[view] = data
    return setmetatable(view, meta)
  end
end

local indexed = {} -- the fields that come from a definition
for field in ("kind method keys include where unique nulls_not_distinct without_overlaps traits with tablespace deferrable "
  .. "references on_update on_delete"):gmatch "%S+" do
  indexed[#indexed + 1] = field
end

local function from_definition(name)
  return function(scene, data, view)
    if data.filled then return nil end
    data.filled = true
    local fields = data.ordinal and scene.plan.set:fields(data.ordinal) or data.live:fields()
    for _, field in ipairs(indexed) do rawset(view, field, fields[field]) end
    local kind = fields.kind
    rawset(view, "unique", (fields.unique or kind == "primary_key" or kind == "unique_constraint") or nil)
    if fields.method == nil and kind ~= "foreign_key" then rawset(view, "method", "btree") end
    return rawget(view, name)
  end
end

local function statistic(name)
  return function(scene, data)
    if scene.offline then scene:need "target" end
    local live = data.live
    if not live then return nil end
    local measure = scene:need("statistics")[live.relation.display .. "\0" .. live.name]
    local value = measure and measure[name]
    return value and value >= 0 and value or nil
  end
end

local function of_live(name)
  return function(scene, data)
    if scene.offline then scene:need "target" end
    local live = data.live
    if live then return live[name] end
  end
end

local index_fields = {
  action = false, name = false, relation = false, declared = false, critical = false, description = false, file = false,
  line = false,
  definition = function(scene, data) return data.ordinal and scene.plan.set:text(data.ordinal) or data.live.text end,
  live = function(scene, data)
    if scene.offline then scene:need "target" end
    return data.live ~= nil
  end,
  live_name = of_live "name", valid = of_live "valid", constraint = of_live "constraint", inherited = of_live "inherited",
  replica_identity = of_live "replica_identity", referenced = of_live "referenced",
  bytes = statistic "index_bytes", scans = statistic "scans", scans_since = statistic "scans_since",
}
for _, field in ipairs(indexed) do index_fields[field] = from_definition(field) end
local new_index = class("an index", index_fields)

-- `data`: ordinal or live or both, and the relation's display name.
function Scene:index(data)
  local view = data.view
  if not view then
    local entry = data.ordinal and self.plan.entries[data.ordinal]
    local live = data.live
    data.scene = self
    view = new_index({ action = "index", relation = data.relation, declared = entry ~= nil,
      name = entry and entry.name or live and live.name, critical = entry and entry.critical or false,
      description = entry and entry.description, file = entry and entry.file, line = entry and entry.line }, data)
    data.view = view
  end
  return view
end

local function of_relation(name)
  return function(scene, data)
    if scene.offline then scene:need "target" end
    local value = data.on and data.on[name]
    if type(value) == "number" and value < 0 then return nil end
    return value
  end
end

-- All that will be there: what is declared, and what is live and stays.
local function indexes_of(scene, data)
  local list, known = {}, {}
  for i, each in ipairs(data.declared) do
    list[i] = scene:index(each)
    if each.live then known[each.live.name .. "\0" .. each.live.kind] = true end
  end
  if data.on then
    local going = scene:going()
    for _, live in ipairs(data.on:indexes()) do
      if not known[live.name .. "\0" .. live.kind] and not going[data.name .. "\0" .. live.name] then
        list[#list + 1] = scene:index { live = live, relation = data.name }
      end
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
  if not data.view then
    local info = data.info
    data.scene = self
    data.view = new_relation({ action = "relation", name = data.name, description = info and info.description,
      file = info and info.file, line = info and info.line }, data)
  end
  return data.view
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
  local view = self.query_views[query]
  if not view then
    view = new_query({ action = "query", name = query.name, relation = relation.name, text = query.sql or query.filter,
      description = query.description, expect_index = query.expect_index, file = query.file, line = query.line },
      { scene = self, query = query })
    self.query_views[query] = view
  end
  return view
end

local new_estimate = class("an estimate", { rows = false, table_bytes = false, index_bytes = false, seconds = false })

local function measured(name)
  return function(_, data)
    local value = data.change.measure and data.change.measure[name]
    return value and value >= 0 and value or nil
  end
end

local change_fields = {
  action = false, relation = false, name = false, live_name = false, definition = false, reason = false, builder = false,
  -- What rules amend is not kept: the next one sees it as it is by then.
  critical = false, description = false, mode = false,
  scans = measured "scans", scans_since = measured "scans_since",
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

-- What the views are made of --------------------------------------------------------------------------------------------

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
  local by_ordinal = {}
  self.by_ordinal, self.all, self.names = by_ordinal, {}, {}
  local function add(ordinal, live, on)
    local entry = plan.entries[ordinal]
    local name = on and on.display or entry.relation
    local data = add_relation(self, name, on)
    local record = { ordinal = ordinal, live = live, relation = name }
    by_ordinal[ordinal], data.declared[#data.declared + 1] = record, record
    self.all[entry.relation] = data
  end
  if plan.diff then
    for fact in plan.diff:changes(false) do
      if not fact.ordinal then break end -- strays follow
      add(fact.ordinal, fact.live, fact.relation)
    end
  else
    for ordinal in ipairs(plan.entries) do add(ordinal) end
  end
  for title, info in pairs(self.registry_relations) do
    local data = self.all[title]
    if not data then
      local name, schema = plan.dialect.name.relation(title)
      local on = plan.catalog and plan.catalog:relation(schema, name)
      data = add_relation(self, on and on.display or title, on)
      self.all[title] = data
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

-- Live indexes that the plan drops, by relation and name.
function Scene:going()
  if not self.dropped then
    self.dropped = {}
    for _, change in ipairs(self.plan.planned or {}) do
      if change.action == "drop" then self.dropped[change.relation .. "\0" .. change.live_name] = true end
    end
  end
  return self.dropped
end

-- The context -------------------------------------------------------------------------------------------------------

local context_fields = {
  server = function(scene)
    if scene.offline then scene:need "target" end
    local info = scene.plan.info
    return { product = info.product, version = info.version, version_number = info.version_number,
      database = info.database, user = info.user, host = info.host, warning = info.warning ~= "" and info.warning or nil,
      standby = info.standby }
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
  local relation
  local kept = { options = options }
  local context = setmetatable({}, {
    __name = "the context", __metatable = false,
    __index = function(_, key)
      local value = kept[key]
      if value ~= nil then return value end
      if key == "relation" then return relation and self:relation(relation) end
      local get = context_fields[key]
      if not get then
        error(("the context has no field %q%s"):format(tostring(key),
          type(key) == "string" and suggest.hint(key, context_fields) and "; " .. suggest.hint(key, context_fields)
            or ""), 2)
      end
      value = get(self)
      kept[key] = value
      return value
    end,
    __newindex = function(_, key)
      error(("a rule cannot set %s of the context"):format(tostring(key)), 2)
    end,
  })
  return context, function(name) relation = name end
end

--- What rules about this plan are told.
---@param plan lunadex.Plan|lunadex.rules.Declared
---@param relations table<string, lunadex.RegistryRelation>
---@param secrets lunadex.registry.Problems   # hides what variables of the environment held
---@return lunadex.rules.Scene
function M.of(plan, relations, secrets)
  local self = setmetatable({ plan = plan, offline = plan.offline or false, registry_relations = relations, facts = {},
    missing = {}, query_views = {}, time = os.time() }, Scene)
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
