-- Exact sizes and use. $1 oids of relations, $2 oids of indexes (0: none): arrays of equal length. One row each, in order.
SELECT c.relkind,                               -- 0
       CASE WHEN c.reltuples < 0 OR c.reltuples = 0 AND c.relpages = 0 THEN -1 ELSE c.reltuples END,
       CASE WHEN c.relkind = 'p' THEN (SELECT sum(pg_catalog.pg_table_size(t.relid))
                                         FROM pg_catalog.pg_partition_tree(c.oid) t WHERE t.isleaf)
            ELSE pg_catalog.pg_table_size(c.oid) END,
       CASE WHEN x.relkind = 'I' THEN (SELECT sum(pg_catalog.pg_relation_size(t.relid))
                                         FROM pg_catalog.pg_partition_tree(x.oid) t WHERE t.isleaf)
            WHEN x.oid IS NOT NULL THEN pg_catalog.pg_relation_size(x.oid) END,
       CASE WHEN x.relkind = 'I' THEN (SELECT sum(pg_catalog.pg_stat_get_numscans(t.relid))
                                         FROM pg_catalog.pg_partition_tree(x.oid) t WHERE t.isleaf AND t.relid <> x.oid)
            ELSE s.idx_scan END,
       -- 5: since when that is counted, or since when there is something to count, where the server kept the time
       extract(epoch FROM pg_catalog.now() - greatest(coalesce(d.stats_reset, pg_catalog.pg_postmaster_start_time()),
         CASE WHEN pg_catalog.current_setting('track_commit_timestamp') = 'on'
              THEN pg_catalog.pg_xact_commit_timestamp(i.xmin) END)),
       CASE WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
            THEN 'it belongs to ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner))
              || ', whose rights ' || pg_catalog.quote_ident(current_user) || ' does not have'
            WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
            THEN pg_catalog.quote_ident(current_user) || ' may create nothing in the schema '
              || pg_catalog.quote_ident(n.nspname) || ', as it lacks the right CREATE on it'
       END,
       -- 7: who builds on a partition, and perhaps a part of an index that is incomplete
       CASE WHEN x.relkind = 'I'
            THEN (SELECT pg_catalog.format('pid %s builds on %s', p.pid, p.relid::pg_catalog.regclass)
                    FROM (
\ir parts/builds.sql
                         ) p
                   WHERE p.relid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t) LIMIT 1)
       END
  FROM unnest($1::pg_catalog.oid[], $2::pg_catalog.oid[]) WITH ORDINALITY AS w (relation, index, n)
  LEFT JOIN pg_catalog.pg_class c ON c.oid = w.relation
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_class x ON x.oid = w.index
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid
  LEFT JOIN pg_catalog.pg_stat_user_indexes s ON s.indexrelid = x.oid
  LEFT JOIN pg_catalog.pg_stat_database d ON d.datname = pg_catalog.current_database()
 ORDER BY w.n;
