--- Where the lines of an input end up, in SQL or in Lua: inside of quotes or a comment, in so many blocks, behind a
--- semicolon. Line by line, so that each is looked at once.

local M = {}

---@class lunadex.cli.Scan
---@field open string?             # what the end stands in: "'", '"', "$", "/*"; in Lua also "[" and "--", long ones
---@field before string?           # what stands before that in its line
---@field at integer?              # where it begins itself, if that is in the last line
---@field content integer?         # likewise its content
---@field ended boolean            # SQL: a semicolon is the last thing
---@field depth integer            # Lua: blocks and brackets that are not closed
local Scan = {}
Scan.__index = Scan

local function enter(self, at, open, closer, length)
  self.open, self.closer, self.at, self.content = open, closer, at, at + length
  return self.content
end

-- What stands right before a place: no more than is looked at, for a line may be long and have many of them.
local function behind(line, at, length) return line:sub(math.max(at - length, 1), at - 1) end

local closers = {} -- by what closes: where that ends in a line, from `at` on

-- A pattern closes; a backslash in front of it, if it is a set with one, does not.
local function close_at(line, at, pattern)
  local from, to = line:find(pattern, at)
  while from and line:byte(from) == 92 do from, to = line:find(pattern, from + 2) end
  return to
end

-- Comments of SQL may stand in each other.
closers["*/"] = function(self, line, at)
  self.nested = self.nested or 1
  for from in line:gmatch("()[*/]", at) do
    local two = from >= at and line:sub(from, from + 1)
    if two == "*/" or two == "/*" then
      self.nested, at = self.nested + (two == "/*" and 1 or -1), from + 2
    end
    if self.nested == 0 then
      self.nested = nil
      return from + 1
    end
  end
end

local function leave(self, line, at)
  local closer = closers[self.closer]
  local to
  if closer then to = closer(self, line, at) else to = close_at(line, at, self.closer) end
  if not to then return nil end
  self.open = nil
  return to + 1
end

local steps = {} -- over the next thing of a line; nil: there is none

function steps.sql(self, line, at)
  if line:find("^%s*[^%s;/-]", at) then self.ended = false end
  local from = line:find("[;'\"$/-]", at)
  if not from then return nil end
  local c, two = line:sub(from, from), line:sub(from, from + 1)
  if two == "--" then return nil end
  if two == "/*" then return enter(self, from, "/*", "*/", 2) end
  self.ended = c == ";"
  if c == "'" then
    local escapes = behind(line, from, 2):find "%f[%w_$\128-\255][eE]$"
    return enter(self, from, c, escapes and "[\\']" or "'", 1)
  elseif c == '"' then
    return enter(self, from, c, '"', 1)
  end
  local tag = c == "$" and line:match("^%$[%w_\128-\255]*%$", from)
  if tag and not behind(line, from, 1):find "[%w_$\128-\255]" then
    return enter(self, from, "$", (tag:gsub("%W", "%%%0")), #tag)
  end
  return from + 1
end

local weights = {
  ["do"] = 1, ["function"] = 1, ["if"] = 1, ["repeat"] = 1, ["end"] = -1, ["until"] = -1,
  ["("] = 1, ["["] = 1, ["{"] = 1, [")"] = -1, ["]"] = -1, ["}"] = -1,
}

function steps.lua(self, line, at)
  local from = line:find("[%a_'\"(){}%[%]-]", at)
  if not from then return nil end
  local dashes, level = line:match("^(%-*)%[(=*)%[", from)
  if dashes == "" or dashes == "--" then
    return enter(self, from, dashes == "" and "[" or "--", "%]" .. level .. "%]", #dashes + #level + 2)
  elseif line:find("^%-%-", from) then
    return nil
  end
  local token = line:match("^[%w_]+", from) or line:sub(from, from)
  if token == "'" or token == '"' then return enter(self, from, token, "[\\" .. token .. "]", 1) end
  self.depth = self.depth + (weights[token] or 0)
  return from + #token
end

--- Goes on with the next line.
---@param line string
function Scan:add(line)
  local at = 1
  self.content, self.at = 1, nil
  repeat
    if self.open then at = leave(self, line, at) else at = self.step(self, line, at) end
  until not at
  if self.open and self.at then self.before = line:sub(1, self.at - 1) end
end

---@param language "sql"|"lua"
---@return lunadex.cli.Scan
function M.new(language)
  return setmetatable({ step = steps[language], ended = false, depth = 0 }, Scan)
end

return M
