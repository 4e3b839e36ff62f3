-- The round trip that every definition must survive:
--   declare → apply → plan has nothing to do; snapshot → plan has nothing to do;
--   drop every plain index → apply the snapshot → pg_get_indexdef of every index is what it was, byte for byte.
-- A second database, where PostgreSQL made the same from SQL, says what has to come of it: without that, an option that
-- apply forgets and plan overlooks would pass.
local definitions = require "support.definitions"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local relations = require "support.relations"
local shell = require "support.shell"

local M = {}

---@class support.Trip
---@field server support.Server
---@field version integer
local Trip = {}
Trip.__index = Trip

local helpers = [==[
CREATE FUNCTION base.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLERRM;
END $$;
CREATE FUNCTION base.rename_partition(relation regclass, index_name text, partition regclass, new_name text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE child regclass;
BEGIN
  WITH RECURSIVE below AS (
    SELECT c.oid FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = relation AND relname = index_name
    UNION ALL SELECT inhrelid FROM below JOIN pg_inherits ON inhparent = oid)
  SELECT oid INTO STRICT child FROM below JOIN pg_index ON indexrelid = oid WHERE indrelid = partition;
  EXECUTE format('ALTER INDEX %s RENAME TO %I', child, new_name);
END $$;
-- The relations of the last run and what hangs on them: far quicker than a database for each.
CREATE FUNCTION base.clean() RETURNS void LANGUAGE plpgsql AS $$
DECLARE relations text;
BEGIN
  -- No extension that is used here comes with a table; one that has got one was given it by a spec.
  FOR relations IN SELECT format('ALTER EXTENSION %I DROP TABLE %s', extname, objid::regclass)
    FROM pg_depend JOIN pg_extension e ON e.oid = refobjid JOIN pg_class c ON c.oid = objid
    WHERE classid = 'pg_class'::regclass AND deptype = 'e' AND relkind = 'r'
  LOOP EXECUTE relations; END LOOP;
  SELECT string_agg(format('%I.%I', nspname, relname), ', ') INTO relations
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind = 'm' AND nspname NOT IN ('pg_catalog', 'information_schema');
  IF relations IS NOT NULL THEN EXECUTE 'DROP MATERIALIZED VIEW ' || relations || ' CASCADE'; END IF;
  SELECT string_agg(format('%I.%I', nspname, relname), ', ') INTO relations
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema');
  IF relations IS NOT NULL THEN EXECUTE 'DROP TABLE ' || relations || ' CASCADE'; END IF;
END $$;
-- Whatever apply has to give back from a snapshot.
CREATE FUNCTION base.drop_plain_indexes() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  index_name text;
  dropped bigint = 0;
BEGIN
  FOR index_name IN
    SELECT format('%I.%I', nspname, relname)
    FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname NOT IN ('pg_catalog', 'pg_toast') AND NOT relispartition
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid IN (indexrelid, indrelid)
        AND deptype = 'e')
  LOOP
    EXECUTE 'DROP INDEX ' || index_name;
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;
]==]

--- A server with what definitions may use.
---@param version integer?
---@return support.Trip
function M.new(version)
  local server = pg.start { version = version, settings = { max_locks_per_transaction = 1024 } }
  server:psql("postgres", [[SET allow_in_place_tablespaces = on; CREATE TABLESPACE round_trip LOCATION '';
    CREATE TABLESPACE "Odd ""Space" LOCATION '']])
  server:create_database "prelude"
  server:psql("prelude", relations.prelude .. helpers)
  server:create_database("subject", "TEMPLATE prelude")
  return setmetatable({ server = server, version = server.version, runs = 0 }, Trip)
end

function Trip:stop() self.server:stop() end

-- What there is: one line each, without the names where nobody chose one.
local live_query = [==[
SELECT format('%I.%I', n.nspname, t.relname), c.relname,
  replace(pg_get_indexdef(c.oid), format(' INDEX %I ON ', c.relname), ' INDEX ON ')
    || coalesce(' TABLESPACE ' || s.spcname, '') || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END,
  format('%I.%I', n.nspname, c.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = t.relnamespace LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
UNION ALL
SELECT format('%I.%I', n.nspname, t.relname), CASE WHEN conparentid = 0 THEN conname ELSE '' END,
  -- PostgreSQL 15 to 17 copy ON DELETE SET NULL (columns) to partitions by number, whatever the order of their columns;
  -- pg_get_constraintdef then fails on a number that is not there.
  CASE WHEN conparentid = 0 THEN pg_get_constraintdef(c.oid) ELSE contype::text END
    || CASE WHEN convalidated THEN '' ELSE ' INVALID' END,
  format('constraint %I.%I.%I', n.nspname, t.relname, conname)
FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE contype IN ('p', 'u', 'x', 'f')
ORDER BY 1, 3, 2]==]

local function lines_of(rows, named)
  local lines = {}
  for i, row in ipairs(rows) do
    -- Parentheses around a part of a chain, `(a AND b) AND c`, the parser drops in some places and keeps in others;
    -- that no other index comes of it is what the plan of PostgreSQL's own indexes has to say.
    local text = (row[3]:find " AND " or row[3]:find " OR ") and row[3]:gsub("[()]", "") or row[3]
    lines[i] = ("%s %s: %s"):format(row[1], named[row[2]] and row[2] or "(any name)", text)
  end
  table.sort(lines)
  return lines
end

local function by_name(rows)
  local map = {}
  for _, row in ipairs(rows) do map[row[4]] = row[3] end
  return map
end

-- What is in one list and not in the other, both ways; nil if nothing.
local function difference(expected, actual)
  local count, lines = {}, {}
  for _, line in ipairs(expected) do count[line] = (count[line] or 0) + 1 end
  for _, line in ipairs(actual) do count[line] = (count[line] or 0) - 1 end
  for line, number in pairs(count) do
    if number ~= 0 then lines[#lines + 1] = (number > 0 and "expected " or "got      ") .. line end
  end
  table.sort(lines)
  return #lines > 0 and table.concat(lines, "\n") or nil
end

local function difference_by_name(expected, actual)
  local a, b = {}, {}
  for name, text in pairs(expected) do a[#a + 1] = name .. ": " .. text end
  for name, text in pairs(actual) do b[#b + 1] = name .. ": " .. text end
  return difference(a, b)
end

---@class support.TripSubject
---@field setup string            # relations
---@field statements string[]?    # what PostgreSQL makes the same from
---@field registry string
---@field named table<string, boolean>  # names that somebody chose
---@field mode string?
---@field strays boolean?         # there are indexes that the registry does not name

local function steps(self, subject, database, expected)
  local url = self.server:url(database)
  local path = lunadex.registry(subject.registry)
  local function run(stage, ...)
    local arguments = { ... }
    arguments[#arguments + 1] = "--target"
    arguments[#arguments + 1] = url
    arguments.seconds = 300
    self.runs = self.runs + 1
    local result = lunadex.run(arguments)
    if result.status ~= 0 then return { stage = stage, text = tostring(result) }, result end
    return nil, result
  end
  local function live() return self.server:psql(database, live_query) end
  -- Exit 0 alone might mean that nothing was looked at.
  local function nothing_to_do(stage, file, whole)
    local failure, result = run(stage, "plan", file, "--detailed-exitcode", "--json")
    if failure then return failure end
    local summary = result:json().summary
    if summary.keep ~= summary.declared or summary.declared == 0 or (whole and summary.stray > 0) then
      return { stage = stage, text = tostring(result) }
    end
    return nil, summary
  end

  local failure, summary
  if subject.statements then
    failure = nothing_to_do("plan of what PostgreSQL made", path)
    if failure then return failure end
    self.server:psql(database, "SELECT base.clean();\n" .. subject.setup)
  end
  failure = run("apply", "apply", path, "--fail-on", "any", "--mode", subject.mode or "auto")
  if failure then return failure end
  local before = live()
  if expected then
    local text = difference(lines_of(expected, subject.named), lines_of(before, subject.named))
    if text then return { stage = "apply made something else than PostgreSQL", text = text } end
  end
  failure, summary = nothing_to_do("plan after apply", path)
  if failure then return failure end
  if subject.count and summary.declared ~= subject.count then
    return { stage = "count", text = ("%d declared, %d planned"):format(subject.count, summary.declared) }
  end

  local snapshot = shell.directory "snapshot" .. "/registry.lua"
  failure = run("snapshot", "snapshot", "-o", snapshot)
    or nothing_to_do("plan of the snapshot", snapshot, true)
  if failure then
    failure.text = failure.text .. "\n--- snapshot\n" .. (shell.read_file(snapshot) or "")
    return failure
  end
  self.server:psql(database, "SELECT base.drop_plain_indexes()")
  failure = run("apply of the snapshot", "apply", snapshot, "--fail-on", "any")
  if not failure then
    local text = difference_by_name(by_name(before), by_name(live()))
    if text then failure = { stage = "the snapshot made something else", text = text } end
  end
  failure = failure or nothing_to_do("plan after the snapshot", snapshot, true)
    or nothing_to_do("plan of the registry after the snapshot", path)
  if failure then
    failure.text = failure.text .. "\n--- snapshot\n" .. shell.read_file(snapshot)
  end
  return failure
end

--- Runs one subject through everything: nil, or what failed.
---@param subject support.TripSubject
---@return {stage: string, text: string}?
function Trip:run(subject)
  local expected
  if subject.statements then
    -- What PostgreSQL makes of it, in a transaction that is rolled back.
    local made = table.concat(subject.statements, ";\n") .. ";\n"
    expected = self.server:psql("prelude", "BEGIN;\n" .. subject.setup .. made .. live_query)
    for i = #expected, 1, -1 do
      if expected[i].n ~= 4 then table.remove(expected, i) end -- rows of the statements themselves
    end
  end
  self.server:psql("subject", "SELECT base.clean();\n" .. subject.setup
    .. table.concat(subject.statements or {}, ";\n"))
  return steps(self, subject, "subject", expected)
end

-- Cases ---------------------------------------------------------------------------------------------------------------

local literal = function(text) return "'" .. text:gsub("'", "''") .. "'" end

-- String literals of try(): backslashes mean themselves.
local function try(statement) return "SELECT base.try(" .. literal(statement) .. ");\n" end

local function setup_of(cases)
  local parts, seen = {}, {}
  for _, case in ipairs(cases) do
    if not seen[case.relation.number] then
      parts[#parts + 1] = relations.sql(case.relation)
      seen[case.relation.number] = true
    end
    parts[#parts + 1] = definitions.setup(case)
  end
  return table.concat(parts)
end

--- Those that the server accepts and that no other repeats; and why it refused the others.
---@param cases support.Case[]
---@return support.Case[] valid
---@return {case: support.Case, message: string}[] refused
---@return string? message        # the relations themselves cannot be made
function Trip:valid(cases)
  local parts = { "BEGIN;\nCREATE TABLE base.marker (oid oid);\n", setup_of(cases) }
  for i, case in ipairs(cases) do
    -- Its own indexes, to see below whether another case made the same.
    parts[#parts + 1] = try(definitions.sql(case))
    parts[#parts + 1] = ("SELECT 'made', %d, indrelid, replace(pg_get_indexdef(indexrelid),"
      .. " format(' INDEX %%I ON ', relname), ' INDEX ON ') FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
      .. " WHERE indexrelid > (SELECT coalesce(max(oid), 0) FROM base.marker) AND indrelid IN (%s::regclass);\n"
      .. "TRUNCATE base.marker; INSERT INTO base.marker SELECT max(indexrelid) FROM pg_index;\n"):format(i,
        literal(definitions.table_of(case)))
  end
  local rows, message = self.server:try("prelude", table.concat(parts))
  if not rows then return {}, {}, message end
  local valid, refused, seen = {}, {}, {}
  local at = 0
  for _, row in ipairs(rows) do
    if row[1] ~= "made" then
      at = at + 1
      if row[1] then refused[#refused + 1] = { case = cases[at], message = row[1] } else valid[at] = cases[at] end
    elseif valid[at] then
      local key = row[3] .. row[4]
      if seen[key] then
        valid[at] = nil
        refused[#refused + 1] = { case = cases[at], message = "repeats " .. seen[key].number }
      else
        seen[key] = cases[at]
      end
    end
  end
  local list = {}
  for i, case in ipairs(cases) do
    if valid[i] then list[#list + 1] = case end
  end
  return list, refused
end

--- Runs some valid cases together.
---@param cases support.Case[]
---@param mode string?
---@return {stage: string, text: string}?
function Trip:cases(cases, mode)
  local statements, named, count = {}, {}, 0
  for _, case in ipairs(cases) do
    count = count + 1
    statements[#statements + 1] = definitions.sql(case)
    if case.name then named[case.name] = true end
    if case.again then
      count = count + 1
      named[case.again] = true
      statements[#statements + 1] = definitions.sql(definitions.called(case, case.again))
    end
    for _, item in ipairs(definitions.partition_names(case)) do
      named[item[3]] = true
      statements[#statements + 1] = ("SELECT base.rename_partition(%s, %s, %s, %s)"):format(
        literal(definitions.table_of(case)), literal(case.name),
        literal(relations.identifier(item[1]) .. "." .. relations.identifier(item[2])), literal(item[3]))
    end
  end
  return self:run { setup = setup_of(cases), statements = statements, registry = definitions.registry(cases),
    named = named, count = count, mode = mode }
end

--- The smallest part of `cases` that still fails: one case, unless it takes several.
---@param cases support.Case[]
---@param mode string?
---@return support.Case[]
function Trip:guilty(cases, mode)
  local parts = 2
  while #cases > 1 do
    local size = math.max(1, #cases // parts)
    local found
    for from = 1, #cases, size do
      local part = table.move(cases, from, math.min(from + size - 1, #cases), 1, {})
      if #part < #cases and self:cases(part, mode) then
        cases, parts, found = part, 2, true
        break
      end
    end
    if not found then
      if size == 1 or parts >= 8 then break end -- they fail together only
      parts = parts * 2
    end
  end
  return cases
end

--- Makes one failing case smaller, as long as it goes on failing in the same place.
---@param case support.Case
---@param mode string?
---@return support.Case
---@return {stage: string, text: string} failure
---@return integer steps
function Trip:shrink(case, mode)
  local failure = assert(self:cases({ case }, mode), "the case does not fail")
  local count, again = 0, true
  while again do
    again = false
    for _, smaller in ipairs(definitions.smaller(case)) do
      if #(self:valid { smaller }) == 1 then
        local other = self:cases({ smaller }, mode)
        if other and other.stage == failure.stage then
          case, failure, count, again = smaller, other, count + 1, true
          break
        end
      end
    end
  end
  return case, failure, count
end

--- Everything that a person needs to see of a failure.
---@param cases support.Case[]
---@param mode string?
---@param failure {stage: string, text: string}  # of all of them together
---@return string
function Trip:explain(cases, mode, failure)
  if not self:cases(cases, mode) then
    return ("PostgreSQL %d, seed %d, cases %d to %d, mode %s: %s; it did not fail a second time\n%s"):format(
      self.version, cases[1].seed, cases[1].number, cases[#cases].number, mode or "auto", failure.stage, failure.text)
  end
  local guilty, count = self:guilty(cases, mode), nil
  local first = guilty[1]
  local numbers = {}
  for i, case in ipairs(guilty) do numbers[i] = case.number end
  if #guilty == 1 then
    guilty[1], failure, count = self:shrink(first, mode)
  else
    failure = self:cases(guilty, mode) or failure
  end
  return ([[
PostgreSQL %d, seed %d, case %s, mode %s: %s
run it alone: LUNADEX_SEED=%d LUNADEX_CASE=%d
--- smallest registry (after %d steps)
%s--- relation
%s--- what differs
%s]]):format(self.version, first.seed, table.concat(numbers, " and "), mode or "auto", failure.stage, first.seed,
    first.number, count or 0, definitions.registry(guilty), setup_of(guilty), failure.text)
end

return M
