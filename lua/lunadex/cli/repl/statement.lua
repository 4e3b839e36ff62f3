--- What an input is: a command, a statement of SQL or Lua; and whether it is complete.

local dialects = require "lunadex.dialect"
local scan = require "lunadex.cli.repl.scan"

local M = {}

-- Followed by another word, none of these begins anything in Lua.
local first_words = {}
local words = "abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare "
  .. "delete discard drop end execute explain fetch grant import insert listen load lock merge move notify prepare "
  .. "reassign refresh reindex release reset revoke rollback savepoint security select set show start table truncate "
  .. "unlisten update vacuum values with"
for word in words:gmatch "%a+" do first_words[word] = true end

local function is_sql_word(word, rest)
  if not first_words[word] then return false end
  if rest:find "^%s*;" then return true end
  -- `table { … }`, `select("#")`, `load = 1`, `set.x` are Lua's, as are `end` and `load 'x'`.
  if word == "load" and rest:find "^%s*['\"]" then return false end
  return rest:find "^%s+[%w_\"'*$@-]" ~= nil or rest:find "^%s*%(" ~= nil and word == "values"
    or rest:find "^[*']" ~= nil and word == "select" or rest:find "^%s*\n" ~= nil
end

local first_in_parentheses = { select = true, with = true, values = true }

--- Whether a text is SQL: it begins with a word of SQL's, and the next thing is one as well, or a value; or with a
--- comment that Lua does not have.
---@param text string
---@param driver string?            # nil: there is no connection
---@return boolean
function M.is_sql(text, driver)
  if not dialects.of(driver).sql then return false end
  if text:find "^%s*/%*" then return true end
  local parentheses, word, rest = text:match "^%s*([%s(]*)(%a+)(.*)$"
  word = word and word:lower()
  if word == "do" then return rest:find "^%s*%$" ~= nil end
  if word and parentheses ~= "" and not first_in_parentheses[word] then return false end
  return word ~= nil and is_sql_word(word, rest)
end

--- Whether a text is a command: `\d`, or help, quit and exit as words, also where they are called.
---@param text string
---@return string? name
---@return string? arguments
function M.command(text)
  local name, rest = text:match "^%s*\\(%S*)%s*(.-)%s*$"
  if name then return name, rest end
  local word
  text = text:gsub("^(%s*%a+)%s*%(%s*%)", "%1"):gsub("^(%s*%a+)%s*;%s*$", "%1")
  word, rest = text:match "^%s*(%a+)%s*([^%s(=.:,\"'{%[]*)%s*$"
  if word == "help" then return "help", rest end
  if (word == "quit" or word == "exit") and rest == "" then return "quit", "" end
end

---@class lunadex.cli.Input      # lines until they are complete
---@field driver string?
---@field lines string[]
---@field size integer
---@field parsed integer           # its size when it was last parsed, as Lua
---@field sql lunadex.cli.Scan?
---@field lua lunadex.cli.Scan
local Input = {}
Input.__index = Input

---@param driver string?
---@return lunadex.cli.Input
function M.input(driver)
  return setmetatable({ driver = driver, lines = {}, size = 0, parsed = 0, lua = scan.new "lua" }, Input)
end

---@return string
function Input:text()
  return table.concat(self.lines, "\n")
end

local small = 10000 -- bytes that are parsed again and again without anybody noticing

-- Whether it is not worth the time to parse all of a long text again: it is not complete, unless it is wrong.
local function surely_goes_on(self, line)
  if self.lua.open == "[" or self.lua.open == "--" then return true end
  if self.size < small or self.size >= 2 * self.parsed then return false end
  return self.lua.depth > 0 or line:find "[-+*/^%%=<>~&|,.]%s*$" ~= nil
end

--- Whether more lines belong to it, with one more.
---@param line string
---@return boolean
function Input:add(line)
  local lines = self.lines
  lines[#lines + 1] = line
  self.size = self.size + #line + 1
  if #lines == 1 and (not line:find "%S" or M.command(line)) then return false end
  -- `DO` alone could be Lua.
  if #lines <= 2 and not self.sql and M.is_sql(self:text(), self.driver) then
    self.sql = scan.new "sql"
    for i = 1, #lines - 1 do self.sql:add(lines[i]) end
  end
  if self.sql then
    self.sql:add(line)
    return self.sql.open ~= nil or not self.sql.ended
  end
  self.lua:add(line)
  if surely_goes_on(self, line) then return true end
  self.parsed = self.size
  local text = self:text()
  if load("return " .. text, "=input", "t") then return false end
  local chunk, problem = load(text, "=input", "t")
  return not chunk and problem:find "<eof>'?$" ~= nil
end

return M
