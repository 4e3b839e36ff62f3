-- The data dictionary: tables and their indexes as an indented text, under source control since 2009.
--
--   table shipments:                    a table, or schema.table
--       description: Incoming Magazines
--       index history:                  the index's name
--           description: …              optional, as are:
--           unique: "Y"                 equal keys are refused; default "N"
--           critical: "Y"               a deployment fails when it cannot be built; default "N"
--           method: gin                 default btree
--           where: closed IS NULL       a partial index's predicate, SQL
--           column bipad:               the columns, in order
--           column year:
--               flag_asc: "N"           descending; default "Y"
--           expression lower(title):    an expression in a column's place, SQL
--           include pages:              stored, but no key
--       primary_key shipments_pk:       keys are written the same way: their columns, in order
--           column id:
--       unique_key shipments_number:
--           column publisher:
--           column number:
--       foreign_key shipments_publisher:
--           column publisher:
--           references publishers:      the other table, and its columns if it is not the primary key that is meant
--               column id:
--           on_delete: cascade          optional, as is on_update; see foreign_key in docs/registry.md
--
-- It is YAML, but read event by event: the order of columns is what an index is about, and a YAML mapping has none.

local M = {}

---@class lunadex.dictionary.Node
---@field line integer
---@field value string?            # a scalar
---@field pairs {key: string, line: integer, node: lunadex.dictionary.Node}[]?  # a mapping, in order

local MESSAGES = {
  SEQUENCE_START = "a list; expected names, each followed by a colon",
  ALIAS = "an alias (*); the dictionary has none",
}

--- The text as a tree. Raises { line, message }.
---@param text string
---@return lunadex.dictionary.Node[] documents
local function parse(text)
  local yaml = require "yaml" -- the C half of lyaml; only needed when there is a dictionary
  local next_event = yaml.parser(text)
  local function event()
    local ok, result = pcall(next_event)
    if ok then return result end
    local message = tostring(result)
    -- "problem at document: 1, line: 2, column: 3\nwhile parsing … at line: …"
    local line = tonumber(message:match("line: (%d+)"))
    message = message:gsub("%s*at document: %d+, line: %d+, column: %d+", ""):gsub("%s+", " "):gsub(" $", "")
    if message:find("cannot start any token", 1, true) then message = message .. "; is there a tab?" end
    error({ line = line, message = message }, 0)
  end
  local node
  local function scalar_key(e)
    if e.type ~= "SCALAR" then error({ line = e.start_mark.line + 1, message = "a name expected" }, 0) end
    return e.value
  end
  node = function(e, depth)
    local line = e.start_mark.line + 1
    if e.type == "SCALAR" then return { line = line, value = e.value } end
    if e.type ~= "MAPPING_START" then error({ line = line, message = MESSAGES[e.type] or e.type }, 0) end
    if depth > 10 then error({ line = line, message = "nested too deeply" }, 0) end
    local result = { line = line, pairs = {} }
    while true do
      local key = event()
      if key.type == "MAPPING_END" then return result end
      local name, key_line = scalar_key(key), key.start_mark.line + 1
      result.pairs[#result.pairs + 1] = { key = name, line = key_line, node = node(event(), depth + 1) }
    end
  end
  local documents = {}
  while true do
    local e = event()
    if e.type == "STREAM_END" then return documents end
    if e.type == "DOCUMENT_START" then
      local first = event()
      if first.type ~= "DOCUMENT_END" then documents[#documents + 1] = node(first, 1) end
    end
  end
end

-- The words. What is followed by a name has a `block`, what is followed by a value a `check`.

local FLAGS = { Y = true, y = true, N = false, n = false, ["true"] = true, ["false"] = false }

local function flag(value)
  if FLAGS[value] == nil then return nil, '"Y" or "N"' end
  return FLAGS[value]
end

local function text_value(value)
  if value:find("%S") then return value end
  return nil, "a text"
end


local COLUMN = { flag_asc = { check = flag } }

local WORDS = {
  top = { table = { block = "table" } },
  table = {
    description = { check = text_value }, index = { block = "index" }, primary_key = { block = "primary_key" },
    unique_key = { block = "unique_key" }, foreign_key = { block = "foreign_key" },
  },
  index = {
    description = { check = text_value }, unique = { check = flag }, critical = { check = flag },
    method = { check = text_value }, where = { check = text_value }, column = { block = "column" },
    expression = { block = "column" }, include = { block = "nothing" },
  },
  primary_key = {
    description = { check = text_value }, critical = { check = flag }, column = { block = "nothing" },
  },
  unique_key = {
    description = { check = text_value }, critical = { check = flag }, column = { block = "nothing" },
  },
  foreign_key = {
    description = { check = text_value }, critical = { check = flag }, column = { block = "nothing" },
    references = { block = "references" }, on_delete = { check = text_value }, on_update = { check = text_value },
  },
  references = { column = { block = "nothing" } },
  column = COLUMN,
  nothing = {},
}

local KINDS = { index = "index", primary_key = "primary_key", unique_key = "unique_constraint",
  foreign_key = "foreign_key" }

local Reader = {}
Reader.__index = Reader

function Reader:wrong(line, message, expected, hint)
  self.errors[#self.errors + 1] = { line = line, relation = self.relation, message = message, expected = expected,
    hint = hint }
end

local function list_of(words)
  local names = {}
  for name, word in pairs(words) do names[#names + 1] = word.block and name .. " NAME" or name end
  table.sort(names)
  return table.concat(names, ", ")
end

--- Goes through a mapping: `named(word, name, line, node)` for what is followed by a name, the rest is given back.
---@return table<string, any> values
function Reader:mapping(what, title, node, named)
  local words, values = WORDS[what], {}
  local here = title and ("%s %s"):format(what, title) or "the dictionary"
  if node.value and node.value ~= "" then
    self:wrong(node.line, ("%s is followed by the value %q"):format(here, node.value),
      next(words) and list_of(words) or "nothing")
    return values
  end
  for _, pair in ipairs(node.pairs or {}) do
    local first, name = pair.key:match("^(%S+)%s*(.-)%s*$")
    local word = first and words[first]
    if not word then
      local hint = first and next(words) and require("lunadex.suggest").hint(first, words)
      self:wrong(pair.line, ("unknown word %q in %s"):format(pair.key, here),
        next(words) and "one of " .. list_of(words) or "nothing", hint or nil)
    elseif word.block then
      if name == "" and first == "references" and pair.node.value and pair.node.value ~= "" then
        name, pair.node = pair.node.value, { line = pair.line } -- references: publishers
      end
      if name == "" then
        self:wrong(pair.line, ("%s without a name in %s"):format(first, here), ("%s NAME:"):format(first))
      else
        named(first, name, pair.line, pair.node)
      end
    elseif name ~= "" then
      self:wrong(pair.line, ("%s takes no name (%q) in %s"):format(first, name, here), first .. ": value")
    elseif values[first] ~= nil then
      self:wrong(pair.line, ("%s stands twice in %s"):format(first, here))
    elseif not pair.node.value then
      self:wrong(pair.line, ("%s of %s is followed by a block"):format(first, here), "a value on the same line")
    else
      local value, expected = word.check(pair.node.value)
      if value == nil then
        self:wrong(pair.line, ("%s of %s is %q"):format(first, here, pair.node.value), expected)
      end
      values[first] = value
    end
  end
  return values
end

--- Columns may not repeat: in an index it is a slip, whatever follows.
function Reader:once(seen, what, name, line)
  if seen[name] then self:wrong(line, ("%s %s stands twice (first in line %d)"):format(what, name, seen[name])) end
  seen[name] = seen[name] or line
end

function Reader:definition(what, name, line, node)
  local words, options, seen = self.words, { name = name }, {}
  local values = self:mapping(what, name, node, function(word, title, at, inner)
    if word == "include" then
      self:mapping("nothing", title, inner)
      self:once(seen, word, title, at)
      options.include = options.include or {}
      table.insert(options.include, title)
    elseif word == "references" then
      local references, other = { title }, {}
      self:mapping("references", title, inner, function(_, column, column_at, below)
        self:mapping("nothing", column, below)
        self:once(other, "column", column, column_at)
        references[#references + 1] = column
      end)
      if options.references then self:wrong(at, ("references stands twice in %s %s"):format(what, name)) end
      options.references = references
    else
      local direction = self:mapping(WORDS[what][word].block, title, inner)
      self:once(seen, word, title, at)
      local key = word == "expression" and words.expr(title) or title
      options[#options + 1] = direction.flag_asc == false and words.desc(key) or key
    end
  end)
  for option, value in pairs(values) do options[option] = value end
  return { kind = KINDS[what], line = line, options = options }
end

local function load_file(text, _, words)
  local ok, documents = pcall(parse, text)
  if not ok then
    if type(documents) ~= "table" then error(documents, 0) end
    return nil, { documents }
  end
  local self = setmetatable({ errors = {}, words = words }, Reader)
  local declarations = {}
  for _, document in ipairs(documents) do
    self:mapping("top", nil, document, function(_, name, line, node)
      self.relation = name
      local declaration = { relation = name, line = line, items = {} }
      local values = self:mapping("table", name, node, function(word, title, at, inner)
        table.insert(declaration.items, self:definition(word, title, at, inner))
      end)
      declaration.description = values.description
      declarations[#declarations + 1] = declaration
      self.relation = nil
    end)
  end
  if #declarations == 0 and #self.errors == 0 then self:wrong(1, "the dictionary is empty", "table NAME:") end
  return declarations, self.errors
end

M.name = "dictionary"
M.describe = "reads data dictionaries: tables, their indexes and keys, as YAML"
M.import = { extensions = { "yaml", "yml", "dict" }, load = load_file }

return M
