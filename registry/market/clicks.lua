-- … and what is only looked at in MongoDB.

database "clicks" { url = env("MONGODB_URI", "mongodb://localhost/market"),

  on "clicks" {
    description = "Every page that a visitor sees; kept for three months",

    index { "session", desc "at", name = "clicks_by_session", critical = true, description = "The visitor's way" },
    index { "product", "at",
      name = "clicks_on_products",
      partial = { product = { ["$exists"] = true } },
      description = "What is looked at most",
    },
    index { "at", name = "clicks_expiry", expire_after = "90d", description = "Removes what is over" },
  },
}
