-- What declarations of MongoDB come to: their normal form, their relation, and why one cannot be.
local core = require "lunadex.core"
local engine = require "support.engine"
local mongodb = require "support.mongodb"

-- Those of the server's manual.
local locales = [[af sq am ar hy as az be bn bs bs_Cyrl bg my ca chr zh zh_Hant hr cs da nl dz en en_US en_US_POSIX eo
  et ee fo fil fi fr fr_CA gl ka de de_AT el gu ha haw he hi hu is ig smn id ga it ja kl kn kk km kok
  ko ky lkt lo lv ln lt dsb lb mk ms ml mt mr mn ne se nb nn or om ps fa fa_AF pl pt pa ro ru sr
  sr_Latn si sk sl es sw sv ta te th bo to tr uk hsb ur ug vi wae cy yi yo zu]]

describe("a declaration for MongoDB", function()
  local reason = mongodb.missing()
  if reason then return pending(reason) end
  local server, database, db

  setup(function()
    server = mongodb.shared()
    database = server:create_database()
    for _, command in ipairs {
      '{ "create": "plain" }', '{ "create": "french", "collation": { "locale": "fr" } }',
      '{ "create": "limited", "capped": true, "size": 4096 }',
      '{ "create": "seen", "viewOn": "plain", "pipeline": [] }',
      '{ "create": "measured", "timeseries": { "timeField": "at", "metaField": "m" } }',
    } do server:command(database, command) end
    db = engine.open(server:url(database))
  end)
  teardown(function()
    db:close()
    server:drop_database(database)
  end)

  local function fields(more)
    local result = { kind = "index", relation = "plain", method = "", keys = { { column = "a" } } }
    for name, value in pairs(more or {}) do result[name] = value end
    return result
  end

  -- The change that each of them is.
  local function resolve(list)
    local diff, set, catalog = db:diff(list)
    local changes = {}
    for change in diff:changes() do
      if change.ordinal then changes[change.ordinal] = change end
    end
    return changes, set, catalog
  end

  local function refused(more, message, hint)
    local change = resolve({ fields(more) })[1]
    assert.equal("error", change.action)
    assert.matches(message, change.error.message, 1, true)
    if hint then assert.matches(hint, change.error.hint, 1, true) end
  end

  local function text(more)
    local changes, set = resolve { fields(more) }
    assert.equal("create", changes[1].action, tostring(changes[1].error))
    return set:text(1)
  end

  it("gets a normal form", function()
    assert.equal("{ a: 1 }", text { unique = false,
      traits = { { "sparse", "false" } }, with = { { "hidden", "false" } } })
    assert.equal("{ a: 1 }", text {
      with = { { "min", "-180" }, { "bits", "26.0" }, { "default_language", "english" } } })
    assert.equal('{ a: 1 } unique, partial {"x": {"$gt": 1}}', text { unique = true, where = ' {"x":{ "$gt" : 1 } }' })
    assert.equal("{ a: 1 } expireAfterSeconds 3600", text { with = { { "expireAfterSeconds", "3600.7" } } })
    assert.equal('{ a: 1, b: 2, c: -1, d: 0.5 }', text { keys = { { column = "a", opclass = "1.0" },
      { column = "b", opclass = "2.00" }, { column = "c", opclass = "-1" }, { column = "d", opclass = "5e-1" } } })
    assert.equal('{ x: 1, t: "text", u: "text", w: "text", y: 1 } weights {"w": 5}', text {
      keys = { { column = "x" }, { column = "u", opclass = "text" }, { column = "t", opclass = "text" },
        { column = "y" } },
      with = { { "weights", '{"w": 5, "t": 1}' } } })
    assert.equal('{ $**: 1 } wildcardProjection {"a": 1, "b.c": 1}', text { keys = { { column = "$**" } },
      traits = { { "wildcardProjection", '{"b": {"c": true}, "a": 2, "_id": 0}' } } })
    local changes, set = resolve { fields { traits = { { "collation", '{"locale": "fr_CA", "strength": 4}' } } } }
    assert.equal("create", changes[1].action)
    assert.same({ { "collation", '{"locale": "fr_CA", "caseLevel": false, "caseFirst": "off", "strength": 4, '
      .. '"numericOrdering": false, "alternate": "non-ignorable", "maxVariable": "punct", "normalization": false, '
      .. '"backwards": true}' } }, set:fields(1).traits)
  end)

  it("that says what is the default is what says nothing", function()
    for _, more in ipairs {
      { traits = { { "collation", '{"locale": "simple"}' } } }, { where = nil }, { with = { { "bits", "26" } } },
    } do assert.equal("{ a: 1 }", text(more)) end
    -- On a collection that has a collation, none has to be said.
    assert.equal('{ a: 1 } collation {"locale": "simple"}', text { relation = "french",
      traits = { { "collation", '{"locale": "simple"}' } } })
    assert.equal('{ a: 1 } collation {"locale": "fr"}', text { relation = "french" })
    -- Of a collation that is told which is not its locale's way.
    local said, list = { '{"locale": "th", "alternate": "non-ignorable"}', '{"locale": "da", "caseFirst": "off"}',
      '{"locale": "fr_CA", "strength": 2, "backwards": false}', '{"locale": "en", "strength": 2}' }, {}
    for locale in locales:gmatch "%S+" do said[#said + 1] = ('{"locale": "%s"}'):format(locale) end
    for i, json in ipairs(said) do list[i] = fields { traits = { { "collation", json } } } end
    local _, set = resolve(list)
    for i, json in ipairs(said) do assert.equal("{ a: 1 } collation " .. json, set:text(i)) end
    assert.equal('{ a: "text" } collation {"locale": "simple"}', text { relation = "french",
      keys = { { column = "a", opclass = "text" } } })
  end)

  it("may be for a collection that is not there yet", function()
    local changes = resolve { fields { relation = "fs.files" },
      fields { relation = "fs.files", keys = { { column = "b" } } } }
    for _, change in ipairs(changes) do
      assert.equal("create", change.action)
      assert.is_true(change.relation.absent)
      assert.equal("fs.files", change.relation.display)
    end
  end)

  it("of the index on _id is kept", function()
    for _, relation in ipairs { "plain", "french", "limited" } do
      assert.equal("keep", resolve({ fields { relation = relation, keys = { { column = "_id" } } } })[1].action)
    end
  end)

  it("may be resolved again", function()
    local set = core.declarations()
    set:add(fields())
    local catalog = assert(db:run "catalog")
    for _ = 1, 2 do assert(db:run("resolve", set, catalog)) end
    assert.equal("create", core.diff(set, catalog):changes()().action)
  end)

  it("is not to blame when the server cannot be asked", function()
    server:command("admin", [[{ "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": {
      "failCommands": ["explain"], "errorCode": 11602, "appName": "lunadex specs" } }]])
    local set = core.declarations()
    set:add(fields { traits = { { "collation", '{"locale": "sv", "strength": 4}' } } }) -- which was not asked for yet
    local done, events = db:finish(db.db:resolve(set, assert(db:run "catalog")))
    assert.is_true(done.ok, tostring(done.error))
    assert.equal("retry", events[#events].event)
    assert.matches('"locale": "sv"', set:text(1), 1, true)
  end)

  it("of something MongoDB has not is refused", function()
    refused({ kind = "unique_constraint", unique = true }, "MongoDB has no unique_constraint", "unique index")
    refused({ include = { "b" } }, "included columns")
    refused({ keys = { { expression = "lower(a)" } } }, "expressions")
    refused({ schema = "public" }, "schemas")
    refused({ with = { { "fillfactor", "70" } } }, 'no option "fillfactor"')
  end)

  it("with keys that cannot be is refused", function()
    local function keys(list, message, hint)
      local made = {}
      for i, item in ipairs(list) do made[i] = { column = item[1], opclass = item[2] } end
      refused({ keys = made }, message, hint)
    end
    keys({ { "a" }, { "a" } }, "there twice")
    keys({ { "a..b" } }, "without a name")
    keys({ { "$a" } }, "begins with $")
    keys({ { "a", "btree" } }, 'no index type "btree"', "2dsphere")
    keys({ { "a", "0" } }, "cannot be 0")
    keys({ { "a", "hashed" }, { "b", "text" } }, "one special type")
    keys({ { "a", "text" }, { "b" }, { "c", "text" } }, "side by side")
    keys({ { "b" }, { "a", "2d" } }, "has to be the first")
    keys({ { "$**" }, { "b" } }, "one key only")
    local many = {}
    for i = 1, 33 do many[i] = { "k" .. i } end
    keys(many, "32 keys")
  end)

  it("with options that do not fit is refused", function()
    local function with(name, value, message, more)
      more = more or {}
      more.with = { { name, value } }
      refused(more, message)
    end
    with("expireAfterSeconds", '"soon"', "expireAfterSeconds is a number")
    with("expireAfterSeconds", "-1", "between 0 and")
    with("expireAfterSeconds", "60", "one key only", { keys = { { column = "a" }, { column = "b" } } })
    with("expireAfterSeconds", "60", "cannot expire by _id", { keys = { { column = "_id" } } })
    with("expireAfterSeconds", "60", "capped", { relation = "limited" })
    with("expireAfterSeconds", "60", "time-series", { relation = "measured" })
    with("hidden", '"yes"', "hidden is a boolean")
    with("weights", '{"a": 1}', "for text indexes")
    with("bits", "64", "between 1 and 32", { keys = { { column = "a", opclass = "2d" } } })
    with("storageEngine", "wiredTiger", "storageEngine is an object")
    refused({ unique = true, keys = { { column = "_id" } } }, "unique by itself", "need not be declared")
    refused({ unique = true, keys = { { column = "a", opclass = "hashed" } } }, "cannot be unique")
    refused({ unique = true, relation = "measured" }, "no unique indexes")
    refused({ where = '{"x": 1}', traits = { { "sparse", "true" } } }, "either sparse or partial", "$exists")
    refused({ traits = { { "wildcardProjection", '{"a": 1}' } } }, "for an index on $**")
    for _, projection in ipairs { '{"a.b": 1, "a": 1}', '{"a": 1, "a": 1}', '{"a": {"b": 0}, "a.b": 0}',
      '{"_id": 1, "_id.a": 1}', '{"a": 1, "a-x": 1, "a.b": 1}' } do
      refused({ keys = { { column = "$**" } }, traits = { { "wildcardProjection", projection } } },
        "names no field twice, nor one and a part of it")
    end
    refused({ traits = { { "collation", '{"locale": "tlh"}' } } }, "tlh", "locale")
    refused({ traits = { { "collation", '{"locale": "en"}' } }, keys = { { column = "t", opclass = "text" } } },
      "compares bytes")
    refused({ traits = { { "collation", '{"locale": "en"}' } }, keys = { { column = "_id" } } },
      "the collection's collation")
  end)

  it("that this server has no language or storage engine for is refused", function()
    local function words(name, value, message, hint)
      refused({ keys = { { column = "t", opclass = "text" } }, with = { { name, value } } }, message, hint)
    end
    words("default_language", '"klingon"', 'default_language is "klingon"', "swedish")
    words("language_override", '"a.b"', 'language_override cannot be "a.b"', "beside the indexed ones")
    words("weights", '{"a.$id": 1}', "a part of it begins with $")
    words("storageEngine", '{"rocksdb": {}}', 'no storage engine "rocksdb"', "wiredTiger")
    words("storageEngine", '{"wiredTiger": {"compression": "zlib"}}',
      "has no option compression, but configString only")
    words("storageEngine", '{"wiredTiger": {"configString": "prefix_compresion=true"}}',
      'the setting "prefix_compresion"')
  end)

  it("has settings of the storage engine that the server takes, or is refused", function()
    local texts = { "", ",", "prefix_compression", "app_metadata=(a=[b,c],d=(e))", 'app_metadata="a,b)"',
      "split_pct:60", "leaf_page_max= 16KB ,split_pct=60", "leaf_page_max =16k", "split_pct=60,split_pct=20",
      "split_pct=60,,", "leaf_page_max", "leaf_page_max=", 'leaf_page_max="16KB"', "leaf_page_max=16 KB",
      "leaf_page_max=0x4000", "leaf_page_max=+16384", "leaf_page_max=016384", "leaf_page_max=16384.5",
      "leaf_page_max=16KBB", "leaf_page_max=1GB", "leaf_page_max=100", "leaf_page_max=-1", "internal_page_max=512MB",
      "internal_page_max=513MB", "memory_page_max=511", "memory_page_max=10TB", "memory_page_max=11TB",
      "allocation_size=256MB", "split_pct=49", "split_pct=100", "split_pct=101", "split_pct=1e2", "dictionary=-1",
      "dictionary=1K", "app_metadata=(x=1", "foo=1" }
    for _, word in ipairs { "true", "false", "1", "01", "2", "yes", "TRUE", '"true"' } do
      texts[#texts + 1] = "prefix_compression=" .. word
    end
    for _, word in ipairs { "on", "off", "ON", "", '"on"', "[on]", "(on)", "true", "unencrypted", "none" } do
      texts[#texts + 1] = "checksum=" .. word
    end
    for _, word in ipairs { "none", "snappy", "zlib", "zstd", "lz4", "", '"zlib"', '""', "ZLIB", "(zlib)" } do
      texts[#texts + 1] = "block_compressor=" .. word
    end
    for name, words in pairs { access_pattern_hint = "none random sequential x", block_allocation = "best first x",
      format = "btree x", write_timestamp_usage = "always key_consistent mixed_mode never none ordered x" } do
      for word in words:gmatch "%w+_?%w*" do texts[#texts + 1] = name .. "=" .. word end
    end
    for name in ("cache_resident exclusive ignore_in_memory_cache_size immutable internal_key_truncate readonly "
      .. "tiered_object"):gmatch "%S+" do
      texts[#texts + 1], texts[#texts + 2] = name .. "=false", name .. "=x"
    end
    for name in ("internal_item_max internal_key_max key_gap leaf_item_max leaf_key_max leaf_value_max "
      .. "memory_page_image_max os_cache_dirty_max os_cache_max prefix_compression_min"):gmatch "%S+" do
      texts[#texts + 1], texts[#texts + 2] = name .. "=0", name .. "=-1"
    end
    for _, each in ipairs(texts) do
      local engine_options = mongodb.document("wiredTiger", { configString = each })
      local taken = server:try(database, { "createIndexes", "settings",
        indexes = { { key = { a = 1 }, name = "a", storageEngine = engine_options } } })
      local declared = fields { relation = "set", with = { { "storageEngine", mongodb.json(engine_options) } } }
      local change = resolve({ declared })[1]
      assert.equal(taken and "create" or "error", change.action, each)
      if taken then server:command(database, { "dropIndexes", "settings", index = "a" }) end
    end
    local function words(config, message)
      refused({ with = { { "storageEngine", mongodb.json { wiredTiger = { configString = config } } } } }, message)
    end
    words("leaf_page_max=1GB", "configString has leaf_page_max=1GB, which is no number from 512 to 536870912")
    words("dictionary=x", "configString has dictionary=x, which is no number from 0 on")
    words("prefix_compression=yes", "configString has prefix_compression=yes, which is neither true nor false")
    words("checksum=x", "configString has checksum=x, which is none of on, off, uncompressed, unencrypted")
  end)

  it("of a time-series collection is refused where what is measured does not take it", function()
    local function series(column, opclass, more, message)
      more = more or {}
      more.relation, more.keys = "measured", { { column = column, opclass = opclass } }
      refused(more, message)
    end
    series("x", "hashed", nil, 'x cannot be "hashed"')
    series("at", "2dsphere", nil, 'at cannot be "2dsphere"')
    series("x", nil, { traits = { { "sparse", "true" } } }, "is not sparse")
    series("m", nil, { where = '{"at": {"$gt": 5}}' }, "compared with dates only")
    series("m", nil, { where = '{"x": {"$type": "string"}}' }, "$type for its metadata only")
    series("m", nil, { where = '{"x": null}' }, "compared with no null, object or list")
    assert.equal("{ m.a: \"hashed\" }", text { relation = "measured",
      keys = { { column = "m.a", opclass = "hashed" } } })
  end)

  it("with a filter that cannot be is refused", function()
    refused({ where = "archived = false" }, "not a JSON object")
    refused({ where = '{"a": }' }, "not a JSON object")
    for _, operator in ipairs { "$ne", "$nin", "$not", "$elemMatch", "$size" } do
      refused({ where = ('{"a": {"%s": 1}}'):format(operator) }, operator, "$exists: true")
    end
    refused({ where = '{"a": {"$regex": "^x"}}' }, "a regular expression")
    refused({ where = '{"a": {"$gtt": 5}}' }, "cannot hold $gtt", "$gt, $gte")
    refused({ where = '{"a": {"$gt": 5, "b": 1}}' }, "cannot hold b")
    refused({ where = '{"a": {"$exists": true, "$type": "boolean"}}' }, 'the unknown $type "boolean"', '"bool"')
    refused({ where = '{"a": {"$exists": true, "$type": [2, 99]}}' }, "the unknown $type 99")
    refused({ where = '{"a": {"$in": 1}}' }, "anything but a list")
    refused({ where = '{"a": {"$all": []}}' }, "$all of nothing")
    refused({ where = '{"a": {"$exists": false}}' }, "$exists: false")
    refused({ where = '{"$or": []}' }, "of nothing")
    refused({ where = '{"$or":[{"$and":[{"$or":[{"$and":[{"a":1},{"b":1}]},{"b":1}]},{"c":1}]},{"d":1}]}' }, "4 deep")
  end)

  it("for what has no indexes of its own is refused", function()
    refused({ relation = "seen" }, "a view has no indexes", "made from")
    refused({ relation = "system.profile" }, "the server's own")
    refused({ relation = "lunadex.lock" }, "Lunadex's own")
    refused({ relation = "a$b" }, "cannot be the name")
    refused({ relation = ("x"):rep(255) }, "255 bytes")
    refused({ name = "*" }, "cannot be called")
  end)

  it("too many are refused, and a second text index", function()
    local list = {}
    for i = 1, 65 do list[i] = fields { keys = { { column = "f" .. i } }, relation = "many" } end
    local changes = resolve(list)
    assert.same({ "create", "error", "error" }, { changes[63].action, changes[64].action, changes[65].action })
    changes = resolve { fields { keys = { { column = "t", opclass = "text" } } },
      fields { keys = { { column = "u", opclass = "text" } } } }
    assert.same({ "create", "error" }, { changes[1].action, changes[2].action })
    assert.matches("one text index", changes[2].error.message)
  end)

  it("does not take what another declaration has the name of", function()
    server:command(database, '{ "createIndexes": "named", "indexes": [{ "key": { "a": 1 }, "name": "n" }] }')
    local unique = fields { relation = "named", name = "u", unique = true }
    local other = fields { relation = "named", name = "n", keys = { { column = "a" }, { column = "b" } } }
    for _, list in ipairs { { unique, other }, { other, unique } } do
      local changes = resolve(list)
      local of = { [list[1].name] = changes[1], [list[2].name] = changes[2] }
      assert.same({ "create", "replace" }, { of.u.action, of.n.action })
      assert.equal("n", of.n.live.name)
    end
    -- Nothing else wants it.
    local changes = resolve { unique }
    assert.same({ "alter", "n" }, { changes[1].action, changes[1].live.name })
  end)

  it("that is written as a live one is told is that one, and only then", function()
    server:command(database, '{ "create": "told", "collation": { "locale": "fr" } }')
    server:command(database, [[{ "createIndexes": "told", "indexes": [
      { "key": { "a": 1 }, "name": "a" },
      { "key": { "b": 1, "c": -1 }, "name": "b", "unique": true, "collation": { "locale": "simple" } },
      { "key": { "t": "text", "u": "text" }, "name": "t", "weights": { "u": 3 }, "default_language": "german",
        "collation": { "locale": "simple" } },
      { "key": { "d": 1 }, "name": "d", "hidden": true, "expireAfterSeconds": 60,
        "partialFilterExpression": { "s": "a  \" {}",
          "$or": [{ "n": { "$gt": 5 } }, { "n": { "$exists": true } }] } },
      { "key": { "e": 1 }, "name": "e",
        "partialFilterExpression": { "at": { "$lt": { "$date": "2020-01-01T00:00:00Z" } } } }] }]])
    local _, _, catalog = resolve {}
    local told = {}
    for _, index in ipairs(catalog:relation(nil, "told"):indexes()) do
      if index.name ~= "_id_" then told[#told + 1] = index:fields() end
    end
    assert.equal(5, #told)
    for _, change in pairs(resolve(told)) do assert.equal("keep", change.action, change.reason) end
    local function blanks(json) return (json:gsub('([:,]) ', "%1"):gsub("}$", " }")) end
    for _, each in ipairs(told) do
      each.name = nil
      each.where = each.where and blanks(each.where)
      if each.with then table.sort(each.with, function(x, y) return x[1] > y[1] end) end
      -- The collection's goes without saying.
      local own = each.traits and each.traits[1][2]:find '"fr"'
      each.traits = not own and each.traits or nil
    end
    for _, change in pairs(resolve(told)) do assert.equal("keep", change.action, change.reason) end
    for _, each in ipairs(told) do
      if each.where then each.where = each.where:gsub('"a  ', '"a '):gsub("2020", "2021") end
      if each.keys[1].column ~= "a" and not each.where then each.traits = nil end -- then it is the collection's
    end
    local actions = {}
    for i, change in pairs(resolve(told)) do actions[told[i].keys[1].column] = change.action end
    assert.same({ a = "keep", b = "create", d = "create", e = "create", t = "keep" }, actions)
  end)

  it("is brought about by what is there, where collMod can do it", function()
    server:command(database, [[{ "createIndexes": "changing", "indexes": [
      { "key": { "a": 1 }, "name": "a" }, { "key": { "b": 1 }, "name": "b", "expireAfterSeconds": 60 },
      { "key": { "c": 1 }, "name": "c", "unique": true }, { "key": { "t": "text" }, "name": "t" }] }]])
    local function action(column, more)
      more = more or {}
      more.relation, more.keys, more.name = "changing", { { column = column, opclass = more.opclass } }, column
      more.opclass = nil
      return resolve({ fields(more) })[1].action
    end
    assert.equal("keep", action "a")
    assert.equal("alter", action("a", { with = { { "expireAfterSeconds", "5" } } }))
    assert.equal("alter", action("a", { with = { { "hidden", "true" } } }))
    assert.equal("alter", action("a", { unique = true }))
    assert.equal("alter", action("a", { unique = true, with = { { "hidden", "true" } } }))
    assert.equal("replace", action("a", { unique = true, traits = { { "sparse", "true" } } }))
    assert.equal("alter", action("b", { with = { { "expireAfterSeconds", "61" } } }))
    assert.equal("replace", action "b")
    assert.equal("replace", action "c")
    assert.equal("keep", action("t", { opclass = "text" }))
    assert.equal("replace", action("t", { opclass = "text", with = { { "default_language", "german" } } }))
  end)
end)
