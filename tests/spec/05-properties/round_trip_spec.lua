-- Random definitions on random relations survive the round trip (support.round_trip).
--
-- LUNADEX_SEED, LUNADEX_CASE: that seed; that case alone. LUNADEX_CASES: how many. A failure prints both, with the
-- smallest registry that still fails.
local definitions = require "support.definitions"
local pg = require "support.postgres"
local round_trip = require "support.round_trip"

local long = os.getenv "LUNADEX_TEST_LONG" ~= nil
local seed = math.tointeger(tonumber(os.getenv "LUNADEX_SEED" or "1"))
local only = math.tointeger(tonumber(os.getenv "LUNADEX_CASE" or ""))
local BATCH = 100
local wanted = math.tointeger(tonumber(os.getenv "LUNADEX_CASES" or (long and "2200" or "200")))

-- What has to occur in the long run, each several times, or the generator has lost it.
local features = {
  "index", "unique_constraint", "primary_key", "exclusion_constraint", "foreign_key", "method btree", "method hash",
  "method gin", "method gist", "method spgist", "method brin", "method bloom", "relation plain", "relation unlogged",
  "relation partitioned", "relation view", "relation inherited", "nested partitions",
  "partition of another column order", "partitions named", "same name in two schemas", "dropped columns",
  "renamed column", "generated column", "column of its own collation", "odd relation", "odd name", "name of 63 bytes",
  "newline in a name", "no name", "several keys", "expression", "expressions and columns", "whole row", "desc",
  "nulls first", "nulls last", "opclass", "opclass parameters", "collation", "nondeterministic collation", "include",
  "predicate", "compound predicate", "unique", "storage parameters", "tablespace", "deferrable", "on delete no action",
  "on delete restrict", "on delete cascade", "on delete set null", "on delete set default", "on update no action",
  "on update restrict", "on update cascade", "on update set null", "on update set default", "match full", "as sql",
  "duplicate", "type int", "type num", "type text", "type bool", "type date", "type timestamp", "type timestamptz",
  "type uuid", "type net", "type jsonb", "type int array", "type text array", "type range", "type point", "type box",
  "type tsvector", "type enum", "type composite",
}
local since_14 = { "type multirange" }
local since_15 = { "nulls not distinct", "on delete columns" }

describe("random definitions", function()
  for _, version in ipairs(pg.versions()) do
    describe("on PostgreSQL " .. version, function()
      local reason = pg.missing(version)
      if reason then return pending(reason) end
      local trip
      setup(function() trip = round_trip.new(version) end)
      teardown(function() trip:stop() end)

      it("survive the round trip", function()
        local counts, built, tried = {}, 0, 0
        local modes = { "auto", "concurrent", "blocking" }
        local from = only or 1
        local last = only or wanted
        while from <= last do
          local cases = {}
          for number = from, math.min(from + BATCH - 1, last) do
            cases[#cases + 1] = definitions.random(seed, number, version)
          end
          local mode = modes[(from // BATCH) % #modes + 1]
          local valid, _, message = trip:valid(cases)
          assert(not message, message)
          tried, from = tried + #cases, from + BATCH
          local failure = #valid > 0 and trip:cases(valid, mode)
          if failure then error(trip:explain(valid, mode, failure), 0) end
          built = built + #valid
          for _, case in ipairs(valid) do
            for feature in pairs(case.features) do counts[feature] = (counts[feature] or 0) + 1 end
          end
        end
        -- PostgreSQL itself refuses some: an opclass without its collation, a function that is only stable.
        local share = ("%d of %d definitions are valid"):format(built, tried)
        if only then
          assert.equal(1, built, share)
          return
        end
        assert.is_true(built * 100 >= tried * 90, share)
        if wanted < 2200 then return end
        assert.is_true(built >= 2000, share)
        local lost = {}
        local function occurs(list)
          for _, feature in ipairs(list) do
            if (counts[feature] or 0) < 3 then lost[#lost + 1] = feature end
          end
        end
        occurs(features)
        if version >= 14 then occurs(since_14) end
        if version >= 15 then occurs(since_15) end
        assert.same({}, lost)
      end)
    end)
  end
end)
