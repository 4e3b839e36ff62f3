-- From what was written to what is meant: takes what a file declared, checks it and puts it into the core's set.
--
-- A registry of 20,000 indexes is read on every run, and nearly all of it is plain: that goes straight into the set
-- (core/lua/plain.c). Only what is not is looked at here, and nothing is formatted unless there is something wrong.

local Checker = require "lunadex.registry.checker"
local core = require "lunadex.core"
local dialects = require "lunadex.dialect"
local rule_options = require "lunadex.rules.options"
local plugin = require "lunadex.plugin"
local sandbox = require "lunadex.sandbox"
local schema = require "lunadex.registry.schema"
local suggest = require "lunadex.suggest"
require "lunadex.registry.options"

local HOLE, KEY = sandbox.HOLE, schema.KEY
local next, type, math_type = next, type, math.type
local show = schema.show

-- Entries -------------------------------------------------------------------------------------------------------------

local function place(made)
  return made.name and ("%s (%s:%d)"):format(made.name, made.file, made.line)
    or ("the one at %s:%d"):format(made.file, made.line)
end

--- `twin`: the number of the latest declaration that is the same definition on the same relation.
function Checker:look_at_twins(made, target, twin)
  local first
  while twin do
    local other = target.entries[twin]
    if made.duplicate_of and made.duplicate_of == other.name
      or other.duplicate_of and other.duplicate_of == made.name then
      return
    end
    first = other
    twin = target.set:twin(twin)
  end
  self:problem(made, target.display, ("the same definition as %s"):format(place(first)), nil,
    target.dialect.schema.same
      or first.name and ('remove one of them, or write duplicate_of = "%s" if both are meant'):format(first.name)
      or 'remove one of them; or give the first a name and write duplicate_of = "that name" if both are meant')
end

function Checker:look_for_name(made, target, kind)
  local name = made.name
  local names = kind == "foreign_key" and target.foreign_keys or target.names
  local other = names[name]
  if other then
    self:problem(made, target.display, ("the name %s is taken by %s"):format(show(name), place(other)), nil,
      names == target.names and target.dialect.name.shared or nil)
  else
    names[name] = made
  end
end

--- Puts a declaration into the set by way of all checks. Its ordinal and twin, or nothing after saying what is wrong.
function Checker:add(made, target)
  local flaws, definition = self.problems.count, target.dialect.definition
  local fields, whole = definition.read(self, made, target)
  if not fields then return end
  made.name, made.duplicate_of = fields.name, fields.duplicate_of
  if made.name then self:look_for_name(made, target, fields.kind) end
  if made.duplicate_of then self.repeating[#self.repeating + 1] = { made = made, target = target } end
  -- What is not a word of the language has been told where it stands, and left a hole.
  if not whole or self.problems.count ~= flaws then return end -- what it equals cannot be said
  definition.check(self, made, target.display, fields, target)
  if self.problems.count ~= flaws then return end
  local ordinal, _, twin = target.set:add(fields)
  return ordinal, twin
end

-- An index-like declaration on a relation becomes an entry.
function Checker:entry(made, target)
  if type(made.relation) == "string" then -- the same one in two places: each its own
    made = { kind = made.kind, raw = made.raw, file = made.file, line = made.line, critical = false, ordinal = false,
      relation = false }
    self.copies[#self.copies + 1] = made
  end
  made.relation = target.display
  local kind, ordinal, name, twin = made.kind.kind, nil, nil, nil
  if kind and target.known then
    ordinal, name, twin = target.set:add_plain(made.raw, kind, target.schema, target.name, target.known)
  end
  if not ordinal then
    ordinal, twin = self:add(made, target)
    if not ordinal then return end
    if made.allow then target.allowing[#target.allowing + 1] = made end
  elseif name then
    made.name = name
    self:look_for_name(made, target)
  end
  made.ordinal = ordinal
  target.entries[ordinal] = setmetatable(made, target.class)
  if twin then self:look_at_twins(made, target, twin) end
end

-- Blocks --------------------------------------------------------------------------------------------------------------

-- An entry's fields are in the set; a table is made of them when somebody asks for it.
local function entry_class(set)
  return {
    __index = function(entry, field)
      if field ~= "fields" then return nil end
      local fields = set:fields(entry.ordinal)
      entry.fields = fields
      return fields
    end,
  }
end

function Checker:database(name)
  local database = self.databases[name]
  if not database then
    local set = core.declarations()
    database = { name = name, set = set, class = entry_class(set), entries = {}, allowing = {}, relations = {},
      targets = {}, names = {} }
    self.databases[#self.databases + 1] = database
    self.databases[name] = database
  end
  return database
end

local function dialect_of(self, database)
  database.dialect = database.dialect or dialects.of(self.driver(database.name, self.urls[database.name]))
  return database.dialect
end

-- Within what names of indexes are unique: a schema of PostgreSQL, else the relation.
local function names_of(database, schema_name)
  if not database.dialect.name.shared then return {} end
  local names = database.names[schema_name or ""] or {}
  database.names[schema_name or ""] = names
  return names
end

--- What is known about a relation while its declarations are checked; nil after saying that it is no name.
function Checker:target(database, title, made)
  local target = database.targets[title]
  if target then return target end
  local dialect = dialect_of(self, database)
  local name, schema_name, expected, hint = dialect.name.relation(title)
  if not name then
    self:problem(made, nil, ("%s %s"):format(show(title), schema_name), expected, hint)
    return nil
  end
  -- The same relation may be spelt with quotes or without.
  local identity = (schema_name or "") .. "\0" .. name
  target = database.targets[identity]
  if not target then
    target = { schema = schema_name, name = name, display = title, names = names_of(database, schema_name),
      foreign_keys = {}, set = database.set, class = database.class, entries = database.entries,
      allowing = database.allowing, dialect = dialect, known = self.known[dialect.driver] }
    database.targets[identity] = target
    database.relations[title] = { queries = {}, file = made.file, line = made.line }
    target.relation = database.relations[title]
  end
  database.targets[title] = target
  return target
end

--- Calls `each` for what stands in a block, whatever lists it is nested in: functions of a registry give lists.
--- nil and false are the results of `condition and index { … }`.
function Checker:items(made, relation, raw, each, depth)
  local highest = #raw
  for key in next, raw do
    if math_type(key) == "integer" and key > highest then highest = key end
  end
  for i = 1, highest do
    local item = raw[i]
    if not item or item == HOLE then -- luacheck: ignore 542
    elseif type(item) == "table" and not item.kind and (depth or 0) < 20 and #item > 0 then
      self:items(made, relation, item, each, (depth or 0) + 1)
    else
      each(item)
    end
  end
end

local kinds = schema.kinds
local ENTRY = {}
for _, kind in pairs(kinds) do ENTRY[kind] = kind.entry end

local function described(item)
  if type(item) == "table" and type(item.kind) == "table" and item.kind.name then
    return item.kind.name .. (item.title and " " .. show(item.title) or "")
  elseif type(item) == "function" then
    return "something without its { … }"
  end
  return show(item)
end

function Checker:block(made, database)
  local target = self:target(database, made.title, made)
  if not target then -- the mistakes inside are still worth telling
    target = { name = "?", display = made.title, names = {}, foreign_keys = {}, set = core.declarations(),
      entries = {}, allowing = {}, relation = { queries = {} }, dialect = dialect_of(self, database) }
  end
  local relation = target.display
  local options = self:options(made, relation, kinds.on, made.raw, {}, true)
  target.relation.description = target.relation.description or options.description
  local entries = #target.entries
  self:items(made, relation, made.raw, function(item)
    local kind = type(item) == "table" and item.kind
    if ENTRY[kind] then
      self:entry(item, target)
    elseif kind == kinds.query then
      local queries = target.relation.queries
      queries[#queries + 1] = target.dialect.definition.query(self, item, relation)
    elseif kind == KEY then
      self:problem(made, relation, "on holds a key", "index { … }", "put it into index { … }")
    else
      self:problem(made, relation, "on holds " .. described(item),
        "index, unique_constraint, primary_key, foreign_key, exclusion_constraint, constraint or query",
        type(item) == "string" and "columns stand inside index { … }" or nil)
    end
  end)
  target.relation.bare = #target.entries == entries and target.relation.bare ~= false
end

function Checker:rule(made, database)
  local rule = self:options(made, nil, kinds.rule, made.raw, { name = made.title, file = made.file, line = made.line,
    database = database, environment = made.environment, secrets = self.problems })
  if rule.check and rule.options then
    local message, expected, hint = rule_options.flaw(rule.options)
    if message then self:problem(made, nil, ("rule %s: %s"):format(show(made.title), message), expected, hint) end
  end
  local message, expected = rule_options.lost_only(rule)
  if message then self:problem(made, nil, ("rule %s: %s"):format(show(made.title), message), expected) end
  self.rules[#self.rules + 1] = rule
end

function Checker:backfill(made, name)
  local database = self:database(name)
  local dialect = dialect_of(self, database)
  local backfill = self:options(made, nil, dialect.schema.kinds.backfill, made.raw, { name = made.title,
    file = made.file, line = made.line, database = name, environment = made.environment, secrets = self.problems })
  local what = "backfill " .. show(made.title)
  local unsendable = schema.unsendable(made.title)
  if made.title == "" then
    self:problem(made, nil, "a backfill has no name", 'backfill "name" { … }')
  elseif unsendable then
    self:problem(made, nil, "the name of a backfill " .. unsendable)
  end
  if made.raw.on == nil then
    self:problem(made, nil, what .. " has no on", 'on = "schema.table"')
  elseif backfill.on then
    local relation, wrong, expected, hint = dialect.name.relation(backfill.on)
    if not relation then
      self:problem(made, nil, ("%s: %s %s"):format(what, show(backfill.on), wrong), expected, hint)
    end
  end
  if made.raw.set == nil and made.raw.transform == nil then
    self:problem(made, nil, what .. " has no set", "what the rows get: set, or transform = function(row) … end")
  elseif made.raw.set ~= nil and made.raw.transform ~= nil then
    self:problem(made, nil, what .. " has both set and transform", "one of them")
  elseif made.raw.columns ~= nil and made.raw.transform == nil then
    self:problem(made, nil, what .. " has columns without transform")
  end
  if made.raw.verify == true and made.raw.where == nil then
    self:problem(made, nil, what .. " has verify = true without where", "what is to be counted at the end")
  end
  if dialect.definition.backfill then dialect.definition.backfill(self, made, backfill) end
  for _, other in ipairs(self.backfills) do
    if other.name == made.title and other.database == name then
      self:problem(made, nil, ("%s stands at %s:%d as well"):format(what, other.file, other.line))
    end
  end
  self.backfills[#self.backfills + 1] = backfill
end

-- Names of backfills are only known when all files are read; another name is that of an index or key, which may be live
-- without being declared.
function Checker:look_at_order()
  local next_of = {}
  for _, backfill in ipairs(self.backfills) do next_of[backfill] = {} end
  local function named(database, name)
    for _, other in ipairs(self.backfills) do
      if other.database == database and other.name == name then return other end
    end
  end
  for _, backfill in ipairs(self.backfills) do
    for _, name in ipairs(backfill.after or {}) do
      local other = named(backfill.database, name)
      if other then table.insert(next_of[other], backfill) end
    end
    for _, name in ipairs(backfill.before or {}) do
      local other = named(backfill.database, name)
      if other then table.insert(next_of[backfill], other) end
    end
  end
  local state = {}
  local function visit(backfill)
    if state[backfill] == "open" then
      self:problem(backfill, nil, ("backfill %s would have to wait for itself"):format(show(backfill.name)), nil,
        "look at after and before")
    elseif not state[backfill] then
      state[backfill] = "open"
      for _, other in ipairs(next_of[backfill]) do visit(other) end
    end
    state[backfill] = "done"
  end
  for _, backfill in ipairs(self.backfills) do visit(backfill) end
end

function Checker:database_block(made)
  local database = self:database(made.title)
  local options = self:options(made, nil, kinds.database, made.raw, {}, true)
  database.description = database.description or options.description
  if options.url then
    if database.url and database.url ~= options.url then
      -- Not shown: there may be a password in it.
      self:problem(made, nil, ("database %s has another url than in %s"):format(show(made.title), database.url_at))
    elseif not database.url then
      database.url, database.url_at = options.url, ("%s:%d"):format(made.file, made.line)
    end
  end
  self:items(made, nil, made.raw, function(item)
    local kind = type(item) == "table" and item.kind
    if kind == kinds.on then
      self:block(item, database)
    elseif kind == kinds.rule then
      self:rule(item, made.title)
    elseif kind == kinds.backfill then
      self:backfill(item, made.title)
    elseif ENTRY[kind] and item.raw.sql ~= nil then
      self:top_level(item, database)
    else
      self:problem(made, nil, ("database %s holds %s"):format(show(made.title), described(item)),
        'on "schema.table" { … }, rule or backfill')
    end
  end)
end

--- `index { sql = … }` outside of any `on`: the statement says which relation.
function Checker:top_level(made, database)
  local title = dialect_of(self, database).definition.relation_of(self, made)
  local target = title and self:target(database, title, made)
  if target then self:entry(made, target) end
end

local function claim_item(item)
  local kind = item.kind
  if ENTRY[kind] or kind == kinds.query then
    item.relation = true
  elseif type(kind) == "table" and kinds[kind.name] == kind then
    item.claimed = true
  end
end

-- A pass of its own over every declaration, so it goes the short way where a block holds no lists.
local function claim(self, made)
  if type(made.raw) ~= "table" then return end
  for _, item in next, made.raw do
    if type(item) == "table" then
      if item.kind then
        claim_item(item)
      else
        self:items(made, nil, { item }, function(inner)
          if type(inner) == "table" then claim_item(inner) end
        end)
      end
    end
  end
end

local function take_in(self, list)
  self.copies = {}
  for _, made in ipairs(list) do
    local kind = made.kind
    if kind == kinds.database then
      if made.claimed then
        self:problem(made, nil, ("database %s stands inside another block"):format(show(made.title)))
      else
        self:database_block(made)
      end
    elseif made.claimed then -- luacheck: ignore 542
    elseif kind == kinds.on then
      self:block(made, self:database("default"))
    elseif kind == kinds.rule then
      self:rule(made)
    elseif kind == kinds.backfill then
      self:backfill(made, "default")
    elseif not made.relation then
      self:top_level(made, self:database("default"))
    end
  end
  -- From here on they are entries.
  for _, made in ipairs(list) do made.raw, made.kind = nil, nil end
  for _, made in ipairs(self.copies) do made.raw, made.kind = nil, nil end
end

-- The urls of a file's databases. Where one has none yet, a later file may have it: until then it is not known what may
-- be declared of that database.
local function look_for_urls(self, list)
  local missing = false
  for _, made in ipairs(list) do
    if made.kind == kinds.database then
      local url = type(made.raw) == "table" and made.raw.url
      if type(url) == "string" then self.urls[made.title] = self.urls[made.title] or url end
      missing = missing or not self.urls[made.title]
    end
  end
  return not missing
end

--- Takes in what one file declared.
---@param list table[]             # lunadex.registry.Session.made
function Checker:file(list)
  -- First what stands inside something else, so that the rest can be taken in the order of the file.
  for _, made in ipairs(list) do
    local kind = made.kind
    if kind == kinds.on or kind == kinds.database then claim(self, made) end
  end
  if look_for_urls(self, list) and #self.postponed == 0 then
    take_in(self, list)
  else
    self.postponed[#self.postponed + 1] = list
  end
end

-- Whether what is said of one database is also said of another; nil stands for all.
local function overlap(a, b)
  return not a or not b or a == b
end

-- A rule without `check` is about one that is there: it is found, and the values for its options are looked at.
function Checker:look_at_rules()
  local plugins
  local function shipped(name)
    if not plugins then
      plugins = {}
      for _, each in ipairs(plugin.rules(self.plugins)) do plugins[each.name] = each end
    end
    return plugins[name]
  end
  for i, rule in ipairs(self.rules) do
    local what = "rule " .. show(rule.name)
    if rule.name == "" then self:problem(rule, nil, "a rule has no name", 'rule "name" { … }') end
    local own
    for k, other in ipairs(self.rules) do
      if k ~= i and other.name == rule.name and other.check and overlap(rule.database, other.database) then
        own = other
        if rule.check and k < i then
          self:problem(rule, nil, ("%s stands at %s:%d as well"):format(what, other.file, other.line))
        end
      end
    end
    if rule.check then
      if shipped(rule.name) then
        self:problem(rule, nil, ("%s is the name of one that is there already, as a plugin"):format(what), nil,
          "give this one another name; or leave `check` out to set that one's options")
      end
    elseif not self.problems:at(rule.file, rule.line) then
      local of = own or shipped(rule.name)
      if not of then
        local names = {}
        for name in pairs(plugins) do names[name] = true end
        for _, other in ipairs(self.rules) do names[other.check and other.name or ""] = true end
        self:problem(rule, nil, what .. " has no check, and there is none of this name to be set",
          "check = function(change, context) … end", suggest.hint(rule.name, names))
      elseif rule.options and not of.broken then
        rule_options.check(of.options or {}, rule.options, function(message, expected, hint)
          self:problem(rule, nil, ("%s: %s"):format(what, message), expected, hint)
        end)
      end
    end
  end
end

--- What can only be said when all files are read.
function Checker:finish()
  for _, list in ipairs(self.postponed) do take_in(self, list) end
  self:look_at_rules()
  self:look_at_order()
  for _, each in ipairs(self.repeating) do
    local made, target = each.made, each.target
    local name = made.duplicate_of
    local right = name ~= made.name and (target.names[name] or target.foreign_keys[name])
    if not right and not self.problems:at(made.file, made.line) then
      local hint = suggest.hint(name, target.names)
      self:problem(made, target.display, ("duplicate_of names %s, which is no other declaration"):format(show(name)),
        "the name of the declaration that is repeated", hint)
    end
  end
end

--- What it all came to.
---@return table                   # databases, rules, backfills
function Checker:registry()
  if #self.databases == 0 then self:database "default" end
  for _, database in ipairs(self.databases) do dialect_of(self, database) end
  local databases = {}
  for i, database in ipairs(self.databases) do
    databases[i] = { name = database.name, url = database.url, description = database.description,
      driver = database.dialect.driver, set = database.set, entries = database.entries, allowing = database.allowing,
      relations = database.relations, rules = {}, rule_names = {}, backfills = {}, plugins = self.plugins }
    for _, backfill in ipairs(self.backfills) do
      if backfill.database == database.name then table.insert(databases[i].backfills, backfill) end
    end
    for _, rule in ipairs(self.rules) do
      databases[i].rule_names[rule.name] = true
      if overlap(rule.database, database.name) then table.insert(databases[i].rules, rule) end
    end
  end
  return { databases = databases, rules = self.rules, backfills = self.backfills }
end

return Checker
