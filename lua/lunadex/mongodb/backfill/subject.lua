--- What a backfill is about: the collection, and what the server says of filter and update.

local bson = require "lunadex.bson"
local core = require "lunadex.core"
local errors = require "lunadex.errors"
local json = require "lunadex.mongodb.json"
local key = require "lunadex.mongodb.backfill.key"
local ledger = require "lunadex.mongodb.ledger"
local suggest = require "lunadex.suggest"

local M = {}

---@class lunadex.mongodb.BackfillSubject: lunadex.backfill.Subject
---@field collection string
---@field uuid lunadex.Value       # of the collection: one that is renamed or dropped must not look as if at its end
---@field projection lunadex.Value  # what a transform is given
---@field where lunadex.Value      # a filter
---@field update lunadex.Value?
---@field wrong lunadex.Value?     # what `verify` must not find
---@field clustered boolean        # it has no index on _id, but its documents are in the order of that
---@field owner string?            # by which the lease knows this run (mongodb/ledger)

-- Operators of updates that leave a document as it is when they are done again.
local repeatable = { ["$set"] = true, ["$unset"] = true, ["$min"] = true, ["$max"] = true, ["$addToSet"] = true,
  ["$pull"] = true, ["$pullAll"] = true, ["$setOnInsert"] = true }

local function is_repeatable(backfill)
  if backfill.repeatable ~= nil then return backfill.repeatable end
  if not backfill.set then return false end
  local node = json.parse(backfill.set)
  if node.tag == "array" then return false end
  for _, pair in ipairs(node) do
    if not repeatable[pair[1]] then return false end
  end
  return true
end

local function refused(message, hint) return nil, errors.new("refused", message, hint) end

local function find_collection(connection, subject)
  local name = subject.collection
  local rows, err = connection:ask("listCollections", 1, { filter = { name = name }, authorizedCollections = true })
  if not rows then return nil, err end
  local found = rows[1]
  if not found then
    return nil, errors.new("undefined", ("there is no collection %s"):format(name),
      suggest.relation(connection:catalog(), name))
  end
  if found.type == "view" then return refused(name .. " is a view", "Name the collection that it is of.") end
  if found.type == "timeseries" then
    return refused(name .. " is a time series collection, whose documents the server does not change one by one")
  end
  subject.uuid, subject.identity = found.info.uuid, ledger.show(found.info.uuid)
  subject.clustered = found.options.clusteredIndex ~= nil
  return found.options
end

-- Without transactions what was killed is done again.
local function look_at_promise(connection, subject, options)
  local rows, err = connection:ask "hello"
  if not rows then return nil, err end
  local alone = not rows[1].setName and rows[1].msg ~= "isdbgrid"
  subject.repeatable = alone or options.capped == true
  if not subject.repeatable or is_repeatable(subject.backfill) then return true end
  local why = alone and "the server is no member of a replica set, and so has no transactions"
    or "no transaction may write to a capped collection"
  return refused(why .. ": a batch that is killed would be done twice",
    (alone and "Make it a replica set, if only of one member (--replSet, rs.initiate()), or else w" or "W")
      .. "rite it so that doing it twice changes nothing more, and say repeatable = true.")
end

-- What the server says of what batches will say: it plans it, and does nothing.
local function judge(connection, subject)
  local name, backfill, err = subject.collection, subject.backfill, nil
  local function explain(text, command)
    local rows
    rows, err = connection:ask("explain", command, { verbosity = "queryPlanner" })
    if rows then return true end
    err = errors.placed(err, text, backfill)
    -- What the server has no class for it says of what is declared.
    if err.code == "server" then err.code = "invalid_definition" end
    return false
  end
  local _ = explain("where", core.document("find", name, "filter", subject.where, "hint", key.by_id))
    and explain("columns", core.document("find", name, "projection", subject.projection))
    and (not subject.update or explain("set", core.document("update", name, "updates",
      { { q = subject.where, u = subject.update, multi = true, hint = key.by_id } })))
    and (not subject.wrong or explain("verify", core.document("find", name, "filter", subject.wrong)))
  return not err or nil, err
end

local function projection_of(backfill)
  local fields = {}
  for i, name in ipairs(backfill.columns or {}) do fields[2 * i - 1], fields[2 * i] = name, 1 end
  return core.document(table.unpack(fields))
end

--- Finds the collection, and has the server judge what is declared; changes nothing.
---@param connection lunadex.Connection
---@param backfill lunadex.Backfill
---@return lunadex.mongodb.BackfillSubject?
---@return lunadex.Error? err
function M.read(connection, backfill)
  local where = bson.json(backfill.where or "{}")
  local verify = backfill.verify
  local subject = { backfill = backfill, relation = backfill.on, collection = backfill.on, key = { "_id" },
    where = where, update = backfill.set and bson.json(backfill.set), projection = projection_of(backfill),
    wrong = verify == true and where or verify and bson.json(verify) or nil }
  local options, err = find_collection(connection, subject)
  if not options then return nil, err end
  local ok
  for _, step in ipairs { look_at_promise, key.refuse, judge } do
    ok, err = step(connection, subject, options)
    if not ok then return nil, err end
  end
  ok, err = key.refuse_change(backfill)
  if not ok then return nil, err end
  local rows
  rows, err = connection:ask("count", subject.collection)
  if not rows then return nil, err end
  subject.rows = rows[1].n
  return subject
end

return M
