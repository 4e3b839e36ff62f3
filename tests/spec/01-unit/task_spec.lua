-- Against a scripted core: what matters here is who wakes when.
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
    assert.error_matches(function()
      task.run(function() task.spawn(function() error("lost") end) task.sleep(0) end)
    end, "lost")
    local ok, message = task.run(function()
      local bad = task.spawn(function() error({ code = "x" }) end)
      return pcall(bad.join, bad)
    end)
    assert.is_false(ok)
    assert.equal("x", message.code)
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
