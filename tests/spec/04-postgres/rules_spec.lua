-- Rules on a real server: what verdicts make of a plan and a run, and each rule that comes with Lunadex where it speaks
-- and where it nearly would.
local core = require "lunadex.core"
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("rules", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  setup(function()
    server = pg.shared()
    database = server:create_database()
    url = server:url(database)
  end)
  teardown(function() server:drop_database(database) end)

  -- A database takes longer to make than its tables.
  local tables = [[SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public;
    CREATE TABLE t (a int, b text, flag boolean, n int NOT NULL);
    CREATE TABLE archive (at int); CREATE TABLE other (id int PRIMARY KEY)]]
  before_each(function() server:psql(database, tables) end)

  local function run(command, text, ...)
    return lunadex.run { command, lunadex.registry(text), "--target", url, ... }
  end

  -- "level rule name", of what rules say.
  local function said(result)
    local list = {}
    for _, finding in ipairs(result:json().findings) do
      if finding.verdict and not finding.allowed then
        list[#list + 1] = ("%s %s %s"):format(finding.level, finding.rule, finding.name or finding.relation or "-")
      end
    end
    return list
  end

  local function check(text, ...) return said(run("check", text, "--json", ...)) end

  local archive = [[
rule "no-index-on-archive" {
  on = { "create" },
  check = function(change, context)
    if change.relation == "public.archive" then return "block", "the archive is append-only" end
  end,
}
on "archive" { index { "at", name = "archive_at" } }
on "t" { index { "a", name = "t_a" } } ]]

  describe("of a registry", function()
    it("block a change, and the rest is made", function()
      local result = run("plan", archive)
      assert.equal(6, result.status, tostring(result))
      assert.matches("create public.archive archive_at: btree (at); ", result.stdout, 1, true)
      assert.matches("not made: blocked by no-index-on-archive: the archive is append-only\n", result.stdout, 1, true)
      assert.matches("registry.lua:7: public.archive archive_at: the archive is append-only", result.stdout, 1, true)
      assert.matches("Plan: 1 to create, 1 blocked, 0 kept.", result.stdout, 1, true)
      result = run("apply", archive)
      assert.equal(6, result.status, tostring(result))
      assert.matches("no-index-on-archive", result.stderr, 1, true)
      assert.matches("total 1, created 1, skipped 0, failed 0, held back 1", result.stdout, 1, true)
      assert.is_nil(server:indexes(database)["public.archive_at"])
      assert.truthy(server:indexes(database)["public.t_a"])
      result = run("apply", archive, "--json")
      assert.equal(6, result.status, tostring(result))
      local held
      for _, event in ipairs(result:events()) do held = event.event == "held" and event or held end
      assert.same({ "block", "no-index-on-archive", "archive_at" }, { held.outcome, held.rule, held.name })
      assert.equal(0, run("apply", archive, "--fail-on", "never").status)
    end)

    it("are left out by name, or allowed with a reason that stays", function()
      local result = run("plan", archive, "--without", "no-index-on-archive", "--json")
      assert.equal(0, result.status, tostring(result))
      assert.equal(2, result:json().summary.create)
      assert.matches("not asked: --without", result.stdout, 1, true)
      result = run("plan", archive, "--without", "no-index-on-archiv")
      assert.equal(64, result.status, tostring(result))
      assert.matches('did you mean "no-index-on-archive"?', result.stderr, 1, true)
      local allowed = archive:gsub('"archive_at"', '%0, allow = { ["no-index-on-archive"] = "for the auditors" }')
      result = run("plan", allowed)
      assert.equal(0, result.status, tostring(result))
      assert.matches("the archive is append-only; allowed: for the auditors", result.stdout, 1, true)
      local finding = run("plan", allowed, "--json"):json().findings[1]
      assert.same({ "info", "for the auditors" }, { finding.level, finding.allowed })
      result = run("plan", (archive:gsub('"archive_at"', '%0, allow = { ["no-index-on-archiv"] = "x" }')))
      assert.equal(6, result.status, tostring(result))
      assert.matches("unknown-rule", result.stdout, 1, true)
    end)

    it("give the reason for what is not made once, and of an error with its place", function()
      local text = [[ rule "r" { check = function() return { verdict = %q, message = "at night", amend = %s } end }
        on "t" { index { "a", name = "t_a" } } ]]
      for verdict, word in pairs { allow = "put off", skip = "skipped" } do
        local result = run("plan", text:format(verdict, verdict == "allow" and "{ put_off = true }" or "nil"))
        assert.equal(0, result.status, tostring(result))
        assert.matches(("create public.t t_a: [^\n]*; not made: %s by r: at night\nPlan: "):format(word), result.stdout)
      end
      local shown = run("plan", text:format("block", "nil")).stdout
      assert.matches("not made: blocked by r: at night\nerror r: .*registry.lua:2: public.t t_a: at night\n", shown)
    end)

    it("say what is no UTF-8 in such a way that it can be read", function()
      local result = run("plan", [[ rule "r" { check = function() return "warn", "a\255b\xE2\x82" end }
        on "t" { index { "a", name = "t_a" } } ]], "--json")
      assert.equal("a\u{FFFD}b\u{FFFD}\u{FFFD}", result:json().changes[1].findings[1].message)
    end)

    it("about a relation or the plan leave alone what is allowed", function()
      local text = [[ rule "r" { on = %q, check = function() return "block", "no" end }
        on "t" { index { "a", name = "t_a" }, index { "b", name = "t_b", allow = { r = "it is small" } } } ]]
      for _, on in ipairs { "relation", "plan" } do
        local result = run("plan", text:format(on), "--json")
        assert.equal(6, result.status, tostring(result))
        local first, second = table.unpack(result:json().changes)
        assert.same({ "block", nil, "it is small" }, { first.held.verdict, second.held, second.findings[1].allowed })
      end
    end)

    it("skip, put off, amend and warn", function()
      local result = run("plan", [[
rule "r" { check = function(change)
  local name = change.name
  if name == "a" then return "skip", "not here" end
  if name == "b" then return { message = "at night", amend = { put_off = true } } end
  if name == "c" then return { message = "writers can wait", amend = { mode = "blocking", lock_timeout = "7s" } } end
  if name == "d" then return "warn", "mind" end
end }
rule "after" { on = "create", check = function(change) if change.mode == "blocking" then return "warn", "seen" end end }
on "t" { index { "a", name = "a" }, index { "b", name = "b" }, index { "n", name = "c" }, index { "flag", name = "d" } }
]], "--json", "--detailed-exitcode")
      assert.equal(2, result.status, tostring(result))
      local object = result:json()
      assert.same({ 2, 1, 1, 0 }, { object.summary.create, object.summary.skipped, object.summary.put_off,
        object.summary.blocked })
      local held = {}
      for i, change in ipairs(object.changes) do held[i] = change.held and change.held.verdict or "made" end
      assert.same({ "skip", "put off", "made", "made" }, held)
      local findings = object.changes[3].findings
      assert.same({ mode = "blocking", lock_timeout = 7 }, findings[1].amend)
      local modes = {}
      for _, change in ipairs(result:json().changes) do modes[change.name] = change.mode end
      assert.same({ c = "blocking" }, modes)
      assert.equal("writers can wait; amended: lock_timeout = 7, mode = blocking", findings[1].message)
      assert.equal("after", findings[2].rule)
    end)

    it("amend what is really done", function()
      local text = [[ rule "r" { check = function() return { amend = { mode = "concurrent" } } end }
        on "t" { index { "a", name = "t_a" } } ]]
      assert.matches("CONCURRENTLY", run("apply", text, "--dry-run").stdout, 1, true)
      text = text:gsub("concurrent", "blocking")
      assert.is_nil(run("apply", text, "--dry-run").stdout:find("CONCURRENTLY", 1, true))
    end)

    it("keep what may be doing the work of what is not made, and what waits for a name", function()
      server:psql(database, "CREATE INDEX t_old ON t (a); CREATE INDEX name_b ON t (b)")
      local text = [[ rule "r" { on = { "create", "rename" }, check = function(change)
          if change.name == "new" or change.name == "t_b" then return "block", "no" end end }
        on "t" { index { "n", name = "new" }, index { "b", name = "t_b" }, index { "a", "n", name = "name_b" } } ]]
      local result = run("plan", text, "--drop-strays", "--rename", "--json")
      assert.equal(6, result.status, tostring(result))
      local held = {}
      for _, change in ipairs(result:json().changes) do
        held[#held + 1] = ("%s %s %s"):format(change.action, change.name, change.held and change.held.verdict)
      end
      assert.same({ "create new block", "rename t_b block", "create name_b block", "drop t_old skip" }, held)
      local before = server:indexes(database)
      assert.equal(6, run("apply", text, "--drop-strays", "--rename").status)
      assert.same(before, server:indexes(database))
    end)

    it("are not asked about what is no index", function()
      server:psql(database, "ALTER TABLE t ADD CONSTRAINT lunadex_not_null CHECK (a IS NOT NULL) NOT VALID")
      local result = run("apply", [[ on "t" { index { "a", name = "t_a" } }
        rule "r" { check = function(change) return "warn", change.index.name end }
        rule "p" { on = "plan", check = function(plan)
          local last = plan.changes[2]
          return "warn", last.action .. " " .. last.name .. " " .. tostring(last.index)
        end } ]])
      assert.equal(0, result.status, tostring(result))
      assert.matches("p: drop lunadex_not_null nil", result.stderr, 1, true)
      assert.equal("0", server:value(database, "SELECT count(*) FROM pg_constraint WHERE conname = 'lunadex_not_null'"))
    end)

    it("may give what their options hold", function()
      local text = [[ on "t" { index { "a", name = "t_a" } } rule "r" { on = "plan", options = {
          amend = { type = "table", default = { mode = "blocking" } }, changes = { type = "table" } },
        check = function(plan, context) return { amend = %s, changes = context.options.changes } end }
        rule "r" { options = { changes = { "create" } } } ]]
      local result = run("plan", text:format "context.options.amend", "--json")
      assert.equal(0, result.status, tostring(result))
      assert.equal("blocking", result:json().changes[1].mode)
      assert.matches("amend is a userdata; expected a table", run("plan", text:format "plan").stdout, 1, true)
    end)

    it("say on a plain keep, too, what they have to say of it", function()
      server:psql(database, "CREATE INDEX t_a ON t (a)")
      local result = run("plan", [[ on "t" { index { "a", name = "t_a" }, index { "n", name = "t_n" } }
        rule "k" { on = { "keep", "create" }, check = function(change) return "warn", change.action end } ]], "--json")
      local said_of = {}
      for _, change in ipairs(result:json().changes) do
        for _, finding in ipairs(change.findings) do said_of[change.name] = finding.message end
      end
      assert.same({ t_a = "keep", t_n = "create" }, said_of)
    end)

    it("keep a foreign key waiting for the key that it refers to", function()
      local text = [[ rule "r" { on = "create", check = function(change)
          if change.name == "t_key" then return %s end end }
        on "t" { unique_constraint { "a", "n", name = "t_key" },
          foreign_key { "n", references = "other", name = "fine" } }
        on "other" { index { "id", name = "other_id" } }
        on "u" { foreign_key { "x", "y", references = { "t", "n", "a" }, critical = true, name = "u_t" } } ]]
      server:psql(database, "CREATE TABLE u (x int, y int)")
      local function held(verdict, status, ...)
        local result, list = run("apply", text:format(verdict), "--json", ...), {}
        assert.equal(status, result.status, tostring(result))
        for _, event in ipairs(result:events()) do
          if event.event == "held" then list[#list + 1] = event.name .. " " .. event.outcome end
        end
        return list
      end
      assert.same({ "t_key block", "u_t block" }, held('"block", "no"', 6))
      assert.same({ "t_key put off", "u_t put off" }, held("{ amend = { put_off = true } }", 0))
      server:psql(database, "CREATE UNIQUE INDEX live ON t (n, a)") -- that will do as well
      assert.same({ "t_key skip" }, held('"skip", "no"', 0))
      assert.equal("t", server:value(database, "SELECT convalidated FROM pg_constraint WHERE conname = 'u_t'"))
    end)

    it("that fail block only what they were asked about", function()
      local result = run("plan", [[
rule "error"  { check = function(change) if change.name == "a" then return change.naem end end }
rule "loop"   { check = function(change) if change.name == "b" then while true do end end end }
rule "memory" { check = function(change) if change.name == "c" then return ("x"):rep(1e10) end end }
rule "hog"    { check = function(change) if change.name == "c" then local s = "x" while true do s = s .. s end end end }
rule "type"   { check = function(change) if change.name == "d" then return 5 end end }
rule "global" { check = function(change) if change.name == "d" then return os.exit(3) end end }
rule "writes" { check = function(change) if change.name == "d" then change.index.keys = {} end end }
rule "word"   { check = function(change) if change.name == "d" then index { "a" } end end }
on "t" { index { "a", name = "a" }, index { "b", name = "b" }, index { "n", name = "c" }, index { "flag", name = "d" },
  index { "a", "b", name = "e" } } ]], "--json")
      assert.equal(6, result.status, tostring(result))
      local object, messages = result:json(), {}
      assert.same({ 1, 4 }, { object.summary.create, object.summary.blocked })
      for _, finding in ipairs(object.findings) do messages[finding.rule] = finding.message end
      assert.matches(':1: a change has no field "naem"; did you mean "name"?', messages.error, 1, true)
      assert.matches("registry.lua:2: does not come to an end", messages.loop, 1, true)
      assert.matches("registry.lua:3: resulting string too large", messages.memory, 1, true)
      assert.matches("registry.lua:4: needs too much memory: stopped at 64 MB", messages.hog, 1, true)
      assert.matches('registry.lua:5: gave 5; expected nothing, or "allow"', messages.type, 1, true)
      assert.matches("registry.lua:6: `os.exit` is not available", messages.global, 1, true)
      assert.matches("registry.lua:7: a rule cannot set keys of an index", messages.writes, 1, true)
      assert.matches('registry.lua:8: unknown name "index"', messages.word, 1, true)
    end)

    it("know what is live, what is declared, the server and the time", function()
      server:psql(database, "INSERT INTO t SELECT n, n, true, n FROM generate_series(1, 1000) n; ANALYZE t; "
        .. "CREATE INDEX t_live ON t (b)")
      local result = run("plan", [[
rule "facts" { on = "create", check = function(change, context)
  local relation, other = context.relation, context.find "other"
  local names = {}
  for i, index in ipairs(relation.indexes) do names[i] = index.name .. (index.live and "+" or "-") end
  local found = 0
  for each in context.relations() do found = found + 1 end
  return "warn", table.concat({ relation.name, relation.rows, table.concat(names, ","), other.name, found,
    context.driver, context.server.version_number // 10000, context.date.year > 2000, context.env "FACTS" or "none",
    change.index.keys[1].column, relation.columns.flag.type, tostring(relation.columns.n.not_null),
    relation.indexes[2].scans, context.find "nowhere" == nil and "nil" }
    , " ", 1, 7) .. " " .. relation.columns.flag.type .. " " .. relation.indexes[2].scans
end }
on "t" { index { "a", name = "t_a" } }
on "other" {} ]], "--json")
      assert.equal("public.t 1000 t_a-,t_live+ public.other 2 postgres " .. pg.version .. " boolean 0",
        result:json().changes[1].findings[1].message, tostring(result))
    end)
  end)

  it("that cannot be loaded block changes, and nothing else", function()
    local folder = shell.directory "project"
    shell.check("mkdir " .. folder .. "/plugins")
    shell.write_file(folder .. "/plugins/policy.lua", [[
return { name = "policy", describe = "ours", rule = {
<<<<<<< HEAD
  on = { "create" },
]])
    shell.write_file(folder .. "/plugins/words.lua",
      "return { name = 'words', describe = 'x', import = { extensions = { 'words' }, load = ")
    shell.write_file(folder .. "/plugins/init.lua", "nothing of ours = =")
    local text = [[on "t" { index { "a", name = "t_a" } } rule "naming" { options = { pattern = "^x" } }]]
    local function at(...)
      return lunadex.run { cwd = folder, ... }
    end
    local registry = lunadex.registry(text)
    local place = "cannot be loaded: plugins/policy.lua:2: unexpected symbol near '<<'"
    local result = at("plan", registry, "--target", url)
    assert.equal(6, result.status, tostring(result))
    assert.matches("not made: blocked by policy: " .. place, result.stdout, 1, true)
    assert.matches("error policy: " .. place, result.stdout, 1, true)
    assert.matches("warning naming: ", result.stdout, 1, true)
    assert.equal(6, at("apply", registry, "--target", url).status)
    assert.is_nil(server:indexes(database)["public.t_a"])
    result = at("check", registry, "--offline")
    assert.equal(6, result.status, tostring(result))
    assert.matches("error policy: " .. place, result.stdout, 1, true)
    assert.matches("policy +cannot be loaded", at("check", registry, "--offline", "--rules").stdout)
    assert.equal(0, at("snapshot", "--target", url).status)
    assert.equal(0, at("plan", registry, "--target", url, "--without", "policy").status)
    -- The importer is only needed for what it reads.
    shell.write_file(folder .. "/r.words", "t a")
    shell.write_file(folder .. "/r.dict", "table t:\n  index t_a:\n    column a:\n")
    result = at("plan", "r.words", "--target", url, "--without", "policy")
    assert.equal(65, result.status, tostring(result))
    assert.matches("r.words: its importer cannot be loaded: plugins/words.lua:1: ", result.stderr, 1, true)
    assert.equal(0, at("apply", "r.dict", "--target", url, "--without", "policy").status)
    assert.truthy(server:indexes(database)["public.t_a"])
    shell.write_file(folder .. "/plugins/words.lua", "return { import = {")
    result = at("plan", "r.words", "--target", url, "--without", "policy")
    assert.equal(65, result.status, tostring(result))
    assert.matches("r.words: its importer cannot be loaded: plugins/words.lua:1: ", result.stderr, 1, true)
  end)

  it("on \"overlap\" are asked about that with whose keys another index begins", function()
    server:psql(database, "CREATE INDEX t_live ON t (n, b); CREATE INDEX t_kept ON t ((a + 1))")
    local rule = [[ rule "r" { on = %s, check = function(index)
        local names = {}
        for i, other in ipairs(index.overlaps) do names[i] = other.name end
        if #names > 0 then return "warn", index.name .. " by " .. table.concat(names, " ") end
      end } ]]
    local text = [[ on "t" { index { "a", name = "first" }, index { desc "a", "b", name = "second" },
        index { "a", name = "some", where = "n > 1" }, index { "a", name = "hash", method = "hash" },
        index { desc "a", "b", "n", name = "third" }, index { "a", "b", name = "fourth" },
        index { "b", name = "alone" }, index { "n", name = "as_live" }, index { expr "a+1", name = "t_kept" },
        index { expr "lower(b)", name = "lower" }, index { expr "upper(b)", name = "upper" } }
      on "other" { index { "id", name = "as_key" } } ]]
    local function messages(result)
      local list = {}
      for _, finding in ipairs(result:json().findings) do
        if finding.rule == "r" then list[#list + 1] = finding.message end
      end
      return list
    end
    local without = { "--without", "redundant-index", "--without", "lone-boolean" }
    assert.same({ "first by second third fourth", "second by third", "as_live by t_live", "as_key by other_pkey" },
      messages(run("check", rule:format '"overlap"' .. text, "--json", table.unpack(without))))
    -- Without a database, declarations alone; and no index is asked about twice.
    local function offline(on)
      return messages(lunadex.run { "check", lunadex.registry(rule:format(on) .. text), "--offline", "--json",
        table.unpack(without) })
    end
    assert.same({ "first by second third fourth", "second by third" }, offline '"overlap"')
    assert.same({ "first by second third fourth", "second by third" }, offline '{ "overlap", "index" }')
  end)

  it("tell no password that they or their registry read, and not all of what is long", function()
    local path = lunadex.registry [[ local pass = env "SHOP_PASSWORD"
      rule "a" { check = function() return "warn", "it is " .. pass end }
      rule "b" { check = function(_, context)
        return { message = context.env "OTHER_PASSWORD", amend = { description = context.env "OTHER_PASSWORD" } }
      end }
      rule "c" { check = function() return { amend = { description = pass .. ("x"):rep(5000) } } end }
      on "t" { index { "a", name = "t_a" } } ]]
    local result = lunadex.run { "plan", path, "--target", url, "--json",
      env = { SHOP_PASSWORD = "geheim", OTHER_PASSWORD = "hunter2" } }
    assert.equal(0, result.status, tostring(result))
    assert.is_nil((result.stdout .. result.stderr):find "geheim" or result.stdout:find "hunter2")
    local change = result:json().changes[1]
    assert.same({ "it is ***", "***; amended: description = ***" },
      { change.findings[1].message, change.findings[2].message })
    assert.is_true(#change.findings[3].message < 2100)
  end)

  it("change nothing of what others are told", function()
    local text = [[ rule "a" { on = "index", options = { days = { type = "table" } }, check = function(index, context)
        %s
      end }
      rule "b" { on = "index", check = function(index, context)
        local relation, names = context.relation, {}
        for name, column in pairs(relation.columns) do names[#names + 1] = name .. " " .. tostring(column.type) end
        table.sort(names)
        return "warn", relation.indexes[1].keys[1].column .. #relation.indexes .. table.concat(index.include, "+")
          .. table.concat(names, ",")
      end }
      rule "a" { options = { days = { "sat", "sun" } } }
      on "t" { index { "a", include = { "b", "n" }, name = "x" } } ]]
    for what, message in pairs {
      ["index.keys[1].column = 'b'"] = "a rule cannot set column of a key: it gives a verdict",
      ["index.keys[1] = nil"] = "a rule cannot set 1: it gives a verdict",
      ["index.name = 'b'"] = "name of an index",
      ["table.remove(context.relation.indexes)"] = "a rule cannot set 1", ["index.include[3] = 'a'"] = "cannot set 3",
      ["table.sort(index.include, function() return true end)"] = "a rule cannot set",
      ["context.relation.columns.a.type = 'text'"] = "a rule cannot set type",
      ["for _, each in pairs(context.relation.columns) do each.type = 1 end"] = "a rule cannot set type",
      ["context.options.days[1] = 'fri'"] = "a rule cannot set 1", ["context.date.hour = 1"] = "a rule cannot set hour",
      ["context.options = {}"] = "a rule cannot set options of the context",
      ["return index.nme"] = 'did you mean "name"?',
      ["return context.options.dais"] = 'context.options has no field "dais"; did you mean "days"?',
      ["return 'wran'"] = 'gave "wran"; expected nothing, or "allow", "warn", "skip" or "block" and a message, or '
        .. '{ verdict = "…", message = "…", amend = { … } }; did you mean "warn"?',
      ["return { verdict = 'warn', changes = 'crate' }"] = 'changes holds "crate"; expected some of "create"',
      ["return index.keys[1].colum"] = 'a key has no field "colum"; did you mean "column"?',
    } do
      local result = run("check", text:format(what), "--json")
      assert.equal(6, result.status, tostring(result))
      local messages = {}
      for _, finding in ipairs(result:json().findings) do messages[finding.rule] = finding.message end
      assert(messages.a:find(message, 1, true), what .. ": " .. messages.a)
      assert.equal("a1b+na integer,b text,flag boolean,n integer", messages.b)
    end
  end)

  it("are asked only about those that they narrow down to", function()
    local function about(on, only)
      return table.concat(check(([[ rule "r" { on = %s, only = %s, check = function(index) return "warn", "x" end }
        rule "lone-boolean" { off = "x" } rule "redundant-index" { off = "x" } rule "nullable-unique" { off = "x" }
        on "t" { index { "a", name = "a" }, index { "a", "b", name = "ab" },
          index { "b", name = "bw", where = "n > 1" }, index { "n", name = "u", unique = true },
          unique_constraint { "n", "a", name = "uc" },
          index { "b", name = "h", method = "hash" }, index { "flag", name = "f" },
          foreign_key { "a", references = "other", name = "fk" } } ]]):format(on, only)), ","):gsub("warning r ", "")
    end
    for only, expected in pairs {
      ['{ kind = "foreign_key" }'] = "fk", ['{ kind = "index", unique = true }'] = "u", ["{ unique = true }"] = "u,uc",
      ["{ where = true }"] = "bw", ['{ method = "hash" }'] = "h", ["{ keys = 2 }"] = "ab,uc",
      ['{ type = "boolean" }'] = "f", ['{ type = "point" }'] = "", ['{ type = "text", where = false }'] = "h",
    } do
      assert.equal(expected, (about('"index"', only):gsub("warning foreign%-key%-without%-index fk,?", "")), only)
    end
    assert.equal("a,u", (about('"overlap"', '{ kind = "index" }')))
  end)

  it("ask for nothing that nobody needs", function()
    -- `check` counts what was sent: statements are in the server's log only where it is told to keep them.
    server:psql("postgres", ("ALTER DATABASE %s SET log_statement = 'all'"):format(database))
    local function asked(text)
      local before = #shell.read_file(server.log)
      run("plan", text)
      local log = shell.read_file(server.log):sub(before + 1)
      return select(2, log:gsub("xact_start", "")) > 0, select(2, log:gsub("PREPARE lunadex_query", ""))
    end
    assert.same({ false, 0 }, { asked [[ on "t" {} ]] })
    local transactions = asked [[ on "t" { index { "a" } } ]]
    assert.is_true(transactions)
    local _, queries = asked [[ on "t" { query { "SELECT 1 FROM t WHERE a = $1" },
      query { "SELECT 2 FROM t WHERE a = $1", expect_index = true } } ]]
    assert.equal(1, queries)
    server:psql("postgres", ("ALTER DATABASE %s RESET log_statement"):format(database))
  end)

  describe("that come with Lunadex", function()
    local other -- a server with settings of its own

    local function settled()
      other = other or pg.start { settings = { track_commit_timestamp = "on", max_prepared_transactions = "2" } }
      return other
    end
    teardown(function()
      if other then other:stop() end
    end)

    it("redundant-index", function()
      assert.same({ "warning redundant-index t_a" }, check [[ on "t" { index { "a", name = "t_a" },
        index { "a", "b", name = "t_a_b" } } ]])
      assert.same({ "warning redundant-index o" }, check [[ on "other" { primary_key { "id" },
        index { "id", name = "o" } } ]])
      assert.same({ "warning redundant-index o" }, check [[ on "other" { index { "id", name = "o" } } ]])
      assert.same({ "warning redundant-index x" }, check [[ on "t" { index { "a", name = "x", where = "n > 1" },
        index { desc "a", "b", name = "y", where = "n > 1" } } ]])
      -- On one line: the order of declaration counts, not that of lines.
      assert.same({ "warning redundant-index d2" },
        check [[ on "t" { index { desc "a", name = "d1" }, index { "a", name = "d2" } } ]])
      -- Near misses: another order, another predicate, a unique one, another direction, included columns, a method.
      local near, texts = {
        [[ index { "b" }, index { "a", "b" } ]],
        [[ index { "a" }, index { "a", "b", where = "n > 1" } ]],
        [[ index { "a", where = "n > 1" }, index { "a", "b" } ]],
        [[ index { "n", unique = true }, index { "n", "b" } ]],
        [[ index { "a", desc "n" }, index { "a", "n", "b" } ]],
        [[ index { "a", include = { "n" } }, index { "a", "b" } ]],
        [[ index { "a", method = "hash" }, index { "a", "b" } ]],
        [[ index { key { "b", opclass = "text_pattern_ops" } }, index { "b", "a" } ]],
      }, {}
      server:psql(database, "SELECT format('CREATE TABLE near_%s (LIKE t)', n) FROM generate_series(1, 8) n \\gexec")
      for i, text in ipairs(near) do
        texts[i] = ('on "near_%d" { %s }\n'):format(i, text)
      end
      assert.same({}, check(table.concat(texts)))
      -- An undeclared index may go any day.
      server:psql(database, "CREATE INDEX t_ab ON t (a, b)")
      assert.same({}, check [[ on "t" { index { "a", name = "t_a" } } ]])
    end)

    it("foreign-key-without-index", function()
      local key = [[ on "t" { foreign_key { "a", references = "other", name = "fk" }, %s } ]]
      assert.same({ "warning foreign-key-without-index fk" }, check(key:format ""))
      assert.same({ "warning foreign-key-without-index fk" }, check(key:format [[ index { "b", "a" } ]]))
      assert.same({ "warning foreign-key-without-index fk" }, check(key:format [[ index { "a", where = "n > 1" } ]]))
      assert.same({}, check(key:format [[ index { "a", "b" } ]]))
      assert.same({}, check(key:format [[ index { "a", where = "a IS NOT NULL" } ]]))
      server:psql(database, "CREATE INDEX t_live ON t (a)")
      assert.same({}, check(key:format ""))
      local two = [[ on "u" { foreign_key { "Name", "b", references = "w", name = "fk" },
        index { "b", "Name", where = %q } } ]]
      server:psql(database, [[CREATE TABLE w (x int, y int, PRIMARY KEY (x, y));
        CREATE TABLE u ("Name" int, b int, name int)]])
      assert.same({}, check(two:format [["Name" IS NOT NULL AND NOT (b IS NULL)]]))
      assert.same({ "warning foreign-key-without-index fk" }, check(two:format "name IS NOT NULL"))
      assert.same({ "warning foreign-key-without-index fk" }, check(two:format [["Name" IS NOT NULL OR b IS NOT NULL]]))
    end)

    it("foreign-key-without-index, of a partitioned table", function()
      server:psql(database, [[CREATE TABLE parts (a int, b int) PARTITION BY LIST (b);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1) PARTITION BY LIST (b);
        CREATE TABLE parts_1a PARTITION OF parts_1 FOR VALUES IN (1);
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
        CREATE INDEX on_1a ON parts_1a (a)]])
      local key = [[ on "parts" { foreign_key { "a", references = "other", name = "fk" } } ]]
      assert.same({ "warning foreign-key-without-index fk" }, check(key))
      assert.same({}, check(key .. [[ on "parts_2" { index { "a", name = "on_2" } } ]]))
      server:psql(database, "CREATE INDEX on_2 ON parts_2 (a)")
      assert.same({}, check(key))
    end)

    it("naming", function()
      local text = [[ on "t" { index { "a", name = "t_a" }, index { "b", name = "xt_b" }, index { "n" } } ]]
      assert.same({}, check(text))
      assert.same({ "warning naming xt_b" }, check(text .. [[ rule "naming" {} ]]))
      assert.same({ "warning naming t_a" },
        check(text .. [[ rule "naming" { options = { pattern = "^x{relation}_" } } ]]))
      assert.same({}, check(text .. [[ rule "naming" { options = { kinds = { "primary_key" } } } ]]))
      local kinds = [[ on "t" { index { "b", name = "xt_b" }, unique_constraint { "n", name = "t_unique_constraint" } }
        rule "naming" { options = { pattern = "^{relation}_{kind}$", kinds = { "unique_constraint" } } } ]]
      assert.same({}, check(kinds))
      assert.same({ "warning naming t_n" }, check((kinds:gsub('"t_unique_constraint"', '"t_n"'))))
      server:psql(database, [[CREATE TABLE "a.b" (a int); CREATE TABLE "q""t" (a int)]])
      assert.same({}, check([[ on 'public."a.b"' { index { "a", name = "a.b_a" } }
        on 'public."q""t"' { index { "a", name = 'q"t_a' } } rule "naming" {} ]]))
    end)

    it("too-many-indexes", function()
      local text = [[ on "t" { index { "a" }, index { "b" } } rule "too-many-indexes" { options = { most = %d } } ]]
      assert.same({ "warning too-many-indexes public.t" }, check(text:format(1)))
      assert.same({}, check(text:format(2)))
      server:psql(database, "CREATE INDEX live ON t (n)")
      assert.same({ "warning too-many-indexes public.t" }, check(text:format(2)))
    end)

    it("nullable-unique", function()
      assert.same({ "warning nullable-unique u" }, check [[ on "t" { index { "a", "n", unique = true, name = "u" } } ]])
      assert.same({ "warning nullable-unique u" }, check [[ on "t" { unique_constraint { "a", name = "u" } } ]])
      assert.same({}, check [[ on "t" { index { "n", unique = true }, index { "a" },
        index { "a", unique = true, where = "a IS NOT NULL" }, index { expr "lower(b)", unique = true },
        index { "b", unique = true, where = "b <> ''" }, index { "b", unique = true, where = "b LIKE '%@%' AND n > 1" },
        index { "b", unique = true, where = "NOT (b IS NULL)" }, index { "a", unique = true, where = "a > 7" } } ]])
      assert.same({ "warning nullable-unique u", "warning nullable-unique v", "warning nullable-unique w" },
        check [[ on "t" { index { "b", unique = true, where = "b <> '' OR n > 1", name = "u" },
        index { "b", unique = true, where = "n > 1 AND coalesce(b, 'AND b <> 7') <> ''", name = "v" },
        index { "b", unique = true, where = "b IS NULL", name = "w" } } ]])
      if pg.version >= 15 then
        assert.same({}, check [[ on "t" { index { "a", unique = true, nulls_distinct = false } } ]])
      end
      server:psql(database, "CREATE MATERIALIZED VIEW seen AS SELECT a, b FROM t")
      assert.same({}, check [[ on "seen" { index { "a", unique = true } } ]])
      server:psql(database, [[CREATE DOMAIN given AS text NOT NULL; CREATE DOMAIN named AS given CHECK (value <> '');
        CREATE DOMAIN short AS text CHECK (length(value) < 9); CREATE TABLE d (name named, code short, "Code" int)]])
      assert.same({ "warning nullable-unique u", "warning nullable-unique v" }, check [[ on "d" {
        index { "name", unique = true }, index { "code", unique = true, name = "u" },
        index { "code", unique = true, where = [=["Code" > 1]=], name = "v" } } ]])
    end)

    it("nullable-unique believes a check that is known to hold of all rows", function()
      server:psql(database, [[ALTER TABLE t ADD CHECK (a IS NOT NULL AND a > 0), ADD CHECK (b <> ''),
        ADD CONSTRAINT later CHECK (flag IS NOT NULL) NOT VALID;
        CREATE TABLE more (CHECK (b IS NOT NULL)) INHERITS (t)]])
      local text = [[ on "t" { index { "a", unique = true, name = "a" }, index { "b", unique = true, name = "b" },
          index { "flag", unique = true, name = "f" } }
        on "more" { index { "a", "b", unique = true, name = "ab" } } ]]
      assert.same({ "warning nullable-unique b", "warning nullable-unique f" }, check(text))
      server:psql(database, "ALTER TABLE t VALIDATE CONSTRAINT later")
      assert.same({ "warning nullable-unique b" }, check(text))
      local shown = run("check", [[ on "t" {} rule "r" { on = "relation", check = function(relation)
        local columns = relation.columns
        return "warn", ("%s %s %s"):format(columns.a.not_null, columns.b.not_null, columns.n.not_null) end } ]])
      assert.matches("true false true", shown.stdout, 1, true)
      if pg.version >= 18 then
        server:psql(database, "ALTER TABLE t ADD CONSTRAINT given NOT NULL b NOT VALID")
        assert.same({ "warning nullable-unique b" }, check(text))
        server:psql(database, "ALTER TABLE t VALIDATE CONSTRAINT given")
        assert.same({}, check(text))
      end
    end)

    it("know of which columns a predicate excludes the nulls", function()
      server:psql(database, [[CREATE TABLE nulls (a int, b text, f boolean, "B" text); INSERT INTO nulls
        SELECT a, b, f, c FROM (VALUES (NULL), (0), (5)) x (a), (VALUES (NULL), (''), ('a OR b')) y (b),
          (VALUES (NULL), (true), (false)) z (f), (VALUES (NULL), ('x')) w (c)]])
      local excluded = {
        ["a > 1"] = "a", ["a > 1 AND b <> ''"] = "a b", ["a > 1 OR b <> ''"] = "", ["a > 1 OR a = 0"] = "a",
        ["NOT (a IS NULL OR b IS NULL)"] = "a b", ["NOT (a IS NULL AND b IS NULL)"] = "", ["f"] = "f", ["NOT f"] = "f",
        ["f IS NOT FALSE"] = "", ["f IS FALSE"] = "f", ["NOT (f IS NOT TRUE)"] = "f", ["b IN ('', 'x')"] = "b",
        ["b NOT IN ('x')"] = "b", ["a = ANY ('{}')"] = "", ["a <> ALL ('{}')"] = "", ["a BETWEEN 0 AND 9"] = "a",
        ["coalesce(b, 'x') <> ''"] = "", ["lower(b) <> 'x'"] = "b", [ [["B" = 'x']] ] = "B", ["b = 'a OR b'"] = "b",
        ["a IS DISTINCT FROM 1"] = "", ["a + 1 > 0 AND (b || '') IS NULL"] = "a",
        ["CASE WHEN f THEN a > 1 ELSE true END"] = "",
        ["(b)::text COLLATE \"C\" LIKE '%' -- a"] = "b", ["NOT (a > 1 OR NOT f)"] = "a f",
      }
      -- Of a check, which holds where it is null.
      local checked = { ["a > 1 AND b IS NOT NULL"] = "b", ["f"] = "", ["NOT (a IS NULL OR b IS NULL)"] = "a b",
        ["a IS NOT NULL OR b IS NOT NULL"] = "", ["a IS NOT NULL AND f OR a IS NOT NULL AND b <> ''"] = "a",
        ["(f IS TRUE) OR NOT (f IS NULL)"] = "f", ["f IS NOT TRUE"] = "", ["(a > 1) IS NOT NULL"] = "a",
        ["NOT (f IS NOT TRUE AND b IS NULL)"] = "", ["coalesce(a, 1) IS NOT NULL"] = "" }
      for predicate, expected in pairs(checked) do
        local columns = core.excluded_nulls(predicate, true)
        table.sort(columns)
        assert.equal(expected, table.concat(columns, " "), predicate)
        for _, column in ipairs(columns) do
          local held = 'SELECT count(*) FROM nulls WHERE "%s" IS NULL AND (%s) IS NOT FALSE'
          assert.equal("0", server:value(database, held:format(column, predicate)), predicate)
        end
      end
      for predicate, expected in pairs(excluded) do
        local columns = core.excluded_nulls(predicate)
        table.sort(columns)
        assert.equal(expected, table.concat(columns, " "), predicate)
        for _, column in ipairs(columns) do
          assert.equal("0", server:value(database, ('SELECT count(*) FROM nulls WHERE "%s" IS NULL AND (%s\n)')
            :format(column, predicate)), predicate)
        end
      end
      assert.same({ true, true, false, false }, { select(2, core.excluded_nulls "a IS NOT NULL AND b IS NOT NULL"),
        (select(2, core.excluded_nulls "NOT (a IS NULL)")), (select(2, core.excluded_nulls "a > 1")),
        (select(2, core.excluded_nulls "a IS NOT NULL OR b IS NOT NULL")) })
      assert.equal("invalid_definition", select(2, core.excluded_nulls "a >").code)
    end)

    it("lone-boolean", function()
      assert.same({ "warning lone-boolean f" }, check [[ on "t" { index { "flag", name = "f" } } ]])
      server:psql(database, [[ALTER TABLE t ADD "is ""so" boolean]])
      local odd = run("check", [=[ on "t" { index { [[is "so]], name = "f" } } ]=])
      assert.matches([[predicate, where = "\"is \"\"so\""]], odd.stdout, 1, true)
      assert.same({}, check [[ on "t" { index { "flag", "a" }, index { "n", where = "flag" },
        index { "a" } } ]])
      server:psql(database, [[CREATE DOMAIN answer AS boolean; CREATE DOMAIN last_answer AS answer;
        CREATE DOMAIN word AS text; CREATE TABLE d (yes last_answer, word word)]])
      assert.same({ "warning lone-boolean f" }, check [[ on "d" { index { "yes", name = "f" }, index { "word" } } ]])
    end)

    it("unused-index and used-index-drop", function()
      server:psql(database, [[CREATE INDEX used ON t (a); CREATE INDEX idle ON t (b); CREATE UNIQUE INDEX u ON t (n);
        SET enable_seqscan = off; SELECT count(*) FROM t WHERE a = 1; SELECT pg_sleep(0)]])
      shell.eventually("the scan to be counted", function()
        return server:value(database, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'used'") ~= "0"
      end)
      local text = [[ on "t" { index { "a", name = "used" }, index { "b", name = "idle" },
        index { "n", unique = true, name = "u" } } ]]
      assert.same({ "warning unused-index idle" }, check(text .. [[ rule "unused-index" { options = { since = 0 } } ]]))
      assert.same({}, check(text)) -- the statistics are younger than a month
      local result = run("plan", [[ on "t" {} ]], "--drop-strays", "--json")
      assert.equal(6, result.status, tostring(result))
      assert.same({ "error used-index-drop used" }, said(result))
      assert.matches("it was used once in %d+ %l+s: declare it", result.stdout)
      assert.same({ 2, 1 }, { result:json().summary.drop, result:json().summary.blocked })
      result = run("plan", [[ on "t" {} rule "used-index-drop" { options = { scans = 1000 } } ]], "--drop-strays",
        "--json")
      assert.same({}, said(result))
      assert.equal(6, run("apply", [[ on "t" {} ]], "--drop-strays").status)
      assert.truthy(server:indexes(database)["public.used"])
      assert.is_nil(server:indexes(database)["public.idle"])
    end)

    it("unused-index leaves young indexes alone where the server keeps the time", function()
      local keeping = settled()
      keeping:create_database "young"
      keeping:psql("young", "CREATE TABLE t (a int, b int); CREATE INDEX t_a ON t (a)")
      local text = [[ on "t" { index { "a", name = "t_a" }, index { "b", name = "t_b" } }
        rule "age" { on = "index", check = function(index) return "warn", tostring(index.scans_since) end }
        rule "unused-index" { options = { since = 0 } } ]]
      local function ages()
        local found = {}
        for _, finding in ipairs(lunadex.run({ "check", lunadex.registry(text), "--target", keeping:url "young",
          "--json" }):json().findings) do
          if finding.rule == "age" then found[finding.name] = tonumber(finding.message) end
        end
        return found
      end
      shell.eventually("the index to be a second old", function() return ages().t_a >= 1 end)
      keeping:psql("young", "CREATE INDEX t_b ON t (b)")
      local found = ages()
      assert(found.t_b < found.t_a, ("%s, %s"):format(found.t_b, found.t_a))
    end)

    it("unused-index believes a recorded run that it made the index", function()
      local text = [[ on "t" { index { "a", name = "t_a" }, index { "b", name = "t_b" } } ]]
      server:psql(database, "CREATE INDEX t_b ON t (b)")
      local result = run("apply", text, "--record")
      assert.equal(0, result.status, tostring(result))
      local old = text .. [[ rule "unused-index" { options = { since = 0 } } ]]
      assert.same({ "warning unused-index t_a", "warning unused-index t_b" }, check(old))
      local ages = text .. [[ rule "age" { on = "index", check = function(index, context)
        return "warn", ("%s %s"):format(index.name, index.scans_since) end } ]]
      -- By clocks that differ an index may even be younger than now.
      server:psql(database, "UPDATE lunadex.change SET started = now() + interval '1 hour'")
      local shown = run("check", ages).stdout
      assert.matches("t_a nil\n", shown)
      assert.matches("t_b %d+\n", shown)
      assert.same({ "warning unused-index t_b" }, check(old))
      server:psql(database, "DROP SCHEMA lunadex CASCADE")
      assert.same({ "warning unused-index t_a", "warning unused-index t_b" }, check(old))
    end)

    it("unused-index and used-index-drop, of a partitioned table", function()
      server:psql(database, [[CREATE TABLE parts (a int, b int) PARTITION BY LIST (a);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1) PARTITION BY LIST (a);
        CREATE TABLE parts_1a PARTITION OF parts_1 FOR VALUES IN (1);
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
        CREATE INDEX used ON parts (a); CREATE INDEX idle ON parts (b);
        SET enable_seqscan = off; SELECT count(*) FROM parts WHERE a = 1]])
      shell.eventually("the scan to be counted", function()
        return server:value(database, "SELECT sum(idx_scan) > 0 FROM pg_stat_user_indexes WHERE relname = 'parts_1a'")
          == "t"
      end)
      assert.same({ "warning unused-index idle" }, check [[ on "parts" { index { "a", name = "used" },
        index { "b", name = "idle" } } rule "unused-index" { options = { since = 0 } } ]])
      local result = run("plan", [[ on "parts" {} ]], "--drop-strays", "--json")
      assert.equal(6, result.status, tostring(result))
      assert.same({ "error used-index-drop used" }, said(result))
      assert.matches("it was used once in", result.stdout, 1, true)
    end)

    it("build-window", function()
      server:psql(database, "INSERT INTO t SELECT n, n, true, n FROM generate_series(1, 2000) n")
      local hour = os.date("*t").hour
      local function at(from, to, more)
        return [[ on "t" { index { "a", name = "t_a" } } rule "build-window" { options = { larger_than = 1, ]]
          .. ('from = "%02d:00", to = "%02d:00" %s} }'):format((hour + from) % 24, (hour + to) % 24, more or "")
      end
      assert.same({ "info build-window t_a" }, check(at(3, 5)))
      assert.same({ "info build-window t_a" }, check(at(-9, -3)))
      assert.same({}, check(at(-2, 2)))
      assert.same({}, check((at(3, 5):gsub("larger_than = 1,", 'larger_than = "1GB",'))))
      assert.same({}, check(at(3, 3))) -- all day
      local days = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" }
      local today = os.date("*t").wday
      assert.same({ "info build-window t_a" }, check(at(-2, 2, (', days = { %q }'):format(days[(today + 2) % 7 + 1]))))
      local wrong = run("check", (at(3, 5):gsub("%d%d:00", "late", 1)))
      assert.equal(65, wrong.status, tostring(wrong))
      assert.matches('registry.lua:1: rule "build-window": option', wrong.stderr, 1, true)
      assert.matches('is "late"; expected a time of day', wrong.stderr, 1, true)
      local result = run("apply", at(3, 5))
      assert.equal(0, result.status, tostring(result))
      assert.is_nil(server:indexes(database)["public.t_a"])
    end)

    it("concurrent-build-bug is silent where the server has none", function()
      -- Of 14.0 to 14.3 there is no server here: a driver that says it is one has to do (01-unit/plan_spec.lua).
      assert.is_nil(run("plan", [[ on "t" { index { "a" } } ]]).stdout:find("concurrent-build-bug", 1, true))
    end)

    it("long-transaction", function()
      local text = [[ on "t" { index { "a" } } rule "long-transaction" { options = { longer_than = %d } } ]]
      assert.same({}, check(text:format(0)))
      local session = server:session(database, "nightly")
      session:run("BEGIN; SELECT 1")
      local result = run("check", text:format(0))
      assert.matches("warning long%-transaction: a transaction is open since %d+ s %(pid ", result.stdout)
      assert.matches("nightly", result.stdout, 1, true)
      assert.same({}, check(text:format(3600)))
      assert.same({}, check([[ on "t" {} rule "long-transaction" { options = { longer_than = 0 } } ]]))
      session:run("ROLLBACK")
      session:close()
    end)

    it("long-transaction sees what is prepared and forgotten", function()
      local keeping = settled()
      keeping:create_database "forgetful"
      keeping:psql("forgetful",
        "CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'order 7'")
      local result = lunadex.run { "plan", lunadex.registry [[ on "t" { index { "a" } }
        rule "long-transaction" { options = { longer_than = 0 } } ]], "--target", keeping:url "forgetful" }
      assert.matches("a transaction is open since %d+ s %(prepared, postgres, order 7%): builds wait", result.stdout)
      keeping:psql("forgetful", "ROLLBACK PREPARED 'order 7'")
    end)

    it("long-transaction says what it is not shown", function()
      server:psql(database, [[DROP ROLE IF EXISTS lunadex_poor; CREATE ROLE lunadex_poor LOGIN;
        ALTER TABLE t OWNER TO lunadex_poor; GRANT ALL ON SCHEMA public TO lunadex_poor]])
      local text = [[ on "t" { index { "a" } } rule "long-transaction" { options = { longer_than = 0 } } ]]
      local poor = url:gsub("//[^@]*@", "//lunadex_poor@")
      local hidden = "rules that ask for transactions do not see all: 1 of other roles is open, since when is hidden"
      local before = lunadex.run { "plan", lunadex.registry(text), "--target", poor }
      assert.is_nil(before.stdout:find("do not see", 1, true))
      local session = server:session(database)
      session:run("BEGIN; INSERT INTO archive VALUES (1)")
      local result = lunadex.run { "plan", lunadex.registry(text), "--target", poor }
      assert.equal(0, result.status, tostring(result))
      assert.matches(hidden, result.stdout, 1, true)
      session:run("ROLLBACK")
      session:close()
      server:psql(database, "DROP OWNED BY lunadex_poor; DROP ROLE lunadex_poor")
    end)

    it("disk-space", function()
      local unsaid = [[ on "t" { index { "a", name = "t_a" } } ]]
      local silent = "info rules: rules that ask for disk say nothing: PostgreSQL does not tell how much room"
      local result = run("check", unsaid)
      assert.equal(0, result.status, tostring(result))
      assert.matches(silent, result.stdout, 1, true)
      local states = {}
      for _, rule in ipairs(run("check", unsaid, "--json"):json().rules) do states[rule.name] = rule.state end
      assert.same({ "not judged", "asked" }, { states["disk-space"], states["long-transaction"] })
      assert.is_nil(run("plan", unsaid).stdout:find("disk", 1, true))
      assert.is_nil(run("check", [[ on "t" {} ]]).stdout:find("disk", 1, true))
      server:psql(database, "INSERT INTO t SELECT n, n, true, n FROM generate_series(1, 5000) n; ANALYZE t")
      local text = [[ on "t" { index { "a", name = "t_a" } }
        rule "disk-space" { options = { reserve = 0, free = %s } } ]]
      result = run("plan", text:format('"100kB"'), "--json")
      assert.equal(6, result.status, tostring(result))
      assert.equal(1, result:json().summary.blocked)
      assert.same({}, check(text:format('"10MB"')))
      server:psql(database, "CREATE INDEX t_stray ON t (b)") -- its drop frees room, if in vain
      local held = {}
      for _, change in ipairs(run("plan", text:format('"100kB"'), "--drop-strays", "--json"):json().changes) do
        held[change.action] = change.held and change.held.rule or "made"
      end
      assert.same({ create = "disk-space", drop = "disk-space" }, held)
      local two = text:gsub('on "t"', 'on "archive" {} %0')
      server:psql(database, "CREATE INDEX archive_stray ON archive (at)")
      held = {}
      for _, change in ipairs(run("plan", two:format('"100kB"'), "--drop-strays", "--json"):json().changes) do
        held[change.name or change.live_name] = change.held and change.held.verdict or "made"
      end
      assert.same({ t_a = "block", t_stray = "skip", archive_stray = "made" }, held)
      assert.same({}, check [[ on "t" { index { "a", name = "t_a" } } ]])
    end)

    it("unserved-query", function()
      local text = [[ on "t" { %s query { "SELECT b FROM t WHERE a = $1 AND b <> $2", %s } } ]]
      assert.same({ "warning unserved-query public.t" }, check(text:format("", "expect_index = true")))
      assert.same({}, check(text:format("", "expect_index = false")))
      assert.same({}, check(text:format([[ index { "a", name = "t_a" }, ]], "expect_index = true"))) -- not built yet
      server:psql(database, "CREATE INDEX t_a ON t (a)")
      assert.same({}, check(text:format([[ index { "a", name = "t_a" }, ]], "expect_index = true")))
      assert.same({}, check(text:format([[ index { "a", name = "t_a" }, ]], [[expect_index = "t_a"]])))
      assert.same({ "warning unserved-query public.t" }, check(text:format("", [[expect_index = "t_b"]])))
      local result = run("check", [[ on "t" { query { "SELECT nope FROM t; DROP TABLE t", expect_index = true },
        query { "SELECT nope FROM t", expect_index = true },
        query { "DELETE FROM t WHERE a = 1", expect_index = true } } ]])
      assert.matches("holds a semicolon", result.stdout, 1, true)
      assert.matches('column "nope" does not exist', result.stdout, 1, true)
      assert.equal("0", server:value(database, "SELECT count(*) FROM t"))
    end)

    it("unserved-query, whatever names and texts hold", function()
      server:psql(database, [[CREATE TABLE "odd name" (a int, "B" int); CREATE INDEX "MyIdx" ON "odd name" ("B");
        CREATE TABLE parts (a int, b int) PARTITION BY LIST (b); CREATE INDEX parts_a ON parts (a);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); CREATE INDEX t_b ON t (b)]])
      local text = [[ on "odd name" {
          query { 'SELECT 1 FROM "odd name" WHERE a = $1', expect_index = true },
          query { 'SELECT 1 FROM "odd name" WHERE "B" = $1', expect_index = "MyIdx" } }
        on "parts" { query { "SELECT 1 FROM parts WHERE a = $1", expect_index = "parts_a" } }
        on "parts_1" { query { "SELECT 1 FROM parts_1 WHERE a = $1", expect_index = "parts_1_a_idx" } }
        on "t" { query { "SELECT 1 FROM t WHERE b = 'a;b' AND b <> '$7'; ", expect_index = true },
          query { "SELECT 1 FROM t WHERE b = $2 AND a = $1 -- not $3;", expect_index = "t_b" },
          query { "SELECT 1 FROM t WHERE b = 'x' OR b = $1", expect_index = "t_b" } } ]]
      assert.same({ "warning unserved-query public.odd name" }, check(text))
      assert.matches("public.odd name: no index serves the query\n", run("check", text).stdout, 1, true)
    end)

    it("are silent on the registries that come with it", function()
      server:psql_file(database, "registry/shop/schema.sql")
      server:psql_file(database, "registry/shop/data.sql")
      local result = lunadex.run { "check", "registry/shop/shop.lua", "--target", url, "--json" }
      assert.equal(0, result.status, tostring(result))
      assert.same({}, said(result))
      assert.equal(0, lunadex.run({ "apply", "registry/shop/shop.lua", "--target", url }).status)
      result = lunadex.run { "check", "registry/shop/shop.lua", "--target", url, "--json" }
      assert.same({}, said(result))
      for registry, schema in pairs { ["dictionary"] = "dictionary/schema.sql", ["deploy"] = "deploy/migrate.sql",
        ["shipments"] = "shipments/schema.sql", ["market/orders.lua"] = "market/schema.sql" } do
        server:psql(database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        server:psql_file(database, "registry/" .. schema)
        assert.same({}, said(lunadex.run { "check", "registry/" .. registry, "--json", env = { DATABASE_URL = url },
          table.unpack(registry:find "market" and {} or { "--target", url }) }), registry)
      end
      for _, name in ipairs { "shop", "dictionary", "shipments", "models", "market", "deploy" } do
        result = lunadex.run { "check", "registry/" .. name, "--offline" }
        assert.equal(0, result.status, tostring(result))
        -- What the shop allows is told, as what it is.
        local unsaid = result.stdout:gsub("info [^\n]*; allowed: customers are never removed\n", "")
        assert.equal("Check: 0 errors, 0 warnings.\n", unsaid)
      end
    end)
  end)

  it("are asked without a database as far as they need none", function()
    local text = [[ on "t" { index { "a", name = "t_a" }, index { "a", "flag", name = "t_af" }, index { "flag" } }
      rule "bad" { on = "index", check = function(index) if index.name == "t_af" then return "block", "no" end end } ]]
    local path = lunadex.registry(text)
    local result = lunadex.run { "check", path }
    assert.equal(6, result.status, tostring(result))
    assert.matches("warning redundant-index: " .. path .. ":1: t t_a: t_af does its work", result.stdout, 1, true)
    assert.matches("error bad: " .. path .. ":1: t t_af: no", result.stdout, 1, true)
    assert.is_nil(result.stdout:find("lone-boolean", 1, true))
    local bare = lunadex.run { "check", "--offline", lunadex.registry [[ on "public.orders" { index { "status" },
      foreign_key { "customer_id", references = "public.customers" } } ]] }
    assert.matches("foreign-key-without-index", bare.stdout, 1, true)
    local spelt = lunadex.run { "check", "--offline", lunadex.registry [[ on "t" {
      index { "a", name = "one", where = "x>0 AND lower( B ) = 'X'" },
      index { "a", "b", name = "two", where = "(x  >  0) and LOWER(b) = 'X'" }, index { expr "X+1", name = "three" },
      index { expr "(x + 1)", "c", name = "four" },
      index { "a", name = "five", where = "x > 0 AND lower(b) = 'x'" } } ]] }
    assert.matches("t one: two does its work", spelt.stdout, 1, true)
    assert.matches("t three: four does its work", spelt.stdout, 1, true)
    assert.matches("Check: 0 errors, 2 warnings.", spelt.stdout, 1, true)
    result = lunadex.run { "check", path, "--rules" }
    for _, name in ipairs { "lone%-boolean", "nullable%-unique", "unserved%-query", "unused%-index", "long%-trans" } do
      assert.matches(name .. "%S* +needs a database", result.stdout)
    end
    local nowhere = lunadex.run { "check", "--rules", cwd = shell.directory "nowhere" }
    assert.equal(0, nowhere.status, tostring(nowhere))
    assert.matches("redundant%-index +asked", nowhere.stdout)
    assert.equal(65, lunadex.run({ "check", cwd = shell.directory "nowhere" }).status)
    assert.matches("naming +not asked for", result.stdout)
    assert.is_true(result.stdout:find("build-window", 1, true) < result.stdout:find("\nbad ", 1, true))
    assert.equal(65, lunadex.run({ "check", lunadex.registry [[ on "t" { indx {} } ]] }).status)
    -- Of two kinds of databases only one has it.
    result = lunadex.run { "check", "registry/market", "--offline", "--without", "lone-boolean", "--without",
      "unique-on-sharded" }
    assert.equal(0, result.status, tostring(result))
    assert.equal(5, lunadex.run({ "check", path, "--target", "postgresql://127.0.0.1:1/x" }).status)
    assert.equal(64, lunadex.run({ "check", path, "--target", url, "--offline" }).status)
    assert.equal(64, lunadex.run({ "check", path, "--target", "" }).status) -- of a variable that is not set
    assert.equal(64, lunadex.run({ "check", path, "--only", "t_a" }).status)
  end)

  it("are listed without asking anybody", function()
    local path = lunadex.registry [[
      database "near" { url = "postgresql://127.0.0.1:1/x", on "t" { index { "a", name = "t_a" } } }
      database "far" { on "t" { index { "b" } } }
      rule "bad" { on = "index", check = function() return "block", "no" end }
      rule "lone-boolean" { off = "we\tknow" } ]]
    local result = lunadex.run { "check", path, "--rules", "--without", "naming" }
    assert.equal(0, result.status, tostring(result))
    assert.matches("near: used%-index%-drop +asked ", result.stdout)
    assert.matches("far: used%-index%-drop +needs a database ", result.stdout)
    assert.matches("far: bad +asked", result.stdout)
    assert.matches("near: lone%-boolean +off: we know +an index", result.stdout)
    local listed = lunadex.run({ "check", path, "--rules", "--json" }):json().databases
    assert.same({ "near", "backfill-first", 0 }, { listed[1].database, listed[1].rules[1].name, #listed[1].findings })
    assert.equal(64, lunadex.run({ "check", path, "--rules", "--without", "nmaing" }).status)
  end)
end)
