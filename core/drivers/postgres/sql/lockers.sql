-- Who would keep a build ($2 false), or a drop and other strong locks ($2 true), on relation $1 waiting: transactions of
-- other sessions that hold such a lock, the oldest first; a build also those that wait for the lock it needs itself.
-- Autovacuum gives way.
SELECT l.pid, l.usename, l.host, l.application, l.state, -- seven columns, as `who` reads them
       extract(epoch FROM pg_catalog.clock_timestamp() - l.since), l.query,
       l.virtualtransaction,                    -- 7
       -- Whether it is to be waited for: an old transaction, and whoever has, or waits for, the lock of builds, however
       -- young, for a build that meets ours would die of a deadlock. Null: we may not see when it began. Such a process
       -- has a user; the server's own ones have none.
       NOT $2::bool AND l.mode = 'ShareUpdateExclusiveLock'
         OR l.pid IS NULL -- a prepared transaction, which ends when somebody thinks of it
         OR l.since < pg_catalog.clock_timestamp() - interval '1 second'
  FROM (
\ir parts/locks.sql
       ) l
 WHERE l.relation = $1::pg_catalog.oid
   AND (l.granted OR NOT $2::bool AND l.mode = 'ShareUpdateExclusiveLock')
   AND ($2::bool OR
\ir parts/hinders_build.sql
       )
   AND coalesce(l.backend_type, '') <> 'autovacuum worker'
   AND (l.since IS NOT NULL OR l.usename IS NOT NULL)
 ORDER BY l.since NULLS LAST;
