-- A declared query on a sharded collection that does not say of the shard key where to look is sent to all shards, and
-- is as slow as the slowest.

return {
  name = "scattered-query",
  describe = "a declared query that goes to all shards",
  rule = {
    on = { "query" }, default = "plan", database = true, driver = "mongodb",
    check = function(query, context)
      if query.targeted ~= false then return end
      local relation = context.relation
      local message = "the query %s does not say which shards to ask: %s is sharded by %s; a condition on %s would"
      return "warn", message:format(query.name and ("%q"):format(query.name) or query.text, relation.name,
        relation.shard_key, relation.shard_fields[1])
    end,
  },
}
