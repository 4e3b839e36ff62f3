-- Scripts over both kinds of databases: the examples of the documentation, and the migration in
-- registry/market/scripts, which is killed at its various moments and run again.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("over both kinds of databases,", function()
  local reason = mongodb.missing() or pg.missing()
  if reason then return pending(reason) end
  local server, mongo, shop, market, env

  before_each(function()
    server, mongo = pg.shared(), mongodb.shared()
    shop, market = server:create_database(), mongo:create_database()
    env = { DATABASE_URL = server:url(shop), MONGODB_URI = mongo:url(market) }
    server:psql_file(shop, "registry/market/schema.sql")
    local filled = lunadex.run { "run", "registry/market/scripts/clicks.lua", env = env }
    assert.equal(0, filled.status, tostring(filled))
  end)
  after_each(function()
    server:drop_database(shop)
    mongo:drop_database(market)
  end)

  local number = 0
  for code in shell.read_file("docs/scripts.md"):gmatch "```lua\n(.-)```" do
    number = number + 1
    it(("example %d of docs/scripts.md runs"):format(number), function()
      if code:find "registry/shop" then
        server:psql(shop, "DROP TABLE public.orders")
        server:psql_file(shop, "registry/shop/schema.sql")
      end
      local result = lunadex.run { "run", "-", stdin = code, env = env }
      assert.equal(0, result.status, code .. tostring(result))
    end)
  end

  local script = "registry/market/scripts/favourites.lua"

  local function definitions()
    return {
      server:value(shop, [[SELECT string_agg(indexdef, '; ' ORDER BY 1) FROM pg_indexes
        WHERE tablename = 'orders' AND indexname <> 'orders_pkey']]),
      server:value(shop, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"),
      #mongo:indexes(market, "clicks"),
    }
  end

  local wanted = { "CREATE INDEX orders_of_favourites ON public.orders USING btree (product, created_at DESC) "
    .. "WHERE (status <> 'archived'::text)", "0", 2 }

  it("the migration reads, decides, builds and reports; and again, there is nothing left to do", function()
    local result = lunadex.run { "run", script, env = env }
    assert.equal(0, result.status, tostring(result))
    assert.matches("60 favourites: 2000 clicks, 2000 of 2000 orders", result.stdout, 1, true)
    assert.matches("orders_of_favourites: created", result.stdout, 1, true)
    assert.matches("clicks_on_favourites: created", result.stdout, 1, true)
    assert.same(wanted, definitions())
    result = lunadex.run { "run", script, env = env }
    assert.matches("orders_of_favourites: exists", result.stdout, 1, true)
    assert.matches("clicks_on_favourites: exists", result.stdout, 1, true)
    assert.same(wanted, definitions())
  end)

  it("the migration that is killed converges when it is run again", function()
    -- When to kill it: a text that it wrote; and what is locked meanwhile, so that it gets no further.
    for _, moment in ipairs {
      { "favourites: " }, { "orders_of_favourites waits for", locked = true }, { "clicks_on_favourites: created",
        locked = true }, { "orders_of_favourites: created" },
    } do
      server:psql(shop, "DROP INDEX IF EXISTS public.orders_of_favourites")
      mongo:command(market, '{"dropIndexes": "clicks", "index": "*"}')
      local holder = moment.locked and server:session(shop)
      if holder then holder:run "BEGIN; UPDATE public.orders SET total = 0 WHERE id = 1" end
      local process = lunadex.start { "run", script, env = env }
      shell.eventually(moment[1], function() return process:stdout():find(moment[1], 1, true) end)
      process:kill "KILL"
      process:wait()
      if holder then holder:close() end
      -- Its lease would have to be waited for.
      mongo:command(market, '{"delete":"lunadex.lock","deletes":[{"q":{},"limit":0}]}')
      local result = lunadex.run { "run", script, env = env }
      assert.equal(0, result.status, moment[1] .. tostring(result))
      assert.same(wanted, definitions(), moment[1])
    end
  end)

  it("a script that is interrupted ends what it runs, on the servers too", function()
    local path = lunadex.registry([[
      local lunadex = require "lunadex"
      local shop = assert(lunadex.connect(os.getenv "DATABASE_URL"))
      local market = assert(lunadex.connect(os.getenv "MONGODB_URI"))
      local other = lunadex.spawn(function()
        local slow = { filter = { ["$where"] = "sleep(100) || true" } }
        local ok, err = pcall(market.query, market, "find", "clicks", slow)
        print("other", ok, err.code)
      end)
      print(pcall(shop.query, shop, "SELECT pg_sleep(3600)"))
      other:join()
      shop:query "SELECT 1"
      print "never"]], "script.lua")
    local process = lunadex.start { "run", path, env = env }
    local sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)' AND state = 'active'"
    shell.eventually("the statement", function() return server:value(shop, sleeping) == "1" end)
    process:kill "INT"
    local result = lunadex.result(process:wait(60))
    assert.equal(130, result.status, tostring(result))
    assert.matches("other\tfalse\tcancelled", result.stdout, 1, true)
    assert.matches("false\tcancelled", result.stdout, 1, true)
    assert.is_nil(result.stdout:find("never", 1, true))
    assert.matches("script.lua:11: ", result.stderr, 1, true)
    assert.equal("0", server:value(shop, sleeping))
  end)

  it("each event of plans that are applied together names its database", function()
    local registry = lunadex.registry [[
      database "shop" { url = env "DATABASE_URL", on "public.orders" { index { "status", name = "orders_status" } } }
      database "market" { url = env "MONGODB_URI", on "clicks" { index { "session", name = "clicks_session" } } }]]
    local result = lunadex.run { "run", "-", registry, env = env, stdin = [[
      local lunadex = require "lunadex"
      local shop <close> = assert(lunadex.connect(os.getenv "DATABASE_URL"))
      local market <close> = assert(lunadex.connect(os.getenv "MONGODB_URI"))
      local registry = assert(lunadex.load(...))
      local events, unnamed = {}, 0
      assert(lunadex.apply({ assert(lunadex.plan(registry, shop, { database = "shop" })),
        assert(lunadex.plan(registry, market, { database = "market" })) }, { on_event = function(event)
          if not event.database then unnamed = unnamed + 1 end
          if event.event == "build_finished" then events[#events + 1] = event.database .. " " .. event.name end
        end }))
      table.sort(events)
      print(unnamed, table.concat(events, ", "))]] }
    assert.same({ 0, "0\tmarket clicks_session, shop orders_status\n" }, { result.status, result.stdout },
      tostring(result))
  end)

  it("a stock Lua runs the same", function()
    local result = shell.call({ "env", "LUA_CPATH=" .. lunadex.build .. "/?.so", "DATABASE_URL=" .. env.DATABASE_URL,
      "MONGODB_URI=" .. env.MONGODB_URI, "lua5.4", script })
    if lunadex.build:find "san$" then return pending "a sanitized module does not load in a stock Lua" end
    assert.equal(0, result.status, result.stdout .. result.stderr)
    assert.same(wanted, definitions())
  end)
end)
