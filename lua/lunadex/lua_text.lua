--- Lua as text: what a snapshot writes.

local M = {}

M.width = 118 -- columns of a line

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ['"'] = '\\"' }

--- Any text as a Lua string, on one line. Quotes and backslashes stay readable in long brackets.
---@param text string
---@return string
function M.quote(text)
  if text:find('["\\]') and not text:find("%c") then
    local level = ""
    while text:find("]" .. level .. "]", 1, true) or text:sub(-1 - #level) == "]" .. level do level = level .. "=" end
    return "[" .. level .. "[" .. text .. "]" .. level .. "]"
  end
  return '"' .. text:gsub('[%c"\\]', function(c)
    return escapes[c] or ("\\%03d"):format(c:byte())
  end) .. '"'
end

local reserved = {}
local words = "and break do else elseif end false for function goto if in local nil not or repeat return then true"
for word in (words .. " until while"):gmatch("%a+") do reserved[word] = true end

--- Whether a text may stand before `=` in a table as it is.
---@param text string
---@return boolean
function M.is_identifier(text)
  return text:find("^[%a_][%w_]*$") ~= nil and not reserved[text]
end

--- `word { keys, options },`, on one line if it fits; else the keys on the first line, every option on its own.
---@param word string
---@param parts string[]           # keys, then options
---@param keys integer             # how many are keys
---@return string
function M.item(word, parts, keys)
  local line = ("  %s { %s },"):format(word, table.concat(parts, ", "))
  if #line <= M.width and not line:find("\n", 1, true) then return line end
  return ("  %s { %s,\n    %s,\n  },"):format(word, table.concat(parts, ", ", 1, keys),
    table.concat(parts, ",\n    ", keys + 1))
end

--- One line of a comment.
---@param text string
---@return string
function M.comment(text)
  return (text:gsub("%c", " "))
end

return M
