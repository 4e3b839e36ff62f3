-- The layers look one way only: registry → plugins → lua/lunadex → core/lua → engine → drivers → model → base.
-- Includes and requires are read from the sources themselves, so that a shortcut shows on the day it is taken.
local shell = require "support.shell"

local function files(pattern)
  local list = {}
  -- Untracked files count: a file is checked before it is committed.
  for path in shell.check("git ls-files --cached --others --exclude-standard -- " .. pattern):gmatch("[^\n]+") do
    if shell.read_file(path) then list[#list + 1] = path end
  end
  table.sort(list)
  return list
end

-- folder → the folders of core/ it may include from, besides its own and the contracts in core/include/lunadex
local may_include = {
  ["core/base"] = {},
  ["core/model"] = { "base" },
  ["core/drivers/postgres"] = { "base", "model" },
  ["core/drivers/mongodb"] = { "base", "model" },
  ["core/drivers/fake"] = { "base", "model" },
  ["core/engine"] = { "base", "model" },
  ["core/lua"] = { "base", "model", "engine" },
  ["core/host"] = { "base", "lua", "drivers/fake" }, -- the fake driver in the test host only
}

-- The contracts a folder may know: the lower ones do not know that servers or threads exist.
local may_know = {
  ["core/base"] = { "arena", "error", "value" },
  ["core/model"] = { "arena", "error", "index", "catalog", "diff" },
  ["core/drivers/postgres"] = { "arena", "error", "index", "catalog", "diff", "driver", "value" },
  ["core/drivers/mongodb"] = { "arena", "error", "index", "catalog", "diff", "driver", "value" },
}

-- foreign header → the only folders that may include it
local foreign = {
  ["libpq-fe.h"] = { "core/drivers/postgres" },
  ["pg_query.h"] = { "core/drivers/postgres" },
  ["pg_query/"] = { "core/drivers/postgres" },
  ["mongoc/"] = { "core/drivers/mongodb" },
  ["bson/"] = { "core/drivers/mongodb" },
  ["histedit.h"] = { "core/lua" },
  ["lua.h"] = { "core/lua", "core/host" },
  ["lauxlib.h"] = { "core/lua", "core/host" },
  ["lualib.h"] = { "core/lua", "core/host" },
}

-- Headers without a server in them, open to the bindings although they are a driver's: SQL as text.
local open_to_bindings = { ["drivers/postgres/parse.h"] = true, ["drivers/postgres/render.h"] = true }

-- What a plugin may require besides the library as a whole: helpers that say of themselves that they are for plugins.
local open_to_plugins = { ["lunadex.plugin"] = true, ["lunadex.suggest"] = true }

local function contains(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

local function layer(path)
  local best
  for folder in pairs(may_include) do
    if path:sub(1, #folder + 1) == folder .. "/" and #folder > #(best or "") then best = folder end
  end
  return best
end

describe("layers", function()
  it("of the core include downwards only", function()
    local wrong = {}
    for _, path in ipairs(files "'core/*.c' 'core/*.h'") do
      local folder = layer(path)
      for header in shell.read_file(path):gmatch('#include%s+[<"]([^>"]+)[>"]') do
        local function complain(why) wrong[#wrong + 1] = ("%s includes %s: %s"):format(path, header, why) end
        for name, folders in pairs(foreign) do
          if header:sub(1, #name) == name and not contains(folders, folder) then
            complain("only " .. table.concat(folders, " and ") .. " may")
          end
        end
        local contract = header:match("^lunadex/(.*)%.h$")
        local known = folder and may_know[folder]
        if contract and known and not contains(known, contract) then complain("above its layer") end
        local other = header:match("^(%l+)/")
        local from = header:match("^drivers/%l+") or other
        if folder and not contract and from and may_include["core/" .. from] and "core/" .. from ~= folder
          and not contains(may_include[folder], from)
          and not (folder == "core/lua" and open_to_bindings[header]) then
          complain("not below it")
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("of the library require downwards only", function()
    local wrong = {}
    for _, path in ipairs(files "'lua/lunadex/*.lua' 'plugins/*.lua' 'registry/*.lua'") do
      for module in shell.read_file(path):gmatch("require%s*%(?%s*[\"']([%w_.]+)[\"']") do
        local bad
        if path:find "^plugins/" then
          -- The public API only: it is what other people's plugins have.
          bad = module:find "^lunadex%." and not open_to_plugins[module] and not module:find "^lunadex%.plugins%."
        elseif path:find "^registry/" then
          bad = not (path:find "/scripts/" and module == "lunadex")
        elseif not path:find "^lua/lunadex/cli/" then
          bad = module:find "^lunadex%.cli" or module:find "^lunadex%.plugins%."
        end
        if bad then wrong[#wrong + 1] = ("%s requires %s"):format(path, module) end
      end
    end
    assert.same({}, wrong)
  end)
end)

describe("lists of sources", function()
  local function listed(cmake)
    local set = {}
    for word in shell.read_file(cmake):gsub("#[^\n]*", ""):gmatch("[%w_/.-]+") do set[word] = true end
    return set
  end

  local function compare(cmake, pattern, name_of)
    local set, missing = listed(cmake), {}
    for _, path in ipairs(files(pattern)) do
      local name = name_of(path)
      if name and not set[name] then missing[#missing + 1] = path end
    end
    assert.same({}, missing, "not listed in " .. cmake)
  end

  it("name every C and SQL file of the core", function()
    compare("core/CMakeLists.txt", "'core/*.c' 'core/drivers/postgres/sql/*.sql'", function(path)
      return path:match("^core/(.*)")
    end)
  end)

  it("name every Lua file that is carried inside", function()
    compare("lua/CMakeLists.txt", "'lua/lunadex/*.lua'", function(path)
      return path:match("^lua/lunadex/(.*)%.lua$")
    end)
    compare("lua/CMakeLists.txt", "'plugins/*.lua'", function(path)
      return path:match("^plugins/(.*)%.lua$")
    end)
  end)

  it("name every C test", function()
    compare("tests/c/CMakeLists.txt", "'tests/c/*.c'", function(path) return path:match("^tests/c/(.*)%.c$") end)
  end)
end)

describe("texts", function()
  it("name no path of one machine and no registry's host", function()
    local wrong = {}
    for _, path in ipairs(files ".") do
      local text = shell.read_file(path)
      for _, pattern in ipairs { "/work/%l", "%f[%w]/root/%l", "https?://[%w.]*maven", "https?://[%w.]*debian" } do
        local found = text:match(pattern)
        if found and not path:find "layers_spec" then wrong[#wrong + 1] = path .. ": " .. found end
      end
    end
    assert.same({}, wrong)
  end)
end)
