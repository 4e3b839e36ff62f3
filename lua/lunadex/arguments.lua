--- What scripts give to public functions, looked at where it comes in: wrong use raises, and blames the caller.

local suggest = require "lunadex.suggest"

local M = {}

local kinds = {
  integer = function(value) return math.tointeger(value) ~= nil and type(value) == "number" end,
  number = function(value) return type(value) == "number" and value == value end,
  list = function(value) return type(value) == "table" end,
  count = function(value)
    return type(value) == "number" and value >= 0 and (value == math.huge or math.tointeger(value) ~= nil)
  end,
  seconds = function(value) return type(value) == "number" and value >= 0 end,
}

-- An application without a name is every session that gives none.
function kinds.applications(value)
  if type(value) ~= "table" then return false end
  for _, name in ipairs(value) do
    if type(name) ~= "string" or name == "" then return false end
  end
  return true
end

local function is(value, kind)
  local test = kinds[kind]
  if test then return test(value) end
  return type(value) == kind
end

local words = {
  mode = { "auto", "concurrent", "blocking" },
  declarable = { "index", "unique_constraint", "primary_key", "exclusion_constraint", "foreign_key" },
}
local described = {
  applications = "names of applications, none of them empty,", count = "an integer that is not negative",
  seconds = "a number that is not negative",
}

for kind, list in pairs(words) do
  local known = {}
  for _, word in ipairs(list) do known[word] = true end
  kinds[kind] = function(value) return known[value] == true end
  described[kind] = "one of " .. table.concat(list, ", ")
end

local function complain(position, call, text)
  error(("bad argument #%d to '%s' (%s)"):format(position, call, text), 4)
end

local function describe(expected)
  return (expected:gsub("%a+", described):gsub("|", " or "))
end

local function got(value)
  if value ~= value then return "not a number" end
  return type(value)
end

-- `expected`: names of types, as in "string|nil".
local function matches(value, expected)
  for kind in expected:gmatch "%a+" do
    if is(value, kind) then return true end
  end
  return false
end

--- To be called by the public function itself, which must not be called by our own, as `options` is.
---@param position integer
---@param call string              # the function's name
---@param value any
---@param expected string          # "string|table"; besides Lua's types "integer", "list", and a number is one
function M.check(position, call, value, expected)
  if not matches(value, expected) then
    complain(position, call, ("%s expected, got %s"):format(describe(expected), got(value)))
  end
end

--- A table of options, or nil.
---@param position integer
---@param call string
---@param options any
---@param known table<string, string>   # name → its types
function M.options(position, call, options, known)
  if options == nil then return end
  if type(options) ~= "table" then complain(position, call, "table expected, got " .. got(options)) end
  for name, value in pairs(options) do
    local expected = known[name]
    if not expected then
      local names = {}
      for each in pairs(known) do names[#names + 1] = each end
      table.sort(names)
      complain(position, call, ("unknown option %q; %s"):format(tostring(name),
        suggest.hint(tostring(name), known) or "expected one of " .. table.concat(names, ", ")))
    elseif not matches(value, expected) then
      complain(position, call, ("option %q: %s expected, got %s"):format(name, describe(expected), got(value)))
    end
  end
end

local steps = {
  mode = "mode", lock_timeout = "number", retries = "integer", drain_timeout = "number",
  cancel_blockers = "applications", terminate_blockers = "applications", blockers_after = "number",
  check_duplicates = "boolean", list_duplicates = "boolean",
  maintenance_work_mem = "string", parallel_workers = "integer",
}

local function with(base, more)
  for name, expected in pairs(base) do more[name] = expected end
  return more
end

--- What may be said of connecting, of reading a registry, of planning, of applying, of one change
--- (lunadex.ConnectOptions, registry.Options, PlanOptions, ApplyOptions, ChangeOptions, BuildOptions), of running a
--- backfill (BackfillOptions), and of trying again.
M.connecting = { jobs = "integer", application_name = "string", connect_timeout = "number", retry = "table",
  read_only = "boolean", to_write = "boolean", on_notice = "function" }
M.loading = { limits = "table", getenv = "function", plugins = "table", target = "string", database = "string",
  before = "function" }
M.planning = with(steps, { only = "list", drop_strays = "boolean", repair = "boolean", rename = "boolean",
  hide_first = "boolean", allow_gap = "boolean", jobs = "integer", without = "list", advice = "boolean",
  database = "string" })
M.applying = with(steps, { jobs = "integer", on_event = "function", locked = "boolean", record = "boolean",
  wait = "number" })
M.changing = with(M.applying, { without = "list" })
M.building = with(M.changing, { kind = "declarable" })
M.backfilling = { connection = "table", jobs = "integer", restart = "boolean", carry_on = "boolean",
  on_event = "function" }
M.retrying = { attempts = "count", first_delay = "seconds", factor = "seconds", max_delay = "seconds",
  total = "seconds" }

--- Whether a word names something that can be declared.
---@param value any
---@return boolean
function M.is_declarable(value) return kinds.declarable(value) end

--- What a function of the core gives, or raises about its arguments: `return blame(2, "date", 1, pcall(…))`.
---@param level integer            # of who is to be blamed, as for `error`
---@param call string              # what they called
---@param more integer             # how many arguments of the core's function they did not give
---@param ok boolean
---@return any ...
function M.blame(level, call, more, ok, ...)
  if ok then return ... end
  local problem = ...
  local number, text = tostring(problem):match "^bad argument #(%d+) to '[^']*' (%(.*%))$"
  if number then problem = ("bad argument #%d to '%s' %s"):format(math.max(number - more, 1), call, text) end
  error(problem, level)
end

return M
