-- On a sharded collection each shard sees only its own documents: so it can enforce a unique index only if that begins
-- with the whole shard key, and compares as that does. Blocks one that is to be built; speaks of one that is there,
-- which was made before its collection was sharded.

-- Why each shard alone cannot enforce it, and what to do; nil: what is equal has the same place in the order of the
-- shard key, or of its hashes.
local function obstacle(index, fields)
  for i, field in ipairs(fields) do
    local key = index.keys[i]
    if not key or key.column ~= field then
      return "has to begin with that key, for each shard sees only its own documents: put the shard key first"
    end
  end
  for _, trait in ipairs(index.traits or {}) do
    if trait[1] == "collation" and trait[2] ~= '{"locale": "simple"}' then
      return "has no collation, for what is equal by it may be on several shards: give it { locale = \"simple\" }"
    end
  end
end

return {
  name = "unique-on-sharded",
  describe = "a unique index that shards cannot enforce",
  rule = {
    on = { "index" }, only = { unique = true, sharded = true }, default = "plan", database = true, driver = "mongodb",
    check = function(index, context)
      local relation = context.relation
      local fields = relation.shard_fields
      local why = fields and obstacle(index, fields)
      if why then
        return index.live and "warn" or "block",
          ("a unique index of a collection that is sharded by %s %s, or declare it without unique"):format(
            relation.shard_key, why)
      end
    end,
  },
}
