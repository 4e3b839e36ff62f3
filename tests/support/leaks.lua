-- After each spec file nothing of it may still run: whoever forgets to close a database leaves its threads behind.
local core = require "lunadex.core"

local M = {}

-- By their names: sanitizers and libraries have threads of their own, which come when they like.
local function threads()
  local ours = 0
  for _, id in ipairs(assert(core.list_directory "/proc/self/task")) do
    local file = io.open("/proc/self/task/" .. id .. "/comm") -- it may be gone by now
    if file and file:read("a"):find "^ldx " then ours = ours + 1 end
    if file then file:close() end
  end
  return ours
end

--- Has busted look after each file.
function M.watch()
  local busted = require "busted"
  busted.subscribe({ "file", "end" }, function(element)
    collectgarbage "incremental"
    collectgarbage()
    collectgarbage()
    local left = threads()
    if left > 0 then
      busted.publish({ "failure" }, element, nil, ("%d threads are left: a database was not closed"):format(left))
    end
    return nil, true
  end, { priority = 1 })
end

return M
