-- One registry for two databases, of which each has its own file: what is bought is kept in PostgreSQL …

database "orders" { url = env("DATABASE_URL", "postgresql://localhost/shop"),

  on "public.orders" {
    description = "One row per order",

    index { "status", desc "created_at",
      name = "orders_by_status",
      where = "status <> 'archived'",
      description = "What the warehouse has to do next",
    },
  },
}
