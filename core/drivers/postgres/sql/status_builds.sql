-- Builds under way in this database, with who they are and who keeps them waiting: also those that wait for their table
-- before they have begun, which no view of progress tells of.
SELECT 'build' AS kind,                         -- 0
       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(r.relname) AS relation,
       coalesce(c.relname, p.name) AS name,
       p.phase,
       pg_catalog.round(p.percent, 1) AS percent,
       p.pid,                                   -- 5: seven columns, as `who` reads them
       a.usename,
       coalesce(a.client_hostname, pg_catalog.host(a.client_addr)),
       a.application_name,
       NULL AS state,
       CASE WHEN NOT p.before THEN extract(epoch FROM pg_catalog.clock_timestamp() - a.query_start) END,
       CASE WHEN NOT p.before THEN a.query END,
       coalesce(b.pid, x.pid),                  -- 12: the same, of the blocker
       coalesce(b.usename, x.owner),
       coalesce(b.client_hostname, pg_catalog.host(b.client_addr)),
       CASE WHEN x.pid IS NULL THEN b.application_name ELSE pg_catalog.format('prepared transaction %s', x.gid) END,
       b.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(b.xact_start, b.backend_start, x.prepared)),
       CASE WHEN x.pid IS NULL THEN b.query
            ELSE pg_catalog.format('COMMIT PREPARED or ROLLBACK PREPARED %L ends it', x.gid) END
  FROM (
       SELECT o.*, NULL AS name, false AS before, false AS drops
         FROM (
\ir parts/builds.sql
              ) o
       UNION ALL
       SELECT l.pid, 'waiting for the table''s lock', NULL, NULL, l.relation, NULL, (pg_catalog.parse_ident(m.words[1]))[1],
              false, false
         FROM pg_catalog.pg_locks l
         JOIN pg_catalog.pg_stat_activity q ON q.pid = l.pid
        CROSS JOIN LATERAL (
              SELECT pg_catalog.regexp_match(q.query, 'create\s+(?:unique\s+)?index\s+(?:concurrently\s+)?'
                       '(?:if\s+not\s+exists\s+)?((?!on\s)(?:"(?:[^"]|"")+"|[[:alpha:]_]\w*))?', 'i') AS words) m
        WHERE l.locktype = 'relation' AND NOT l.granted AND l.mode IN ('ShareLock', 'ShareUpdateExclusiveLock')
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
          AND m.words IS NOT NULL
       UNION ALL
       -- Ours says in the query that it asks again and again what it waits to build, and where (attempt.c).
       SELECT q.pid, 'waiting for transactions on the table', NULL, NULL, m.words[2]::pg_catalog.oid, NULL, m.words[1],
              true, m.words[3] IS NOT NULL
         FROM pg_catalog.pg_stat_activity q
        CROSS JOIN LATERAL (
              SELECT pg_catalog.regexp_match(q.query,
                       '^-- waits to build (.+) on relation (\d+), until it is not (?:written|used (by anybody))\n') AS words) m
        WHERE q.datname = pg_catalog.current_database() AND q.pid <> pg_catalog.pg_backend_pid()
          AND q.state_change > pg_catalog.clock_timestamp() - interval '5 seconds' AND m.words IS NOT NULL
       ) p
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = p.pid
  LEFT JOIN pg_catalog.pg_class r ON r.oid = p.relid
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = p.index_relid
  CROSS JOIN LATERAL (SELECT p.relid AS relation, p.drops, p.before,
                            p.before OR a.wait_event_type = 'Lock' AS waits) t
  LEFT JOIN LATERAL (
       (
\ir parts/blocker.sql
       ) UNION ALL (
\ir parts/holder.sql
       ) LIMIT 1) b ON true
  LEFT JOIN LATERAL (
\ir parts/prepared.sql
       ) x ON b.pid IS NULL;
