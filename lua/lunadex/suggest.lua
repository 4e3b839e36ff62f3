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

--- The same as a sentence.
---@param word string
---@param candidates string[]|table<string, any>
---@return string?
function M.question(word, candidates)
  local hint = M.hint(word, candidates)
  return hint and "D" .. hint:sub(2)
end

--- What to do where a relation is not there; it may be misspelt, also in its schema.
---@param catalog lunadex.Catalog? # nil: it could not be read
---@param name string
---@param schema string?
---@return string
function M.relation(catalog, name, schema)
  local displays = {}
  if catalog then
    for relation in catalog:relations() do
      displays[schema and relation.schema .. "." .. relation.name or relation.name] = relation.display
    end
  end
  local nearest = M.nearest(schema and schema .. "." .. name or name, displays)
  return nearest and ("Did you mean %s?"):format(displays[nearest])
    or "Run the migration that creates it first, or take it out of the registry."
end

return M
