-- Who keeps even a reader waiting: a transaction of another session that has, or waits for, ACCESS EXCLUSIVE on one of the
-- relations $1, or (null) on one that has an index with an expression or predicate, for whose text the table is opened.
-- One row: who has it before who waits for it, the oldest first.
SELECT l.pid, l.usename, l.host, l.application, l.state, -- 0: seven columns, as `who` reads them
       extract(epoch FROM pg_catalog.clock_timestamp() - l.since), l.query,
       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(r.relname),
       l.granted                                -- 8
  FROM (
\ir parts/locks.sql
       ) l
  JOIN pg_catalog.pg_class r ON r.oid = l.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
 WHERE l.mode = 'AccessExclusiveLock'
   AND CASE WHEN $1::pg_catalog.oid[] IS NOT NULL THEN l.relation = ANY ($1)
            ELSE EXISTS (SELECT FROM pg_catalog.pg_index i
                          WHERE i.indrelid = l.relation AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) END
 ORDER BY l.granted DESC, l.since
 LIMIT 1;
