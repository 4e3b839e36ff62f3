-- The examples of README.md, docs/rules.md and docs/repl.md, as they stand there, do what is said of them.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"
local pg = require "support.postgres"
local shell = require "support.shell"

-- A database that goes with the test.
local function throwaway(kind)
  local server = kind.shared()
  local database = server:create_database()
  finally(function() server:drop_database(database) end)
  return server, database
end

describe("docs/rules.md", function()
  local blocks = {}
  for code in shell.read_file("docs/rules.md"):gmatch "```lua\n(.-)```" do blocks[#blocks + 1] = code end

  -- The block that holds a text.
  local function block(text)
    for i, code in ipairs(blocks) do
      if code:find(text, 1, true) then
        blocks[i] = ""
        return code
      end
    end
    error("there is no example with " .. text)
  end

  local function check(text, plugins)
    return lunadex.run { "check", "--offline", lunadex.registry(text), env = { LUNADEX_PLUGINS = plugins or "" } }
  end

  local no_archive, few = block "no-index-on-archive", block 'rule "few-on-hot-tables" {\n'
  local narrow = block "short-hash"
  local settings, allowed, plugin = block 'rule "disk-space" { off', block "allow = {", block 'name = "no-hash"'

  it("has no other examples", function() assert.equal("", table.concat(blocks)) end)

  it("a rule blocks", function()
    local reason = pg.missing()
    if reason then return pending(reason) end
    local server, database = throwaway(pg)
    server:psql(database, "CREATE TABLE archive (a int); CREATE TABLE orders (a int)")
    local registry = lunadex.registry([[on "public.archive" { index { "a" } } on "public.orders" { index { "a" } }
      ]] .. no_archive)
    local result = lunadex.run { "apply", registry, "--target", server:url(database) }
    assert.equal(6, result.status, tostring(result))
    assert.matches("the archive is append-only", result.stderr, 1, true)
    assert.equal("orders", server:value(database, [[SELECT string_agg(relname, ' ') FROM pg_class c
      JOIN pg_index i ON i.indrelid = c.oid WHERE relnamespace = 'public'::regnamespace]]))
  end)

  it("a rule is asked about some indexes only", function()
    local reason = pg.missing()
    if reason then return pending(reason) end
    local server = pg.shared()
    local database = server:create_database()
    finally(function() server:drop_database(database) end)
    server:psql(database, "CREATE TABLE t (a int, b text)")
    local registry = lunadex.registry([[on "t" { index { "a", method = "hash", name = "t_a" },
      index { "b", name = "t_b" }, index { "b", method = "hash", name = "t_hash" } } ]] .. narrow)
    local result = lunadex.run { "check", registry, "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.matches("warning short%-hash: .* t_hash hashes a text\n", result.stdout)
    assert.matches("Check: 0 errors, 1 warning.", result.stdout, 1, true)
  end)

  it("a rule has options, which a registry sets", function()
    local six = [[on "t" { index { "a" }, index { "b" }, index { "c" }, index { "d" }, index { "e" }, index { "f" } }]]
    local told = check(six .. few).stdout
    assert.matches("warning few-on-hot-tables: ", told, 1, true)
    assert.matches(": t: 6 indexes\n", told, 1, true)
    local result = check(six .. few .. settings)
    assert.equal("info disk-space: not asked: the volume grows by itself\nCheck: 0 errors, 0 warnings.\n",
      result.stdout)
  end)

  it("an index is allowed what a rule is against", function()
    local other = 'index { "status", "id", name = "longer" }'
    local longer = ('on "t" { %s, index { "status", name = "orders_status" } }'):format(other)
    assert.matches("warning redundant-index: ", check(longer).stdout, 1, true)
    local result = check(('on "t" { %s, %s }'):format(other, allowed:gsub(",%s*$", "")))
    assert.matches("allowed: the planner needs it for the dashboard\nCheck: 0 errors, 0 warnings.\n", result.stdout, 1,
      true)
  end)

  it("a plugin is a rule", function()
    local folder = shell.directory "plugins"
    shell.write_file(folder .. "/no-hash.lua", plugin)
    local hash = 'on "t" { index { "a", method = "hash" } }'
    assert.equal(0, check(hash).status)
    local result = check(hash, folder)
    assert.equal(6, result.status, tostring(result))
    assert.matches("btree does it all", result.stdout, 1, true)
  end)
end)

-- The shop of registry/shop, whose relations README.md and docs/repl.md speak of, with less in it.
local function shop()
  local server, database = throwaway(pg)
  server:psql_file(database, "registry/shop/schema.sql")
  server:psql(database, [[INSERT INTO orders (customer_id, reference, status, total, created_at)
    SELECT i, CASE WHEN i % 2 = 0 THEN 'R' || i END, 'open', i, now() FROM generate_series(1, 100) i; VACUUM ANALYZE]])
  server:psql_file(database, "registry/shop/legacy.sql")
  return server, database
end

describe("README.md", function()
  local reason = pg.missing() or mongodb.missing()
  if reason then return pending(reason) end
  local readme = shell.read_file "README.md"
  local blocks = {}
  for code in readme:gmatch "```lua\n(.-)```" do blocks[#blocks + 1] = code end

  it("has registries that can be applied, and its rule holds back what it speaks of", function()
    local server, database = shop()
    server:psql(database, "CREATE TABLE archive (id int)")
    local target = { "--target", server:url(database) }
    local registry = lunadex.registry(blocks[1] .. blocks[3])
    local result = lunadex.run { "apply", registry, table.unpack(target) }
    assert.equal(0, result.status, tostring(result))
    assert.equal("2", server:value(database, [[SELECT count(*) FROM pg_index
      WHERE indexrelid::regclass::text IN ('orders_recent_by_customer', 'orders_due') AND indisvalid]]))
    result = lunadex.run { "apply", lunadex.registry('on "public.archive" { index { "id" } }' .. blocks[3]),
      table.unpack(target) }
    assert.equal(6, result.status, tostring(result))
    assert.matches("the archive is append-only", result.stderr, 1, true)
  end)

  it("has a registry for MongoDB that can be applied", function()
    local server, database = throwaway(mongodb)
    local result = lunadex.run { "apply", lunadex.registry(blocks[2]), "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.equal(4, #server:indexes(database, "users"))
  end)

  it("has a backfill that can be run", function()
    local server, database = shop()
    local open = "SELECT count(*) > 0 FROM orders WHERE reference IS NULL"
    assert.equal("t", server:value(database, open))
    local result = lunadex.run { "backfill", "run", lunadex.registry(blocks[4]), "--target", server:url(database) }
    assert.equal(0, result.status, tostring(result))
    assert.equal("f", server:value(database, open))
  end)

  it("has no other examples in Lua", function() assert.equal(4, #blocks) end)

  it("has commands that work", function()
    local server, database = shop()
    local folder = shell.directory "readme"
    local words = { ["registry/mine.lua"] = folder .. "/mine.lua" }
    local tried = 0
    for command in readme:gmatch "\n%$ lunadex ([^\n]+)" do
      local arguments = { env = { DATABASE_URL = server:url(database) } }
      for word in command:gmatch "%S+" do arguments[#arguments + 1] = words[word] or word end
      local result = lunadex.run(arguments)
      assert.equal(0, result.status, command .. tostring(result))
      tried = tried + 1
    end
    assert.equal(2, tried)
  end)
end)

describe("docs/repl.md", function()
  it("shows what the REPL shows, but for the figures", function()
    local reason = pg.missing()
    if reason then return pending(reason) end
    local server, database = shop()
    local input, shown = shell.read_file("docs/repl.md"):match "\nshop> ([^\n]+)\n(.-)```"
    local result = lunadex.run { "repl", "--target", server:url(database), stdin = input .. "\n" }
    assert.equal(0, result.status, tostring(result))
    -- Without figures, and the space that depends on their length.
    local function words(text)
      local cells = {}
      for cell in text:gsub("\n", "  \n  "):gsub("  +", "\0"):gmatch "%Z+" do
        cells[#cells + 1] = cell:find "^%d" and "figure" or cell:gsub("%f[%w]%d[%d.]* ?[kMB]*%f[%W]", "figure")
      end
      return table.concat(cells, " ")
    end
    assert.equal(words(shown), words(result.stdout))
  end)
end)
