-- The last ten runs, the newest first.
SELECT r.id,
       pg_catalog.to_char(r.started AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started,
       extract(epoch FROM r.ended - r.started) AS seconds,
       CASE WHEN r.ended IS NOT NULL THEN r.outcome
            -- When others' sessions began, may be hidden from us.
            WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                          WHERE a.pid = r.pid AND coalesce(a.backend_start = r.backend_start, true)) THEN 'running'
            ELSE 'killed' END AS outcome,
       r.error,
       r.role::text || coalesce('@' || pg_catalog.host(r.client), '') AS who,
       r.version, r.existing, r.planned, c.done, c.failed, c.unfinished
  FROM lunadex.run r
 CROSS JOIN LATERAL (
       SELECT pg_catalog.count(*) FILTER (WHERE h.outcome NOT IN ('failed', 'cancelled')) AS done,
              pg_catalog.count(*) FILTER (WHERE h.outcome = 'failed') AS failed,
              pg_catalog.string_agg(pg_catalog.format('%s %s %s', h.action, h.relation, h.name), ', ' ORDER BY h.number)
                FILTER (WHERE h.outcome IS NULL) AS unfinished
         FROM lunadex.change h
        WHERE h.run = r.id) c
 ORDER BY r.id DESC
 LIMIT 10
