-- Random declarations on MongoDB: what a registry builds is what the server makes of the same specification; then there
-- is nothing to do, nor after a snapshot; and what is dropped comes back from the snapshot to the byte.
--
-- LUNADEX_SEED: that seed, of which a failure names the collection.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local random = require "support.random"
local shell = require "support.shell"

local seed = math.tointeger(tonumber(os.getenv "LUNADEX_SEED" or "1"))
local collections, each = os.getenv "LUNADEX_TEST_LONG" and 100 or 12, 25

-- An index twice: `words` in the registry, `json` for the server.
local Generator = {}
Generator.__index = Generator

local odd_texts = {
  "x", "", "it's", 'a "quote"', "back\\slash", "]] and ]=]", "ümläut 😀", "line\nbreak", "$dollar", "end",
}

local function lua_text(text) return ("%q"):format(text):gsub("\\\n", "\\n") end

local function value(rng)
  local kind = rng:integer(1, 8)
  if kind == 1 then return tostring(rng:integer(-5, 5)), nil end
  if kind == 2 then return ("%d.5"):format(rng:integer(-5, 5)), nil end
  if kind == 3 then return ("%d.0"):format(rng:integer(-5, 5)), nil end
  if kind == 4 then return rng:pick { "true", "false" }, nil end
  if kind == 5 then return "null", nil end
  if kind == 6 then
    local date = ('"20%02d-01-01T00:00:00Z"'):format(rng:integer(10, 30))
    return '{ ["$date"] = ' .. date .. " }", '{"$date":' .. date .. "}"
  end
  if kind == 7 then return "5000000000", nil end
  local text = rng:pick(odd_texts)
  return lua_text(text), mongodb.json(text)
end

-- A value as Lua and as JSON.
local function both(rng)
  local lua, json = value(rng)
  return lua, json or lua
end

local function condition(rng)
  local kind = rng:integer(1, 5)
  if kind == 1 then return both(rng) end
  if kind == 2 then
    local lua, json = both(rng)
    local operator = rng:pick { "$gt", "$gte", "$lt", "$lte", "$eq" }
    return ('{ ["%s"] = %s }'):format(operator, lua), ('{"%s":%s}'):format(operator, json)
  end
  if kind == 3 then return '{ ["$exists"] = true }', '{"$exists":true}' end
  if kind == 4 then return '{ ["$type"] = "string" }', '{"$type":"string"}' end
  local a, ja = both(rng)
  local b, jb = both(rng)
  return ('{ ["$in"] = { %s, %s } }'):format(a, b), ('{"$in":[%s,%s]}'):format(ja, jb)
end

-- Fields in order of name, as a table of Lua gives them.
local function filter(rng)
  local lua, json = {}, {}
  for _, field in ipairs { "a", "b.c", "d" } do
    if rng:chance(50) or field == "d" and #lua == 0 then
      local x, y = condition(rng)
      lua[#lua + 1] = ("[%q] = %s"):format(field, x)
      json[#json + 1] = ("%q:%s"):format(field, y)
    end
  end
  return "{ " .. table.concat(lua, ", ") .. " }", "{" .. table.concat(json, ",") .. "}"
end

function Generator:key(words, field, direction)
  self.words[#self.words + 1], self.keys[#self.keys + 1] = words, ("%q:%s"):format(field, direction)
end

function Generator:option(name, words, json_name, json)
  self.words[#self.words + 1] = name .. " = " .. words
  self.options[#self.options + 1] = ("%q:%s"):format(json_name, json)
end

function Generator:plain_key(field)
  local rng = self.rng
  local form = rng:integer(1, 8)
  if form <= 2 then return self:key(("%q"):format(field), field, 1) end
  if form == 3 then return self:key(("desc %q"):format(field), field, -1) end
  if form == 4 then return self:key(("{ [%q] = 1 }"):format(field), field, 1) end
  if form == 5 then return self:key(("{ [%q] = -1 }"):format(field), field, -1) end
  if form == 6 then return self:key(("key { %q, desc = true }"):format(field), field, -1) end
  if form == 7 then return self:key(("asc %q"):format(field), field, 1) end
  local number = rng:pick { "2", "-3.5", "0.25" }
  self:key(("{ [%q] = %s }"):format(field, number), field, number)
end

local kinds = {}

function kinds:plain(i)
  local rng = self.rng
  self:plain_key("k" .. i)
  local count = rng:integer(0, 3)
  for j = 1, count do self:plain_key(rng:pick { "x.y", "z", "w.v" } .. j) end
  if rng:chance(20) then self:option("unique", "true", "unique", "true") end
  if count == 0 and rng:chance(30) then
    local days = rng:integer(1, 90)
    self:option("expire_after", rng:pick { ('"%dd"'):format(days), tostring(days * 86400) }, "expireAfterSeconds",
      tostring(days * 86400))
  end
  self:collation()
end

function kinds:hashed(i)
  self:key(('{ k%d = "hashed" }'):format(i), "k" .. i, '"hashed"')
  if self.rng:chance(50) then self:plain_key "z" end
end

function kinds:sphere(i)
  self:key(('key { "k%d.at", type = "2dsphere" }'):format(i), ("k%d.at"):format(i), '"2dsphere"')
  if self.rng:chance(50) then self:key('"z"', "z", 1) end
end

function kinds:flat(i)
  self:key(('{ k%d = "2d" }'):format(i), "k" .. i, '"2d"')
  if self.rng:chance(50) then self:option("bits", "20", "bits", "20") end
  if self.rng:chance(50) then
    self:option("min", "-10.5", "min", "-10.5")
    self:option("max", "10.5", "max", "10.5")
  end
end

function kinds:below(i)
  self:key(('"k%d.$**"'):format(i), ("k%d.$**"):format(i), 1)
end

-- At most one of these in a collection.
local single = {}

function single:text()
  local rng = self.rng
  if rng:chance(50) then self:key('"before"', "before", 1) end
  self:key('{ t = "text" }', "t", '"text"')
  self:key('{ ["u.v"] = "text" }', "u.v", '"text"')
  if rng:chance(50) then self:option("weights", '{ ["u.v"] = 7 }', "weights", '{"u.v":7}') end
  if rng:chance(50) then self:option("default_language", '"german"', "default_language", '"german"') end
  if rng:chance(50) then self:option("language_override", '"lang"', "language_override", '"lang"') end
end

function single:everything()
  self:key('"$**"', "$**", 1)
  if self.rng:chance(70) then
    local flag = self.rng:integer(0, 1)
    self:option("wildcard_projection", ('{ ["b.c"] = %d, d = %d }'):format(flag, flag), "wildcardProjection",
      ('{"b.c":%d,"d":%d}'):format(flag, flag))
  end
end

function Generator:collation()
  if not self.rng:chance(20) then return end
  local collation = self.rng:pick {
    { '{ locale = "en", strength = 2 }', '{"locale":"en","strength":2}' }, { '{ locale = "simple" }',
      '{"locale":"simple"}' }, { '{ locale = "fr_CA" }', '{"locale":"fr_CA"}' }, { '{ locale = "da", '
      .. 'caseFirst = "off" }', '{"locale":"da","caseFirst":"off"}' }, { '{ locale = "de", numericOrdering = true }',
      '{"locale":"de","numericOrdering":true}' },
  }
  self:option("collation", collation[1], "collation", collation[2])
end

-- The i-th index of a collection.
local function index(rng, i, make)
  local self = setmetatable({ rng = rng, words = {}, keys = {}, options = {} }, Generator)
  make(self, i)
  if rng:chance(30) then
    local wildcard = make == single.everything or make == kinds.below
    if wildcard or rng:chance(50) then
      local lua, json = filter(rng)
      self:option("partial", lua, "partialFilterExpression", json)
    else
      self:option("sparse", "true", "sparse", "true")
    end
  end
  if rng:chance(15) then self:option("hidden", "true", "hidden", "true") end
  if rng:chance(5) then
    self:option("storage_engine", '{ wiredTiger = { configString = "" } }', "storageEngine",
      '{"wiredTiger":{"configString":""}}')
  end
  local name = rng:chance(20) and ("odd %s %d"):format(rng:pick { "na.me", 'q"uote', "ü" }, i) or "n" .. i
  self:option("name", lua_text(name), "name", mongodb.json(name))
  return ("  index { %s },"):format(table.concat(self.words, ", ")),
    ('{"key":{%s},%s}'):format(table.concat(self.keys, ","), table.concat(self.options, ","))
end

local function names_of(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local all_kinds = names_of(kinds)
local with_collation = { "hashed", "plain", "sphere", "below" } -- those that may have one

-- All of one collection: its block of the registry, and the specifications. `collated`: it has a collation to inherit.
local function collection(rng, name, collated)
  local words, json = {}, {}
  for i = 1, each do
    local make = kinds[rng:chance(60) and "plain" or rng:pick(collated and with_collation or all_kinds)]
    if i == 1 and not collated then make = single.text elseif i == 2 then make = single.everything end
    words[i], json[i] = index(rng, i, make)
  end
  return ("on %q {\n%s\n}\n"):format(name, table.concat(words, "\n")), table.concat(json, ",")
end

describe("random declarations on MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, ours, theirs

  before_each(function()
    server = mongodb.shared()
    ours, theirs = server:create_database(), server:create_database()
  end)
  after_each(function()
    server:drop_database(ours)
    server:drop_database(theirs)
  end)

  local function indexes(database, name)
    local list = {}
    for i, spec in ipairs(server:indexes(database, name)) do
      -- The order in which options were given says nothing.
      local fields = {}
      for field, inner in pairs(spec) do fields[#fields + 1] = field .. "=" .. mongodb.json(inner) end
      table.sort(fields)
      list[i] = table.concat(fields, " ")
    end
    table.sort(list)
    return list
  end

  local function run(command, path, ...)
    local result = lunadex.run { command, path, "--target", server:url(ours), ... }
    assert.equal(0, result.status, tostring(result))
    return result
  end

  local function nothing_to_do(path)
    local summary = run("plan", path, "--json"):json().summary
    assert.same({ collections * each, 0 }, { summary.keep, summary.stray })
    run("plan", path, "--detailed-exitcode")
  end

  it(("are built as the server builds them, and come back (%d of them)"):format(collections * each), function()
    local text, names = {}, {}
    for i = 1, collections do
      local name = ("c.%d"):format(i)
      local block, specs = collection(random.new(seed, i), name, i % 4 == 0)
      text[i], names[i] = block, name
      -- A default collation is inherited by both.
      if i % 4 == 0 then
        for _, database in ipairs { ours, theirs } do
          server:command(database, ('{"create":%q,"collation":{"locale":"de","strength":1}}'):format(name))
        end
      end
      local ok, message = server:try(theirs, ('{"createIndexes":%q,"indexes":[%s]}'):format(name, specs))
      assert(ok, ("%s\n%s\n%s"):format(message, block, specs))
    end
    local path = lunadex.registry(table.concat(text))
    run("apply", path, "--jobs", "4")
    local built = {}
    for _, name in ipairs(names) do
      built[name] = indexes(ours, name)
      assert.same(indexes(theirs, name), built[name], name)
    end
    nothing_to_do(path)

    local snapshot = shell.directory("snapshot") .. "/snapshot.lua"
    assert.equal(0, lunadex.run { "snapshot", "-o", snapshot, "--target", server:url(ours) }.status)
    nothing_to_do(snapshot)
    for _, name in ipairs(names) do server:command(ours, { "dropIndexes", name, index = "*" }) end
    run("apply", snapshot, "--jobs", "4")
    for _, name in ipairs(names) do assert.same(built[name], indexes(ours, name), name) end
  end)
end)
