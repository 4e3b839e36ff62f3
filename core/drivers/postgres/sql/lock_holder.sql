-- Who holds the run lock of this database (the key pair is "luna", "dex" in ASCII).
SELECT l.pid,                                   -- 0: seven columns, as `who` reads them
       s.usename,
       coalesce(s.client_hostname, pg_catalog.host(s.client_addr)),
       s.application_name,
       NULL AS state,
       extract(epoch FROM pg_catalog.clock_timestamp() - s.backend_start),
       NULL AS query
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity s ON s.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted
   AND l.classid = 1819635297 AND l.objid = 6579576 AND l.objsubid = 2
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database());
