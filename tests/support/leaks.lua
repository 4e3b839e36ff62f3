-- After each spec file nothing of it may still run: whoever forgets to close a database leaves its threads behind.
local core = require "lunadex.core"

local M = {}

local function threads()
  return #assert(core.list_directory "/proc/self/task")
end

-- Those of the process itself, which under ThreadSanitizer are more than one.
local own = threads()

--- Has busted look after each file.
function M.watch()
  local busted = require "busted"
  busted.subscribe({ "file", "end" }, function(element)
    collectgarbage "incremental"
    collectgarbage()
    collectgarbage()
    local left = threads() - own
    if left > 0 then
      busted.publish({ "failure" }, element, nil, ("%d threads are left: a database was not closed"):format(left))
    end
    return nil, true
  end, { priority = 1 })
end

return M
