-- A concurrent build waits at its end for every older transaction of its database; on MongoDB, one that has touched the
-- collection keeps a build from being finished. Tells once, where something is to be built, that a transaction is open
-- for longer than `longer_than` right now.

local builds = { "create", "replace", "rebuild" }

return {
  name = "long-transaction",
  describe = "an old transaction that builds will have to wait for",
  options = { longer_than = { type = "duration", default = 300, description = "How old it has to be." } },
  rule = {
    on = { "plan" }, default = "plan",
    check = function(plan, context)
      local count = 0
      for _, action in ipairs(builds) do count = count + plan.summary[action] end
      local oldest = count > 0 and context.transactions[1]
      if not oldest or oldest.seconds < context.options.longer_than then return end
      return "warn", ("a transaction is open since %.0f min (%s%s%s): builds wait for its end"):format(
        oldest.seconds / 60, oldest.pid > 0 and "pid " .. oldest.pid or "a session",
        oldest.user ~= "" and ", " .. oldest.user or "",
        oldest.application ~= "" and ", " .. oldest.application or "")
    end,
  },
}
