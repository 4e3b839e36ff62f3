-- Sessions of MongoDB: what a target may say, which servers are found, who is let in, and what the errors are.
local core = require "lunadex.core"
local engine = require "support.engine"
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local shell = require "support.shell"
local steps = require "support.mongosteps"

local function connect(url, options)
  local db <close> = engine.open(url, options or { jobs = 1, connect_timeout = 5 })
  return db:run "connect"
end

local function refused(url, code, options)
  local info, err = connect(url, options)
  assert.is_nil(info)
  assert.equal(code, err.code, tostring(err))
  return err
end

describe("a target of MongoDB", function()
  it("names a database that may have indexes", function()
    local err = refused("mongodb://127.0.0.1:1/", "usage")
    assert.matches("mongodb://host/DATABASE", err.hint, 1, true)
    refused("mongodb://127.0.0.1:1", "usage")
    for _, name in ipairs { "admin", "config", "local" } do
      assert.matches(name, refused("mongodb://127.0.0.1:1/" .. name, "usage").message, 1, true)
    end
  end)

  it("keeps its password to itself", function()
    for _, url in ipairs {
      "mongodb://u:geheim@127.0.0.1:1/app", "mongodb://u:ge%heim@127.0.0.1:1/app",
      "mongodb://u:ge/heim@127.0.0.1:1/app", "mongodb://u:geheim@127.0.0.1:1/app?appName",
      "mongodb://u:geheim@127.0.0.1:99999/app",
      "mongodb://u:geheim:x@127.0.0.1:1/app", "mongodb+srv://u:geheim@nowhere.invalid/app",
    } do
      local _, err = connect(url)
      assert.is_nil((tostring(err) .. (err.detail or "")):find("heim", 1, true), tostring(err))
    end
  end)

  it("with a user needs the password, but where a certificate does its work", function()
    for _, url in ipairs { "mongodb://u@127.0.0.1:1/app",
      "mongodb://u:@127.0.0.1:1/app?authMechanism=SCRAM-SHA-256" } do
      assert.matches("a user and no password", refused(url, "usage").message)
    end
    refused("mongodb://u@127.0.0.1:1/app?authMechanism=MONGODB-X509", "connect")
  end)

  it("names files that there are", function()
    for _, option in ipairs { "tlsCAFile", "tlsCertificateKeyFile" } do
      local err = refused(("mongodb://127.0.0.1:1/app?tls=true&%s=/nowhere"):format(option), "usage")
      assert.equal(option .. " of the target, /nowhere, cannot be read: No such file or directory", err.message)
    end
  end)

  it("that leads nowhere says so at once", function()
    local begun = os.time()
    local err = refused("mongodb://127.0.0.1:1/app", "connect")
    assert.matches("connection refused", err.message)
    assert.is_true(os.time() - begun <= 2)
  end)
end)

describe("a session of MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server
  setup(function() server = mongodb.shared() end)

  it("knows where it is", function()
    local info = assert(connect(server:url "shop"))
    assert.equal("mongodb", info.driver)
    assert.equal("MongoDB", info.product)
    assert.equal("6.0.5", info.version)
    assert.equal(60005, info.version_number)
    assert.equal("shop", info.database)
    assert.equal(("mongodb://127.0.0.1:%d/shop?replicaSet=rs"):format(server.port), info.display)
    assert.is_false(info.read_only)
  end)

  it("finds the replica set by one of its members, and is the same however it got there", function()
    local by_set = assert(connect(server:url "shop"))
    local by_host = assert(connect(("mongodb://127.0.0.1:%d/shop"):format(server.port)))
    local direct = assert(connect(server.members[1]:url "shop"))
    assert.equal(by_set.identity, by_host.identity)
    assert.equal(by_set.identity, direct.identity)
    assert.not_equal(by_set.identity, assert(connect(server:url "other")).identity)
  end)

  it("is told when the set is another one", function()
    local err = refused(("mongodb://127.0.0.1:%d/shop?replicaSet=other"):format(server.port), "connect")
    assert.matches("other", err.message)
  end)

  it("tells its name to the server", function()
    local db <close> = engine.open(server:url "shop", { jobs = 1, application_name = "lunadex naming" })
    assert(db:run "connect")
    local reply = server:command("admin", [[{ "aggregate": 1, "cursor": {}, "pipeline": [
      { "$currentOp": { "idleConnections": true } }, { "$match": { "appName": "lunadex naming" } }] }]])
    assert.is_true(#reply.cursor.firstBatch > 0)
  end)

  it("gives up soon when nobody answers and the run stops", function()
    -- Halted, the server's system still takes the connection.
    local other = mongodb.start()
    other.members[1]:kill "STOP"
    local db <close> = engine.open(other:url "shop", { jobs = 1, connect_timeout = 60 })
    local job = db.db:connect()
    db.db:poll(0.5)
    local begun = os.time()
    db.db:cancel(job)
    local done = db:finish(job)
    assert.is_false(done.ok)
    assert.equal("cancelled", done.error.code)
    assert.is_true(os.time() - begun <= 4)
    -- Killed in such a moment, or in any other, it leaves nothing behind: libmongoc would keep a file in shared memory.
    local note = shell.directory("note") .. "/pid"
    -- This process has told libmongoc not to, by what a child would inherit.
    local process = shell.start({ "sh", "-c", 'echo $$ >"$0"; exec "$@"', note, lunadex.build .. "/lunadex", "status",
      "--target", other:url "shop" }, { env = { MONGOC_DISABLE_SHM = false } })
    local pid = shell.eventually("its number", function() return (shell.read_file(note) or ""):match "^%d+" end)
    shell.eventually("it to connect", function()
      return (shell.read_file(("/proc/%s/net/tcp"):format(pid)) or ""):find((":%04X 01 "):format(other.port), 1, true)
    end)
    assert.is_nil(shell.read_file("/dev/shm/mongoc-" .. pid))
    process:kill "KILL"
    process:wait(20)
    other.members[1]:kill "CONT"
    other:kill()
  end)

  it("loads the library when a target is MongoDB's, and no sooner", function()
    local directory = shell.directory "library"
    shell.write_file(directory .. "/libmongoc-1.0.so.0", "") -- which stands before the system's
    local function call(...)
      return shell.call({ lunadex.build .. "/lunadex", ... }, { env = { LD_LIBRARY_PATH = directory } })
    end
    assert.equal(0, call("--version").status)
    local failed = call("status", "--target", server:url "shop")
    assert.equal(6, failed.status)
    assert.matches("the library for MongoDB could not be loaded: .*libmongoc", failed.stderr)
    assert.matches("libmongoc-1.0-0", failed.stderr, 1, true)
  end)

  it("waits for a primary, and reads without one", function()
    local set = mongodb.start { members = 3 }
    local primary = set:primary()
    local others = {}
    for _, member in ipairs(set.members) do
      if member ~= primary then others[#others + 1] = member end
    end
    set:command("shop", [[{ "createIndexes": "users", "writeConcern": { "w": 3 },
      "indexes": [{ "key": { "a": 1 }, "name": "a_1" }] }]])
    others[1]:kill()
    primary:kill()
    local db <close> = engine.open(set:url "shop", { jobs = 1, connect_timeout = 2 })
    local info = assert(db:run "connect")
    assert.is_true(info.standby and info.read_only)
    local catalog = assert(db:run "catalog")
    assert.equal("a_1", catalog:relation(nil, "users"):indexes()[2].name)
    assert.is_nil((db:run "lock"))
    primary:start()
    primary:started()
    info = assert(connect(set:url "shop", { jobs = 1, connect_timeout = 20 }))
    assert.is_false(info.standby)
    -- Also whoever began without one finds it.
    shell.eventually("the primary to give the lock", function() return (db:run "lock") end)
    set:kill()
  end)

  it("works on a server that is in no set", function()
    local program = ".deps/mongodb-6.0.5/mongod"
    local directory, port = shell.directory "mongodb", shell.free_port()
    local process = shell.start { program, "--dbpath", directory, "--port", port, "--bind_ip", "127.0.0.1",
      "--nounixsocket", "--logpath", directory .. "/log" }
    local url = ("mongodb://127.0.0.1:%d/shop"):format(port)
    local info = shell.eventually("mongod to answer", function()
      return (connect(url, { jobs = 1, connect_timeout = 1 }))
    end)
    assert.is_false(info.read_only)
    assert.equal(info.identity, assert(connect(url)).identity)
    local db <close> = engine.open(url)
    assert(db:run("query", core.document("createIndexes", "users", "indexes", { { key = { a = 1 }, name = "a_1" } })))
    assert.equal(2, #assert(db:run "catalog"):relation(nil, "users"):indexes())
    process:kill "KILL"
    process:wait(20)
  end)

  it("is encrypted where the target says so, and trusts whom it says", function()
    if not shell.run("command -v openssl") then return pending "no openssl to make a certificate" end
    local directory, port = shell.directory "mongodb", shell.free_port()
    shell.check(([[cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 2 \
      -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2>&1 && cat key certificate >both]]):format(
      shell.quote(directory)))
    local process = shell.start { ".deps/mongodb-6.0.5/mongod", "--dbpath", directory, "--port", port, "--bind_ip",
      "127.0.0.1", "--nounixsocket", "--logpath", directory .. "/log", "--tlsMode", "requireTLS",
      "--tlsCertificateKeyFile", directory .. "/both", "--tlsCAFile", directory .. "/certificate",
      "--tlsAllowConnectionsWithoutCertificates" }
    local url = ("mongodb://127.0.0.1:%d/shop"):format(port)
    local trusting = url .. "?tls=true&tlsCAFile=" .. directory .. "/certificate"
    local info = shell.eventually("mongod to answer", function() return (connect(trusting)) end)
    assert.equal(url .. "?tls=true", info.display)
    assert.matches("tlsCAFile", refused(url .. "?tls=true", "connect").hint, 1, true)
    assert.matches("tls=true", refused(url, "connect").hint, 1, true)
    process:kill "KILL"
    process:wait(20)
  end)

  describe("where users are checked", function()
    local guarded, host

    setup(function()
      local key = shell.directory("key") .. "/key"
      shell.write_file(key, "c2VjcmV0c2VjcmV0c2VjcmV0")
      shell.check("chmod 600 " .. shell.quote(key))
      guarded = mongodb.start { arguments = { "--auth", "--keyFile", key } }
      host = ("127.0.0.1:%d"):format(guarded.port)
      guarded:command("admin", [[{ "createUser": "root", "pwd": "geheim", "roles": ["root"] }]])
      guarded:disconnect()
      local db <close> = engine.open(("mongodb://root:geheim@%s/shop?authSource=admin"):format(host))
      for _, command in ipairs {
        core.document("createUser", "app", "pwd", "p@ss/w", "roles", { "readWrite" }),
        core.document("createUser", "reader", "pwd", "r", "roles", { "read" }),
        core.document("createUser", "nobody", "pwd", "n", "roles", core.list {}),
        core.document("createUser", "keeper", "pwd", "k", "roles", { "dbAdmin" }),
        core.document("createIndexes", "users",
          "indexes", { { key = { a = 1 }, name = "a_1", collation = { locale = "th" } } }),
      } do assert(db:run("query", command)) end
    end)
    teardown(function() guarded:kill() end)

    it("says that a user is wanted, or another password", function()
      local db <close> = engine.open(("mongodb://%s/shop"):format(host))
      local _, err = db:run "catalog"
      assert.equal("authentication", err.code)
      err = refused(("mongodb://app:wrong@%s/shop"):format(host), "authentication")
      assert.matches("authSource", err.hint)
      assert.is_nil(tostring(err):find("wrong", 1, true))
      refused(("mongodb://nobody_here:x@%s/shop"):format(host), "authentication")
    end)

    it("reads the catalog without the right to all catalogs", function()
      local db <close> = engine.open(("mongodb://app:p%%40ss%%2Fw@%s/shop"):format(host))
      local info = assert(db:run "connect")
      assert.equal("app", info.user)
      assert.equal(("mongodb://app@%s/shop"):format(host), info.display)
      local diff = db:diff { { kind = "index", relation = "users", method = "", keys = { { column = "a" } },
        traits = { { "collation", '{"locale": "th"}' } } } }
      assert.equal("keep", diff:changes()().action)
    end)

    it("leaves out a collection whose indexes it may not list, unless something is declared there", function()
      local db <close> = engine.open(("mongodb://root:geheim@%s/shop?authSource=admin"):format(host))
      local function may(collection, ...)
        return core.document("resource", core.document("db", "shop", "collection", collection), "actions", { ... })
      end
      for _, command in ipairs {
        core.document("createIndexes", "theirs", "indexes", { { key = { x = 1 }, name = "x_1" } }),
        core.document("createRole", "one", "privileges", { may("", "listCollections"), may("users", "listIndexes") },
          "roles", core.list {}),
        core.document("createUser", "one", "pwd", "o", "roles", { "one" }),
      } do assert(db:run("query", command)) end
      local url = ("mongodb://one:o@%s/shop"):format(host)
      local function plan(text) return lunadex.run { "plan", lunadex.registry(text), "--target", url } end
      local result = plan 'on "users" { index { "a", collation = { locale = "th" } } }'
      assert.equal(0, result.status, tostring(result))
      assert.matches("keep 1", result.stdout, 1, true)
      result = plan 'on "theirs" { index { "x" } }'
      assert.equal(65, result.status, tostring(result))
      assert.matches("theirs: this user may not list the collection's indexes", result.stdout, 1, true)
      result = lunadex.run { "snapshot", "--target", url }
      assert.equal(0, result.status, tostring(result))
      assert.matches("theirs is left out: this user may not list its indexes", result.stderr, 1, true)
    end)

    it("says whose rights do not suffice", function()
      local db <close> = engine.open(("mongodb://reader:r@%s/shop"):format(host))
      local relation = assert(db:run "catalog"):relation(nil, "users")
      local measured = assert(db:run("measure", { { relation = relation } }))
      assert.equal('user "reader" has no right to createIndex, dropIndex, collMod there', measured[1].forbidden)
      local may <close> = engine.open(("mongodb://root:geheim@%s/shop?authSource=admin"):format(host))
      measured = assert(may:run("measure", { { relation = assert(may:run "catalog"):relation(nil, "users") } }))
      assert.equal("", measured[1].forbidden or "")
      local without <close> = engine.open(("mongodb://nobody:n@%s/shop"):format(host))
      local _, err = without:run "catalog"
      assert.equal("permission", err.code)
    end)

    it("does not call a build queued that the user cannot see at work", function()
      local root = engine.open(("mongodb://root:geheim@%s/shop?authSource=admin"):format(host))
      local function hold(mode)
        assert(root:run("query", core.document("configureFailPoint", "hangAfterSettingUpIndexBuildUnlocked", "mode",
          mode, "$db", "admin")))
      end
      local url = ("mongodb://app:p%%40ss%%2Fw@%s/shop"):format(host)
      -- Where there are no documents nothing is built.
      assert(root:run("query", core.document("insert", "busy", "documents", { { c = 1 } })))
      hold "alwaysOn"
      finally(function()
        hold "off"
        root:close()
      end)
      local process = lunadex.start { "apply", lunadex.registry 'on "busy" { index { "c" } }', "--target", url }
      local builds = shell.eventually("the build to be seen", function()
        local seen = lunadex.run({ "status", "--target", url, "--json" }):json().builds
        return seen[1] and seen
      end)
      hold "off"
      assert.equal(0, process:wait(60).status)
      assert.same({ "c_1", "starting" }, { builds[1].name, builds[1].phase })
    end)

    it("says who may not have the run lock, nor know who has it", function()
      local url = ("mongodb://keeper:k@%s/shop"):format(host)
      local db <close> = engine.open(url)
      local _, err = db:run "lock"
      assert.same({ "permission", 'user "keeper" may not write to lunadex.lock, where the run lock is kept' },
        { err.code, err.message })
      assert.matches("readWrite and dbAdmin", err.hint, 1, true)
      local status = lunadex.run { "status", "--target", url }
      assert.equal(0, status.status, tostring(status))
      assert.matches('run lock   who holds it cannot be read: not authorized on shop to execute command { find: '
        .. '"lunadex.lock", … }', status.stdout, 1, true)
      assert.is_nil(status.stdout:find("nobody holds", 1, true))
      assert.is_string(lunadex.run({ "status", "--target", url, "--json" }):json().lock.unknown)
      local plan = lunadex.run { "plan", lunadex.registry 'on "users" { index { "b" } }', "--target", url }
      assert.matches('warning permission: [^\n]*user "keeper" may not write to lunadex.lock, where',
        plan.stdout)
      -- Before something unique is built it is looked whether there are documents.
      for collection, lacks in pairs { users = true, nowhere = false } do
        plan = lunadex.run { "plan", lunadex.registry(('on "%s" { index { "b", unique = true } }'):format(collection)),
          "--target", url }
        local told = plan.stdout:find('user "keeper" has no right to find there', 1, true) ~= nil
        assert.equal(lacks, told, tostring(plan))
      end
    end)

    it("makes a unique index at once for who has readWrite and no more, and leaves nothing where it cannot", function()
      local url = ("mongodb://app:p%%40ss%%2Fw@%s/shop"):format(host)
      local root <close> = engine.open(("mongodb://root:geheim@%s/shop?authSource=admin"):format(host))
      assert(root:run("query", core.document("insert", "sold", "documents", { { a = 1, b = 1 }, { a = 2, b = 1 } })))
      local run = steps.open(guarded, "shop", { url = url })
      finally(function() run:close() end)
      local done, events = run:build("sold", "sold_a", { "a" }, { unique = true })
      assert.is_true(done.ok, tostring(done.error))
      assert.matches("sold_a is built unique at once", steps.notes(events), 1, true)
      done = run:build("sold", "sold_b", { "b" }, { unique = true })
      assert.equal("duplicate_key", done.error.code)
      assert.matches("nothing was begun", done.error.message, 1, true)
      done = run:step(steps.alter("sold", "sold_a", { "a" }, { unique = true, with = { { "hidden", "true" } } }))
      assert.equal("permission", done.error.code)
      assert.matches("readWrite and dbAdmin", done.error.hint, 1, true)
      local left = assert(root:run("query", core.document("listIndexes", "sold")))
      assert.equal(2, #left)
      assert.same({ "v", "key", "name", "unique", v = 2, key = { "a", a = 1 }, name = "sold_a", unique = true },
        left[2])
      -- Nor does a plan warn of a right that the build does without.
      local own <close> = engine.open(url)
      local relation = assert(own:run "catalog"):relation(nil, "sold")
      local measured = assert(own:run("measure", {
        { relation = relation, fields = steps.index("sold", { "b" }, { unique = true }), build = true },
        { relation = relation, index = relation:indexes()[2] },
        { relation = relation, index = relation:indexes()[2], drop = true },
        { relation = relation, index = relation:indexes()[2], alter = true },
      }))
      assert.equal("", measured[1].forbidden or "")
      assert.equal('user "app" has no right to collMod there', measured[2].forbidden)
      assert.equal("", measured[3].forbidden or "")
      assert.equal('user "app" has no right to collMod there', measured[4].forbidden)
      for text, status in pairs {
        ['index { "a", unique = true, name = "sold_a" }'] = 0, ['index { "a", unique = true }, index { "c" }'] = 0,
        ['index { "a", unique = true, hidden = true }'] = 1, -- changed in place
      } do
        for _, words in ipairs { {}, status == 0 and { "--hide-first" } or nil } do
          local plan = lunadex.run { "plan", lunadex.registry(('on "sold" { %s }'):format(text)), "--target", url,
            table.unpack(words) }
          local warned = plan.stdout:find('user "app" has no right to collMod there', 1, true) ~= nil
          assert.equal(status == 1, warned, text .. tostring(plan))
        end
      end
      assert.matches('user "app" has no right to collMod there', lunadex.run({ "plan",
        lunadex.registry 'on "sold" { }', "--target", url, "--hide-first" }).stdout, 1, true)
    end)
  end)
end)
