-- busted's output: a line per file, failures at once and in full. Leaves its counts in the file that
-- LUNADEX_TEST_COUNTS names, for ./dev test.
local mongodb = require "support.mongodb"
local pretty = require "pl.pretty"
local system = require "system"

local function text(message)
  if type(message) == "string" then return message end
  if message == nil then return "nil error" end
  if getmetatable(message) and getmetatable(message).__tostring then return tostring(message) end
  return pretty.write(message)
end

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local file = { passed = 0, failed = 0, pending = {} }

  local function failed(element, _, message, trace)
    file.failed = file.failed + 1
    local at = element.trace or trace or {}
    local where = at.short_src and at.short_src .. ":" .. at.currentline or ""
    local what = text(message):gsub("\n", "\n  ")
    io.write(("FAILED  %s\n  %s\n  %s\n"):format(handler.getFullName(element), where, what))
    if trace and trace.traceback then io.write("  ", (trace.traceback:gsub("^\n", ""):gsub("\n", "\n  ")), "\n") end
    local troubles = mongodb.troubles()
    if troubles ~= "" then io.write("  ", (troubles:gsub("\n", "\n  ")), "\n") end
    io.flush()
    return nil, true
  end

  busted.subscribe({ "file", "start" }, function()
    file = { passed = 0, failed = 0, pending = {}, start = system.monotime() }
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(element, _, status)
    if status == "success" then file.passed = file.passed + 1 end
    if status == "pending" then table.insert(file.pending, handler.getFullName(element)) end
    return nil, true
  end)
  busted.subscribe({ "file", "end" }, function(element)
    if file.passed + file.failed + #file.pending == 0 then return nil, true end -- all filtered out
    io.write(("%-7s %s  %d passed%s%s  %.1f s\n"):format(file.failed > 0 and "FAILED" or "ok", element.name,
      file.passed, file.failed > 0 and (", %d failed"):format(file.failed) or "",
      #file.pending > 0 and (", %d pending"):format(#file.pending) or "", system.monotime() - file.start))
    for _, name in ipairs(file.pending) do io.write("  pending: ", name, "\n") end
    io.flush()
    return nil, true
  end)
  for _, kind in ipairs { "failure", "error" } do
    busted.subscribe({ kind }, failed)
  end
  busted.subscribe({ "suite", "end" }, function()
    local path = os.getenv "LUNADEX_TEST_COUNTS"
    if path then
      local counts = assert(io.open(path, "w"))
      counts:write(handler.successesCount, " ", handler.failuresCount + handler.errorsCount, "\n")
      counts:close()
    end
    return nil, true
  end)
  return handler
end
