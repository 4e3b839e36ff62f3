-- A foreign key whose columns no index begins with: each delete or update of a referenced row then reads the whole
-- referencing table, holding a lock on the row.
--
-- Speaks of a declared foreign key where no btree or hash index without predicate (other than "column IS NOT NULL")
-- that is declared, or live and stays, has its columns first, in whatever order.

local function serves(index, wanted, count)
  if index.kind == "foreign_key" or index.valid == false and not index.declared then return false end
  if index.method ~= "btree" and not (index.method == "hash" and count == 1) then return false end
  local predicate = index.where and index.where:upper():gsub('[()"]', "")
  if predicate and not (count == 1 and predicate == next(wanted):upper() .. " IS NOT NULL") then return false end
  for i = 1, count do
    local key = index.keys[i]
    if not key or not wanted[key.column or ""] then return false end
  end
  return true
end

return {
  name = "foreign-key-without-index",
  describe = "a foreign key whose columns no index begins with",
  rule = {
    on = { "index" }, only = { kind = "foreign_key" }, default = "check", driver = "postgres",
    check = function(key, context)
      local wanted, names = {}, {}
      for i, column in ipairs(key.keys) do
        wanted[column.column], names[i] = true, column.column
      end
      for _, index in ipairs(context.relation.indexes) do
        if serves(index, wanted, #names) then return end
      end
      return "warn", ("no index begins with %s: deleting what it refers to reads all of %s"):format(
        table.concat(names, ", "), key.relation)
    end,
  },
}
