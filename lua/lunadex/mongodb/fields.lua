--- What is asked of definitions in many places.

local M = {}

--- The value of an option; nil: it is not there.
---@param list [string, string][]? # `traits` or `with` of fields
---@param name string
---@return string?
function M.option(list, name)
  for _, pair in ipairs(list or {}) do
    if pair[1] == name then return pair[2] end
  end
end

--- Whether a live index has an option that is on or off.
---@param index lunadex.Index
---@param name string
---@return boolean
function M.has(index, name) return M.option(index:fields().with, name) == "true" end

--- The first key of such a type, such as "text".
---@param fields lunadex.Fields
---@param opclass string
---@return lunadex.Key?
function M.key_of_type(fields, opclass)
  for _, key in ipairs(fields.keys) do
    if key.opclass == opclass then return key end
  end
end

return M
