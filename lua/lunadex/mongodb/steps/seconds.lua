--- How long a build may take: a first guess, for people and for the schedule.
--
-- Against 14 indexes of all kinds on 200,000 documents (6.0, two cores, documents in memory) it is between half and
-- double, mostly closer. A key costs more than its bytes: words are stemmed, points become cells, paths of a wildcard
-- are written out, and several keys of one document are sorted apart.

local fields = require "lunadex.mongodb.fields"

-- Bytes a second, of documents that are read and of an index that is written.
local READ, WRITTEN = 800e6, 60e6

-- Seconds for a key: the first of a document, and each of the others; by kind, or plain.
local KEY, ANOTHER_KEY = 0.7e-6, 1.6e-6
local BY_KIND = { text = 4e-6, wildcard = 4e-6, hashed = 4e-6, ["2dsphere"] = 6e-6, ["2d"] = 2e-6 }
local COLLATED = 3.5e-6 -- more for each

local function kind_of(definition)
  for _, key in ipairs(definition.keys) do
    if key.column:find("$**", 1, true) then return key.opclass == "text" and "text" or "wildcard" end
    if BY_KIND[key.opclass] then return key.opclass end
  end
end

---@param measure table            # of the core; -1: unknown
---@param definition lunadex.Fields
---@return number?
return function(measure, definition)
  local rows, entries = measure.rows, measure.entries
  if rows < 0 or measure.table_bytes < 0 then return nil end
  if entries < 0 then entries = rows end
  local each = BY_KIND[kind_of(definition)]
  local keys = each and entries * each
    or math.min(entries, rows) * KEY + math.max(entries - rows, 0) * ANOTHER_KEY
  if fields.option(definition.traits, "collation") then keys = keys + entries * COLLATED end
  return measure.table_bytes / READ + keys + math.max(measure.index_bytes, 0) / WRITTEN
end
