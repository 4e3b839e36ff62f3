-- What a backfill's `before` names waits until that is finished: its data are not right yet. Puts off whatever is to be
-- done to such an index or key, but for a drop.

return {
  name = "backfill-first",
  describe = "what is to come after a backfill that is not finished",
  rule = {
    on = { "create", "replace", "rename", "alter", "rebuild", "wait" }, default = "plan",
    check = function(change)
      local backfill = change.backfill
      if not backfill then return end
      local message = "waits for the backfill %s, which is not finished (lunadex backfill run --only %s)"
      return { message = message:format(backfill, backfill), amend = { put_off = true } }
    end,
  },
}
