--- What has to be said of a change before it is made.

local named = require("lunadex.steps").named
local Writer = require "lunadex.postgres.steps.writer"

local M = {}

-- A primary key that some partition has of its own and that cannot become a part of the one declared.
local function other_primary_key(relation, change, set)
  for _, partition in ipairs(relation:partitions()) do
    for _, index in ipairs(partition:indexes()) do
      if index.kind == "primary_key" and not index.inherited and not index:matches(set, change.ordinal) then
        return index
      end
    end
    local found = other_primary_key(partition, change, set)
    if found then return found end
  end
end

-- What is blocked while the change is made, because the server knows no other way.
local function blocking(change, version)
  local fields, relation = change.entry.fields, change.on
  local partitioned = relation.kind == "partitioned table"
  local all = "reads and writes of " .. relation.display .. " are blocked"
  if fields.kind == "exclusion_constraint" then
    return all .. " while its index is built: an exclusion constraint cannot be made from an index"
  elseif fields.without_overlaps and fields.kind ~= "foreign_key" then
    return all .. " while its index is built: a key WITHOUT OVERLAPS cannot be made from an index"
  elseif fields.kind == "primary_key" and partitioned and change.action == "replace" then
    return all .. " while its indexes are built: a table has but one primary key, and that of a partitioned table "
      .. "cannot be made from an index"
  elseif fields.kind == "foreign_key" and partitioned and not fields.not_enforced
    and not Writer.validates_later(fields, version) then
    return ("writes to %s and %s are blocked while all rows are checked: before PostgreSQL 18, a foreign key of a "
      .. "partitioned table cannot be validated later"):format(relation.display, fields.references.relation)
  end
end

--- What has to be said of a change before it is made: what will be blocked, and what cannot be done at all.
---@param change lunadex.PlannedChange
---@param plan lunadex.Plan
---@return lunadex.Finding[]
function M.findings(change, plan)
  local found = {}
  local action, relation = change.action, change.on
  if action ~= "create" and action ~= "replace" and action ~= "rebuild" then return found end
  local fields = change.entry.fields
  local foreign = Writer.is_key(fields) and Writer.foreign_partition(relation)
  if foreign then
    found[#found + 1] = {
      level = "error", rule = "foreign-partition",
      message = ("%s cannot have a key: its partition %s is a foreign table"):format(relation.display, foreign.display),
    }
  end
  local other = fields.kind == "primary_key" and other_primary_key(relation, change, plan.set)
  if other then
    found[#found + 1] = {
      level = "error", rule = "other-primary-key",
      message = ("the partition %s has a primary key of its own, %s: %s"):format(other.relation.display, other.name,
        other.text),
      hint = "Drop it, or declare the same for the whole table.",
    }
  end
  local blocked = #found == 0 and blocking(change, plan.info.version_number)
  if blocked then found[1] = { level = "warning", rule = "blocks", message = blocked } end
  local outside = fields.kind == "index" and Writer.foreign_partition(relation)
  if outside then
    found[#found + 1] = {
      level = "info", rule = "blocks",
      message = ("writes to %s are blocked for a moment in the end: its partition %s is a foreign table, so that the "
        .. "parts are put together by a statement that would also build them"):format(relation.display,
        outside.display),
    }
  end
  return found
end

-- The foreign keys that rely on a live index, as far as their columns tell: for a message.
local function foreign_keys_on(catalog, live)
  local columns, list = {}, {}
  for _, key in ipairs(live:fields().keys) do columns[key.column] = true end
  for relation in catalog:relations() do
    for _, each in ipairs(relation:indexes()) do
      local to = each.kind == "foreign_key" and not each.inherited and each:fields().references
      local relies = to and to.schema == live.relation.schema and to.relation == live.relation.name
      for _, column in ipairs(relies and to.columns or {}) do relies = relies and columns[column] end
      if relies then list[#list + 1] = ("%s of %s"):format(each.name, relation.display) end
    end
  end
  return table.concat(list, ", ")
end

--- Why a live index that something else needs cannot be replaced, and what to do.
---@param change lunadex.PlannedChange
---@param live lunadex.Index
---@param catalog lunadex.Catalog
---@return string message
---@return string hint
function M.relied_upon(change, live, catalog)
  return ("%s, %s, cannot be replaced: foreign keys rely on it: %s"):format(live.name, live.text,
    foreign_keys_on(catalog, live)), "Drop these first, or declare the live one as it is"
    .. (change.entry.fields.kind == "primary_key" and "."
      or ", and the new one beside it under another name.")
end

-- Whether foreign keys can refer to an index of these fields by just these columns, in whatever order.
local function is_key_of(fields, columns)
  local is_unique = fields.unique or fields.kind == "primary_key" or fields.kind == "unique_constraint"
  if not is_unique or fields.where or fields.deferrable or #fields.keys ~= #columns then return false end
  local wanted = {}
  for _, column in ipairs(columns) do wanted[column] = true end
  for _, key in ipairs(fields.keys) do
    if not wanted[key.column or ""] then return false end
  end
  return true
end

--- Which of some changes is to make the key that a foreign key refers to; nil: none, or it is there.
---@param change lunadex.PlannedChange
---@param others lunadex.PlannedChange[]
---@param plan lunadex.Plan
---@return lunadex.PlannedChange?
function M.key_maker(change, others, plan)
  local fields = change.action == "create" and plan.set:fields(change.ordinal)
  local to = fields and fields.kind == "foreign_key" and fields.references
  local relation = to and to.columns and plan.catalog:relation(to.schema, to.relation)
  if not relation then return nil end
  for _, live in ipairs(relation:indexes()) do
    if live.valid and is_key_of(live:fields(), to.columns) then return nil end
  end
  for _, other in ipairs(others) do
    local is_there = other.relation == relation.display
    if is_there and is_key_of(plan.set:fields(other.ordinal), to.columns) then return other end
  end
end

local function add_marks(index, relation, found)
  if index.replica_identity then found[#found + 1] = "the replica identity of " .. relation.display end
  if index.clustered then found[#found + 1] = "what " .. relation.display .. " is clustered on" end
  for _, partition in ipairs(index.partitioned and relation:partitions() or {}) do
    local part = Writer.attached(partition, index)
    if part then add_marks(part, partition, found) end
  end
  return found
end

--- What the statements of a replacement do not show, for whoever would send them by hand: what the old one is to its
--- table goes over to the new one in the transaction that exchanges them. The catalog knows nothing of comments and
--- statistics targets.
---@param change lunadex.PlannedChange
---@return string?
function M.not_shown(change)
  if change.action ~= "replace" then return nil end
  local old = named(change.on, change.name)
  if not old or old.kind == "foreign_key" then return nil end
  local marks = add_marks(old, change.on, {})
  return ("not shown: in the transaction that exchanges the two, apply %sgives the new one the old one's comments and "
    .. "statistics targets, if there are any")
    :format(#marks > 0 and "makes the new one " .. table.concat(marks, " and ") .. ", and " or "")
end

return M
