-- A unique index or constraint over a column that may be null lets any number of rows through that have a null there:
-- in SQL two nulls are not equal.
--
-- Silent where it says `nulls_distinct = false`, where the predicate leaves the nulls out (it says so, or compares the
-- column with something), and of expressions. What is
-- meant so is allowed where it is declared: allow = { ["nullable-unique"] = "only known numbers are unique" }.

-- What no null satisfies, at the beginning of a condition and behind the column: these operators give null for one.
local strict = { "<>", "!=", "<", ">", "=", "~", "!~", "LIKE ", "ILIKE ", "NOT LIKE ", "NOT ILIKE ", "IS NOT NULL" }

local function begins(text, with)
  return text:sub(1, #with) == with
end

-- Whether a predicate, as the server or somebody wrote it, leaves the nulls of a column out: by one of the conditions
-- that all have to hold. Where there is an OR, nobody knows.
local function leaves_out(predicate, column)
  local text = predicate:gsub("'[^']*'", "''"):upper():gsub("::CHARACTER VARYING", ""):gsub("::%w+", "")
    :gsub('[()"]', " "):gsub("%s+", " ")
  if text:find "%f[%w]OR%f[%W]" then return false end
  column = column:upper() .. " "
  for condition in (text .. " AND "):gmatch " ?(.-) AND " do
    if condition == "NOT " .. column .. "IS NULL" or condition == "NOT " .. column .. "IS NULL " then return true end
    if begins(condition .. " ", column) then
      local rest = condition:sub(#column + 1)
      for _, operator in ipairs(strict) do
        if begins(rest .. " ", operator) then return true end
      end
    end
  end
  return false
end

return {
  name = "nullable-unique",
  describe = "unique over columns that may be null",
  rule = {
    on = { "index" }, only = { unique = true }, default = "check", database = true, driver = "postgres",
    check = function(index)
      if index.nulls_not_distinct or index.kind == "primary_key" then return end
      local nullable, where = {}, index.where
      for _, key in ipairs(index.keys) do
        local column = key.column
        if column and key.not_null == false and not (where and leaves_out(where, column)) then
          nullable[#nullable + 1] = column
        end
      end
      if #nullable > 0 then
        return "warn", ("%s may be null, and rows with a null there are never equal"):format(
          table.concat(nullable, ", "))
      end
    end,
  },
}
