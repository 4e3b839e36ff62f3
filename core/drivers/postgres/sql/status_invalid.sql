-- Indexes that queries do not use, told apart: being built (somebody is at it), incomplete (a partitioned one lacks
-- partitions), reindex leftover, half-dropped, leftover. An interrupted drop leaves the index ready but not valid, as
-- does a build that failed in its last phase; only the one that is no longer live is surely a drop.
SELECT CASE WHEN b.pid IS NOT NULL THEN 'being_built'
            WHEN c.relkind = 'I' THEN 'incomplete'
            WHEN c.relname ~ '_cc(new|old)[0-9]*$' THEN 'reindex_leftover'
            WHEN NOT i.indislive THEN 'half_dropped'
            ELSE 'leftover' END AS kind,        -- 0
       pg_catalog.format('%I.%I', n.nspname, r.relname) AS relation,
       c.relname AS name,
       CASE WHEN c.relkind = 'I' THEN
              pg_catalog.format('%s of %s partitions have it',
                (SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits h
                   JOIN pg_catalog.pg_index v ON v.indexrelid = h.inhrelid AND v.indisvalid
                  WHERE h.inhparent = c.oid),
                (SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits h WHERE h.inhparent = r.oid))
            WHEN NOT i.indislive THEN 'a drop was interrupted: drop it again'
            WHEN b.pid IS NULL AND i.indisready THEN 'every write maintains it, no query uses it (a build or drop was interrupted)'
            WHEN b.pid IS NULL THEN 'no query uses it (a build was interrupted)'
            END AS detail,
       c.relpages * 8192.0 AS bytes,
       b.pid,                                   -- 5: seven columns, as `who` reads them
       s.usename,
       coalesce(s.client_hostname, pg_catalog.host(s.client_addr)),
       s.application_name,
       NULL AS state,
       extract(epoch FROM pg_catalog.clock_timestamp() - s.query_start),
       s.query
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_class r ON r.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN LATERAL (
\ir parts/index_builder.sql
       ) b ON true
  LEFT JOIN pg_catalog.pg_stat_activity s ON s.pid = b.pid
 WHERE NOT (i.indisvalid AND i.indislive)
   AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
 ORDER BY 2, 3;
