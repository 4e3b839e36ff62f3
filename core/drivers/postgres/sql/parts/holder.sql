       -- Who holds the table `t.relation`, where process `a`, one of ours, waits before it sends a statement (`t.before`): the
       -- oldest transaction with a lock that a build or, with `t.drops`, a drop would wait for.
       SELECT s.*
         FROM pg_catalog.pg_locks l
         JOIN pg_catalog.pg_stat_activity s ON s.pid = l.pid
        WHERE t.before
          AND l.locktype = 'relation' AND l.granted AND l.pid <> a.pid
          AND l.relation = t.relation
          AND (t.drops OR
\ir hinders_build.sql
              )
          AND coalesce(s.backend_type, '') <> 'autovacuum worker'
          -- Without the right to see it, nobody's transaction has a beginning; the server's own processes have no user.
          AND coalesce(s.xact_start < pg_catalog.clock_timestamp() - interval '1 second', s.usename IS NOT NULL)
        ORDER BY s.xact_start NULLS LAST
        LIMIT 1
