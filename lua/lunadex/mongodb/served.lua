--- Which indexes serve declared queries: the server's word on those that are live, ours on those that are not yet.

local explain = require "lunadex.mongodb.explain"
local filter = require "lunadex.mongodb.filter"
local query = require "lunadex.mongodb.query"
local steps = require "lunadex.mongodb.steps"

local M = {}

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

-- Of the server: some queries cannot be planned at all without their index.
local no_plan = { ["27"] = true, ["291"] = true }

-- Whether a plan of the server's reads only indexes that stay. What a view reads belongs to other collections (`live`
-- nil); buckets of a time series are in order without any index.
local function stays(used, live)
  for _, name in ipairs(used) do
    if live and live[name] == nil and name ~= "_id_" then return false end
  end
  return #used > 0
end

--- What serves a query, once the plan's changes are made; or why the server would have none of it.
---@param plan lunadex.Plan
---@param relation lunadex.Relation?   # nil: the collection is not there
---@param title string
---@param asked table              # the query
---@return {served: boolean?, uses: string[]?, refused: string?}
function M.answer(plan, relation, title, asked)
  local indexes, used = indexes_of(plan, relation, title), {}
  local plans, err = explain.plans(plan.connection, title, asked)
  if err and not no_plan[err.native] and (err.code == "invalid_definition" or err.code == "server") then
    return { refused = err.message }
  end
  local live = not (relation and relation.kind == "view") and indexes.live or nil
  for _, each in ipairs(plans or {}) do
    if stays(each, live) then
      for _, name in ipairs(each) do used[name] = true end
    end
  end
  -- Without its word, the rules have to do for those that are live, too.
  local unasked = not plans and not (err and no_plan[err.native])
  for index in pairs(query.used(indexes.list, filter.of(asked.filter), asked.sort)) do
    if unasked or index.built then used[index.name] = true end
  end
  -- A declared index may be live under another name.
  for change in plan:changes() do
    if change.relation == title and change.name and used[change.live_name] then used[change.name] = true end
  end
  local uses = {}
  for name in pairs(used) do uses[#uses + 1] = name end
  table.sort(uses)
  return { served = #uses > 0, uses = uses }
end

return M
