-- Row C of the requirements: the data dictionary, by registry/dictionary/ as it stands.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"

local registry = "registry/dictionary/bipad.yaml"

describe("row C: a data dictionary", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
    server:psql_file(database, "registry/dictionary/schema.sql")
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function run(command, ...)
    local result = lunadex.run { command, registry, "--target", url, ... }
    assert.equal(0, result.status, tostring(result))
    return result
  end

  it("matches by definition: the worked example", function()
    local plan = run("plan", "--json"):json()
    local changes = {}
    for _, change in ipairs(plan.changes) do changes[change.name] = change end
    assert.equal("keep", changes.CUST1.action)
    assert.equal("CUST1", changes.CUST1.live_name)
    assert.equal("keep", changes.HIST1.action)
    assert.equal("ABCD", changes.HIST1.live_name)
    assert.equal("create", changes.ORDERS1.action)
    assert.is_nil(changes.ORDER1)
    local strays, names = {}, {}
    for _, finding in ipairs(plan.findings) do
      if finding.rule == "stray" then strays[#strays + 1] = finding.name end
      if finding.rule == "name-differs" then names[#names + 1] = finding.name end
    end
    assert.same({ "ORDER1" }, strays)
    assert.equal(1, #names, "the other name is said once")
  end)

  it("builds what is missing and drops a stray only if asked", function()
    local columns = [[
      SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'
      ORDER BY 1, 2]]
    local before = server:psql(database, columns)
    run "apply"
    local indexes = server:indexes(database)
    assert.same({
      ['public."CUST1"'] = 'CREATE INDEX "CUST1" ON public.customers USING btree (zipcode, state)',
      ['public."ABCD"'] = 'CREATE INDEX "ABCD" ON public.history USING btree (bipad, year, issue)',
      ['public."ORDER1"'] = 'CREATE INDEX "ORDER1" ON public.orders USING btree (year, issue)',
      ['public."ORDERS1"'] = 'CREATE INDEX "ORDERS1" ON public.orders USING btree (bipad, year, issue)',
    }, indexes)

    run("apply", "--drop-strays")
    indexes = server:indexes(database)
    assert.is_nil(indexes['public."ORDER1"'])
    assert.is_truthy(indexes['public."CUST1"'])
    assert.is_truthy(indexes['public."ABCD"'])
    assert.same(before, server:psql(database, columns), "tables and columns are never touched")
    local plan = run("plan", "--json"):json()
    assert.equal(3, plan.summary.keep)
    assert.equal(0, plan.summary.create)
  end)

  it("knows directions and uniqueness", function()
    local other = server:create_database()
    server:psql_file(other, "registry/shipments/schema.sql")
    local result = lunadex.run { "apply", "registry/shipments/shipments.yaml", "--target", server:url(other) }
    assert.equal(0, result.status, tostring(result))
    assert.same({
      ["public.history"] = "CREATE INDEX history ON public.shipments USING btree (bipad, year DESC, issue DESC)",
      ["public.socialsec"] = "CREATE UNIQUE INDEX socialsec ON public.example USING btree (socialsec)",
    }, server:indexes(other))
    server:drop_database(other)
  end)
end)
