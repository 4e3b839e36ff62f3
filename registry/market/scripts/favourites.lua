#!/usr/bin/env -S lunadex run
-- Indexes for the page of favourites, built before the code that needs them is deployed. What people click on is in
-- MongoDB, what they buy in PostgreSQL; how the indexes have to look depends on both.
--
--     DATABASE_URL=… MONGODB_URI=… lunadex run registry/market/scripts/favourites.lua
--
-- registry/market/schema.sql and scripts/clicks.lua make databases to try it on.
-- It may be killed, and run again at any time: what is there already is found by its definition.
local lunadex = require "lunadex"

local shop <close> = assert(lunadex.connect((assert(os.getenv "DATABASE_URL", "DATABASE_URL is not set"))))
local market <close> = assert(lunadex.connect((assert(os.getenv "MONGODB_URI", "MONGODB_URI is not set"))))

-- The hundred products that are clicked on most, and how often they were bought.
local favourites, clicks = {}, 0
local pipeline = { { ["$sortByCount"] = "$product" }, { ["$limit"] = 100 } }
for product in market:rows("aggregate", "clicks", { pipeline = pipeline, cursor = {} }) do
  favourites[#favourites + 1] = product._id
  clicks = clicks + product.count
end
local bought = assert(shop:query([[
  SELECT count(*) AS orders, count(*) FILTER (WHERE product = ANY($1)) AS of_favourites,
         count(*) FILTER (WHERE status <> 'archived') AS open
    FROM public.orders]], { favourites }))[1]
print(("%d favourites: %d clicks, %d of %d orders"):format(#favourites, clicks, bought.of_favourites, bought.orders))

-- Where few orders are still open, an index of those is enough, and much smaller.
local orders_index = { "product", lunadex.desc "created_at", name = "orders_of_favourites" }
if bought.open * 2 < bought.orders then orders_index.where = "status <> 'archived'" end
local clicks_index = { "product", "session", name = "clicks_on_favourites" }

local function build(db, relation, index)
  local function tell(event)
    if event.event == "progress" and event.percent then
      print(("  %s: %s, %.0f %%"):format(index.name, event.phase, event.percent))
    elseif event.event == "waiting" then
      print(("  %s waits for %s"):format(index.name, event.blocker))
    end
  end
  local begun = lunadex.now()
  -- Another run, or what is left of one that was killed, may still hold the lock.
  local what, err = db:build(relation, index, { wait = 300, on_event = tell })
  print(("%s: %s after %.1f s"):format(index.name, what or tostring(err), lunadex.now() - begun))
  return what
end

local of_orders = lunadex.spawn(build, shop, "public.orders", orders_index)
local of_clicks = lunadex.spawn(build, market, "clicks", clicks_index)
local orders_done, clicks_done = of_orders:join(), of_clicks:join()
return orders_done and clicks_done and 0 or 3
