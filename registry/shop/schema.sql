-- A small shop. Tables and what a migration tool would make with them; the indexes are shop.lua's business.
-- psql -f schema.sql -f data.sql -f legacy.sql

CREATE TABLE customers (
  id          bigint GENERATED ALWAYS AS IDENTITY,
  email       text NOT NULL,
  name        text NOT NULL,
  country     char(2) NOT NULL,
  tags        text[] NOT NULL DEFAULT '{}',
  created_at  timestamptz NOT NULL,
  deleted_at  timestamptz,
  CONSTRAINT customers_pkey PRIMARY KEY (id)
);

CREATE TABLE products (
  id          bigint GENERATED ALWAYS AS IDENTITY,
  sku         text NOT NULL,
  name        text NOT NULL,
  price       numeric(10, 2) NOT NULL,
  attributes  jsonb NOT NULL DEFAULT '{}',
  CONSTRAINT products_pkey PRIMARY KEY (id)
);

CREATE TABLE orders (
  id          bigint GENERATED ALWAYS AS IDENTITY,
  customer_id bigint NOT NULL,
  reference   text,
  status      text NOT NULL,
  total       numeric(12, 2) NOT NULL,
  created_at  timestamptz NOT NULL,
  due         date,
  paid        timestamptz,
  CONSTRAINT orders_pkey PRIMARY KEY (id)
);

-- Neither key nor reference: shop.lua adds both to the full table, without locking it.
CREATE TABLE order_items (
  order_id    bigint NOT NULL,
  line        integer NOT NULL,
  product_id  bigint NOT NULL,
  quantity    integer NOT NULL,
  price       numeric(10, 2) NOT NULL
);

CREATE TABLE visits (
  id          bigint GENERATED ALWAYS AS IDENTITY,
  customer_id bigint,
  path        text NOT NULL,
  referrer    text,
  at          timestamptz NOT NULL
);
