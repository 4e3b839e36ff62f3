-- Backfills on MongoDB against one single updateMany, the batches that people write by hand, and mongoengine's save of
-- each document, in turns; then what clients that read and write single documents notice of each. The disk, which a
-- machine has with others, is out of it where the directory of temporary files is in memory (TMPDIR=/dev/shm).
--   ./dev bench backfill_mongodb        all, 2 million documents
--   LUNADEX_BENCH_ROWS=200000           fewer documents
--   LUNADEX_BENCH_RUNS=5                the median of five (default 3), after one that warms caches
--   LUNADEX_BENCH_PEERS=DIRECTORY       where mongoengine is (default .deps/mongodb-peers); without it, it is left out
local bench = require "support.bench"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local shell = require "support.shell"

local rows = math.tointeger(tonumber(os.getenv "LUNADEX_BENCH_ROWS" or 2000000))
local runs = math.tointeger(tonumber(os.getenv "LUNADEX_BENCH_RUNS" or 3))
local saved = math.max(rows // 100, 1) -- documents that mongoengine is given: it takes so long for each
local peers = os.getenv "LUNADEX_BENCH_PEERS" or shell.check("pwd"):gsub("\n$", "") .. "/.deps/mongodb-peers"
local python = peers .. "/bin/python"

local server = mongodb.start()
local memory = tonumber(shell.read_file("/proc/meminfo"):match "MemTotal:%s*(%d+)") // 1024 -- MB
-- As large as the server would have it here by itself: half of the memory.
server:command("admin", { "setParameter", 1, wiredTigerEngineRuntimeConfig = ("cache_size=%dM"):format(memory // 2) })
local url = server:url "bench"
local directory = shell.directory "bench"

local function file(name, text)
  shell.write_file(directory .. "/" .. name, text)
  return directory .. "/" .. name
end

-- Before each run the collection is made anew: an update leaves versions behind, which the server keeps for minutes.
local function make_collection()
  server:command("bench", { "dropDatabase" })
  server:fill("bench", "users", rows, { times = { ["$toInt"] = "0" }, touched = { ["$toInt"] = "0" },
    name = { ["$concat"] = { "user", { ["$toString"] = "$n" } } }, city = { ["$mod"] = { "$n", 700 } },
    text = { ["$literal"] = ("x"):rep(250) } })
  server:command("admin", { "fsync" })
end

-- Each adds one to a field that all documents have, so that each finds them as the others did.
local registry = file("registry.lua", [[
  backfill "times" { on = "users", set = { ["$inc"] = { times = 1 } } }
]])

local single = file("single.lua", [[
  local db = assert(require "lunadex".connect(arg[1]))
  assert(db:query("update", "users", { updates = { { q = {}, u = { ["$inc"] = { times = 1 } }, multi = true } } }))
]])

local by_hand = file("by_hand.lua", [[
  local db, last = assert(require "lunadex".connect(arg[1])), nil
  while true do
    local ids = assert(db:query("find", "users", { filter = { _id = { ["$gt"] = last or 0 } }, sort = { _id = 1 },
      projection = { _id = 1 }, limit = 1000, batchSize = 1000 }))
    if #ids == 0 then break end
    local range = { _id = { ["$gte"] = ids[1]._id, ["$lte"] = ids[#ids]._id } }
    assert(db:query("update", "users", { updates = { { q = range, u = { ["$inc"] = { times = 1 } }, multi = true } } }))
    last = ids[#ids]._id
  end
]])

local save = file("save.py", [[
import sys, mongoengine
mongoengine.connect(host=sys.argv[1])
class User(mongoengine.DynamicDocument):
    id = mongoengine.IntField(primary_key=True)
    meta = {"collection": "users", "auto_create_index": False}
for user in User.objects(id__lte=int(sys.argv[2])):
    user.times += 1
    user.save()
]])

local function script(path) return { lunadex.program, "run", path, url } end

local function backfill(...)
  return { lunadex.program, "backfill", "run", registry, "--target", url, "--quiet", ... }
end

local contenders = {
  { name = "one updateMany", words = script(single) },
  { name = "lunadex backfill run", words = backfill() },
  { name = "lunadex backfill run --jobs 2", words = backfill("--jobs", "2") },
  { name = "find and update 1000 at a time", words = script(by_hand) },
}
if shell.run("test -x " .. shell.quote(python)) then
  contenders[#contenders + 1] = { name = "mongoengine, save()", words = { python, save, url, saved }, rows = saved }
else
  print(("mongoengine: left out; to install it: python3 -m venv %s && %s/bin/pip install mongoengine"):format(peers,
    peers))
end

-- Runs one, all of whose documents then have one more.
local function run(each)
  make_collection()
  local seconds, changed = bench.time(each.words), each.rows or rows
  local sum = server:command("bench", { "aggregate", "users", cursor = mongodb.document(), pipeline = {
    { ["$group"] = { _id = mongodb.null, sum = { ["$sum"] = "$times" } } } } }).cursor.firstBatch[1].sum
  assert(sum == changed, each.name .. " did not change them all once")
  return seconds / changed
end

for _, each in ipairs(contenders) do each.times = {} end
for round = 0, runs do
  for _, each in ipairs(contenders) do
    local seconds = run(each)
    if round > 0 then each.times[round] = seconds end
  end
end

print(("\n%-34s %14s %18s"):format(("MongoDB, %d documents"):format(rows), "documents/s", "rate to updateMany"))
local first = contenders[1].times
for _, each in ipairs(contenders) do
  local ratio = bench.ratio(first, each.times)
  print(("%-34s %14.0f %18.2f"):format(each.name, 1 / bench.median(each.times), ratio))
end

-- Under load ----------------------------------------------------------------------------------------------------------

local function load()
  return bench.mongo_clients(url, "bench", {
    read = [[{ "find": "users", "filter": { "_id": %d }, "limit": 1 }]],
    write = [[{ "update": "users", "updates": [{ "q": { "_id": %d }, "u": { "$inc": { "touched": 1 } } }] }]],
  }, rows)
end

local reading = script(file("reading.lua", ([[
  local bson, db = require "lunadex".bson, assert(require "lunadex".connect(arg[1]))
  local text = { ["$toUpper"] = { ["$concat"] = { "$name", "$text" } } }
  for _ = 1, %d do
    assert(db:query("aggregate", "users", { cursor = bson.document(),
      pipeline = { { ["$group"] = { _id = "$city", most = { ["$max"] = text } } } } }))
  end
]]):format(math.max(10000000 // rows, 1))))

bench.beside(load, reading, contenders, runs, make_collection)
server:stop()
