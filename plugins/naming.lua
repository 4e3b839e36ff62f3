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

-- The pattern for a relation and a kind. The last one is kept: most are asked for again at once.
local last, settings = {}, {}

local function pattern_for(template, relation, kind)
  if last.template ~= template or last.relation ~= relation or last.kind ~= kind then
    local quoted = relation:gsub('""', "\0"):match '"([^"]*)"$'
    local name = quoted and quoted:gsub("%z", '"') or relation:match "([^.]+)$" or relation
    last = { template = template, relation = relation, kind = kind,
      pattern = (template:gsub("{(%l+)}", { relation = escaped(name), kind = kind })) }
  end
  return last.pattern
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
      -- There may be tens of thousands of indexes, and only one answer for all of them.
      local options = context.options
      if settings.options ~= options then
        settings = { options = options, kinds = options.kinds, pattern = options.pattern }
      end
      local kinds, pattern = settings.kinds, settings.pattern
      if kinds then
        local looked_at = false
        for _, kind in ipairs(kinds) do looked_at = looked_at or kind == index.kind end
        if not looked_at then return end
      end
      if not name:find(pattern_for(pattern, index.relation, index.kind)) then
        return "warn", ("the name %s does not match %s"):format(name, pattern)
      end
    end,
  },
}
