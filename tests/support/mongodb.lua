-- Private MongoDB servers: real ones, replica sets of one or three, in a scratch directory, gone when the run is over
-- (support.shell's guard).
--
-- The order of fields matters to MongoDB, and Lua tables have none. What comes from a server remembers its order, and
-- `M.json` shows it; what goes there is JSON, or a table of which one field has to be the first:
--   server:command(database, '{ "createIndexes": "users", "indexes": [{ "name": "a", "key": { "a": 1, "b": -1 } }] }')
--   server:command(database, { "createIndexes", "users",
--     indexes = { { name = "a", key = M.document("a", 1, "b", -1) } } })
--   server:command("admin", { "ping" })
local dkjson = require "dkjson"
local lunadex = require "support.lunadex"
local shell = require "support.shell"

local M = {}

-- ./dev deps leaves it there.
local program = shell.check("pwd"):gsub("\n$", "") .. "/.deps/mongodb-6.0.5/mongod"

M.null = dkjson.null

-- Documents ---------------------------------------------------------------------------------------------------------

-- dkjson fills an object with assignments, the first of which finds the metatable of all of them.
local ordered = {}
function ordered.__newindex(document, first, value)
  local order = { first }
  rawset(document, first, value)
  setmetatable(document, { __jsontype = "object", __jsonorder = order, __newindex = function(_, name, later)
    order[#order + 1] = name
    rawset(document, name, later)
  end })
end
ordered.__jsontype = "object"

--- `M.document("a", 1, "b", -1)`: fields that keep their order, also those that are assigned later; `M.document()` is
--- the empty document, where `{}` would be an empty array.
---@param ... any names and values
---@return table
function M.document(...)
  local document = setmetatable({}, ordered)
  for i = 1, select("#", ...), 2 do
    local name, value = select(i, ...)
    document[name] = value
  end
  return document
end

---@param value any
---@return string
function M.json(value)
  return dkjson.encode(value)
end

--- What mongosh reads, as JSON.
---@param text string
---@return string
function M.of_shell(text)
  return (text:gsub("([{,]%s*)([%w_$]+):", '%1"%2":'):gsub("undefined", "null"))
end

local function decode(json)
  local value, _, message = dkjson.decode(json, 1, dkjson.null, ordered)
  if message then error(message) end
  return value
end

-- A command as JSON; the form { "name", value, field = … } as well.
local function command_json(command)
  if type(command) == "string" then return command end
  local document = M.document(command[1], command[2] == nil and 1 or command[2])
  for name, value in pairs(command) do
    if type(name) == "string" then document[name] = value end
  end
  return M.json(document)
end

-- Clients -----------------------------------------------------------------------------------------------------------

--- The file of mongo.c's module. A release build has no tests.
---@return string
function M.library()
  local path = lunadex.build .. "/tests/mongo.so"
  return shell.read_file(path) and path or "build/tests/mongo.so"
end

local mongo

local function connect(url)
  mongo = mongo or assert(package.loadlib(M.library(), "luaopen_mongo"))()
  return mongo.connect(url)
end

-- What a server's answer tells: the reply, or nil, message, code and the reply as far as there was one.
local function result(json, message, code, failed)
  local reply = decode(json or failed)
  -- Every reply of a replica set has these two, and no spec has a use for them.
  reply["$clusterTime"], reply.operationTime = nil, nil
  if not json then return nil, message, code, reply end
  -- A command that writes is ok even where nothing was written.
  local trouble = (reply.writeErrors or {})[1] or reply.writeConcernError
  if trouble then return nil, trouble.errmsg, trouble.code, reply end
  return reply
end

---@class support.Commands   what a member and a set have in common
local Commands = {}

--- Runs a command; gives the decoded reply, or nil, message, code and the reply (an empty table: there was none).
---@param database string
---@param command string|table
---@return table? reply
---@return string? message
---@return integer? code
---@return table? failure
function Commands:try(database, command)
  self.client = self.client or connect(self:client_url())
  local json, message, code, failed = self.client:command(database, command_json(command))
  -- After a lost link libmongoc does not look again for a while; a new client does.
  if not json and failed:find "^{ *}$" then self:disconnect() end
  return result(json, message, code, failed)
end

--- The same, where a failure is an error.
---@param database string
---@param command string|table
---@return table reply
function Commands:command(database, command)
  local reply, message, code = self:try(database, command)
  if not reply then error(("%s (code %s)"):format(message, code), 2) end
  return reply
end

--- Begins a transaction with this command and leaves it open, until `abort` of what is given.
---@param database string
---@param command string|table
---@return userdata transaction
function Commands:transaction(database, command)
  self.client = self.client or connect(self:client_url())
  return assert(self.client:transaction(database, command_json(command)))
end

function Commands:disconnect()
  if self.client then self.client:close() end
  self.client = nil
end

-- Members -----------------------------------------------------------------------------------------------------------

---@class support.MongoMember: support.Commands   one process; its commands go to it, whatever its role
---@field host string
---@field port integer
---@field pid integer?       nil while it does not run
---@field halted boolean    by a signal; it would keep everybody waiting who asks it something
---@field set support.MongoServer
---@field directory string
local Member = setmetatable({}, { __index = Commands })
Member.__index = Member

-- failCommand and the other fail points are test commands. The diagnostic data are for MongoDB's support to read. A
-- secondary that is told to end would give its clients fifteen seconds to find another.
local default_settings = {
  enableTestCommands = 1,
  diagnosticDataCollectionEnabled = false,
  shutdownTimeoutMillisForSignaledShutdown = 100,
}

local default_arguments = {
  "--bind_ip", "127.0.0.1", "--nounixsocket",
  "--wiredTigerCacheSizeGB", "0.5",
  -- An index build is over when the journal is written, which it is every tenth of a second otherwise.
  "--journalCommitInterval", "10",
}

--- mongodb://127.0.0.1:PORT/DATABASE, for this process only.
---@param database string?
---@return string
function Member:url(database)
  return ("mongodb://%s:%d/%s?directConnection=true"):format(self.host, self.port, database or "")
end

function Member:client_url() return self:url() end

---@return string text the server's log, a JSON object a line
function Member:log()
  return shell.read_file(self.directory .. "/log") or ""
end

function Member:start()
  -- The guard stops servers with SIGQUIT, which is quick here but would leave a core.
  local words = { "prlimit", "--core=0", program, "--port", self.port, "--dbpath", self.directory .. "/data",
    "--logpath", self.directory .. "/log", "--logappend" }
  table.move(default_arguments, 1, #default_arguments, #words + 1, words)
  if not self.set.standalone then table.move({ "--replSet", "rs" }, 1, 2, #words + 1, words) end
  for _, settings in ipairs { default_settings, self.settings } do
    for name, value in pairs(settings) do
      words[#words + 1] = "--setParameter"
      words[#words + 1] = ("%s=%s"):format(name, type(value) == "table" and M.json(value) or tostring(value))
    end
  end
  table.move(self.arguments, 1, #self.arguments, #words + 1, words)
  table.move({ "--oplogSize", self.oplog }, 1, 2, #words + 1, words)
  self.process = shell.start(words)
  self.pid = self.process.pid
  shell.write_file(self.directory .. "/guarded.pid", tostring(self.pid))
end

-- Waits until it takes commands.
function Member:started()
  shell.eventually("mongod to answer", function()
    if not self.process:running() then error("mongod did not start:\n" .. self.process:stdout() .. self:log(), 0) end
    return self:try("admin", { "ping" })
  end)
end

function Member:ended()
  self.process:wait(60)
  self.pid, self.halted = nil, false
  os.remove(self.directory .. "/guarded.pid")
end

--- Sends a signal; unless it is one that only halts (STOP, CONT), the process is gone when this returns.
---@param signal string? default KILL
function Member:kill(signal) self.set:signal(signal, { self }) end

--- Ends it in good order.
function Member:stop() self:kill("TERM") end

--- Starts it again, stopped before if it runs; it takes commands when this returns, but may have no role yet.
---@param signal string? default TERM
function Member:restart(signal)
  self:kill(signal or "TERM")
  self:start()
  self:started()
end

-- What there is to say of one that fared ill: that it ended by itself, and what its log warned of at the end.
---@return string?
function Member:trouble()
  if not self.pid then return nil end
  local ended = not self.process:running()
  local lines = {}
  for line in self:log():sub(ended and -20000 or -200000):gmatch "[^\n]+" do
    local usual = line:find '"startupWarnings"' or line:find '"id":23829,' -- "Set failpoint"
    if ended or line:find '"s":"[WEF]"' and not usual then lines[#lines + 1] = "  " .. line:sub(1, 600) end
  end
  if #lines == 0 then return nil end
  return ("%s:%d (pid %d) %s; its log:\n%s"):format(self.host, self.port, self.pid,
    ended and "ended by itself: " .. self.process:stdout() or self.halted and "is halted" or "runs",
    table.concat(lines, "\n", math.max(#lines - 40, 1)))
end

-- Replica sets ------------------------------------------------------------------------------------------------------

---@class support.MongoServer: support.Commands   a replica set; its commands go to the primary, which they wait for
---@field host string
---@field port integer                     of the first member
---@field members support.MongoMember[]
---@field standalone boolean?
local Server = setmetatable({}, { __index = Commands })
Server.__index = Server

--- Why there is no such server, or nil. A spec then says `pending(reason)`; in CI an absent server is a failure.
---@return string? reason
function M.missing()
  if shell.run("test -x " .. shell.quote(program)) then return nil end
  local reason = "there is no MongoDB server: ./dev deps fetches one"
  if os.getenv "CI" == "true" then error(reason, 2) end
  return reason
end

local function hosts(server)
  local list = {}
  for i, member in ipairs(server.members) do list[i] = ("%s:%d"):format(member.host, member.port) end
  return list
end

local sets = setmetatable({}, { __mode = "k" })

--- What the members of sets of several have to say when a test has failed.
---@return string
function M.troubles()
  local list = {}
  for server in pairs(sets) do
    for _, member in ipairs(#server.members > 1 and server.members or {}) do list[#list + 1] = member:trouble() end
  end
  return table.concat(list, "\n")
end

-- What the first primary of a set makes for the server's own use, with an index each, in its own time.
local servers_own = { "external_validation_keys", "tenantMigrationDonors", "tenantMigrationRecipients", "transactions" }

-- Waits for that on every member: one that is halted by a fail point for builds while it repeats those dies of it.
local function furnished(server)
  for _, member in ipairs(server.members) do
    for _, name in ipairs(servers_own) do
      shell.eventually("a member to have config." .. name, function()
        local reply = member:try("config", { "listIndexes", name, cursor = M.document() })
        return reply and #reply.cursor.firstBatch == 2
      end)
    end
  end
end

--- Starts a replica set of its own; a spec that changes nothing server-wide takes `M.shared()` instead.
---@param options {members: integer?, standalone: boolean?, settings: table<string, any>?, oplog: integer?,
---  arguments: string[]?}?
---  standalone: one that is no replica set; settings: mongod's --setParameter; oplog: its size in MB; arguments: more
---  of its command line
---@return support.MongoServer
function M.start(options)
  options = options or {}
  local reason = M.missing()
  if reason then error(reason, 2) end
  local server = setmetatable({ members = {}, databases = 0, standalone = options.standalone }, Server)
  sets[server] = true
  local count = options.members or 1
  -- A dead primary is noticed, and followed by another, in a second or two instead of ten.
  local configuration = M.document("_id", "rs", "members", {}, "settings",
    { electionTimeoutMillis = count == 1 and 200 or 1000, heartbeatIntervalMillis = 200 })
  for i = 1, count do
    local member = setmetatable({
      set = server,
      host = "127.0.0.1",
      port = shell.free_port(),
      directory = shell.directory("mongodb"),
      settings = options.settings or {},
      arguments = options.arguments or {},
      oplog = options.oplog or 512,
      halted = false,
    }, Member)
    server.members[i] = member
    shell.check("mkdir " .. shell.quote(member.directory .. "/data"))
    member:start()
  end
  for i, host in ipairs(hosts(server)) do
    server.members[i]:started()
    configuration.members[i] = { _id = i - 1, host = host }
  end
  server.host, server.port = server.members[1].host, server.members[1].port
  if not server.standalone then server.members[1]:command("admin", { "replSetInitiate", configuration }) end
  server:settled()
  if count > 1 then furnished(server) end
  return server
end

local shared

--- The one server that specs share, started when first asked for. Take a database of your own on it:
--- `local db = mongodb.shared():create_database()`.
---@return support.MongoServer
function M.shared()
  shared = shared or M.start()
  return shared
end

--- mongodb://127.0.0.1:PORT,…/DATABASE?replicaSet=rs; with a `port`, of a proxy before the server, what leads there and
--- nowhere else.
---@param database string?
---@param port integer?
---@return string
function Server:url(database, port)
  if port or self.standalone then return Member.url({ host = self.host, port = port or self.port }, database) end
  return ("mongodb://%s/%s?replicaSet=rs"):format(table.concat(hosts(self), ","), database or "")
end

-- libmongoc would look for a primary once and give up, and wait long for a member that is halted.
function Server:client_url()
  return self:url() .. "&serverSelectionTryOnce=false&serverSelectionTimeoutMS=10000&connectTimeoutMS=2000"
end

-- What each member that can answer says of itself.
function Server:hello()
  local answers = {}
  for _, member in ipairs(self.members) do
    answers[member] = member.pid and not member.halted and member:try("admin", { "hello" }) or nil
  end
  return answers
end

--- Waits for a primary.
---@return support.MongoMember
function Server:primary()
  return shell.eventually("a primary", function()
    for member, answer in pairs(self:hello()) do
      if answer.isWritablePrimary then return member end
    end
  end)
end

-- Waits until there is a primary, and every member that can answer follows it.
function Server:settled()
  self:disconnect()
  return shell.eventually("the members to follow a primary", function()
    local primary
    for member, answer in pairs(self:hello()) do
      if answer.isWritablePrimary then
        primary = member
      elseif not answer.secondary then
        return nil
      end
    end
    return primary
  end)
end

--- Has another member become primary; the only one of its set becomes it again after `seconds`. Returns the primary.
---@param seconds integer? default 60, and 1 of a single member
---@return support.MongoMember
function Server:step_down(seconds)
  local single = #self.members == 1
  seconds = seconds or (single and 1 or 60)
  self:primary():command("admin", { "replSetStepDown", seconds, force = single,
    secondaryCatchUpPeriodSecs = math.min(10, seconds - 1) })
  return self:settled()
end

-- Sends a signal to some members, all at once, and waits for the end of those that it ends.
function Server:signal(signal, members)
  signal = signal or "KILL"
  -- A client says goodbye, to which a server that has gone would not listen.
  self:disconnect()
  for _, member in ipairs(self.members) do member:disconnect() end
  for _, member in ipairs(members) do
    if member.pid then member.process:kill(signal) end
    member.halted = signal == "STOP"
  end
  if signal == "STOP" or signal == "CONT" then return end
  for _, member in ipairs(members) do
    if member.pid then member:ended() end
  end
end

--- Sends a signal to every member; see there.
---@param signal string? default KILL
function Server:kill(signal) self:signal(signal, self.members) end

--- Ends every member in good order.
function Server:stop() self:kill("TERM") end

--- Starts every member again, stopped before where it runs. Returns the primary.
---@param signal string? default TERM
---@return support.MongoMember
function Server:restart(signal)
  self:kill(signal or "TERM")
  for _, member in ipairs(self.members) do member:start() end
  for _, member in ipairs(self.members) do member:started() end
  return self:settled()
end

---@return string text the primary's log; of a set of one also when it does not run
function Server:log()
  return (#self.members == 1 and self.members[1] or self:primary()):log()
end

--- The name of a database that nobody else uses; MongoDB makes it with the first collection.
---@return string name
function Server:create_database()
  self.databases = self.databases + 1
  return "test_" .. self.databases
end

---@param name string
function Server:drop_database(name)
  self:command("config", { "delete", "collections",
    deletes = { { q = { _id = { ["$regex"] = "^" .. name .. "[.]" } }, limit = 0 } } })
  self:command(name, { "dropDatabase" })
end

--- Writes what a cluster has of a sharded collection, which is made if there is none; there is no router.
---@param database string
---@param collection string
---@param key string               # JSON
function Server:shard(database, collection, key)
  self:try(database, { "create", collection })
  self:insert("config", "collections", { ('{"_id":"%s.%s","key":%s,"unique":false,"noBalance":false}'):format(
    database, collection, key) })
end

---@param database string
---@param collection string
---@param documents (table|string)[] tables or JSON
function Server:insert(database, collection, documents)
  local list = {}
  for i, document in ipairs(documents) do
    list[i] = type(document) == "string" and document or M.json(document)
  end
  self:command(database, ('{"insert":%s,"documents":[%s]}'):format(M.json(collection), table.concat(list, ",")))
end

--- Replaces what is in a collection by `count` documents, made by the server; its indexes stay. The fields are
--- expressions of the aggregation language over $n, which counts from 1 and is the _id where none is given:
--- `server:fill(db, "users", 200000, { email = { ["$concat"] = { "user", { ["$toString"] = "$n" } } } })`.
---@param database string
---@param collection string
---@param count integer
---@param fields table<string, any>?
function Server:fill(database, collection, count, fields)
  local document = M.document("_id", "$n")
  for name, value in pairs(fields or {}) do document[name] = value end
  self:command(database, { "aggregate", pipeline = {
    { ["$documents"] = { M.document() } },
    { ["$project"] = { n = { ["$range"] = { 1, count + 1 } } } },
    { ["$unwind"] = "$n" },
    { ["$project"] = document },
    { ["$out"] = collection },
  }, cursor = M.document() })
end

--- The indexes of a collection, in the server's order, as their specifications; one that is being built has a field
--- `buildUUID` besides. None where there is no such collection.
---@param database string
---@param collection string
---@return table[] specs
function Server:indexes(database, collection)
  local reply, message, code = self:try(database, { "listIndexes", collection, includeIndexBuildInfo = true,
    cursor = M.document() })
  if code == 26 then return {} end
  if not reply then error(message, 2) end
  local specs = {}
  -- A collection has at most 64, which is less than a batch.
  for i, item in ipairs(reply.cursor.firstBatch) do
    specs[i] = item.spec
    if item.indexBuildInfo then specs[i].buildUUID = item.indexBuildInfo.buildUUID end
  end
  return specs
end

---@class support.MongoCommand   a command in a process of its own: it may block
---@field pid integer
local Sent = {}
Sent.__index = Sent

local sender = [[
  local library, url, database, command = table.unpack(arg)
  local json, message, code, failed =
    package.loadlib(library, "luaopen_mongo")().connect(url):command(database, command)
  io.write(json or ("%d\n%s\n%s"):format(code, message:gsub("\n", " "), failed))
]]

--- Sends a command without waiting for it.
---@param database string
---@param command string|table
---@return support.MongoCommand
function Commands:send(database, command)
  local script = shell.directory("send") .. "/send.lua"
  shell.write_file(script, sender)
  local process = shell.start { "lua5.4", script, M.library(), self:client_url(), database, command_json(command) }
  return setmetatable({ process = process, pid = process.pid }, Sent)
end

---@return boolean
function Sent:running() return self.process:running() end

--- Its client goes away; what the server does is another matter.
function Sent:kill() self.process:kill("KILL") end

--- Waits for the answer, which is as that of `try`.
---@param seconds number? default 120
---@return table? reply
---@return string? message
---@return integer? code
---@return table? failure
function Sent:wait(seconds)
  local ended = self.process:wait(seconds)
  if ended.status ~= 0 then return nil, "the client died: " .. ended.stderr, nil, {} end
  local code, message, failed = ended.stdout:match "^(%d+)\n([^\n]*)\n(.*)"
  if code then return result(nil, message, math.tointeger(tonumber(code)), failed) end
  return result(ended.stdout)
end

return M
