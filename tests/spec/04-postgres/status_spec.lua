-- What `status` finds unfinished, one by one.
local faults = require "support.faults"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("status", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
    server:psql(database, faults.functions .. [[
      CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 1), (1, 1); CREATE INDEX t_a ON t (a);
      CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);
      CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (9) TO (20); CREATE TABLE r (a int PRIMARY KEY)]])
  end)
  after_each(function() server:drop_database(database) end)

  -- The one thing that is unfinished, as "kind relation name" and what is said of it.
  local function only_one()
    local found = lunadex.run({ "status", "--json", "--target", url }):json().invalid
    assert.equal(1, #found)
    local one = found[1]
    return ("%s %s %s"):format(one.kind, one.relation, one.name), one
  end

  local kinds = {
    { "leftover public.t t_left", "invalid", "no query uses it", "--repair", [[
      UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 't_left'::regclass]] },
    { "leftover public.t t_left", "invalid", "every write maintains it", "--repair", [[
      UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_left'::regclass]] },
    { "half_dropped public.t t_left", "invalid", "drop it again", "--repair", [[
      UPDATE pg_index SET indisvalid = false, indisready = false, indislive = false
       WHERE indexrelid = 't_left'::regclass]] },
    { "reindex_leftover public.t t_a_ccnew", "invalid", "no query uses it", "--repair", [[
      ALTER INDEX t_left RENAME TO t_a_ccnew;
      UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 't_a_ccnew'::regclass]] },
    { "incomplete public.p p_a", "invalid", "1 of 2 partitions have it", "--repair", [[
      DROP INDEX t_left; CREATE INDEX p_a ON ONLY p (a); CREATE INDEX p1_a ON p1 (a);
      ALTER INDEX p_a ATTACH PARTITION p1_a]] },
    { "replacement public.t t_a_ldx_new", "left", "apply swaps it in, or drops", "--repair",
      "ALTER INDEX t_left RENAME TO t_a_ldx_new" },
    { "replaced public.t t_a_ldx_old", "left", "apply drops it", "--repair",
      "ALTER INDEX t_left RENAME TO t_a_ldx_old" },
    { "replaced public.t t_b_ldx_old", "left", "apply gives it its name back", "--repair",
      "DROP INDEX t_left; CREATE INDEX t_b_ldx_old ON t (b)" },
    { "replacement public.t t_b_ldx_new", "left", "apply gives it its name,", "--repair",
      "DROP INDEX t_left; CREATE INDEX t_b_ldx_new ON t (b)" },
    { "moved public.t t_b_ldx_moved", "left", "apply --rename goes on", "--repair",
      "DROP INDEX t_left; CREATE INDEX t_b_ldx_moved ON t (b)" },
    { "unnamed_part public.p1 p1_own_ldx_new", "left", "apply renames it", "--repair",
      "DROP INDEX t_left; CREATE INDEX p_a ON p (a); ALTER INDEX p1_a_idx RENAME TO p1_own_ldx_new" },
    { "replacement public.t t_r_ldx_new", "left", "apply swaps it in, or drops", "--repair", [[
      DROP INDEX t_left; ALTER TABLE t ADD CONSTRAINT t_r FOREIGN KEY (a) REFERENCES r NOT VALID;
      ALTER TABLE t ADD CONSTRAINT t_r_ldx_new FOREIGN KEY (b) REFERENCES r NOT VALID; INSERT INTO r VALUES (1);
      ALTER TABLE t VALIDATE CONSTRAINT t_r]] },
    { "not_validated public.t t_r", "left", "ALTER TABLE public.t VALIDATE CONSTRAINT t_r", "--repair", [[
      DROP INDEX t_left; ALTER TABLE t ADD CONSTRAINT t_r FOREIGN KEY (a) REFERENCES r NOT VALID;
      INSERT INTO r VALUES (1)]] },
    { "null_check public.p lunadex_not_null", "left", "ALTER TABLE public.p DROP CONSTRAINT lunadex_not_null",
      "--repair", [[
      DROP INDEX t_left; ALTER TABLE p ADD CONSTRAINT lunadex_not_null CHECK (a IS NOT NULL) NOT VALID]] },
  }
  -- All that is declared is there in the end, and nothing else is unfinished.
  local registry = [[
    on "t" { index { "a", name = "t_a" }, index { "b", name = "t_b" }, foreign_key { "a", references = "r",
      name = "t_r" } }
    on "p" { primary_key { "a", name = "p_pkey" }, index { "a", name = "p_a" } }]]

  it("does not promise that apply drops a constraint under a name of ours", function()
    server:psql(database, "DELETE FROM t; ALTER TABLE t ADD CONSTRAINT t_a_ldx_old UNIQUE (a)")
    local title, one = only_one()
    assert.equal("replaced public.t t_a_ldx_old", title)
    assert.matches("nobody's to drop", one.detail, 1, true)
    assert.not_matches("apply drops", one.detail, 1, true)
  end)

  for _, each in ipairs(kinds) do
    local what, word, advice, option, sql = table.unpack(each)
    it("shows " .. what .. ", " .. advice, function()
      server:psql(database, "CREATE INDEX t_left ON t (a, b);" .. sql)
      local title, one = only_one()
      assert.equal(what, title)
      assert.matches(advice, one.detail, 1, true)
      local text = lunadex.run({ "status", "--target", url }).stdout
      assert.matches("\n  " .. word .. " +" .. one.relation .. " " .. one.name .. ": ", text)
      assert.matches(advice, text, 1, true)
      -- And it is as it is said: apply finishes it.
      server:psql(database, "INSERT INTO r VALUES (1) ON CONFLICT DO NOTHING")
      local result = lunadex.run { "apply", lunadex.registry(registry), option, "--fail-on", "any", "--target", url }
      assert.equal(0, result.status, tostring(result))
      assert.matches("nothing is left over", lunadex.run({ "status", "--target", url }).stdout, 1, true)
    end)
  end

  it("shows who is building something, once", function()
    local gate = faults.close_gate(server, database)
    local builder = server:session(database, "by hand")
    builder:send "CREATE INDEX CONCURRENTLY t_g ON t (gate(a))"
    gate:reached()
    local status = lunadex.run({ "status", "--json", "--target", url }):json()
    assert.same({ 1, "t_g", 0 }, { #status.builds, status.builds[1].name, #status.invalid })
    gate:open()
    builder:wait()
    -- What only holds the index's lock is seen by that alone.
    builder:close()
    local reader = server:session(database, "reader")
    reader:run "BEGIN; SELECT count(*) FROM t"
    local dropper = server:session(database, "dropper")
    dropper:send "DROP INDEX CONCURRENTLY t_g"
    shell.eventually("the drop to be seen", function()
      local found = lunadex.run({ "status", "--json", "--target", url }):json().invalid
      return found[1] and found[1].kind == "being_built" and found[1].pid == dropper.pid
    end)
    reader:close()
    dropper:wait()
    dropper:close()
  end)

  it("shows what has not begun, and whom it waits for", function()
    local holder = server:session(database, "holder")
    holder:run "BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE"
    shell.eventually("the transaction to be an old one", function()
      return server:value(database, ("SELECT xact_start < clock_timestamp() - interval '2 s' FROM pg_stat_activity"
        .. " WHERE pid = %d"):format(holder.pid)) == "t"
    end)
    local function waiting()
      return shell.eventually("a build that waits", function()
        local builds = lunadex.run({ "status", "--json", "--target", url }):json().builds
        return builds[1] and builds[1].blocker and builds[1]
      end)
    end
    for _, mode in ipairs { "concurrent", "blocking" } do
      local run = lunadex.start { "apply", "--mode", mode, "--target", url,
        lunadex.registry [[on "t" { index { "b", name = "t late" } }]] }
      local build = shell.eventually("what has not begun", function()
        local one = waiting()
        return one.phase == "waiting for transactions on the table" and one
      end)
      assert.same({ "public.t", "t late" }, { build.relation, build.name })
      assert.matches("holder", build.blocker)
      assert.matches("lunadex apply", build.who)
      local text = lunadex.run({ "status", "--target", url }).stdout
      assert.matches("building  public.t t late: waiting for ", text, 1, true)
      assert.matches('blocked by pid %d+ %S+ "holder"', text)
      run:kill "INT"
      run:wait()
    end
    local builder = server:session(database, "by hand")
    builder:send [[CREATE INDEX "T plain" ON t (b)]]
    local build = waiting()
    assert.same({ "public.t", "T plain", "waiting for the table's lock", builder.pid },
      { build.relation, build.name, build.phase, build.pid })
    holder:close()
    builder:wait()
    builder:close()
  end)

  it("says that there is nothing", function()
    assert.matches("nothing is being built, nothing is left over, nobody holds the run lock",
      lunadex.run({ "status", "--target", url }).stdout, 1, true)
  end)
end)
