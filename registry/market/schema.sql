-- The orders of a small market, and enough of them to try things with; its clicks are in MongoDB.
-- psql -f registry/market/schema.sql; lunadex run registry/market/scripts/clicks.lua

CREATE TABLE orders (
  id          bigint GENERATED ALWAYS AS IDENTITY,
  product     integer NOT NULL,
  status      text NOT NULL,
  total       numeric(10, 2) NOT NULL,
  created_at  timestamptz NOT NULL,
  CONSTRAINT orders_pkey PRIMARY KEY (id)
);

INSERT INTO orders (product, status, total, created_at)
SELECT i % 50, CASE WHEN i % 10 = 0 THEN 'open' ELSE 'archived' END, i, now() - i * interval '1 hour'
  FROM generate_series(1, 2000) AS i;
