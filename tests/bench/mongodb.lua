-- MongoDB beside mongoose, mongoengine and pymongo, in turns, as ratios: a run with nothing to do, whole processes and
-- the work alone; eight indexes on one collection, also in the ways that they are built by hand; and peak memory.
--   ./dev bench mongodb                   all: 200 collections with 10 indexes each; 2 million documents
--   LUNADEX_BENCH_RUNS=5                  so many turns (default 5; of the builds 3 at most), after one to warm up
--   LUNADEX_BENCH_COLLECTIONS=20          fewer collections
--   LUNADEX_BENCH_ROWS=100000             fewer documents; 0: no builds
--   LUNADEX_BENCH_PEERS=DIRECTORY         where the peers are (default .deps/mongodb-peers)
-- Peers that are not installed are left out; how to install them is said then.
local bench = require "support.bench"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local shell = require "support.shell"

local runs = tonumber(os.getenv "LUNADEX_BENCH_RUNS" or 5)
local collections = tonumber(os.getenv "LUNADEX_BENCH_COLLECTIONS" or 200)
local rows = tonumber(os.getenv "LUNADEX_BENCH_ROWS" or 2000000)
local REPEATED = 5 -- times that the work alone is done by one process

local peers = os.getenv "LUNADEX_BENCH_PEERS" or shell.check("pwd"):gsub("\n$", "") .. "/.deps/mongodb-peers"
local python = shell.run("test -x " .. shell.quote(peers .. "/bin/python")) and peers .. "/bin/python"
local node = shell.run("command -v node && test -e " .. shell.quote(peers .. "/node_modules/mongoose")) and "node"
if not python then
  print(("mongoengine, pymongo: left out; to install them: python3 -m venv %s && "
    .. "%s/bin/pip install pymongo mongoengine"):format(peers, peers))
end
if not node then print("mongoose: left out; to install it: npm install --prefix " .. peers .. " mongoose") end

local server = mongodb.start()
server:command("admin", { "setParameter", 1, wiredTigerEngineRuntimeConfig = "cache_size=2GB" })
-- They are run there: in a checkout of Lunadex its own plugins would be the user's, and read with each plan.
local directory = shell.directory "bench"

-- What each of them is given ------------------------------------------------------------------------------------------

-- One program a peer: `PROGRAM FILE URL REPEATED` ensures what FILE says, once, or repeatedly, and then says each time
-- how many milliseconds it took. FILE: {"collection": [{"name", "keys": [["a", 1]], "options": {}}]}.
local programs = {}

programs.mongoose = [[
const mongoose = require("mongoose");
const [file, url, repeated] = process.argv.slice(2);
const declared = JSON.parse(require("fs").readFileSync(file, "utf8"));
(async () => {
  for (const [collection, indexes] of Object.entries(declared)) {
    const fields = {};
    for (const index of indexes) for (const [name] of index.keys) fields[name] = mongoose.Schema.Types.Mixed;
    const schema = new mongoose.Schema(fields, { collection, autoIndex: false, autoCreate: false });
    for (const index of indexes) schema.index(Object.fromEntries(index.keys), { name: index.name, ...index.options });
    mongoose.model(collection, schema);
  }
  await mongoose.connect(url);
  for (let i = 0; i < (Number(repeated) || 1); i++) {
    const begun = performance.now();
    await mongoose.connection.syncIndexes({ continueOnError: false });
    if (repeated) console.log(performance.now() - begun);
  }
  await mongoose.disconnect();
})();
]]

local measured = [=[
def main(work):
    for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 1):
        begun = time.perf_counter()
        work()
        if len(sys.argv) > 3: print((time.perf_counter() - begun) * 1000)
]=]

programs.mongoengine = [=[
import json, sys, time, mongoengine
]=] .. measured .. [=[
mongoengine.connect(host=sys.argv[2])
def fields_of(index):
    return [("-" if direction < 0 else "") + name for name, direction in index["keys"]]
def model(collection, indexes):
    body = {name: mongoengine.DynamicField() for index in indexes for name, _ in index["keys"]}
    body["meta"] = {"collection": collection, "auto_create_index": False, "index_cls": False, "indexes": [
        dict(fields=fields_of(index), cls=False, name=index["name"], **index["options"]) for index in indexes]}
    return type("Model_" + collection, (mongoengine.Document,), body)
models = [model(*each) for each in json.load(open(sys.argv[1])).items()]
main(lambda: [each.ensure_indexes() for each in models])
]=]

programs.pymongo = [=[
import json, sys, time, pymongo
]=] .. measured .. [=[
client = pymongo.MongoClient(sys.argv[2])
database = client.get_default_database()
declared = [(database[collection], [pymongo.IndexModel(index["keys"], name=index["name"], **index["options"])
             for index in indexes]) for collection, indexes in json.load(open(sys.argv[1])).items()]
main(lambda: [collection.create_indexes(indexes) for collection, indexes in declared])
]=]

-- The ways that a person has: one command for all indexes, one after another, or so many at a time.
programs.by_hand = [=[
import json, sys, concurrent.futures, pymongo
file, url, at_once = sys.argv[1], sys.argv[2], int(sys.argv[3])
database = pymongo.MongoClient(url).get_default_database()
for collection, indexes in json.load(open(file)).items():
    models = [pymongo.IndexModel(index["keys"], name=index["name"], **index["options"]) for index in indexes]
    commands = [[model] for model in models] if at_once else [models]
    with concurrent.futures.ThreadPoolExecutor(at_once or 1) as pool:
        list(pool.map(database[collection].create_indexes, commands))
]=]

-- The work alone of ours, in a stock Lua: what is declared is read and the connection made, as the others have them.
programs.lunadex = [[
local lunadex = require "lunadex"
local core = require "lunadex.core"
local registry = assert(lunadex.load(arg[1], { target = arg[2] }))
local connection = assert(lunadex.connect(arg[2]))
for _ = 1, tonumber(arg[3]) do
  local begun = core.now()
  local plan = assert(lunadex.plan(registry, connection))
  print((core.now() - begun) * 1000)
  assert(not plan:has_changes())
end
connection:close()
]]

-- Node looks for what is required from where the program is.
shell.check("ln -s " .. shell.quote(peers .. "/node_modules") .. " " .. shell.quote(directory .. "/node_modules"))
for name, text in pairs(programs) do shell.write_file(directory .. "/" .. name, text) end

local function interpreter(name)
  if name == "mongoose" then return node end
  return python
end

--- Declares indexes for everybody: a file for the peers, made from the server's own list, and a registry.
local function declare(database)
  local declared = mongodb.document()
  local reply = server:command("admin", { "aggregate", cursor = { batchSize = 10000 }, pipeline = {
    { ["$listCatalog"] = mongodb.document() }, { ["$match"] = { db = database } }, { ["$sort"] = { name = 1 } } } })
  for _, entry in ipairs(reply.cursor.firstBatch) do
    local list = {}
    for _, index in ipairs(entry.md.indexes) do
      local spec = index.spec
      if spec.name ~= "_id_" then
        local keys, options = {}, mongodb.document()
        for _, name in ipairs(getmetatable(spec.key).__jsonorder) do keys[#keys + 1] = { name, spec.key[name] } end
        for _, option in ipairs { "unique", "sparse", "expireAfterSeconds", "partialFilterExpression" } do
          if spec[option] ~= nil then options[option] = spec[option] end
        end
        list[#list + 1] = { name = spec.name, keys = keys, options = options }
      end
    end
    declared[entry.name] = list
  end
  local file = ("%s/%s"):format(directory, database)
  shell.write_file(file .. ".json", mongodb.json(declared))
  local made = lunadex.run { "snapshot", "-o", file .. ".lua", "--target", server:url(database) }
  assert(made.status == 0, tostring(made))
  return file
end

local function count_indexes(database)
  local reply = server:command("admin", { "aggregate", cursor = mongodb.document(), pipeline = {
    { ["$listCatalog"] = mongodb.document() }, { ["$match"] = { db = database } }, { ["$unwind"] = "$md.indexes" },
    { ["$match"] = { ["md.indexes.ready"] = true } }, { ["$count"] = "n" } } })
  return reply.cursor.firstBatch[1].n
end

-- Nothing to do -------------------------------------------------------------------------------------------------------

local function fill(database)
  for n = 1, collections do
    server:command(database, ([[{ "createIndexes": "c%d", "indexes": [
      { "name": "a_1", "key": { "a": 1 } }, { "name": "b_-1", "key": { "b": -1 } },
      { "name": "c_1_d_-1", "key": { "c": 1, "d": -1 } }, { "name": "d_1", "key": { "d": 1 }, "unique": true },
      { "name": "e_1", "key": { "e": 1 }, "sparse": true }, { "name": "f_1", "key": { "f": 1 },
      "expireAfterSeconds": 86400 }, { "name": "g_1_h_1", "key": { "g": 1, "h": 1 }, "unique": true },
      { "name": "h_1", "key": { "h": 1 }, "partialFilterExpression": { "a": { "$gt": 5 } } },
      { "name": "i_1_a_1_b_1", "key": { "i": 1, "a": 1, "b": 1 } }, { "name": "j_1", "key": { "j": 1 } }] }]])
      :format(n))
  end
end

local function nothing_to_do()
  fill "same"
  local file, url, before = declare "same", server:url "same", count_indexes "same"
  local contenders = { { name = "lunadex",
    whole = { lunadex.program, "plan", file .. ".lua", "--target", url, "--detailed-exitcode" },
    alone = { "env", "LUA_CPATH=" .. lunadex.build .. "/?.so;;", "lua5.4", directory .. "/lunadex", file .. ".lua", url,
      REPEATED } } }
  for _, name in ipairs { "mongoose", "mongoengine", "pymongo" } do
    local with = interpreter(name)
    if with then
      local whole = { with, directory .. "/" .. name, file .. ".json", url }
      contenders[#contenders + 1] = { name = name .. (name == "mongoose" and ".syncIndexes" or
        name == "mongoengine" and ".ensure_indexes" or ".create_indexes"), whole = whole,
        alone = table.move({ REPEATED }, 1, 1, #whole + 1, table.move(whole, 1, #whole, 1, {})) }
    end
  end
  local wholes, alones = {}, {}
  for i, contender in ipairs(contenders) do wholes[i], alones[i] = contender.whole, contender.alone end
  local whole, alone = bench.in_turns(wholes, runs, directory), {}
  for i in ipairs(contenders) do alone[i] = { best = math.huge, times = {} } end
  for turn = 1, runs do
    for i, words in ipairs(alones) do
      local least, _, output = math.huge, bench.time(words, directory)
      for time in output:gmatch "[%d.]+" do least = math.min(least, tonumber(time)) end
      alone[i].times[turn], alone[i].best = least, math.min(alone[i].best, least)
    end
  end
  assert(count_indexes "same" == before, "somebody found something to do")
  print(("\n%d indexes of %d collections, nothing to do; by the ratios, lunadex is so many times faster"):format(
    before - collections, collections))
  print(("%-30s %12s %7s %7s %16s %7s %7s %10s"):format("", "process", "ratio", "median", "the work alone", "ratio",
    "median", "peak"))
  for i, contender in ipairs(contenders) do
    print(("%-30s %9.1f ms %7.1f %7.1f %13.1f ms %7.1f %7.1f %7.0f MB"):format(contender.name, whole[i].best * 1000,
      whole[i].best / whole[1].best, bench.ratio(whole[i].times, whole[1].times), alone[i].best,
      alone[i].best / alone[1].best, bench.ratio(alone[i].times, alone[1].times), (bench.peak(contender.whole))))
  end
end

-- Eight indexes on one collection -------------------------------------------------------------------------------------

local eight = [[ "indexes": [
  { "name": "email_1", "key": { "email": 1 } }, { "name": "name_1_age_-1", "key": { "name": 1, "age": -1 } },
  { "name": "city_1", "key": { "city": 1 } }, { "name": "score_1", "key": { "score": 1 } },
  { "name": "tags_1", "key": { "tags": 1 } }, { "name": "at_1", "key": { "at": 1 } },
  { "name": "status_1_at_-1", "key": { "status": 1, "at": -1 } }, { "name": "acct_1", "key": { "acct": 1 } }] ]]

local function text(prefix, number)
  return { ["$concat"] = { prefix, { ["$toString"] = number } } }
end

local function some(count) return { ["$mod"] = { { ["$multiply"] = { "$_id", 7919 } }, count } } end

local function fill_big()
  server:command("big", { "aggregate", cursor = mongodb.document(), pipeline = {
    { ["$documents"] = { mongodb.document() } },
    { ["$project"] = { n = { ["$range"] = { 0, rows // 1000 } } } }, { ["$unwind"] = "$n" },
    { ["$project"] = { n = 1, m = { ["$range"] = { 0, 1000 } } } }, { ["$unwind"] = "$m" },
    { ["$project"] = { _id = { ["$add"] = { { ["$multiply"] = { "$n", 1000 } }, "$m" } } } },
    { ["$project"] = { email = { ["$concat"] = { text("user", some(rows)), "@example.org" } },
      name = text("n", some(5000)), age = some(90), city = text("c", some(700)),
      score = { ["$rand"] = mongodb.document() },
      tags = { text("t", some(97)), text("t", some(89)), text("t", some(83)) },
      at = { ["$toDate"] = { ["$toLong"] = { ["$multiply"] = { "$_id", 1000 } } } }, status = some(5),
      acct = some(rows // 10 + 1),
      text = { ["$literal"] = ("x"):rep(180) } } },
    { ["$out"] = "c" },
  } })
end

local function builds()
  if rows < 1000 then return end
  local turns = math.min(runs, 3)
  io.write(("\n%d documents … "):format(rows // 1000 * 1000)):flush()
  fill_big()
  -- What is declared is read from a collection without documents.
  server:command("shape", '{ "createIndexes": "c",' .. eight .. "}")
  local file, url = declare "shape", server:url "big"
  local contenders = { { name = "lunadex apply", words = { lunadex.program, "apply", file .. ".lua", "--target", url,
    "--quiet", "--fail-on", "any" } } }
  for _, name in ipairs { "mongoose", "mongoengine" } do
    local with = interpreter(name)
    contenders[#contenders + 1] = with and { name = name,
      words = { with, directory .. "/" .. name, file .. ".json", url } }
  end
  for _, way in ipairs { { "one command for all", 0 }, { "one after another", 1 }, { "two at a time", 2 },
    { "all at a time", 8 } } do
    contenders[#contenders + 1] = python and { name = "pymongo, " .. way[1],
      words = { python, directory .. "/by_hand", file .. ".json", url, way[2] } }
  end
  for _, contender in ipairs(contenders) do contender.times, contender.peak = {}, 0 end
  print "made"
  for turn = 1, turns do
    for _, contender in ipairs(contenders) do
      server:command("big", { "dropIndexes", "c", index = "*" })
      server:command("admin", { "fsync" })
      local peak, seconds = bench.peak(contender.words)
      contender.times[turn], contender.peak = seconds, math.max(contender.peak, peak)
      local built = server:indexes("big", "c")
      assert(#built == 9, contender.name .. " did not build them all")
      for _, index in ipairs(built) do assert(not index.buildUUID, contender.name .. " did not wait") end
    end
  end
  local ours = contenders[1]
  local function least(times) return math.min(table.unpack(times)) end
  print(("%-30s %12s %7s %7s %10s"):format(("8 indexes, %d turns"):format(turns), "seconds", "ratio", "median", "peak"))
  for _, contender in ipairs(contenders) do
    print(("%-30s %10.1f s %7.2f %7.2f %7.0f MB"):format(contender.name, least(contender.times),
      least(contender.times) / least(ours.times), bench.ratio(contender.times, ours.times), contender.peak))
  end
end

print(("MongoDB %s; %d turns"):format(server:command("admin", { "buildInfo" }).version, runs))
nothing_to_do()
builds()
server:stop()
