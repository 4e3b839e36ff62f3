-- The program is killed; what the next run makes of it.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local proxies = require "support.proxy"
local shell = require "support.shell"

-- Every kind of change that takes more than one step: replacements of an index, of one of a constraint and of a
-- partitioned one, a partitioned index, keys, an invalid leftover, a stray.
local schema = faults.functions .. [[
  CREATE TABLE a (id int NOT NULL, x int, y int, z text);
  CREATE TABLE b (LIKE a);
  CREATE TABLE c (LIKE a);
  CREATE TABLE p (LIKE a) PARTITION BY RANGE (id);
  CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000);
  CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (2000) PARTITION BY RANGE (id);
  CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM (1000) TO (1500);
  CREATE TABLE p2b PARTITION OF p2 FOR VALUES FROM (1500) TO (2000);
  INSERT INTO a SELECT i, i % 10, i % 100, i FROM generate_series(1, 20000) i;
  INSERT INTO b SELECT * FROM a;
  INSERT INTO c SELECT * FROM a;
  INSERT INTO p SELECT * FROM a WHERE id < 2000;
  CREATE INDEX a_x ON a (x);
  CREATE INDEX a_stray ON a (z);
  ALTER TABLE b ADD CONSTRAINT b_key UNIQUE (id, x);
  CREATE INDEX b_y ON b (y);
  CREATE INDEX p_x ON p (x);
]]

local text = [[
  on "a" {
    index { "x", "y", name = "a_x" },
    index { "z", "id", name = "a_z", where = "y > 5" },
    primary_key { "id", name = "a_pkey" },
  }
  on "b" {
    unique_constraint { "id", "y", name = "b_key" },
    index { "y", "x", name = "b_y" },
    index { expr "lower(z)", name = "b_z" },
  }
  on "c" {
    index { "x", name = "c_x" },
    index { "id", name = "c_id", unique = true },
    foreign_key { "id", references = "a", name = "c_a" },
  }
  on "p" {
    index { "x", "y", name = "p_x" },
    index { "z", name = "p_z" },
  }
]]

-- What must be there at every look: of what is replaced, the old one or the new one, under its name.
local always = table.concat({
  "(" .. faults.has("a_x", "2") .. " OR " .. faults.has("a_x", "2 3") .. ")",
  "(" .. faults.has("b_key", "1 2") .. " OR " .. faults.has("b_key", "1 3") .. ")",
  "(" .. faults.has("b_y", "3") .. " OR " .. faults.has("b_y", "3 2") .. ")",
  "(" .. faults.has("p_x", "2") .. " OR " .. faults.has("p_x", "2 3") .. ")",
}, " AND ")

describe("killed", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, registry, template

  setup(function()
    server = pg.shared()
    template = server:create_database()
    server:psql(template, schema)
    server:try(template, "CREATE UNIQUE INDEX CONCURRENTLY c_x ON c (x)") -- an invalid leftover
    registry = lunadex.registry(text)
  end)
  teardown(function() server:drop_database(template) end)

  local function apply(database)
    return lunadex.start { "apply", registry, "--drop-strays", "--mode", "concurrent", "--jobs", "3", "--target",
      server:url(database) }
  end

  it("at random moments of a parallel run, the next one completes it and nothing was missing meanwhile", function()
    -- How long it takes when nobody interferes.
    local database = server:create_database(nil, ("TEMPLATE %s"):format(template))
    local begun = shell.now()
    local result = lunadex.result(apply(database):wait())
    local whole = shell.now() - begun
    assert.equal(0, result.status, tostring(result))
    faults.settled(server, database, registry)
    server:drop_database(database)

    local rounds = faults.long and 200 or 10
    local stopped = 0
    for round = 1, rounds do
      database = server:create_database(nil, ("TEMPLATE %s"):format(template))
      local watch = faults.watch(server, database, always)
      local run = apply(database)
      -- Spread over the whole of it, none twice at the same moment.
      local delay = whole * (round - math.random()) / rounds
      shell.sleep(delay)
      if run:running() then
        stopped = stopped + 1
      else
        whole = math.min(whole, delay) -- the machine has less to do than it had
      end
      run:kill "KILL"
      run:wait()
      local ok, message = pcall(faults.converges, server, database, registry)
      local looks, gaps = watch:stop()
      if not ok then error(("killed after %.3f s of %.3f: %s"):format(delay, whole, message), 0) end
      assert.same({}, gaps, ("killed after %.3f s of %.3f"):format(delay, whole))
      assert.is_true(looks > 10)
      server:drop_database(database)
    end
    assert.is_true(stopped > rounds / 2, "most runs were over before they were killed")
  end)

  -- Kills a run as it is about to send a statement.
  local function killed_before(database, statement, path, ...)
    local link = proxies.start(server)
    link:trap("stall", "before", statement)
    local run = lunadex.start { "apply", path, "--mode", "concurrent", "--target", link:url(database), ... }
    link:fired()
    run:kill "KILL"
    run:wait()
    link:close()
  end

  it("before parts get the names that they are declared with, the next run gives them", function()
    local database = server:create_database(nil, ("TEMPLATE %s"):format(template))
    finally(function() server:drop_database(database) end)
    server:psql(database, "DROP INDEX c_x; ALTER INDEX p1_x_idx RENAME TO p1_x")
    local path = lunadex.registry [[ on "p" { index { "x", "y", name = "p_x", partitions = { p1 = "p1_x" } } } ]]
    killed_before(database, 'RENAME TO "p1_x"', path)
    local plan = lunadex.run { "plan", path, "--target", server:url(database) }
    assert.matches("rename public.p1 p1_x (now p1_x_ldx_new)", plan.stdout, 1, true)
    -- Not while something else has the name.
    server:psql(database, "CREATE INDEX p1_x ON c (x)")
    plan = lunadex.run { "plan", path, "--target", server:url(database) }
    assert.matches("p1_x_ldx_new keeps its name: p1_x is taken by an index of public.c", plan.stdout, 1, true)
    assert.matches("Plan: nothing to do", plan.stdout, 1, true)
    server:psql(database, "DROP INDEX public.p1_x")
    faults.converges(server, database, path)
    assert.equal("p_x", server:value(database, [[SELECT inhparent::regclass::text FROM pg_inherits
      WHERE inhrelid = 'p1_x'::regclass]]))
  end)

  it("while names go round, the next run goes on", function()
    local database = server:create_database(nil, ("TEMPLATE %s"):format(template))
    finally(function() server:drop_database(database) end)
    server:psql(database, "DROP INDEX c_x; CREATE INDEX i1 ON c (x); CREATE INDEX i2 ON c (y)")
    local path = lunadex.registry [[ on "c" { index { "x", name = "i2" }, index { "y", name = "i1" } } ]]
    -- Before the first name is free again, it takes the option; afterwards only the end of it is left.
    for _, statement in ipairs { 'ALTER INDEX "public"."i1" RENAME TO "i2"', 'RENAME TO "i1"' } do
      killed_before(database, statement, path, "--rename")
    end
    assert.equal("i1_ldx_moved, i2", server:value(database, [[SELECT string_agg(c.relname, ', ' ORDER BY c.relname)
      FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 'c'::regclass]]))
    faults.converges(server, database, path)
    assert.equal("CREATE INDEX i1 ON public.c USING btree (y)", server:indexes(database)["public.i1"])
  end)

  it("while names go round two tables, the next run goes on", function()
    local database = server:create_database(nil, ("TEMPLATE %s"):format(template))
    finally(function() server:drop_database(database) end)
    server:psql(database, "DROP INDEX c_x; CREATE TABLE d (z int); CREATE INDEX i1 ON c (x); CREATE INDEX i2 ON d (z)")
    local path = lunadex.registry [[ on "c" { index { "x", name = "i2" } } on "d" { index { "z", name = "i1" } } ]]
    killed_before(database, 'ALTER INDEX "public"."i1" RENAME TO "i2"', path, "--rename")
    assert.equal("i1 i1_ldx_moved", server:value(database, [[SELECT string_agg(c.relname, ' ' ORDER BY c.relname)
      FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid IN ('c'::regclass, 'd'::regclass)]]))
    faults.converges(server, database, path)
    assert.equal("CREATE INDEX i1 ON public.d USING btree (z)", server:indexes(database)["public.i1"])
    assert.equal("CREATE INDEX i2 ON public.c USING btree (x)", server:indexes(database)["public.i2"])
  end)

  it("while three names go round, the next run goes on from wherever it was", function()
    local database = server:create_database(nil, ("TEMPLATE %s"):format(template))
    finally(function() server:drop_database(database) end)
    local path = lunadex.registry [[
      on "c" { index { "x", name = "i2" }, index { "y", name = "i3" }, index { "z", name = "i1" } } ]]
    local columns = { "x", "y", "z" }
    for _, names in ipairs { { "i1", "i3_ldx_moved", "i3" }, { "i2", "i3_ldx_moved", "i3" },
      { "i2", "i3_ldx_moved", "i1" } } do
      server:psql(database, "DROP INDEX IF EXISTS c_x, i1, i2, i3")
      for i, name in ipairs(names) do
        server:psql(database, ("CREATE INDEX %s ON c (%s)"):format(name, columns[i]))
      end
      faults.converges(server, database, path)
      local live = server:indexes(database)
      assert.matches("(x)", live["public.i2"], 1, true)
      assert.matches("(y)", live["public.i3"], 1, true)
      assert.matches("(z)", live["public.i1"], 1, true)
    end
    -- What nobody has begun takes the option.
    server:psql(database, "ALTER INDEX i1 RENAME TO i4")
    local result = lunadex.run { "plan", path, "--target", server:url(database) }
    assert.matches("i4 is i1 by definition", result.stdout, 1, true)
  end)

  it("it may leave something whose name has what another declaration is about: that stays", function()
    local database = server:create_database(nil, ("TEMPLATE %s"):format(template))
    finally(function() server:drop_database(database) end)
    for _, suffix in ipairs { "new", "old" } do
      local name = "c_y_ldx_" .. suffix
      server:psql(database, ("DROP INDEX c_x; CREATE INDEX c_y ON c (x); CREATE INDEX %s ON c (y)"):format(name))
      local path = lunadex.registry [[ on "c" { index { "x" }, index { "y", name = "c_y" } } ]]
      local result = lunadex.run { "apply", path, "--target", server:url(database) }
      assert.equal(0, result.status, tostring(result))
      assert.matches("nothing to do", result.stdout, 1, true)
      server:psql(database, ("DROP INDEX %s; ALTER INDEX c_y RENAME TO c_x"):format(name))
    end
  end)

  -- What a run that was killed left, when the next one wants the same, or something else by now.
  for what, left in pairs {
    ["a replacement that is attached to some partitions"] = [[
      CREATE INDEX p_x_ldx_new ON ONLY p (x, y);
      CREATE INDEX p1_x_y_idx ON p1 (x, y);
      ALTER INDEX p_x_ldx_new ATTACH PARTITION p1_x_y_idx]],
    ["a replacement of which a nested part lacks one"] = [[
      CREATE INDEX p_x_ldx_new ON ONLY p (x, y);
      CREATE INDEX p2_x_y_idx ON ONLY p2 (x, y);
      ALTER INDEX p_x_ldx_new ATTACH PARTITION p2_x_y_idx;
      CREATE INDEX p2a_x_y_idx ON p2a (x, y);
      ALTER INDEX p2_x_y_idx ATTACH PARTITION p2a_x_y_idx]],
    ["a partitioned replacement that is not wanted any more"] = [[
      CREATE INDEX p_x_ldx_new ON ONLY p (x, z);
      CREATE INDEX p1_x_z_idx ON p1 (x, z);
      ALTER INDEX p_x_ldx_new ATTACH PARTITION p1_x_z_idx]],
    ["a replacement that is not wanted any more"] = "CREATE INDEX a_x_ldx_new ON a (x, z)",
    ["a replacement for a key that is not wanted any more"] = "CREATE UNIQUE INDEX b_key_ldx_new ON b (id, z)",
    ["a replacement that is not wanted any more, of what is wanted as it was"] = [[
      DROP INDEX b_y;
      CREATE INDEX b_y ON b (y, x);
      CREATE INDEX b_y_ldx_new ON b (y, z)]],
    ["a replacement for a key that is wanted as it was"] = [[
      ALTER TABLE b DROP CONSTRAINT b_key, ADD CONSTRAINT b_key UNIQUE (id, y),
        ADD CONSTRAINT b_key_ldx_new UNIQUE (id, z)]],
    ["what was replaced and is wanted again"] = "CREATE INDEX a_x_ldx_old ON a (x, y)",
    ["what was replaced and is wanted again, half dropped"] = [[
      CREATE INDEX a_x_ldx_old ON a (x, y);
      UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a_x_ldx_old'::regclass]],
    ["what was replaced and is wanted again, with parts"] = [[
      CREATE INDEX p_x_ldx_old ON p (x, y);
      ALTER INDEX p1_x_idx RENAME TO p1_own_ldx_new]],
    ["parts without their names, before the swap"] = [[
      ALTER INDEX p1_x_idx RENAME TO p1_own;
      CREATE INDEX p_x_ldx_new ON p (x, y);
      ALTER INDEX p1_x_y_idx RENAME TO p1_own_ldx_new]],
    ["parts without their names, after the swap"] = [[
      ALTER INDEX p1_x_idx RENAME TO p1_own;
      ALTER INDEX p_x RENAME TO p_x_ldx_old;
      CREATE INDEX p_x ON p (x, y);
      ALTER INDEX p1_x_y_idx RENAME TO p1_own_ldx_new]],
    ["parts without their names, after the drop"] = [[
      DROP INDEX p_x;
      CREATE INDEX p_x ON p (x, y);
      ALTER INDEX p1_x_y_idx RENAME TO p1_own_ldx_new;
      ALTER INDEX p2_x_y_idx RENAME TO p2_own_ldx_new;
      ALTER INDEX p2b_x_y_idx RENAME TO p2b_own_ldx_new]],
    ["both sides of a swap"] = "ALTER INDEX a_x RENAME TO a_x_ldx_old; CREATE INDEX a_x ON a (x, y)",
  } do
    it("it may leave " .. what, function()
      local database = server:create_database(nil, ("TEMPLATE %s"):format(template))
      finally(function() server:drop_database(database) end)
      server:psql(database, left)
      local watch = faults.watch(server, database, always)
      faults.converges(server, database, registry)
      local _, gaps = watch:stop()
      assert.same({}, gaps)
    end)
  end
end)
