--- What an input is: a command, a statement of SQL or Lua; and whether it is complete.

local M = {}

-- Followed by another word, none of these begins anything in Lua.
local first_words = {}
local words = "abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare "
  .. "delete discard drop end execute explain fetch grant import insert listen load lock merge move notify prepare "
  .. "reassign refresh reindex release reset revoke rollback savepoint security select set show start table truncate "
  .. "unlisten update vacuum values with"
for word in words:gmatch "%a+" do first_words[word] = true end

--- Whether a text is SQL: it begins with a word of SQL's, and the next thing is one as well, or a value.
---@param text string
---@param driver string?            # nil: there is no connection
---@return boolean
function M.is_sql(text, driver)
  if driver == "mongodb" then return false end
  local word, rest = text:match "^%s*(%a+)(.*)$"
  word = word and word:lower()
  if word == "do" then return rest:find "^%s*%$" ~= nil end
  if not first_words[word] then return false end
  if rest:find "^%s*;" then return true end
  -- `table { … }`, `select("#")`, `load = 1`, `set.x` are Lua's, as is `end`.
  return rest:find "^%s+[%w_\"'*$@-]" ~= nil or rest:find "^%s*%(" ~= nil and word == "values"
    or rest:find "^%s*\n" ~= nil
end

--- Whether a text is a command: `\d`, or help, quit and exit as words.
---@param text string
---@return string? name
---@return string? arguments
function M.command(text)
  local name, rest = text:match "^%s*\\(%S*)%s*(.-)%s*$"
  if name then return name, rest end
  local word
  word, rest = text:match "^%s*(%a+)%s*([^%s(=.:,\"'{%[]*)%s*$"
  if word == "help" then return "help", rest end
  if (word == "quit" or word == "exit") and rest == "" then return "quit", "" end
end

local function ends_sql(text)
  local bare = text:gsub("'[^']*'", ""):gsub('"[^"]*"', ""):gsub("%$(%w*)%$.-%$%1%$", "")
  return not bare:find "['\"]" and bare:gsub("%-%-[^\n]*", ""):find ";%s*$" ~= nil
end

--- Whether more lines belong to it.
---@param text string
---@param driver string?
---@return boolean
function M.goes_on(text, driver)
  if not text:find "%S" or M.command(text) then return false end
  if M.is_sql(text, driver) then return not ends_sql(text) end
  if load("return " .. text, "=input", "t") then return false end
  local chunk, problem = load(text, "=input", "t")
  return not chunk and problem:find "<eof>'?$" ~= nil
end

return M
