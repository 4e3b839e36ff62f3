-- What grows fastest. Nothing here stands in the way of a deployment: none is critical. Where the database is says
-- users.lua.

database "app" {

  on "events" {
    description = "Everything that ever happened; written all the time",

    index { "user", desc "at",
      name = "events_by_user",
      description = "History of an account",
    },
    index { { place = "2dsphere" }, "kind",
      name = "events_by_place",
      sparse = true,
      description = "Map of what happens where",
    },
    index { "at",
      name = "events_failed",
      partial = { status = "failed", at = { ["$gt"] = { ["$date"] = "2020-01-01T00:00:00Z" } } },
      description = "The few that somebody has to look at",
    },

    -- The specification itself is as good a declaration as words are.
    index { spec = [[{ "key": { "payload.$**": 1 }, "name": "events_payload" }]],
      description = "Whatever field of the payload support asks for",
    },

    query { { user = 1, at = { ["$gt"] = { ["$date"] = "2024-01-01T00:00:00Z" } } }, sort = { { at = -1 } },
      name = "history of an account", expect_index = "events_by_user",
    },
  },
}
