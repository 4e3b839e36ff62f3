--- Sizes, counts and durations as people read them.

local M = {}

local function short(value)
  -- 1.1 but 140: three digits carry all the meaning there is in an estimate
  if value < 9.95 then
    local text = ("%.1f"):format(value)
    return (text:gsub("%.0$", ""))
  end
  return ("%.0f"):format(value)
end

local function scaled(value, step, units)
  local unit = 1
  while unit < #units and value >= step * 0.9995 do
    value = value / step
    unit = unit + 1
  end
  return value, units[unit]
end

--- `1.1 GB`, in the server's units (1 kB is 1024 bytes).
---@param bytes number
---@return string
function M.bytes(bytes)
  local value, unit = scaled(bytes, 1024, { "bytes", "kB", "MB", "GB", "TB", "PB" })
  return (unit == "bytes" and ("%.0f"):format(value) or short(value)) .. " " .. unit
end

--- `4.2 M`, `815`.
---@param number number
---@return string
function M.count(number)
  local value, unit = scaled(number, 1000, { "", "k", "M", "G" })
  if unit == "" then return ("%.0f"):format(value) end
  return short(value) .. " " .. unit
end

--- `1 row`, `4.2 M rows`.
---@param number number
---@param noun string
---@return string
function M.quantity(number, noun)
  return M.count(number) .. " " .. (number == 1 and noun or noun .. "s")
end

--- How long something took: `0.04 s`, `3.2 s`, `4 min 05 s`, `2 h 10 min`.
---@param seconds number
---@return string
function M.duration(seconds)
  if seconds < 1 then return ("%.2f s"):format(seconds) end
  if seconds < 59.95 then return ("%.1f s"):format(seconds) end
  seconds = math.floor(seconds + 0.5)
  if seconds < 3600 then return ("%d min %02d s"):format(seconds // 60, seconds % 60) end
  return ("%d h %02d min"):format(seconds // 3600, seconds % 3600 // 60)
end

--- A clock: `0:14`, `1:02:03`.
---@param seconds number
---@return string
function M.clock(seconds)
  seconds = math.floor(seconds + 0.5)
  if seconds < 3600 then return ("%d:%02d"):format(seconds // 60, seconds % 60) end
  return ("%d:%02d:%02d"):format(seconds // 3600, seconds % 3600 // 60, seconds % 60)
end

--- A rough figure that claims no more than it knows: `40 s`, `3 min`, `212 days`.
---@param seconds number
---@return string
function M.rough(seconds)
  if seconds < 90 then return ("%.0f s"):format(math.max(seconds, 1)) end
  if seconds < 90 * 60 then return ("%.0f min"):format(seconds / 60) end
  if seconds < 48 * 3600 then return ("%.0f h"):format(seconds / 3600) end
  return ("%.0f days"):format(seconds / 86400)
end

local factors = {
  ms = 0.001, s = 1, sec = 1, second = 1, seconds = 1, min = 60, m = 60, minute = 60, minutes = 60,
  h = 3600, hour = 3600, hours = 3600, d = 86400, day = 86400, days = 86400,
}

--- The reverse: `30s`, `5min`, `1h`, `250ms`, plain seconds; nil if it is none of them.
---@param text string
---@return number? seconds
function M.parse_duration(text)
  local number, unit = text:match("^%s*(%d+%.?%d*)%s*(%a*)%s*$")
  local factor = unit and (unit == "" and 1 or factors[unit:lower()])
  return factor and tonumber(number) * factor or nil
end

local units = { b = 1, kb = 1024, mb = 1024 ^ 2, gb = 1024 ^ 3, tb = 1024 ^ 4 }

--- The reverse of `bytes`: `512MB`, `2 GB`, plain bytes; nil if it is none of them.
---@param text string
---@return number? bytes
function M.parse_bytes(text)
  local number, unit = text:match("^%s*(%d+%.?%d*)%s*(%a*)%s*$")
  local factor = unit and (unit == "" and 1 or units[unit:lower()])
  return factor and tonumber(number) * factor or nil
end

--- One line, without control characters, so that a name or a query cannot spoil a terminal or a log.
---@param text string
---@return string
function M.line(text)
  return (text:gsub("[%c]+", " "))
end

--- The text as UTF-8: bytes that are none are told as such. Nothing else is JSON.
---@param text string
---@return string
function M.utf8(text)
  if utf8.len(text) then return text end
  local parts, at = {}, 1
  while true do
    local fine, wrong = utf8.len(text, at)
    if fine then break end
    parts[#parts + 1] = text:sub(at, wrong - 1) .. "\u{FFFD}"
    at = wrong + 1
  end
  return table.concat(parts) .. text:sub(at)
end

--- The text as any database can keep it: a zero byte is told by its code, and all beyond ASCII where that is no UTF-8.
---@param text string
---@return string
function M.storable(text)
  text = text:gsub("\0", "\\0")
  if utf8.len(text) then return text end
  return (text:gsub("[\x80-\xFF]", function(c) return ("\\x%02X"):format(c:byte()) end))
end

--- Each line with a label in front.
---@param text string
---@param label string
---@return string
function M.labelled(text, label)
  label = M.line(label) .. ": "
  return label .. text:gsub("\n", function() return "\n" .. label end)
end

-- First and last code points that take two columns, and none.
local wide = {
  0x1100, 0x115F, 0x2E80, 0x303E, 0x3041, 0xA4CF, 0xAC00, 0xD7A3, 0xF900, 0xFAFF, 0xFE30, 0xFE6F, 0xFF00, 0xFF60,
  0xFFE0, 0xFFE6, 0x1F300, 0x1F64F, 0x1F680, 0x1F6FF, 0x1F900, 0x1F9FF, 0x20000, 0x3FFFD,
}
local combining = {
  0x0300, 0x036F, 0x0483, 0x0489, 0x0591, 0x05BD, 0x064B, 0x065F, 0x1AB0, 0x1AFF, 0x1DC0, 0x1DFF, 0x200B, 0x200F,
  0x20D0, 0x20FF, 0xFE00, 0xFE0F, 0xFE20, 0xFE2F, 0xE0100, 0xE01EF,
}

local function within(code, ranges)
  for i = 1, #ranges, 2 do
    if code < ranges[i] then return false end
    if code <= ranges[i + 1] then return true end
  end
  return false
end

local function columns_of(code)
  if code < 0x300 or within(code, combining) then return code < 0x300 and 1 or 0 end
  return within(code, wide) and 2 or 1
end

--- The columns that a text takes on a terminal; of what is no UTF-8 its bytes.
---@param text string
---@return integer
function M.width(text)
  if not text:find "[\128-\255]" or not utf8.len(text) then return #text end
  local width = 0
  for _, code in utf8.codes(text) do width = width + columns_of(code) end
  return width
end

--- The first `width` columns of a text, with … where something is cut.
---@param text string
---@param width integer
---@return string
function M.clip(text, width)
  if M.width(text) <= width then return text end
  if not utf8.len(text) then return text:sub(1, math.max(width - 1, 0)) .. "…" end
  local room = math.max(width, 1) - 1
  for at, code in utf8.codes(text) do
    room = room - columns_of(code)
    if room < 0 then return text:sub(1, at - 1) .. "…" end
  end
  return text
end

--- Padded with spaces to `width` columns, on the left if `right` is given.
---@param text string
---@param width integer
---@param right boolean?
---@return string
function M.pad(text, width, right)
  local spaces = (" "):rep(width - M.width(text))
  return right and spaces .. text or text .. spaces
end

return M
