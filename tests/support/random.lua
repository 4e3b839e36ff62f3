-- Random numbers that depend on their seeds alone: not on Lua's version, not on what else drew numbers before.

local M = {}

---@class support.Random
local Random = {}
Random.__index = Random

-- splitmix64: a counter and a mixing function; any seed is as good as any other.
local function mix(z)
  z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 27)) * 0x94D049BB133111EB
  return z ~ (z >> 31)
end

---@param ... integer seeds: the same ones give the same numbers
---@return support.Random
function M.new(...)
  local state = 0
  for _, seed in ipairs { ... } do state = mix(state + seed + 0x9E3779B97F4A7C15) end
  return setmetatable({ state = state }, Random)
end

---@param low integer
---@param high integer
---@return integer        # low … high
function Random:integer(low, high)
  self.state = self.state + 0x9E3779B97F4A7C15
  return low + (mix(self.state) >> 1) % (high - low + 1)
end

---@param percent integer
---@return boolean
function Random:chance(percent) return self:integer(1, 100) <= percent end

---@generic T
---@param list T[]
---@return T
function Random:pick(list) return list[self:integer(1, #list)] end

--- One of the names of `weights`: { { "btree", 45 }, … }.
---@param weights any[][]
---@return any
function Random:weighted(weights)
  local total = 0
  for _, item in ipairs(weights) do total = total + item[2] end
  local at = self:integer(1, total)
  for _, item in ipairs(weights) do
    at = at - item[2]
    if at <= 0 then return item[1] end
  end
end

--- The list in another order.
---@generic T
---@param list T[]
---@return T[]
function Random:shuffled(list)
  local result = table.move(list, 1, #list, 1, {})
  for i = #result, 2, -1 do
    local j = self:integer(1, i)
    result[i], result[j] = result[j], result[i]
  end
  return result
end

return M
