local errors = require "lunadex.errors"
local progress = require "lunadex.cli.progress"

describe("a failure", function()
  it("is one sentence after the other on its line", function()
    local err = errors.new("duplicate_key", "could not create it", "Find them all.")
    err.detail = "Key (a)=(1) is duplicated."
    local lines = progress.failure_lines({ change = { relation = "t", name = "t_a", action = "create" }, error = err,
      notes = {} }, {})
    assert.equal("t t_a: could not create it; Key (a)=(1) is duplicated; Find them all.", lines[1])
  end)
end)
