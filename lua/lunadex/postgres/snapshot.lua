--- A registry written from what is live: every plain index and every key, so that a plan of it has nothing to do.

local core = require "lunadex.core"

local lua_text = require "lunadex.lua_text"

local M = {}

local quote, is_identifier, comment = lua_text.quote, lua_text.is_identifier, lua_text.comment

local function list(strings)
  local quoted = {}
  for i, text in ipairs(strings) do quoted[i] = quote(text) end
  return "{ " .. table.concat(quoted, ", ") .. " }"
end

-- Storage parameters keep their order, for it is part of what pg_get_indexdef prints.
local function storage(options)
  local parts = {}
  if #options == 0 then return "{}" end
  if #options == 1 and is_identifier(options[1][1]) then
    return ("{ %s = %s }"):format(options[1][1], quote(options[1][2]))
  end
  for i, option in ipairs(options) do parts[i] = ("{ %s, %s }"):format(quote(option[1]), quote(option[2])) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

-- Definitions ---------------------------------------------------------------------------------------------------------

local function opclass(key)
  if not key.opclass then return nil end
  if not key.opclass_options or #key.opclass_options == 0 then return quote(key.opclass) end
  return "{ " .. quote(key.opclass) .. ", " .. storage(key.opclass_options):sub(3)
end

local function key_text(key)
  local base = key.column and quote(key.column) or "expr " .. quote(key.expression)
  local nulls = key.nulls
  if nulls == (key.descending and "first" or "last") then nulls = nil end
  local class = opclass(key)
  if not (nulls or class or key.collation or key.operator) then
    if not key.descending then return base end
    if key.column then return "desc " .. base end
  end
  local parts = { base }
  if key.descending then parts[#parts + 1] = "desc = true" end
  if nulls then parts[#parts + 1] = "nulls = " .. quote(nulls) end
  if class then parts[#parts + 1] = "opclass = " .. class end
  if key.collation then parts[#parts + 1] = "collate = " .. quote(key.collation) end
  if key.operator then parts[#parts + 1] = "with = " .. quote(key.operator) end
  return "key { " .. table.concat(parts, ", ") .. " }"
end

local function references(fields)
  local target = fields.references
  local name = quote(core.quote_name(target.schema, target.relation))
  if not target.columns or #target.columns == 0 then return name end
  return "{ " .. name .. ", " .. list(target.columns):sub(3)
end

-- What the definition is, without what it is called and how it is stored.
local function definition_parts(fields)
  local parts = {}
  local function add(text) parts[#parts + 1] = text end
  for _, key in ipairs(fields.keys) do add(key_text(key)) end
  if fields.method and (fields.kind == "index" or fields.kind == "exclusion_constraint") then
    add("method = " .. quote(fields.method))
  end
  if fields.kind == "index" and fields.unique then add "unique = true" end
  if fields.nulls_not_distinct then add "nulls_distinct = false" end
  if fields.include and #fields.include > 0 then add("include = " .. list(fields.include)) end
  if fields.where then add("where = " .. quote(fields.where)) end
  if fields.without_overlaps then
    add(fields.kind == "foreign_key" and "period = true" or "without_overlaps = true")
  end
  if fields.kind == "foreign_key" then
    add("references = " .. references(fields))
    if fields.match and fields.match ~= "simple" then add("match = " .. quote(fields.match)) end
    if fields.on_update and fields.on_update ~= "no action" then add("on_update = " .. quote(fields.on_update)) end
    if fields.on_delete and fields.on_delete ~= "no action" then add("on_delete = " .. quote(fields.on_delete)) end
    if fields.on_delete_columns and #fields.on_delete_columns > 0 then
      add("on_delete_columns = " .. list(fields.on_delete_columns))
    end
  end
  if fields.deferrable then add "deferrable = true" end
  if fields.initially_deferred then add "initially_deferred = true" end
  if fields.not_enforced then add "not_enforced = true" end
  return parts
end

local function key_texts(fields)
  local texts = {}
  for i, key in ipairs(fields.keys) do texts[i] = key_text(key) end
  return table.concat(texts, ", ")
end

local function same_options(a, b)
  a, b = a or {}, b or {}
  if #a ~= #b then return false end
  for i, option in ipairs(a) do
    if option[1] ~= b[i][1] or option[2] ~= b[i][2] then return false end
  end
  return true
end

-- The indexes attached to a partitioned one, on all levels below.
local function partitions(index, fields)
  local entries = {}
  local function visit(relation, parent)
    for _, partition in ipairs(relation:partitions()) do
      for _, child in ipairs(partition:indexes()) do
        if child.parent and child.parent.id == parent.id then
          local own = child:fields()
          local more = {}
          local keys = key_texts(own)
          if keys ~= key_texts(fields) then more[#more + 1] = "keys = { " .. keys .. " }" end
          if not same_options(own.with, fields.with) then
            more[#more + 1] = "with = " .. storage(own.with or {})
          end
          if own.tablespace and own.tablespace ~= fields.tablespace then
            more[#more + 1] = "tablespace = " .. quote(own.tablespace)
          end
          local value = quote(child.name)
          if #more > 0 then value = "{ name = " .. value .. ", " .. table.concat(more, ", ") .. " }" end
          local key = quote(partition.display)
          if key:sub(1, 1) == "[" then key = " " .. key .. " " end -- `[[[` would begin another string
          entries[#entries + 1] = "[" .. key .. "] = " .. value
          visit(partition, child)
        end
      end
    end
  end
  visit(index.relation, index)
  return entries
end

local function item_text(index, fields, parts, duplicate_of)
  local count = #fields.keys
  local all = table.move(parts, 1, count, 1, {})
  local function add(text) all[#all + 1] = text end
  add("name = " .. quote(index.name))
  table.move(parts, count + 1, #parts, #all + 1, all)
  if fields.with and #fields.with > 0 then add("with = " .. storage(fields.with)) end
  if fields.tablespace then add("tablespace = " .. quote(fields.tablespace)) end
  if duplicate_of then add("duplicate_of = " .. quote(duplicate_of)) end
  if index.partitioned and fields.kind == "index" then
    local entries = partitions(index, fields)
    if #entries > 0 then add("partitions = {\n      " .. table.concat(entries, ",\n      ") .. ",\n    }") end
  end
  return lua_text.item(fields.kind, all, count)
end

local ranks = { primary_key = 1, unique_constraint = 2, exclusion_constraint = 3, index = 4, foreign_key = 5 }

local function relation_text(relation, warnings)
  local indexes = {}
  for _, index in ipairs(relation:indexes()) do
    if not index.inherited and not index.parent and not index.extension_owned then indexes[#indexes + 1] = index end
  end
  if #indexes == 0 then return nil end
  table.sort(indexes, function(a, b)
    local x, y = ranks[a.kind] or 9, ranks[b.kind] or 9
    if x ~= y then return x < y end
    return a.name < b.name
  end)
  local lines, seen = {}, {}
  for _, index in ipairs(indexes) do
    local fields = index:fields()
    -- What is not enforced is never validated either, on purpose.
    if (index.valid or fields.not_enforced) and index.live then
      local parts = definition_parts(fields)
      local key = fields.kind .. "\0" .. table.concat(parts, "\0")
      lines[#lines + 1] = item_text(index, fields, parts, seen[key])
      seen[key] = seen[key] or index.name
    else
      local what = index.kind == "foreign_key" and "not validated" or "invalid"
      lines[#lines + 1] = ("  -- %s %s is %s and left out: %s"):format(index.kind, comment(index.name), what,
        comment(index.text))
      warnings[#warnings + 1] = ("%s %s of %s is %s and left out"):format(index.kind, index.name, relation.display,
        what)
    end
  end
  return ("on %s {\n%s\n}\n"):format(quote(relation.display), table.concat(lines, "\n"))
end

-- Tables that Lunadex makes for itself (docs/history.md, docs/backfills.md), and nothing to be declared.
local own = { run = true, change = true, backfill = true, backfill_range = true, backfill_error = true }

local function is_own(relation)
  return relation.schema == "lunadex" and own[relation.name] == true
end

--- The registry of a catalog, and what was left out.
---@param catalog lunadex.Catalog
---@return string text
---@return string[] warnings
function M.text(catalog)
  local blocks, warnings = { "-- Written by `lunadex snapshot` from the live database.\n" }, {}
  for relation in catalog:relations() do
    if not relation.extension_owned and not is_own(relation) then
      blocks[#blocks + 1] = relation_text(relation, warnings)
    end
  end
  return table.concat(blocks, "\n"), warnings
end

return M
