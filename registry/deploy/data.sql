-- Something to build on, for trying the deployment out; see ../shop/data.sql for how it is made up.

SET max_parallel_workers_per_gather = 0;
SELECT setseed(0.42);

INSERT INTO organisations (name) SELECT 'Organisation ' || n FROM generate_series(1, 200) AS n;

INSERT INTO leads (organisation_id, owner_id, name, created_at, next_call, closed_at)
SELECT 1 + floor(random() ^ 3 * 200), CASE WHEN random() < 0.9 THEN 1 + floor(random() * 1000) END, 'Lead ' || n,
       timestamptz '2023-01-01' + n * interval '8 minutes',
       CASE WHEN random() < 0.2 THEN date '2025-01-01' + floor(random() * 365)::integer END,
       CASE WHEN random() < 0.6 THEN timestamptz '2025-01-01' END
FROM generate_series(1, 150000) AS n;

INSERT INTO events (lead_id, kind, at)
SELECT 1 + floor(random() ^ 2 * 150000), (ARRAY['call', 'mail', 'mail', 'visit'])[1 + floor(random() * 4)],
       timestamptz '2023-01-01' + n * interval '4 minutes'
FROM generate_series(1, 300000) AS n;

ANALYZE;
