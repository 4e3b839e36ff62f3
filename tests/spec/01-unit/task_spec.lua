-- Against a scripted core: what matters here is who wakes when.
local run_limited = require("lunadex.core").run_limited

describe("tasks", function()
  local task, core, source

  before_each(function()
    core = { clock = 0, now = function() return core.clock end, signal = function() return nil end }
    function core.wait(_, timeout)
      if timeout == nil then error("would wait for ever", 0) end
      core.clock = core.clock + timeout
    end
    package.loaded["lunadex.core"] = core
    package.loaded["lunadex.task"] = nil
    task = require "lunadex.task"
    source = { events = {}, cancelled = 0 }
    function source:poll(timeout)
      local event = table.remove(self.events, 1)
      if not event then
        if timeout == nil then error("would wait for ever", 0) end
        core.clock = core.clock + timeout
      end
      return event
    end
    function source:cancel() self.cancelled = self.cancelled + 1 end
  end)
  after_each(function()
    package.loaded["lunadex.core"], package.loaded["lunadex.task"] = nil, nil
  end)

  local function done(job, result)
    return { event = "done", job = job, ok = true, result = result }
  end

  it("give each its own result, in whatever order they come", function()
    source.events = { done(2, "b"), done(1, "a") }
    local a, b = task.run(function()
      local first = task.spawn(function() return task.ticket(source, 1):await().result end)
      local second = task.spawn(function() return task.ticket(source, 2):await().result end)
      return first:join(), second:join()
    end)
    assert.equal("a", a)
    assert.equal("b", b)
  end)

  it("keep a result that nobody waits for yet", function()
    source.events = { done(1, "early"), done(2, "late") }
    assert.same({ "late", "early" }, { task.run(function()
      local early = task.ticket(source, 1)
      local late = task.ticket(source, 2):await().result
      return late, early:await().result
    end) })
  end)

  it("ignore events of jobs they do not know", function()
    source.events = { done(99, "stranger"), { event = "progress", job = 98 }, done(1, "mine") }
    assert.equal("mine", task.run(function() return task.ticket(source, 1):await().result end))
  end)

  it("hear progress, and turn the loop where there is no task", function()
    local heard = {}
    source.events = { { event = "progress", job = 1, done = 5 }, done(1, "end") }
    assert.equal("end", task.ticket(source, 1, function(event) heard[#heard + 1] = event.done end):await().result)
    assert.same({ 5 }, heard)
  end)

  it("may await inside a coroutine of their own", function()
    source.events = { done(1, "inner") }
    assert.equal("inner", task.run(function()
      return coroutine.wrap(function() return task.ticket(source, 1):await().result end)()
    end))
  end)

  it("wait in a function that C calls, while others go on", function()
    local order = {}
    local function note(what) order[#order + 1] = what end
    source.events = { done(1, "one"), done(2, "two") }
    assert.equal("one slept inner", task.run(function()
      local other = task.spawn(function()
        note "other begins"
        task.sleep(1)
        note "other ends"
        return "inner"
      end)
      local text = ("a b c"):gsub("%a", function(letter)
        if letter == "a" then return task.ticket(source, 1):await().result end
        if letter == "c" then return other:join() end
        task.sleep(0.5)
        note "slept"
        return "slept"
      end)
      note "end"
      return text
    end))
    assert.same({ "other begins", "slept", "other ends", "end" }, order)
  end)

  it("that are cancelled in a function that C calls end what they wait for", function()
    local sleeping, waiting
    assert.equal("cancelled", task.run(function()
      local inner = task.spawn(function()
        task.sleep(100)
        return nil, { code = "cancelled" }
      end)
      sleeping = task.spawn(function() return (("a"):gsub("a", function() task.sleep(100) end)) end)
      waiting = task.spawn(function() return (("a"):gsub("a", function() return select(2, inner:join()).code end)) end)
      task.sleep(1)
      -- The one that turned the loop first goes on last.
      waiting:cancel()
      sleeping:cancel()
      return waiting:join()
    end))
    assert.equal("a", sleeping:join())
    assert.is_true(core.clock < 10)
  end)

  it("cannot wait where something forbids it", function()
    task.refusal = "not here"
    assert.error(function() task.run(function() end) end, "not here")
    task.refusal = nil
  end)

  it("sleep, and wait for announcements", function()
    source.events = { done(1) }
    local order = {}
    task.run(function()
      local point = task.point()
      local waiting = task.spawn(function()
        point:wait()
        order[#order + 1] = "woken"
      end)
      task.ticket(source, 1):await()
      task.sleep(2)
      order[#order + 1] = "slept"
      point:announce()
      waiting:join()
    end)
    assert.same({ "slept", "woken" }, order)
    assert.is_true(core.clock >= 2)
  end)

  it("raise what went wrong, where it is joined or at the end", function()
    assert.equal("mine", task.run(function()
      task.spawn(function() error("lost") end)
      task.sleep(0)
      return "mine"
    end))
    assert.equal("other", task.run(function() return "other" end))
    local told, text = pcall(task.check)
    assert.is_false(told)
    assert.matches("task_spec.lua:%d+: lost$", text) -- without the way there
    task.check()
    local ok, message = task.run(function()
      local bad = task.spawn(function() error({ code = "x" }) end)
      return pcall(bad.join, bad)
    end)
    assert.is_false(ok)
    assert.equal("x", message.code)
  end)

  it("of which another fails meanwhile give what they have, and it can still be joined", function()
    source.events = { done(1, "applied") }
    local bad = task.spawn(function() error({ code = "x" }) end)
    assert.equal("applied", task.run(function() return task.ticket(source, 1):await().result end))
    local ok, message = pcall(bad.join, bad)
    assert.same({ false, "x" }, { ok, message.code })
    task.check()
  end)

  it("end with who started them, unless they are joined", function()
    local ran = false
    task.run(function() task.spawn(function() ran = true end) end)
    assert.is_false(ran)
    task.run(function() task.sleep(0) end) -- but not for ever, where the loop goes on
    assert.is_true(ran)
  end)

  it("that would wait for each other are told so, where they would begin to", function()
    local itself, one, other
    itself = task.spawn(function() return pcall(itself.join, itself) end)
    assert.same({ false, "a task cannot wait for its own end" }, { itself:join() })
    one = task.spawn(function() return other:join() end)
    other = task.spawn(function() return pcall(one.join, one) end)
    assert.same({ false, "these tasks would wait for each other's end" }, { one:join() })
  end)

  it("may wait for each other in a long chain, of which no task walks the rest", function()
    local ok, last = run_limited(function()
      return task.run(function()
        local before
        for i = 1, 2000 do
          local first = before
          before = task.spawn(function()
            if first then first:join() else task.sleep(0) end
            return i
          end)
        end
        return before:join()
      end)
    end, { instructions = 5 * 1000 * 1000, memory = 100 * 1000 * 1000 })
    assert.same({ true, 2000 }, { ok, last })
  end)

  it("cannot yield, and say where they tried", function()
    local bad = task.spawn(function() coroutine.yield(1) end)
    local ok, message = pcall(bad.join, bad)
    assert.is_false(ok)
    assert.matches("task_spec.lua:%d+: a task cannot yield", message)
  end)

  it("that are cancelled leave alone what others wait for, too", function()
    function source:cancel(job)
      self.cancelled = self.cancelled + 1
      table.insert(self.events, { event = "done", job = job, ok = false, error = { code = "cancelled" } })
    end
    task.run(function()
      local work = task.spawn(function() return task.ticket(source, 1):await().result end)
      local patient = task.spawn(function() return work:join() end)
      local hasty = task.spawn(function() return work:join() end)
      task.sleep(0)
      hasty:cancel()
      local result, err = hasty:join()
      assert.same({ nil, "cancelled", 0 }, { result, err.code, source.cancelled })
      table.insert(source.events, done(1, "done"))
      assert.equal("done", patient:join())
      local alone = task.spawn(function() return task.ticket(source, 2):await().ok end)
      local waiter = task.spawn(function() return alone:join() end)
      task.sleep(0)
      waiter:cancel()
      assert.is_false(waiter:join())
      assert.equal(1, source.cancelled)
    end)
  end)

  it("that wait for an announcement go on when they are cancelled", function()
    task.run(function()
      local point = task.point()
      local waiting = task.spawn(function()
        point:wait()
        return task.ending()
      end)
      task.sleep(0)
      waiting:cancel()
      assert.is_true(waiting:join())
    end)
  end)

  it("are not disturbed by who sleeps beside them, however many turns that takes", function()
    local turns, most = 0, 0
    function source.poll()
      turns = turns + 1
      core.clock = core.clock + 0.1
      return turns % 2 == 1 and { event = "progress", job = 1 } or nil
    end
    task.ticket(source, 1)
    local ipairs_of = ipairs
    -- The loop walks through its timers in each turn.
    _G.ipairs = function(list) -- luacheck: ignore 122
      most = math.max(most, #list)
      return ipairs_of(list)
    end
    task.sleep(50)
    _G.ipairs = ipairs_of -- luacheck: ignore 122
    assert.is_true(turns > 100)
    assert.is_true(most < 10, most)
  end)

  it("raise what a listener raises, but to who waits for that job, at its end", function()
    local heard = 0
    source.events = { { event = "progress", job = 1 }, { event = "progress", job = 1 }, done(2, "other"), done(1) }
    task.run(function()
      local listening = task.ticket(source, 1, function()
        heard = heard + 1
        error("heard", 0)
      end)
      assert.equal("other", task.ticket(source, 2):await().result)
      assert.same({ false, "heard" }, { pcall(listening.await, listening) })
      assert.equal(1, heard)
    end)
  end)

  it("cancel everything once on a signal, and say which", function()
    local signals = 0
    core.signal = function()
      signals = signals + 1
      return signals > 1 and 15 or nil
    end
    source.events = { { event = "done", job = 1, ok = false, error = { code = "cancelled" } } }
    local event = task.run(function() return task.ticket(source, 1):await() end)
    assert.is_false(event.ok)
    source.events = { done(2) }
    task.run(function()
      task.ticket(source, 2):await()
      task.sleep(1000)
    end)
    assert.equal(15, task.stopping())
    assert.equal(1, source.cancelled)
    assert.is_true(core.clock < 1000)
  end)
end)
