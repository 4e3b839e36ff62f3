--- One index, for scripts: built, dropped, renamed. The same as a registry with nothing else in it, planned and
--- applied.

local Connection = require("lunadex.database").Connection
local apply = require "lunadex.apply"
local arguments = require "lunadex.arguments"
local backfills = require "lunadex.backfill"
local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local lock = require "lunadex.lock"
local planning = require "lunadex.plan"
local registry = require "lunadex.registry"
local session = require "lunadex.session"
local task = require "lunadex.task"

local M = {}

--- What stands in a registry between the braces of `on "…" { … }`, as data: relation → its declarations.
---@param relations table<string, table[]>
---@param target string?           # which kind of database it is for
---@param level integer            # of who is to be named in messages: 1 is the caller
---@return lunadex.Registry?
---@return lunadex.Error? err
function M.declare(relations, target, level)
  local file, line = task.place(level + 1)
  local titles, list = {}, {}
  for title in pairs(relations) do titles[#titles + 1] = title end
  table.sort(titles)
  for i, title in ipairs(titles) do
    local items = {}
    for j, declaration in ipairs(relations[title]) do
      local options = {}
      for key, value in pairs(declaration) do options[key] = value end
      options.kind = nil
      items[j] = { kind = declaration.kind or "index", line = line, options = options }
    end
    list[i] = { relation = title, line = line, items = items }
  end
  local declared, mistakes = registry.declare(list, file, { target = target })
  if declared then return declared end
  return nil, errors.of_mistakes(mistakes)
end

---@class lunadex.SingleBackfill
local SingleBackfill = {}
SingleBackfill.__index = SingleBackfill
SingleBackfill.__name = "lunadex.SingleBackfill"

function SingleBackfill:__tostring() return "lunadex.SingleBackfill: " .. self.name end

--- Runs it, as `lunadex backfill run` would: what is finished is not done again.
---@param options lunadex.BackfillOptions|{connection: lunadex.Connection}
---@return lunadex.BackfillOutcome?
---@return lunadex.Error? err      # also that it failed; what it did before stays
function SingleBackfill:run(options)
  arguments.check(1, "run", options, "table")
  arguments.options(1, "run", options, arguments.backfilling)
  local connection = options.connection
  if not (connection and connection.handle and connection.connect) then
    error("the option connection is no open connection", 2)
  end
  if connection.given.read_only then return nil, errors.reading() end
  local declared, mistakes = registry.backfill(self.raw, self.name, self.file, self.line,
    { target = connection.target })
  if not declared then return nil, errors.of_mistakes(mistakes) end
  return task.run(function()
    local outcome, err = backfills.run({ declared }, { backfills = { declared }, entries = {} }, connection, options)
    local failure = outcome and outcome.failures[1]
    if failure then return session.finish(nil, failure.error) end
    if outcome and (outcome.interrupted or outcome.summary.cancelled > 0) then
      return session.finish(nil, session.interrupted())
    end
    if outcome and outcome.summary.aborted > 0 then return nil, errors.new("cancelled", "the backfill was aborted") end
    return session.finish(outcome, err)
  end)
end

---@param declaration table
---@param level integer            # of who is to be named in messages: 1 is the caller
---@return lunadex.SingleBackfill
function M.backfill(declaration, level)
  local raw = {}
  for key, value in pairs(declaration) do raw[key] = value end
  raw.name = nil
  if type(declaration.name) ~= "string" then error("a backfill has no name", level + 1) end
  local file, line = task.place(level + 1)
  return setmetatable({ raw = raw, name = declaration.name, file = file, line = line }, SingleBackfill)
end

local words = { "created", "replaced", "rebuilt", "altered", "renamed", "dropped" }

-- Why a plan leaves the one thing undone that was asked for.
local function refusal(plan)
  local reasons, rules = {}, {}
  for change in plan:changes() do
    local held = change.held
    if held then
      reasons[#reasons + 1] = ("%s: %s"):format(held.rule, held.message)
      rules[#rules + 1] = ("%q"):format(held.rule)
    end
  end
  if #reasons == 0 then
    for i, finding in ipairs(plan.findings) do reasons[i] = planning.finding_text(finding) end
  end
  return errors.new("refused", table.concat(reasons, "\n"),
    rules[1] and ("With the option without = { %s } it is not asked."):format(table.concat(rules, ", ")))
end

local function word_of(plan, outcome, otherwise)
  if outcome.summary.held > 0 then return nil, refusal(plan) end
  if outcome.halted then return nil, outcome.halted end
  if outcome.failures[1] then return nil, outcome.failures[1].error end
  if outcome.interrupted then return session.finish(nil, session.interrupted()) end
  for _, word in ipairs(words) do
    if outcome.summary[word] > 0 then return word end
  end
  return otherwise
end

---@class lunadex.ChangeOptions: lunadex.ApplyOptions
---@field without string[]?        # rules that are not asked

---@class lunadex.BuildOptions: lunadex.ChangeOptions
---@field kind "index"|"unique_constraint"|"primary_key"|"exclusion_constraint"|"foreign_key"|nil   # default "index"

-- Applies a plan, if it could be made, and says what became of the one thing in it: `otherwise` where nothing had to be
-- done.
local function carry_out(plan, err, options, otherwise)
  if not plan then return session.finish(nil, err) end
  local outcome
  outcome, err = apply.run(plan, options)
  if not outcome then return session.finish(nil, err) end
  return word_of(plan, outcome, otherwise)
end

--- Builds one index, or key, as a registry would declare it, unless it is there already under whatever name; repairs
--- and replaces as `apply` does. It takes the run lock; changes on one connection are made one after the other. To
--- have several built side by side, declare them (`lunadex.declare`) and apply their plan.
---@param relation string          # "public.orders"
---@param declaration table        # { "customer_id", lunadex.desc "at", name = "orders_recent" }
---@param options lunadex.BuildOptions?
---@return "created"|"exists"|"replaced"|"rebuilt"|"altered"|nil what
---@return lunadex.Error? err
function Connection:build(relation, declaration, options)
  arguments.check(1, "build", relation, "string")
  arguments.check(2, "build", declaration, "table")
  arguments.options(3, "build", options, arguments.building)
  if not self.handle then error("attempt to use a closed connection", 2) end
  options = options or {}
  if declaration.kind ~= nil and not arguments.is_declarable(declaration.kind) then
    error(("bad argument #2 to 'build' (nothing of the kind %s can be declared)"):format(tostring(declaration.kind)), 2)
  end
  local item = { kind = options.kind }
  for key, value in pairs(declaration) do item[key] = value end
  local declared, err = M.declare({ [relation] = { item } }, self.target, 2)
  if not declared then return nil, err end
  return task.run(self.alone, self, function()
    local plan, problem = planning.make(declared.databases[1], self, options)
    return carry_out(plan, problem, options, "exists")
  end)
end

-- The live index or key of that name, if there is one; or nil and why that cannot be said.
local function find(connection, title, name)
  local info, err = connection:connect()
  if not info then return nil, err end
  local catalog
  catalog, err = connection:catalog()
  if not catalog then return nil, err end
  local relation_name, schema = dialects.of(info.driver).name.relation(title)
  local relation = catalog:relation(schema, relation_name)
  if not relation then return nil, errors.new("undefined", ("relation %s does not exist"):format(title)) end
  for _, index in ipairs(relation:indexes()) do
    if index.name == name then return index end
  end
end

--- Drops one index, without locking out anybody. What belongs to a constraint, or is relied upon, is refused; and, as
--- in any other plan, what a rule holds back, such as the drop of an index that is in use.
---@param relation string
---@param name string
---@param options lunadex.ChangeOptions?
---@return "dropped"|"absent"|nil what
---@return lunadex.Error? err
function Connection:drop(relation, name, options)
  arguments.check(1, "drop", relation, "string")
  arguments.check(2, "drop", name, "string")
  arguments.options(3, "drop", options, arguments.changing)
  if not self.handle then error("attempt to use a closed connection", 2) end
  options = options or {}
  local declared, err = M.declare({ [relation] = {} }, self.target, 2)
  if not declared then return nil, err end
  return task.run(self.alone, self, function()
    local index, problem = find(self, relation, name)
    if problem then return session.finish(nil, problem) end
    if not index then return "absent" end
    if index.constraint then return nil, errors.new("refused", ("%s belongs to a constraint"):format(name)) end
    local plan
    plan, problem = planning.make(declared.databases[1], self,
      { drop_strays = true, index = index, without = options.without })
    if plan and plan.summary.drop == 0 then return nil, refusal(plan) end
    return carry_out(plan, problem, options, "absent")
  end)
end

--- Renames one index or key. MongoDB cannot.
---@param relation string
---@param name string
---@param new_name string
---@param options lunadex.ApplyOptions?
---@return true? renamed
---@return lunadex.Error? err
function Connection:rename(relation, name, new_name, options)
  arguments.check(1, "rename", relation, "string")
  arguments.check(2, "rename", name, "string")
  arguments.check(3, "rename", new_name, "string")
  arguments.options(4, "rename", options, arguments.changing)
  if new_name == "" then error("bad argument #3 to 'rename' (an empty text is no name)", 2) end
  if not self.handle then error("attempt to use a closed connection", 2) end
  options = options or {}
  return task.run(self.alone, self, function()
    local index, err = find(self, relation, name)
    if not index then
      return session.finish(nil, err or errors.new("undefined", ("%s has no index %s"):format(relation, name)))
    end
    local ok
    ok, err = lock.take({ self }, options)
    if not ok then return session.finish(nil, err) end
    local _ <close> = setmetatable({}, { __close = function() self:unlock() end }) -- also when on_event raises
    ok, err = self:perform({
      kind = "rename", schema = index.relation.schema, relation = index.relation.name, name = name, other = new_name,
      fields = index:fields(), retry = { attempts = options.retries },
      lock_timeout = options.lock_timeout or dialects.of(self.driver).steps.default_lock_timeout,
    }, options.on_event)
    if not ok then return session.finish(nil, err) end
    return true
  end)
end

return M
