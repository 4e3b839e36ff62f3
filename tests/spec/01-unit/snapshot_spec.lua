-- The text alone, from scripted catalogs; that it loads and plans to nothing is tests/spec/04-postgres/snapshot_spec.
local lua_text = require "lunadex.lua_text"

describe("a snapshot of PostgreSQL", function()
  local snapshot

  setup(function()
    package.loaded["lunadex.core"] = {
      quote_name = function(schema, name) return (schema and schema .. "." or "") .. name end,
    }
    package.loaded["lunadex.postgres.snapshot"] = nil
    snapshot = require "lunadex.postgres.snapshot"
  end)
  teardown(function()
    package.loaded["lunadex.core"], package.loaded["lunadex.postgres.snapshot"] = nil, nil
  end)

  local function relation(display, indexes, partitions)
    local result = {
      display = display, extension_owned = false,
      indexes = function() return indexes end,
      partitions = function() return partitions or {} end,
    }
    for i, index in ipairs(indexes) do
      index.relation, index.id = result, index.id or i
      index.kind, index.text = index.fields_.kind, index.text or "…"
      if index.valid == nil then index.valid, index.live = true, true end
      function index:fields() return self.fields_ end
    end
    return result
  end

  local function text(...)
    local relations = { ... }
    return snapshot.text {
      relations = function()
        local i = 0
        return function()
          i = i + 1
          return relations[i]
        end
      end,
    }
  end

  local function one(fields)
    fields.kind = fields.kind or "index"
    local written = text(relation("public.t", { { name = "x", fields_ = fields } }))
    return (written:match("%{\n(.*)\n%}\n$"):gsub("%s+", " "):gsub(", }", " }"):gsub("^ ", ""))
  end

  it("quotes any name", function()
    local all = { "plain", 'qu"ote', "back\\slash", "new\nline", "]]", 'a"]]', 'a"]', "ümläut", "nul\1\0", "'" }
    for _, given in ipairs(all) do
      assert.equal(given, load("return " .. lua_text.quote(given))())
      assert.is_nil(lua_text.quote(given):find("\n", 1, true))
    end
  end)

  it("writes keys as people would", function()
    assert.equal([[index { "a", desc "b", expr "lower(c)", name = "x" },]], one {
      keys = { { column = "a", nulls = "last" }, { column = "b", descending = true, nulls = "first" },
        { expression = "lower(c)", nulls = "last" } },
    })
    assert.equal([[index { key { "a", nulls = "first" }, key { "b", desc = true, nulls = "last" }, ]]
      .. [[key { expr "c", desc = true }, name = "x" },]], one {
      keys = { { column = "a", nulls = "first" }, { column = "b", descending = true, nulls = "last" },
        { expression = "c", descending = true, nulls = "first" } },
    })
    assert.equal([==[index { key { "a", opclass = { "gist_trgm_ops", siglen = "32" }, collate = [["C"]] }, ]==]
      .. [[name = "x", method = "gist" },]], one {
      method = "gist",
      keys = { { column = "a", opclass = "gist_trgm_ops", opclass_options = { { "siglen", "32" } },
        collation = '"C"' } },
    })
  end)

  it("writes every part of a definition", function()
    local written = one {
      keys = { { column = "a" } }, unique = true, nulls_not_distinct = true, include = { "b", 'c"' },
      where = "(b > 'x'::text)", with = { { "fillfactor", "70" }, { "deduplicate_items", "off" } }, tablespace = "fast",
    }
    for _, part in ipairs {
      "unique = true", "nulls_distinct = false", 'include = { "b", [[c"]] }', [[where = "(b > 'x'::text)"]],
      'with = { { "fillfactor", "70" }, { "deduplicate_items", "off" } }', 'tablespace = "fast"',
    } do
      assert.is_truthy(written:find(part, 1, true), part .. " in " .. written)
    end
    assert.equal([[foreign_key { "a", name = "x", references = { "public.other", "id" }, on_delete = "set null", ]]
      .. [[on_delete_columns = { "a" }, deferrable = true },]], one {
      kind = "foreign_key", keys = { { column = "a" } }, match = "simple", on_update = "no action",
      on_delete = "set null", on_delete_columns = { "a" }, deferrable = true,
      references = { schema = "public", relation = "other", columns = { "id" } },
    })
  end)

  it("says of a repeated definition what it repeats, and leaves out what is invalid", function()
    local function index(name, more)
      local result = { name = name, fields_ = { kind = "index", keys = { { column = "a" } } } }
      for key, value in pairs(more or {}) do result[key] = value end
      return result
    end
    local written, warnings = text(relation("public.t", {
      index "b", index "a", index("c", { valid = false, live = true }), index("d", { inherited = true }),
      index("e", { extension_owned = true }),
    }), relation("public.none", {}))
    assert.is_truthy(written:find('index { "a", name = "a" },', 1, true))
    assert.is_truthy(written:find('index { "a", name = "b", duplicate_of = "a" },', 1, true))
    assert.is_truthy(written:find("-- index c is invalid and left out", 1, true))
    assert.is_nil(written:find('"d"', 1, true))
    assert.is_nil(written:find('"e"', 1, true))
    assert.is_nil(written:find("none", 1, true))
    assert.equal(1, #warnings)
  end)

  it("records the names of partitions' indexes, on all levels", function()
    local fields = { kind = "index", keys = { { column = "a" } } }
    local top = { name = "p_a", id = 10, fields_ = fields, partitioned = true }
    local middle = { name = "p1_a", id = 11, fields_ = fields, partitioned = true, inherited = true, parent = top }
    local leaf = { name = "p11_a", id = 12, inherited = true, parent = middle,
      fields_ = { kind = "index", keys = fields.keys, with = { { "fillfactor", "50" } } } }
    local p11 = relation("public.p11", { leaf })
    local p1 = relation("public.p1", { middle }, { p11 })
    local written = text(relation("public.p", { top }, { p1 }))
    assert.is_truthy(written:find('["public.p1"] = "p1_a"', 1, true))
    assert.is_truthy(written:find('["public.p11"] = { name = "p11_a", with = { fillfactor = "50" } }', 1, true))
  end)
end)
