-- From what the core found to what is done about it: one handler for each kind of fact, and what becomes of strays.

local Maker = require "lunadex.plan.maker"
local format = require "lunadex.format"

local known, matches_only, names_on = Maker.known, Maker.matches_only, Maker.names_on

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
    if self:resume(change) then return end
    local renames = self.options.rename and not self.dialect.name.stays or self:was_moved(change)
    if renames and not live.inherited and not live.extension_owned then
      change.action, change.reason = "rename", "declared under another name"
      return
    end
    self:finding(change, {
      level = "info", rule = "name-differs",
      message = ("%s is %s by definition"):format(live.name, change.name),
      hint = not self.dialect.name.stays and "--rename renames it." or nil,
    })
  end
  change.name = change.name or live.name
end

function handle:create(change)
  self.measured[#self.measured + 1] = change
end

function handle:replace(change)
  change.name = change.name or change.live_name
  -- Where names stay, what has one of ours is no new one of anything unless it is what it should be.
  if not self.dialect.name.stays and self.plan.catalog:index(change.fact.live.relation.space, change.name) then
    self:resume(change)
  end
  self.measured[#self.measured + 1] = change
end

function handle:alter(change)
  local can_alter = self.dialect.steps.can_alter
  if can_alter and not can_alter(change, self.plan) then
    change.action = "replace"
    return handle.replace(self, change)
  end
  change.name = change.name or change.live_name
  self.measured[#self.measured + 1] = change
end

function handle:rebuild(change)
  local live, naming = change.fact.live, self.dialect.name
  change.name = change.name or naming.reindexed and naming.reindexed(live.name, names_on(live.relation)) or live.name
  if self.plan.catalog:index(live.relation.space, change.name) then
    self:resume(change)
  end
  self.measured[#self.measured + 1] = change
end

function handle:stray(change)
  self:add_stray(change)
end

function handle:error(change)
  local err = change.fact.error
  self:finding(change, {
    level = "error", rule = error_rule(change.fact), message = err.message,
    hint = err.hint ~= "" and err.hint or nil,
  })
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
local function undroppable(change, dialect)
  local live, measure = change.fact.live, change.measure
  local function serves(field, why)
    local found = Maker.part_with(live, change.on, field)
    if not found or found == live then return found and why end
    return ("%s (its part %s of %s)"):format(why, found.name, found.relation.display)
  end
  if measure and measure.being_built then
    return "being built" .. (measure.builder and measure.builder ~= "" and " by " .. measure.builder or "")
  end
  -- One that is incomplete makes nothing unique, and nothing can refer to it.
  if live.constraint and not (live.partitioned and not live.valid) then return "it backs a constraint" end
  local served = serves("referenced", dialect.relies)
    or serves("replica_identity", "it is the replica identity of its table")
  if served then return served end
  if live.extension_owned then return "it belongs to an extension" end
  if live.inherited or live.parent then return "it belongs to the index of a partitioned table" end
  return serves("clustered", "its table is clustered on it")
end

function Maker:is_hidden(live)
  local is_hidden = self.dialect.steps.is_hidden
  return is_hidden ~= nil and is_hidden(live)
end

--- Whether a stray is hidden before it is dropped.
---@param live lunadex.Index
---@return boolean
function Maker:hides(live)
  return self.options.hide_first and self.dialect.steps.is_hidden ~= nil and live.valid and not self:is_hidden(live)
    or false
end

-- Hidden instead of dropped, so that it can be brought back at once. True if that is all that is to be done.
function Maker:hide(change)
  if not self:hides(change.fact.live) then return false end
  change.action, change.name = "alter", change.live_name
  change.hide, change.reason = true, "not declared: hidden from queries, and dropped by a later --drop-strays"
  return true
end

-- To be settled when it is known what it is worth, and who is at it.
function Maker:add_stray(change)
  self.strays[#self.strays + 1] = change
  self.measured[#self.measured + 1] = change
end

function Maker:settle_stray(change)
  local live = change.fact.live
  if self:goes_with_replacement(live) then
    change.action = nil
    return
  end
  local why = undroppable(change, self.dialect)
  local figures = usage_text(change)
  local clause = change.reason ~= "" and change.reason or "not declared"
  if not why and self:own_leftover(live) then
    change.action, change.reason = "drop", self.left
    return
  end
  local at_work = not live.valid and live.partitioned and self:work_in_progress(change)
  if self.options.repair and not live.valid and not at_work and not why then
    change.action = "drop"
    change.reason = (live.partitioned and "incomplete, and nobody is at it" or "invalid, and nobody is building it")
      .. (figures ~= "" and ", " .. figures or "")
    if live.partitioned then self:tell_finished_parts(change) end
    return
  end
  if not why and self:hide(change) then return end
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
  local state = self.dialect.steps.state and self.dialect.steps.state(live)
  if state then message = state .. "; " .. message end
  self.plan.summary.stray = self.plan.summary.stray + 1
  local finding = {
    level = (rule == "stray" or why) and "info" or "warning", rule = rule, live_name = live.name,
    message = message .. "kept" .. (why and ": " .. why
      or at_work and (": %s, so it may be somebody's work; --drop-strays drops it with all parts"):format(at_work)
      or invalid and ", --repair drops it" or ", --drop-strays drops it"),
  }
  if rule ~= "stray" then finding.stray = true end
  self:finding(change, finding)
  change.action = nil
end

-- The facts one by one; `every` also visits plain keeps.
function Maker:collect()
  local plan, only = self.plan, self.only
  local summary = plan.summary
  local changes = {}
  for fact in plan.diff:changes(not only) do
    local entry = fact.ordinal and plan.entries[fact.ordinal]
    local unnamed = fact.action == "create" and not entry.name and self:change(fact)
    if unnamed then self:make_up_name(unnamed) end
    local wanted = not only
    if only then
      wanted = matches_only(only, unnamed and unnamed.name or entry and entry.name, fact.live and fact.live.name,
        fact.relation or fact.live and fact.live.relation, entry and entry.relation)
      if wanted then
        summary.declared = summary.declared + (entry and 1 or 0)
        summary.live = summary.live + (fact.live and 1 or 0)
        if fact.action == "keep" then summary.keep = summary.keep + 1 end
      end
    end
    if wanted then
      local change = unnamed or self:change(fact)
      handle[fact.action](self, change)
      changes[#changes + 1] = change
    end
  end
  return changes
end

--- What is to be done, as far as it follows from the facts, --only and sizes; nil and the error if that cannot be told.
---@return lunadex.PlannedChange[]? changes
---@return lunadex.Error? err
function Maker:decide()
  self:narrow()
  local changes = self:collect()
  self:find_replaced(changes)
  if self.options.repair and not self.only then self:collect_leftovers(changes) end
  if self.only then
    self.plan.unfound = self:unfound()
    local mistake = self.plan.unfound and not self.plan.several
      and Maker.unfound_error(self.options.only, { self.plan.unfound })
    if mistake then return nil, mistake end
  end
  local ok, err = self:measure()
  if not ok then return nil, err end
  self:note_replaced(changes)
  for _, change in ipairs(self.strays) do
    self:settle_stray(change)
    if change.action then self:tell_forbidden(change) end
  end
  self:drop_left_constraints(changes)
  self:drop_left_checks(changes)
  for _, change in ipairs(changes) do
    if change.action == "rename" or change.action == "drop" then
      self.leaving[change.live_name .. "\0" .. change.relation] = change
    end
  end
  self:rename_parts(changes)
  return changes
end

local builds = { create = true, replace = true, rebuild = true }

-- Whether a change can be made, as far as that can be told beforehand; what speaks against it is a finding of its.
function Maker:possible(change)
  local action = change.action
  if action == "error" then return false end
  local named = change.entry and (action == "create" or action == "rename")
  if named and not self:settle_name(change) then return false end
  if builds[action] and not self:check_partitions(change) then return false end
  if action == "replace" and not self:check_replaced(change) then return false end
  if action == "replace" and self.dialect.name.stays then
    change.beside = change.resume and change.live_name or self:name_beside(change)
  end
  change.name = change.name or change.live_name
  return self:explain(change)
end

--- Takes a change into the plan, or counts it as the error that it is.
---@param change lunadex.PlannedChange
function Maker:settle(change)
  local plan, summary = self.plan, self.plan.summary
  if not change.action then return end -- a stray that is kept
  local possible = self:possible(change)
  if possible then plan.planned[#plan.planned + 1] = change end
  local result = possible and change.action or "error"
  if change.fact.action == "keep" and result ~= "keep" then summary.keep = summary.keep - 1 end
  if result ~= "keep" then summary[result] = summary[result] + 1 end
end
