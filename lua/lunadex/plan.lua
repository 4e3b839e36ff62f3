--- What a registry's database needs: its declarations against the live catalog, with policy applied.
--
-- The core's diff says what the facts are; here it is decided what follows from them: whether a stray is dropped, a
-- name is changed, an invalid index is repaired or somebody is still building it, and under which name an unnamed
-- declaration is built. Plain keeps stay inside the core: nothing here runs once per index that needs nothing.

local core = require "lunadex.core"
local errors = require "lunadex.errors"
local format = require "lunadex.format"
local naming = require "lunadex.name"
local schedule = require "lunadex.schedule"
local steps = require "lunadex.steps"
local suggest = require "lunadex.suggest"

local M = {}

---@class lunadex.Finding
---@field level "error"|"warning"|"info"
---@field rule string
---@field message string
---@field hint string?
---@field relation string?
---@field name string?
---@field definition string?
---@field file string?
---@field line integer?

---@class lunadex.PlannedChange
---@field action "create"|"replace"|"rename"|"alter"|"rebuild"|"drop"|"wait"|"keep"
---@field relation string          # display name
---@field name string?             # what it is, or will be, called
---@field live_name string?        # what the live index is called now
---@field definition string        # one line
---@field reason string
---@field critical boolean
---@field description string?
---@field estimate {rows: number?, table_bytes: number?, index_bytes: number?, seconds: number?}
---@field findings lunadex.Finding[]
---@field waits string?            # why it will not begin at once, as far as that can be told now
---@field builder string?          # wait: who builds it
---@field entry lunadex.Entry?
---@field fact lunadex.Change      # what the core found
---@field on lunadex.Relation?     # nil only where there is no such relation
---@field ordinal integer?
---@field use_existing boolean
---@field resume boolean           # replace: an earlier run has built the new index already

---@class lunadex.Plan
---@field target string            # without secrets
---@field database string          # its name in the registry
---@field info lunadex.ServerInfo
---@field findings lunadex.Finding[]
---@field summary table<string, integer>
---@field planned lunadex.PlannedChange[]   # all but plain keeps
---@field entries lunadex.Entry[]
---@field diff lunadex.Diff
---@field set lunadex.Declarations
---@field catalog lunadex.Catalog
---@field connection lunadex.Connection
---@field options lunadex.PlanOptions
local Plan = {}
Plan.__index = Plan
Plan.__name = "lunadex.Plan"

---@class lunadex.PlanOptions
---@field only string[]?           # names of indexes or relations
---@field drop_strays boolean?
---@field repair boolean?         # drop what failed builds left and no declaration is about, on any relation
---@field rename boolean?
---@field mode "auto"|"concurrent"|"blocking"|nil
---@field jobs integer?            # changes at a time

-- Order in which a plan is read: what is done, then what is waited for.
M.actions = { "create", "replace", "rename", "alter", "rebuild", "drop", "wait" }

-- Undefined objects come as one code; what is missing is worth a rule of its own. The server's message may be in any
-- language, its own code is not.
local undefined_column = "42703"

local function error_rule(fact)
  local code = fact.error.code
  if code == "undefined" then
    if not fact.relation then return "missing-relation" end
    return fact.error.native == undefined_column and "unknown-column" or "undefined"
  end
  return (code:gsub("_", "-"))
end

-- The core says -1 where it does not know; estimates are no truer for their fractions.
local function known(number)
  if number and number >= 0 then return math.floor(number + 0.5) end
end

-- A first guess for people, from what a small machine does with one core: reading the table, then sorting its rows.
local function guess_seconds(measure)
  if not (known(measure.rows) and known(measure.table_bytes)) then return nil end
  return measure.table_bytes / 200e6 + measure.rows / 800e3
end

local function matches_only(only, name, live_name, relation, written)
  return name and only[name] or live_name and only[live_name] or written and only[written]
    or relation and (only[relation.display] or only[relation.name] or only[relation.schema .. "." .. relation.name])
end

local function did_you_mean(word, candidates)
  local nearest = suggest.nearest(word, candidates)
  return nearest and ('Did you mean "%s"?'):format(nearest)
end

-- The names of a relation's live indexes and keys.
local function names_on(relation)
  local names = {}
  for i, index in ipairs(relation:indexes()) do names[i] = index.name end
  return names
end

local Maker = {}
Maker.__index = Maker

function Maker:finding(change, finding)
  if change then
    local entry = change.entry
    finding.relation = finding.relation or change.relation
    finding.name = finding.name or change.name or change.live_name
    finding.definition = finding.definition or change.definition
    if entry then finding.file, finding.line = entry.file, entry.line end
    change.findings[#change.findings + 1] = finding
  end
  self.plan.findings[#self.plan.findings + 1] = finding
end

-- Where a name has to be its own: a foreign key's among the constraints of its relation, any other's in the schema.
local function name_space(fields, schema, relation, name)
  if fields.kind == "foreign_key" then return table.concat({ "f", schema, relation, name }, "\0") end
  return schema .. "\0" .. name
end

-- Names that are, or will be, in use in a schema by something else than `change`.
function Maker:taken(change, schema, name)
  if not self.declared_names then
    self.declared_names = {}
    for ordinal, entry in ipairs(self.plan.entries) do
      if entry.name then
        local fields = self.plan.set:fields(ordinal)
        local key = name_space(fields, fields.schema or "", fields.relation, naming.truncate(entry.name))
        self.declared_names[key] = self.declared_names[key] or ordinal
      end
    end
  end
  local catalog = self.plan.catalog
  local fields = change.entry.fields
  local by_ordinal = self.declared_names[name_space(fields, schema, change.on.name, name)]
  if by_ordinal == change.ordinal then by_ordinal = nil end
  local live = catalog:index(schema, name)
  local own = change.fact.live
  if live and own and live.name == own.name and live.relation.display == own.relation.display then live = nil end
  if fields.kind ~= "foreign_key" then return live, by_ordinal, catalog:relation(schema, name) end
  -- Only another constraint of the same relation is in a foreign key's way.
  if live and not (live.constraint and live.relation.display == change.relation) then live = nil end
  return live, by_ordinal, nil
end

-- Gives an unnamed creation its name and makes sure that a named one can have it.
function Maker:settle_name(change)
  local fields, relation = change.entry.fields, change.on
  if not change.name then
    change.name = naming.choose(fields, relation.name, function(name)
      local live, declared, table_name = self:taken(change, relation.schema, name)
      return live or declared or table_name or self.chosen[relation.schema .. "\0" .. name]
    end)
    self.chosen[relation.schema .. "\0" .. change.name] = true
    return true
  end
  local live, declared, table_name = self:taken(change, relation.schema, change.name)
  if live and live.relation.display == change.relation and self.leaving[live.name .. "\0" .. live.relation.display] then
    live = nil -- it is about to be renamed or dropped
    change.after_rename = true
  end
  local holder = live and ("an index of %s (%s)"):format(live.relation.display, live.text)
    or table_name and "a " .. table_name.kind
    or declared and ("the declaration at %s:%d"):format(self.plan.entries[declared].file,
      self.plan.entries[declared].line)
  if not holder then return true end
  self:finding(change, {
    level = "error", rule = "name-taken",
    message = ("the name %s is taken by %s"):format(core.quote_name(relation.schema, change.name), holder),
    hint = "Give the declaration another name, or rename or drop what has this one.",
  })
  return false
end

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
  return did_you_mean(name, names) or "Its partitions are " .. shown .. "."
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
        did_you_mean(tablespace, self.plan.catalog:tablespaces()) or "Create it first.")
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
  if change.resume then live = catalog:index(change.on.schema, change.name) end
  if live and live.replica_identity and not may_identify(change.entry.fields) then
    self:finding(change, {
      level = "error", rule = "replica-identity",
      message = ("%s is the replica identity of %s, which the new one cannot be: it takes a unique index of columns")
        :format(live.name, change.relation),
      hint = "Give the table another replica identity first: ALTER TABLE … REPLICA IDENTITY …",
    })
    return false
  end
  if not (live and live.referenced) then return true end
  self:finding(change, {
    level = "error", rule = "referenced",
    message = ("%s, %s, cannot be replaced: foreign keys rely on it: %s"):format(live.name, live.text,
      foreign_keys_on(catalog, live)),
    hint = "Drop these first, or declare the live one as it is" .. (change.entry.fields.kind == "primary_key" and "."
      or ", and the new one beside it under another name."),
  })
  return false
end

-- A change as the plan shows it, from a fact of the core.
function Maker:change(fact)
  local entry = fact.ordinal and self.plan.entries[fact.ordinal]
  local live = fact.live
  local relation = fact.relation or live and live.relation
  return {
    action = fact.action,
    relation = relation and relation.display or entry and entry.relation or "",
    name = entry and entry.name and naming.truncate(entry.name) or nil,
    live_name = live and live.name or nil,
    definition = fact.ordinal and self.plan.set:text(fact.ordinal) or live.text,
    reason = fact.reason or "",
    critical = entry and entry.critical or false,
    description = entry and entry.description or nil,
    estimate = {
      rows = relation and known(relation.rows), table_bytes = relation and known(relation.bytes),
      index_bytes = live and known(live.bytes),
    },
    findings = {},
    entry = entry,
    fact = fact,
    on = relation,
    ordinal = fact.ordinal,
    use_existing = fact.use_existing and fact.action == "create",
    resume = false,
  }
end

-- What has a replacement's temporary name takes its place, as soon as it is what it should be.
function Maker:resume(change, reason)
  local live = change.fact.live
  if live.name ~= naming.temporary(change.name, "new") then return false end
  change.action, change.resume, change.reason = "replace", true, reason
  self.replacing[live.relation.display .. "\0" .. change.name] = true
  return true
end

-- Each handler takes a change, settles its action and says what is to be said about it.
local handle = {}

function handle:keep(change)
  local fact, live = change.fact, change.fact.live
  if fact.satisfied_by_key then
    change.name = change.name or live.name
    self:finding(change, {
      level = "info", rule = "satisfied-by-key",
      message = ("the key %s does the work of the unique index %s"):format(live.name, change.name),
    })
    return
  end
  if fact.name_differs and change.name then
    -- An earlier run was stopped between building and swapping: what is left to do is the swap.
    if self:resume(change, "an interrupted replacement has built the new index already") then return end
    if self.options.rename and not live.inherited and not live.extension_owned then
      change.action, change.reason = "rename", "declared under another name"
      return
    end
    self:finding(change, {
      level = "info", rule = "name-differs",
      message = ("%s is %s by definition"):format(live.name, change.name),
      hint = "--rename renames it.",
    })
  end
  change.name = change.name or live.name
end

function handle:create(change)
  self.measured[#self.measured + 1] = change
end

function handle:replace(change)
  change.name = change.name or change.live_name
  if self.plan.catalog:index(change.fact.live.relation.schema, change.name) then
    self:resume(change, change.reason)
  end
  self.measured[#self.measured + 1] = change
end

function handle.alter(_, change)
  change.name = change.name or change.live_name
end

function handle:rebuild(change)
  local live = change.fact.live
  change.name = change.name or naming.reindexed(live.name, names_on(live.relation)) or live.name
  if self.plan.catalog:index(live.relation.schema, change.name) then
    self:resume(change, "an interrupted replacement is to be finished")
  end
  self.measured[#self.measured + 1] = change
end

function handle:stray(change)
  self.strays[#self.strays + 1] = change
  self.measured[#self.measured + 1] = change
end

function handle:error(change)
  local err = change.fact.error
  self:finding(change, {
    level = "error", rule = error_rule(change.fact), message = err.message,
    hint = err.hint ~= "" and err.hint or nil,
  })
end

-- Sizes, uses and builders for everything that is worth a question.
function Maker:measure()
  if #self.measured == 0 then return true end
  local items = {}
  for i, change in ipairs(self.measured) do
    local fact = change.fact
    items[i] = { relation = change.on, index = change.action ~= "create" and fact.live or nil,
      fields = change.entry and self.plan.set:fields(change.ordinal) or nil }
  end
  local measures, err = self.plan.connection:measure(items)
  if not measures then
    if err.code == "cancelled" then return nil, err end
    -- The plan is right without figures.
    self:finding(nil, { level = "warning", rule = "no-measure", message = "sizes cannot be read: " .. err.message })
    return true
  end
  for i, change in ipairs(self.measured) do
    local measure = measures[i]
    change.measure = measure
    change.estimate = {
      rows = known(measure.rows), table_bytes = known(measure.table_bytes), index_bytes = known(measure.index_bytes),
      seconds = change.entry and guess_seconds(measure) or nil,
    }
    if measure.forbidden and measure.forbidden ~= "" and change.entry and not self.forbidden[change.relation] then
      self.forbidden[change.relation] = true
      self:finding(change, { level = "warning", rule = "permission",
        message = ("the indexes of %s cannot be changed: %s"):format(change.relation, measure.forbidden),
        hint = "Connect as its owner, or as a member of the role that is." })
    end
    if measure.being_built and (change.action == "rebuild" or change.resume) then
      change.action = "wait"
      change.builder = measure.builder ~= "" and measure.builder or nil
      change.reason = "being built" .. (change.builder and " by " .. change.builder or " by somebody")
    end
  end
  return true
end

local function usage_text(change)
  local parts, measure = {}, change.measure
  if change.estimate.index_bytes then parts[1] = format.bytes(change.estimate.index_bytes) end
  if measure and known(measure.scans) then
    local age = known(measure.scans_since)
    parts[#parts + 1] = format.quantity(measure.scans, "scan") .. (age and " in " .. format.rough(age) or "")
  end
  return table.concat(parts, ", ")
end

-- Whether a live index may be dropped at all, or why not.
local function undroppable(change)
  local live, measure = change.fact.live, change.measure
  if measure and measure.being_built then
    return "being built" .. (measure.builder and measure.builder ~= "" and " by " .. measure.builder or "")
  end
  if live.constraint then return "it backs a constraint" end
  if live.referenced then return "a foreign key relies on it" end
  if live.replica_identity then return "it is the replica identity of its table" end
  if live.extension_owned then return "it belongs to an extension" end
  if live.inherited or live.parent then return "it belongs to the index of a partitioned table" end
  if live.clustered then return "its table is clustered on it" end
end

-- Ours: left by a replacement that was interrupted after its swap.
local function own_leftover(live)
  return naming.base_of(live.name, "old", names_on(live.relation)) ~= nil
end

function Maker:settle_stray(change)
  local live = change.fact.live
  if self.replacing[live.relation.display .. "\0" .. live.name] then
    change.action = nil -- it goes with the replacement that is finished
    return
  end
  local why = undroppable(change)
  local figures = usage_text(change)
  local clause = change.reason ~= "" and change.reason or "not declared"
  if not why and own_leftover(live) then
    change.action, change.reason = "drop", "left by an interrupted replacement"
    return
  end
  if self.options.repair and not live.valid and not live.partitioned and not why then
    change.action = "drop"
    change.reason = "invalid, and nobody is building it" .. (figures ~= "" and ", " .. figures or "")
    return
  end
  if self.options.drop_strays and not why then
    change.action = "drop"
    change.reason = clause .. (figures ~= "" and ", " .. figures or "")
    return
  end
  local invalid = not live.valid
  local rule = change.fact.duplicate and "duplicate" or invalid and "invalid" or "stray"
  local message = (figures ~= "" and figures .. "; " or "")
  if change.reason ~= "" then message = change.reason .. (figures ~= "" and ", " .. figures or "") .. "; " end
  if invalid and not (change.measure and change.measure.being_built) then message = "invalid; " .. message end
  self.plan.summary.stray = self.plan.summary.stray + 1
  local finding = {
    level = (rule == "stray" or why) and "info" or "warning", rule = rule, live_name = live.name,
    message = message .. "kept" .. (why and ": " .. why or (invalid and not live.partitioned) and ", --repair drops it"
      or ", --drop-strays drops it"),
  }
  if rule ~= "stray" then finding.stray = true end
  self:finding(change, finding)
  change.action = nil
end

-- Says what making the change will do to others; false if it cannot be made.
function Maker:explain(change)
  local possible = true
  for _, finding in ipairs(steps.findings(change, self.plan)) do
    self:finding(change, finding)
    if finding.level == "error" then possible = false end
  end
  return possible
end

-- The facts one by one; `every` also visits plain keeps.
function Maker:collect()
  local plan, only = self.plan, self.only
  local summary = plan.summary
  local changes = {}
  if only then
    summary.declared, summary.live = 0, 0
  end
  for fact in plan.diff:changes(not only) do
    local entry = fact.ordinal and plan.entries[fact.ordinal]
    local wanted = not only
    if only then
      wanted = matches_only(only, entry and entry.name, fact.live and fact.live.name,
        fact.relation or fact.live and fact.live.relation, entry and entry.relation)
      if wanted then
        self.only_matched = true
        summary.declared = summary.declared + (entry and 1 or 0)
        summary.live = summary.live + (fact.live and 1 or 0)
        if fact.action == "keep" then summary.keep = summary.keep + 1 end
      end
    end
    if wanted then
      local change = self:change(fact)
      handle[fact.action](self, change)
      changes[#changes + 1] = change
    end
  end
  return changes
end

-- Leftovers on relations that no declaration speaks of.
function Maker:collect_leftovers(changes)
  local seen = {}
  for _, change in ipairs(changes) do
    if change.fact.live then seen[change.relation .. "\0" .. change.fact.live.name] = true end
  end
  for relation in self.plan.catalog:relations() do
    for _, index in ipairs(relation:indexes()) do
      if not index.valid and index.kind == "index" and not seen[relation.display .. "\0" .. index.name] then
        local change = self:change { action = "stray", live = index, relation = relation, reason = "" }
        handle.stray(self, change)
        changes[#changes + 1] = change
      end
    end
  end
end

-- `--only` that nothing answers to, with the nearest of what would have been an answer.
function Maker:unmatched()
  local names = {}
  for fact in self.plan.diff:changes(false) do
    local entry = fact.ordinal and self.plan.entries[fact.ordinal]
    local relation = fact.relation or fact.live and fact.live.relation
    if entry then
      names[entry.relation] = true
      if entry.name then names[entry.name] = true end
    end
    if fact.live then names[fact.live.name] = true end
    if relation then names[relation.display], names[relation.name] = true, true end
  end
  local hint
  for _, name in ipairs(self.options.only) do hint = hint or did_you_mean(name, names) end
  local err = errors.new("usage", "--only " .. table.concat(self.options.only, ", ") .. " matches nothing",
    hint or "Give the name of a declared index, or of a relation as the plan shows it.")
  err.unmatched = true -- of several databases, another may have it
  return err
end

--- The plan of one database of a registry.
---@param database {name: string, entries: lunadex.Entry[]}
---@param connection lunadex.Connection
---@param options lunadex.PlanOptions?
---@return lunadex.Plan?
---@return lunadex.Error? err
function M.make(database, connection, options)
  options = options or {}
  local info, err = connection:connect()
  if not info then return nil, err end
  local set, entries = database.set:copy(), database.entries
  -- Relations that are spoken of without an index: whatever is live on them is stray.
  local bare = {}
  for title, relation in pairs(database.relations or {}) do
    if relation.bare then
      local schema, name = core.split_name(title)
      set:add_relation(schema, name)
      bare[#bare + 1] = { title = title, schema = schema, name = name, file = relation.file, line = relation.line }
    end
  end
  local catalog
  catalog, err = connection:catalog()
  if not catalog then return nil, err end
  local ok
  ok, err = connection:resolve(set, catalog)
  if not ok then return nil, err end
  local diff = core.diff(set, catalog)

  local plan = setmetatable({
    target = info.display, database = database.name, info = info, findings = {}, planned = {}, entries = entries,
    diff = diff, set = set, catalog = catalog, connection = connection, options = options,
    summary = {
      declared = diff.declared, live = diff.live, keep = diff:total("keep"), create = 0, replace = 0, rename = 0,
      alter = 0, rebuild = 0, drop = 0, wait = 0, stray = 0, error = 0,
    },
  }, Plan)
  local maker = setmetatable({
    plan = plan, options = options, measured = {}, forbidden = {}, strays = {}, chosen = {}, leaving = {},
    replacing = {},
  }, Maker)
  if options.only and #options.only > 0 then
    maker.only = {}
    plan.summary.keep = 0
    for _, name in ipairs(options.only) do maker.only[name] = true end
    plan.only = maker.only
  end
  if info.warning ~= "" then
    maker:finding(nil, { level = "warning", rule = "server", message = info.warning })
  end

  for _, relation in ipairs(bare) do
    if not catalog:relation(relation.schema, relation.name) then
      maker:finding(nil, { level = "error", rule = "missing-relation", relation = relation.title,
        message = "the relation does not exist", file = relation.file, line = relation.line })
      plan.summary.error = plan.summary.error + 1
    end
  end
  local changes = maker:collect()
  if options.repair and not maker.only then maker:collect_leftovers(changes) end
  if maker.only and not maker.only_matched then
    return nil, maker:unmatched()
  end
  ok, err = maker:measure()
  if not ok then return nil, err end
  for _, change in ipairs(maker.strays) do maker:settle_stray(change) end

  for _, change in ipairs(changes) do
    if change.action == "rename" or change.action == "drop" then
      maker.leaving[change.live_name .. "\0" .. change.relation] = true
    end
  end
  local summary = plan.summary
  for _, change in ipairs(changes) do
    local action = change.action
    if action == "rename" and not maker:settle_name(change) then
      summary.keep = summary.keep - 1
      action = "error"
    elseif action == "create" and not maker:settle_name(change) then
      action = "error"
    elseif (action == "create" or action == "replace" or action == "rebuild")
      and not (maker:check_partitions(change) and (action ~= "replace" or maker:check_replaced(change))) then
      if change.fact.action == "keep" then summary.keep = summary.keep - 1 end
      action = "error"
    elseif (action == "rename" or action == "replace") and change.fact.action == "keep" then
      summary.keep = summary.keep - 1
    end
    change.name = change.name or change.live_name
    if action and action ~= "error" and not maker:explain(change) then action = "error" end
    if action and action ~= "keep" then summary[action] = summary[action] + 1 end
    if action and action ~= "error" then plan.planned[#plan.planned + 1] = change end
  end
  for _, finding in ipairs(plan.findings) do
    if finding.level == "error" then plan.has_errors = true end
  end
  if not plan.has_errors then
    for _, step in ipairs(schedule.of(plan, options):rehearse(options.jobs or schedule.default_jobs)) do
      step.item.change.waits = step.reason
    end
  end
  return plan
end

--- Whether there is anything to do (or to wait for).
---@return boolean
function Plan:has_changes()
  for _, action in ipairs(M.actions) do
    if self.summary[action] > 0 then return true end
  end
  return false
end

--- The error that keeps this plan from being applied, if there is one.
---@return lunadex.Error?
function Plan:refusal()
  if not self.has_errors then return nil end
  local lines = {}
  for _, finding in ipairs(self.findings) do
    if finding.level == "error" then lines[#lines + 1] = M.finding_text(finding) end
  end
  return errors.new("invalid_definition", table.concat(lines, "\n"))
end

--- The changes in order of declaration, strays to be dropped last. Plain keeps are left out unless asked for:
--- `plan:changes { keeps = true }`.
---@param options {keeps: boolean?}?
---@return fun(): lunadex.PlannedChange?
function Plan:changes(options)
  if not (options and options.keeps) then
    local i = 0
    return function()
      i = i + 1
      return self.planned[i]
    end
  end
  local by_ordinal, rest = {}, {}
  for _, change in ipairs(self.planned) do
    if change.ordinal then by_ordinal[change.ordinal] = change else rest[#rest + 1] = change end
  end
  local maker = setmetatable({ plan = self, options = {} }, Maker)
  local next_fact, i = self.diff:changes(false), 0
  return function()
    for fact in next_fact do
      local ordinal = fact.ordinal
      if not ordinal then break end -- strays follow
      local change = by_ordinal[ordinal]
      if change then return change end
      if fact.action == "keep" and not fact.name_differs and not self.only then
        change = maker:change(fact)
        change.name = change.name or change.live_name
        return change
      end
    end
    i = i + 1
    return rest[i]
  end
end

--- One finding on one line: where, what, what to do.
---@param finding lunadex.Finding
---@return string
function M.finding_text(finding)
  local where = finding.file and ("%s:%d: "):format(finding.file, finding.line or 0) or ""
  local what = (finding.relation or "") .. (finding.name and " " .. finding.name or "")
  return format.line(where .. (what ~= "" and what .. ": " or "") .. finding.message
    .. (finding.hint and " (" .. finding.hint .. ")" or ""))
end

M.Plan = Plan
return M
