--- lunadex status: what is being built now, whom it waits for, what was left over, who holds the run lock, backfills
--- that are not at their end, and the last runs where they were recorded.

local common = require "lunadex.cli.common"
local dialects = require "lunadex.dialect"
local dkjson = require "dkjson"
local format = require "lunadex.format"
local history = require "lunadex.history"
local json = require "lunadex.cli.json"
local output = require "lunadex.cli.output"
local standing = require "lunadex.cli.standing"
local standings = require "lunadex.backfill.standing"

local M = {}

M.summary = "what is being built now, whom it waits for, leftovers, backfills, the last runs"

M.examples = [[
  lunadex status --target postgresql://app@db/shop
  lunadex status --json]]

M.without_registry = true

---@param _ table                  # of argparse
function M.define(_) end

-- Rows by what they tell of.
local function sort_out(rows)
  local builds, invalid, seen, lock = {}, {}, {}, nil
  for _, record in ipairs(rows) do
    if record.kind == "build" then
      record.kind = nil
      builds[#builds + 1] = record
      seen[(record.relation or "") .. "\0" .. (record.name or "")] = true
    elseif record.kind == "run_lock" then
      lock = { pid = record.pid, who = record.who, unknown = record.detail, relation = record.relation,
        blocker = record.blocker }
    else
      invalid[#invalid + 1] = record
    end
  end
  -- What is told as a build need not be told again as an index that is not ready yet.
  local rest = {}
  for _, record in ipairs(invalid) do
    local key = (record.relation or "") .. "\0" .. (record.name or "")
    if not (record.kind == "being_built" and seen[key]) then rest[#rest + 1] = record end
  end
  return builds, rest, lock
end

local words = {
  being_built = "being built", incomplete = "incomplete", reindex_leftover = "left by REINDEX",
  half_dropped = "half dropped", leftover = "leftover", replacement = "replacement", replaced = "replaced",
  moved = "renamed half-way", unnamed_part = "part", null_check = "check for nulls", not_validated = "not validated",
  prepared = "half unique",
}

-- What queries do not use. The rest works, and only waits for somebody to finish it.
local invalid_kinds = {
  being_built = true, incomplete = true, reindex_leftover = true, half_dropped = true, leftover = true,
}

local colours = { finished = "green", running = "blue", failed = "red", killed = "red" }

local function tell_run(run)
  local parts = { ("%d of %d done"):format(run.done, run.planned) }
  if run.failed > 0 then parts[#parts + 1] = run.failed .. " failed" end
  if run.unfinished then parts[#parts + 1] = (run.outcome == "running" and "at " or "while at ") .. run.unfinished end
  if run.error then parts[#parts + 1] = run.error end
  output.line(format.line(("  run %-6d %s  "):format(run.id, run.started)),
    output.style(colours[run.outcome] or "yellow", run.outcome),
    format.line(("%s: %s; by %s"):format(run.seconds and " in " .. format.duration(run.seconds) or "",
      table.concat(parts, ", "), run.who)))
end

-- Those that are not at their end, and are somebody's business now.
local function under_way(states)
  local list = {}
  for _, state in ipairs(states) do
    if state.state ~= "finished" and state.state ~= "new" then list[#list + 1] = standings.of(state) end
  end
  return list
end

local function tell(info, builds, invalid, lock, runs, backfills)
  output.line(output.style("bold", info.database), "  ", info.display, "   ", info.product, " ", info.version)
  for _, build in ipairs(builds) do
    local parts = { build.phase or "starting" }
    if build.percent then parts[#parts + 1] = ("%.0f %%"):format(build.percent) end
    parts[#parts + 1] = "by " .. (build.who or "pid " .. tostring(build.pid))
    output.line("  ", output.style("blue", "building"), "  ", format.line(("%s %s: %s"):format(build.relation or "?",
      build.name or "?", table.concat(parts, ", "))))
    if build.blocker then output.line("    ", output.style("yellow", format.line("blocked by " .. build.blocker))) end
  end
  for _, index in ipairs(invalid) do
    local parts = { words[index.kind] or index.kind }
    if index.detail then parts[#parts + 1] = index.detail end
    if index.bytes then parts[#parts + 1] = format.bytes(index.bytes) end
    if index.who then parts[#parts + 1] = "by " .. index.who end
    local heading = invalid_kinds[index.kind] and "invalid " or "left    "
    output.line("  ", output.style("magenta", heading), "  ", format.line(("%s %s: %s"):format(index.relation or "?",
      index.name, table.concat(parts, "; "))))
  end
  if lock and lock.unknown then
    local text = "who holds it cannot be read: " .. lock.unknown
    output.line("  ", "run lock   ", output.style("yellow", format.line(text)))
  elseif lock then
    output.line("  ", "run lock   held by ", format.line(lock.who or "pid " .. tostring(lock.pid)))
    if lock.blocker then
      local text = ("changes of %s wait for %s"):format(lock.relation, lock.blocker)
      output.line("    ", output.style("yellow", format.line(text)))
    end
  end
  for _, state in ipairs(backfills) do standing.tell(state) end
  if #builds == 0 and #invalid == 0 and not lock then
    output.line("  nothing is being built, nothing is left over, nobody holds the run lock")
  end
  for _, run in ipairs(runs or {}) do tell_run(run) end
end

---@param options table
---@return integer status
function M.run(options)
  local connection, err = common.open(options)
  if not connection then return common.fail(err, options) end
  local closing <close> = connection -- luacheck: ignore 211
  local info, rows
  info, err = connection:connect()
  if not info then return common.fail(err, options) end
  rows, err = connection:status()
  if not rows then return common.fail(err, options) end
  local builds, invalid, lock = sort_out(rows)
  local runs, problem = history.read(connection)
  if problem then output.complain("warning: the history cannot be read: " .. problem.message) end
  local backfills
  backfills, problem = dialects.of(info.driver).ledger.read(connection)
  if problem then output.complain("warning: the backfills cannot be read: " .. problem.message) end
  backfills = under_way(backfills or {})
  if options.json then
    output.line(json.encode { target = info.display, builds = builds, invalid = invalid, lock = lock or dkjson.null,
      history = runs or dkjson.null, backfills = setmetatable(backfills, { __jsontype = "array" }) })
  else
    tell(info, builds, invalid, lock, runs, backfills)
  end
  return 0
end

return M
