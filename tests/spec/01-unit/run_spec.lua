-- lunadex run, as far as no server is needed: arguments, exit statuses, what is said of a script that fails.
local lunadex = require "support.lunadex"
local shell = require "support.shell"

describe("lunadex run", function()
  local function script(text, name)
    return lunadex.registry(text, name or "script.lua")
  end

  local function run(text, ...)
    return lunadex.run { "run", script(text), ... }
  end

  it("gives the script its arguments, options and all", function()
    local path = script "print(arg[0], #arg, ...)"
    local result = lunadex.run { "run", path, "one", "--json", "-h", "--", "--target" }
    assert.equal(0, result.status, tostring(result))
    assert.equal(path .. "\t5\tone\t--json\t-h\t--\t--target\n", result.stdout)
    result = lunadex.run { "run", "-", "x", stdin = "#!/usr/bin/env lunadex\nprint(..., require('lunadex').version)" }
    assert.matches("^x\t%d+%.%d+%.%d+\n$", result.stdout)
  end)

  it("ends with the status that the script says", function()
    for text, status in pairs {
      [""] = 0, ["return 7"] = 7, ["return true"] = 0, ["return false"] = 1, ["os.exit(9)"] = 9, ["os.exit(true)"] = 0,
      ["os.exit(false)"] = 1, ["os.exit()"] = 0, ["return 256"] = 65, ["return {}"] = 65, ["return 1.5"] = 65,
      ["error 'x'"] = 65, ["error {}"] = 65, ["error()"] = 65, ["= 1"] = 65, ["return nil, 'no'"] = 65,
      ["require('lunadex').spawn(function() os.exit(4) end):join()"] = 4,
      ["assert(require('lunadex').connect('postgresql://127.0.0.1:1/x'))"] = 5,
      ["return require('lunadex').connect('postgresql://127.0.0.1:1/x')"] = 5,
      ["assert(require('lunadex').load('nowhere/'))"] = 65,
      ["require('lunadex').spawn(function() error 'lost' end)"] = 0, -- it ended before that began
      ["local l = require('lunadex') l.spawn(function() error 'lost' end) l.sleep(0)"] = 65,
      ["local l = require('lunadex') l.spawn(assert, l.connect 'postgresql://127.0.0.1:1/x') l.sleep(0)"]
        = 5,
      ["local l, t = require('lunadex') t = l.spawn(function() t:join() end) print(pcall(t.join, t))"] = 0,
      ["local t = require('lunadex').spawn(function() coroutine.yield(1) end) print(pcall(t.join, t))"] = 0,
      ["\xEF\xBB\xBF#!/usr/bin/env lunadex\nreturn 3"] = 3,
    } do
      local result = run(text)
      assert.equal(status, result.status, text .. "\n" .. tostring(result))
    end
    assert.equal(65, lunadex.run({ "run", "nowhere.lua" }).status)
    assert.equal(65, lunadex.run({ "run", "registry" }).status)
    assert.equal(64, lunadex.run({ "run" }).status)
    assert.equal(64, lunadex.run({ "run", "--nonsense", "x.lua" }).status)
  end)

  it("says where it failed, and how it came there, and nothing of our own code", function()
    local result = run [[
      local lunadex = require "lunadex"
      local function deeper(value)
        local length = #value
        return length
      end
      lunadex.spawn(function() deeper(nil) end):join()]]
    assert.equal(65, result.status)
    assert.matches("^lunadex: .*script%.lua:3: attempt to get length of a nil value", result.stderr)
    assert.matches("script.lua:6: in", result.stderr, 1, true)
    assert.is_nil(result.stderr:find("lua/lunadex", 1, true), result.stderr)
    assert.is_nil(result.stderr:find("[C]", 1, true), result.stderr)
    result = run "\n\nassert(require('lunadex').connect('postgresql://app:secret@127.0.0.1:1/x'))"
    assert.matches("^lunadex: .*script%.lua:3: ", result.stderr)
    assert.is_nil(result.stderr:find("secret", 1, true))
    result = run "local x <close> = 1"
    assert.matches("script.lua:1:", result.stderr, 1, true)
    result = run "require('lunadex').spawn(function() error 'lost' end) require('lunadex').sleep(0.01)"
    assert.equal(65, result.status)
    assert.matches("script.lua:1: lost", result.stderr, 1, true)
    result = run "\nerror { a = 1, 'b' }"
    assert.matches("script%.lua:2: { %[1%] = \"b\", a = 1 } was raised", result.stderr)
    result = run "print('failed: ' .. select(2, require('lunadex').connect('postgresql://127.0.0.1:1/x')))"
    assert.equal(0, result.status, tostring(result))
    assert.matches("^failed: .*refused", result.stdout)
    result = run "local t = require('lunadex').spawn(print) print(t) t:join() print(t)"
    assert.equal("lunadex.Task: running\n\nlunadex.Task: ended\n", result.stdout)
    result = run "require('lunadex').connect(1)"
    assert.equal(65, result.status)
    assert.matches("script.lua:1", result.stderr, 1, true)
  end)

  it("fails where what it prints is lost, though not where nobody reads it", function()
    for sink, expected in pairs { [">/dev/full"] = { 1, "lunadex: cannot write standard output\n" },
      ["| true"] = { 0, "" } } do
      local result = lunadex.run { "run", "-", stdin = "for i = 1, 1e5 do print(i) end",
        under = { "bash", "-o", "pipefail", "-c", '"$@" ' .. sink, "bash" } }
      assert.same(expected, { result.status, result.stderr }, sink)
    end
  end)

  it("says so where memory runs out", function()
    if lunadex.build:find "san$" then return end -- which takes terabytes of addresses
    local result = lunadex.run { "run", "-", under = { "prlimit", "--as=500000000" },
      stdin = "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e7) .. i end" }
    assert.same({ 65, "lunadex: not enough memory\n" }, { result.status, result.stderr })
  end)

  it("is interrupted while it computes, sleeps or is asked to end twice", function()
    for _, text in ipairs { "print 'ready' while true do end", "print 'ready' require('lunadex').sleep(600)",
      "require('lunadex').spawn(function() print 'ready' while true do end end):join()",
      "print 'ready' while true do pcall(function() for _ = 1, 1e5 do end end) end",
      "print 'ready' while true do pcall(require('lunadex').sleep, 600) end" } do
      local process = lunadex.start { "run", script(text) }
      shell.eventually("the script to begin", function() return process:stdout():find "ready" end)
      process:kill "INT"
      if text:find "sleep, 600" then
        -- Two in the same moment count as one.
        shell.eventually("an end", function()
          process:kill "INT"
          return not process:running()
        end)
      end
      local result = process:wait(30)
      assert.equal(130, result.status, text .. result.stderr)
    end
  end)

  it("leaves standard output to the script, also where nobody reads it", function()
    local result = run "io.write 'a' io.stderr:write 'b' print 'c'"
    assert.same({ "ac\n", "b", 0 }, { result.stdout, result.stderr, result.status })
  end)
end)

describe("lunadex repl", function()
  it("shows what was raised, where it is no text, and tasks by what has become of them", function()
    local result = lunadex.run { "repl", stdin = "error { a = 1 }" }
    assert.same({ 65, "lunadex: { a = 1 } was raised\n" }, { result.status, result.stderr })
    result = lunadex.run { "repl", stdin = "lunadex.spawn(function() end)" }
    assert.same({ 0, "lunadex.Task: running\n" }, { result.status, result.stdout })
  end)
end)

describe("lunadex completion", function()
  it("writes what a shell understands", function()
    local begins = { bash = "complete -F _lunadex", zsh = "#compdef lunadex", fish = "complete -c lunadex" }
    for name, check in pairs(begins) do
      local result = lunadex.run { "completion", name }
      assert.equal(0, result.status, tostring(result))
      assert.is_truthy(result.stdout:find(check, 1, true), result.stdout:sub(1, 200))
      for _, word in ipairs { "snapshot", "completion", "drop-strays" } do
        assert.is_truthy(result.stdout:find(word, 1, true), name .. " lacks " .. word)
      end
    end
    assert.equal(64, lunadex.run({ "completion", "csh" }).status)
  end)

  it("completes in bash", function()
    local path = shell.directory("completion") .. "/lunadex"
    shell.write_file(path, lunadex.run({ "completion", "bash" }).stdout)
    local function complete(...)
      local words = { ... }
      local quoted = {}
      for i, word in ipairs(words) do quoted[i] = shell.quote(word) end
      return shell.check(("bash -c %s"):format(shell.quote(([[source %s
        COMP_WORDS=(%s) COMP_CWORD=%d; _lunadex; printf '%%s\n' "${COMPREPLY[@]}"]]):format(path,
        table.concat(quoted, " "), #words - 1))))
    end
    assert.matches("apply\n", complete("lunadex", "ap"))
    assert.matches("--drop-strays\n", complete("lunadex", "apply", "--drop-s"), 1, true)
    assert.equal("bash\nzsh\nfish\n", complete("lunadex", "completion", ""))
    assert.matches("\nlone-boolean\n", complete("lunadex", "plan", "--without", ""), 1, true)
    assert.equal("lone-boolean\n", complete("lunadex", "plan", "--without", "=", "lone"))
    assert.equal("critical\nany\nnever\n", complete("lunadex", "apply", "--fail-on", ""))
    assert.equal("critical\nany\nnever\n", complete("lunadex", "apply", "--fail-on", "="))
    assert.equal("blocking\n", complete("lunadex", "apply", "--mode", "=", "bl"))
    for _, option in ipairs { "--target", "--database", "--only", "--jobs" } do
      assert.equal("\n", complete("lunadex", "plan", option, ""), option)
    end
    assert.equal("registry/shop/shop.lua\n", complete("lunadex", "plan", "registry/shop/shop.l"))
    assert.equal("registry/shop/shop.lua\n", complete("lunadex", "snapshot", "-o", "registry/shop/shop.l"))
  end)

  it("offers no files in zsh and fish where there are none to be named", function()
    local zsh, fish = lunadex.run({ "completion", "zsh" }).stdout, lunadex.run({ "completion", "fish" }).stdout
    assert.is_nil(zsh:find "%-%-target%[[^\n]*_files")
    assert.matches("%-%-without%[[^\n]*: :%([^\n]*lone%-boolean", zsh)
    assert.matches("{%-o,%-%-output}[^\n]*: :_files", zsh)
    assert.matches("seen_command plan' %-l without %-xa '[^\n]*lone%-boolean", fish)
    assert.matches("seen_command completion' %-xa 'bash zsh fish'", fish)
    assert.matches("seen_command plan' %-l target %-xa ''", fish)
  end)
end)
