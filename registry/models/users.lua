-- A file for each model of an application that keeps its data in MongoDB. Indexes are declared here and never made by
-- the application at run time: before the code that depends on them is deployed,
--   MONGODB_URI=mongodb://…/app lunadex apply registry/models
-- goes through all of them and builds what is missing in the background, side by side.

database "app" { url = env("MONGODB_URI", "mongodb://localhost/app"),

  on "users" {
    description = "Accounts, of all tenants",

    index { "email",
      name = "users_email",
      unique = true,
      partial = { email = { ["$exists"] = true } },
      collation = { locale = "en", strength = 2 },
      critical = true,
      description = "Login, whatever the spelling; service accounts have no address",
    },
    index { "tenant", desc "seen_at",
      name = "users_by_tenant",
      description = "Who was here last",
    },
    index { { name = "text" }, { notes = "text" },
      name = "users_text",
      weights = { name = 10 },
      description = "The search field of the back office",
    },

    query { { tenant = 1 }, sort = { { seen_at = -1 } },
      name = "last seen", expect_index = true,
    },
  },

  on "sessions" {
    description = "Who is logged in; a month after the last request a session is forgotten",

    index { "token", name = "sessions_token", unique = true, critical = true, description = "Every request" },
    index { "used_at", name = "sessions_expiry", expire_after = "30d", description = "Removes what is over" },
  },
}
