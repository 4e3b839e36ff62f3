std = "lua54"
max_line_length = 120
codes = true
exclude_files = { "build*", ".deps" }

-- Stubs: nothing in them is used, that is their nature.
files["lua/meta"] = { ignore = { "211", "212", "241", "631" } }

-- The registry language (lua/lunadex/registry.lua).
files["registry"] = {
  std = "lua54",
  read_globals = {
    "database", "on", "index", "unique_constraint", "primary_key", "exclusion_constraint", "foreign_key", "constraint",
    "query", "expr", "asc", "desc", "key", "null", "env", "rule", "backfill",
  },
}

files["tests/spec"] = { std = "lua54+busted" }
files["tests/bench"] = { std = "lua54" }
files["tests/c"] = { ignore = { "211", "213", "311", "411", "421", "431", "531" } } -- called for their own sake
-- Wrong registries are a spec's material, not code of ours.
exclude_files[#exclude_files + 1] = "tests/**/wrong"
