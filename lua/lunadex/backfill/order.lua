--- In which order backfills run, and what has to be there before one begins.

local definitions = require "lunadex.backfill.definition"
local errors = require "lunadex.errors"
local suggest = require "lunadex.suggest"

local M = {}

--- What plans call it that something waits for a backfill.
M.rule = "backfill-first"

local function named(list, name)
  for _, each in ipairs(list) do
    if each.name == name then return each end
  end
end

local function contains(list, name)
  for _, each in ipairs(list or {}) do
    if each == name then return true end
  end
  return false
end

-- Whether `first` has to be finished before `second` begins.
local function precedes(first, second)
  return contains(second.after, first.name) or contains(first.before, second.name)
end

--- As they are declared, but each after those that it has to wait for; the registry has seen to it that there is a way.
---@param backfills lunadex.Backfill[]
---@return lunadex.Backfill[]
function M.sort(backfills)
  local sorted, taken = {}, {}
  local function take(backfill)
    if taken[backfill] then return end
    taken[backfill] = true
    for _, other in ipairs(backfills) do
      if precedes(other, backfill) then take(other) end
    end
    sorted[#sorted + 1] = backfill
  end
  for _, backfill in ipairs(backfills) do take(backfill) end
  return sorted
end

-- Names that are no backfill's: of indexes and keys.
local function beyond(names, all)
  local indexes = {}
  for _, name in ipairs(names or {}) do
    if not named(all, name) then indexes[#indexes + 1] = name end
  end
  return indexes
end

-- Whether it is at its end, as it is declared by now; nil and why that is not known.
local function is_finished(backfill, connection, dialect)
  local states, err = dialect.ledger.read(connection, backfill.name)
  if not states then return nil, err end
  return definitions.is_finished(backfill, states[1])
end

local function is_on(backfill, change, dialect)
  local name, schema = dialect.name.relation(backfill.on)
  local on = change.on
  return on and on.name == name and (not schema or on.schema == schema) or change.relation == backfill.on
end

--- The backfills that name what a change is about as what comes after them.
---@param change lunadex.PlannedChange
---@param all lunadex.Backfill[]   # of its database
---@param dialect lunadex.Dialect
---@return lunadex.Backfill[]
function M.before(change, all, dialect)
  local list = {}
  for _, backfill in ipairs(all) do
    if contains(backfill.before, change.name) and is_on(backfill, change, dialect) then list[#list + 1] = backfill end
  end
  return list
end

--- Those that something waits for and that are not finished, by name.
---@param all lunadex.Backfill[]   # of a database
---@param connection lunadex.Connection
---@param dialect lunadex.Dialect
---@return table<string, true>?
---@return lunadex.Error? err
function M.unfinished(all, connection, dialect)
  local unfinished = {}
  for _, backfill in ipairs(all) do
    if backfill.before then
      local finished, err = is_finished(backfill, connection, dialect)
      if err then return nil, err end
      if not finished then unfinished[backfill.name] = true end
    end
  end
  return unfinished
end

-- The live, valid index or key of that name on the relation.
local function is_live(relation, name)
  for _, index in ipairs(relation and relation:indexes() or {}) do
    if index.name == name and index.valid then return true end
  end
  return false
end

local function is_declared(backfill, entry, dialect)
  local name, schema = dialect.name.relation(backfill.on)
  local other, its = dialect.name.relation(entry.relation)
  return name == other and (not schema or not its or schema == its)
end

-- What `after` and `before` may name: other backfills, and what is declared or live on the relation.
local function names_of(backfill, database, relation, dialect)
  local names = {}
  for _, other in ipairs(database.backfills) do names[other.name] = other ~= backfill or nil end
  for _, entry in ipairs(database.entries) do
    if entry.name and is_declared(backfill, entry, dialect) then names[entry.name] = true end
  end
  for _, index in ipairs(relation and relation:indexes() or {}) do
    if index.valid then names[index.name] = true end
  end
  return names
end

--- Whether its `before` names something else than backfills: what, if anything, only a plan knows.
---@param backfill lunadex.Backfill
---@param all lunadex.Backfill[]   # of its database
---@return boolean
function M.looks_beyond(backfill, all)
  return beyond(backfill.before, all)[1] ~= nil
end

--- The names in its `after` and `before` that nothing has: it could never begin, or holds nothing back.
---@param backfill lunadex.Backfill
---@param plan lunadex.Plan        # of all that the database's registry declares
---@return {option: "after"|"before", name: string, hint: string?}[]
function M.unknown(backfill, plan)
  local unknown, dialect, names = {}, plan.dialect, nil
  for _, option in ipairs { "after", "before" } do
    for _, name in ipairs(beyond(backfill[option], plan.backfills)) do
      if not names then
        local relation, schema = dialect.name.relation(backfill.on)
        names = names_of(backfill, plan, plan.catalog:relation(schema, relation), dialect)
        for _, change in ipairs(plan.planned) do
          if change.name and is_on(backfill, change, dialect) then names[change.name] = true end
        end
      end
      if not names[name] then
        unknown[#unknown + 1] = { option = option, name = name, hint = suggest.hint(name, names) }
      end
    end
  end
  return unknown
end

--- Why it may not begin yet; nil: it may.
---@param backfill lunadex.Backfill
---@param database lunadex.backfill.Database
---@param connection lunadex.Connection
---@param dialect lunadex.Dialect
---@return lunadex.Error?
function M.obstacle(backfill, database, connection, dialect)
  for _, other in ipairs(database.backfills) do
    local finished, err = true, nil
    if precedes(other, backfill) then finished, err = is_finished(other, connection, dialect) end
    if err then return err end
    if not finished then
      return errors.new("refused", ("it comes after the backfill %s, which is not finished"):format(other.name),
        ("Run that first: lunadex backfill run --only %s."):format(other.name))
    end
  end
  local indexes = beyond(backfill.after, database.backfills)
  if #indexes == 0 then return nil end
  local catalog, err = connection:catalog()
  if not catalog then return err end
  local name, schema = dialect.name.relation(backfill.on)
  local relation = catalog:relation(schema, name)
  if not relation then
    return errors.new("undefined", ("there is no relation %s"):format(backfill.on),
      suggest.relation(catalog, name, schema))
  end
  for _, index in ipairs(indexes) do
    if not is_live(relation, index) then
      local names = names_of(backfill, database, relation, dialect)
      local meant = not names[index] and suggest.question(index, names)
      return errors.new("refused", ("it comes after %s, and there is no valid index or key of that name on %s"):format(
        index, backfill.on), ("%s first: lunadex apply --only %s."):format(meant and meant .. " Else build it"
          or "Build it", index))
    end
  end
end

return M
