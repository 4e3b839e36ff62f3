--- Statements of a backfill that are put together: their texts, and their parameters by the way.

local core = require "lunadex.core"

local M = {}

--- A name as SQL.
---@param name string
---@return string
function M.quoted(name)
  return '"' .. name:gsub('"', '""') .. '"'
end

---@class lunadex.postgres.Statement
---@field parameters table         # n of them
---@field own integer              # so many of which are the registry's
---@field mentioned table<integer, true>   # those of them that the texts of the registry call by their numbers
---@field filter string?           # the registry's `where`
local Statement = {}
Statement.__index = Statement

--- One with texts of the registry: what they call $1 … comes first.
---@param backfill lunadex.Backfill
---@return lunadex.postgres.Statement
function M.of(backfill)
  local parameters = { n = 0 }
  for i, value in ipairs(backfill.params or {}) do parameters[i], parameters.n = value, i end
  return setmetatable({ parameters = parameters, own = parameters.n, mentioned = {}, filter = backfill.where },
    Statement)
end

--- One without.
---@return lunadex.postgres.Statement
function M.new()
  return setmetatable({ parameters = { n = 0 }, own = 0, mentioned = {} }, Statement)
end

--- Gives what stands for a value: the name of a parameter.
---@param value string|number
---@param type string
---@return string
function Statement:value(value, type)
  local parameters = self.parameters
  parameters.n = parameters.n + 1
  parameters[parameters.n] = value
  return ("$%d::%s"):format(parameters.n, type)
end

--- The numbers of the parameters that a text of the registry has.
---@param text string
---@return integer[]
function M.numbers(text)
  local numbers = {}
  for i, name in ipairs(assert(core.parameters(text))) do numbers[i] = tonumber(name:sub(2)) end
  return numbers
end

--- A text of the registry. It may end in a comment.
---@param text string
---@return string
function Statement:user(text)
  for _, number in ipairs(M.numbers(text)) do self.mentioned[number] = true end
  return text .. "\n"
end

--- A condition that is true: the server cannot tell of which type a parameter is that nobody mentions.
---@return string
function Statement:unmentioned()
  local list = {}
  for i = 1, self.own do
    if not self.mentioned[i] then list[#list + 1] = (" AND ($%d::text IS NULL OR true)"):format(i) end
  end
  return table.concat(list)
end

--- Which rows, as the registry says it: the last of its texts in a statement.
---@return string
function Statement:where()
  return (self.filter and ("(%s)"):format(self:user(self.filter)) or "true") .. self:unmentioned()
end

--- Ready to be sent.
---@param text string
---@return lunadex.Statement
function Statement:with(text)
  return { text, self.parameters }
end

---@param session lunadex.Session
---@param text string
---@return lunadex.Rows?
---@return lunadex.Error? err
function Statement:ask(session, text)
  return session:ask(text, self.parameters)
end

return M
