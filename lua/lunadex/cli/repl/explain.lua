--- How a query is run, by the server's own word, and the indexes it uses.

local errors = require "lunadex.errors"
local format = require "lunadex.format"
local output = require "lunadex.cli.output"
local relations = require "lunadex.cli.repl.relations"

local M = {}

M.help = [[
On PostgreSQL: \explain SELECT …; on MongoDB a command with its fields in Lua: \explain find users { filter = { email =
"…" } }. With `analyze` behind \explain the query is run and its real figures are shown. The indexes that are used come
below the plan, with size and state.]]

-- The indexes of these names, as \d shows them.
local function tell_indexes(connection, names)
  local catalog, err = connection:catalog()
  if not catalog then return nil, err end
  local found = {}
  for relation in catalog:relations() do
    for _, index in ipairs(relation:indexes()) do
      local wanted = names[index.name]
      if wanted == true or wanted == relation.name then found[#found + 1] = index end
    end
  end
  output.line()
  if #found == 0 then
    output.line(output.style("yellow", "no index is used"))
    return true
  end
  return relations.indexes(connection, found, true)
end

local function postgres(connection, query, analyze)
  local rows, err = connection:query(("EXPLAIN (%s) %s"):format(analyze and "ANALYZE, BUFFERS" or "COSTS", query))
  if not rows then return nil, err end
  local names = {}
  for _, row in ipairs(rows) do
    local line = row["QUERY PLAN"]
    output.line((format.line(line)))
    local name = line:match "Index [%a ]*Scan [%a ]*using (.-) on " or line:match "Bitmap Index Scan on (.-)  %("
    if name then names[name:match '^"(.*)"$' or name] = true end
  end
  return tell_indexes(connection, names)
end

-- A stage with what feeds it below it.
local function tell_stage(stage, indent, names, collection)
  local parts = { stage.stage }
  if stage.indexName then
    names[stage.indexName] = collection
    parts[#parts + 1] = stage.indexName
  end
  if stage.direction == "backward" then parts[#parts + 1] = "backward" end
  if stage.nReturned then
    parts[#parts + 1] = ("%d returned"):format(stage.nReturned)
    if stage.keysExamined then parts[#parts + 1] = ("%d keys examined"):format(stage.keysExamined) end
    if stage.docsExamined then parts[#parts + 1] = ("%d documents examined"):format(stage.docsExamined) end
  end
  output.line(indent, format.line(table.concat(parts, ", ")))
  if stage.stage == "COLLSCAN" then names.scans = true end
  local below = { stage.inputStage, stage.thenStage, stage.elseStage, stage.outerStage, stage.innerStage }
  for _, each in pairs(below) do tell_stage(each, indent .. "  ", names, collection) end
  for _, each in ipairs(stage.inputStages or {}) do tell_stage(each, indent .. "  ", names, collection) end
  for _, each in ipairs(stage.shards or {}) do
    tell_stage(each.winningPlan or each.executionStages, indent .. "  ", names, collection)
  end
end

-- Where the plan stands depends on the command and on the server's engine.
local function plan_of(reply, analyze)
  local first = reply.stages and reply.stages[1] and reply.stages[1]["$cursor"] or reply
  if analyze and first.executionStats then return first.executionStats.executionStages, first.executionStats end
  local winning = first.queryPlanner and first.queryPlanner.winningPlan
  return winning and (winning.queryPlan or winning)
end

local function mongodb(session, text, analyze)
  local command, collection, fields = text:match "^(%a+)%s+(%S+)%s*(.*)$"
  if not command then
    return nil, errors.new("usage", "a command, its collection and its fields are expected",
      "For example: \\explain find users { filter = { email = \"a@b\" } }")
  end
  local chunk, problem = load("return " .. (fields == "" and "{}" or fields), "=input", "t", session.environment)
  if not chunk then return nil, errors.new("usage", problem) end
  local lunadex, parts = session.environment.lunadex, { command, collection }
  for name, value in pairs(chunk()) do
    parts[#parts + 1] = name
    parts[#parts + 1] = value
  end
  local rows, err = session.connection:query("explain", lunadex.bson.document(table.unpack(parts)),
    { verbosity = analyze and "executionStats" or "queryPlanner" })
  if not rows then return nil, err end
  local names = {}
  local plan, figures = plan_of(rows[1], analyze)
  if not plan then
    output.line(require("lunadex.cli.repl.show").text(rows[1]))
    return true
  end
  tell_stage(plan, "", names, collection)
  if figures then
    output.line(("%d returned, %d keys and %d documents examined, in %s"):format(figures.nReturned,
      figures.totalKeysExamined, figures.totalDocsExamined, format.duration(figures.executionTimeMillis / 1000)))
  end
  return tell_indexes(session.connection, names)
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
