--- Which changes may run side by side on PostgreSQL, and which comes first.
--
-- What decides, all measured on real servers (tests/spec/06-faults/facts_spec.lua):
-- * Two concurrent builds on one table deadlock: one change at a time per table, and per tree of partitions, since what
--   is built below locks what is above. Builds that block writers share the table's lock, and its scan: they go
--   together.
-- * A build with a predicate or an expression, one that blocks writers, and the check of a foreign key make every
--   concurrent build in the database wait for their end. Plain builds do not: they go first, side by side. Beside them
--   only such a build begins that by estimate ends before them, and so holds none of them up.
-- * A foreign key needs the key that it refers to, and locks both tables.
-- Within a wave: critical changes, then the tables with most to do from there on, then the longest.

local schedule = require "lunadex.schedule"

local M = {}

---@class lunadex.postgres.Item: lunadex.Item
---@field wave integer
---@field trees table<string, boolean>   # the tables it occupies → whether others may share it
---@field references lunadex.Relation?   # a foreign key: the other relation
---@field load number              # seconds of this and of what comes after it on its tables

---@class lunadex.postgres.Schedule: lunadex.Schedule
---@field plain table<lunadex.postgres.Item, boolean>   # plain builds that are not finished
---@field busy table<string, {count: integer, shared: boolean, by: lunadex.Item}>
local Schedule = schedule.class()

local EARLY, PLAIN, HOLDING, EXCLUSIVE, FOREIGN_KEY, ALTER, RENAME, DROP = 1, 2, 3, 4, 5, 6, 7, 8

-- What makes concurrent builds elsewhere wait for its end.
local holds_up = { [HOLDING] = true, [EXCLUSIVE] = true, [FOREIGN_KEY] = true }

local function is_plain(fields)
  if fields.where then return false end
  for _, key in ipairs(fields.keys) do
    if key.expression then return false end
  end
  return true
end

-- The topmost relation of a partition tree.
local function tree_of(relation)
  while relation.parent do relation = relation.parent end
  return relation.display
end

-- What a primary key does to the columns of a table, it does to those of all that inherit from it: where one is made, a
-- family is a tree, too, which all other changes may share. nil: none is made in this one.
local function family_of(relation, made)
  if not next(made) then return nil end
  local family = "family of " .. relation.family.display
  return made[family] ~= nil and family or nil
end

local function makes_primary_key(change)
  return change.entry and change.entry.fields.kind == "primary_key" and change.action ~= "rename"
end

local function families_with_keys(plan)
  local made = {}
  for change in plan:work() do
    if makes_primary_key(change) then made["family of " .. change.on.family.display] = true end
  end
  return made
end

local function blocks_writers(change, options)
  return (options.mode or change.entry and change.entry.mode) == "blocking"
end

local function wave_of(change, frees, options)
  local action = change.action
  if frees[change] then return EARLY end
  if action == "rename" then return RENAME end
  if action == "drop" then return DROP end
  if action == "alter" then return change.entry.fields.kind == "foreign_key" and FOREIGN_KEY or ALTER end
  local fields = change.entry.fields
  if fields.kind == "foreign_key" then return FOREIGN_KEY end
  if fields.kind == "exclusion_constraint" then return EXCLUSIVE end
  return is_plain(fields) and not blocks_writers(change, options) and PLAIN or HOLDING
end

-- What a foreign key refers to.
local function references_of(change, wave, plan)
  local to = wave == FOREIGN_KEY and change.entry.fields.references
  return to and plan.catalog:relation(to.schema, to.relation) or nil
end

-- The tables that a change locks.
local function trees_of(change, references, options, made)
  local relation = change.on
  local trees = {
    [tree_of(relation)] = change.action == "create" and change.entry.fields.kind == "index"
      and blocks_writers(change, options) and relation.kind ~= "partitioned table",
  }
  if references then trees[tree_of(references)] = false end
  if change.aside then trees[tree_of(change.aside.on)] = false end
  local family = family_of(relation, made)
  if family then trees[family] = not makes_primary_key(change) end
  return trees
end

local function makes_key(item, relation)
  local fields = item.change.entry and item.change.entry.fields
  return fields and relation and item.change.relation == relation.display
    and (fields.unique or fields.kind == "primary_key" or fields.kind == "unique_constraint")
end

-- Why `other` has to be finished before `item`, where both are on one table; nil: it need not.
local function reason_for(item, other)
  if item.wave == EARLY then
    return nil
  elseif item.wave == DROP then -- what replaces it in use stands first
    return other.wave < DROP and "it is dropped when the builds of its table are done"
  elseif item.wave == RENAME then
    return other.wave < FOREIGN_KEY and "it is renamed when the builds of its table are done"
  elseif item.wave == FOREIGN_KEY then
    return other.wave < FOREIGN_KEY and (makes_key(other, item.references) and "it refers to that key"
      or "it locks both its tables, and their builds come first")
  end
end

local function add_needs(item, others)
  for _, other in ipairs(others) do
    local reason = other ~= item and reason_for(item, other)
    if reason then item.needs[#item.needs + 1] = { item = other, reason = reason } end
  end
end

-- What has the name that another is to have may be of another table.
local function add_names(items)
  local by_change = {}
  for _, item in ipairs(items) do by_change[item.change] = item end
  for _, item in ipairs(items) do
    local other = item.change.after and by_change[item.change.after]
    if other then item.needs[1] = { item = other, reason = "that has its name" } end
  end
end

-- Whether `a` is better begun before `b`, on one table; then among all.
local function earlier(a, b)
  if a.wave ~= b.wave then return a.wave < b.wave end
  local critical = a.change.critical or false
  if critical ~= (b.change.critical or false) then return critical end
  if a.seconds ~= b.seconds then return a.seconds > b.seconds end
  return a.number < b.number
end

local function better(a, b)
  local critical = a.change.critical or false
  if a.wave == b.wave and critical == (b.change.critical or false) and a.load ~= b.load then return a.load > b.load end
  return earlier(a, b)
end

-- Items of one table follow one another, so that each carries what comes after it; those that share it go together.
local function add_loads(items, tree)
  table.sort(items, earlier)
  local load, shared_load = 0, 0
  for i = #items, 1, -1 do
    local item = items[i]
    load = load + item.seconds
    item.load = math.max(item.load, load)
    if item.trees[tree] then shared_load = item.load end
  end
  for _, item in ipairs(items) do
    if item.trees[tree] then item.load = math.max(item.load, shared_load) end
  end
end

--- The schedule of a plan's changes.
---@param plan lunadex.Plan
---@param options lunadex.StepOptions?
---@return lunadex.Schedule
function M.of(plan, options)
  options = options or {}
  local frees = {} -- a name that another change is waiting for
  for change in plan:work() do
    if change.after then frees[change.after] = true end
  end
  local self = setmetatable({ items = {}, plain = {}, busy = {} }, Schedule)
  local by_tree, made = {}, families_with_keys(plan)
  for change in plan:work() do
    local wave = wave_of(change, frees, options)
    local references = references_of(change, wave, plan)
    local item = schedule.item(change, #self.items + 1, {
      wave = wave, load = 0, trees = trees_of(change, references, options, made), references = references,
    })
    self.items[#self.items + 1] = item
    if wave == PLAIN then self.plain[item] = true end
    for tree in pairs(item.trees) do
      by_tree[tree] = by_tree[tree] or {}
      table.insert(by_tree[tree], item)
    end
  end
  add_names(self.items)
  for tree, items in pairs(by_tree) do
    add_loads(items, tree)
    for _, item in ipairs(items) do add_needs(item, items) end
  end
  self:fill(better)
  return self
end

-- Whether a plain build would have to wait for the end of `item`, were it begun now.
function Schedule:would_hold_up(item, now)
  for plain in pairs(self.plain) do
    local left = plain.seconds - (plain.state == "running" and now - plain.began or 0)
    if left < item.seconds then return true end
  end
  return false
end

-- Why an item may not start: "busy" with the item that is there, "needs" with one of its needs, "holds"; nil if it may.
function Schedule:obstacle(item, now)
  for _, need in ipairs(item.needs) do
    if need.item.state ~= "finished" then return "needs", need end
  end
  for tree, shared in pairs(item.trees) do
    local busy = self.busy[tree]
    if busy and not (shared and busy.shared) then return "busy", busy.by end
  end
  if holds_up[item.wave] and self:would_hold_up(item, now) then return "holds" end
end

function Schedule:begins(item)
  for tree, shared in pairs(item.trees) do
    local busy = self.busy[tree] or { count = 0, shared = shared, by = item }
    busy.count = busy.count + 1
    self.busy[tree] = busy
  end
end

function Schedule:ends(item)
  self.plain[item] = nil
  for tree in pairs(item.trees) do
    local busy = self.busy[tree]
    busy.count = busy.count - 1
    if busy.count == 0 then self.busy[tree] = nil end
  end
end

--- Why a queued item does not run, for people; nil: it only waits for its turn.
---@param item lunadex.Item
---@param now number
---@return string?
function Schedule:reason(item, now)
  local obstacle, other = self:obstacle(item, now)
  if not obstacle then return nil end
  if obstacle == "holds" then return "after the plain builds, whose end would have to wait for it" end
  local change = (other.item or other).change
  local reason = obstacle == "busy" and "one build per table" or other.reason
  return ("after %s: %s"):format(change.name or change.live_name, reason)
end

return M
