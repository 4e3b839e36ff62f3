-- Documentation that repeats what the code says, and could fall behind it.
local common = require "lunadex.registry.schema"
local dialect = require "lunadex.dialect"
local lunadex = require "lunadex"
local core = require "lunadex.core"
local registry = require "lunadex.registry"
local shell = require "support.shell"

describe("docs/registry.md", function()
  local text = shell.read_file "docs/registry.md":gsub("%s+", " ")

  local function check(of, kinds)
    for name, kind in pairs(kinds) do
      it(("has every option of %s%s, in the words of the registry's messages"):format(name, of), function()
        for _, option in ipairs(kind.list or {}) do
          local found = false
          for row in text:gmatch("| `" .. option.name:gsub("%p", "%%%0") .. "` | ([^|]* | [^|]*) |") do
            found = found or row:find(option.description:gsub("%s+", " "), 1, true) ~= nil
          end
          assert.is_true(found, option.name .. ": " .. option.description)
        end
      end)
    end
  end
  check("", common.kinds)
  for _, driver in ipairs { "postgres", "mongodb" } do
    local schema = dialect.of(driver).schema
    check(" on " .. dialect.of(driver).product, schema.kinds)
    check(" on " .. dialect.of(driver).product, { key = schema.key })
  end
end)

describe("the reference", function()
  local reference = shell.read_file "docs/reference.md"
  local stubs = shell.read_file "lua/meta/core.lua"

  it("is what ./dev docs writes", function()
    assert.equal(shell.check "lua5.4 docs/generate.lua", reference)
  end)

  it("has all that scripts are given", function()
    local missing = {}
    local function check(prefix, of)
      for name in pairs(of) do
        if not reference:find(("\n### `%s%s[`(]"):format(prefix:gsub("%p", "%%%0"), name)) then
          missing[#missing + 1] = prefix .. name
        end
      end
    end
    check("lunadex.", lunadex)
    check("lunadex.bson.", lunadex.bson)
    assert.same({}, missing)
  end)

  it("has what the REPL's completion offers of connections, plans, tasks and backfills, and no more", function()
    local offered = require("lunadex.cli.repl.complete").for_scripts
    for class, variable in pairs { Connection = "db", Plan = "plan", Task = "task", SingleBackfill = "backfill" } do
      local methods = {}
      for name in reference:gmatch("\n### `" .. variable .. ":([%w_]+)%(") do methods[#methods + 1] = name end
      table.sort(methods)
      assert.equal(table.concat(methods, " "), offered["lunadex." .. class].methods)
    end
  end)

  it("has each method of what scripts are given, unless it says that it is the library's", function()
    local texts = {}
    for _, name in ipairs { "database", "session", "single", "plan", "task", "init" } do
      texts[#texts + 1] = shell.read_file(("lua/lunadex/%s.lua"):format(name))
    end
    local source = "\n" .. table.concat(texts, "\n")
    local function is_librarys(class, name)
      local last
      for _, form in ipairs { "\nfunction %s:%s%%(", "\n%s%%.%s = " } do
        local at = source:find(form:format(class, name))
        local before = at and source:sub(1, at)
        while before and before:find "\n%-%-%-[^\n]*\n$" do
          before, last = before:match "^(.*\n)(%-%-%-[^\n]*)\n$"
        end
      end
      return last and last:find "^%-%-%- For the library: " ~= nil
    end
    local classes = { { "Connection", "db" }, { "Session", "db" }, { "Plan", "plan" }, { "Task", "task" } }
    local tables = { require("lunadex.database").Connection, require("lunadex.session").Session,
      require("lunadex.plan").Plan, getmetatable(lunadex.spawn(function() end)) }
    local missing, looked_at = {}, 0
    for i, class in ipairs(classes) do
      for name, method in pairs(tables[i]) do
        if type(method) == "function" and not name:find "^__" then
          looked_at = looked_at + 1
          local told = reference:find(("\n### `%s:%s("):format(class[2], name), 1, true) ~= nil
          if told == is_librarys(class[1], name) then missing[#missing + 1] = class[1] .. ":" .. name end
        end
      end
    end
    assert.same({}, missing)
    assert.is_true(looked_at > 25, looked_at)
  end)

  it("says of each thing what it is, and of each argument", function()
    local silent = {}
    for heading, text in reference:gmatch "\n### (`[^\n]+`)\n\n([^\n]*)" do
      if text == "" or text:find "^[#-] " then silent[#silent + 1] = heading end
    end
    for path, text in pairs {
      ["lua/lunadex/init.lua"] = shell.read_file "lua/lunadex/init.lua",
      ["lua/lunadex/single.lua"] = shell.read_file "lua/lunadex/single.lua",
      ["lua/lunadex/session.lua"] = shell.read_file "lua/lunadex/session.lua",
      ["lua/lunadex/bson.lua"] = shell.read_file "lua/lunadex/bson.lua",
    } do
      for comment, name, arguments in text:gmatch "\n(%-%-%-[^\n]*)\nfunction ([%w_.:]+)%((.-)%)" do
        local before = text:sub(1, text:find("function " .. name, 1, true))
        local block = before:match "\n\n([^\n].-)$" or comment
        while block:find "\n\n" do block = block:match "\n\n(.*)$" end
        for argument in arguments:gmatch "[%w_]+" do
          if not block:find("---@param " .. argument .. "%f[%W]") then
            silent[#silent + 1] = ("%s: %s of %s"):format(path, argument, name)
          end
        end
      end
    end
    assert.same({}, silent)
  end)

  it("of the core for the library has every binding", function()
    local missing = {}
    for name in pairs(core) do
      local found = stubs:find("\nfunction core." .. name .. "(", 1, true)
        or stubs:find("\ncore." .. name .. " ", 1, true)
      if not found then missing[#missing + 1] = name end
    end
    -- The methods are what the sources register, in arrays called after their classes.
    local looked_at = 0
    for _, file in ipairs { "database", "declarations", "catalog", "diff", "editor" } do
      local text = shell.read_file(("core/lua/%s.c"):format(file))
      for of, list in text:gmatch "luaL_Reg (%l*)_?methods%[%] = (%b{})" do
        local class = (of ~= "" and of or file):gsub("^%l", string.upper)
        looked_at = looked_at + 1
        for name in list:gmatch '"([%l_]+)"' do
          if not stubs:find(("\nfunction %s:%s("):format(class, name), 1, true) then
            missing[#missing + 1] = class .. ":" .. name
          end
        end
      end
    end
    assert.equal(7, looked_at)
    assert.same({}, missing)
  end)
end)

describe("registries in the documentation", function()
  local function blocks(path)
    return shell.read_file(path):gmatch "```lua\n(.-)```"
  end

  it("of README.md are right", function()
    local number = 0
    for text in blocks "README.md" do
      number = number + 1
      local target = (text:find "expire_after" and "mongodb" or "postgresql") .. "://localhost/shop"
      local loaded, mistakes = registry.parse(text, "README.lua", { target = target })
      assert.is_truthy(loaded, mistakes and tostring(mistakes[1]))
    end
    assert.is_true(number >= 2)
  end)
end)

describe("the manual page", function()
  it("has every command and option of the program", function()
    local manual = shell.read_file("docs/lunadex.1"):gsub("\\%-", "-")
    local missing = {}
    local program = require("support.lunadex")
    local overview = program.run({ "--help" }).stdout
    for command in ("\n" .. overview:match "Commands:\n(.-)\n\n"):gmatch "\n   (%l+) " do
      if not manual:find("\n.B " .. command .. "\n", 1, true) then missing[#missing + 1] = command end
      for option in program.run({ command, "--help" }).stdout:match("(.-)\nexamples:"):gmatch "%-%-[%l-]+" do
        local known = option == "--help" or manual:find(option, 1, true)
        if not known then missing[#missing + 1] = command .. " " .. option end
      end
    end
    assert.same({}, missing)
  end)
end)
