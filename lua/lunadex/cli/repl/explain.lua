--- How a query is run, by the server's own word, and the indexes it uses.

local bson = require "lunadex.bson"
local dkjson = require "dkjson"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local output = require "lunadex.cli.output"
local relations = require "lunadex.cli.repl.relations"

local M = {}

M.help = [[
On PostgreSQL: \explain SELECT …; on MongoDB a command with its fields in Lua: \explain find users { filter = { email =
"…" } }. With `analyze` behind \explain the query is run and its real figures are shown. Of a query with parameters ($1)
the plan for whatever values is shown. The indexes that are used come below the plan, with size and state.]]

-- What an index is known by in a plan; `schema` is nil on MongoDB.
local function key(schema, relation, name)
  return table.concat({ schema or "", relation, name }, "\0")
end

-- The indexes that are used, as \d shows them.
local function tell_indexes(connection, used)
  local catalog, err = connection:catalog()
  if not catalog then return nil, err end
  local found = {}
  for relation in catalog:relations() do
    for _, index in ipairs(relation:indexes()) do
      if used[key(relation.schema, relation.name, index.name)] then found[#found + 1] = index end
    end
  end
  output.line()
  if #found == 0 then
    output.line(output.style("yellow", "no index is used"))
    return true
  end
  return relations.indexes(connection, found, true)
end

-- The indexes of a node of a plan and of those below it. That of a bitmap has no relation: the node above says which.
local function note_indexes(node, schema, relation, used)
  schema, relation = node.Schema or schema, node["Relation Name"] or relation
  local name = node["Index Name"]
  if name and relation then used[key(schema, relation, name)] = true end
  for _, below in ipairs(node.Plans or {}) do note_indexes(below, schema, relation, used) end
end

-- What EXPLAIN says for people, and for programs: only there an index has its schema. `session` gets both statements.
local function explained(session, query, analyze)
  local rows, err = session:query(("EXPLAIN (%s) %s"):format(analyze and "ANALYZE, BUFFERS" or "COSTS", query))
  if not rows then return nil, err end
  local plans
  plans, err = session:query("EXPLAIN (FORMAT JSON, VERBOSE) " .. query)
  if not plans then return nil, err end
  local used = {}
  for _, each in ipairs(dkjson.decode(plans[1]["QUERY PLAN"])) do
    if type(each) == "table" and each.Plan then note_indexes(each.Plan, nil, nil, used) end
  end
  return { rows = rows, used = used }
end

-- Of a query with parameters, as pg_stat_statements has it: what the server would do whatever they are.
local function explained_prepared(connection, query)
  return connection:transaction(function(tx)
    local ok, err = tx:query "SET LOCAL plan_cache_mode = force_generic_plan"
    if not ok then return nil, err end
    ok, err = tx:query("PREPARE lunadex_query AS " .. query)
    if not ok then return nil, err end
    local counted = tx:query("SELECT cardinality(parameter_types) AS n FROM pg_catalog.pg_prepared_statements"
      .. " WHERE name = 'lunadex_query'")
    local nulls = counted and ("NULL, "):rep(counted[1].n):sub(1, -3) or ""
    local found
    found, err = explained(tx, "EXECUTE lunadex_query" .. (nulls ~= "" and "(" .. nulls .. ")" or ""))
    tx:query "DEALLOCATE lunadex_query"
    return found, err
  end)
end

local function postgres(connection, query, analyze)
  local found, err
  if query:find "%$%d" and not analyze then
    found, err = explained_prepared(connection, query)
  else
    found, err = explained(connection, query, analyze)
  end
  if not found then return nil, err end
  for _, row in ipairs(found.rows) do output.line((format.line(row["QUERY PLAN"]))) end
  return tell_indexes(connection, found.used)
end

-- A stage with what feeds it below it.
local function tell_stage(stage, indent, used, collection)
  local parts = { stage.stage }
  if stage.indexName then
    used[key(nil, collection, stage.indexName)] = true
    parts[#parts + 1] = stage.indexName
  end
  if stage.direction == "backward" then parts[#parts + 1] = "backward" end
  if stage.nReturned then
    parts[#parts + 1] = ("%d returned"):format(stage.nReturned)
    if stage.keysExamined then parts[#parts + 1] = ("%d keys examined"):format(stage.keysExamined) end
    if stage.docsExamined then parts[#parts + 1] = ("%d documents examined"):format(stage.docsExamined) end
  end
  output.line(indent, format.line(table.concat(parts, ", ")))
  local below = { stage.inputStage, stage.thenStage, stage.elseStage, stage.outerStage, stage.innerStage }
  for _, each in pairs(below) do tell_stage(each, indent .. "  ", used, collection) end
  for _, each in ipairs(stage.inputStages or {}) do tell_stage(each, indent .. "  ", used, collection) end
  for _, each in ipairs(stage.shards or {}) do
    tell_stage(each.winningPlan or each.executionStages, indent .. "  ", used, collection)
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

local function mongodb(session, text, analyze)
  local command, collection, fields = text:match "^(%a+)%s+(%S+)%s*(.*)$"
  if not explainable[command] then
    return nil, errors.new("usage", "a command, its collection and its fields are expected",
      "For example: \\explain find users { filter = { email = \"a@b\" } }")
  end
  local chunk, problem = load("return " .. (fields == "" and "{}" or fields), "=input", "t", session.environment)
  if not chunk then return nil, errors.new("usage", problem) end
  local given, parts = chunk(), { command, collection }
  if type(given) ~= "table" then return nil, errors.new("usage", "the fields of a command are a table") end
  for name, value in pairs(given) do
    parts[#parts + 1] = name
    parts[#parts + 1] = value
  end
  if command == "aggregate" and given.cursor == nil then table.move({ "cursor", {} }, 1, 2, #parts + 1, parts) end
  local rows, err = session.connection:query("explain", bson.document(table.unpack(parts)),
    { verbosity = analyze and "executionStats" or "queryPlanner" })
  if not rows then return nil, err end
  local used = {}
  local plan, figures = plan_of(rows[1], analyze)
  if not plan then
    output.line(require("lunadex.cli.repl.show").text(rows[1]))
    return true
  end
  tell_stage(plan, "", used, collection)
  if figures then
    output.line(("%d returned, %d keys and %d documents examined, in %s"):format(figures.nReturned,
      figures.totalKeysExamined, figures.totalDocsExamined, format.duration(figures.executionTimeMillis / 1000)))
  end
  return tell_indexes(session.connection, used)
end

---@param session lunadex.cli.Session
---@param text string
---@return true?
---@return lunadex.Error? err
function M.run(session, text)
  local analyze, query = text:match "^([Aa][Nn][Aa][Ll][Yy][Zz][Ee])%s+(.*)$"
  query = (query or text):gsub(";%s*$", "")
  if query == "" then return nil, errors.new("usage", "\\explain needs a query", "help explain shows how.") end
  if session.driver == "mongodb" then return mongodb(session, query, analyze) end
  return postgres(session.connection, query, analyze)
end

return M
