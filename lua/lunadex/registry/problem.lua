-- What is wrong with a registry: collected while it is read, so that one run shows everything.

local target = require "lunadex.target"

local M = {}

---@class lunadex.registry.Problem
---@field file string
---@field line integer?
---@field relation string?
---@field message string
---@field expected string?
---@field hint string?

local Problem = {}
Problem.__index = Problem
Problem.__name = "lunadex.registry.Problem"

--- `registry/shop.lua:12: public.orders: unknown option "uniqe" of index; expected …; did you mean "unique"?`
function Problem:__tostring()
  local parts = { self.file, ":" }
  if self.line then parts[#parts + 1] = self.line .. ":" end
  parts[#parts + 1] = " "
  if self.relation then parts[#parts + 1] = self.relation .. ": " end
  parts[#parts + 1] = self.message
  if self.expected then parts[#parts + 1] = "; expected " .. self.expected end
  if self.hint then parts[#parts + 1] = "; " .. self.hint end
  return table.concat(parts)
end

---@class lunadex.registry.Problems
---@field list lunadex.registry.Problem[]
---@field count integer            # all that were ever added, repetitions included
local Problems = {}
Problems.__index = Problems

-- A mistake in a loop would otherwise be told a million times.
local MOST = 200

---@return lunadex.registry.Problems
function M.list()
  return setmetatable({ list = {}, known = {}, files = {}, hidden = {}, more = 0, count = 0 }, Problems)
end

--- The order of files in the final list is the order in which they are announced.
---@param file string
function Problems:file(file)
  if not self.files[file] then
    self.files[#self.files + 1] = file
    self.files[file] = #self.files
  end
end

-- Shorter ones would take other words' letters away, and are no secrets.
local LEAST_SECRET = 3

--- What a variable of the environment held: no message may quote its passwords, whatever a registry made of them.
---@param name string
---@param value string
function Problems:hide(name, value)
  local secrets = name:upper():find "PASS" and { value } or target.secrets(value)
  for _, secret in ipairs(secrets) do
    local pattern, hidden = secret:gsub("%p", "%%%0"), self.hidden
    if #secret >= LEAST_SECRET and not hidden[pattern] then hidden[pattern], hidden[#hidden + 1] = true, pattern end
  end
end

function Problems:without_secrets(text)
  for _, pattern in ipairs(self.hidden) do text = text:gsub(pattern, "***") end
  return text
end

-- A message may quote a text that is not closed, with a url in it.
local function without_passwords(text)
  return text and text:find("://", 1, true)
    and text:gsub("(%a[%w+.-]*://[^%s:@/\"']*):[^%s\"']*@", "%1:***@") or text
end

--- A text as it may be shown.
---@param text string
---@return string
function Problems:clean(text)
  return self:without_secrets(without_passwords(text))
end

---@param problem lunadex.registry.Problem
function Problems:add(problem)
  problem.message = self:clean(problem.message)
  self.count = self.count + 1
  if problem.line == 0 then problem.line = nil end
  local text = Problem.__tostring(problem)
  if self.known[text] then return end
  if #self.list >= MOST then
    self.more = self.more + 1
    return
  end
  self.known[text] = true
  problem.order = #self.list + 1
  self:file(problem.file)
  self.list[#self.list + 1] = setmetatable(problem, Problem)
end

---@param file string
---@param line integer
---@return boolean                 # something was found there already
function Problems:at(file, line)
  for _, problem in ipairs(self.list) do
    if problem.file == file and problem.line == line then return true end
  end
  return false
end

---@return lunadex.registry.Problem[]  # by file and line
function Problems:sorted()
  local files = self.files
  table.sort(self.list, function(a, b)
    if a.file ~= b.file then return files[a.file] < files[b.file] end
    if (a.line or 0) ~= (b.line or 0) then return (a.line or 0) < (b.line or 0) end
    return a.order < b.order
  end)
  for _, problem in ipairs(self.list) do problem.order = nil end
  if self.more > 0 then
    local last = self.list[#self.list]
    self.list[#self.list + 1] = setmetatable({ file = last.file, message = ("and %d more"):format(self.more) }, Problem)
  end
  return self.list
end

return M
