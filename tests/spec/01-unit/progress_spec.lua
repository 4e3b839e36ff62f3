-- What an apply says, event by event, where there is no terminal; and what the live lines look like where there is one.
describe("progress of a run", function()
  local progress, output, written, width

  before_each(function()
    written, width = {}, nil
    package.loaded["lunadex.core"] = {
      terminal = function() return width end,
      now = function() return 0 end, counted = { string = {}, table = {} },
    }
    package.loaded["lunadex.cli.output"], package.loaded["lunadex.cli.progress"] = nil, nil
    output = require "lunadex.cli.output"
    output.write = function(...) written[#written + 1] = table.concat { ... } end
    output.flush = function() end
    progress = require "lunadex.cli.progress"
  end)
  after_each(function()
    package.loaded["lunadex.core"] = nil
    package.loaded["lunadex.cli.output"], package.loaded["lunadex.cli.progress"] = nil, nil
  end)

  local function event(name, fields)
    local result = { event = name, number = 1, total = 3, action = "create", relation = "public.orders",
      name = "orders_recent" }
    for key, value in pairs(fields or {}) do result[key] = value end
    return result
  end

  local function text() return table.concat(written) end

  it("is one line per event", function()
    local shown = progress.new {}
    shown:hear(event("build_started", { definition = "btree (a)", critical = true, description = "Start page" }))
    shown:hear(event("waiting", { blocker = "pid 7 app" }))
    shown:hear(event("retry", { attempt = 1, delay = 2, error = { message = "no lock" } }))
    shown:hear(event("build_finished", { outcome = "created", seconds = 3.24, attempts = 2, critical = true }))
    shown:hear(event("build_finished", { number = 2, outcome = "skipped", reason = "already exists",
      live_name = "ABCD" }))
    shown:hear(event("build_finished", { number = 3, outcome = "failed", error = { message = "dup\nlicate" } }))
    assert.equal([[
[1/3] public.orders orders_recent (critical): building btree (a) - Start page
[1/3] public.orders orders_recent: waits for pid 7 app
[1/3] public.orders orders_recent: attempt 1 failed, next in 2.0 s: no lock
[1/3] public.orders orders_recent (critical): created in 3.2 s (attempt 2)
[2/3] public.orders orders_recent: skipped: already exists as ABCD
[3/3] public.orders orders_recent: failed: dup licate
]], text())
  end)

  it("draws what runs again below what is finished", function()
    width = 60
    local shown = progress.new { live = true }
    shown:hear(event("build_started", { definition = "btree (a)" }))
    shown:hear(event("progress", { phase = "building index: loading tuples in tree", percent = 61, rate = 1.1e6,
      unit = "tuples", seconds_left = 14 }))
    shown:hear(event("waiting", { blocker = "pid 3120 report@bi-2" }))
    shown:hear(event("progress", { phase = "waiting", blocker = "pid 3120 report@bi-2" }))
    shown:hear(event("build_finished", { outcome = "created", seconds = 1 }))
    local all = text()
    assert.is_truthy(all:find("61 %", 1, true))
    assert.is_truthy(all:find("blocked by pid 3120", 1, true))
    for line in all:gsub("\27%[%d*%a", ""):gmatch("[^\r\n]+") do
      assert.is_true((utf8.len(line) or #line) <= 60, line)
    end
    assert.matches("created in 1%.0 s\n$", all)
  end)

  it("sums up in one line", function()
    assert.equal("total 3, created 2, skipped 1, failed 0, dropped 1", progress.summary_line { total = 3, created = 2,
      skipped = 1, failed = 0, replaced = 0, rebuilt = 0, renamed = 0, altered = 0, dropped = 1, cancelled = 0 })
  end)
end)
