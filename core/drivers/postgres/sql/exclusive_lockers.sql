-- Who keeps even a reader waiting: a transaction of another session that has, or waits for, ACCESS EXCLUSIVE on one of the
-- relations $1, or (null) on one that has an index with an expression or predicate, for whose text the table is opened.
-- One row: who has it before who waits for it, the oldest first.
SELECT l.pid,                                   -- 0: seven columns, as `who` reads them
       coalesce(s.usename, x.owner),
       coalesce(s.client_hostname, pg_catalog.host(s.client_addr)),
       CASE WHEN x.gid IS NULL THEN s.application_name ELSE pg_catalog.format('prepared transaction %s', x.gid) END,
       s.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(s.xact_start, x.prepared)),
       s.query,
       pg_catalog.quote_ident(c.nspname) || '.' || pg_catalog.quote_ident(c.relname),
       l.granted                                -- 8
  FROM pg_catalog.pg_locks l
  JOIN (SELECT r.oid, n.nspname, r.relname
          FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace) c ON c.oid = l.relation
  LEFT JOIN pg_catalog.pg_stat_activity s ON s.pid = l.pid
  -- A prepared transaction has locks without a process; its number is among them.
  LEFT JOIN pg_catalog.pg_locks n
    ON l.pid IS NULL AND n.pid IS NULL AND n.locktype = 'transactionid' AND n.virtualtransaction = l.virtualtransaction
  LEFT JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = n.transactionid
 WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
   AND CASE WHEN $1::pg_catalog.oid[] IS NOT NULL THEN l.relation = ANY ($1)
            ELSE EXISTS (SELECT FROM pg_catalog.pg_index i
                          WHERE i.indrelid = l.relation AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) END
 ORDER BY l.granted DESC, coalesce(s.xact_start, x.prepared)
 LIMIT 1;
