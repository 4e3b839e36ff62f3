-- What a change needs of the live database, told before anything is built.

local Maker = require "lunadex.plan.maker"
local suggest = require "lunadex.suggest"

-- All relations below a partitioned one, by the names that `partitions = { … }` may call them.
local function partition_names(relation, names)
  for _, partition in ipairs(relation:partitions()) do
    names[partition.display], names[partition.name] = partition, partition
    partition_names(partition, names)
  end
  return names
end

local function partition_hint(name, names)
  local displays = {}
  for key, partition in pairs(names) do
    if key == partition.display then displays[#displays + 1] = key end
  end
  if #displays == 0 then return "It has no partition yet." end
  table.sort(displays)
  local count = #displays
  local shown = table.concat(displays, ", ", 1, math.min(count, 8)) .. (count > 8 and ", …" or "")
  return suggest.question(name, names) or "Its partitions are " .. shown .. "."
end

-- Whether what an index is to be on each partition is about partitions, and tablespaces, that there are.
function Maker:check_partitions(change)
  local named, relation = change.entry and change.entry.partitions, change.on
  if not named then return true end
  local function refuse(message, hint)
    self:finding(change, { level = "error", rule = "unknown-partition", message = message, hint = hint })
    return false
  end
  if relation.kind ~= "partitioned table" then
    return refuse(("partitions is given, but %s is not partitioned"):format(relation.display),
      "Take partitions away, or declare the index on the partitioned table.")
  end
  local names, fine = partition_names(relation, {}), true
  local sorted = {}
  for name in pairs(named) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    local tablespace = named[name].tablespace
    if not names[name] then
      fine = refuse(("%s is no partition of %s"):format(name, relation.display), partition_hint(name, names))
    elseif tablespace and not self:has_tablespace(tablespace) then
      fine = refuse(("tablespace \"%s\" for the partition %s does not exist"):format(tablespace, name),
        suggest.question(tablespace, self.plan.catalog:tablespaces()) or "Create it first.")
    end
  end
  return fine
end

function Maker:has_tablespace(name)
  for _, each in ipairs(self.plan.catalog:tablespaces()) do
    if each == name then return true end
  end
  return false
end

-- Whether an index of this definition may be a replica identity; that no column is null, the server knows.
local function may_identify(fields)
  if fields.kind == "primary_key" then return true end
  if not (fields.unique or fields.kind == "unique_constraint") then return false end
  if fields.where or fields.deferrable then return false end
  for _, key in ipairs(fields.keys) do
    if key.expression then return false end
  end
  return true
end

-- Whether what is replaced can go.
function Maker:check_replaced(change)
  local catalog, live = self.plan.catalog, change.fact.live
  if change.resume then live = catalog:index(change.on.space, change.name) end
  local identity, fields = live and Maker.part_with(live, change.on, "replica_identity"), change.entry.fields
  -- The parts of a primary key that goes and comes in one go are the server's to name: what hangs on them is lost.
  local lost = identity and identity ~= live and fields.kind == "primary_key"
  if identity and (lost or not may_identify(fields)) then
    self:finding(change, {
      level = "error", rule = "replica-identity",
      message = ("%s is the replica identity of %s, which the new one cannot be: it takes a unique index of columns")
        :format(identity.name, identity.relation.display)
        .. (lost and ", and of a partition one that is there before the old one goes" or ""),
      hint = "Give the table another replica identity first: ALTER TABLE … REPLICA IDENTITY …",
    })
    return false
  end
  local used = live and Maker.part_with(live, change.on, "dependents")
  if used then
    self:finding(change, {
      level = "error", rule = "depended-on",
      message = ("%s, %s, cannot be replaced: it is used by %s"):format(used.name, used.text, used.dependents),
      hint = "It groups by the key, and so may show every column, or names it in ON CONFLICT. Drop that and make it "
        .. "again afterwards, or declare the live key as it is.",
    })
    return false
  end
  local referenced = live and Maker.part_with(live, change.on, "referenced")
  if not referenced then return true end
  local message, hint = self.dialect.steps.relied_upon(change, referenced, catalog)
  self:finding(change, { level = "error", rule = "referenced", message = message, hint = hint })
  return false
end

-- Says what making the change will do to others; false if it cannot be made.
function Maker:explain(change)
  local possible = true
  for _, finding in ipairs(self.dialect.steps.findings(change, self.plan)) do
    self:finding(change, finding)
    if finding.level == "error" then possible = false end
  end
  return possible
end
