--- What the parts of the check share: the one who checks, what it has found and what it keeps.
--
-- Its methods are in one file for each subject: options, keys, definition, check.

---@class lunadex.registry.Checker
---@field problems lunadex.registry.Problems
---@field expressions table<string, string>  # known to be right: as written → as kept
---@field keys table<table, lunadex.Key>      # likewise
local Checker = {}
Checker.__index = Checker

---@param problems lunadex.registry.Problems
---@return lunadex.registry.Checker
function Checker.new(problems)
  local keys, expressions = {}, {}
  return setmetatable({
    problems = problems,
    keys = keys,
    expressions = expressions,
    known = { keys = keys, expressions = expressions }, -- what the core has to know of it
    databases = {},    -- in order, and by name
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
