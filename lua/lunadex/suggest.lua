-- The nearest right spelling of a word that is not known.

local M = {}

--- Damerau-Levenshtein distance (optimal string alignment): insertions, deletions, substitutions and swaps of
--- neighbours, by bytes.
---@param a string
---@param b string
---@return integer
function M.distance(a, b)
  local la, lb = #a, #b
  local before, previous, current = {}, {}, {}
  for j = 0, lb do previous[j] = j end
  for i = 1, la do
    current[0] = i
    local ca = a:byte(i)
    for j = 1, lb do
      local cb = b:byte(j)
      local best = math.min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (ca == cb and 0 or 1))
      if i > 1 and j > 1 and ca == b:byte(j - 1) and cb == a:byte(i - 1) then
        best = math.min(best, before[j - 2] + 1)
      end
      current[j] = best
    end
    before, previous, current = previous, current, before
  end
  return previous[lb]
end

--- The candidate that `word` is most likely a slip of, or nil when none is near enough to be worth offering.
---@param word string
---@param candidates string[]|table<string, any>   # a list, or a table whose string keys are meant
---@return string?
function M.nearest(word, candidates)
  local list = {}
  for key, value in pairs(candidates) do
    local candidate = math.type(key) == "integer" and value or key
    if type(candidate) == "string" then list[#list + 1] = candidate end
  end
  table.sort(list) -- the answer must not depend on the order of a hash
  -- One slip in three letters, but in a word of two any letter would be a "slip".
  local limit = math.max(1, #word // 3)
  local folded = word:lower()
  local best, best_distance
  for _, candidate in ipairs(list) do
    if math.abs(#candidate - #word) <= limit then
      local distance = M.distance(folded, candidate:lower())
      if distance <= limit and distance < math.max(#word, #candidate) and (not best or distance < best_distance) then
        best, best_distance = candidate, distance
      end
    end
  end
  return best
end

--- `did you mean "unique"?`, or nil.
---@param word string
---@param candidates string[]|table<string, any>
---@return string?
function M.hint(word, candidates)
  local nearest = M.nearest(word, candidates)
  return nearest and ('did you mean "%s"?'):format(nearest) or nil
end

return M
