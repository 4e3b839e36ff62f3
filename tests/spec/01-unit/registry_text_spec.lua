-- Texts that must not reach the server, and passwords that must not reach a message.
local registry = require "lunadex.registry"

describe("a registry's text", function()
  local function mistake(text, value)
    local loaded, errors = registry.parse(text, "r.lua", { getenv = function()
      return value or "postgresql://app:hunter2@db.example.internal:5432/shop"
    end })
    assert.is_nil(loaded, text)
    return tostring(errors[1])
  end

  it("holds no zero byte and is UTF-8", function()
    for _, inner in ipairs {
      [[name = "a\0b"]], [[with = { fillfactor = "7\0" }]], [[tablespace = "x\0"]], [[where = "a > 1\0"]],
      [[description = "x\0"]],
    } do
      assert.matches("zero byte", mistake(('on "t" { index { "a", %s } }'):format(inner)), 1, true)
    end
    assert.matches("zero byte", mistake [[database "main" { url = "postgresql://h/x\0", on "t" { index { "a" } } }]],
      1, true)
    assert.matches("zero byte", mistake [[on "t\0" { index { "a" } }]], 1, true)
    assert.matches("UTF-8", mistake [[on "t" { index { "a", name = "\xff" } }]], 1, true)
    assert.matches("UTF-8", mistake [[on "t" { index { "\xff" } }]], 1, true)
    assert.is_truthy(registry.parse([[on "t" { index { "ü", name = "odd ü" } }]]))
  end)

  it("names in duplicate_of what is declared", function()
    assert.matches('duplicate_of names "t_aa".*did you mean "t_a"', mistake [[on "t" {
      index { "a", name = "t_a" }, index { "b", name = "t_b", duplicate_of = "t_aa" } }]])
    assert.is_truthy(registry.parse [[on "t" {
      index { "a", name = "t_b", duplicate_of = "t_a" }, index { "a", name = "t_a" } }]])
  end)

  it("shows no password", function()
    for _, text in ipairs {
      [[database "main" { env "DATABASE_URL", on "t" { index { "a" } } }]], [[database "main" (env "DATABASE_URL")]],
      [[on "t" { index { "a", critical = env "DATABASE_URL" } }]], [[error(env "DATABASE_URL")]],
      [[on "t" { index { "a", name = "postgresql://app:hunter2@h }]],
    } do
      assert.not_matches("hunter2", mistake(text), 1, true)
    end
    -- Whatever is made of what a variable held.
    for _, value in ipairs { "host=h user=u password=s3cr-t", "host=h password = 's3cr-t' dbname=x",
      "postgresql://h/db?user=u&password=s3cr-t", "postgres://u:s3cr-t@h/db" } do
      for _, text in ipairs { [[error("cannot reach " .. env "X")]], [[error(env("X"):match "s3.-t")]],
        [[on "t" { index { "a", method = env "X", name = 1 } }]] } do
        local message = mistake(text, value)
        assert.not_matches("s3cr", message, 1, true)
      end
    end
    assert.not_matches("s3cr", mistake([[error(env "PGPASSWORD")]], "s3cret"), 1, true)
  end)
end)
