-- What may run side by side, and in which order: pure policy, on plans made by hand.
local Plan = require("lunadex.plan").Plan
local schedule = require "lunadex.postgres.schedule"

describe("a schedule on PostgreSQL", function()
  local relations

  local function relation(name, parent)
    relations[name] = relations[name] or { display = "public." .. name, name = name, schema = "public", kind = "table" }
    if parent then relations[name].parent = relation(parent) end
    relations[name].family = relations[name]
    return relations[name]
  end

  -- "t_a 10" is a plain build of ten seconds on t; more in `more`.
  local function change(text, more)
    local table_name, name, seconds = text:match "^(%w+)_(%w+) ?([%d.]*)$"
    more = more or {}
    local fields = { kind = "index", keys = { { column = "a" } } }
    for key, value in pairs(more.fields or {}) do fields[key] = value end
    local result = { action = "create", name = name, relation = "public." .. table_name, on = relation(table_name),
      entry = { fields = fields, mode = more.mode }, estimate = { seconds = tonumber(seconds) } }
    for key, value in pairs(more) do if key ~= "fields" and key ~= "mode" then result[key] = value end end
    return result
  end

  local function plan(changes)
    return setmetatable({ catalog = { relation = function(_, _, name) return relations[name] end }, planned = changes },
      Plan)
  end

  -- "0 a, 0 b, 10 c": what begins when.
  local function order(changes, jobs, options)
    local parts = {}
    for i, step in ipairs(schedule.of(plan(changes), options):rehearse(jobs or 2)) do
      parts[i] = ("%g %s"):format(math.floor(step.at + 0.5), step.item.change.name)
    end
    return table.concat(parts, ", ")
  end

  local partial = { fields = { where = "x" } }
  local function foreign_key(to) return { fields = { kind = "foreign_key", references = { relation = to } } } end

  before_each(function() relations = {} end)

  it("runs one change at a time per table, and per tree of partitions", function()
    assert.equal("0 a, 0 c, 10 b", order { change "t_a 10", change "t_b 5", change "u_c 12" })
    relation("p1", "p")
    relation("p2", "p1")
    assert.equal("0 a, 2 b, 4 c", order { change "p1_a 2", change "p2_b 2", change "p_c 2" })
  end)

  it("begins with plain builds, the table with most to do first, the longest first", function()
    local expression = { fields = { keys = { { expression = "x" } } } }
    assert.equal("0 c, 0 a, 3 b, 5 d, 25 e", order { change("t_d 20", partial), change "t_a 3", change "t_b 2",
      change "u_c 40", change("t_e 3", expression) })
    -- One that would end later than a plain one waits for that.
    assert.equal("0 a, 0 c, 10 b", order { change("t_b 20", partial), change "u_a 10", change "v_c 10" })
    assert.equal("0 c, 0 d, 0 e, 10 b, 13 a", order({ change "t_a 2", change "t_b 3", change "t_c 10", change "u_d 14",
      change "v_e 14" }, 3))
    -- Ten short ones on one table take longer than the one long one.
    local changes = { change "u_long 20" }
    for i = 1, 10 do changes[#changes + 1] = change(("t_s%d 3"):format(i)) end
    assert.equal("0 s1, 0 long", order(changes):match "^[^,]*, [^,]*")
  end)

  it("puts critical ones first within their kind", function()
    assert.equal("0 b, 1 a, 10 d, 11 c", order({ change "t_a 9", change("u_b 1", { critical = true }),
      change("v_c 5", partial), change("w_d 1", { fields = { where = "x" }, critical = true }) }, 1))
  end)

  it("lets builds that block writers share a table", function()
    local blocking = { mode = "blocking" }
    assert.equal("0 a, 0 b, 0 c, 5 d", order({ change("t_a 5", blocking), change("t_b 5", blocking),
      change("t_c 5", blocking), change("t_d 5", blocking) }, 3))
    assert.equal("0 a, 0 b", order({ change "t_a 5", change "t_b 5" }, 2, { mode = "blocking" }))
    assert.equal("0 b, 5 a, 5 c", order { change("t_a 5", blocking), change "t_b 5", change("t_c 4", blocking) })
    -- The two that share it go together, not with another table's in between.
    assert.equal("0 a, 0 b, 5 c", order { change("t_a 5", blocking), change("u_c 7", blocking),
      change("t_b 5", blocking) })
  end)

  it("makes a foreign key wait for both tables and the key it needs", function()
    relation "u"
    assert.equal("0 key, 0 b, 8 fk", order { change("t_fk 1", foreign_key "u"),
      change("u_key 8", { fields = { kind = "unique_constraint" } }), change "t_b 2" })
    assert.equal("0 fk, 1 other", order { change("t_fk 1", foreign_key "u"), change("u_other 1", foreign_key "t") })
  end)

  it("drops when the table's builds are done, but first where the name is needed", function()
    local drop = { action = "drop" }
    assert.equal("0 c, 0 a, 5 b", order { change("t_b 1", drop), change "t_a 5", change "u_c 9" })
    local first = change("t_a 1", drop)
    assert.equal("0 a, 1 a", order { first, change("t_a 5", { after = first }) })
    -- Only what has the name: the other drop comes when the builds are done.
    assert.equal("0 a, 1 a, 6 b", order { change("t_b 1", drop), first, change("t_a 5", { after = first }) })
  end)

  it("renames one after the other where each frees the next one's name", function()
    local last = change("t_i4 1", { action = "rename" })
    local middle = change("t_i3 1", { action = "rename", after = last })
    assert.equal("0 i4, 1 i3, 2 i2", order { change("t_i2 1", { action = "rename", after = middle }), middle, last })
    assert.equal("0 i4, 1 i3, 2 new, 4 other", order { change("t_other 1", { action = "rename" }),
      change("t_new 2", { after = middle }), middle, last })
  end)

  it("says why something waits", function()
    local made = schedule.of(plan { change "t_a 10", change "t_b 5", change("u_fk 1", foreign_key "t"),
      change("t_old 1", { action = "drop" }), change "v_c" })
    assert.equal("a", made:next(0).change.name)
    local reasons = {}
    for i, item in ipairs(made.items) do reasons[i] = made:reason(item, 0) or "-" end
    assert.equal("after a: one build per table", reasons[2])
    assert.equal("after a: it locks both its tables, and their builds come first", reasons[3])
    assert.equal("after a: it is dropped when the builds of its table are done", reasons[4])
    assert.equal("-", reasons[5])
    made = schedule.of(plan { change("u_fk 1", foreign_key "t"), change("t_key 1", { fields = { unique = true } }) })
    assert.equal("after key: it refers to that key", made:reason(made.items[1], 0))
    local drop = change("t_x 1", { action = "drop" })
    made = schedule.of(plan { change("t_x 1", { after = drop }), drop })
    assert.equal("after x: that has its name", made:reason(made.items[1], 0))
  end)

  it("begins each of thousands of changes once, whatever depends on what", function()
    local changes = {}
    math.randomseed(3)
    relation "t1"
    for i = 1, 3000 do
      local where = ("t%d_i%d %d"):format(math.random(100), i, math.random(50))
      local kind = math.random(6)
      changes[i] = change(where, kind == 1 and partial or kind == 2 and { action = "drop" } or kind == 3
        and foreign_key("t" .. math.random(100)) or kind == 4 and { mode = "blocking" } or {})
    end
    local seen = {}
    for _, step in ipairs(schedule.of(plan(changes)):rehearse(4)) do
      assert.is_nil(seen[step.item])
      seen[step.item] = true
    end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.equal(3000, count)
  end)
end)
