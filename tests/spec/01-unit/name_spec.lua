local naming = require "lunadex.postgres.name"

-- What PostgreSQL 15 chose for the same statements.
describe("names that nobody gave", function()
  local function columns(...)
    local keys = {}
    for i, column in ipairs { ... } do keys[i] = { column = column } end
    return keys
  end
  local function choose(fields, relation, taken)
    fields.kind = fields.kind or "index"
    return naming.choose(fields, relation, function(name) return taken and taken[name] end)
  end

  it("follow the server's convention", function()
    assert.equal("t_a_b_idx", choose({ keys = columns("a", "b") }, "t"))
    assert.equal("t_a_b_idx", choose({ keys = columns("a"), include = { "b" } }, "t"))
    assert.equal("t_a_a1_idx", choose({ keys = columns("a", "a") }, "t"))
    assert.equal("t_pkey", choose({ kind = "primary_key", keys = columns("a") }, "t"))
    assert.equal("t_a_b_key", choose({ kind = "unique_constraint", keys = columns("a", "b") }, "t"))
    assert.equal("t_a_fkey", choose({ kind = "foreign_key", keys = columns("a") }, "t"))
    assert.equal("t_a_excl", choose({ kind = "exclusion_constraint", keys = columns("a") }, "t"))
  end)

  it("name expressions by their function", function()
    local function expression(text) return choose({ keys = { { expression = text } } }, "t") end
    assert.equal("t_lower_idx", expression("lower(a)"))
    assert.equal("t_lower_idx", expression("pg_catalog.lower(a)"))
    assert.equal("t_expr_idx", expression("(a + 1)"))
    assert.equal("t_expr_idx", expression("lower(a) || upper(b)"))
    assert.equal("t_coalesce_idx", expression("COALESCE(a, 0)"))
  end)

  it("are shortened and made unique as the server does", function()
    local long = ("x"):rep(60)
    local name = choose({ keys = columns(("y"):rep(60)) }, long)
    assert.equal(63, #name)
    assert.equal(("x"):rep(29) .. "_" .. ("y"):rep(29) .. "_idx", name)
    assert.equal("t_a_idx2", choose({ keys = columns("a") }, "t", { t_a_idx = true, t_a_idx1 = true }))
  end)

  it("are never cut inside a character", function()
    local name = naming.truncate(("ä"):rep(40))
    assert.equal(("ä"):rep(31), name)
    assert.is_truthy(utf8.len(naming.temporary(("ä"):rep(31), "new")))
    assert.is_true(#naming.temporary(("ä"):rep(31), "new") <= 63)
  end)

  it("that are temporary lead back to the name, also where they had to be cut", function()
    local short, long, other = ("x"):rep(55), ("x"):rep(55) .. "1", ("x"):rep(55) .. "2"
    assert.equal(short .. "_ldx_new", naming.temporary(short, "new"))
    assert.not_equal(naming.temporary(long, "new"), naming.temporary(other, "new"))
    for _, name in ipairs { short, long, other, ("ä"):rep(31), "t_x" } do
      local temporary = naming.temporary(name, "old")
      assert.is_true(#temporary <= 63)
      assert.equal(name, naming.base_of(temporary, "old", { short, long, other, ("ä"):rep(31), "t_x" }))
      assert.is_nil(naming.base_of(temporary, "new", { name }))
      assert.is_nil(naming.base_of(temporary, "old", { name .. "y" }))
    end
  end)

  it("of a reindex lead back, too", function()
    local long = ("ä"):rep(31)
    assert.equal("t_x", naming.reindexed("t_x_ccnew", {}))
    assert.equal("t_x", naming.reindexed("t_x_ccold12", { "t" }))
    assert.equal(long, naming.reindexed(("ä"):rep(28) .. "_ccnew", { "t", long }))
    assert.equal(long, naming.reindexed(("ä"):rep(27) .. "_ccnew10", { "t", long }))
    for _, name in ipairs { "t_ccnld", "t_ccoew", "t_ccnewer", "_ccnew", "ccnew" } do
      assert.is_nil(naming.reindexed(name, {}))
    end
  end)
end)
