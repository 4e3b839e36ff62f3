-- The examples of docs/rules.md, as they stand there, do what is said of them.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

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
  local settings, allowed, plugin = block 'rule "disk-space" { off', block "allow = {", block 'name = "no-hash"'

  it("has no other examples", function() assert.equal("", table.concat(blocks)) end)

  it("a rule blocks", function()
    local reason = pg.missing()
    if reason then return pending(reason) end
    local server = pg.shared()
    local database = server:create_database()
    finally(function() server:drop_database(database) end)
    server:psql(database, "CREATE TABLE archive (a int); CREATE TABLE orders (a int)")
    local registry = lunadex.registry([[on "public.archive" { index { "a" } } on "public.orders" { index { "a" } }
      ]] .. no_archive)
    local result = lunadex.run { "apply", registry, "--target", server:url(database) }
    assert.equal(6, result.status, tostring(result))
    assert.matches("the archive is append-only", result.stderr, 1, true)
    assert.equal("orders", server:value(database, [[SELECT string_agg(relname, ' ') FROM pg_class c
      JOIN pg_index i ON i.indrelid = c.oid WHERE relnamespace = 'public'::regnamespace]]))
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
