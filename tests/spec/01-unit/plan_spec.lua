-- Policy alone: scripted facts in, a plan out. The facts themselves are the core's, on real servers in 04-postgres.
describe("plan", function()
  local planning, core, facts, catalog, measures, driver, warning

  local function relation(name)
    return { schema = "public", space = "public", name = name, display = "public." .. name, kind = "table",
      rows = 10, bytes = 8192,
      indexes = function() return {} end, partitions = function() return {} end }
  end

  local orders = relation "orders"

  local function live(name, more)
    local result = { name = name, relation = orders, kind = "index", text = "btree (" .. name .. ")", valid = true,
      live = true, bytes = 100, constraint = false, inherited = false, extension_owned = false,
      replica_identity = false, clustered = false }
    for key, value in pairs(more or {}) do result[key] = value end
    return result
  end

  local function fact(action, ordinal, more)
    local result = { action = action, ordinal = ordinal, relation = orders, reason = "", name_differs = false,
      satisfied_by_key = false, duplicate = false, use_existing = false }
    for key, value in pairs(more or {}) do result[key] = value end
    return result
  end

  local function entry(name, more)
    local result = { fields = { kind = "index", relation = "orders", schema = "public", name = name,
      keys = { { column = "a" } } }, relation = "public.orders", name = name, critical = false, file = "r.lua",
      line = 3 }
    for key, value in pairs(more or {}) do result[key] = value end
    return result
  end

  local function make(entries, options)
    local set = {
      fields = function(_, i)
        local copy = {}
        for name, value in pairs(entries[i].fields) do copy[name] = value end
        return copy
      end,
      text = function(_, i)
        local fields = entries[i].fields
        return ("btree (%s) %s"):format(fields.keys[1].column, fields.where or "")
      end,
      copy = function(self) return self end,
      overlaps = function() return {} end,
      select = function() return {} end,
    }
    return planning.make({ name = "default", set = set, entries = entries, allowing = {} }, {
      connect = function()
        return { driver = driver, display = "postgresql://db/shop", warning = warning, read_only = false }
      end,
      prefetch = function() end,
      catalog = function() return catalog end,
      resolve = function() return true end,
      ask = function(_, command)
        local answers = { getParameter = { { maxNumActiveUserIndexBuilds = 1 } }, dbStats = { {} } }
        return answers[command] or {}
      end,
      measure = function(_, items)
        local result = {}
        for i in ipairs(items) do
          result[i] = measures[i] or { rows = 1000, table_bytes = 80000, index_bytes = 4000, entries = -1, scans = 0,
            scans_since = -1, being_built = false, builder = "" }
        end
        return result
      end,
    }, options)
  end

  -- The modules that hold the core, so that they take the scripted one, and the real one afterwards.
  local function forget()
    for name in pairs(package.loaded) do
      if name == "lunadex.core" or name:find "^lunadex%.plan" or name:find "^lunadex%.dialect"
        or name:find "^lunadex%.postgres%." or name:find "^lunadex%.mongodb%." then
        package.loaded[name] = nil
      end
    end
  end

  before_each(function()
    facts, measures, driver, warning = {}, {}, "postgres", ""
    catalog = { names = {}, tables = {} }
    function catalog.relations() return function() end end
    function catalog:index(schema, name) return self.names[schema .. "." .. name] end
    function catalog:relation(schema, name) return self.tables[schema .. "." .. name] end
    function catalog.ending() return {} end
    core = setmetatable({
      index_views = function() return function(ordinal) return { ordinal = ordinal, kind = "index" } end end,
      quote_name = function(schema, name) return schema .. "." .. name end,
      diff = function()
        return {
          declared = #facts, live = #facts,
          total = function(_, action)
            local n = 0
            for _, each in ipairs(facts) do n = n + (each.action == action and 1 or 0) end
            return n
          end,
          runs = function()
            local i = 0
            return function()
              i = i + 1
              if facts[i] and facts[i].ordinal then return facts[i].ordinal, facts[i].ordinal, facts[i].relation end
            end
          end,
          changes = function(_, quiet)
            local i = 0
            return function()
              repeat i = i + 1 until not (quiet and facts[i] and facts[i].action == "keep" and not facts[i].name_differs
                and not facts[i].satisfied_by_key)
              return facts[i]
            end
          end,
        }
      end,
    }, { __index = require "lunadex.core" })
    forget()
    package.loaded["lunadex.core"] = core
    planning = require "lunadex.plan"
  end)
  after_each(forget)

  local function actions(plan, options)
    local result = {}
    for change in plan:changes(options) do result[#result + 1] = change.action .. " " .. (change.name or "?") end
    return result
  end

  local function rules(plan)
    local result = {}
    for _, finding in ipairs(plan.findings) do result[#result + 1] = finding.level .. " " .. finding.rule end
    return result
  end

  it("keeps what is there and says nothing about it", function()
    facts = { fact("keep", 1, { live = live "a_idx" }), fact("create", 2) }
    local plan = make { entry "a_idx", entry("b_idx", { critical = true, description = "why" }) }
    assert.same({ "create b_idx" }, actions(plan))
    assert.same({ "keep a_idx", "create b_idx" }, actions(plan, { keeps = true }))
    assert.same({ 2, 1, 1 }, { plan.summary.declared, plan.summary.keep, plan.summary.create })
    local change = plan:changes()()
    assert.is_true(change.critical)
    assert.equal("why", change.description)
    assert.equal(1000, change.estimate.rows)
    assert.is_true(plan:has_changes())
  end)

  it("says once that a name differs, or renames when asked", function()
    facts = { fact("keep", 1, { live = live "ABCD", name_differs = true }) }
    local plan = make { entry "HIST1" }
    assert.same({ "keep HIST1" }, actions(plan))
    assert.same({ "info name-differs" }, rules(plan))
    assert.is_false(plan:has_changes())
    plan = make({ entry "HIST1" }, { rename = true })
    assert.same({ "rename HIST1" }, actions(plan))
    assert.same({ 0, 1 }, { plan.summary.keep, plan.summary.rename })
    catalog.names["public.HIST1"] = live("HIST1", { relation = relation "other" })
    plan = make({ entry "HIST1" }, { rename = true })
    assert.same({ "error name-taken" }, rules(plan))
  end)

  it("drops a stray only when asked and only what may go", function()
    facts = { fact("stray", nil, { live = live "s" }) }
    local plan = make {}
    assert.same({}, actions(plan))
    assert.same({ "info stray" }, rules(plan))
    assert.equal(1, plan.summary.stray)
    assert.same({ "drop s" }, actions(make({}, { drop_strays = true })))
    for _, field in ipairs { "replica_identity", "clustered", "constraint", "extension_owned", "inherited" } do
      facts = { fact("stray", nil, { live = live("s", { [field] = true }) }) }
      plan = make({}, { drop_strays = true })
      assert.same({}, actions(plan), field)
      assert.equal(1, plan.summary.stray, field)
    end
    facts = { fact("stray", nil, { live = live("s", { valid = false }) }) }
    measures = { { rows = 1, table_bytes = 1, index_bytes = 1, entries = -1, scans = 0, scans_since = 1,
      being_built = true, builder = "pid 7" } }
    assert.same({}, actions(make({}, { drop_strays = true })))
  end)

  it("waits for what somebody is building", function()
    facts = { fact("rebuild", 1, { live = live("a_idx", { valid = false }), reason = "invalid" }) }
    assert.same({ "rebuild a_idx" }, actions(make { entry "a_idx" }))
    measures = { { rows = 1, table_bytes = 1, index_bytes = 1, entries = -1, scans = 0, scans_since = 1,
      being_built = true, builder = "pid 4711" } }
    local plan = make { entry "a_idx" }
    assert.same({ "wait a_idx" }, actions(plan))
    assert.equal("being built by pid 4711", plan:changes()().reason)
  end)

  it("names the unnamed as the server would, uniquely", function()
    facts = { fact("create", 1), fact("create", 2), fact("create", 3) }
    catalog.names["public.orders_a_idx"] = live "orders_a_idx"
    assert.same({ "create orders_a_idx2", "create orders_a_idx1", "create orders_a_idx3" },
      actions(make { entry(nil), entry "orders_a_idx1", entry(nil) }))
  end)

  it("refuses a name that something else has", function()
    facts = { fact("create", 1) }
    catalog.names["public.a_idx"] = live("a_idx", { relation = relation "other" })
    local plan = make { entry "a_idx" }
    assert.same({}, actions(plan))
    assert.same({ "error name-taken" }, rules(plan))
    assert.equal(1, plan.summary.error)
    assert.matches("public.other", tostring(plan:refusal()), 1, true)
    catalog.names, catalog.tables = {}, { ["public.a_idx"] = relation "a_idx" }
    assert.same({ "error name-taken" }, rules(make { entry "a_idx" }))
  end)

  it("builds nothing concurrently on a server that is known to corrupt it", function()
    warning = "PostgreSQL 14.2 can corrupt an index that is built concurrently"
    facts = { fact("create", 1) }
    local plan = make { entry "x" }
    assert.same({ 0, 1, true }, { plan.summary.create, plan.summary.blocked, plan.blocked })
    assert.same({ "block", "concurrent-build-bug" }, { plan.planned[1].held.verdict, plan.planned[1].held.rule })
    assert.matches("blocking", plan.planned[1].held.message)
    assert.is_nil(plan:work()())
    assert.equal(1, make({ entry "x" }, { mode = "blocking" }).summary.create)
    assert.equal(1, make({ entry "x" }, { without = { "concurrent-build-bug" } }).summary.create)
    warning = ""
    assert.equal(1, make({ entry "x" }).summary.create)
  end)

  it("tells errors of declarations apart", function()
    local function wrong(code, message, has_relation, native)
      local each = fact("error", 1, { error = { code = code, message = message, hint = "", native = native or "" } })
      if not has_relation then each.relation = nil end
      facts = { each }
      local plan = make { entry "a_idx" }
      assert.is_truthy(plan:refusal())
      assert.equal("r.lua", plan.findings[1].file)
      return rules(plan)[1]
    end
    assert.equal("error missing-relation", wrong("undefined", "there is no relation public.orders"))
    assert.equal("error unknown-column", wrong("undefined", 'Spalte »x« existiert nicht', true, "42703"))
    assert.equal("error undefined", wrong("undefined", "column ist keine Funktion", true, "42883"))
    assert.equal("error invalid-definition", wrong("invalid_definition", "…", true))
  end)

  it("finishes an interrupted replacement", function()
    local other = relation "other"
    other.indexes = function() return { live "b_idx" } end
    facts = { fact("keep", 1, { live = live "a_idx_ldx_new", name_differs = true }),
      fact("stray", nil, { live = live("b_idx_ldx_old", { relation = other }) }) }
    local plan = make { entry "a_idx" }
    assert.same({ "replace a_idx", "drop b_idx_ldx_old" }, actions(plan))
    assert.equal("new", plan:changes()().resume)
    assert.equal(0, plan.summary.keep)
  end)

  it("can be narrowed to an index or a relation without making strays of the rest", function()
    facts = { fact("keep", 1, { live = live "a_idx" }), fact("create", 2), fact("stray", nil, { live = live "s" }) }
    local entries = { entry "a_idx", entry "b_idx" }
    local plan = make(entries, { only = { "b_idx" }, drop_strays = true })
    assert.same({ "create b_idx" }, actions(plan, { keeps = true }))
    assert.equal(1, plan.summary.declared)
    plan = make(entries, { only = { "public.orders" } })
    assert.equal(2, plan.summary.declared)
    local none, err = make(entries, { only = { "nope" } })
    assert.is_nil(none)
    assert.equal("usage", err.code)
  end)

  describe("on MongoDB", function()
    local users

    before_each(function()
      driver = "mongodb"
      users = { space = "users", name = "users", display = "users", kind = "collection", rows = 10, bytes = 100 }
      function users.indexes() return catalog.all or {} end
      function users.partitions() return {} end
    end)

    -- A live index of users; `with`: its options.
    local function index(name, more)
      local result = live(name, { relation = users })
      function result.fields() return { keys = { { column = "a" } }, with = more and more.with } end
      function result.matches() return more and more.same or false end
      for key, value in pairs(more or {}) do result[key] = value end
      catalog.names["users." .. name] = result
      catalog.all = catalog.all or {}
      table.insert(catalog.all, result)
      return result
    end

    local function about(action, ordinal, more)
      local result = fact(action, ordinal, more)
      result.relation = users
      return result
    end

    local function declare(name, where)
      return entry(name, { relation = "users", fields = { kind = "index", relation = "users", method = "", name = name,
        keys = { { column = "a" } }, where = where } })
    end

    it("names the unnamed as drivers do, within their collection", function()
      facts = { about("create", 1), about("create", 2) }
      index "a_1"
      catalog.tables["nil.a_1_2"] = relation "a_1_2"
      assert.same({ "create a_1_2", "create a_1_3" }, actions(make { declare(nil), declare(nil, '{"b": 1}') }))
    end)

    it("says that a name differs, and that it cannot be changed", function()
      facts = { about("keep", 1, { live = index "other", name_differs = true }) }
      local plan = make({ declare "n" }, { rename = true })
      assert.same({}, (function()
        local list = {}
        for change in plan:changes() do if change.action ~= "keep" then list[#list + 1] = change.action end end
        return list
      end)())
      assert.same({ "info no-counterpart", "info name-differs" }, rules(plan))
      assert.is_nil(plan.findings[2].hint)
    end)

    it("replaces under another name, finishes what was interrupted, and is content then", function()
      facts = { about("replace", 1, { live = index "n" }) }
      local plan = make { declare "n" }
      assert.same({ "replace n" }, actions(plan))
      assert.same({ "warning other-name" }, rules(plan))
      -- Built, but the old one is still there.
      facts = { about("keep", 1, { live = index("n_ldx", { same = true }), name_differs = true }),
        about("stray", nil, { live = catalog.names["users.n"] }) }
      plan = make { declare "n" }
      assert.same({ "replace n" }, actions(plan))
      assert.equal("new", plan:changes()().resume)
      assert.same({}, rules(plan))
      -- The old one is gone.
      catalog.names, catalog.all = {}, nil
      facts = { about("keep", 1, { live = index("n_ldx", { same = true }), name_differs = true }) }
      plan = make { declare "n" }
      assert.is_false(plan:has_changes())
      assert.same({ "info name-differs" }, rules(plan))
    end)

    it("finds what it replaced the last time, and drops no other stray unasked", function()
      facts = { about("create", 1), about("stray", nil, { live = index "n_ldx" }),
        about("stray", nil, { live = index "m_ldx" }), about("stray", nil, { live = index "m" }) }
      local plan = make { declare "n" }
      assert.same({ "replace n" }, actions(plan))
      local change = plan:changes()()
      assert.same({ "n", "n_ldx", "n_ldx" }, { change.name, change.live_name, change.fact.live.name })
      assert.same({ "info stray", "info stray" }, rules(plan))
      assert.same({ 0, 1, 2 }, { plan.summary.create, plan.summary.replace, plan.summary.stray })
      -- Left by such a replacement that was interrupted.
      catalog.names, catalog.all = {}, nil
      facts = { about("keep", 1, { live = index("n", { same = true }) }),
        about("stray", nil, { live = index "n_ldx" }) }
      assert.same({ "drop n_ldx" }, actions(make { declare "n" }))
    end)

    it("refuses a gap unless it is allowed", function()
      facts = { about("replace", 1, { live = index("n", { same = true }) }) }
      local plan = make { declare "n" }
      assert.same({}, actions(plan))
      assert.same({ "error gap" }, rules(plan))
      assert.same({ true, false }, { plan.has_errors, plan.is_wrong })
      assert.equal("refused", plan:refusal().code)
      plan = make({ declare "n" }, { allow_gap = true })
      assert.same({ "replace n" }, actions(plan))
      assert.same({ "warning gap" }, rules(plan))
      assert.is_nil(plan:refusal())
    end)

    it("hides strays before it drops them, when asked", function()
      local function plan(options, with)
        catalog.names, catalog.all = {}, nil
        facts = { about("stray", nil, { live = index("s", { with = with }) }) }
        return make({}, options)
      end
      local hidden = { { "hidden", "true" } }
      assert.same({}, actions(plan {}))
      assert.same({ "alter s" }, actions(plan { hide_first = true }))
      assert.is_true(plan { hide_first = true }:changes()().hide)
      assert.same({}, actions(plan({ hide_first = true }, hidden)))
      assert.same({ "alter s" }, actions(plan { hide_first = true, drop_strays = true }))
      assert.same({ "drop s" }, actions(plan({ hide_first = true, drop_strays = true }, hidden)))
      assert.same({ "drop s" }, actions(plan { drop_strays = true }))
      driver = "postgres"
      facts = { fact("stray", nil, { live = live "s" }) }
      local made = make({}, { hide_first = true })
      assert.same({}, actions(made))
      assert.same({ "info no-counterpart", "info stray" }, rules(made))
    end)

    it("knows how many builds the server runs at a time", function()
      facts = { about("create", 1), about("create", 2) }
      local plan = make { declare "x", declare("y", '{"b": 1}') }
      assert.equal(1, plan.dialect_state.builds_at_once)
      assert.equal("the server builds 1 at a time", plan.planned[2].waits)
    end)

    it("waits for whatever is not finished", function()
      facts = { about("rebuild", 1, { live = index("n", { valid = false, same = true }), reason = "invalid" }) }
      measures = { { rows = 1, table_bytes = 1, index_bytes = 1, entries = -1, scans = 0, scans_since = 1,
        being_built = true, builder = "mongosh" } }
      assert.same({ "wait n" }, actions(make { declare "n" }))
    end)
  end)

  it("is made of a registry that was read for the same kind of database", function()
    local plan, err = planning.make({ name = "default", driver = "mongodb", set = {}, entries = {}, allowing = {} }, {
      connect = function() return { driver = "postgres", display = "postgresql://db/shop", warning = "" } end })
    assert.is_nil(plan)
    assert.equal("usage", err.code)
    assert.matches("read as one of MongoDB, but postgresql://db/shop is a database of PostgreSQL", err.message, 1, true)
  end)
end)
