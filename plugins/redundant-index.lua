-- An index whose keys are the first keys of another one, on the same rows, is redundant: whatever it serves, the other
-- one serves as well, and every write pays for both.
--
-- Speaks of a declared btree index (of MongoDB: a plain one) that is not unique, where another that is declared, or a
-- live key, begins with all of its keys in the same order and directions (or all of them reversed), has the same
-- predicate, and holds the columns that this one includes. A partial index beside one of all rows has work of its own:
-- it is smaller. Of two that are equal, the unique one stays; else the one that is declared first.

local function same(a, b)
  return a.column == b.column and a.expression == b.expression and (a.collation or "") == (b.collation or "")
    and (a.opclass or "") == (b.opclass or "") and not (a.opclass_options or b.opclass_options)
end

-- Whether the first of `longer` are `keys`; backwards is as good as forwards, if all are.
local function begins_with(longer, keys, method)
  local reversed
  for i, key in ipairs(keys) do
    local other = longer[i]
    if not other or not same(key, other) then return false end
    if method == "" and key.opclass then return false end -- the text, hashed and geographic ones of MongoDB
    local turned = (key.descending or false) ~= (other.descending or false)
    if reversed == nil then reversed = turned end
    if turned ~= reversed or not turned and key.nulls ~= other.nulls then return false end
    -- Turned round, nulls are at the other end: that is only so by itself where neither says where they are.
    if turned and (key.nulls or other.nulls) then return false end
  end
  return true
end

local function holds(other, index)
  local columns = {}
  for _, key in ipairs(other.keys) do columns[key.column or ""] = true end
  for _, column in ipairs(other.include or {}) do columns[column] = true end
  for _, column in ipairs(index.include or {}) do
    if not columns[column] then return false end
  end
  return true
end

local function traits(index)
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

-- `first`: it is declared before the index.
local function makes_redundant(other, index, first)
  if other == index or other.kind == "foreign_key" or other.kind == "exclusion_constraint" then return false end
  if not plain[other.method or ""] or not begins_with(other.keys, index.keys, index.method) then return false end
  if other.where ~= index.where or traits(other) ~= traits(index) then return false end
  if other.deferrable or not holds(other, index) then return false end
  -- Of equal ones only one is told of, and what is unique has its own reason to be there.
  return #other.keys > #index.keys or other.unique or #(other.include or {}) > #(index.include or {}) or first
end

return {
  name = "redundant-index",
  describe = "an index whose keys another one begins with",
  rule = {
    on = { "overlap" }, default = "plan",
    check = function(index, context)
      if index.kind ~= "index" or index.unique or not plain[index.method or ""] then return end
      local first = index.keys[1].column
      local others, before = context.relation.indexes, true -- in the order of their declarations
      for i = 1, #others do
        local other = others[i]
        before = before and other ~= index
        -- What is live and undeclared may be dropped as a stray any day; keys may not.
        if other.keys[1].column == first and (other.declared or other.constraint)
          and makes_redundant(other, index, before or not other.declared) then
          return "warn", ("%s does its work: %s"):format(other.name or "another index", other.definition)
        end
      end
    end,
  },
}
