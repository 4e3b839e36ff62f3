--- Values of MongoDB that Lua has no type for.
---
--- A document that comes from a server is a table with its fields by name; `pairs` gives them in their order, then
--- those that a script has put into it, and `ipairs` the names that came. An array is a list. What the server has as
--- null is `lunadex.null`, for nil would be no field at all. Integers are Lua's integers, and are sent as ints, or as
--- longs where they are too large; other numbers are doubles. In scripts plain tables do: one with the keys 1 … n is an
--- array, one with names a document in order of the names, an empty one a document (but an array where an operator
--- wants one). Where the order counts, as in a sort, use `document`.
---
--- Two of these values are equal if they are the same. Their fields can be read: `type`, `value`.

local arguments = require "lunadex.arguments"
local core = require "lunadex.core"

local M = {}

---@class lunadex.Document: table  # fields by name, in their order
---@class lunadex.Value
---@field type string              # "object_id", "date" …
---@field value string|integer|nil
---@field subtype integer?         # binary
---@field options string?          # regex

-- For tail calls, so that who called the public function is blamed.
local function made(kind, ...)
  return arguments.blame(2, kind, 1, pcall(core.value, kind, ...))
end

--- A document with its fields in this order: `document("tenant", 1, "at", -1)`.
---@param ... any                  # name, value, name, value …
---@return lunadex.Document
function M.document(...) return arguments.blame(2, "document", 0, pcall(core.document, ...)) end

--- Makes a table an array, also where it is empty.
---@param items table
---@return table items
function M.array(items) return arguments.blame(2, "array", 0, pcall(core.list, items)) end

--- An ObjectId from its 24 hexadecimal digits.
---@param digits string
---@return lunadex.Value
function M.object_id(digits)
  if type(digits) ~= "string" or not digits:find "^%x+$" or #digits ~= 24 then
    error("an ObjectId has 24 hexadecimal digits", 2)
  end
  return core.value("object_id", digits:lower())
end

--- A date from milliseconds since 1970: `date(os.time() * 1000)`.
---@param milliseconds integer
---@return lunadex.Value
function M.date(milliseconds) return made("date", milliseconds) end

--- An integer of 64 bits, however small.
---@param integer integer
---@return lunadex.Value
function M.long(integer) return made("long", integer) end

--- A decimal number from its text: `decimal "0.10"`.
---@param text string
---@return lunadex.Value
function M.decimal(text) return made("decimal", text) end

--- Bytes; as a parameter of PostgreSQL a `bytea`.
---@param bytes string
---@param subtype integer?
---@return lunadex.Value
function M.binary(bytes, subtype) return made("binary", bytes, subtype) end

--- A text that is not valid UTF-8, as old drivers have left some: what a server has of them comes so, and is the same
--- text again where it is sent. Of a plain string only UTF-8 is sent.
---@param bytes string
---@return lunadex.Value
function M.text(bytes) return made("text", bytes) end

--- Any value, from a text of extended JSON: `json [[{ "at": { "$date": "2026-01-31T10:00:00Z" } }]]`.
---@param text string
---@return lunadex.Value
function M.json(text) return core.value("json", text) end

--- A regular expression.
---@param pattern string
---@param options string?          # "i", "mx" …
---@return lunadex.Value
function M.regex(pattern, options) return made("regex", pattern, options) end

--- A timestamp of the oplog.
---@param seconds integer
---@param increment integer
---@return lunadex.Value
function M.timestamp(seconds, increment)
  arguments.check(1, "timestamp", seconds, "integer")
  arguments.check(2, "timestamp", increment, "integer")
  return core.value("timestamp", seconds << 32 | increment & 0xffffffff)
end

--- The value before all others.
---@type lunadex.Value
M.min_key = core.value "min_key"

--- The value after all others.
---@type lunadex.Value
M.max_key = core.value "max_key"

return M
