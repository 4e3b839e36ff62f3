-- Those who are in the way are sent away, where somebody has said who may be.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("who blocks", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, registry

  before_each(function()
    server = pg.shared()
    database = server:create_database()
    server:psql(database, "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)")
    registry = lunadex.registry [[ on "t" { index { "a", name = "t_a" } } ]]
  end)
  after_each(function()
    server:drop_database(database)
  end)

  local function session(name, lock)
    local it = server:session(database, name)
    it:run "BEGIN"
    it:run(lock or "LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
    return it
  end

  local function apply(...)
    return lunadex.run { "apply", registry, "--target", server:url(database), "--mode", "concurrent", "--json",
      "--fail-on", "any", ... }
  end

  local function notes(result)
    local parts = {}
    for _, event in ipairs(result:events()) do
      if event.event == "note" then parts[#parts + 1] = event.text end
    end
    return table.concat(parts, "\n")
  end

  it("is ended when it may be, and it is said", function()
    local report = session "report"
    local result = apply("--terminate-blockers", "other", "--terminate-blockers", "report", "--blockers-after", "0.2s")
    assert.equal(0, result.status, tostring(result))
    assert.matches(("ended the session of pid %d "):format(report.pid), notes(result), 1, true)
    assert.is_truthy(server:indexes(database)["public.t_a"])
    report:close()
  end)

  it("is ended in the waits after the work, too", function()
    local report = session("report", "INSERT INTO t VALUES (1)")
    local result = apply("--terminate-blockers", "report", "--blockers-after", "0.2s")
    assert.equal(0, result.status, tostring(result))
    assert.matches("ended the session of", notes(result), 1, true)
    report:close()
  end)

  it("only has its statement cancelled where that is asked", function()
    local report = server:session(database, "report")
    report:send "DO $$BEGIN LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE; PERFORM pg_sleep(60); END$$"
    shell.eventually("the lock to be held", function()
      return server:value(database, "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass") == "1"
    end)
    local result = apply("--cancel-blockers", "report", "--blockers-after", "0.2s", "--lock-timeout", "20s")
    assert.equal(0, result.status, tostring(result))
    assert.matches("cancelled pid", notes(result), 1, true)
    assert.matches("canceling statement due to user request", shell.read_file(report.output), 1, true)
    report:close()
  end)

  it("is left alone by default, and whoever else it is", function()
    local report = session "report"
    for _, words in ipairs { {}, { "--terminate-blockers", "reports", "--blockers-after", "0.1s" },
      { "--cancel-blockers", "report", "--blockers-after", "0.1s" } } do -- it runs nothing that could be cancelled
      local result = apply("--lock-timeout", "1s", "--retries", "1", table.unpack(words))
      assert.equal(3, result.status, tostring(result))
      assert.is_nil(notes(result):find("ended", 1, true) or notes(result):find("cancelled", 1, true))
    end
    assert.equal("1", server:value(nil, "SELECT count(*) FROM pg_stat_activity WHERE pid = " .. report.pid))
    report:close()
  end)

  it("is nobody where the name given is empty: sessions without a name are left alone", function()
    local nameless = session ""
    for _, option in ipairs { "--terminate-blockers", "--cancel-blockers" } do
      local result = apply("--lock-timeout", "1s", "--retries", "1", option, "report", option, "",
        "--blockers-after", "0.1s")
      assert.equal(64, result.status, tostring(result))
      assert.matches("'' is no application's name", result.stderr, 1, true)
    end
    local script = lunadex.registry(([[
      local lunadex = require "lunadex"
      local db = lunadex.connect(%q)
      for _, names in ipairs { { "report", "" }, { 1 }, "report" } do
        local ok, problem = pcall(lunadex.plan, lunadex.load(%q), db, { terminate_blockers = names })
        assert(not ok and tostring(problem):find("names of applications", 1, true), problem)
      end
      assert(lunadex.plan(lunadex.load(%q), db, { cancel_blockers = { "report" } }))
    ]]):format(server:url(database), registry, registry))
    assert.equal(0, lunadex.run({ "run", script }).status)
    assert.equal("1", server:value(nil, "SELECT count(*) FROM pg_stat_activity WHERE pid = " .. nameless.pid))
    nameless:close()
  end)

  it("is ended by a role that may signal others and not read what they do; one that may not says so", function()
    local role = "signals_" .. database
    server:psql(database, ([[CREATE ROLE %s LOGIN; ALTER TABLE t OWNER TO %s; GRANT CREATE ON SCHEMA public TO %s;
      CREATE ROLE %s_report LOGIN; GRANT SELECT, INSERT, UPDATE ON t TO %s_report]]):gsub("%%s", role))
    finally(function()
      server:psql(database, ([[REASSIGN OWNED BY %s TO postgres; DROP OWNED BY %s, %s_report;
        DROP ROLE %s, %s_report]]):gsub("%%s", role))
    end)
    local report = server:session(database, "report", role .. "_report")
    report:run "BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE"
    local words = { "apply", registry, "--target", server:url(database, role), "--mode", "concurrent", "--json",
      "--fail-on", "any", "--terminate-blockers", "report", "--blockers-after", "0.2s" }
    local hasty = table.move({ "--lock-timeout", "2s", "--retries", "1" }, 1, 4, #words + 1, { table.unpack(words) })
    local result = lunadex.run(hasty)
    assert.equal(3, result.status, tostring(result))
    local told = notes(result)
    assert.matches("cannot end the session of ", told)
    -- As the versions of the server say it.
    assert.is_truthy(told:find "must be a member of the role" or told:find "permission denied to terminate", told)
    server:psql(database, "GRANT pg_signal_backend TO " .. role)
    result = lunadex.run(words)
    assert.equal(0, result.status, tostring(result))
    assert.matches("ended the session of", notes(result), 1, true)
    report:close()
  end)
end)
