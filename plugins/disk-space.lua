-- Blocks builds that by estimate need more room than the disk has: the indexes to be built, and as much again for
-- sorting the largest of them, with `reserve` to spare.
--
-- MongoDB tells how much room there is. PostgreSQL does not: there nothing is judged, as `check` says, until
-- somebody tells, as in
--
--   rule "disk-space" { options = { free = env "DISK_FREE" } }          -- DISK_FREE=80GB

local builds = { create = true, replace = true, rebuild = true }
local actions = { "create", "replace", "rebuild" } -- what frees room, or takes none, may go on

local function gigabytes(bytes)
  return ("%.1f GB"):format(bytes / 1024 ^ 3)
end

return {
  name = "disk-space",
  describe = "builds for which the disk is too small",
  options = {
    free = { type = "size", description = "How much room there is. Default: what the server says." },
    reserve = { type = "size", default = "1GB", description = "What has to stay free." },
  },
  rule = {
    on = { "plan" }, default = "plan",
    check = function(plan, context)
      local options, sum, largest = context.options, 0, 0
      for _, change in ipairs(plan.changes) do
        local bytes = builds[change.action] and not change.held and change.estimate.index_bytes or 0
        sum, largest = sum + bytes, math.max(largest, bytes)
      end
      if sum == 0 then return end
      local free = options.free or context.disk and context.disk.free
      if not free or sum + largest + options.reserve <= free then return end
      local message = "the builds need about %s, %s for sorting included; %s are free, of which %s stay in reserve"
      return { verdict = "block", changes = actions, message = message:format(gigabytes(sum + largest),
        gigabytes(largest), gigabytes(free), gigabytes(options.reserve)) }
    end,
  },
}
