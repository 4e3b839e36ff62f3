       -- Who keeps process `a` waiting, whose build, if it is at one, is `p`: for a lock (pg_blocking_pids) or for old
       -- transactions (the progress view's current_locker_pid, which pg_blocking_pids gives as well).
       SELECT s.*
         FROM pg_catalog.pg_stat_activity s
        WHERE a.wait_event_type = 'Lock'
          AND s.state IS DISTINCT FROM 'idle'      -- the view names the last process of a prepared transaction, too
          AND s.pid NOT IN (pg_catalog.pg_backend_pid(), -- our snapshot is gone before anybody reads of it
                            a.pid)
          AND s.pid IN (SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids(a.pid))
                        UNION ALL SELECT p.current_locker_pid)
        ORDER BY s.xact_start NULLS LAST
        LIMIT 1
