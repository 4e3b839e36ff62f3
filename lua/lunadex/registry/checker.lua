--- What the parts of the check share: the one who checks, what it has found and what it keeps.
--
-- Its methods are in one file for each subject: check, options. What a declaration holds is read by its database's
-- dialect, which calls back.

---@class lunadex.registry.Checker
---@field problems lunadex.registry.Problems
---@field driver fun(database: string, url: string?): string   # of which kind a database is
---@field plugins {folder: string?, path: string?}?   # where they are looked for
---@field known table<string, {keys: table<table, lunadex.Key>, expressions: table<string, string>}>   # by driver:
---       what was found to be right, as written → as kept; the core looks there, too
local Checker = {}
Checker.__index = Checker

---@param problems lunadex.registry.Problems
---@param driver fun(database: string, url: string?): string
---@param plugins {folder: string?, path: string?}?
---@return lunadex.registry.Checker
function Checker.new(problems, driver, plugins)
  return setmetatable({
    problems = problems,
    driver = driver,
    plugins = plugins,
    known = {
      postgres = { keys = {}, expressions = {} },
      mongodb = { keys = {}, expressions = {}, documents = true },
    },
    databases = {},    -- in order, and by name
    urls = {},         -- of databases, by name, as soon as some file says them
    postponed = {},    -- what files declared for databases of which it is not known yet where they are
    rules = {},
    backfills = {},
    repeating = {},    -- declarations with duplicate_of, and their targets
  }, Checker)
end

--- Says what is wrong with a declaration.
---@param made {file: string, line: integer}
---@param relation string?
---@param message string
---@param expected string?
---@param hint string?
function Checker:problem(made, relation, message, expected, hint)
  self.problems:add { file = made.file, line = made.line, relation = relation, message = message,
    expected = expected, hint = hint }
end

return Checker
