--- How a query is run, by the server's own word, and the indexes it uses.

local dialects = require "lunadex.dialect"
local errors = require "lunadex.errors"
local output = require "lunadex.cli.output"
local relations = require "lunadex.cli.repl.relations"
local show = require "lunadex.cli.show"

local M = {}

M.help = [[
On PostgreSQL: \explain SELECT …; on MongoDB a command with its fields in Lua: \explain find users { filter = { email =
"…" } }. With `analyze` behind \explain the query is run and its real figures are shown. Of a query with parameters ($1)
the plan for whatever values is shown. The indexes that are used come below the plan, with size and state.]]

-- What an index is known by; `schema` is nil on MongoDB.
local function key(schema, relation, name)
  return table.concat({ schema or "", relation, name }, "\0")
end

-- The indexes that are used, as \d shows them.
local function tell_indexes(connection, uses)
  local catalog, err = connection:catalog()
  if not catalog then return nil, err end
  local used, found = {}, {}
  for _, each in ipairs(uses) do used[key(each.schema, each.relation, each.name)] = true end
  for relation in catalog:relations() do
    for _, index in ipairs(relation:indexes()) do
      if used[key(relation.schema, relation.name, index.name)] then found[#found + 1] = index end
    end
  end
  output.line()
  if #found == 0 then
    output.line(output.style("yellow", "no index is used"))
    return true
  end
  return relations.indexes(connection, found, true)
end

---@param session lunadex.cli.Session
---@param text string
---@return true?
---@return lunadex.Error? err
function M.run(session, text)
  local analyze, query = text:match "^([Aa][Nn][Aa][Ll][Yy][Zz][Ee])%s+(.*)$"
  query = (query or text):gsub(";%s*$", "")
  if query == "" then return nil, errors.new("usage", "\\explain needs a query", "help explain shows how.") end
  local found, err = dialects.of(session.driver).explain.told(session.connection, query, analyze ~= nil,
    session.environment)
  if not found then return nil, err end
  for _, line in ipairs(found.lines) do output.line(line) end
  if found.uses then return tell_indexes(session.connection, found.uses) end
  output.line(show.text(found.reply))
  return true
end

return M
