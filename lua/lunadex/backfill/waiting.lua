--- Calls what may have to wait for somebody's lock, and tells meanwhile for whose: before a backfill has begun, nothing
--- else is told of it.

local task = require "lunadex.task"

local M = {}

local beat = 1 -- seconds; also before the first look

-- Tells of each who stands in the way, and when nobody does any more.
local function watch(look, tell)
  local told
  task.sleep(beat)
  while not task.ending() do
    local blocker = look()
    -- Where that cannot be found out it stands as it stood.
    if blocker and blocker.id ~= told then tell(blocker) elseif blocker == false and told then tell() end
    if blocker ~= nil then told = blocker and blocker.id end
    task.sleep(beat)
  end
  if told and not task.stopping() then tell() end
end

--- As `call(session, …)`.
---@param dialect lunadex.Dialect
---@param connection lunadex.Connection   # to be asked meanwhile
---@param session lunadex.Connection      # of one session
---@param tell fun(blocker: lunadex.backfill.Blocker?)   # nil: it goes on
---@param call function
---@return any ...
function M.telling(dialect, connection, session, tell, call, ...)
  local backfill = dialect.backfill
  if not backfill.blocker then return call(session, ...) end
  local id, err = backfill.session(session)
  if not id then return nil, err end
  local work = task.spawn(call, session, ...)
  local watcher = task.spawn(function()
    local ok, problem = xpcall(watch, task.traced, function() return backfill.blocker(connection, id) end, tell)
    if ok then return end
    work:cancel() -- a listener has raised, as it does to end the run
    error(problem, 0)
  end)
  local results = table.pack(pcall(work.join, work))
  watcher:cancel()
  watcher:join()
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

return M
