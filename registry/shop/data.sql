-- Data as shops have it: a few customers order most, a few products sell most, much is null, some is there twice.
-- The same every time: random() starts from a seed, and nothing runs in parallel. A few seconds.

SET max_parallel_workers_per_gather = 0;
SET synchronous_commit = off;
SELECT setseed(0.42);

-- One customer in fifty registered twice, in another spelling of the same address.
INSERT INTO customers (email, name, country, tags, created_at, deleted_at)
SELECT CASE WHEN n % 50 = 0 THEN 'Customer' || n - 1 ELSE 'customer' || n END || '@example.com',
       'Customer ' || n,
       (ARRAY['DE', 'DE', 'DE', 'DE', 'FR', 'FR', 'IT', 'ES', 'PL', 'SE'])[1 + floor(random() * 10)],
       CASE WHEN random() < 0.7 THEN '{}' ELSE ARRAY[(ARRAY['vip', 'newsletter', 'wholesale'])[1 + floor(random() * 3)]] END,
       timestamptz '2019-01-01' + random() * interval '6 years',
       CASE WHEN random() < 0.04 THEN timestamptz '2025-01-01' + random() * interval '200 days' END
FROM generate_series(1, 50000) AS n;

INSERT INTO products (sku, name, price, attributes)
SELECT 'SKU-' || lpad(n::text, 6, '0'),
       (ARRAY['lamp', 'chair', 'table', 'shelf', 'rug'])[1 + n % 5] || ' ' || n,
       round((5 + random() ^ 4 * 995)::numeric, 2),
       jsonb_build_object('colour', (ARRAY['black', 'white', 'oak', 'red'])[1 + floor(random() * 4)],
                          'weight', round((random() * 40)::numeric, 1))
FROM generate_series(1, 5000) AS n;

-- random() ^ 3: a tenth of the customers place almost half of the orders. Old ones are archived, a reference is rare.
INSERT INTO orders (customer_id, reference, status, total, created_at, due, paid)
SELECT 1 + floor(random() ^ 3 * 50000),
       CASE WHEN random() < 0.3 THEN 'R-' || n END,
       CASE WHEN n < 200000 THEN 'archived'
            ELSE (ARRAY['open', 'shipped', 'shipped', 'shipped', 'returned'])[1 + floor(random() * 5)] END,
       round((10 + random() ^ 5 * 2000)::numeric, 2),
       timestamptz '2020-01-01' + n * interval '9 minutes',
       date '2020-01-31' + n / 160,
       CASE WHEN random() < 0.97 THEN timestamptz '2020-01-10' + n * interval '9 minutes' END
FROM generate_series(1, 300000) AS n;

INSERT INTO order_items (order_id, line, product_id, quantity, price)
SELECT o.id, line, 1 + floor(random() ^ 4 * 5000), 1 + floor(random() ^ 6 * 10), round((5 + random() * 200)::numeric, 2)
FROM orders o, generate_series(1, 1 + (o.id % 3)::integer) AS line;

-- Two visits in three are by nobody we know.
INSERT INTO visits (customer_id, path, referrer, at)
SELECT CASE WHEN random() < 0.34 THEN 1 + floor(random() ^ 2 * 50000) END,
       '/product/' || 1 + floor(random() ^ 4 * 5000),
       CASE WHEN random() < 0.2 THEN 'https://search.example/?q=' || floor(random() * 1000) END,
       timestamptz '2025-01-01' + n * interval '30 seconds'
FROM generate_series(1, 400000) AS n;

VACUUM ANALYZE;
