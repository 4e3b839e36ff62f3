--- How the server runs a query: see lunadex.Explained.

local dkjson = require "dkjson"
local format = require "lunadex.format"

local M = {}

-- The indexes of a node of a plan and of those below it. That of a bitmap has no relation: the node above says which.
local function note_indexes(node, schema, relation, uses)
  schema, relation = node.Schema or schema, node["Relation Name"] or relation
  local name = node["Index Name"]
  if name and relation then uses[#uses + 1] = { schema = schema, relation = relation, name = name } end
  for _, below in ipairs(node.Plans or {}) do note_indexes(below, schema, relation, uses) end
end

-- What EXPLAIN says for people, and for programs: only there an index has its schema. `session` gets both statements.
local function explained(session, query, analyze)
  local rows, err = session:query(("EXPLAIN (%s) %s"):format(analyze and "ANALYZE, BUFFERS" or "COSTS", query))
  if not rows then return nil, err end
  local plans
  plans, err = session:query("EXPLAIN (FORMAT JSON, VERBOSE) " .. query)
  if not plans then return nil, err end
  local found = { lines = {}, uses = {} }
  for i, row in ipairs(rows) do found.lines[i] = format.line(row["QUERY PLAN"]) end
  for _, each in ipairs(dkjson.decode(plans[1]["QUERY PLAN"])) do
    if type(each) == "table" and each.Plan then note_indexes(each.Plan, nil, nil, found.uses) end
  end
  return found
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

--- Explains a statement of SQL.
---@param connection lunadex.Connection
---@param query string
---@param analyze boolean
---@return lunadex.Explained?
---@return lunadex.Error? err
function M.told(connection, query, analyze)
  if query:find "%$%d" and not analyze then return explained_prepared(connection, query) end
  return explained(connection, query, analyze)
end

return M
