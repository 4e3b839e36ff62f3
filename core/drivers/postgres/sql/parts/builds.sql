       -- Builds under way in this database, but our own. What others build may be hidden from us; the lock on its table,
       -- which only builds, REINDEX and DROP CONCURRENTLY hold so long, is not.
       SELECT p.pid, p.phase, p.index_relid, p.current_locker_pid,
              coalesce(p.relid, (SELECT l.relation
                                   FROM pg_catalog.pg_locks l
                                   JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'm', 'p')
                                  WHERE l.pid = p.pid AND l.locktype = 'relation' AND l.granted
                                    AND l.mode = 'ShareUpdateExclusiveLock' LIMIT 1)) AS relid,
              -- Counters of earlier phases may still stand there: the phase says which ones move.
              CASE WHEN p.phase LIKE 'waiting%' THEN NULL
                   WHEN p.phase LIKE '%loading%' OR p.phase LIKE '%sorting%'
                   THEN CASE WHEN p.tuples_total > 0 THEN least(100, 100.0 * p.tuples_done / p.tuples_total) END
                   WHEN p.blocks_total > 0 THEN least(100, 100.0 * p.blocks_done / p.blocks_total) END AS percent
         FROM pg_catalog.pg_stat_progress_create_index p
        WHERE p.datname = pg_catalog.current_database() AND p.pid <> pg_catalog.pg_backend_pid()
