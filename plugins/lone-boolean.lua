-- An index on nothing but a boolean column splits its table in two: the server reads the table instead, unless one of
-- the values is rare, and then an index on other columns with that value as its predicate is smaller and better.

return {
  name = "lone-boolean",
  describe = "an index on a boolean alone, without a predicate",
  rule = {
    on = { "index" }, default = "check", driver = "postgres",
    check = function(index, context)
      if index.kind ~= "index" or index.where or #index.keys > 1 or index.unique then return end
      local name = index.keys[1].column
      local column = name and context.relation.columns[name]
      if column and column.type == "boolean" then
        return "warn", ("%s is a boolean: the rare value belongs into a predicate, where = %q"):format(name, name)
      end
    end,
  },
}
