-- Registries: finds their files, reads them in the sandbox or through an importer, checks what they declare.

local check = require "lunadex.registry.check"
local core = require "lunadex.core"
local language = require "lunadex.registry.language"
local plugin = require "lunadex.plugin"
local problem = require "lunadex.registry.problem"
local sandbox = require "lunadex.sandbox"
local schema = require "lunadex.registry.schema"
local target = require "lunadex.target"

local M = {}

---@class lunadex.Entry
---@field ordinal integer          # in the database's set
---@field fields lunadex.Fields    # as declared; made when it is first asked for. Not to be changed
---@field relation string          # as written in on "…"
---@field name string?
---@field duplicate_of string?
---@field description string?
---@field critical boolean
---@field mode "auto"|"concurrent"|"blocking"|nil
---@field lock_timeout number?     # seconds
---@field partitions table<string, {name: string?, keys: lunadex.Key[]?, with: string[][]?, tablespace: string?}>?
---@field allow table<string, string>?
---@field commit_quorum string?
---@field maintenance_work_mem string?
---@field parallel_workers integer?
---@field file string
---@field line integer

---@class lunadex.RegistryDatabase
---@field name string              # "default": what stands in no database "…" { … }
---@field url string?
---@field driver "postgres"|"mongodb"   # of which kind it was taken to be
---@field description string?
---@field set lunadex.Declarations # what is declared; a run works on a copy
---@field entries lunadex.Entry[]  # by their ordinal in it
---@field allowing lunadex.Entry[] # those that switch off rules
---@field relations table<string, lunadex.RegistryRelation>   # by title, as written in on "…"
---@field rules lunadex.RegistryRule[]   # that are about it, in order
---@field rule_names table<string, boolean>   # of all rules of the registry
---@field backfills lunadex.Backfill[]   # in order
---@field plugins {folder: string?, path: string?}?   # where they are looked for

---@class lunadex.RegistryRelation
---@field description string?
---@field queries table[]
---@field file string
---@field line integer
---@field bare boolean             # without an index or key

---@class lunadex.RegistryRule
---@field name string
---@field check function?          # nil: this sets one that is there
---@field on string[]?
---@field options table?           # what it has, with `check`; else values
---@field off string?
---@field description string?
---@field database string?         # nil: all
---@field environment table?       # its file's, as the sandbox has it
---@field file string
---@field line integer

---@class lunadex.Backfill
---@field name string
---@field database string          # its name
---@field on string
---@field where any                # PostgreSQL: SQL; MongoDB: see its schema
---@field set any
---@field params any[]?            # PostgreSQL: what stands for $1 …
---@field transform (fun(row: table): table?)?
---@field columns string[]?
---@field verify any
---@field after string[]?
---@field before string[]?
---@field batch integer?
---@field target number?           # seconds
---@field jobs integer?
---@field throttle {lag: number?, waiters: integer?, wal: number?, dead: number?, oplog: number?, window: integer[]?,
---       check: function?}?      # lag and oplog in seconds, wal in bytes a second, window in minutes of the day
---@field errors integer?
---@field description string?
---@field environment table?       # its file's, as the sandbox has it
---@field secrets lunadex.registry.Problems   # hides what variables of the environment held
---@field file string
---@field line integer

---@class lunadex.Registry
---@field databases lunadex.RegistryDatabase[]   # at least one
---@field rules lunadex.RegistryRule[]
---@field backfills lunadex.Backfill[]   # of all databases
---@field files string[]

---@class lunadex.registry.Options
---@field limits lunadex.Limits?
---@field getenv (fun(name: string): string?)?   # instead of os.getenv
---@field plugins {folder: string?, path: string?}?
---@field target string?          # of the databases, whatever their urls and the environment say
---@field database string?        # only of the one of this name
---@field before (fun(texts: string[]))?         # called once with the text of every file, before any of it is run

-- Files ---------------------------------------------------------------------------------------------------------------

local function extension_of(path)
  return path:match("%.(%w+)$")
end

-- Deeper than any registry; symbolic links may run in circles.
local DEEPEST = 32

local Reader = {}
Reader.__index = Reader

function Reader:problem(file, message, expected, hint)
  self.problems:add { file = file, message = message, expected = expected, hint = hint }
end

--- The importer for an extension. They are looked for when the first file that is no Lua comes along.
function Reader:importer(extension)
  if not self.importers then self.importers, self.unknown = plugin.importers(self.options.plugins) end
  -- What cannot be told to be no registry is not left out: what it declares would be taken for undeclared.
  return self.importers[extension] or self.unknown
end

function Reader:walk(directory, depth)
  local names, message = core.list_directory(directory)
  if not names then
    self:problem(directory, "cannot be read: " .. message)
    return
  elseif depth > DEEPEST then
    self:problem(directory, "is nested too deeply", nil, "Does a symbolic link point to a folder above itself?")
    return
  end
  local prefix = directory:gsub("/+$", "") .. "/"
  if directory:find("^/+$") then prefix = "/" end
  for _, name in ipairs(names) do
    local folder = name:match("^(.*)/$")
    if name:find("^[._]") then -- luacheck: ignore 542
    elseif folder then
      if folder ~= "scripts" then self:walk(prefix .. folder, depth + 1) end
    else
      local extension = extension_of(name)
      if extension == "lua" or extension and self:importer(extension) then
        self.files[#self.files + 1] = prefix .. name
      end
    end
  end
end

function Reader:find(path)
  local _, message, kind = core.list_directory(path)
  if not kind then
    local before = #self.files
    self:walk(path, 1)
    if #self.files == before and #self.problems.list == 0 then
      self:problem(path, "holds no registry", "*.lua files, or those of an importer",
        "Names that begin with . or _ and folders called scripts are left out.")
    end
  elseif kind == "missing" then
    self:problem(path, "there is no such file or directory", nil,
      path == "registry/" and "Create registry/, or name another file or directory." or nil)
  elseif kind ~= "file" then
    self:problem(path, "cannot be read: " .. message)
  else
    local extension = extension_of(path)
    if extension ~= "lua" and not (extension and self:importer(extension)) then
      self:problem(path, "is not a registry", "a *.lua file, or one that an importer reads")
      return
    end
    self.files[#self.files + 1] = path
  end
end

local function read(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, (message:gsub("^.-: ", "", 1)) end
  local text
  text, message = file:read "a"
  file:close()
  return text, message
end

-- Reading -------------------------------------------------------------------------------------------------------------

local SYNTAX_HINTS = {
  { "near <eof>", "Something that was opened is not closed." },
  { "'}' expected", "Is a comma missing, or a closing bracket further up?" },
  { "unfinished", "A text ends where it began: with the same quote, or [[ … ]] over several lines." },
}

local function syntax_hint(message)
  for _, pair in ipairs(SYNTAX_HINTS) do
    if message:find(pair[1], 1, true) then return pair[2] end
  end
end

--- Runs one file of the registry language; what it declares goes to the checker.
function Reader:run(text, file)
  local session = { file = file, made = {}, started = {}, problems = self.problems, getenv = self.options.getenv
    or os.getenv }
  local words = language.words(session)
  local environment = sandbox.environment(words, function(line, message, hint)
    -- Once the file is read, only its rules still run: what is wrong there is an error of theirs.
    if session.over then error(("%s:%d: %s%s"):format(file, line, message, hint and "; " .. hint or ""), 0) end
    self.problems:add { file = file, line = line, message = message, hint = hint }
  end)
  local chunk, message, line = sandbox.load(text, file, environment)
  if not chunk then
    self.problems:add { file = file, line = line, message = message, hint = syntax_hint(message) }
    return
  end
  local ok
  ok, message, line = sandbox.run(chunk, environment, self.options.limits)
  -- What followed from an unknown name on the same line has been told already.
  if not ok and not (line ~= 0 and self.problems:at(file, line)) then
    self.problems:add { file = file, line = line, message = message }
  end
  for _, made in ipairs(session.started) do
    if not made.raw and ok then
      self.problems:add { file = file, line = made.line, message = ('%s "%s" is not followed by { … }'):format(
        made.kind.name, made.title) }
    end
  end
  for _, made in ipairs(session.started) do
    local kind = made.kind
    if kind == schema.kinds.rule or kind == schema.kinds.backfill then made.environment = environment end
  end
  -- What its functions are asked later judges and computes; it declares nothing.
  session.over = true
  for word, value in pairs(words) do
    if value ~= schema.null then environment[word] = nil end
  end
  self.checker:file(session.made)
end

-- What importers and scripts may use for keys, so that they need not know how they are kept.
local key_words = language.words { made = {}, started = {}, getenv = os.getenv, problems = problem.list() }
local KEY_WORDS = { asc = key_words.asc, desc = key_words.desc, expr = key_words.expr, key = key_words.key }

--- An importer's file: a list of { relation =, database =, description =, line =, items = { { kind = "index", line =,
--- options = what would stand in index { … } }, … } }.
function Reader:import(importer, text, file)
  if importer.broken then
    self:problem(file, ("its importer cannot be loaded: %s"):format(importer.broken))
    return
  end
  local ok, declarations, errors = pcall(importer.import.load, text, file, KEY_WORDS)
  if not ok then
    self:problem(file, ("the importer %s failed: %s"):format(importer.name, tostring(declarations)))
    return
  end
  if type(errors) == "string" then errors = { { message = errors } } end
  for _, err in ipairs(errors or {}) do
    self.problems:add { file = file, line = err.line, relation = err.relation, message = err.message,
      expected = err.expected, hint = err.hint }
  end
  self:take(declarations, file)
end

---@class lunadex.Declared
---@field relation string
---@field database string?
---@field description string?
---@field line integer
---@field items {kind: string, line: integer, options: table}[]

--- Takes in what is declared as data.
---@param declarations lunadex.Declared[]?
---@param file string
function Reader:take(declarations, file)
  local list = {}
  for _, declaration in ipairs(declarations or {}) do
    local body = { description = declaration.description }
    for _, item in ipairs(declaration.items or {}) do
      local made = { kind = schema.kinds[item.kind], raw = item.options, file = file, line = item.line,
        critical = false, ordinal = false, relation = false }
      body[#body + 1] = made
      list[#list + 1] = made
    end
    local block = { kind = schema.kinds.on, title = declaration.relation, raw = body, file = file,
      line = declaration.line, claimed = false }
    list[#list + 1] = block
    if declaration.database then
      list[#list + 1] = { kind = schema.kinds.database, title = declaration.database, raw = { block }, file = file,
        line = declaration.line, claimed = false }
    end
  end
  self.checker:file(list)
end

-- Of which kind each database is, from what a run would connect to.
local function kinds_of_databases(options)
  return function(name, url)
    local option = (not options.database or options.database == name) and options.target or nil
    return target.driver(option ~= "" and target.find(option, url, options.getenv) or "")
  end
end

local function reader(options)
  options = options or {}
  local problems = problem.list()
  return setmetatable({ options = options, problems = problems, files = {},
    checker = check.new(problems, kinds_of_databases(options), options.plugins) }, Reader)
end

function Reader:read(text, file)
  self.problems:file(file)
  local extension = extension_of(file)
  local importer = extension ~= "lua" and extension and self:importer(extension)
  if importer then
    self:import(importer, text, file)
  else
    self:run(text, file)
  end
end

function Reader:result()
  self.checker:finish()
  if #self.problems.list > 0 then return nil, self.problems:sorted() end
  local registry = self.checker:registry()
  registry.files = self.files
  return registry
end

--- Runs `work` with the collector at rest, for nearly all that is made here stays. What a registry throws away itself
--- is collected when half its memory is used up (core/lua/sandbox.c).
local function undisturbed(work)
  local running = collectgarbage "isrunning"
  local _ <close> = setmetatable({}, { __close = function()
    if running then collectgarbage "restart" end
  end })
  collectgarbage "stop"
  return work()
end

--- Reads registries. Either everything is right, or all that is wrong is told at once.
---@param paths string|string[]|nil  # files and directories; default { "registry/" }
---@param options lunadex.registry.Options?
---@return lunadex.Registry?
---@return lunadex.registry.Problem[]? errors
function M.load(paths, options)
  if type(paths) == "string" then paths = { paths } end
  if not paths or #paths == 0 then paths = { "registry/" } end
  return undisturbed(function()
    local self = reader(options)
    for _, path in ipairs(paths) do self:find(path) end
    local once, files, texts = {}, {}, {}
    for _, file in ipairs(self.files) do
      if not once[file] then
        once[file] = true
        local text, message = read(file)
        if text then
          files[#files + 1], texts[#texts + 1] = file, text
        else
          self:problem(file, "cannot be read: " .. message)
        end
      end
    end
    if self.options.before then self.options.before(texts) end
    for i, file in ipairs(files) do self:read(texts[i], file) end
    self.files = files
    return self:result()
  end)
end

--- Reads one registry from a text.
---@param text string
---@param file string?             # its name in messages; its extension says what it is. Default "registry.lua"
---@param options lunadex.registry.Options?
---@return lunadex.Registry?
---@return lunadex.registry.Problem[]? errors
function M.parse(text, file, options)
  file = file or "registry.lua"
  return undisturbed(function()
    local self = reader(options)
    self.files[1] = file
    self:read(text, file)
    return self:result()
  end)
end

--- Reads one registry that is data already.
---@param declarations lunadex.Declared[]
---@param file string              # where it comes from, for messages
---@param options lunadex.registry.Options?
---@return lunadex.Registry?
---@return lunadex.registry.Problem[]? errors
function M.declare(declarations, file, options)
  return undisturbed(function()
    local self = reader(options)
    self.problems:file(file)
    self.files[1] = file
    self:take(declarations, file)
    return self:result()
  end)
end

--- Checks one backfill that is data already.
---@param raw table                # what would stand in backfill "name" { … }
---@param name string
---@param file string              # where it comes from, for messages
---@param line integer
---@param options lunadex.registry.Options?
---@return lunadex.Backfill?
---@return lunadex.registry.Problem[]? errors
function M.backfill(raw, name, file, line, options)
  local self = reader(options)
  self.problems:file(file)
  self.checker:file { { kind = schema.kinds.backfill, title = name, raw = raw, file = file, line = line } }
  local registry, mistakes = self:result()
  if not registry then return nil, mistakes end
  return registry.backfills[1]
end

--- What stands for a key where no registry is written: asc, desc, expr, key.
M.words = KEY_WORDS

return M
