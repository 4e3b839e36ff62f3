-- A run begins: $1 version, $2 existing, $3 planned. It lives as long as the session that holds the run lock.
INSERT INTO lunadex.run (version, existing, planned, pid, backend_start)
SELECT $1, $2::int, $3::int, l.pid, a.backend_start
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted
   AND l.classid = 1819635297 AND l.objid = 6579576 AND l.objsubid = 2
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
RETURNING id
