-- A unique index or constraint over a column that may be null lets any number of rows through that have a null there:
-- in SQL two nulls are not equal.
--
-- Silent where it says `nulls_distinct = false`, where the predicate excludes the nulls (it says so, or compares the
-- column with something), of expressions, and of materialized views: there no column can be NOT NULL, and refreshing
-- them concurrently takes a unique index. What is meant so is allowed where it is declared:
--
--   allow = { ["nullable-unique"] = "only known numbers are unique" }

return {
  name = "nullable-unique",
  describe = "unique over columns that may be null",
  rule = {
    on = { "index" }, only = { unique = true }, default = "check", database = true, driver = "postgres",
    check = function(index, context)
      if index.nulls_not_distinct or index.kind == "primary_key" then return end
      local nullable, excluded = {}, {}
      for _, column in ipairs(index.where and index.excluded_nulls or {}) do excluded[column] = true end
      for _, key in ipairs(index.keys) do
        local column = key.column
        if column and key.not_null == false and not excluded[column] then nullable[#nullable + 1] = column end
      end
      if #nullable > 0 and context.relation.kind ~= "materialized view" then
        return "warn", ("%s may be null, and rows with a null there are never equal"):format(
          table.concat(nullable, ", "))
      end
    end,
  },
}
