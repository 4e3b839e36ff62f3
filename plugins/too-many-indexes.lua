-- Every index is written with every row, or document. Speaks of a relation that has more of them than option `most`,
-- counting what is declared and what is live and stays; foreign keys have no index.

return {
  name = "too-many-indexes",
  describe = "more indexes on one relation than it can bear",
  options = { most = { type = "number", default = 15, description = "How many there may be.",
    check = function(value) return math.tointeger(value) and value > 0, "a whole number" end } },
  rule = {
    on = { "relation" }, default = "check",
    check = function(relation, context)
      local indexes, count = relation.indexes, 0
      if #indexes <= context.options.most then return end
      for _, index in ipairs(indexes) do
        if index.kind ~= "foreign_key" then count = count + 1 end
      end
      if count > context.options.most then
        return "warn", ("%d indexes, more than %d: each of them is written with every %s"):format(count,
          context.options.most, context.driver == "mongodb" and "document" or "row")
      end
    end,
  },
}
