-- Who would keep a build ($2 false) or a drop ($2 true) on relation $1 waiting: the oldest transaction of another session
-- that holds such a lock for more than a second. Younger ones are gone before they matter, autovacuum gives way.
SELECT l.pid, l.usename, l.host, l.application, l.state, -- seven columns, as `who` reads them
       extract(epoch FROM pg_catalog.clock_timestamp() - l.since), l.query
  FROM (
\ir parts/locks.sql
       ) l
 WHERE l.relation = $1::pg_catalog.oid AND l.granted
   AND ($2::bool OR l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareLock'))
   AND coalesce(l.backend_type, '') <> 'autovacuum worker'
   AND l.since < pg_catalog.clock_timestamp() - interval '1 second'
 ORDER BY l.since
 LIMIT 1;
