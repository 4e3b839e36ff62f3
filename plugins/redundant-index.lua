-- An index whose keys are the first keys of another one, on the same rows, is redundant: whatever it serves, the other
-- one serves as well, and every write pays for both.
--
-- Speaks of a declared btree index (of MongoDB: a plain one) that is not unique, where another that is declared, or a
-- live key, begins with all of its keys in the same order and directions (or all of them reversed), has the same
-- predicate, and holds the columns that this one includes. A partial index beside one of all rows has work of its own:
-- it is smaller. Of two that are equal, the unique one stays; else the one that is declared first.

local function holds(other, index)
  if not index.include then return true end
  local columns = {}
  for _, key in ipairs(other.keys) do columns[key.column or ""] = true end
  for _, column in ipairs(other.include or {}) do columns[column] = true end
  for _, column in ipairs(index.include) do
    if not columns[column] then return false end
  end
  return true
end

local function traits(index)
  if not index.traits and index.method ~= "" then return "" end
  local list = {}
  for _, trait in ipairs(index.traits or {}) do list[#list + 1] = trait[1] .. "=" .. trait[2] end
  -- Storage options of MongoDB that make an index do something: it expires documents, or is hidden from queries.
  for _, option in ipairs(index.method == "" and index.with or {}) do
    list[#list + 1] = option[1] .. "=" .. option[2]
  end
  table.sort(list)
  return table.concat(list, ",")
end

local plain = { btree = true, [""] = true }

local function makes_redundant(other, index)
  -- What is live and undeclared may be dropped as a stray any day; keys may not.
  if not (other.declared or other.constraint) or other.deferrable then return false end
  if traits(other) ~= traits(index) or not holds(other, index) then return false end
  -- Of equal ones only one is told of, and what is unique has its own reason to be there.
  return #other.keys > #index.keys or other.unique or #(other.include or {}) > #(index.include or {})
    or not other.declared or other.position < index.position
end

return {
  name = "redundant-index",
  describe = "an index whose keys another one begins with",
  rule = {
    on = { "overlap" }, only = { kind = "index", unique = false }, default = "plan",
    check = function(index)
      if not plain[index.method] then return end
      for _, other in ipairs(index.overlaps) do
        if makes_redundant(other, index) then
          return "warn", ("%s does its work: %s"):format(other.name or "another index", other.definition)
        end
      end
    end,
  },
}
