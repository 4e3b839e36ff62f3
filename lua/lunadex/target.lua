--- Which server is meant: option, registry, environment; and how to show it without its secrets.

local errors = require "lunadex.errors"

local M = {}

--- What a script connects to that names no target (`lunadex run --target`).
---@type string?
M.preset = nil

-- Any of these means that libpq's own environment describes a server.
local libpq_variables = { "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE", "PGSERVICEFILE" }

---@param getenv fun(name: string): string?
---@param name string
local function variable(getenv, name)
  local value = getenv(name)
  return value ~= "" and value or nil
end

--- The target, and where it came from. An empty target is the driver's environment (`PG*`).
---@param option string?                           # --target
---@param url string?                              # of the registry's database
---@param getenv (fun(name: string): string?)?     # for tests
---@return string? target
---@return string|lunadex.Failure source
function M.find(option, url, getenv)
  getenv = getenv or os.getenv
  if option == "" then
    -- A variable that is not set, most likely; some other server from the environment is not what was meant.
    return nil, errors.new("usage", "--target is empty", "Leave it out, and the registry or the environment decides.")
  end
  if option then return option, "--target" end
  if url and url ~= "" then return url, "registry" end
  for _, name in ipairs { "LUNADEX_TARGET", "DATABASE_URL", "MONGODB_URI" } do
    local value = variable(getenv, name)
    if value then return value, name end
  end
  for _, name in ipairs(libpq_variables) do
    if variable(getenv, name) then return "", name end
  end
  return nil, errors.new("usage", "no target: there is neither --target nor a url in the registry nor a variable",
    "Give --target postgresql://user@host/database or mongodb://host/database, or set LUNADEX_TARGET, DATABASE_URL, "
      .. "MONGODB_URI or the PG* variables.")
end

--- Of which kind the database of a target is; PostgreSQL, unless it says otherwise.
---@param target string
---@return "postgres"|"mongodb" driver
function M.driver(target)
  return target:lower():find "^mongodb[+%w]*://" and "mongodb" or "postgres"
end

local secret_words = { password = true, sslpassword = true, passwd = true, pwd = true, authmechanismproperties = true }

local function redact_query(query)
  return (query:gsub("([^&=?]+)=([^&]*)", function(name)
    local decoded = name:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    if secret_words[decoded:lower()] then return name .. "=***" end
  end))
end

--- The passwords in a target, as they are written there.
---@param target string
---@return string[]
function M.secrets(target)
  local found = {}
  local function add(name, value)
    if secret_words[name:lower()] then found[#found + 1] = value end
  end
  local userinfo = target:match "^%a[%w+.-]*://(.*)@"
  found[1] = userinfo and userinfo:match "^[^:]*:(.+)$"
  for name, value in target:gmatch "(%w+)%s*=%s*'([^']*)'" do add(name, value) end
  for name, value in target:gmatch "(%w+)%s*=%s*([^%s'&]+)" do add(name, value) end
  return found
end

--- The target as it may be shown: no password in userinfo, parameters or key=value pairs.
---@param target string
---@return string
function M.redact(target)
  local scheme, rest = target:match("^(%a[%w+.-]*://)(.*)$")
  if scheme then
    -- Up to the last @: a password with a raw @ or / in it is malformed, and all the same nobody's business.
    local userinfo, place = rest:match("^(.*)@(.*)$")
    local parameters
    place, parameters = (place or rest):match("^([^?]*)(.*)$")
    local user = userinfo and userinfo:match("^[^:]*")
    return scheme .. (user and user ~= "" and user .. "@" or "") .. place .. redact_query(parameters)
  end
  local function hide(pattern)
    target = target:gsub(pattern, function(before, name, equals)
      if secret_words[name:lower()] then return before .. name .. equals .. "***" end
    end)
  end
  target = " " .. target
  hide("(%s)(%w+)(%s*=%s*)'[^'\\]*'")
  -- Quoted with escapes inside: take everything to the end, for there is no pattern for it that cannot be fooled.
  hide("(%s)(%w+)(%s*=%s*)'.*")
  hide("(%s)(%w+)(%s*=%s*)[^%s'][^%s]*")
  return target:sub(2)
end

return M
