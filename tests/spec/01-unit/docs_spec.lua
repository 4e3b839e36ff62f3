-- Documentation that repeats what the code says, and could fall behind it.
local schema = require "lunadex.registry.schema"
local shell = require "support.shell"

describe("docs/registry.md", function()
  local text = shell.read_file "docs/registry.md":gsub("%s+", " ")

  for name, kind in pairs(schema.kinds) do
    it("has every option of " .. name .. ", in the words of the registry's messages", function()
      for _, option in ipairs(kind.list) do
        if not option.backend then
          local found = false
          for row in text:gmatch("| `" .. option.name:gsub("%p", "%%%0") .. "` | ([^|]* | [^|]*) |") do
            found = found or row:find(option.description:gsub("%s+", " "), 1, true) ~= nil
          end
          assert.is_true(found, option.name .. ": " .. option.description)
        end
      end
    end)
  end
end)
