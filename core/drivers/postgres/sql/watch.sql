-- How far server processes are, and who keeps them waiting. $1 pids, $2 schemas, $3 relations, $4 names of indexes,
-- $5 whether the step drops: arrays of equal length. One row per pid, in order.
--
-- Three kinds of waiting: for a lock (pg_blocking_pids), of a build for old transactions (the progress view's
-- current_locker_pid, which pg_blocking_pids gives as well), and ours before a statement is sent, when the process is
-- idle and a transaction on its table is the reason.
SELECT w.pid,                                   -- 0
       a.state,
       p.phase,
       p.blocks_done, p.blocks_total,
       p.tuples_done, p.tuples_total,           -- 5
       p.partitions_done, p.partitions_total,
       p.lockers_done, p.lockers_total,
       a.wait_event_type = 'Lock',              -- 11
       w.drops AND EXISTS (
         SELECT FROM pg_catalog.pg_index i
           JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = w.schema AND c.relname = w.name AND NOT i.indisvalid),
       b.pid,                                   -- 13: seven columns, as `who` reads them
       b.usename,
       coalesce(b.client_hostname, pg_catalog.host(b.client_addr)),
       b.application_name,
       b.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(b.xact_start, b.backend_start)),
       b.query,
       i.pid,                                   -- 20: the same, of who holds the table of an idle process
       i.usename,
       coalesce(i.client_hostname, pg_catalog.host(i.client_addr)),
       i.application_name,
       i.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - i.xact_start),
       i.query,
       x.pid,                                   -- 27: the same, of a prepared transaction that holds the table
       x.owner,
       NULL,
       pg_catalog.format('prepared transaction %s', x.gid),
       NULL,
       extract(epoch FROM pg_catalog.clock_timestamp() - x.prepared),
       NULL
  FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::bool[])
       WITH ORDINALITY AS w (pid, schema, relation, name, drops, n)
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
  LEFT JOIN pg_catalog.pg_stat_progress_create_index p ON p.pid = w.pid
  LEFT JOIN LATERAL (
       SELECT s.*
         FROM pg_catalog.pg_stat_activity s
        WHERE a.wait_event_type = 'Lock'
          AND s.state IS DISTINCT FROM 'idle'      -- the view names the last process of a prepared transaction, too
          AND s.pid <> pg_catalog.pg_backend_pid() -- our snapshot is gone before anybody reads of it
          AND s.pid IN (SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid))
                        UNION ALL SELECT p.current_locker_pid)
        ORDER BY s.xact_start NULLS LAST
        LIMIT 1) b ON true
  LEFT JOIN LATERAL (
       SELECT s.*
         FROM pg_catalog.pg_locks l
         JOIN pg_catalog.pg_stat_activity s ON s.pid = l.pid
        WHERE a.state = 'idle'
          AND l.locktype = 'relation' AND l.granted AND l.pid <> w.pid
          AND l.relation = (SELECT c.oid FROM pg_catalog.pg_class c
                              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                             WHERE n.nspname = w.schema AND c.relname = w.relation)
          AND (w.drops OR l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareLock'))
          AND s.backend_type <> 'autovacuum worker'
          AND s.xact_start < pg_catalog.clock_timestamp() - interval '1 second'
        ORDER BY s.xact_start
        LIMIT 1) i ON true
  LEFT JOIN LATERAL (
       SELECT -1 AS pid, t.*
         FROM pg_catalog.pg_locks l
         JOIN pg_catalog.pg_locks n
           ON n.pid IS NULL AND n.locktype = 'transactionid' AND n.virtualtransaction = l.virtualtransaction
         JOIN pg_catalog.pg_prepared_xacts t ON t.transaction = n.transactionid
        WHERE (a.state = 'idle' OR a.wait_event_type = 'Lock')
          AND l.locktype = 'relation' AND l.granted AND l.pid IS NULL
          AND l.relation = (SELECT c.oid FROM pg_catalog.pg_class c
                              JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
                             WHERE s.nspname = w.schema AND c.relname = w.relation)
          AND (w.drops OR l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareLock'))
        ORDER BY t.prepared
        LIMIT 1) x ON true
 ORDER BY w.n;
