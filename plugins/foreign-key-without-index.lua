-- A foreign key whose columns no index begins with: each delete or update of a referenced row then reads the whole
-- referencing table, holding a lock on the row.
--
-- Speaks of a declared foreign key where no btree or hash index that is declared, or live and stays, has its columns
-- first, in whatever order, and no predicate but that these are not null; of a partitioned table, where not each of its
-- partitions has one either.

local function serves(index, wanted, count)
  if index.kind == "foreign_key" or not index.declared and index.valid == false then return false end
  if index.method ~= "btree" and not (index.method == "hash" and count == 1) then return false end
  if index.where then
    if not index.excludes_nulls_only then return false end
    for _, column in ipairs(index.excluded_nulls) do
      if not wanted[column] then return false end
    end
  end
  for i = 1, count do
    local key = index.keys[i]
    if not key or not wanted[key.column or ""] then return false end
  end
  return true
end

local function is_served(relation, wanted, count)
  for _, index in ipairs(relation.indexes) do
    if serves(index, wanted, count) then return true end
  end
  local partitions = relation.partitions
  for _, partition in ipairs(partitions) do
    if not is_served(partition, wanted, count) then return false end
  end
  return #partitions > 0
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
      if is_served(context.relation, wanted, #names) then return end
      return "warn", ("no index begins with %s: deleting what it refers to reads all of %s"):format(
        table.concat(names, ", "), key.relation)
    end,
  },
}
