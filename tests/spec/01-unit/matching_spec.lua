-- Functions of Lua's libraries with what they do counted (core/lua/match.c, counted.c): the same as Lua's own, and
-- soon at their end, whatever they are given.
--
-- LUNADEX_SEED: that seed; a failure prints it with the case.
local core = require "lunadex.core"
local random = require "support.random"

local counted = core.counted
local seed = math.tointeger(tonumber(os.getenv "LUNADEX_SEED" or "1"))

-- What a call gives, as a text; errors without their place and without a name for the function.
local function shown(ok, ...)
  local list = table.pack(...)
  for i = 1, list.n do list[i] = ("%s %s"):format(math.type(list[i]) or type(list[i]), list[i]) end
  local text = table.concat(list, ", ")
  return ok and text or "error " .. text:gsub("^string ", ""):gsub("^[^ ]+:%d+: ", ""):gsub("to '[^']*'", "to it")
end

local function each_match(gmatch, ...)
  local found = {}
  for a, b in gmatch(...) do
    found[#found + 1] = ("%s/%s"):format(a, b)
    if #found > 100 then break end
  end
  return table.concat(found, " ")
end

local calls = {
  find = function(of, ...) return of.find(...) end,
  match = function(of, ...) return of.match(...) end,
  gmatch = function(of, ...) return each_match(of.gmatch, ...) end,
  gsub = function(of, ...) return of.gsub(...) end,
}

describe("counted functions", function()
  local limits = { instructions = 200000, memory = 16 << 20 }

  -- Where Lua's own might take for ever, only ours is called. Whether it came to an end.
  local function agree(name, ...)
    local arguments = table.pack(...)
    local ours
    local ok, problem, limit = core.run_limited(function()
      ours = shown(pcall(calls[name], counted.string, table.unpack(arguments, 1, arguments.n)))
    end, limits)
    if limit then return false end
    assert(ok, problem)
    local own = shown(pcall(calls[name], string, ...))
    if ours ~= own then
      for i = 1, arguments.n do arguments[i] = ("%q"):format(tostring(arguments[i])) end
      error(("seed %d: string.%s(%s) gives %s, not %s"):format(seed, name, table.concat(arguments, ", "), ours, own), 0)
    end
    return true
  end

  local pieces = { ".", "%a", "%d", "%s", "%w", "%p", "%x", "%c", "%g", "%l", "%u", "%S", "%W", "%D", "[ab]", "[^a]",
    "[a-c%d]", "[]x]", "[^]%-]", "[%a_-]", "[a-]", "[^%s=]", "a", "b", "x", "=", " ", "%%", "%.", "\0", "\xE9", "(",
    ")", "()", "(a)", "(.-)", "%1", "%2", "%b()", "%bxy", "%f[%w]", "%f[^a]", "%f[%z]", "^", "$", "-" }
  local odd = { "[", "%", "[^", "[a-", "%f", "%b", "%bx", "]", "(()", "%0", "[%" }
  local quantifiers = { "", "", "", "*", "+", "-", "?" }
  local letters = { "a", "a", "a", "b", "x", "y", "(", ")", "=", " ", "\n", "1", "2", ".", "%", "_", "\0", "\xE9", "Z" }

  local function text(rng, from, most, more)
    local parts = {}
    for i = 1, rng:integer(0, most) do
      parts[i] = rng:pick(from) .. (more and rng:pick(more) or "")
    end
    return table.concat(parts)
  end

  it("give what Lua's own give", function()
    local rng, ended, count = random.new(seed, 1), 0, 4000
    local replacements = { "<%0>", "%1%2", "%%", "-", "", "%", "%9", 7, { a = "A", b = false, aa = 5, x = {} },
      function(a) return a ~= "a" and a .. "!" or nil end, function() return false end, function() return {} end, true }
    for _ = 1, count do
      local pattern = (rng:chance(20) and "^" or "") .. text(rng, pieces, 6, quantifiers)
        .. (rng:chance(10) and rng:pick(odd) or "") .. (rng:chance(20) and "$" or "")
      local subject = text(rng, letters, 30)
      local from = rng:chance(30) and rng:integer(-35, 35) or nil
      local done = agree("find", subject, pattern, from, rng:chance(20)) and agree("match", subject, pattern, from)
        and agree("gmatch", subject, pattern, from)
        and agree("gsub", subject, pattern, rng:pick(replacements), rng:chance(30) and rng:integer(-1, 3) or nil)
      if done then ended = ended + 1 end
    end
    assert(ended > count * 0.9, ended)
  end)

  it("take the same arguments", function()
    for name in pairs(calls) do
      agree(name)
      agree(name, "a")
      agree(name, {}, "a")
      agree(name, 1234, 23, "x")
      agree(name, "a", "a", {}, "x")
      agree(name, "a", "a", 1.5, 1.5)
      agree(name, ("a"):rep(300), ("a*"):rep(220))
      agree(name, "b", ("a*"):rep(220), "")
      agree(name, "a", ("(a)"):rep(40), "")
      agree(name, ("a"):rep(300), ("a?"):rep(220), "")
    end
  end)

  -- Texts and patterns in which a match is nearly there, many times and in many ways.
  it("come to an end as soon as they have done too much", function()
    local rng, stopped = random.new(seed, 2), 0
    local items = { ".-", ".*", "a*", "a-", "a?", "[a-z]*", "[^b]-", "%w+", "(.-)", "%s*", "(a*)", "%1" }
    local lasts = { "b", "x$", "%d", "=", "%b()", "[", "%f[%d]" }
    local subjects = { ("a"):rep(100000), ("a "):rep(50000), ("("):rep(100000), ("a"):rep(300),
      ("ab"):rep(50000) .. "a" }
    for round = 1, 150 do
      local pattern = text(rng, items, 12) .. rng:pick(lasts)
      local subject, name = rng:pick(subjects), rng:pick { "find", "match", "gmatch", "gsub" }
      local began = os.clock()
      local _, _, limit = core.run_limited(function()
        pcall(calls[name], counted.string, subject, pattern, "")
        pcall(calls[name], counted.string, subject, pattern, "") -- what is stopped, cannot go on
      end, limits)
      -- Some milliseconds; a sanitizer on a busy machine takes a hundred times as long.
      assert(os.clock() - began < 20, ("seed %d, round %d: string.%s of %q"):format(seed, round, name, pattern))
      if limit then stopped = stopped + 1 end
    end
    assert(stopped > 10, stopped)
  end)

  it("count what they are given, not what it could be", function()
    local ok, problem = core.run_limited(function()
      local string = counted.string
      local lines = ("one line, of a text = that has many\n"):rep(10000)
      local n, at = 0, 1
      for line in string.gmatch(lines, "([^\n]*)\n") do n = n + #string.match(line, "^%s*(.-)%s*$") end
      while at do at = string.find(lines, "\n", at + 1, true) end
      assert(n == 10000 * 35 and select(2, string.gsub(lines, "%s*=%s*", ":")) == 10000)
    end, { instructions = 3000000, memory = 64 << 20 })
    assert(ok, problem)
  end)

  it("of tables are Lua's own", function()
    local rng = random.new(seed, 3)
    for _ = 1, 200 do
      local list, copy = {}, {}
      for i = 1, rng:integer(0, 40) do
        list[i] = rng:chance(50) and text(rng, letters, 3) or tostring(rng:integer(0, 99))
      end
      table.move(list, 1, #list, 1, copy)
      for _, call in ipairs {
        function(of, t) of.sort(t) end, function(of, t) of.sort(t, function(a, b) return a > b end) end,
        function(of, t) of.insert(t, "z") end, function(of, t) of.insert(t, 1, "y") end,
        function(of, t) return of.remove(t, 2) end, function(of, t) return of.remove(t) end,
        function(of, t) return of.concat(t, ", ") end, function(of, t) of.move(t, 1, 3, 2) end,
        function(of) of.insert(nil, 1) end, function(of, t) of.insert(t, 99, 1) end, function(of, t) of.insert(t) end,
        function(of) return of.concat({ {} }) end, function(of) of.sort { 1, "a" } end,
        function(of) of.move({}, 1, "x") end, function(of) of.move({}, -1 << 62, 1 << 62, 1) end,
        function(of, t) of.move(t, -3, 2, 1) end, function(of) of.move({}, math.mininteger, -1, 1) end,
        function(of) of.move({}, 0, math.maxinteger, 1) end,
      } do
        assert.equal(shown(pcall(call, table, list)), shown(pcall(call, counted.table, copy)))
        assert.same(list, copy)
      end
    end
    assert.equal("", counted.string.rep("", 1 << 62))
    for _, arguments in ipairs { { "x", 3, "," }, { "x", 1 << 62 }, { "x" }, { 5, "2" }, { "", 2, "ab" },
      { "", 7, {} } } do
      assert.equal(shown(pcall(string.rep, table.unpack(arguments))),
        shown(pcall(counted.string.rep, table.unpack(arguments))))
    end
  end)

  it("say where they were called when they are stopped", function()
    for _, text_of in ipairs {
      "local s = ('a'):rep(1e5)\nstring.find(s, '.-.-b')", "local t = {}\ntable.move(t, 1, 1 << 62, 2)",
      "local t = {}\ntable.move(t, -1 << 60, 0, 1)", "local t = {}\ntable.move(t, math.mininteger, -2, 1)",
      "local t = {} for i = 1, 1e4 do t[i] = -i end\nwhile true do table.insert(t, 1, 0) end",
      "local t, s = {}, ('x'):rep(10000) for i = 1, 2000 do t[i] = i % 2 == 0 and s or 'y' end\ntable.sort(t)",
    } do
      local chunk = assert(load(text_of, "=x", "t", { string = counted.string, table = counted.table, math = math }))
      local ok, message, limit = core.run_limited(chunk, { instructions = 1000000, memory = 64 << 20 })
      assert.same({ false, "x:2: too many instructions", "instructions" }, { ok, message, limit })
    end
  end)
end)
