local errors = require "lunadex.errors"
local progress = require "lunadex.cli.progress"

describe("a failure", function()
  it("is one sentence after the other on its line", function()
    local err = errors.new("duplicate_key", "could not create it", "Find them all.")
    err.detail = "Key (a)=(1) is duplicated."
    local lines = progress.failure_lines({ change = { relation = "t", name = "t_a", action = "create" }, error = err,
      notes = {} }, { connection = {} }, { "apply" })
    assert.equal("t t_a: could not create it; Key (a)=(1) is duplicated; Find them all.", lines[1])
  end)

  it("says how to try again: as before, for this change only, and without a password", function()
    local failure = { change = { relation = "t", name = "t a", action = "drop" }, error = errors.new("server", "no"),
      notes = {} }
    for given, expected in pairs {
      ["apply r.lua --jobs 3 --only x --only=y --mode blocking"] = "apply r.lua --jobs 3 --mode blocking",
      ["apply --target postgresql://u@h/d --drop-strays"] = "apply --target postgresql://u@h/d --drop-strays",
      ["apply --target postgresql://u:secret@h/d?a=b"] = "apply --target shown",
      ["apply --target=mongodb://u:s:e@c@h/d"] = "apply --target shown",
      ["apply --target password=secret"] = "apply --target shown",
      ["apply --database main"] = "apply --database main",
      ["apply"] = "apply --database main",
    } do
      local words = {}
      for word in given:gmatch "%S+" do words[#words + 1] = word end
      local database = given == "apply" and "main" or given:match "%-%-database (%S+)"
      local lines = progress.failure_lines(failure, { target = "shown", connection = { label = database } }, words)
      assert.equal(("  try again: lunadex %s --only 't a'"):format(expected), lines[#lines])
    end
  end)
end)
