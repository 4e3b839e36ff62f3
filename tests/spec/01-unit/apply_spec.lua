-- What keeps a plan from being applied, or its run from going on, whatever the database says.
local applying = require "lunadex.apply"
local Plan = require("lunadex.plan").Plan
local dialects = require "lunadex.dialect"
local task = require "lunadex.task"

describe("applying", function()
  local function plan(more)
    local result = { info = { warning = "", read_only = false }, refusal = function() end,
      has_changes = function() return true end, connection = { lock = function() error "asked for the lock" end,
      locked = function() error "asked the connection" end } }
    for key, value in pairs(more) do result[key] = value end
    return setmetatable(result, Plan)
  end

  local function drop(name, of)
    local relation = { schema = "public", name = of or "t", display = "public." .. (of or "t"), kind = "table" }
    return { action = "drop", relation = relation.display, on = relation, name = name, live_name = name,
      definition = name, estimate = {},
      fact = { live = { name = name, relation = relation, fields = function() return {} end } } }
  end

  -- A plan of these changes, on a connection that does what it is told and keeps a list of it.
  local function planned(changes)
    local done = {}
    local connection = { jobs = 2, done = done, cancel = function() done[#done + 1] = "cancel" end }
    function connection.perform(_, step)
      done[#done + 1] = step.kind .. " " .. step.name
      task.sleep(0.001)
      return true, { attempts = 1 }
    end
    function connection.listen() end
    function connection.unlock() done[#done + 1] = "unlock" end
    function connection.locked() return true end
    return plan { connection = connection, dialect = dialects.of "postgres", target = "db", database = "db",
      summary = { keep = 0 }, entries = {}, catalog = {},
      info = { warning = "", read_only = false, version_number = 150000 }, planned = changes }
  end

  it("tells of changes that wait for each other: that is no success", function()
    local a, b, c = drop "a", drop "b", drop("c", "u")
    a.after, b.after = b, a
    local plan_of = planned { a, b, c }
    local outcome = applying.run(plan_of, { locked = true })
    assert.same({ "drop c", "unlock" }, plan_of.connection.done)
    assert.same({ 1, 2, 0 }, { outcome.summary.dropped, outcome.summary.failed, outcome.summary.cancelled })
    assert.equal("internal", outcome.halted.code)
    assert.matches("public.t a (after b: that has its name), public.t b (after a", outcome.halted.message, 1, true)
  end)

  it("does not try to give a name that was not freed", function()
    local a, b = drop "a", drop "b"
    b.after = a
    local plan_of = planned { a, b }
    function plan_of.connection.perform() return nil, { code = "lock_timeout", message = "no lock" } end
    local outcome = applying.run(plan_of, { locked = true })
    assert.equal(2, outcome.summary.failed)
    assert.equal("the name b was not freed: a still has it", outcome.failures[2].error.message)
  end)

  it("begins nothing where the lock was lost while the others were looked at", function()
    local one, two = planned { drop "a" }, planned { drop "b" }
    function two.connection.locked()
      one.connection.lock_lost = { code = "link_lost", message = "the run lock was lost" }
      return true
    end
    local outcomes = applying.together({ one, two }, { locked = true })
    assert.same({ "cancel", "unlock" }, one.connection.done)
    assert.same({ "drop b", "unlock" }, two.connection.done)
    assert.equal("link_lost", outcomes[1].halted.code)
    assert.same({ 1, 0 }, { outcomes[1].summary.cancelled, outcomes[1].summary.dropped })
    assert.is_nil(outcomes[2].halted)
  end)

  it("raises the first mistake of a listener when all has ended and the locks are given back", function()
    for _, name in ipairs { "run_started", "build_started", "queued", "build_finished", "run_finished" } do
      local one, two = planned { drop "a", drop "b", drop "c" }, planned { drop "d" }
      local heard = 0
      assert.error_matches(function()
        applying.together({ one, two }, { locked = true, jobs = 2, on_event = function(event)
          if heard > 0 then heard = heard + 1 end
          if event.event == name then
            heard = heard + 1
            error("my own mistake at " .. name)
          end
        end })
      end, "my own mistake at " .. name)
      assert.equal(1, heard, name)
      for _, each in ipairs { one, two } do
        local done = table.concat(each.connection.done, ", ")
        assert.is_truthy(done:find "unlock", name .. ": " .. done)
        assert.is_nil(done:find "unlock.*drop", name .. ": " .. done)
        if name == "run_started" then assert.is_nil(done:find "drop", done) end
      end
    end
  end)
end)
