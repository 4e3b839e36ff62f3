-- An index on nothing but a boolean column splits its table in two: the server reads the table instead, unless one of
-- the values is rare, and then an index on other columns with that value as its predicate is smaller and better.

return {
  name = "lone-boolean",
  describe = "an index on a boolean alone, without a predicate",
  rule = {
    on = { "index" }, only = { kind = "index", unique = false, where = false, type = "boolean" },
    default = "check", database = true, driver = "postgres",
    check = function(index)
      local key = index.keys[1]
      if key.type == "boolean" then
        local name = key.column
        if not name:find "^[%l_][%w_]*$" or name:find "%u" then name = '"' .. name:gsub('"', '""') .. '"' end
        return "warn", ("%s is a boolean: the rare value belongs into a predicate, where = %q"):format(name, name)
      end
    end,
  },
}
