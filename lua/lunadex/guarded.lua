-- Functions of the standard library that run long inside C, where no instruction is counted and nobody is interrupted:
-- before they are called it is estimated how long they may take, and what could take minutes is refused.

local M = {}

local LONGEST = 0x7fffffff -- what the library itself refuses, with another line than the caller's

local function guarded_rep(s, n, separator)
  local count = tonumber(n)
  if type(s) == "string" and count and (#s + #tostring(separator or "")) * count > LONGEST then
    error("string.rep: the result would have more than two gigabytes", 2)
  end
  if s == "" and (separator or "") == "" then return "" end -- would count to n for nothing
  return string.rep(s, n, separator)
end

local function guarded_move(a, from, to, at, b)
  if math.type(from) and math.type(to) and to - from > 10 * 1000 * 1000 then
    error("table.move: more than ten million elements", 2)
  end
  return table.move(a, from, to, at, b)
end

-- Matching begins at each byte of the subject, and goes back over every way to split it among a pattern's repetitions:
-- that may take days. Refused is what could take more than some seconds. (Called while methods of strings are the
-- sandbox's own: hence no methods here.)
local STEPS = 5e8
local byte, find, sub = string.byte, string.find, string.sub

-- A class as a pattern has it: `.`, `%a`, `[…]`, or a byte, which may mean something else.
local function written_of(class)
  if class == "." or find(class, "^[%%%[]") or find(class, "^%w$") then return class end
  return "%" .. class
end

local members = {} -- a class → the bytes it has
local member_count = 0
local function members_of(class)
  local set = members[class]
  if not set then
    set = {}
    local written = "^" .. written_of(class)
    for i = 0, 255 do set[i] = find(string.char(i), written) ~= nil end
    if member_count > 1000 then members, member_count = {}, 0 end
    members[class], member_count = set, member_count + 1
  end
  return set
end

-- Memory is compared that much faster than a pattern is matched.
local FAST = 1 / 16

-- The single items of a pattern with their quantifiers. Of what is no class nobody knows with what it begins; some of
-- it `walks` along the subject. What is malformed ends the pattern: matching gets no further either.
local function items_of(pattern)
  local items = {}
  local at, last = 1, #pattern
  if sub(pattern, 1, 1) == "^" then at = 2 end
  while at <= last do
    local c = sub(pattern, at, at)
    local stop = at
    if c == "(" or c == ")" then
      at = at + 1
    elseif c == "$" and at == last then
      items[#items + 1] = { quantifier = "" }
      at = at + 1
    elseif find(pattern, "^%%[bf%d]", at) then -- %b(), %f[…], %1
      local kind = sub(pattern, at + 1, at + 1)
      items[#items + 1] = { quantifier = "", walks = kind == "b" and 1 or kind ~= "f" and FAST or nil }
      at = at + (kind == "b" and 4 or 2)
    else
      if c == "%" then
        stop = at + 1
      elseif c == "[" then
        -- A bracket that stands first, or after a %, belongs to the set.
        local inside = find(pattern, "^%^", at + 1) and at + 2 or at + 1
        if sub(pattern, inside, inside) == "]" then inside = inside + 1 end
        while inside <= last and sub(pattern, inside, inside) ~= "]" do
          inside = inside + (sub(pattern, inside, inside) == "%" and 2 or 1)
        end
        stop = inside
      end
      if stop > last then
        items[#items + 1] = { quantifier = "" }
        return items
      end
      local class = sub(pattern, at, stop)
      local quantifier = find(pattern, "^[%*%+%-%?]", stop + 1) and sub(pattern, stop + 1, stop + 1) or ""
      items[#items + 1] = { class = class, quantifier = quantifier }
      at = stop + 1 + #quantifier
    end
  end
  return items
end

local function disjoint(a, b)
  a, b = members_of(a), members_of(b)
  for i = 0, 255 do
    if a[i] and b[i] then return false end
  end
  return true
end

-- Whether there is one way only to take a repetition, since what follows cannot begin with what it repeats, as in
-- `%w+%s*=`.
local function has_one_way(items, i)
  for j = i + 1, #items do
    local following = items[j]
    if not following.class or not disjoint(items[i].class, following.class) then return false end
    if following.quantifier == "" or following.quantifier == "+" then return true end
  end
  return false
end

-- What a repetition consists of. One that takes as little as it can ends where the last item can stand.
local function repeated(items, i)
  local item, last = items[i], items[#items]
  local ends = item.quantifier == "-" and i + 1 == #items and last.quantifier == "" and last.class or "."
  if ends == "." or sub(ends, 1, 2) == "[^" then return item.class end
  return "[^" .. (sub(ends, 1, 1) == "[" and sub(ends, 2) or written_of(ends) .. "]")
end

-- How many steps matching takes at most against so many bytes, of which so many may be where it begins.
-- `longest(class)`: how long a repetition of it can get there.
local function most_steps(items, length, beginnings, longest)
  local steps = 0.0 -- as integers, too many would be few again
  for i = #items, 1, -1 do
    local item, quantifier = items[i], items[i].quantifier
    if quantifier == "" or i == #items then -- nothing follows the last one: it never goes back
      steps = steps + (item.walks and item.walks * length or 1)
    elseif has_one_way(items, i) then -- there and back, at once
      steps = steps + (quantifier == "?" and 1 or longest(item.class))
    else
      steps = steps * (quantifier == "?" and 2 or longest(repeated(items, i)) + 1)
    end
  end
  return steps * beginnings
end

local function beginnings_of(pattern, length)
  return byte(pattern) == byte "^" and 1 or length + 1
end

-- The longest run of a class of bytes in a subject.
local function longest_run(s, class)
  local run, longest, at = written_of(class) .. "+", 0, 1
  while true do
    local first, last = find(s, run, at)
    if not first then return longest end
    longest, at = math.max(longest, last - first + 1), last + 1
  end
end

--- Whether matching a pattern against so many bytes could take more than a moment.
---@param pattern string
---@param length integer
---@return boolean
function M.is_slow(pattern, length)
  return most_steps(items_of(pattern), length, beginnings_of(pattern, length), function() return length end) > 1e6
end

-- Whether matching could take minutes. How long repetitions can get is only looked at where that decides.
local function takes_minutes(s, pattern, beginnings)
  local items = items_of(pattern)
  return most_steps(items, #s, beginnings, function() return #s end) > STEPS
    and most_steps(items, #s, beginnings, function(class) return longest_run(s, class) end) > STEPS
end

local function matching(name)
  local original = string[name]
  return function(s, pattern, ...)
    if type(s) == "string" and type(pattern) == "string" then
      local slow
      if name == "find" and (select(2, ...) or not find(pattern, "[%^%$%*%+%?%.%(%)%[%]%%%-]")) then
        slow = #s * #pattern * FAST > STEPS
      else
        slow = takes_minutes(s, pattern, name == "gmatch" and #s + 1 or beginnings_of(pattern, #s)) -- it has no ^
      end
      if slow then
        error(("string.%s: matching this pattern against %d bytes could take minutes"):format(name, #s), 2)
      end
    end
    return original(s, pattern, ...)
  end
end

-- Without a function of the caller's, comparing is C's: long texts that begin alike take long each time.
local function guarded_sort(list, before)
  if before == nil and type(list) == "table" then
    local count, longest = #list, 0
    for i = 1, count do
      local value = list[i]
      if type(value) == "string" and #value > longest then longest = #value end
    end
    if longest * count * math.log(count + 1, 2) * FAST > STEPS then
      error(("table.sort: %d texts of up to %d bytes could take minutes"):format(count, longest), 2)
    end
  end
  return table.sort(list, before)
end

--- By library and name, what stands in the place of the library's own.
---@type table<string, table<string, function>>
M.functions = {
  string = { rep = guarded_rep, find = matching "find", match = matching "match", gmatch = matching "gmatch",
    gsub = matching "gsub" },
  table = { move = guarded_move, sort = guarded_sort },
}

return M
