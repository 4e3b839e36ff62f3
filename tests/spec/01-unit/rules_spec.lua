-- What may be declared of rules, and what is said of all else; what their verdicts may be.
local ask = require "lunadex.rules.ask"
local dialect = require "lunadex.dialect"
local options = require "lunadex.rules.options"
local plugin = require "lunadex.plugin"
local problem = require "lunadex.registry.problem"
local random = require "support.random"
local registry = require "lunadex.registry"
local rules = require "lunadex.rules"
local shell = require "support.shell"
local verdict = require "lunadex.rules.verdict"

local function parse(text, more)
  local loaded, errors = registry.parse(text, "shop.lua", more)
  return loaded, errors and tostring(errors[1]), errors
end

describe("a rule's declaration", function()
  local wrong = {
    { [[rule "r" {}]], 'rule "r" has no check' },
    { [[rule "namin" {}]], 'did you mean "naming"?' },
    { [[rule "r" { check = 5 }]], "option check of rule is 5; expected a function" },
    { [[rule "r" { on = 5, check = error }]], "option on of rule is 5; expected a table or a text" },
    { [[rule "r" { on = {}, check = error }]], "option on of rule is empty" },
    { [[rule "r" { on = { create = true }, check = error }]], 'holds the key "create"' },
    { [[rule "r" { on = { "creat" }, check = error }]], 'holds "creat"; expected some of "create"' },
    { [[rule "r" { onn = "create", check = error }]], 'did you mean "on"?' },
    { [[rule "r" { only = "x", on = "index", check = error }]], 'option only of rule is "x"; expected a table' },
    { [[rule "r" { only = {}, on = "index", check = error }]], "option only of rule is empty" },
    { [[rule "r" { only = { name = "x" }, on = "index", check = error }]], 'holds "name"; expected kind, method' },
    { [[rule "r" { only = { keys = "1" }, on = "index", check = error }]], 'has keys = "1"; expected fields' },
    { [[rule "r" { only = { keys = 1.5 }, on = "index", check = error }]], "has keys = 1.5; expected fields" },
    { [[rule "r" { only = { keys = 1 }, check = error }]], "only is about indexes, which it is not asked about" },
    { [[rule "naming" { only = { keys = 1 } }]], "only belongs to a rule with check" },
    { [[rule "r" { only = { uniq = true }, on = "index", check = error }]], 'did you mean "unique"?' },
    { [[rule "r" { on = { "crate" }, check = error }]], '"plan"; did you mean "create"?' },
    { [[rule "r" { chekc = error }]], 'did you mean "check"?' },
    { [[rule "r" { check = error, options = { a = { tpye = "text" } } }]], 'did you mean "type"?' },
    { [[rule "r" { check = error, options = { a = { type = "numbr" } } }]], 'did you mean "number"?' },
    { [[rule "r" { when = "create", check = error }]], 'did you mean "on"?' },
    { [[rule "r" { check = error, options = 5 }]], "option options of rule is 5; expected a table" },
    { [[rule "r" { check = error, options = { 5 } }]], "options holds the key 1" },
    { [[rule "r" { check = error, options = { a = 5 } }]], 'option "a" is 5; expected { type = "number"' },
    { [[rule "r" { check = error, options = { a = { type = "int" } } }]],
      'has the type "int"; expected one of boolean' },
    { [[rule "r" { check = error, options = { a = { type = "number", default = "x" } } }]],
      'the default "x"; expected a number' },
    { [[rule "r" { check = error, options = { a = { type = "number", min = 1 } } }]], 'option "a" holds "min"' },
    { [[rule "naming" { options = { pattrn = "x" } }]],
      'has no option "pattrn"; expected one of kinds, pattern; did you mean' },
    { [[rule "naming" { options = { pattern = 5 } }]], "option pattern is 5; expected a Lua pattern" },
    { [[rule "naming" { options = { pattern = "(" } }]], 'option pattern is "("; expected a Lua pattern' },
    { [[rule "naming" { options = { pattern = "^.-.-.-.-.-.-.-x" } }]], "a Lua pattern that is quickly matched" },
    { [[rule "naming" { options = { kinds = { "idx" } } }]], 'expected some of "index"' },
    { [[rule "too-many-indexes" { options = { most = 0.5 } }]], "option most is 0.5; expected a whole number" },
    { [[rule "build-window" { options = { from = "25:99" } }]], 'option from is "25:99"; expected a time of day' },
    { [[rule "build-window" { options = { days = { "saturday" } } }]], 'expected some of "sun", "mon"' },
    { [[rule "r" { check = error, options = { a = { type = "text", check = error } } }]], 'option "a" holds "check"' },
    { [[on "t" { index { "a", allow = { naming = "  " } } }]], 'option allow of index has "naming" = "  "' },
    { [[rule "unused-index" { options = { since = "soon" } }]], 'option since is "soon"; expected seconds' },
    { [[rule "naming" { check = error }]], "is the name of one that is there already" },
    { [[rule "naming" { off = true }]], "option off of rule is true; expected a text" },
    { "rule \"r\" { check = error }\nrule \"r\" { check = error }", 'rule "r" stands at shop.lua:1 as well', 2 },
    { [[rule(5) {}]], "rule is followed by 5" },
    { [[rule "" { check = error }]], 'a rule has no name' },
    { [[rule "r"]], "is not followed by { … }" },
    { [[on "t" { rule "r" { check = error } }]], "on holds rule" },
  }
  for _, case in ipairs(wrong) do
    it("is checked: " .. case[1]:gsub("\n", " "), function()
      local loaded, message = parse(case[1])
      assert.is_nil(loaded)
      assert.equal("shop.lua:" .. (case[3] or 1) .. ":", message:match "^shop.lua:%d+:")
      assert(message:find(case[2], 1, true), message)
    end)
  end

  it("of any wrong types is a mistake with file and line, or taken as it is", function()
    local values = { "5", "'x'", "{}", "true", "nil", "{ 1, 'create' }", "function() end", "0/0", "-1", "null", "env",
      "index { 'a' }", "{ { {} } }", "math", "''", "'\\0\\xff'" }
    local words = { "on", "check", "options", "off", "description", "nonsense", "[1]", "[true]", "[{}]" }
    local numbers = random.new(11)
    local function pick(list) return list[numbers:integer(1, #list)] end
    local refused = 0
    for _ = 1, 500 do
      local parts = {}
      for _ = 1, numbers:integer(0, 4) do parts[#parts + 1] = pick(words) .. " = " .. pick(values) end
      local text = ("\nrule %s { %s }"):format(pick { '"r"', '"naming"', '"unused-index"', "5", "{}", "nil" },
        table.concat(parts, ", "))
      local loaded, _, errors = parse(text)
      refused = refused + (loaded and 0 or 1)
      for _, err in ipairs(errors or {}) do
        assert(tostring(err):find "^shop%.lua:2: ", text .. " → " .. tostring(err))
      end
    end
    assert.is_true(refused > 100)
  end)

  it("is about its own database, and others set what one has", function()
    local loaded = assert(parse [[
database "a" { url = "postgresql://x/a", rule "own" { check = function() end } }
database "b" { url = "postgresql://x/b", rule "naming" { options = { pattern = "^b" } } }
rule "both" { check = function() end, options = { n = { type = "size", default = "1kB" } } }
rule "both" { options = { n = "2kB" }, off = "for now" }
rule "lone-boolean" { off = "we know" } ]])
    local function of(i)
      local map, order = {}, {}
      for k, rule in ipairs(rules.of(loaded.databases[i], "postgres", true)) do
        map[rule.name], order[k] = rule, rule.name
      end
      return map, table.concat(order, " ")
    end
    local a, order = of(1)
    local b = of(2)
    assert.matches("unused%-index used%-index%-drop own both$", order)
    assert.is_nil(b.own)
    assert.same({ n = 2048 }, a.both.values)
    assert.same({ false, "for now" }, { a.both.asked, a.both.off })
    assert.same({ false, true, "^b" }, { a.naming.asked, b.naming.asked, b.naming.values.pattern })
    assert.same({ false, "we know" }, { a["lone-boolean"].asked, a["lone-boolean"].off })
    for _, rule in ipairs(rules.of(loaded.databases[1], "mongodb", true)) do
      assert.is_not.equal("foreign-key-without-index", rule.name)
    end
  end)
end)

describe("a plugin's rule", function()
  local folder
  before_each(function()
    folder = shell.directory "plugins"
  end)

  local function write(name, body)
    shell.write_file(("%s/%s.lua"):format(folder, name), body)
  end

  it("is checked when it is loaded", function()
    for body, expected in pairs {
      ["rule = 5"] = 'field "rule" is a number', ["rule = { on = { 'create' } }"] = 'has no function "check"',
      ["rule = { check = 5 }"] = 'is a number; expected a function',
      ["rule = { chek = print }"] = 'did you mean "check"?',
      ["rule = { check = print, on = { 'creat' } }"] = 'holds "creat"',
      ["rule = { check = print, on = 'index', only = { knd = 'x' } }"] = '"rule.only" holds "knd"; expected kind,',
      ["rule = { check = print, only = { kind = 'index' } }"] = "only is about indexes",
      ["rule = { check = print, default = 'always' }"] = 'neither "plan" nor "check"',
      ["rule = { check = print, driver = 'mysql' }"] = 'neither "postgres" nor "mongodb"',
      ["options = { a = 5 }, rule = { check = print }"] = 'option "a" is 5',
    } do
      write("p", ("return { name = 'p', describe = 'x', %s }"):format(body))
      local loaded, message = plugin.load("p", { folder = folder, path = "" })
      assert.is_nil(loaded)
      assert(message:find(folder .. "/p.lua", 1, true) and message:find(expected, 1, true), message)
    end
  end)

  it("looks at the values of its options itself", function()
    write("p", [[return { name = "p", describe = "x", rule = { check = print }, options = { n = { type = "number",
      default = 2, check = function(value) return value % 2 == 0, "an even number" end } } }]])
    local function set(value)
      local loaded, errors = registry.parse(("rule 'p' { options = { n = %s } }"):format(value), "r.lua",
        { plugins = { folder = folder, path = "" } })
      return loaded and "fine" or tostring(errors[1])
    end
    assert.equal("fine", set(4))
    assert.matches("r.lua:1: rule \"p\": option n is 3; expected an even number", set(3), 1, true)
    write("p", [[return { name = "p", describe = "x", rule = { check = print }, options = { n = { type = "number",
      default = 1, check = function(value) return value % 2 == 0, "an even number" end } } }]])
    local _, message = plugin.load("p", { folder = folder, path = "" })
    assert.matches("has the default 1; expected an even number", message, 1, true)
  end)

  it("comes after those of Lunadex, or takes the place of one", function()
    write("aaa", "return { name = 'aaa', describe = 'x', rule = { default = 'plan', check = function() end } }")
    write("naming", "return { name = 'naming', describe = 'ours', rule = { default = 'plan', check = print } }")
    write("bbb", "return { name = 'bbb', describe = 'x', rule = { on = 'index', check = function() end } }")
    write("other", "error 'not a rule, and not run'")
    write("made", "local r = {} function r.check() end return { name = 'made', describe = 'x', rule = r }")
    local names, list = {}, plugin.rules { folder = folder, path = "" }
    for i, each in ipairs(list) do names[i] = each.name end
    assert.same({ "aaa", "bbb", "made" }, { table.unpack(names, #names - 2) })
    assert.same({ "index" }, list[#list - 1].rule.on)
    assert.equal("naming", names[8])
    assert.equal("ours", list[8].describe)
    local loaded = assert(registry.parse([[ rule "aaa" {} ]], "r.lua", { plugins = { folder = folder, path = "" } }))
    local asked = {}
    for _, each in ipairs(rules.of(loaded.databases[1], "postgres")) do asked[each.name] = each.asked end
    assert.same({ true, true, false }, { asked.aaa, asked.naming, asked.bbb })
    assert.is_nil(asked["scattered-query"]) -- MongoDB's
  end)
end)

describe("a verdict", function()
  local postgres, entry = dialect.of "postgres", {}

  it("is one of a few words, or a table", function()
    assert.same({ verdict = "warn", message = "m" }, verdict.of("warn", "m", postgres, entry))
    assert.same({ verdict = "block", message = "" }, verdict.of("block", nil, postgres, entry))
    assert.same({ verdict = "allow", message = "", amend = { mode = "blocking", lock_timeout = 300, critical = true } },
      verdict.of({ amend = { mode = "blocking", lock_timeout = "5min", critical = true } }, nil, postgres, entry))
    assert.same({ verdict = "put off", message = "later" },
      verdict.of({ message = "later", amend = { put_off = true } }, nil, postgres, entry))
    assert.same({ verdict = "block", message = "" }, verdict.of({ verdict = "block", amend = { put_off = true } }, nil,
      postgres, entry))
  end)

  it("is told where it is none", function()
    local function flaw(expected, ...)
      local result, message = verdict.of(...)
      assert.is_nil(result)
      assert(message:find(expected, 1, true), message)
    end
    flaw("gave true", true, nil, postgres, entry)
    flaw('gave "blok"', "blok", nil, postgres, entry)
    flaw("the message is 5", "warn", 5, postgres, entry)
    flaw('gave a table with "mesage"', { mesage = "x" }, nil, postgres, entry)
    flaw("gave nil", {}, nil, postgres, entry)
    flaw('changes holds "creat"; expected', { verdict = "block", changes = "creat" }, nil, postgres, entry)
    flaw("amend is 5", { amend = 5 }, nil, postgres, entry)
    flaw('cannot change "where"', { amend = { where = "x" } }, nil, postgres, entry)
    flaw('did you mean "mode"?', { amend = { mod = "auto" } }, nil, postgres, entry)
    flaw('mode is "fast"; expected one of', { amend = { mode = "fast" } }, nil, postgres, entry)
    flaw("lock_timeout is true", { amend = { lock_timeout = true } }, nil, postgres, entry)
    flaw("put_off is 1", { amend = { put_off = 1 } }, nil, postgres, entry)
    flaw("is not declared", { amend = { critical = true } }, nil, postgres, nil)
    flaw('cannot change "mode"', { amend = { mode = "auto" } }, nil, dialect.of "mongodb", entry)
    -- What a plugin's metatable has would run where no limit holds.
    local odd = setmetatable({}, { __index = error, __pairs = error, __tostring = error, __metatable = false })
    flaw("gave a table with a metatable", odd, nil, postgres, entry)
    flaw("gave a table with a metatable", { amend = odd }, nil, postgres, entry)
    flaw("gave a table with a metatable", { verdict = "block", changes = odd }, nil, postgres, entry)
    flaw("the message is a table", "warn", odd, postgres, entry)
  end)

  it("is no longer than anybody reads", function()
    assert.is_true(#verdict.of("warn", ("x"):rep(1e6), postgres, entry).message < 2100)
  end)
end)

describe("what a rule gives", function()
  it("is not kept as it came", function()
    local views, relations, abouts = {}, {}, {}
    for i = 1, 150 do views[i], relations[i], abouts[i] = {}, false, i end
    local scene = { missing = {}, context = function() return {}, function() end end }
    local rule = { name = "r", file = "r.lua", check = function() return "warn", ("x"):rep(1000 * 1000) end }
    local answers = ask.of(rule, scene):all({ views = views, relations = relations, abouts = abouts }, error,
      function(_, first, second) return verdict.of(first, second, dialect.of "postgres", {}) end)
    collectgarbage()
    assert.equal(150, #answers)
    assert.is_true(collectgarbage "count" < 100 * 1000)
    for i, answer in ipairs(answers) do
      assert.same({ i, nil, "warn" }, { answer.about, answer.failed, answer.verdict.verdict })
      assert.is_true(#answer.verdict.message < 2100)
    end
  end)

  it("is cut where it is what went wrong", function()
    local scene = { missing = {}, context = function() return {}, function() end end }
    local rule = { name = "r", file = "r.lua", check = function() error("\255" .. ("x"):rep(1e6)) end }
    local answers = ask.of(rule, scene):all({ views = { {} }, relations = { false }, abouts = { 1 } }, error, error)
    assert.is_true(#answers[1].failed < 2200)
    assert.truthy(utf8.len(answers[1].failed))
  end)

  it("is made no text of where it is none", function()
    local asked = false
    local odd = setmetatable({}, { __tostring = function() asked = true return "odd" end })
    local scene = { missing = {}, context = function() return {}, function() end end }
    local rule = { name = "r", file = "r.lua", line = 3, check = function() error(odd) end }
    local answers = ask.of(rule, scene):all({ views = { {} }, relations = { false }, abouts = { 1 } }, error, error)
    assert.same({ "r.lua:3: error: (a table)", false }, { answers[1].failed, asked })
  end)

  it("is cleaned of a secret once, however often a rule asks for it", function()
    local list = problem.list()
    for _ = 1, 100 do list:hide("DB_PASS", "hunter2") end
    assert.same({ "hunter2" }, { table.unpack(list.hidden) })
    assert.equal("a *** b", list:clean "a hunter2 b")
  end)

  it("is not asked any more once it keeps too much, whatever each question takes", function()
    local most = ask.most_kept
    finally(function() ask.most_kept = most end)
    ask.most_kept = 20 * 1024 * 1024
    local views, relations, abouts, kept = {}, {}, {}, {}
    for i = 1, 1000 do views[i], relations[i], abouts[i] = {}, false, i end
    local function answers(check)
      local scene = { missing = {}, context = function() return {}, function() end end }
      local rule = { name = "r", file = "r.lua", line = 1, check = check }
      return ask.of(rule, scene):all({ views = views, relations = relations, abouts = abouts }, error, error)
    end
    local told = answers(function() kept[#kept + 1] = (("x"):rep(50 * 1000) .. #kept) end)
    assert.matches("r.lua:1: keeps more than 20 MB from question to question and is not asked any more",
      told[1].failed, 1, true)
    assert.equal(1000, told[#told].about)
    assert.is_true(#kept < 900)
    kept = {}
    assert.same({}, answers(function() kept[1] = (("x"):rep(100 * 1000) .. #kept) end))
  end)
end)

describe("values of options", function()
  it("are seconds and bytes where they are durations and sizes", function()
    local declared = { a = { type = "duration", default = "1d" }, b = { type = "size" }, c = { type = "boolean" } }
    assert.same({ a = 86400 }, options.values(declared, nil))
    assert.same({ a = 60, b = 1024 ^ 3, c = false }, options.values(declared, { a = "1min", b = "1 GB", c = false }))
  end)
end)
