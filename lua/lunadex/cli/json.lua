--- What machines read: the plan as one object, events as one object a line.

local core = require "lunadex.core"
local dkjson = require "dkjson"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local output = require "lunadex.cli.output"

local M = {}

-- The order in which keys appear, so that equal plans are equal texts.
local order = {
  keyorder = {
    "event", "number", "total", "action", "hide", "outcome", "target", "database", "relation", "name", "live_name",
    "definition", "reason", "waits", "mode", "critical", "description", "estimate", "findings", "level", "rule",
    "message", "hint", "verdict", "amend", "allowed", "file", "line", "rows", "table_bytes", "index_bytes", "code",
    "detail", "native", "phase", "percent", "done", "of",
    "unit", "rate", "seconds_left", "groups", "group", "key", "ids", "seconds", "attempts", "declared", "live", "keep",
    "create", "replace", "rename", "alter", "rebuild", "drop", "wait", "blocked", "skipped", "put_off", "stray",
    "error", "created", "failed", "dropped", "renamed", "altered", "replaced", "rebuilt", "cancelled", "summary",
  },
  exception = function(_, value) return value == core.null and "null" or nil end,
}

-- Names, messages and rows may hold any bytes.
---@param value any
---@return string
function M.encode(value)
  return format.utf8(dkjson.encode(value, order))
end

local null = dkjson.null
local quote = dkjson.quotestring

local function or_null(value)
  if value == nil then return null end
  return value
end

local function finding(each)
  return {
    level = each.level, rule = each.rule, message = each.message, hint = each.hint, relation = each.relation,
    name = each.name, definition = each.definition, file = each.file, line = each.line, live_name = each.live_name,
    verdict = each.verdict, amend = each.amend, allowed = each.allowed,
  }
end

---@param list lunadex.Finding[]
---@return table[]
local function findings(list)
  local result = {}
  for i, each in ipairs(list) do result[i] = finding(each) end
  return result
end

local function change(each)
  local estimate = each.estimate
  return M.encode {
    action = each.action, relation = each.relation, name = or_null(each.name), live_name = or_null(each.live_name),
    definition = each.definition, reason = each.reason, critical = each.critical,
    description = or_null(each.description),
    estimate = {
      rows = or_null(estimate.rows), table_bytes = or_null(estimate.table_bytes),
      index_bytes = or_null(estimate.index_bytes), seconds = or_null(estimate.seconds),
    },
    findings = findings(each.findings), waits = each.waits, held = each.held, mode = each.entry and each.entry.mode,
  }
end

local function figure(number)
  return number and ("%.0f"):format(number) or "null"
end

-- A plain keep: by far the most frequent one, and it has nothing that needs an encoder.
local function plain_keep(each)
  local estimate = each.estimate
  return '{"action":"keep","relation":' .. quote(each.relation) .. ',"name":' .. quote(each.name)
    .. ',"live_name":' .. quote(each.live_name) .. ',"definition":' .. quote(each.definition)
    .. ',"reason":' .. quote(each.reason) .. ',"critical":' .. tostring(each.critical)
    .. ',"description":' .. (each.description and quote(each.description) or "null")
    .. ',"estimate":{"rows":' .. figure(estimate.rows) .. ',"table_bytes":' .. figure(estimate.table_bytes)
    .. ',"index_bytes":' .. figure(estimate.index_bytes) .. ',"seconds":null},"findings":[]}'
end

--- Writes a plan as it goes, so that its size does not matter.
---@param plan lunadex.Plan
function M.plan(plan)
  output.write('{"target":', quote(plan.target), ',"database":', quote(plan.database), ',"changes":[')
  local first = true
  for each in plan:changes { keeps = true } do
    local plain = each.action == "keep" and #each.findings == 0
    output.write(first and "\n" or ",\n", plain and plain_keep(each) or change(each))
    first = false
  end
  output.write('],\n"findings":', M.encode(findings(plan.findings)), ',\n"summary":', M.encode(plan.summary), "}")
end

M.findings = findings

-- What is JSON already.
local Raw = { __tojson = function(self) return self.text end }

local function raw(text) return setmetatable({ text = text }, Raw) end

-- Of the events, those that carry texts of JSON.
local prepare = {}

function prepare.duplicates(event)
  local result = {}
  for key, value in pairs(event) do result[key] = value end
  result.groups = {}
  for i, group in ipairs(event.groups) do
    local ids = {}
    for j, id in ipairs(group.ids) do ids[j] = raw(id) end
    result.groups[i] = { group = group.group, key = raw(group.key), ids = ids }
  end
  return result
end

--- Writes one event and lets it be read at once.
---@param event table
function M.event(event)
  local prepared = prepare[event.event]
  output.line(M.encode(prepared and prepared(event) or event))
  output.flush()
end

--- A failure before there is a result.
---@param err any
---@param database string?         # where there are several
function M.failure(err, database)
  M.event { event = "error", database = database, error = errors.plain(err) }
end

return M
