--- Coroutines that await jobs of the core, and the one event loop that wakes them.
--
-- DESIGN: a job's *ticket* is made when the job is submitted, so that its end is kept even if nobody waits for it yet.
-- A task that awaits a ticket sleeps until the ticket's "done" event. Each sleep has a number: what arrives for an
-- earlier sleep never wakes a later one. Where a task cannot sleep (a script's main chunk, a coroutine of its own, a
-- function that C calls) awaiting turns the loop on the spot, so scripts read top to bottom everywhere.

local core = require "lunadex.core"
local errors = require "lunadex.errors"

local M = {}

---@class lunadex.Task
---@field thread thread
---@field run function
---@field sleep integer            # number of the current sleep
---@field finished boolean
---@field results table?           # table.pack of what it returned
---@field failure any              # what it raised
---@field cancelled boolean?       # it was told to end: nothing new is begun in it
---@field waits_for lunadex.Ticket|lunadex.Task|lunadex.Point|nil   # what it sleeps on, unless that is time
---@field hears any                # whose change it is told of right now: it cannot wait for that one's end
---@field joiners {[1]: lunadex.Task, [2]: integer}[]   # who waits for it, in which of their sleeps
---@field waiters integer          # how many do, those that are no task too
local Task = {}
Task.__index = Task
Task.__name = "lunadex.Task"

---@class lunadex.Ticket
---@field source lunadex.Database
---@field job integer
---@field event lunadex.Event?     # its end, once it has come
---@field on_event fun(event: lunadex.Event)?
---@field raised table?            # what `on_event` raised, packed: it is called no more
---@field rows_given table?        # a batch of rows that nobody has taken yet
---@field what string?             # what is waited for, for people
---@field task lunadex.Task?       # who sleeps on it
---@field sleep integer?
local Ticket = {}
Ticket.__index = Ticket

local current ---@type lunadex.Task?      the task that runs now
local tickets = {} ---@type table<lunadex.Database, table<integer, lunadex.Ticket>>
local listeners = setmetatable({}, { __mode = "k" })
local ready, first, last = {}, 1, 0 -- a queue of {task, sleep, …}
local timers = {} -- { at, task, sleep }
local stop_signal ---@type integer?
local stop_listener ---@type fun(signal: integer)?
local stop_task ---@type lunadex.Task?      of the listener
local presses ---@type integer?             signals since `interruptible` began, while it runs
local orphan ---@type lunadex.Task?         that raised, and that nobody has joined
local traced ---@type {failure: string, trace: string}?   the last text that was raised in a task, or by a listener

--- Why nothing can be waited for right now, if that is so.
---@type string?
M.refusal = nil

local function wake(task, sleep, ...)
  local item = { task, sleep, ... } -- a finalizer may run here, and turn the loop
  last = last + 1
  ready[last] = item
end

-- Not so in a function that C calls, as that of string.gsub or table.sort, nor in a module that is being required.
local function can_sleep()
  return current and coroutine.running() == current.thread and coroutine.isyieldable()
end

local function fall_asleep()
  current.sleep = current.sleep + 1
  return current.sleep
end

-- A text that is raised again where a task is joined has its way to there already.
local function keep_trace(failure, ...)
  if type(failure) == "string" and not (traced and traced.failure == failure) then
    traced = { failure = failure, trace = debug.traceback(...) }
  end
end

local function fail(task, failure)
  task.failure = failure or "nil"
  keep_trace(failure, task.thread, failure)
  coroutine.close(task.thread)
  if task.waiters == 0 then orphan = orphan or task end
end

local function resume(task, ...)
  local before, sleep = current, task.sleep
  current = task
  local results = table.pack(coroutine.resume(task.thread, ...))
  current = before
  if coroutine.status(task.thread) == "dead" then
    if results[1] then task.results = table.pack(table.unpack(results, 2, results.n)) else fail(task, results[2]) end
  elseif task.sleep == sleep then
    -- Nobody would wake it.
    local place = debug.getinfo(task.thread, 1, "Sl")
    fail(task, ("%s:%d: a task cannot yield: lunadex.sleep(0) lets others go on"):format(place.short_src,
      place.currentline))
  else
    return
  end
  task.finished = true
  for _, joiner in ipairs(task.joiners) do wake(joiner[1], joiner[2]) end
end

-- Until nobody is ready, or `main` has ended: what it has not waited for ends with it.
local function run_ready(main)
  while first <= last do
    local item = ready[first]
    ready[first] = nil
    first = first + 1
    local task, sleep = item[1], item[2]
    -- One that turns the loop itself looks at what has changed.
    if not task.finished and task.sleep == sleep and coroutine.status(task.thread) == "suspended" then
      resume(task, table.unpack(item, 3))
    end
    if main and main.finished then return end
  end
  first, last = 1, 0
end

local function deliver(source, event)
  local ticket = event.job and tickets[source] and tickets[source][event.job]
  if not ticket then
    if listeners[source] then listeners[source](event) end
    return
  end
  if event.event == "done" then
    tickets[source][event.job] = nil
    if not next(tickets[source]) then tickets[source] = nil end
    ticket.event = event
  elseif event.event == "rows" then
    ticket.rows_given = event.rows
  else
    -- Whose loop this is has nothing to do with it.
    if ticket.on_event and not ticket.raised then
      local results = table.pack(xpcall(ticket.on_event, M.traced, event))
      if not results[1] then ticket.raised = results end
    end
    return
  end
  if ticket.task then wake(ticket.task, ticket.sleep) end
end

--- The signal that asked this process to stop, if one did.
---@return integer?
function M.stopping()
  return stop_signal
end

--- Whether nothing new is to be begun here: the process was asked to stop, or this task cancelled.
---@return boolean
function M.ending()
  return stop_signal ~= nil or current ~= nil and current.cancelled == true
end

--- Ends the run as a signal would: nothing more is started, what runs is cancelled.
---@param signal integer
function M.stop(signal)
  if stop_signal then return end
  stop_signal = signal
  for source in pairs(tickets) do source:cancel() end
  for _, timer in ipairs(timers) do wake(timer[2], timer[3]) end
  timers = {}
  if stop_listener then stop_task = M.spawn(stop_listener, signal) end
end

--- What is called, as a task, when the run is told to stop; one for all.
---@param listener fun(signal: integer)?
function M.on_stop(listener)
  stop_listener = listener
end

--- What is still waited for, for people: one text for each job that was given one.
---@return string[]
function M.waited_for()
  local list = {}
  for _, jobs in pairs(tickets) do
    for _, ticket in pairs(jobs) do list[#list + 1] = ticket.what end
  end
  table.sort(list)
  return list
end

--- Looks whether a signal came, which then stops the run.
function M.check_signal()
  local signal = (presses or not stop_signal) and core.signal()
  if not signal then return end
  M.stop(signal)
  if not presses then return end
  -- Somebody who waits in vain for a server that does not answer has to get out.
  presses = presses + 1
  if presses > M.patience then os.exit(128 + signal) end
  core.forget_signal()
end

local function next_timer()
  local at
  for _, timer in ipairs(timers) do
    if not at or timer[1] < at then at = timer[1] end
  end
  return at
end

local function ring_timers()
  if #timers == 0 then return end
  local now, rest = core.now(), {}
  for _, timer in ipairs(timers) do
    if timer[1] <= now then
      wake(timer[2], timer[3])
    else
      rest[#rest + 1] = timer
    end
  end
  timers = rest
end

-- Events of a source between two looks at signals and timers: a server may say more beside results than can be told.
local most_at_once = 100

local function is_open(source)
  return tickets[source] ~= nil or listeners[source] ~= nil
end

local function poll(timeout)
  local all = {}
  for each in pairs(tickets) do all[#all + 1] = each end
  -- One without a job may have lost its run lock.
  for each in pairs(listeners) do
    if not tickets[each] then all[#all + 1] = each end
  end
  if #all ~= 1 then
    core.wait(all, timeout)
    for _, each in ipairs(all) do
      for _ = 1, most_at_once do
        -- What was delivered before may have closed it.
        local event = is_open(each) and each:poll(0)
        if not event then break end
        deliver(each, event)
      end
    end
    return
  end
  local source = all[1]
  local event, left = source:poll(timeout), most_at_once
  while event do
    deliver(source, event)
    left = left - 1
    if left == 0 or first <= last or not is_open(source) then return end -- somebody can go on: let it
    event = source:poll(0)
  end
end

-- One turn of the loop: run who can run, else wait for an event, a timer or a signal.
local function turn(main)
  M.check_signal()
  if first <= last then return run_ready(main) end
  local at = next_timer()
  if not (at or next(tickets)) then error("tasks wait for each other: no job is out and no timer is set", 0) end
  poll(at and math.max(at - core.now(), 0))
  ring_timers()
end

-- Turns the loop until it is `over`, where the task that runs now, if there is one, cannot sleep on `what`.
local function turn_until(over, what)
  if M.refusal then error(M.refusal, 0) end
  local waiting = current
  local before = waiting and waiting.waits_for
  if waiting then waiting.waits_for = what end
  local ok, problem = pcall(function()
    while not over() do turn(what) end
  end)
  if waiting then waiting.waits_for = before end
  if not ok then error(problem, 0) end
end

--- The ticket of a job just submitted to `source`. `on_event` hears everything but the end.
---@param source lunadex.Database
---@param job integer
---@param on_event fun(event: lunadex.Event)?
---@param what string?             # is waited for, for people
---@return lunadex.Ticket
function M.ticket(source, job, on_event, what)
  local ticket = setmetatable({ source = source, job = job, on_event = on_event, what = what }, Ticket)
  tickets[source] = tickets[source] or {}
  tickets[source][job] = ticket
  return ticket
end

--- Forgets a source: events that still come from it wake nobody.
---@param source lunadex.Database
function M.forget(source)
  for _, ticket in pairs(tickets[source] or {}) do
    if ticket.task then wake(ticket.task, ticket.sleep) end
  end
  tickets[source] = nil
  listeners[source] = nil
end

--- Hears events that belong to no job ("lock_lost").
---@param source lunadex.Database
---@param listener fun(event: lunadex.Event)?
function M.listen(source, listener)
  listeners[source] = listener
end

-- Waits until `over` is true of the ticket.
local function wait_for(ticket, over)
  local function is_gone() return not (tickets[ticket.source] and tickets[ticket.source][ticket.job]) end
  while not over(ticket) do
    if is_gone() then
      error("the database was closed", 0)
    elseif can_sleep() then
      ticket.task, ticket.sleep, current.waits_for = current, fall_asleep(), ticket
      coroutine.yield()
      current.waits_for = nil
    else
      turn_until(function() return over(ticket) or is_gone() end, ticket)
    end
  end
end

local function has_ended(ticket) return ticket.event end
local function has_news(ticket) return ticket.rows_given or ticket.event end

--- Waits for the job's end and returns its "done" event. What `on_event` raised is raised then.
---@return lunadex.Event
function Ticket:await()
  wait_for(self, has_ended)
  if self.raised then error(self.raised[2], 0) end
  return self.event
end

--- The next batch of a query that gives its rows in batches, while the one after it is being read; nil at its end.
---@return table[]? rows
function Ticket:rows()
  wait_for(self, has_news)
  local rows = self.rows_given
  self.rows_given = nil
  if not rows and self.raised then error(self.raised[2], 0) end
  if rows and not self.event then self.source:more(self.job) end
  return rows
end

--- Starts a task; it runs when the caller next waits.
---@param run function
---@return lunadex.Task
function M.spawn(run, ...)
  local task = setmetatable({ thread = coroutine.create(run), run = run, sleep = 0, finished = false, joiners = {},
    waiters = 0 }, Task)
  wake(task, 0, ...)
  return task
end

-- Why the task that runs now may not wait for `task`: that waits, by whatever way, for it.
local function ring(task)
  if current.waiters == 0 and task ~= current then return nil end -- nobody does: a long chain is not walked each time
  local each = task
  while getmetatable(each) == Task do
    if each == current then
      return task == current and "a task cannot wait for its own end" or "these tasks would wait for each other's end"
    end
    each = each.waits_for
  end
end

--- Waits for a task's end.
---@return any ...                 # what it returned; what it raised is raised here
function Task:join()
  if getmetatable(self) ~= Task then error("calling 'join' on a bad self (a task expected)", 2) end
  self.waiters = self.waiters + 1
  local problem = not self.finished and current and ring(self)
  if problem then
    self.waiters = self.waiters - 1
    error(problem, 2)
  elseif not self.finished and can_sleep() then
    current.waits_for = self
    self.joiners[#self.joiners + 1] = { current, fall_asleep() }
    coroutine.yield()
    current.waits_for = nil
  elseif not self.finished then
    -- One that is told to end has handed that on, unless others wait as well.
    turn_until(function() return self.finished or current and current.cancelled and self.waiters > 1 end, self)
  end
  self.waiters = self.waiters - 1
  if not self.finished then return nil, errors.new("cancelled", "the task was cancelled") end
  if orphan == self then orphan = nil end
  if self.failure then error(self.failure, 0) end
  return table.unpack(self.results, 1, self.results.n)
end

--- Tells a task to end: what it waits for is cancelled, and what it begins afterwards fails with the code "cancelled".
--- Where it waits for another task's end, that is told to end as well, unless somebody else waits for it, too. Its end
--- is still to be joined.
function Task:cancel()
  if getmetatable(self) ~= Task then error("calling 'cancel' on a bad self (a task expected)", 2) end
  if self.finished or self.cancelled then return end
  self.cancelled = true
  local waits_for = self.waits_for
  local kind = getmetatable(waits_for)
  if kind == Ticket then
    waits_for.source:cancel(waits_for.job)
  elseif kind == Task and waits_for.waiters == 1 then
    waits_for:cancel()
  elseif waits_for then
    wake(self, self.sleep)
  end
  for _, timer in ipairs(timers) do
    if timer[2] == self then wake(self, timer[3]) end
  end
end

function Task:__tostring()
  return "lunadex.Task: " .. (not self.finished and "running" or self.failure and "failed" or "ended")
end

---@class lunadex.Point
local Point = {}
Point.__index = Point

--- Something that tasks wait for and others announce.
---@return lunadex.Point
function M.point()
  return setmetatable({ waiting = {} }, Point)
end

--- Waits, inside a task, for the next `announce`; or until the task is cancelled.
function Point:wait()
  self.waiting[#self.waiting + 1] = { current, fall_asleep() }
  current.waits_for = self
  coroutine.yield()
  current.waits_for = nil
end

--- Wakes all who wait.
function Point:announce()
  local waiting = self.waiting
  self.waiting = {}
  for _, each in ipairs(waiting) do wake(each[1], each[2]) end
end

--- Waits, inside a task; also while the run is stopping.
---@param seconds number
function M.pause(seconds)
  timers[#timers + 1] = { core.now() + seconds, current, fall_asleep() }
  coroutine.yield()
end

--- Waits; returns early when the run is told to stop, or the task cancelled.
---@param seconds number
function M.sleep(seconds)
  if M.ending() then return end
  if can_sleep() then return M.pause(seconds) end
  local stop = core.now() + seconds
  timers[#timers + 1] = { stop, setmetatable({ sleep = 0, finished = true }, Task), 0 }
  turn_until(function() return core.now() >= stop or M.ending() end)
end

--- Raises what a task raised that nobody has joined.
function M.check()
  if not orphan then return end
  local failure = orphan.failure
  orphan = nil
  error(failure, 0)
end

--- For xpcall: what was raised, as it is. `trace` knows the way to there.
---@param failure any
---@return any
function M.traced(failure)
  keep_trace(failure, failure, 3)
  return failure or "nil"
end

--- A text that was raised, with the way to there; nil: it came neither out of a task nor of a listener.
---@param failure any
---@return string?
function M.trace(failure)
  return traced and traced.failure == failure and traced.trace or nil
end

--- How many signals `interruptible` takes before the next one ends the process.
M.patience = 2

--- Where a script called us: file and line of the function at `level`, or of the one that called it if that is C or
--- ours. After a tail call that may be nobody: then it is where the function of its task begins.
---@param level integer            # 1: who calls this
---@return string file
---@return integer line
function M.place(level)
  level = level + 1
  local info = debug.getinfo(level, "Sl")
  while info and (info.currentline < 1 or info.source:find "^@lua/lunadex/") do
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  if info then return info.short_src, info.currentline end
  info = debug.getinfo(current and current.run or M.place, "S")
  return info.short_src, info.linedefined
end

--- Calls a listener, which tells of failures itself, about a change of `subject`'s.
---@param subject any
---@param call function
function M.hearing(subject, call, ...)
  local hearer = current
  local before = hearer and hearer.hears
  if hearer then hearer.hears = subject end
  call(...)
  if hearer then hearer.hears = before end
end

--- Whether what runs now is told of a change of `subject`'s, which goes on when that returns.
---@param subject any
---@return boolean
function M.hears(subject)
  return current ~= nil and current.hears == subject
end

--- Whether a signal ends what runs, and not the process.
---@return boolean
function M.is_interruptible()
  return presses ~= nil
end

local function interruptible(at_once, main, ...)
  presses = 0
  local task = M.spawn(main, ...)
  -- What others raise, or that nothing is left to wait for, is no reason to stay interruptible for ever.
  local ok, problem = pcall(function()
    while not task.finished do
      M.check_signal()
      if at_once and stop_signal then return end
      turn()
    end
  end)
  local left = not task.finished
  task.finished = true
  local signal = stop_signal or core.signal()
  presses, stop_signal = nil, nil
  if stop_task then stop_task.finished = true end -- it would tell of this end for ever
  stop_task = nil
  core.forget_signal()
  if not ok then error(problem, 0) end
  if orphan == task then orphan = nil end
  if left then return signal end
  if task.failure then error(task.failure, 0) end
  return signal, table.unpack(task.results, 1, task.results.n)
end

--- Runs `main` as a task, to its end, here. A signal meanwhile stops it as it would stop the process, which then goes
--- on as if none had come.
---@param main function
---@return integer? signal
---@return any ...                 # what it returned; what it raised is raised here
function M.interruptible(main, ...)
  return interruptible(false, main, ...)
end

--- The same for what nobody needs: after a signal it is left where it waits, for a server may never answer.
---@param main function
---@return integer? signal
---@return any ...
function M.dispensable(main, ...)
  return interruptible(true, main, ...)
end

--- Runs `main` as a task and the loop until it has ended; its results, or its error raised here. What other tasks raise
--- meanwhile is for who joins them, or for `check`.
---@param main function
function M.run(main, ...)
  if can_sleep() then return main(...) end
  local task = M.spawn(main, ...)
  task.waiters = 1
  turn_until(function() return task.finished end, task)
  if task.failure then error(task.failure, 0) end
  return table.unpack(task.results, 1, task.results.n)
end

-- Where nobody asks `check`, as in a stock Lua, it is told at the end: no failure is lost.
return setmetatable(M, { __gc = function()
  if not orphan then return end
  io.stderr:write("lunadex: a task failed: ", tostring(M.trace(orphan.failure) or orphan.failure), "\n")
end })
