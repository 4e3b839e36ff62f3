local target = require "lunadex.target"

describe("target", function()
  local function env(values)
    return function(name) return values[name] end
  end

  it("prefers the option, then the registry, then the environment", function()
    local all = { LUNADEX_TARGET = "l", DATABASE_URL = "d", MONGODB_URI = "m", PGHOST = "h" }
    assert.same({ "o", "--target" }, { target.find("o", "r", env(all)) })
    assert.same({ "r", "registry" }, { target.find(nil, "r", env(all)) })
    assert.same({ "l", "LUNADEX_TARGET" }, { target.find(nil, nil, env(all)) })
    all.LUNADEX_TARGET = ""
    assert.same({ "d", "DATABASE_URL" }, { target.find(nil, nil, env(all)) })
    all.DATABASE_URL = nil
    assert.same({ "m", "MONGODB_URI" }, { target.find(nil, nil, env(all)) })
    all.MONGODB_URI = nil
    assert.same({ "", "PGHOST" }, { target.find(nil, nil, env(all)) })
    assert.same({ "", "PGSERVICE" }, { target.find(nil, nil, env { PGSERVICE = "shop" }) })
  end)

  it("refuses to guess", function()
    local found, err = target.find(nil, nil, env {})
    assert.is_nil(found)
    assert.equal("usage", err.code)
    assert.matches("--target", tostring(err), 1, true)
    found, err = target.find("", "r", env { DATABASE_URL = "d" })
    assert.is_nil(found)
    assert.equal("usage", err.code)
  end)

  it("shows no secret", function()
    local function check(given, shown)
      assert.equal(shown, target.redact(given))
      assert.is_nil(target.redact(given):find("geheim", 1, true))
    end
    check("postgresql://app:geheim@db/shop", "postgresql://app@db/shop")
    check("postgres://app:ge%40geheim@db:5432/shop?sslmode=require", "postgres://app@db:5432/shop?sslmode=require")
    check("postgresql://:geheim@db/shop", "postgresql://db/shop")
    check("postgresql://app:a/geheim@b@db/shop", "postgresql://app@db/shop")
    check("postgresql://app:a?geheim@db/shop", "postgresql://app@db/shop")
    check("postgresql://app@db/shop?password=geheim&connect_timeout=3",
      "postgresql://app@db/shop?password=***&connect_timeout=3")
    check("postgresql://db/shop?p%61ssword=geheim", "postgresql://db/shop?p%61ssword=***")
    check("mongodb+srv://app:geheim@a.example,b.example/shop", "mongodb+srv://app@a.example,b.example/shop")
    check("host=db user=app password=geheim dbname=shop", "host=db user=app password=*** dbname=shop")
    check("password = 'geheim und mehr' host=db", "password = *** host=db")
    check("host=db password='it\\'s geheim' user=app", "host=db password=***")
    check("host=db sslpassword=geheim", "host=db sslpassword=***")
    check("postgresql:///shop", "postgresql:///shop")
    check("", "")
  end)
end)
