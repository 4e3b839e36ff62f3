-- Builds under way in this database, with who they are and who keeps them waiting, and the holder of the run lock.
SELECT 'build' AS kind,                         -- 0
       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(r.relname) AS relation,
       x.relname AS name,
       p.phase,
       CASE WHEN p.phase LIKE 'waiting%' THEN NULL
            WHEN p.phase LIKE '%loading%' OR p.phase LIKE '%sorting%'
            THEN CASE WHEN p.tuples_total > 0 THEN pg_catalog.round(least(100, 100.0 * p.tuples_done / p.tuples_total), 1) END
            ELSE CASE WHEN p.blocks_total > 0 THEN pg_catalog.round(least(100, 100.0 * p.blocks_done / p.blocks_total), 1) END
            END AS percent,
       p.pid,                                   -- 5: seven columns, as `who` reads them
       a.usename,
       coalesce(a.client_hostname, pg_catalog.host(a.client_addr)),
       a.application_name,
       NULL AS state,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.query_start),
       a.query,
       b.pid,                                   -- 12: the same, of the blocker
       b.usename,
       coalesce(b.client_hostname, pg_catalog.host(b.client_addr)),
       b.application_name,
       b.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(b.xact_start, b.backend_start)),
       b.query
  FROM pg_catalog.pg_stat_progress_create_index p
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = p.pid
  LEFT JOIN pg_catalog.pg_class r
    -- What others build, may be hidden from us; the lock on its table is not.
    ON r.oid = coalesce(p.relid, (SELECT l.relation FROM pg_catalog.pg_locks l
                                   WHERE l.pid = p.pid AND l.locktype = 'relation' AND l.granted
                                     AND l.mode = 'ShareUpdateExclusiveLock' LIMIT 1))
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
  LEFT JOIN pg_catalog.pg_class x ON x.oid = p.index_relid
  LEFT JOIN LATERAL (
       SELECT s.*
         FROM pg_catalog.pg_stat_activity s
        WHERE a.wait_event_type = 'Lock'
          AND s.pid = ANY (pg_catalog.pg_blocking_pids(p.pid) || p.current_locker_pid::int)
        ORDER BY s.xact_start NULLS LAST
        LIMIT 1) b ON true
 WHERE p.datname = pg_catalog.current_database()
UNION ALL
SELECT 'run_lock', NULL, NULL, NULL, NULL,
       l.pid, a.usename, coalesce(a.client_hostname, pg_catalog.host(a.client_addr)), a.application_name, NULL,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.backend_start), NULL,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted
   AND l.classid = 1819635297 AND l.objid = 6579576 AND l.objsubid = 2
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database());
