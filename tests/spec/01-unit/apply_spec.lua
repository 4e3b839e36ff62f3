-- What keeps a plan from being applied before anything is asked of the database.
local applying = require "lunadex.apply"

describe("applying", function()
  local function plan(more)
    local result = { info = { warning = "", read_only = false }, refusal = function() end,
      has_changes = function() return true end, connection = { lock = function() error "asked for the lock" end,
      locked = function() error "asked the connection" end } }
    for key, value in pairs(more) do result[key] = value end
    return result
  end

  it("is refused by a server that breaks what is built concurrently, unless nothing is", function()
    local bad = { warning = "PostgreSQL 14.2 can corrupt an index", read_only = false }
    local outcome, err = applying.run(plan { info = bad }, { locked = true })
    assert.is_nil(outcome)
    assert.same({ "unsupported", bad.warning }, { err.code, err.message })
    assert.matches("blocking", err.hint)
    assert.error_matches(function() applying.run(plan { info = bad }, { locked = true, mode = "blocking" }) end,
      "asked the connection")
    assert.error_matches(function()
      applying.run(plan { info = bad, has_changes = function() return false end }, { locked = true })
    end, "asked the connection")
  end)
end)
