-- Index specifications of MongoDB for tests, as text: what goes to the server itself, and by an independent hand what a
-- registry would make of it. A specification is { keys = { { "a", "1" }, … }, options = { { "sparse", "true" }, … } },
-- all values JSON.
local M = {}

---@class support.IndexSpec
---@field keys string[][]
---@field options string[][]

local function members(list)
  local parts = {}
  for i, item in ipairs(list) do parts[i] = ('"%s": %s'):format(item[1], item[2]) end
  return table.concat(parts, ", ")
end

--- As createIndexes takes it.
---@param spec support.IndexSpec
---@param name string
---@return string json
function M.json(spec, name)
  local options = members(spec.options)
  return ('{ "key": { %s }, "name": "%s"%s }'):format(members(spec.keys), name, options == "" and "" or ", " .. options)
end

local traits = { sparse = true, collation = true, wildcardProjection = true }

--- As the core takes it (lunadex.Fields).
---@param spec support.IndexSpec
---@param relation string
---@param name string?
---@return table
function M.fields(spec, relation, name)
  local fields = { kind = "index", relation = relation, name = name, method = "", keys = {}, traits = {}, with = {} }
  for i, item in ipairs(spec.keys) do
    local key = { column = item[1] }
    if item[2] == "-1" then
      key.descending = true
    elseif item[2] ~= "1" and item[2] ~= '{"$numberLong": "1"}' then
      key.opclass = item[2]:match('^"(.*)"$') or item[2]
    end
    fields.keys[i] = key
  end
  for _, item in ipairs(spec.options) do
    if item[1] == "unique" then
      fields.unique = item[2] == "true"
    elseif item[1] == "partialFilterExpression" then
      fields.where = item[2]
    else
      local list = traits[item[1]] and fields.traits or fields.with
      list[#list + 1] = { item[1], item[2] }
    end
  end
  return fields
end

return M
