--- The key that a backfill goes along, which is _id: how commands speak of it, and which cannot be gone along.

local bson = require "lunadex.bson"
local core = require "lunadex.core"
local errors = require "lunadex.errors"
local json = require "lunadex.mongodb.json"

local M = {}

local by_id = core.document("_id", 1)
M.by_id = by_id

--- A value that no expression takes for one of its own.
---@param value any
---@return table
function M.literal(value) return { ["$literal"] = value } end

local brackets = { string = "string", number = "number", long = "number", object_id = "object_id", date = "date",
  binary = "binary" }

-- The bracket of types that the server compares a value with where it is asked by `$gt` and not by an expression; nil:
-- better not asked so. `clustered`: documents have one, too.
local function bracket(value, clustered)
  if value ~= value then return nil end -- NaN: less than all numbers to an index, but `$gt` finds none above it
  local kind = type(value)
  if kind == "table" and #value == 0 then kind = value.type end -- a document has its fields' names as a list
  return clustered and kind == "table" and "document" or brackets[kind]
end

--- Whether plain operators do for what is between two values.
---@param first any
---@param second any
---@param clustered boolean        # documents have a bracket, too
---@return boolean
function M.one_bracket(first, second, clustered)
  local kind = bracket(first, clustered)
  return kind ~= nil and kind == bracket(second, clustered)
end

--- The documents after `cursor`, up to `high`, as a filter. Between two of a bracket there is nothing else, and plain
--- operators take a fifth less of the server's time than expressions.
---@param cursor any
---@param high any
---@param clustered boolean
---@return table filter
function M.between(cursor, high, clustered)
  if M.one_bracket(cursor, high, clustered) then return { _id = { ["$gt"] = cursor, ["$lte"] = high } } end
  local parts = {}
  if cursor ~= nil then parts[1] = { ["$gt"] = { "$_id", M.literal(cursor) } } end
  if high ~= nil then parts[#parts + 1] = { ["$lte"] = { "$_id", M.literal(high) } } end
  return { ["$expr"] = { ["$and"] = parts } }
end

--- How documents are walked: by the bounds of the index alone, a fifth of the time that expressions take.
---@param subject lunadex.mongodb.BackfillSubject
---@param cursor any
---@param high any
---@return table fields            # of `find`
function M.bounds(subject, cursor, high)
  local fields = { hint = by_id, sort = by_id, projection = by_id, collectionUUID = subject.uuid }
  if cursor ~= nil then
    fields.min, fields.filter = core.document("_id", cursor), { _id = { ["$ne"] = cursor } }
  end
  if high ~= nil then fields.max = core.document("_id", high) end -- which is not part of it
  return fields
end

local before_old = bson.timestamp(0xffffffff, 0xffffffff) -- those types come after it

--- Keys of these do not come back from here as they are: the first batch that ended on one would never end.
---@param connection lunadex.Connection
---@param subject lunadex.mongodb.BackfillSubject
---@return true?
---@return lunadex.Error? err
function M.refuse(connection, subject)
  local rows, err = connection:ask("find", subject.collection, { limit = 1, hint = by_id, projection = by_id,
    min = core.document("_id", before_old), filter = { _id = { ["$type"] = { "dbPointer", "javascriptWithScope" } } } })
  if not rows then return nil, err end
  if not rows[1] then return true end
  return nil, errors.new("refused", subject.collection .. " has an _id of a type of long ago, a DBPointer or code with "
    .. "scope, which cannot be gone along")
end

local renames = { ["$rename"] = true }
local assigning = { ["$set"] = true, ["$addFields"] = true }

local function is_of_key(name)
  return name == "_id" or type(name) == "string" and name:find "^_id%." ~= nil
end

-- Whether operators assign to the key, or stages of a pipeline.
local function assigns_key(operators, wanted)
  for _, operator in ipairs(operators) do
    local name, fields = operator[1], operator[2]
    if (not wanted or wanted[name]) and type(fields) == "table" then
      for _, field in ipairs(fields) do
        if is_of_key(field[1]) or renames[name] and is_of_key(field[2]) then return true end
      end
    end
  end
  return false
end

--- What refuses a backfill that would change it.
---@param backfill lunadex.Backfill
---@return true?
---@return lunadex.Error? err
function M.refuse_change(backfill)
  if not backfill.set then return true end
  local node, changes = json.parse(backfill.set), false
  if node.tag == "array" then
    for _, stage in ipairs(node) do changes = changes or assigns_key(stage, assigning) end
  else
    changes = assigns_key(node)
  end
  if not changes then return true end
  return nil, errors.new("refused", "it changes _id, which is the key that it goes along",
    "The server lets nobody do that.")
end

return M
