-- Some versions of PostgreSQL (14.0 to 14.3) can corrupt an index that is built concurrently. Blocks every build there
-- that does not block writers: upgrade the server; or, while nobody writes, --mode blocking.

return {
  name = "concurrent-build-bug",
  describe = "concurrent builds on servers that are known to corrupt them",
  rule = {
    on = { "create", "replace", "rebuild" }, default = "plan", driver = "postgres",
    check = function(change, context)
      local warning = context.server.warning
      if warning and change.mode ~= "blocking" and change.index.kind ~= "foreign_key" then
        return "block", warning .. ": upgrade the server; or, while nobody writes, --mode blocking"
      end
    end,
  },
}
