--- What a `transform` changes in the documents of a batch.

local bson = require "lunadex.bson"
local core = require "lunadex.core"
local documents = require "lunadex.mongodb.backfill.documents"
local json = require "lunadex.mongodb.json"

local M = {}

-- Whether there is nothing of the server's in it.
local function is_of_registry(value)
  if type(value) ~= "table" then return true end
  if getmetatable(value) ~= nil then return false end
  for _, item in next, value do
    if not is_of_registry(item) then return false end
  end
  return true
end

-- A value as it is sent: those of the server as they are, tables as in a registry, with extended JSON; or nil and what
-- is wrong with it.
local function to_send(value)
  local kind = type(value)
  if kind == "table" and getmetatable(value) == nil then
    if is_of_registry(value) then
      local node, wrong = json.of(value)
      return node and bson.json(json.text(node)), wrong
    end
    local copy = {}
    for key, item in pairs(value) do
      local wrong
      copy[key], wrong = to_send(item)
      if wrong then return nil, wrong end
    end
    return copy
  end
  if kind == "string" and not utf8.len(value) then return nil, "holds a text that is not valid UTF-8" end
  if kind == "function" or kind == "userdata" and value ~= core.null then return nil, "holds a " .. kind end
  return value
end

local deepest = 90 -- levels: with what is around it, the core sends a hundred
local largest = 16 * 1024 * 1024 -- bytes of a document

-- About how many bytes a value takes; nil: it has too many levels, or is too large.
local function size_of(value, level)
  if type(value) == "string" then return #value end
  if type(value) ~= "table" then return 8 end
  if level > deepest then return nil end
  local sum = 8
  for name, item in next, value do
    local size = size_of(item, level + 1)
    sum = sum + (type(name) == "string" and #name or 2) + (size or largest)
    if sum > largest then return nil end
  end
  return sum
end

--- What comes of a document that was transformed: fields to set, and about how many bytes they take; or nil and why it
--- fails.
---@param transformed lunadex.backfill.Change
---@return table? set
---@return integer|string size_or_failure
function M.fields_to_set(transformed)
  if transformed.failed then return nil, transformed.failed end
  local changes, set = transformed.changes or {}, {}
  local size = size_of(changes, 0)
  if not size then return nil, "transform gave a table that holds itself, or more than a document may" end
  for name, value in pairs(changes) do
    if name == "_id" then return nil, "transform gave _id, which nothing can change" end
    if name == "" or name:find "^%$" then
      return nil, ("transform gave %q, which is no name of a field"):format(name)
    end
    local wrong
    set[name], wrong = to_send(value)
    if wrong then return nil, ("transform gave %s, which %s"):format(name, wrong) end
  end
  return set, size
end

-- Of one command: of whoever sends more than 48 MB the server closes the link.
local most_updates, most_bytes = 1000, largest

-- Updates for the documents that were transformed, by commands; what failed goes to `failures`.
local function updates_of(ids, transformed, failures)
  local commands, room = {}, 0
  for i, id in ipairs(ids) do
    local set, told = M.fields_to_set(transformed[i])
    if not set then
      failures[#failures + 1] = { key = id, message = told }
    elseif next(set) then
      local updates = commands[#commands]
      if room <= 0 or #updates == most_updates then
        updates, room = {}, most_bytes
        commands[#commands + 1] = updates
      end
      updates[#updates + 1], room = { q = { _id = { ["$eq"] = id } }, u = { ["$set"] = set } }, room - told
    end
  end
  return commands
end

--- Changes what the transform says; what failed goes to `failures`.
---@param tx lunadex.Session
---@param subject lunadex.mongodb.BackfillSubject
---@param these table
---@param batch lunadex.backfill.Batch
---@param run fun(rows: table[]): lunadex.backfill.Change[]
---@param failures {key: any, message: string}[]
---@return true?
---@return lunadex.Error? err
function M.run(tx, subject, these, batch, run, failures)
  local rows, err = documents.find(tx, subject, these, batch)
  if not rows then return nil, err end
  local ids = {} -- the rows are the transform's to do with what it likes
  for i, row in ipairs(rows) do ids[i] = row._id end
  for _, updates in ipairs(updates_of(ids, run(rows), failures)) do
    rows, err = tx:ask("update", subject.collection, { updates = updates })
    if not rows then return nil, err end
    batch.changed = batch.changed + rows[1].nModified
  end
  return true
end

return M
