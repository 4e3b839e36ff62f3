-- A change of run $1 begins (without seconds, attempts, outcome, error), or ends.
INSERT INTO lunadex.change AS c (run, number, action, relation, name, definition, critical, started, seconds, attempts,
                                 outcome, error)
VALUES ($1::bigint, $2::int, $3, $4, $5, $6, $7::bool,
        pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => coalesce($8::float8, 0)), $8::float8, $9::int, $10,
        $11)
ON CONFLICT (run, number) DO UPDATE
   SET seconds = excluded.seconds, attempts = excluded.attempts, outcome = excluded.outcome, error = excluded.error
