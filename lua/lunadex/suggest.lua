-- The nearest right spelling of a word that is not known.

local core = require "lunadex.core"

local M = {}

M.nearest = core.nearest

--- `did you mean "unique"?`, or nil.
---@param word string
---@param candidates string[]|table<string, any>
---@return string?
function M.hint(word, candidates)
  local nearest = M.nearest(word, candidates)
  return nearest and ('did you mean "%s"?'):format(nearest) or nil
end

return M
