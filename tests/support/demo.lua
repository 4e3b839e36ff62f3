-- ./dev demo: throwaway servers, the registries of registry/, and what Lunadex makes of them. The commands are printed
-- as one would type them; what they print comes straight to the terminal.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local pg = require "support.postgres"
local shell = require "support.shell"

local colour = os.execute "test -t 1" and not os.getenv "NO_COLOR"
local function paint(code, text)
  return colour and ("\27[%sm%s\27[0m"):format(code, text) or text
end

local function title(text)
  io.write("\n", paint("1;36", "── " .. text .. " " .. ("─"):rep(math.max(0, 96 - utf8.len(text)))), "\n")
  io.flush()
end

local function say(text)
  io.write(paint("2", text), "\n")
  io.flush()
end

-- Shows the command and runs it in the foreground; the demo goes on whatever its status, which is shown.
local function run(environment, command)
  io.write("\n", paint("1", "$ " .. command), "\n")
  io.flush()
  local words = { "env" }
  for _, name in ipairs { "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "DATABASE_URL", "MONGODB_URI",
    "LUNADEX_TARGET" } do
    table.move({ "-u", name }, 1, 2, #words + 1, words)
  end
  for name, value in pairs(environment) do words[#words + 1] = name .. "=" .. value end
  -- `lunadex` is what one would have installed.
  words[#words + 1] = "PATH=" .. lunadex.build .. ":" .. os.getenv "PATH"
  local _, _, status = os.execute(shell.command(words) .. " " .. command)
  if status ~= 0 then say("(exit status " .. status .. ")") end
  return status
end

title "A throwaway server and a small shop"
local reason = pg.missing()
if reason then error(reason, 0) end
local server = pg.start()
local shop = { DATABASE_URL = server:url(server:create_database("shop")) }
server:psql_file("shop", "registry/shop/schema.sql")
server:psql_file("shop", "registry/shop/data.sql")
server:psql_file("shop", "registry/shop/legacy.sql")
say(("PostgreSQL %s on port %d. %s customers, %s orders, %s order items, %s visits; some indexes of old."):format(
  server:value(nil, "SHOW server_version"):match("^[%d.]+"), server.port,
  server:value("shop", "SELECT count(*) FROM customers"), server:value("shop", "SELECT count(*) FROM orders"),
  server:value("shop", "SELECT count(*) FROM order_items"), server:value("shop", "SELECT count(*) FROM visits")))

title "What would change, and why"
local failed = run(shop, "lunadex plan registry/shop/shop.lua")

title "Change it, while the shop could go on selling"
failed = failed + run(shop, "lunadex apply registry/shop/shop.lua")

title "Again: nothing to do"
failed = failed + run(shop, "lunadex plan registry/shop/shop.lua --detailed-exitcode")

title "A deployment: stop, migrate, build, start"
local deploy = { DATABASE_URL = server:url(server:create_database("deploy")) }
server:psql_file("deploy", "registry/deploy/migrate.sql")
server:psql_file("deploy", "registry/deploy/data.sql")
failed = failed + run(deploy, "registry/deploy/deploy.sh")
say "\nAnd once more, as a deployment that is repeated does:"
failed = failed + run(deploy, "registry/deploy/deploy.sh")

title "A data dictionary: indexes go by definition"
local bipad = { DATABASE_URL = server:url(server:create_database("bipad")) }
server:psql_file("bipad", "registry/dictionary/schema.sql")
failed = failed + run(bipad, "lunadex plan registry/dictionary/bipad.yaml")
failed = failed + run(bipad, "lunadex apply registry/dictionary/bipad.yaml --drop-strays")

title "Collections of MongoDB: every model's file, before the code that needs it"
local documents = not mongodb.missing() and mongodb.start()
if documents then
  local app = { MONGODB_URI = documents:url "app" }
  documents:fill("app", "users", 200000, { email = { ["$concat"] = { "user", { ["$toString"] = "$n" }, "@example" } },
    tenant = { ["$mod"] = { "$n", 50 } }, seen_at = "$$NOW",
    name = { ["$concat"] = { "User ", { ["$toString"] = "$n" } } } })
  documents:command("app", '{"createIndexes":"sessions","indexes":[{"name":"expiry","key":{"used_at":1},'
    .. '"expireAfterSeconds":3600}, {"name":"of_old","key":{"ip":1}}]}')
  failed = failed + run(app, "lunadex plan registry/models")
  failed = failed + run(app, "lunadex apply registry/models")
  failed = failed + run(app, "lunadex plan registry/models --detailed-exitcode")

  title "Two databases of different kinds from one registry directory"
  documents:fill("market", "clicks", 300000, { session = { ["$mod"] = { "$n", 1000 } }, at = "$$NOW",
    product = { ["$mod"] = { "$n", 77 } } })
  local market = { DATABASE_URL = shop.DATABASE_URL, MONGODB_URI = documents:url "market" }
  failed = failed + run(market, "lunadex plan registry/market")
  failed = failed + run(market, "lunadex apply registry/market")
  documents:stop()
else
  say(mongodb.missing())
end

title "The end"
server:stop()
say(failed == 0 and "The servers are stopped and gone. Read on in README.md."
  or "Something above did not go as it should.")
os.exit(failed == 0, true)
