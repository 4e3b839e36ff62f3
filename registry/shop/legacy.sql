-- What years of hands left behind, so that a plan has something to say about each.

-- Right, under a name of its own: kept, since definitions are what is compared.
CREATE INDEX idx_items_prod ON order_items (product_id);

-- Somebody forgot the predicate: replaced, with never a moment without an index.
CREATE INDEX orders_due ON orders (due);

-- Made for one report, forgotten: a stray, dropped only if asked.
CREATE INDEX tmp_visits_referrer ON visits (referrer);

-- A unique build that met a duplicate leaves an invalid index, which is maintained by every write and used by no
-- query. The duplicate is long gone, the leftover is not: rebuilt.
INSERT INTO orders (customer_id, reference, status, total, created_at)
SELECT customer_id, reference, status, total, created_at FROM orders WHERE reference IS NOT NULL ORDER BY id LIMIT 1;
\set ON_ERROR_STOP off
CREATE UNIQUE INDEX CONCURRENTLY orders_reference ON orders (reference) WHERE reference IS NOT NULL;
\set ON_ERROR_STOP on
DELETE FROM orders WHERE id = (SELECT max(id) FROM orders);
