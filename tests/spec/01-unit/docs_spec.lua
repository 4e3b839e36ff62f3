-- Documentation that repeats what the code says, and could fall behind it.
local common = require "lunadex.registry.schema"
local dialect = require "lunadex.dialect"
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
