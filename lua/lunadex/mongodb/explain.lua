--- The server's own plans for a query: see lunadex.Explained.

local bson = require "lunadex.bson"
local core = require "lunadex.core"
local errors = require "lunadex.errors"
local format = require "lunadex.format"

local M = {}

-- For declared queries ------------------------------------------------------------------------------------------------

-- Names of the indexes that a plan uses, into `names`; whether some part of it reads all documents.
local function read_stage(stage, names)
  local scans = stage.stage == "COLLSCAN"
  if stage.stage == "IDHACK" or stage.stage == "CLUSTERED_IXSCAN" then names[#names + 1] = "_id_" end
  if type(stage.indexName) == "string" then names[#names + 1] = stage.indexName end
  for _, below in pairs(stage) do
    if type(below) == "table" then scans = read_stage(below, names) or scans end
  end
  return scans
end

-- Every plan in an answer, one a shard.
local function read_plans(answer, plans)
  for name, value in pairs(answer) do
    local is_table = type(value) == "table"
    local list = is_table and (name == "winningPlan" and not value.shards and { value }
      or name == "rejectedPlans" and value)
    for _, plan in ipairs(list or {}) do
      local names = {}
      if not read_stage(plan, names) then plans[#plans + 1] = names end
    end
    if is_table and not list then read_plans(value, plans) end
  end
  return plans
end

local function sort_of(keys)
  local parts = {}
  for i, key in ipairs(keys) do parts[2 * i - 1], parts[2 * i] = key.column, key.descending and -1 or 1 end
  return core.document(table.unpack(parts))
end

--- The plans that the server has for a query which read no more than indexes give: each is a list of their names.
---@param connection lunadex.Connection
---@param collection string
---@param query {filter: string, sort: lunadex.Key[]}
---@return string[][]? plans
---@return lunadex.Error? err
function M.plans(connection, collection, query)
  local rows, err = connection:ask("explain", core.document("find", collection, "filter", bson.json(query.filter),
    "sort", sort_of(query.sort)), { verbosity = "queryPlanner" })
  if not rows then return nil, err end
  return read_plans(rows[1], {})
end

-- For people ----------------------------------------------------------------------------------------------------------

-- A stage with what feeds it below it.
local function tell_stage(stage, indent, found, collection)
  local parts = { stage.stage }
  if stage.indexName then
    found.uses[#found.uses + 1] = { relation = collection, name = stage.indexName }
    parts[#parts + 1] = stage.indexName
  end
  if stage.direction == "backward" then parts[#parts + 1] = "backward" end
  if stage.nReturned then
    parts[#parts + 1] = ("%d returned"):format(stage.nReturned)
    if stage.keysExamined then parts[#parts + 1] = ("%d keys examined"):format(stage.keysExamined) end
    if stage.docsExamined then parts[#parts + 1] = ("%d documents examined"):format(stage.docsExamined) end
  end
  found.lines[#found.lines + 1] = indent .. format.line(table.concat(parts, ", "))
  local below = { stage.inputStage, stage.thenStage, stage.elseStage, stage.outerStage, stage.innerStage }
  for _, each in pairs(below) do tell_stage(each, indent .. "  ", found, collection) end
  for _, each in ipairs(stage.inputStages or {}) do tell_stage(each, indent .. "  ", found, collection) end
  for _, each in ipairs(stage.shards or {}) do
    tell_stage(each.winningPlan or each.executionStages, indent .. "  ", found, collection)
  end
end

-- Where the plan stands depends on the command and on the server's engine.
local function plan_of(reply, analyze)
  local first = reply.stages and reply.stages[1] and reply.stages[1]["$cursor"] or reply
  if analyze and first.executionStats then return first.executionStats.executionStages, first.executionStats end
  local winning = first.queryPlanner and first.queryPlanner.winningPlan
  return winning and (winning.queryPlan or winning)
end

-- What the server explains.
local explainable = { aggregate = true, count = true, delete = true, distinct = true, find = true, findAndModify = true,
  mapReduce = true, update = true }

-- A command as it was entered; and its collection. Or nil, nil and what is wrong with it.
local function command_of(text, environment)
  local command, collection, fields = text:match "^(%a+)%s+(%S+)%s*(.*)$"
  if not explainable[command] then
    return nil, nil, errors.new("usage", "a command, its collection and its fields are expected",
      "For example: \\explain find users { filter = { email = \"a@b\" } }")
  end
  local chunk, problem = load("return " .. (fields == "" and "{}" or fields), "=input", "t", environment)
  if not chunk then return nil, nil, errors.new("usage", problem) end
  local given, parts = chunk(), { command, collection }
  if type(given) ~= "table" then return nil, nil, errors.new("usage", "the fields of a command are a table") end
  for name, value in pairs(given) do
    parts[#parts + 1] = name
    parts[#parts + 1] = value
  end
  if command == "aggregate" and given.cursor == nil then table.move({ "cursor", {} }, 1, 2, #parts + 1, parts) end
  return bson.document(table.unpack(parts)), collection
end

--- Explains a command with its fields in Lua.
---@param connection lunadex.Connection
---@param query string
---@param analyze boolean
---@param environment table        # of that Lua
---@return lunadex.Explained?
---@return lunadex.Error? err
function M.told(connection, query, analyze, environment)
  local command, collection, wrong = command_of(query, environment)
  if not command then return nil, wrong end
  local rows, err = connection:query("explain", command, { verbosity = analyze and "executionStats" or "queryPlanner" })
  if not rows then return nil, err end
  local plan, figures = plan_of(rows[1], analyze)
  if not plan then return { lines = {}, reply = rows[1] } end
  local found = { lines = {}, uses = {} }
  tell_stage(plan, "", found, collection)
  if figures then
    found.lines[#found.lines + 1] = ("%d returned, %d keys and %d documents examined, in %s"):format(figures.nReturned,
      figures.totalKeysExamined, figures.totalDocsExamined, format.duration(figures.executionTimeMillis / 1000))
  end
  return found
end

return M
