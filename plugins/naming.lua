-- A convention for names. Asked for in the registry:
--
--   rule "naming" { options = { pattern = "^{relation}_[a-z0-9_]+$" } }
--
-- Speaks of a declared index or key whose name does not match the Lua pattern, in which {relation} stands for the name
-- of its relation, without schema, and {kind} for index, unique_constraint, primary_key, foreign_key or
-- exclusion_constraint. What is declared without a name is not looked at.

local function escaped(text)
  return (text:gsub("%p", "%%%0"))
end

-- What is wanted on a relation. The last one is kept: most are asked for again at once.
local last = {}

local function wanted_on(relation, options)
  if last.relation == relation and last.options == options then return last end
  local quoted = relation:gsub('""', "\0"):match '"([^"]*)"$'
  local name = escaped(quoted and quoted:gsub("%z", '"') or relation:match "([^.]+)$" or relation)
  local template, kinds = options.pattern, options.kinds and {}
  for _, kind in ipairs(options.kinds or {}) do kinds[kind] = true end
  last = { relation = relation, options = options, kinds = kinds, template = template,
    has_kind = template:find("{kind}", 1, true), pattern = (template:gsub("{relation}", { ["{relation}"] = name })) }
  return last
end

local known = { index = true, unique_constraint = true, primary_key = true, foreign_key = true,
  exclusion_constraint = true }

local function are_kinds(list)
  local count = 0
  for _, kind in pairs(list) do count = known[kind] and count + 1 or -math.huge end
  return count > 0 and count == #list, 'some of "index", "unique_constraint", "primary_key", "foreign_key"'
end

return {
  name = "naming",
  describe = "names that break a convention",
  options = {
    pattern = { type = "pattern", default = "^{relation}_",
      description = "A Lua pattern; {relation} and {kind} stand for those." },
    kinds = { type = "table", check = are_kinds,
      description = 'Only of these: { "index", "unique_constraint" }. Default: all.' },
  },
  rule = {
    on = { "index" },
    check = function(index, context)
      local name = index.name
      if not name then return end
      local wanted = wanted_on(index.relation, context.options)
      if wanted.kinds and not wanted.kinds[index.kind] then return end
      local pattern = wanted.has_kind and wanted.pattern:gsub("{kind}", index.kind) or wanted.pattern
      if not name:find(pattern) then
        return "warn", ("the name %s does not match %s"):format(name, wanted.template)
      end
    end,
  },
}
