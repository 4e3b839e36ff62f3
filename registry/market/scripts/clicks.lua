#!/usr/bin/env -S lunadex run
-- Clicks to try things with: two thousand, on sixty products.
--
--     MONGODB_URI=… lunadex run registry/market/scripts/clicks.lua
local lunadex = require "lunadex"

local market <close> = assert(lunadex.connect((assert(os.getenv "MONGODB_URI", "MONGODB_URI is not set"))))
local clicks, now = {}, os.time()
for i = 1, 2000 do
  clicks[i] = { product = i % 60, session = i, at = lunadex.bson.date((now - i) * 1000) }
end
assert(market:query("insert", "clicks", { documents = clicks }))
