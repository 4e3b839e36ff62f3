-- Run $1 ends: $2 outcome, $3 error.
UPDATE lunadex.run SET ended = pg_catalog.clock_timestamp(), outcome = $2, error = $3 WHERE id = $1::bigint
