-- Blocks the drop of an undeclared index that queries have used lately: on average `scans` times a day or more, since
-- the server began to count (of a younger count than a day: in all). What backs a constraint, is a replica identity or
-- carries a shard key is never dropped, whatever the rules say.

local function since(seconds)
  if not seconds then return "unknown time" end
  for _, unit in ipairs { { 86400, "days" }, { 3600, "hours" }, { 60, "minutes" } } do
    if seconds >= 2 * unit[1] then return ("%.0f %s"):format(seconds / unit[1], unit[2]) end
  end
  return ("%.0f seconds"):format(seconds)
end

return {
  name = "used-index-drop",
  describe = "the drop of an index that is in use",
  options = { scans = { type = "number", default = 1, description = "Uses a day from which on it is in use." } },
  rule = {
    on = { "drop" }, default = "plan",
    check = function(change, context)
      local scans = change.scans
      -- What failed builds left, or a replacement, is of no use to anybody.
      if not scans or scans == 0 or change.reason:find "^left by" or change.index.valid == false then return end
      local days = math.max((change.scans_since or 0) / 86400, 1)
      if scans / days >= context.options.scans then
        return "block", ("it was used %s in %s: declare it, or use --without used-index-drop"):format(
          scans == 1 and "once" or ("%.0f times"):format(scans), since(change.scans_since))
      end
    end,
  },
}
