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
      local seconds = oldest.seconds
      local since = seconds < 120 and ("%.0f s"):format(seconds) or ("%.0f min"):format(seconds / 60)
      return "warn", ("a transaction is open since %s (%s%s%s): builds wait for its end"):format(since,
        oldest.pid and "pid " .. oldest.pid or oldest.state == "prepared" and "prepared" or "a session",
        oldest.user ~= "" and ", " .. oldest.user or "",
        oldest.application ~= "" and ", " .. oldest.application or "")
    end,
  },
}
