-- A declared query that is to have an index, and the server's own plan of it reads the whole relation; or the index
-- that was named is not one that it uses.
--
-- PostgreSQL is asked with reading made dear. Where something is still to be built on the relation, it cannot say: it
-- is asked again when that is done. On MongoDB its planner's rules are asked about what is still to be built, but for
-- views.

return {
  name = "unserved-query",
  describe = "a declared query that no index serves",
  rule = {
    on = { "query" }, default = "plan", database = true,
    check = function(query)
      if not query.expect_index then return end
      local shown = query.name and ("the query %q"):format(query.name) or "the query"
      if query.refused then return "warn", ("%s cannot be planned: %s"):format(shown, query.refused) end
      if query.unknown then
        return "allow", ("whether an index serves %s is not known: %s"):format(shown, query.unknown)
      end
      if query.served == nil then return end
      if not query.served then return "warn", "no index serves " .. shown end
      if type(query.expect_index) ~= "string" then return end
      for _, name in ipairs(query.uses) do
        if name == query.expect_index then return end
      end
      return "warn", ("%s is to be served by %s, and uses %s"):format(shown, query.expect_index,
        #query.uses > 0 and table.concat(query.uses, ", ") or "no index")
    end,
  },
}
