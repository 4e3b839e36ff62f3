--- What a backfill is, as one text: another text is another backfill, even under the same name.

local code = require "lunadex.backfill.code"
local core = require "lunadex.core"
local lua_text = require "lunadex.lua_text"

local M = {}

local function key_order(a, b)
  if math.type(a) and math.type(b) then return a < b end
  if math.type(a) or math.type(b) then return math.type(a) ~= nil end
  return tostring(a) < tostring(b)
end

-- A value as text. `clean`: what becomes of each text in it.
local write

local function write_table(value, clean)
  local keys, parts = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  -- The order of a document's fields counts, and it tells them in that order.
  if getmetatable(value) == nil then table.sort(keys, key_order) end
  for i, key in ipairs(keys) do
    local item = write(value[key], clean)
    if math.type(key) and key == i then
      parts[i] = item
    else
      local name = lua_text.is_identifier(tostring(key)) and tostring(key) or "[" .. write(key, clean) .. "]"
      parts[i] = name .. " = " .. item
    end
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

function write(value, clean)
  if type(value) == "string" then return lua_text.quote(clean(value)) end
  if value == core.null then return "null" end
  if type(value) == "table" then return write_table(value, clean) end
  -- Of a function what it does counts, and not where it stands. What it takes from outside is not seen.
  if type(value) == "function" then return "function " .. core.fingerprint(code.of(value)) end
  return tostring(value)
end

--- What decides which rows are changed, and how. The rest may be changed at any time.
local parts = { "on", "where", "set", "params", "transform", "columns" }

local function text_of(backfill, clean)
  local lines = {}
  for _, name in ipairs(parts) do
    if backfill[name] ~= nil then lines[#lines + 1] = name .. " = " .. write(backfill[name], clean) end
  end
  return table.concat(lines, ", ")
end

local function as_it_is(text)
  return text
end

--- The text is without the passwords that variables of the environment held.
---@param backfill lunadex.Backfill
---@return {text: string, fingerprint: string}
function M.of(backfill)
  local function clean(text) return backfill.secrets:clean(text) end
  return { text = text_of(backfill, clean), fingerprint = core.fingerprint(text_of(backfill, as_it_is)) }
end

--- Whether what is kept under its name is at its end, and of this definition.
---@param backfill lunadex.Backfill
---@param state lunadex.backfill.State?
---@return boolean
function M.is_finished(backfill, state)
  return state ~= nil and state.state == "finished" and state.fingerprint == M.of(backfill).fingerprint
end

return M
