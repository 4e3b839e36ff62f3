-- Collections with fields that clients encrypt (queryable encryption): what belongs to the server and the drivers is
-- left alone, and what cannot be indexed is said beforehand, as the server would say it.
local lunadex = require "support.lunadex"
local mongodb = require "support.mongodb"

describe("encrypted fields", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, url

  setup(function()
    server = mongodb.shared()
    database = server:create_database()
    url = server:url(database)
    -- As a driver makes it.
    local function key(last) return '{"$binary":{"base64":"AAAAAAAAAAAAAAAAAAAAA' .. last .. '==","subType":"04"}}' end
    server:command(database, ('{"create":"people","encryptedFields":{"fields":[{"keyId":%s,"path":"ssn","bsonType":'
      .. '"string","queries":{"queryType":"equality"}},{"keyId":%s,"path":"med.rec","bsonType":"string"}]}}'):format(
      key "A", key "Q"))
    for _, name in ipairs { "esc", "ecc", "ecoc" } do
      server:command(database, ('{"create":"enxcol_.people.%s","clusteredIndex":{"key":{"_id":1},"unique":true}}')
        :format(name))
    end
    server:command(database, '{"createIndexes":"enxcol_.people.ecoc","indexes":[{"key":{"x":1},"name":"x_1"}]}')
    server:command(database, '{"createIndexes":"people","indexes":[{"key":{"__safeContent__":1},'
      .. '"name":"__safeContent___1"}]}')
  end)
  teardown(function() server:drop_database(database) end)

  local function run(command, text, ...)
    return lunadex.run { command, text and lunadex.registry(text) or nil, "--target", url, ... }
  end

  -- Whether the server takes an index, which is gone again.
  local function taken(spec)
    local ok = server:try(database, ('{"createIndexes":"people","indexes":[{"name":"asked",%s}]}'):format(spec))
    if ok then server:command(database, { "dropIndexes", "people", index = "asked" }) end
    return ok ~= nil
  end

  it("are found by an index that is no stray and is never dropped, nor written down", function()
    local text = [[ on "people" { index { "name", name = "by_name" } } ]]
    local plan = run("plan", text, "--json", "--drop-strays"):json()
    assert.equal(1, #plan.changes)
    assert.equal("create", plan.changes[1].action)
    assert.same({}, plan.findings)
    local result = run("apply", text, "--drop-strays")
    assert.equal(0, result.status, tostring(result))
    local names = {}
    for i, index in ipairs(server:indexes(database, "people")) do names[i] = index.name end
    assert.same({ "_id_", "__safeContent___1", "by_name" }, names)
    result = lunadex.run { "snapshot", "--target", url }
    assert.equal(0, result.status, tostring(result))
    assert.matches("by_name", result.stdout, 1, true)
    assert.is_nil(result.stdout:find('on "enxcol_', 1, true))
    assert.is_nil(result.stdout:find("__safeContent__", 1, true))
    assert.matches('-- db.createCollection("people", {"encryptedFields": ', result.stdout, 1, true)
    server:command(database, { "dropIndexes", "people", index = "by_name" })
  end)

  it("are not indexed, nor what they are a part of, and nothing beside them expires", function()
    local cases = {
      { '"key":{"ssn":1}', [["ssn"]] }, { '"key":{"ssn":1},"unique":true', [["ssn", unique = true]] },
      { '"key":{"med":-1,"x":1}', [[desc "med", "x"]] }, { '"key":{"med.rec":1}', [["med.rec"]] },
      { '"key":{"ssn.x":1}', [["ssn.x"]] }, { '"key":{"ssn":"text"}', [[{ ssn = "text" }]] },
      { '"key":{"ssn":"hashed"}', [[{ ssn = "hashed" }]] }, { '"key":{"ssn.$**":1}', [["ssn.$**"]] },
      { '"key":{"at":1},"expireAfterSeconds":60', [["at", expire_after = 60]] },
      { '"key":{"ssnx":1}', [["ssnx"]] }, { '"key":{"med.other":1}', [["med.other"]] },
      { '"key":{"at":1},"unique":true', [["at", unique = true]] },
    }
    local some = { [true] = 0, [false] = 0 }
    for _, case in ipairs(cases) do
      local ok = taken(case[1])
      some[ok] = some[ok] + 1
      local result = run("plan", ([[ on "people" { index { %s, name = "asked" } } ]]):format(case[2]))
      assert.equal(ok and 0 or 65, result.status, case[1] .. "\n" .. tostring(result))
      if not ok then assert.matches("encrypt", result.stdout .. result.stderr, 1, true) end
    end
    assert.same({ [true] = 3, [false] = 9 }, some)
    local result = run("plan", [[ on "people" { index { "med", name = "asked" } } ]])
    assert.matches("med cannot be indexed: clients encrypt med.rec", result.stdout .. result.stderr, 1, true)
  end)

  it("are said to be of no use where the server takes them", function()
    local cases = {
      { '"key":{"$**":1}', [["$**"]], "it holds ssn only as clients encrypt it" },
      { '"key":{"med.$**":1}', [["med.$**"]], "it holds med.rec only as clients encrypt it" },
      { '"key":{"x":1},"partialFilterExpression":{"ssn":"a"}', [["x", partial = { ssn = "a" }]],
        "its filter looks at ssn" },
    }
    for _, case in ipairs(cases) do
      assert.is_true((taken(case[1])), case[1])
      local plan = run("plan", ([[ on "people" { index { %s, name = "asked" } } ]]):format(case[2]), "--json"):json()
      local found
      for _, finding in ipairs(plan.findings) do
        if finding.message:find(case[3], 1, true) then found = finding end
      end
      assert.equal("warning", (found or {}).level, case[1])
      assert.equal("encrypted-field", found.rule)
    end
  end)

  it("have collections of their own, which no registry declares", function()
    local result = run("plan", [[ on "enxcol_.people.esc" { index { "x", name = "x" } } ]])
    assert.equal(65, result.status, tostring(result))
    assert.matches("the collections enxcol_.* belong to those with encrypted fields", result.stdout .. result.stderr, 1,
      true)
  end)
end)
