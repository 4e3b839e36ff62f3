--- What rules may ask of the server.

local errors = require "lunadex.errors"

local M = {}

--- Types of columns by the server's numbers, which never change; others have no name here.
M.types = {
  [16] = "boolean", [17] = "bytea", [20] = "bigint", [21] = "smallint", [23] = "integer", [25] = "text", [114] = "json",
  [700] = "real", [701] = "double precision", [1042] = "character", [1043] = "character varying", [1082] = "date",
  [1083] = "time", [1114] = "timestamp", [1184] = "timestamp with time zone", [1700] = "numeric", [2950] = "uuid",
  [3802] = "jsonb",
}

--- The transactions of other sessions of this database, the oldest first; with an error, if there are some into which
--- this user may not look: of these the server tells that they hold something up, but not since when.
---@param plan lunadex.Plan
---@return {pid: integer, application: string, user: string, seconds: number, state: string}[]?
---@return lunadex.Error? err
function M.transactions(plan)
  local rows, err = plan.connection:ask [[
    SELECT pid, coalesce(application_name, '') AS application, coalesce(usename, '') AS "user",
           extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds, coalesce(state, '') AS state
    FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND (xact_start IS NOT NULL AND backend_type = 'client backend'
        OR query = '<insufficient privilege>' AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL))
    ORDER BY xact_start]]
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

-- The relation and what is part of it, as EXPLAIN writes them.
local function names_of(relation, names)
  names[relation.display] = true
  for _, partition in ipairs(relation:partitions()) do names_of(partition, names) end
  return names
end

-- The plan that the server makes of a statement, whatever its parameters are; where an index can be used, it is.
local function explained(connection, sql)
  -- It follows a word of ours: nothing may follow it.
  local statement = sql:gsub("[%s;]+$", "")
  if statement:find(";", 1, true) then return nil, errors.new("usage", "the query holds a semicolon") end
  local parameters = 0
  for number in statement:gmatch "%$(%d+)" do parameters = math.max(parameters, math.min(tonumber(number), 1000)) end
  local nulls = parameters > 0 and "(" .. ("NULL, "):rep(parameters):sub(1, -3) .. ")" or ""
  -- One by one: a session that only reads takes no several statements at a time.
  return connection:atomically(function(tx)
    local rows, err
    for _, each in ipairs {
      [[SELECT pg_catalog.set_config(name, value, true) FROM (VALUES ('transaction_read_only', 'on'),
        ('lock_timeout', '2s'), ('enable_seqscan', 'off'), ('plan_cache_mode', 'force_generic_plan')) s(name, value)]],
      "DEALLOCATE ALL", "PREPARE lunadex_query AS " .. statement,
      "EXPLAIN (VERBOSE, COSTS OFF) EXECUTE lunadex_query" .. nulls,
    } do
      rows, err = tx:ask(each)
      if not rows then return nil, err end
    end
    return rows
  end)
end

--- For each declared query that is to have an index: whether one serves it, by the server's own plan, and which.
--- Nothing is said of relations on which something is still to be built.
---@param plan lunadex.Plan
---@param scene lunadex.rules.Scene
---@return table<table, {served: boolean?, uses: string[]?, refused: string?}>?
---@return lunadex.Error? err
function M.explain(plan, scene)
  local found, unfinished = {}, {}
  for _, change in ipairs(plan.planned) do
    if change.action ~= "keep" and change.action ~= "drop" then unfinished[change.relation] = true end
  end
  for name, data in pairs(scene:relations()) do
    local relation = name == data.name and data.on or nil
    for _, query in ipairs(relation and not unfinished[name] and data.info and data.info.queries or {}) do
      if query.expect_index then
        local rows, err = explained(plan.connection, query.sql)
        if not rows and (err.code == "cancelled" or err.code == "connect") then return nil, err end
        found[query] = rows and { served = true, uses = {} } or { refused = err.message }
        local names = names_of(relation, {})
        for _, row in ipairs(rows or {}) do
          local line = row["QUERY PLAN"]
          local scanned = line:match "Seq Scan on (%S+)"
          if scanned and names[scanned] then found[query].served = false end
          local used = line:match "Index S%a+ using (%S+)" or line:match "Index Only Scan using (%S+)"
            or line:match "Index Scan Backward using (%S+)" or line:match "Index Only Scan Backward using (%S+)"
            or line:match "Bitmap Index Scan on (%S+)"
          if used then table.insert(found[query].uses, used) end
        end
      end
    end
  end
  return found
end

return M
