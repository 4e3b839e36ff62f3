-- The indexes of a small shop: every kind of declaration once, each with the reason it is there.
--   lunadex plan registry/shop/shop.lua --target postgresql://…/shop

on "public.customers" {
  description = "Everybody who ever registered; gone ones are marked, not removed",

  primary_key { "id", name = "customers_pkey" },

  index { expr "lower(email)",
    name = "customers_email",
    where = "deleted_at IS NULL",
    critical = true,
    description = "Login, whatever the spelling of the address",
  },
  index { "country", desc "created_at",
    name = "customers_by_country",
    description = "Back office: newest customers of a country",
  },
  index { "tags",
    name = "customers_tags",
    method = "gin",
    description = "Campaigns: everybody with a tag",
  },
}

on "public.products" {
  description = "The range, sold out or not",

  primary_key { "id", name = "products_pkey" },
  unique_constraint { "sku", name = "products_sku_key" },

  -- The statement itself is as good a definition as fields are.
  index {
    sql = [[CREATE INDEX products_attributes ON public.products USING gin (attributes jsonb_path_ops)]],
    description = "Filters of the catalogue page",
  },
}

on "public.orders" {
  description = "One row per order, archived ones included",

  primary_key { "id", name = "orders_pkey" },
  foreign_key { "customer_id", references = "public.customers", name = "orders_customer_fkey",
    allow = { ["foreign-key-without-index"] = "customers are never removed" },
  },

  index { "customer_id", desc "created_at",
    name = "orders_recent_by_customer",
    where = "status <> 'archived'",
    include = { "total" },
    critical = true,
    description = "Account page, newest first, without touching the table",
  },
  index { "due",
    name = "orders_due",
    where = "paid IS NULL",
    description = "Dunning run: the few that are open",
  },
  index { "reference",
    name = "orders_reference",
    unique = true,
    where = "reference IS NOT NULL",
    description = "The customer's own number, where there is one",
  },

  query { [[SELECT total FROM orders WHERE customer_id = $1 AND status <> 'archived'
            ORDER BY created_at DESC LIMIT 20]],
    expect_index = true,
  },
}

on "public.order_items" {
  description = "Lines of orders",

  primary_key { "order_id", "line", name = "order_items_pkey" },
  foreign_key { "order_id", references = "public.orders", on_delete = "cascade", name = "order_items_order_fkey" },
  foreign_key { "product_id", references = "public.products", name = "order_items_product_fkey" },

  index { "product_id", name = "order_items_by_product", description = "Sales figures of a product" },
}

on "public.visits" {
  description = "Page views; grows fastest, loses its oldest month every month",

  index { "at", name = "visits_at", method = "brin", description = "Reports over days: rows lie in this order" },
  index { "customer_id", desc "at",
    name = "visits_by_customer",
    where = "customer_id IS NOT NULL",
    description = "What a known customer looked at last",
  },
}
