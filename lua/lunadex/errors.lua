--- Failures as values, made in Lua: the same shape as those of the core, so that a caller need not know which it has.

local M = {}

---@class lunadex.Failure : lunadex.Error
---@field detail string?
---@field errors lunadex.registry.Problem[]?   # code "registry"
local Failure = {}
Failure.__index = Failure

function Failure:__tostring()
  if self.hint and self.hint ~= "" then return self.message .. " (" .. self.hint .. ")" end
  return self.message
end

function Failure.__concat(a, b) return tostring(a) .. tostring(b) end

--- `message` in lower case without a full stop, `hint` a sentence that says what to do.
---@param code string
---@param message string
---@param hint string?
---@return lunadex.Failure
function M.new(code, message, hint)
  return setmetatable({ code = code, message = message, hint = hint, retryable = false }, Failure)
end

--- All mistakes in a registry as one failure, which has them one by one as `errors`.
---@param mistakes lunadex.registry.Problem[]
---@return lunadex.Failure
function M.of_mistakes(mistakes)
  local lines = {}
  for i, mistake in ipairs(mistakes) do lines[i] = tostring(mistake) end
  local err = M.new("registry", table.concat(lines, "\n"))
  err.errors = mistakes
  return err
end

--- A failure that a text of the registry is the reason of, with its place.
---@param err lunadex.Error
---@param text string              # what it is called: "where"
---@param declared {file: string, line: integer}
---@return lunadex.Error
function M.placed(err, text, declared)
  if err.retryable or err.code == "cancelled" then return err end
  return M.new(err.code, ("%s of %s:%d: %s"):format(text, declared.file, declared.line, err.message), err.hint)
end

--- A failure without what may not be shown.
---@param err lunadex.Error
---@param secrets lunadex.registry.Problems   # which knows what that is
---@return lunadex.Error
function M.cleaned(err, secrets)
  local copy = setmetatable({}, getmetatable(err))
  for name, value in pairs(err) do copy[name] = value end
  for _, name in ipairs { "message", "detail", "hint" } do copy[name] = err[name] and secrets:clean(err[name]) end
  return copy
end

--- What a failure of any kind says to people: message, detail and hint, each on its own line.
---@param err any
---@return string
function M.describe(err)
  if type(err) ~= "table" and type(err) ~= "userdata" then return tostring(err) end
  local lines = { err.message or tostring(err) }
  if err.detail and err.detail ~= "" then lines[#lines + 1] = err.detail end
  if err.hint and err.hint ~= "" then lines[#lines + 1] = err.hint end
  return table.concat(lines, "\n")
end

--- A plain table for JSON.
---@param err any
---@return table
function M.plain(err)
  if type(err) ~= "table" and type(err) ~= "userdata" then return { code = "internal", message = tostring(err) } end
  local function text(value) return value ~= "" and value or nil end
  return {
    code = err.code,
    message = err.message or tostring(err),
    detail = text(err.detail),
    hint = text(err.hint),
    native = text(err.native),
  }
end

--- Why nothing can be changed through a connection that was opened so.
---@return lunadex.Failure
function M.reading()
  return M.new("read_only", "this connection only reads: nothing can be changed through it",
    "Open it without read_only.")
end

--- Why nothing can be changed on this server.
---@param info lunadex.ServerInfo
---@return lunadex.Failure
function M.read_only(info)
  if info.standby then
    return M.new("read_only", "the server is a read-only standby: nothing can be built on it",
      "Give the primary's address.")
  end
  return M.new("read_only",
    "default_transaction_read_only is on for this role, database or server: nothing can be built",
    "ALTER ROLE … or ALTER DATABASE … SET default_transaction_read_only = off, or connect as another role.")
end

return M
