--- What a plan says of sharded collections and of the queries that are declared.
--
-- * `unique-on-sharded`: on a sharded collection each shard sees only its own documents, so a unique index has to begin
--   with the whole shard key, and to compare as that does.
-- * `scattered-query`: a query that says nothing about the shard key is sent to all shards.
-- * `unserved-query`: one that is to have an index, and none could serve it, or the server refuses it. The server says
--   so of those that are live.

local explain = require "lunadex.mongodb.explain"
local filter = require "lunadex.mongodb.filter"
local json = require "lunadex.mongodb.json"
local query = require "lunadex.mongodb.query"
local router = require "lunadex.mongodb.router"
local steps = require "lunadex.mongodb.steps"

local M = {}

--- What may be switched off, as rules are.
M.names = { "unique-on-sharded", "scattered-query", "unserved-query" }

-- Sharding ------------------------------------------------------------------------------------------------------------

local function shard_key_of(relation)
  local node = relation and relation.shard_key and json.parse(relation.shard_key)
  return type(node) == "table" and node.tag == "object" and #node > 0 and node or nil
end

-- Why each shard alone cannot enforce a unique index of these keys; nil: it can, as what is equal has the same place in
-- the order of the shard key, or of its hashes.
local function obstacle(fields, shard_key)
  for i, pair in ipairs(shard_key) do
    local key = fields.keys[i]
    if not key or key.column ~= pair[1] then
      return "has to begin with that key: each shard sees only its own documents", "Put the shard key first"
    end
  end
  for _, trait in ipairs(fields.traits or {}) do
    if trait[1] == "collation" and trait[2] ~= query.SIMPLE then
      return "has no collation: what is equal by it may be on several shards", 'Give it { locale = "simple" }'
    end
  end
end

local function check_unique(plan, finding)
  if not plan.catalog.sharded then return end -- nothing here shall cost anything where there are no shards
  local sharded, made = {}, {}
  for relation in plan.catalog:relations() do
    if relation.shard_key then sharded[relation.name] = relation end
  end
  for change in plan:work { held = true } do
    if change.ordinal then made[change.ordinal] = true end
  end
  for ordinal, entry in ipairs(plan.entries) do
    local relation = sharded[entry.relation]
    local shard_key = shard_key_of(relation)
    local fields = shard_key and plan.set:fields(ordinal)
    local why, cure
    if fields and fields.unique then why, cure = obstacle(fields, shard_key) end
    if why then
      finding {
          -- One that is live was there before its collection was sharded.
        level = made[ordinal] and "error" or "warning", rule = "unique-on-sharded", refused = true,
        allow = entry.allow,
        relation = entry.relation, name = entry.name, file = entry.file, line = entry.line,
        definition = plan.set:text(ordinal),
        message = ("a unique index of a collection that is sharded by %s %s"):format(relation.shard_key, why),
        hint = cure .. ", or declare it without unique.",
      }
    end
  end
end

-- Queries -------------------------------------------------------------------------------------------------------------

-- What a collection will have: which live indexes stay as they are to queries, by name, and all indexes as queries will
-- see them, `built` those that are not there yet.
local function indexes_of(plan, relation, title)
  local collation = relation and relation.collation
  local live, list, leaving = {}, {}, {}
  for change in plan:work() do
    if change.relation == title then
      local index = change.ordinal and query.index(change.name, plan.set:fields(change.ordinal), collation)
      local stays = change.action == "alter" and index and index.hidden == steps.is_hidden(change.fact.live)
      if change.live_name and not stays then leaving[change.live_name] = true end
      if index and not stays then
        index.built = true
        list[#list + 1] = index
      end
    end
  end
  for _, index in ipairs(relation and relation:indexes() or {}) do
    if index.valid and not leaving[index.name] then
      live[index.name] = true
      list[#list + 1] = query.index(index.name, index:fields(), collation)
    end
  end
  if not relation then
    list[#list + 1] = query.index("_id_", { keys = { { column = "_id" } } })
    list[#list].built = true
  end
  return { live = live, list = list }
end

-- Under which names a query's index may be known: that of the declaration, and that of the live one which it is.
local function names_of(plan, title, name)
  local names = { [name] = true }
  for change in plan:changes() do
    if change.relation == title and change.name == name and change.live_name then names[change.live_name] = true end
  end
  return names
end

-- Whether one of the server's plans reads only indexes that stay, and one of these names if any is asked for. What a
-- view reads belongs to other collections (`live` nil); buckets of a time series are in order without any index.
local function has_plan(plans, live, names)
  for _, used in ipairs(plans) do
    local stays, wanted = #used > 0, not names
    for _, name in ipairs(used) do
      stays = stays and (not live or live[name] ~= nil or name == "_id_")
      wanted = wanted or names[name]
    end
    if stays and wanted then return true end
  end
  return false
end

-- Whether one that is to be built has a part in it.
local function will_have(list, conditions, sort, names, any)
  for index in pairs(query.used(list, conditions, sort)) do
    if (any or index.built) and (not names or names[index.name]) then return true end
  end
  return false
end

-- Of the server: some queries cannot be planned at all without their index.
local no_plan = { ["27"] = true, ["291"] = true }

-- Whether some index serves a query: the server's word on what is live, ours on what is not; or nil and why the server
-- would have none of it.
local function is_served(plan, relation, title, asked, conditions, indexes, names)
  local is_view = relation and relation.kind == "view"
  local plans, err = explain.plans(plan.connection, title, asked)
  if plans and has_plan(plans, not is_view and indexes.live or nil, names) then return true end
  if err and not no_plan[err.native] and (err.code == "invalid_definition" or err.code == "server") then
    return nil, err.message
  end
  -- Without its word, the rules have to do for those that are live, too.
  local unasked = not plans and not (err and no_plan[err.native])
  return will_have(indexes.list, conditions, asked.sort, names, unasked)
end

local function check_query(plan, title, relation, asked, finding)
  local conditions, shard_key = filter.of(asked.filter), shard_key_of(relation)
  local shown = asked.name and ("the query %q"):format(asked.name) or "the query " .. asked.filter
  local function tell(rule, message, hint)
    finding { level = "warning", rule = rule, relation = title, file = asked.file, line = asked.line,
      message = message, hint = hint }
  end
  if shard_key and not router.is_targeted(conditions, shard_key, relation.collation) then
    tell("scattered-query", ("%s does not say which shards to ask: %s is sharded by %s"):format(shown, title,
      relation.shard_key), ("A condition on %s would."):format(shard_key[1][1]))
  end
  if not asked.expect_index then return end
  local wanted = type(asked.expect_index) == "string" and asked.expect_index or nil
  local names, indexes = wanted and names_of(plan, title, wanted), indexes_of(plan, relation, title)
  local served, refusal = is_served(plan, relation, title, asked, conditions, indexes, names)
  if served then return end
  if refusal then
    tell("unserved-query", ("%s cannot be planned: %s"):format(shown, refusal))
    return
  end
  local there = false
  for _, index in ipairs(indexes.list) do there = there or names and names[index.name] end
  tell("unserved-query", not wanted and ("no index serves %s"):format(shown)
    or there and ("%s does not serve %s"):format(wanted, shown)
    or ("%s is to be served by %s, which is neither declared nor live"):format(shown, wanted))
end

--- What is to be said of a plan's collections and queries.
---@param plan lunadex.Plan
---@param relations table<string, lunadex.RegistryRelation>
---@return lunadex.Finding[]
function M.findings(plan, relations)
  local found = {}
  local function finding(each) found[#found + 1] = each end
  check_unique(plan, finding)
  local titles = {}
  for title, relation in pairs(relations) do
    if #relation.queries > 0 then titles[#titles + 1] = title end
  end
  table.sort(titles)
  for _, title in ipairs(titles) do
    local relation = plan.catalog:relation(nil, title)
    for _, asked in ipairs(relations[title].queries) do check_query(plan, title, relation, asked, finding) end
  end
  return found
end

return M
