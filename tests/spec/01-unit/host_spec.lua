-- The program as a process, and the loadable module. No server needed.
local lunadex = require "support.lunadex"
local shell = require "support.shell"

describe("the program", function()
  it("tells its version", function()
    local result = lunadex.run { "--version" }
    assert.equal(0, result.status, tostring(result))
    assert.matches("^lunadex %d+%.%d+%.%d+\n$", result.stdout)
    assert.equal("", result.stderr)
  end)

  it("shows how it is used when asked wrongly, on standard error", function()
    for _, arguments in ipairs { {}, { "plna" }, { "plan", "--colour" } } do
      local result = lunadex.run(arguments)
      assert.equal(64, result.status, tostring(result))
      assert.equal("", result.stdout)
      assert.not_equal("", result.stderr)
      assert.not_matches("traceback", result.stderr)
    end
  end)

  it("does not call a result it could not write a success", function()
    local ok, output = shell.run(lunadex.program .. " --version >/dev/full")
    assert.is_false(ok)
    assert.matches("No space left on device", output)
  end)

  it("does not mind a reader that goes away", function()
    local _, output = shell.run("{ " .. lunadex.program .. " --help; echo status $? >&2; } | true")
    assert.matches("status 0", output)
  end)

  it("keeps its libraries to itself", function()
    -- An exported function would be taken by Lua modules that are loaded later and have one of the same name.
    if not lunadex.build:find "/build$" then return pending "sanitizers export theirs" end
    assert.not_matches(" T ", shell.check("nm -D --defined-only " .. shell.quote(lunadex.program)), 1, true)
  end)

  it("leaves nothing for leak checkers to find", function()
    if not shell.run "command -v valgrind" or not lunadex.build:find "/build$" then
      return pending "valgrind, and a build that is not sanitized"
    end
    local valgrind = { "valgrind", "-q", "--leak-check=full", "--error-exitcode=66" }
    local result = shell.call(table.move({ lunadex.program, "--help" }, 1, 2, #valgrind + 1, valgrind))
    assert.equal(0, result.status, result.stderr)
  end)
end)

describe("the module", function()
  local path = lunadex.build .. "/lunadex.so"
  if not shell.read_file(path) then return pending "lunadex.so: the sanitizer presets do not build it" end

  it("is all that a stock Lua needs", function()
    local result = shell.call({ "lua5.4", "-e", [[
      local lunadex = require "lunadex"
      assert(type(lunadex) == "table")
      assert(require "lunadex.core".version == require "lunadex.core".version)
      assert(type(require "lunadex.plugins.dictionary") == "table")
    ]] }, { env = { LUA_CPATH = lunadex.build .. "/?.so;;" }, cwd = "/" })
    assert.same({ status = 0, stdout = "", stderr = "" }, result)
  end)

  it("tells at the end of a failure that nobody has asked for", function()
    local result = shell.call({ "lua5.4", "-e", [[
      local lunadex = require "lunadex"
      lunadex.spawn(function() error "lost" end)
      lunadex.sleep(0.01)
    ]] }, { env = { LUA_CPATH = lunadex.build .. "/?.so;;" }, cwd = "/" })
    assert.matches("^lunadex: a task failed: .*:2: lost\n", result.stderr)
  end)

  it("exports its opener and nothing else", function()
    local symbols = {}
    for name in shell.check("nm -D --defined-only " .. shell.quote(path)):gmatch("%x+ %u (%S+)") do
      symbols[#symbols + 1] = name
    end
    assert.same({ "luaopen_lunadex" }, symbols)
  end)
end)
