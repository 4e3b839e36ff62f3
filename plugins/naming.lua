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
local last = {}

local function pattern_for(template, index)
  if last.template ~= template or last.relation ~= index.relation or last.kind ~= index.kind then
    local name = index.relation:match('([^."]+)"?$') or index.relation
    last = { template = template, relation = index.relation, kind = index.kind,
      pattern = (template:gsub("{(%l+)}", { relation = escaped(name), kind = index.kind })) }
  end
  return last.pattern
end

return {
  name = "naming",
  describe = "names that break a convention",
  options = {
    pattern = { type = "text", default = "^{relation}_",
      description = "A Lua pattern; {relation} and {kind} stand for those." },
    kinds = { type = "table", description = 'Only of these: { "index", "unique_constraint" }. Default: all.' },
  },
  rule = {
    on = { "index" },
    check = function(index, context)
      local options = context.options
      if not index.name then return end
      if options.kinds then
        local looked_at = false
        for _, kind in ipairs(options.kinds) do looked_at = looked_at or kind == index.kind end
        if not looked_at then return end
      end
      if not index.name:find(pattern_for(options.pattern, index)) then
        return "warn", ("the name %s does not match %s"):format(index.name, options.pattern)
      end
    end,
  },
}
