--- Names as statements write them: folded to lower case, but in double quotes.

local scan = require "lunadex.cli.repl.scan"

local M = {}

-- What cannot be a column's or a relation's name without quotes.
local reserved = {}
local words = "all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate "
  .. "collation column concurrently constraint create cross current_catalog current_date current_role current_schema "
  .. "current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for "
  .. "foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral "
  .. "leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps "
  .. "placing primary references returning right select session_user similar some symmetric system_user table "
  .. "tablesample then to trailing true union unique user using variadic verbose when where window with"
for word in words:gmatch "[%a_]+" do reserved[word] = true end

--- A name, in quotes where it needs them.
---@param name string
---@return string
function M.quote(name)
  if name:find "^[a-z_\128-\255][a-z0-9_$\128-\255]*$" and not reserved[name] then return name end
  return '"' .. name:gsub('"', '""') .. '"'
end

--- The name that lines end in, from its first part on; it may be unfinished.
---@param lines string[]
---@return string
function M.tail(lines)
  local state = scan.new "sql"
  for _, line in ipairs(lines) do state:add(line) end
  local line = lines[#lines]
  local from = state.open == '"' and state.content - 1 or #line + 1
  while true do
    local head = line:sub(1, from - 1)
    -- A quote in a name is written twice, and looks like the end of one name and the beginning of another.
    local at = head:find "[%w_$\128-\255]+$" or head:find '"[^"]*"$' or head:find "%.$"
    if not at then return line:sub(from) end
    from = at
  end
end

-- What is meant by a name that may be unfinished.
local function meaning_of(text)
  local meaning, quoted, closed = {}, false, false
  for plain, quote in text:gmatch '([^"]*)("?)' do
    meaning[#meaning + 1] = quoted and plain or plain:lower()
    if quote ~= "" then
      if closed and plain == "" then meaning[#meaning + 1] = '"' end -- a quote that was written twice
      quoted, closed = not quoted, quoted
    end
  end
  return table.concat(meaning)
end

--- Whether what was written so far may become a name. Without quotes the case is no matter: they can be added.
---@param written string
---@param name string              # as it is, with its schema before a dot
---@return boolean
function M.begins(written, name)
  local meaning = meaning_of(written)
  if not written:find('"', 1, true) then name = name:lower() end
  return name:sub(1, #meaning) == meaning
end

--- Whether a text says more of a name than another one.
---@param text string
---@param other string
---@return boolean
function M.is_longer(text, other)
  return #meaning_of(text) > #meaning_of(other)
end

return M
