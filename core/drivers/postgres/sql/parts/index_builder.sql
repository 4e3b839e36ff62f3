       -- Who is at index `i`: whoever the progress view names for it; before it knows the index, for its table; and
       -- whoever is at work with the lock on it that builds, REINDEX and DROP CONCURRENTLY hold. One that is idle in a
       -- transaction builds nothing: it is in the way like any other. RowExclusiveLock on it proves nothing: the planner
       -- of any writer leaves it there.
       SELECT p.pid, p.phase, p.percent
         FROM (
\ir builds.sql
              ) p
        WHERE p.index_relid = i.indexrelid OR p.relid = i.indrelid AND coalesce(p.index_relid, 0) = 0
       UNION ALL
       SELECT l.pid, 'holding its lock', NULL
         FROM pg_catalog.pg_locks l
         JOIN pg_catalog.pg_stat_activity h ON h.pid = l.pid AND coalesce(h.state, 'active') = 'active'
        WHERE l.locktype = 'relation' AND l.relation = i.indexrelid AND l.granted
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
          AND l.pid <> pg_catalog.pg_backend_pid()
          AND l.mode IN ('ShareUpdateExclusiveLock', 'AccessExclusiveLock')
        LIMIT 1
