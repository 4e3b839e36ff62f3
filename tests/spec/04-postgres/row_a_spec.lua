-- Row A of the requirements: the index builder of a deployment, by registry/deploy/ as it stands.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

local registry = "registry/deploy/indexes.lua"
local names = { "leads_by_owner", "leads_due_calls", "events_recent" }

describe("row A: a deployment", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function migrate()
    server:psql_file(database, "registry/deploy/migrate.sql")
    server:psql(database, [[
      INSERT INTO organisations (name) VALUES ('one');
      INSERT INTO leads (organisation_id, owner_id, name)
      SELECT 1, n % 10, 'lead ' || n FROM generate_series(1, 20000) n;
      INSERT INTO events (lead_id, kind) SELECT 1 + n % 20000, 'call' FROM generate_series(1, 20000) n]])
  end

  local function apply(...)
    return lunadex.run { "apply", registry, "--target", url, ... }
  end

  local function valid_indexes()
    local found = {}
    for _, row in ipairs(server:psql(database, [[
      SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      WHERE i.indisvalid AND NOT i.indisunique AND c.relnamespace = 'public'::regnamespace ORDER BY 1]])) do
      found[#found + 1] = row[1]
    end
    return found
  end

  local function deploy(...)
    return shell.call({ "registry/deploy/deploy.sh", ... }, {
      env = { DATABASE_URL = url, LUNADEX = lunadex.program },
    })
  end

  it("builds each index with its number, description and critical flag, then sums up", function()
    migrate()
    local result = apply()
    assert.equal(0, result.status, tostring(result))
    for i, name in ipairs(names) do
      assert.matches("%[%d/3%][^\n]*" .. name, result.stdout, i)
    end
    assert.matches("leads_by_owner %(critical%)", result.stdout)
    assert.matches("Start page of every user", result.stdout, 1, true)
    assert.matches("total 3, created 3, skipped 0, failed 0", result.stdout, 1, true)
    assert.same({ "events_recent", "leads_by_owner", "leads_due_calls" }, valid_indexes())
  end)

  it("skips everything the second time", function()
    migrate()
    apply()
    local result = apply()
    assert.equal(0, result.status, tostring(result))
    assert.matches("total 3, created 0, skipped 3, failed 0", result.stdout, 1, true)
    assert.matches("[1/3]", result.stdout, 1, true)
  end)

  it("says the same to machines", function()
    migrate()
    local events = apply("--json"):events()
    local last = events[#events]
    assert.equal("run_finished", last.event)
    assert.equal(3, last.summary.total)
    assert.equal(3, last.summary.created)
    assert.equal(0, last.summary.skipped)
    assert.equal(0, last.summary.failed)
    local plan = lunadex.run { "plan", registry, "--target", url, "--json" }:json()
    assert.equal(3, plan.summary.keep)
  end)

  it("is not stopped by an index that is not critical", function()
    migrate()
    -- A name that something else has cannot be given to an index.
    server:psql(database, "CREATE VIEW events_recent AS SELECT 1")
    local result = apply()
    assert.equal(0, result.status, tostring(result))
    assert.matches("warning", result.stderr)
    assert.matches("events_recent", result.stderr)
    assert.matches("created 2, skipped 0, failed 1", result.stdout, 1, true)
    assert.equal(3, apply("--fail-on", "any").status)
  end)

  it("is stopped by a critical one, unless told never to be", function()
    migrate()
    server:psql(database, "CREATE VIEW leads_by_owner AS SELECT 1")
    local result = apply()
    assert.equal(3, result.status, tostring(result))
    assert.matches("created 2, skipped 0, failed 1", result.stdout, 1, true)
    assert.same({ "events_recent", "leads_due_calls" }, valid_indexes())
    assert.equal(0, apply("--fail-on", "never").status)
  end)

  it("goes stop, migrate, build, start", function()
    local result = deploy()
    assert.equal(0, result.status, result.stdout .. result.stderr)
    assert.matches("stop services.*run migrations.*build indexes.*total 3, created 3.*start services", result.stdout)
    result = deploy()
    assert.equal(0, result.status, result.stdout .. result.stderr)
    assert.matches("skipped 3, failed 0.*start services", result.stdout)
  end)

  it("leaves the services down when a critical index is missing", function()
    migrate()
    server:psql(database, "CREATE VIEW leads_by_owner AS SELECT 1")
    local result = deploy()
    assert.equal(3, result.status, result.stdout .. result.stderr)
    assert.not_matches("start services", result.stdout)
    assert.matches("a critical index is missing", result.stderr)
    assert.equal(0, deploy("--fail-on", "never").status)
  end)

  it("waits for a lock, gives up after the lock timeout and tries again", function()
    migrate()
    local holder = server:session(database, "holder")
    holder:run "BEGIN; LOCK events IN SHARE ROW EXCLUSIVE MODE"
    local result = lunadex.run { "apply", registry, "--target", url, "--only", "events_recent", "--mode", "concurrent",
      "--lock-timeout", "300ms", "--retries", "2", "--fail-on", "any" }
    assert.equal(3, result.status, tostring(result))
    assert.matches("attempt 1 failed", result.stdout, 1, true)
    assert.equal("0", server:value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
    holder:run "ROLLBACK"
    holder:close()
    assert.equal(0, apply().status)
  end)
end)
