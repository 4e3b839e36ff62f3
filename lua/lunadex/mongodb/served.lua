--- Which indexes serve declared queries: the server's word on those that are live, ours on those that are not yet.

local explain = require "lunadex.mongodb.explain"
local filter = require "lunadex.mongodb.filter"
local query = require "lunadex.mongodb.query"
local steps = require "lunadex.mongodb.steps"

local M = {}

-- What a collection will have: which live indexes stay as they are to queries, and which do not, by name; and all
-- indexes as queries will see them, `built` those that are not there yet.
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
  if not relation or relation.absent then
    list[#list + 1] = query.index("_id_", { keys = { { column = "_id" } } })
    list[#list].built = true
  end
  return { live = live, list = list, leaving = leaving }
end

-- Whatever a view reads, as the server says: collections and views, among them itself, by name.
local function read_by(plan, title, found)
  found[title] = true
  local function read(value)
    for name, each in pairs(value) do
      if type(each) == "table" then
        read(each)
      elseif (name == "viewOn" or name == "from" or name == "coll") and type(each) == "string" and not found[each] then
        read_by(plan, each, found)
      end
    end
  end
  local relation = plan.catalog:relation(nil, title)
  local rows = relation and relation.kind == "view"
    and plan.connection:ask("listCollections", 1, { filter = { name = title } })
  if rows and rows[1] then read(rows[1].options) end
  return found
end

-- What will become of all that a view reads: which indexes go, and whether something is still to be built.
local function indexes_below(plan, title)
  local all = { leaving = {} }
  for name in pairs(read_by(plan, title, {})) do
    local relation = plan.catalog:relation(nil, name)
    if not (relation and relation.kind == "view") then
      local indexes = indexes_of(plan, relation, name)
      for index in pairs(indexes.leaving) do all.leaving[index] = true end
      for _, index in ipairs(indexes.list) do all.unfinished = all.unfinished or index.built and name end
    end
  end
  return all
end

-- Of the server: some queries cannot be planned at all without their index.
local no_plan = { ["27"] = true, ["291"] = true }

-- Whether a plan of the server's reads only indexes that stay. What a view reads belongs to other collections (`live`
-- nil); buckets of a time series are in order without any index.
local function stays(used, live, leaving)
  for _, name in ipairs(used) do
    if leaving[name] or live and live[name] == nil and name ~= "_id_" then return false end
  end
  return #used > 0
end

-- Which indexes the server uses and will have, by name.
local function used_by(plans, live, leaving)
  local used = {}
  for _, each in ipairs(plans or {}) do
    if stays(each, live, leaving) then
      for _, name in ipairs(each) do used[name] = true end
    end
  end
  return used
end

local function answer_of(used)
  local uses = {}
  for name in pairs(used) do uses[#uses + 1] = name end
  table.sort(uses)
  return { served = #uses > 0, uses = uses }
end

-- A view is read by way of what it is made of, and what the server will do with an index that is to be built there it
-- says only afterwards.
local function answer_for_view(plan, title, asked, plans)
  local below = indexes_below(plan, title)
  local used = used_by(plans, nil, below.leaving)
  local fine = used[asked.expect_index] or asked.expect_index == true and next(used)
  if below.unfinished and not fine then
    return { unknown = ("it is a view, and of %s not all indexes are built"):format(below.unfinished) }
  end
  return answer_of(used)
end

--- What serves a query, once the plan's changes are made; or why the server would have none of it; or why that is not
--- known.
---@param plan lunadex.Plan
---@param relation lunadex.Relation?   # nil: the collection is not there
---@param title string
---@param asked table              # the query
---@return {served: boolean?, uses: string[]?, refused: string?, unknown: string?}
function M.answer(plan, relation, title, asked)
  local plans, err = explain.plans(plan.connection, title, asked)
  if err and not no_plan[err.native] and (err.code == "invalid_definition" or err.code == "server") then
    return { refused = err.message }
  end
  if relation and relation.kind == "view" then return answer_for_view(plan, title, asked, plans) end
  local indexes = indexes_of(plan, relation, title)
  local used = used_by(plans, indexes.live, indexes.leaving)
  -- Without its word, the rules have to do for those that are live, too.
  local unasked = not plans and not (err and no_plan[err.native])
  for index in pairs(query.used(indexes.list, filter.of(asked.filter), asked.sort)) do
    if unasked or index.built then used[index.name] = true end
  end
  -- A declared index may be live under another name.
  for change in plan:changes() do
    if change.relation == title and change.name and used[change.live_name] then used[change.name] = true end
  end
  if not next(used) and not relation then
    return { unknown = "there is nothing of that name yet, and no index of it is declared: it may become a view" }
  end
  return answer_of(used)
end

return M
