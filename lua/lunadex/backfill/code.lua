--- What a function does, as bytes that do not say where it stands: its dump, without the lines that begin and end it,
-- which Lua leaves in also where it strips the rest (ldump.c of Lua 5.4).

local M = {}

-- Signature, version, format, data, three sizes, an integer, a float, and how many upvalues there are.
local header = 4 + 1 + 1 + 6 + 3 + 8 + 8 + 1

local with_eight = { [0x03] = true, [0x13] = true } -- integers and floats
local with_text = { [0x04] = true, [0x14] = true }  -- short strings and long ones

--- The code of a function; what it takes from outside of itself is not in it.
---@param f function               # of Lua
---@return string
function M.of(f)
  local dump, at, parts = string.dump(f, true), header + 1, {}

  local function skip(size)
    at = at + size
  end

  -- Seven bits each, the highest first; the last has its eighth set.
  local function count()
    local number = 0
    while true do
      local byte = dump:byte(at)
      number, at = number << 7 | byte & 0x7f, at + 1
      if byte & 0x80 ~= 0 then return number end
    end
  end

  local function text()
    local size = count() -- one more than it has bytes; 0: none
    skip(math.max(size - 1, 0))
  end

  local function constant()
    local kind = dump:byte(at)
    skip(1)
    if with_eight[kind] then skip(8) elseif with_text[kind] then text() end
  end

  local function prototype()
    text() -- its source
    local lines = at
    count()
    count()
    parts[#parts + 1] = { from = lines, to = at }
    skip(3) -- parameters, whether there may be more, registers
    skip(4 * count())
    for _ = 1, count() do constant() end
    skip(3 * count())
    for _ = 1, count() do prototype() end
    for _ = 1, 4 do count() end -- lines, absolute lines, names of locals and upvalues: none
  end

  prototype()
  assert(at == #dump + 1, "string.dump has another form")
  local kept, from = {}, 1
  for i, lines in ipairs(parts) do
    kept[i], from = dump:sub(from, lines.from - 1), lines.to
  end
  kept[#kept + 1] = dump:sub(from)
  return table.concat(kept)
end

return M
