--- What rules may ask of the server.

local core = require "lunadex.core"
local dkjson = require "dkjson"
local errors = require "lunadex.errors"

local M = {}

--- Types of columns by the server's numbers, which never change; others have no name here.
M.types = {
  [16] = "boolean", [17] = "bytea", [20] = "bigint", [21] = "smallint", [23] = "integer", [25] = "text", [114] = "json",
  [700] = "real", [701] = "double precision", [1042] = "character", [1043] = "character varying", [1082] = "date",
  [1083] = "time", [1114] = "timestamp", [1184] = "timestamp with time zone", [1700] = "numeric", [2950] = "uuid",
  [3802] = "jsonb",
}

--- The columns of which a predicate is true for no null, and whether it says no more than that they are not.
M.excluded_nulls = core.excluded_nulls

--- By relation, the columns that a check of it, which is known to hold of all rows, keeps nulls out of.
---@param plan lunadex.Plan
---@return table<string, table<string, true>>?
---@return lunadex.Error? err
function M.null_checks(plan)
  -- Only what tests for null can be false for one.
  local rows, err = plan.connection:ask [[
    SELECT n.nspname AS schema, c.relname AS relation, pg_catalog.pg_get_expr(k.conbin, k.conrelid) AS "check"
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'c' AND k.convalidated AND k.conbin::text ~ 'NULLTEST|BOOLEANTEST']]
  if not rows then return nil, err end
  local found = {}
  for _, row in ipairs(rows) do
    local name = core.quote_name(row.schema, row.relation)
    for _, column in ipairs(core.excluded_nulls(row.check, true) or {}) do
      found[name] = found[name] or {}
      found[name][column] = true
    end
  end
  return found
end

--- By relation and name, how many seconds ago recorded runs (docs/history.md) made indexes: the server itself knows
--- of none how old it is, unless it keeps the times of commits.
---@param plan lunadex.Plan
---@return table<string, number>?
---@return lunadex.Error? err
function M.ages(plan)
  local found = {}
  local rows, err = plan.connection:ask [[
    SELECT 1 AS readable FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'lunadex' AND c.relname = 'change'
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')]]
  if not rows then return nil, err elseif #rows == 0 then return found end
  rows, err = plan.connection:ask [[
    SELECT relation, name, extract(epoch FROM now() - max(started + seconds * interval '1 second'))::float8 AS age
    FROM lunadex.change WHERE outcome IN ('created', 'replaced', 'rebuilt') GROUP BY relation, name]]
  if not rows then return nil, err end
  for _, row in ipairs(rows) do found[row.relation .. "\0" .. row.name] = row.age end
  return found
end

--- The transactions of other sessions of this database, and those that are prepared, the oldest first; with an error,
--- if there are some into which this user may not look: of these the server tells that they hold something up, but not
--- since when.
---@param plan lunadex.Plan
---@return {pid: integer?, application: string, user: string, seconds: number, state: string}[]?
---@return lunadex.Error? err
function M.transactions(plan)
  local rows, err = plan.connection:ask [[
    SELECT pid, coalesce(application_name, '') AS application, coalesce(usename, '') AS "user",
           extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds, coalesce(state, '') AS state
    FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND (xact_start IS NOT NULL AND backend_type = 'client backend'
        OR query = '<insufficient privilege>' AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL))
    UNION ALL
    SELECT NULL, gid, owner, extract(epoch FROM clock_timestamp() - prepared)::float8, 'prepared'
    FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()
    ORDER BY seconds DESC]]
  if not rows then return nil, err end
  local seen, hidden = {}, 0
  for _, row in ipairs(rows) do
    if row.seconds then seen[#seen + 1] = row else hidden = hidden + 1 end
  end
  if hidden == 0 then return seen end
  return seen, errors.new("hidden", ("%d of other roles %s open, since when is hidden"):format(hidden,
    hidden == 1 and "is" or "are"), "GRANT pg_read_all_stats lets this one see it.")
end

--- PostgreSQL does not tell how much room its disks have.
---@return nil
---@return lunadex.Error err
function M.disk()
  return nil, errors.new("unsupported", "PostgreSQL does not tell how much room its disks have",
    'rule "disk-space" { options = { free = "80GB" } } says it.')
end

-- A relation and what is part of it, by schema and name.
local function parts_of(relation, parts)
  parts[relation.schema .. "\0" .. relation.name] = true
  for _, partition in ipairs(relation:partitions()) do parts_of(partition, parts) end
  return parts
end

-- The plan that the server makes of a statement, whatever its parameters are; where an index can be used, it is.
local function explained(connection, sql)
  -- It follows a word of ours: nothing may follow it.
  local statement = sql:gsub("[%s;]+$", "")
  local parameters, flaw = core.parameters(statement)
  if not parameters then return nil, errors.new("usage", "the query holds " .. flaw.message:match "^[^;]*") end
  local count = 0
  for _, each in ipairs(parameters) do count = math.max(count, math.min(tonumber(each:sub(2)), 1000)) end
  local nulls = count > 0 and "(NULL" .. (", NULL"):rep(count - 1) .. ")" or ""
  -- One by one: a session that only reads takes no several statements at a time.
  return connection:atomically(function(tx)
    local rows, err
    for _, each in ipairs {
      [[SELECT pg_catalog.set_config(name, value, true) FROM (VALUES ('transaction_read_only', 'on'),
        ('lock_timeout', '2s'), ('enable_seqscan', 'off'), ('plan_cache_mode', 'force_generic_plan')) s(name, value)]],
      "DEALLOCATE ALL", "PREPARE lunadex_query AS " .. statement,
      "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) EXECUTE lunadex_query" .. nulls,
    } do
      rows, err = tx:ask(each)
      if not rows then return nil, err end
    end
    return dkjson.decode(rows[1]["QUERY PLAN"])[1].Plan
  end)
end

-- Calls `take` with each node of a plan and the relation that it reads: the index of a bitmap has that of a node above.
local function walk(node, take, schema, relation)
  schema, relation = node.Schema or schema, node["Relation Name"] or relation
  take(node, schema, relation)
  for _, below in ipairs(node.Plans or {}) do walk(below, take, schema, relation) end
end

-- What a registry calls an index that is used: on a partition, the whole that it is part of.
local function name_on(relation, catalog, schema, name)
  local index = catalog:index(schema, name)
  while index and index.parent and index.relation.display ~= relation.display do index = index.parent end
  return index and index.name or name
end

-- Whether a plan reads nothing of the relation without an index, and which ones it uses.
local function answer_of(plan, relation, catalog)
  local answer, parts, used = { served = true, uses = {} }, parts_of(relation, {}), {}
  walk(plan, function(node, schema, name)
    if node["Node Type"] == "Seq Scan" and parts[schema .. "\0" .. name] then answer.served = false end
    local index = node["Index Name"] and name_on(relation, catalog, schema, node["Index Name"])
    if index and not used[index] then
      used[index] = true
      table.insert(answer.uses, index)
    end
  end)
  return answer
end

--- For each declared query that is to have an index: whether one serves it, by the server's own plan, and which.
--- Nothing is said of relations on which something is still to be built.
---@param plan lunadex.Plan
---@param scene lunadex.rules.Scene
---@return table<table, {served: boolean?, uses: string[]?, refused: string?}>?
---@return lunadex.Error? err
function M.explain(plan, scene)
  local found, unfinished = {}, {}
  for change in plan:work() do
    if change.action ~= "drop" then unfinished[change.relation] = true end
  end
  for name, data in pairs(scene:relations()) do
    local relation = name == data.name and data.on or nil
    for _, query in ipairs(relation and not unfinished[name] and data.info and data.info.queries or {}) do
      if query.expect_index then
        local explanation, err = explained(plan.connection, query.sql)
        if not explanation and (err.code == "cancelled" or err.code == "connect") then return nil, err end
        found[query] = explanation and answer_of(explanation, relation, plan.catalog) or { refused = err.message }
      end
    end
  end
  return found
end

return M
