-- A declared index that no query has used since its server began to count, at least `since` ago.
--
-- The count is of the server that was asked: what only replicas use counts as unused here. It begins anew when
-- statistics are reset (MongoDB: when the server is restarted), and where it is younger than `since` nothing is said.
-- PostgreSQL does not know how old an index is, but for one that a recorded run made (docs/history.md), or where it
-- keeps the times of commits: another one of yesterday is told of as well, if the server has counted for long.
-- Unique indexes and keys do their work without being read, and so does what expires documents; what is hidden from
-- queries is not there to be used.

local function is_no_query_s(index)
  for _, option in ipairs(index.with or {}) do
    if option[1] == "expireAfterSeconds" or option[1] == "hidden" and option[2] == "true" then return true end
  end
  return false
end

return {
  name = "unused-index",
  describe = "a declared index that no query uses",
  options = { since = { type = "duration", default = 30 * 86400, description = "How long it has to be unused." } },
  rule = {
    on = { "index" }, default = "check", database = true,
    check = function(index, context)
      if index.kind ~= "index" or index.unique or not index.live or index.replica_identity or index.referenced
        or is_no_query_s(index) then
        return
      end
      local age = index.scans == 0 and index.scans_since
      if age and age >= context.options.since then
        return "warn", ("not used once in %d days, or since it was made, as far as this server counts; replicas count "
          .. "for themselves"):format(age // 86400)
      end
    end,
  },
}
