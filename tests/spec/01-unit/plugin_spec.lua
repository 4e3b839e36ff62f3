local plugin = require "lunadex.plugin"
local registry = require "lunadex.registry"

describe("plugins", function()
  local folder

  local function write(name, text)
    local file = assert(io.open(folder .. "/" .. name .. ".lua", "w"))
    file:write(text)
    file:close()
  end

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir '" .. folder .. "'"))
  end)
  after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

  it("are found by name, the project's first", function()
    local shipped = assert(plugin.load("dictionary", { folder = "nowhere", path = "" }))
    assert.same({ "yaml", "yml", "dict" }, shipped.import.extensions)
    write("dictionary", 'return { name = "dictionary", describe = "mine" }')
    assert.equal("mine", assert(plugin.load("dictionary", { folder = folder, path = "" })).describe)
    assert.equal("mine", assert(plugin.load("dictionary", { folder = "nowhere", path = "/x:" .. folder })).describe)
  end)

  it("do not leak globals", function()
    write("leaky", 'leaked = 5 return { name = "leaky", describe = tostring(leaked) }')
    assert.equal("5", assert(plugin.load("leaky", { folder = folder, path = "" })).describe)
    assert.is_nil(rawget(_G, "leaked"))
  end)

  local wrong = {
    ["return 5"] = "expected one table", ["x x"] = "syntax error", ["error 'no'"] = "no",
    ["return { name = 'other', describe = 'x' }"] = 'calls itself "other"', ["return { name = 'p' }"] = '"describe"',
    ["return { name = 'p', describe = 'x', hoks = {} }"] = 'did you mean "hooks"?',
    ["return { name = 'p', describe = 'x', hooks = { a = 1 } }"] = 'hook "a" is a number',
    ["return { name = 'p', describe = 'x', import = {} }"] = 'no function "load"',
    ["return { name = 'p', describe = 'x', import = { load = print, extensions = { '.x' } } }"] = "no extension",
  }
  for text, expected in pairs(wrong) do
    it("are checked when they are loaded: " .. text, function()
      write("p", text)
      local loaded, message = plugin.load("p", { folder = folder, path = "" })
      assert.is_nil(loaded)
      assert(message:find(folder .. "/p.lua", 1, true), message)
      assert(message:find(expected, 1, true), message)
    end)
  end

  it("read registries of other formats", function()
    write("words", [[return { name = "words", describe = "a line per index", import = { extensions = { "words" },
      load = function(text, _, words)
        local list, n = {}, 0
        for line in text:gmatch "[^\n]+" do
          n = n + 1
          local relation, column = line:match "^(%S+) (%S+)$"
          if not relation then return nil, { { line = n, message = "two words expected" } } end
          list[#list + 1] = { relation = relation, line = n,
            items = { { kind = "index", line = n, options = { words.desc(column) } } } }
        end
        return list
      end } }]])
    local options = { plugins = { folder = folder, path = "" } }
    local loaded = assert(registry.parse("s.t a\ns.u b\n", "x.words", options))
    assert.same({ { column = "b", descending = true } }, loaded.databases[1].entries[2].fields.keys)
    local _, errors = registry.parse("one\n", "x.words", options)
    assert.equal("x.words:1: two words expected", tostring(errors[1]))
  end)

  it("that are not there are named with where they were looked for", function()
    local _, message = plugin.load("nothing", { folder = folder, path = "/else" })
    assert(message:find(folder .. "/nothing.lua", 1, true) and message:find("/else/nothing.lua", 1, true), message)
    assert.is_nil((plugin.load("../evil")))
  end)
end)
