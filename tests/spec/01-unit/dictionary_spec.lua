local registry = require "lunadex.registry"

describe("a data dictionary", function()
  local function entries(text)
    local loaded, errors = registry.parse(text, "words.yaml")
    assert(loaded, errors and tostring(errors[1]))
    return loaded.databases[1].entries, loaded
  end

  it("is a registry like any other", function()
    local list, loaded = entries [[
table shipments:
    description: Incoming Magazines
    index history:
        column bipad:
        column year:
            flag_asc: "N"
        column issue:
            flag_asc: "N"
table example:
    index socialsec:
        unique: "Y"
        column socialsec:
]]
    assert.same({ kind = "index", relation = "shipments", name = "history", keys = { { column = "bipad" },
      { column = "year", descending = true }, { column = "issue", descending = true } } }, list[1].fields)
    assert.same({ kind = "index", relation = "example", name = "socialsec", unique = true,
      keys = { { column = "socialsec" } } }, list[2].fields)
    assert.same({ "words.yaml", 3, false }, { list[1].file, list[1].line, list[1].critical })
    assert.equal("Incoming Magazines", loaded.databases[1].relations.shipments.description)
  end)

  it("keeps the order of columns, whatever they are called", function()
    local columns = {}
    for i = 1, 30 do columns[i] = ("        column c%d:\n"):format(i * 7919 % 31) end
    local list = entries("table t:\n    index i:\n" .. table.concat(columns))
    for i, key in ipairs(list[1].fields.keys) do assert.equal("c" .. i * 7919 % 31, key.column) end
  end)

  it("has keys in the same style", function()
    local list = entries [[
table s.t:
    primary_key t_pk:
        column id:
    unique_key t_uk:
        critical: "Y"
        column a:
        column b:
    foreign_key t_fk:
        column x:
        column y:
        references s.other:
            column p:
            column q:
        on_delete: cascade
    foreign_key t_fk2:
        column z:
        references: third
    index t_ix:
        description: for searching
        method: btree
        where: x IS NOT NULL
        expression lower(title):
            flag_asc: "N"
        include pages:
]]
    assert.same({ kind = "primary_key", schema = "s", relation = "t", name = "t_pk", keys = { { column = "id" } } },
      list[1].fields)
    assert.equal("unique_constraint", list[2].fields.kind)
    assert.is_true(list[2].critical)
    assert.same({ schema = "s", relation = "other", columns = { "p", "q" } }, list[3].fields.references)
    assert.equal("cascade", list[3].fields.on_delete)
    assert.same({ relation = "third" }, list[4].fields.references)
    assert.same({ kind = "index", schema = "s", relation = "t", name = "t_ix",
      where = "x IS NOT NULL", include = { "pages" }, keys = { { expression = "lower(title)", descending = true } } },
      list[5].fields)
    assert.equal("for searching", list[5].description)
  end)

  local wrong = {
    { "tabel t:\n", 1, 'unknown word "tabel t"', 'did you mean "table"?' },
    { "table t:\n  index i:\n    colum a:\n    column b:\n", 3, 'unknown word "colum a"', 'did you mean "column"?' },
    { "table t:\n  index i:\n    column a:\n    unique: maybe\n", 4, 'unique of index i is "maybe"', '"Y" or "N"' },
    { "table t:\n  index i:\n    column a:\n      flag_asc: down\n", 4, "flag_asc", '"Y" or "N"' },
    { "table t:\n  index i:\n    column a:\n    column a:\n", 4, "stands twice (first in line 3)" },
    { "table t:\n  index i:\n", 2, "index has no keys" },
    { "table t:\n  index:\n    column a:\n", 2, "index without a name" },
    { "table t:\n  index i:\n    column a: 5\n", 3, 'followed by the value "5"' },
    { "table t:\n  index i:\n    - a\n", 3, "a list" },
    { "table t:\n  description: &x a\n  index i: *x\n", 3, "an alias" },
    { "table t:\n\tindex i:\n", 2, "a tab" },
    { "table t:\n  foreign_key f:\n    column a:\n", 2, "references" },
    { "table t:\n  index i:\n    column a:\n  index i:\n    column b:\n", 4, 'the name "i" is taken' },
    { "table t:\n  index i:\n    column a:\n  index j:\n    column a:\n", 4, "the same definition as i" },
    { "table t:\n  index i:\n    column a:\n    where: a >\n", 2, "breaks off" },
    { "", 1, "empty" },
    { "nonsense", 1, "nonsense" },
  }
  for _, case in ipairs(wrong) do
    it("is told where it is wrong: " .. case[1]:gsub("%s+", " "), function()
      local loaded, errors = registry.parse(case[1], "words.yaml")
      assert.is_nil(loaded)
      assert.equal(1, #errors)
      local text = tostring(errors[1])
      assert.matches("^words%.yaml:" .. case[2] .. ":", text)
      for i = 3, #case do assert(text:find(case[i], 1, true), text) end
    end)
  end
end)
