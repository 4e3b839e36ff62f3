-- Who would keep a build ($2 false) or a drop ($2 true) on relation $1 waiting: the oldest transaction of another session
-- that holds such a lock for more than a second. Younger ones are gone before they matter, autovacuum gives way.
SELECT l.pid,                                   -- 0: seven columns, as `who` reads them
       coalesce(s.usename, x.owner),
       coalesce(s.client_hostname, pg_catalog.host(s.client_addr)),
       CASE WHEN x.gid IS NULL THEN s.application_name ELSE pg_catalog.format('prepared transaction %s', x.gid) END,
       s.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(s.xact_start, x.prepared)),
       s.query
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity s ON s.pid = l.pid
  -- A prepared transaction has locks without a process; its number is among them.
  LEFT JOIN pg_catalog.pg_locks n
    ON l.pid IS NULL AND n.pid IS NULL AND n.locktype = 'transactionid' AND n.virtualtransaction = l.virtualtransaction
  LEFT JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = n.transactionid
 WHERE l.locktype = 'relation' AND l.relation = $1::pg_catalog.oid AND l.granted
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
   AND ($2::bool OR l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareLock'))
   AND coalesce(s.backend_type, '') <> 'autovacuum worker'
   AND coalesce(s.xact_start, x.prepared) < pg_catalog.clock_timestamp() - interval '1 second'
 ORDER BY coalesce(s.xact_start, x.prepared)
 LIMIT 1;
