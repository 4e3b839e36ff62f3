--- What depends on the kind of database, on this side of the core: PostgreSQL's in lunadex.postgres, MongoDB's in
--- lunadex.mongodb. Both folders hold modules of the same names with the same functions:
--
--   schema       what may be declared, as data
--   definition   what was declared → the core's definition
--   name         names of relations, names that nobody gave, names while something is replaced
--   steps        what one change takes
--   schedule     what may run side by side
--   snapshot     what is live → registry text
--   facts        what rules may ask of the server
--   backfill     what one batch of a backfill takes: lunadex.backfill says which functions there are
--   ledger       what is kept of backfills in the database
--   strain       whether the server has too much to do
--   explain      how the server runs a query
--
-- Each is loaded when it is first asked for: a run on PostgreSQL reads nothing of MongoDB's.

local M = {}

---@class lunadex.Dialect
---@field driver "postgres"|"mongodb"
---@field product string           # for people
---@field comment string          # begins one in a script of its shell
---@field row string               # what relations consist of
---@field relies string            # what may need an index that is nobody's constraint
---@field rights string            # what to do where the right to change indexes is missing
---@field makes_relations boolean? # a relation that is not there comes with its first index
---@field leases boolean?          # the run lock outlives its session
---@field sql boolean?             # statements are SQL; else commands, which are documents
---@field modes boolean?           # a build may be concurrent, or block writes
---@field schema table
---@field definition table
---@field name table
---@field steps table
---@field schedule table
---@field snapshot table
---@field facts table
---@field backfill lunadex.backfill.Dialect
---@field ledger lunadex.backfill.Ledger
---@field strain lunadex.backfill.Strain
---@field explain table

---@class lunadex.Explained        how the server runs a query, for people
---@field lines string[]
---@field uses {schema: string?, relation: string, name: string}[]?   # indexes; nil: the answer holds no plan
---@field reply table?             # then the whole of it

local parts = { schema = true, definition = true, name = true, steps = true, schedule = true, snapshot = true,
  facts = true, backfill = true, ledger = true, strain = true, explain = true }

---@param driver string
---@param words table
local function dialect(driver, words)
  words.driver = driver
  return setmetatable(words, {
    __index = function(self, part)
      if not parts[part] then return nil end
      local module = require("lunadex." .. driver .. "." .. part)
      self[part] = module
      return module
    end,
  })
end

local dialects = {
  postgres = dialect("postgres", { product = "PostgreSQL", comment = "--", row = "row", modes = true, sql = true,
    relies = "a foreign key relies on it",
    rights = "It takes the rights of the table's owner, and CREATE on its schema: connect as one who has them, or have "
      .. "them granted." }),
  mongodb = dialect("mongodb", { product = "MongoDB", comment = "//", row = "document", makes_relations = true,
    leases = true, relies = "it carries the shard key of its collection",
    rights = "The role dbAdmin on the database has the rights to createIndex, dropIndex and collMod, readWrite all but "
      .. "collMod, and those to documents and to the run lock: connect as one who has both, or have them granted." }),
}

--- The dialect of the driver of that name.
---@param driver string?           # lunadex.ServerInfo.driver
---@return lunadex.Dialect
function M.of(driver)
  return driver and dialects[driver] or dialects.postgres
end

return M
