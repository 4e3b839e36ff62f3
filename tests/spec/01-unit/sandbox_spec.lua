local core = require "lunadex.core"
local sandbox = require "lunadex.sandbox"
local suggest = require "lunadex.suggest"

local MB = 1024 * 1024

local function limited(text, instructions, memory)
  return core.run_limited(assert(load(text, "=x", "t")), { instructions = instructions or 10 ^ 6 // 1 | 0,
    memory = memory or 16 * MB })
end

describe("run_limited", function()
  it("gives results and errors as pcall does", function()
    assert.same({ true, 2 }, { limited "return 1 + 1" })
    assert.same({ false, "x:1: no" }, { limited "error 'no'" })
    local ok, value = limited "error { 5 }"
    assert.is_false(ok)
    assert.same({ 5 }, value)
  end)

  it("refuses limits that are none", function()
    assert.has_error(function() core.run_limited(print, {}) end)
    assert.has_error(function() core.run_limited(print, { instructions = 0, memory = 1 }) end)
    assert.has_error(function() core.run_limited(5, { instructions = 1, memory = 1 }) end)
  end)

  local loops = {
    loop = "while true do end",
    caught = "while true do pcall(function() while true do end end) end",
    ["caught with a handler"] = "while true do xpcall(function() while true do end end, tostring) end",
    ["in a coroutine"] = "coroutine.wrap(function() while true do end end)()",
    ["in a coroutine, caught"] = "while true do coroutine.resume(coroutine.create(function() while 1 do end end)) end",
    ["many coroutines"] = "while true do coroutine.wrap(function() for _ = 1, 50 do end end)() end",
    ["tail calls"] = "local function f() return f() end f()",
    gsub = "while true do ('aaaa'):gsub('a', function() end) end",
    ["long strings"] = "local s = ('x'):rep(8 << 20) while true do local t = s .. 'y' end",
  }
  for name, text in pairs(loops) do
    it("ends a loop: " .. name, function()
      local start = os.clock()
      local ok, message, limit = limited(text)
      assert.is_false(ok)
      assert.equal("instructions", limit, tostring(message))
      assert(os.clock() - start < 5)
      assert.is_nil(debug.gethook())
    end)
  end

  local hogs = {
    tables = "local t = {} while true do t[#t + 1] = {} end",
    ["one string"] = "return ('x'):rep(1 << 30)",
    doubling = "local s = 'x' while true do s = s .. s end",
    ["in a coroutine"] = "coroutine.wrap(function() local t = {} for i = 1, 1e9 do t[i] = i end end)()",
  }
  for name, text in pairs(hogs) do
    it("ends what takes too much memory: " .. name, function()
      local ok, _, limit = limited(text, 100 * 10 ^ 6 // 1 | 0)
      assert.is_false(ok)
      assert.equal("memory", limit)
    end)
  end

  it("counts what is alive, not what was garbage", function()
    assert.same({ true }, { limited("for i = 1, 2000 do local s = ('x'):rep(100000) .. i end", 10 ^ 8 // 1 | 0) })
  end)

  it("leaves hook and allocator as they were", function()
    local count = 0
    debug.sethook(function() count = count + 1 end, "", 1000)
    limited "for i = 1, 10000 do end"
    assert.is_function((debug.gethook()))
    local before = count
    for _ = 1, 100000 do end -- luacheck: ignore 542
    assert(count > before)
    debug.sethook()
    -- More than the limit, now that there is none.
    assert.equal(64 * MB, #("x"):rep(64 * MB))
  end)

  it("nests", function()
    local inner
    local ok = core.run_limited(function()
      inner = { limited("while true do end", 1000) }
      return true
    end, { instructions = 10 ^ 7 // 1 | 0, memory = 16 * MB })
    assert.is_true(ok)
    assert.equal("instructions", inner[3])
    local _, _, limit = core.run_limited(function()
      limited "return 1"
      while true do end -- luacheck: ignore 542
    end, { instructions = 10 ^ 5 // 1 | 0, memory = 16 * MB })
    assert.equal("instructions", limit)
  end)

  it("lets a coroutine that outlives it go on", function()
    local co
    assert.is_true((core.run_limited(function()
      co = coroutine.wrap(function() while true do coroutine.yield(1) end end)
      return co()
    end, { instructions = 10 ^ 5 // 1 | 0, memory = 16 * MB })))
    for _ = 1, 10000 do co() end
  end)
end)

describe("the sandbox", function()
  local reports

  local function run(text, limits)
    reports = {}
    local environment = sandbox.environment({ word = function() return "w" end }, function(line, message, hint)
      reports[#reports + 1] = ("%d: %s%s"):format(line, message, hint and "; " .. hint or "")
    end)
    local chunk, message, line = sandbox.load(text, "x.lua", environment)
    if not chunk then return nil, message, line end
    return sandbox.run(chunk, environment, limits)
  end

  it("has the safe part of the library", function()
    local ok, value = run [[
      local t = {}
      for i, v in ipairs { 3, 1, 2 } do t[i] = v end
      table.sort(t)
      local n = select("#", table.unpack(t)) + math.max(1, 2) + utf8.len "ä" + tonumber "1"
      assert(type(word()) == "string" and next(t) and tostring(n) == "7")
      return ("%d %s"):format(n, ("ab"):upper():gsub("A", "x"))
    ]]
    assert.is_true(ok)
    assert.equal("7 xB", value)
    assert.same({}, reports)
  end)

  it("does not leak what a file changes", function()
    assert.is_true((run "string.rep = nil table.sort = 5 word = 1 x = 2 string.evil = 1"))
    assert.is_function(string.rep)
    assert.is_function(table.sort)
    assert.is_nil(rawget(string, "evil"))
    assert.is_nil(rawget(_G, "x"))
    local ok, value = run "return type(string.rep) .. type(word)"
    assert.is_true(ok)
    assert.equal("functionfunction", value)
    assert.equal(string, getmetatable("").__index)
  end)

  it("names what is missing, once each, and goes on", function()
    for _, name in ipairs { "os", "io", "debug", "package", "coroutine", "require", "dofile", "loadfile", "load",
      "pcall", "xpcall", "setmetatable", "getmetatable", "rawget", "rawset", "collectgarbage", "print", "_G" } do
      assert.is_true((run("\nlocal x = " .. name .. "\nreturn x.y.z(1)[2]() + 1")), name)
      assert.equal(1, #reports, name)
      assert.matches("^[23]: `" .. name, reports[1])
      assert.matches("; ", reports[1])
    end
    assert.is_true((run "\nword()\nwrod().x = 5"))
    assert.same({ '3: unknown name "wrod"; did you mean "word"?' }, reports)
  end)

  it("gives no way to a real metatable or environment", function()
    local _, value = run "return (''):rep(3) == '' and string and _VERSION"
    assert.equal(_VERSION, value)
    run "local e = _ENV e._ENV = 1 _ENV = {}"
    assert.equal(string, getmetatable("").__index)
  end)

  it("refuses compiled code, forgives marks and first lines", function()
    local chunk, message = run(string.dump(function() end))
    assert.is_nil(chunk)
    assert.matches("compiled Lua", message)
    assert.is_true((run "\xEF\xBB\xBFreturn 1"))
    assert.is_true((run "#!/usr/bin/lunadex\nreturn 1"))
    local _, _, line = run "#!/usr/bin/lunadex\n\nx x"
    assert.equal(3, line)
  end)

  local few = { instructions = 10 * 1000 * 1000, memory = 100 * MB, seconds = 60 }
  local slow = {
    rep = "(''):rep(1 << 62)",
    move = "table.move({}, 1, 1 << 62, 2)",
    pattern = "(('a'):rep(30)):match(('a?'):rep(30) .. ('a'):rep(30))",
    stars = "(('a'):rep(5000)):match '.*.*.*.*b'",
    ["a text that nearly is there"] = "(('a'):rep(1e6)):find(('a'):rep(5e5) .. 'b', 1, true)",
    ["such a text as a pattern"] = "(('a'):rep(1e6)):find(('a'):rep(5e5) .. 'b')",
  }
  for name, text in pairs(slow) do
    it("does not run for ever inside C: " .. name, function()
      local start = os.clock()
      run("return " .. text, few)
      assert(os.clock() - start < 10)
    end)
  end

  -- Each of these would take from minutes to days.
  local endless = {
    brackets = "(('('):rep(1e6)):find '%b()'",
    ["more ways than there are integers"] = "(('a'):rep(40)):find(('a*'):rep(40) .. 'b')",
    ["one way, from each place"] = "(('a'):rep(1e6)):find '%w+='",
    ["one way, many times"] = "(('a'):rep(1e6)):gsub('a*b', '')",
    ["what was matched, again"] = "(('a'):rep(1e5)):find '(.-)%1x'",
    ["a sign that is none of gmatch"] = "((('^'):rep(1e5)):gmatch '^.-x')()",
    ["a malformed pattern"] = "(('a'):rep(1e5)):match '.-x['",
    ["many numbers in order"] = "(function(t) for i = 1, 1e6 do t[i] = -i end while true do table.sort(t) end end)({})",
    ["numbers in C's order"] = [[(function(t)
      for i = 1, 1e6 do t[i] = -i end
      while true do table.sort(t, math.ult) end
    end)({})]],
    ["long texts in order"] = [[(function()
      local a, b, list = ("x"):rep(1e6) .. "a", ("x"):rep(1e6) .. "b", {}
      for i = 1, 10000 do list[i] = i % 2 == 0 and a or b end
      return table.sort(list)
    end)()]],
  }
  for name, text in pairs(endless) do
    it("ends what would run for ever inside C: " .. name, function()
      local ok, message, line, limit = run("return " .. text, few)
      assert.same({ false, "does not come to an end: stopped after 10 million instructions", "instructions" },
        { ok, message, limit })
      assert(line > 0)
    end)
  end

  it("refuses no pattern for the length of a text that it does not fit", function()
    local ok, count = run [[
      local lines = ("a line, and its = end   "):rep(3) .. "\n"
      local text, count = lines:rep(1000), 0
      for line in text:gmatch "([^\n]*)\n" do count = count + #line:gsub("%s+$", "") end
      for line in text:gmatch "(.-)\n" do count = count + #line end
      for key, value in text:gmatch "(%w+)%s*=%s*(%w+)" do count = count + #key + #value end
      return count + #text:gsub("^%s+", "") + select(2, text:gsub("%s+\n", "\n"))
    ]]
    assert.same({ true, 1000 * (69 + 72 + 3 * 6 + 73 + 1) }, { ok, count })
  end)

  it("has methods of texts that a file adds to, but none that it changes", function()
    local ok, value = run [[
      function string.twice(text) return text .. text end
      string.upper = function() return "mine" end
      return ("a"):twice() .. ("b"):upper() .. string.upper "c"
    ]]
    assert.same({ true, "aaBmine" }, { ok, value })
  end)

  it("lets ordinary patterns be", function()
    local ok, value = run [[
      local line = ("  key = value, %s  "):format(("x"):rep(200))
      local trimmed = line:match("^%s*(.-)%s*$")
      local key, rest = trimmed:match("^(%w+)%s*=%s*(.*)$")
      local count = 0
      for _ in (("word "):rep(10000)):gmatch("%a+") do count = count + 1 end
      return key .. #rest .. " " .. count
    ]]
    assert.is_true(ok, value)
    assert.equal("key207 10000", value)
  end)

  it("ends what runs for long inside C, again and again", function()
    for _, body in ipairs {
      "local t = {} for i = 1, 500000 do t[i] = i end while true do table.insert(t, 1, 0) t[#t] = nil end",
      "local t = {} for i = 1, 100000 do t[i] = i end while true do table.move(t, 1, 100000, 2) end",
      "local s = ('a'):rep(10 ^ 6) while true do s:find('b', 1, true) end",
    } do
      local environment = sandbox.environment({}, function() end)
      local chunk = assert(sandbox.load(body, "x.lua", environment))
      local ok, message, _, limit = sandbox.run(chunk, environment,
        { instructions = 10 ^ 12 | 0, memory = 10 ^ 8 | 0, seconds = 0.3 })
      assert.same({ false, "does not come to an end: stopped after 0.3 seconds", "time" }, { ok, message, limit })
    end
  end)

  it("ends an endless loop in seconds under its own limits", function()
    local start = os.clock()
    local ok, message, line = run "\nwhile true do end"
    assert.is_false(ok)
    assert.equal("does not come to an end: stopped after 300 million instructions", message)
    assert.equal(2, line)
    assert(os.clock() - start < 30) -- about one; sanitizers take a multiple
  end)
end)

describe("suggest", function()
  it("offers the nearest, or nothing", function()
    assert.equal("index", suggest.nearest("idnex", { "on", "index", "desc" }))
    assert.equal("index", suggest.nearest("INDEX", { index = 1, on = 2 }))
    assert.is_nil(suggest.nearest("banana", { "on", "index" }))
    assert.is_nil(suggest.nearest("x", { "on" }))
    assert.equal("on", suggest.nearest("onn", { 5, "of", "on", {} }))
    for _, candidates in ipairs { { "taba", "tabb" }, { "tabb", "taba" }, { tabb = 1, taba = 2 } } do
      assert.equal("taba", suggest.nearest("tabc", candidates)) -- whatever the order of a table is
    end
    assert.is_nil(suggest.nearest("ab", { "cd" }))
  end)
end)
