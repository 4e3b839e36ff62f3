-- What stands under the name of an index: $1 schema, $2 relation, $3 name. One row, none if the schema is missing.
SELECT r.oid,                                   -- 0
       r.relkind,
       o.oid,
       o.relkind,
       i.indexrelid IS NOT NULL,
       i.indrelid = r.oid,                      -- 5
       i.indisvalid,
       CASE WHEN i.indexrelid IS NOT NULL THEN pg_catalog.pg_get_indexdef(i.indexrelid) END,
       pg_catalog.format('%s%s', b.phase, ', ' || pg_catalog.floor(b.percent) || '%'),
       b.pid,                                   -- 9: seven columns, as `who` reads them
       s.usename,
       coalesce(s.client_hostname, pg_catalog.host(s.client_addr)),
       s.application_name,
       s.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - s.xact_start),
       s.query,
       (SELECT c.oid FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhparent
         WHERE h.inhrelid = o.oid),             -- 16
       pg_catalog.array_to_string(o.reloptions, pg_catalog.chr(10)),
       (SELECT pg_catalog.quote_ident(t.spcname) FROM pg_catalog.pg_tablespace t WHERE t.oid = o.reltablespace)
  FROM pg_catalog.pg_namespace n
  LEFT JOIN pg_catalog.pg_class r
    ON r.relnamespace = n.oid AND r.relname = $2 AND r.relkind IN ('r', 'p', 'm', 'f')
  LEFT JOIN pg_catalog.pg_class o ON o.relnamespace = n.oid AND o.relname = $3
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = o.oid
  LEFT JOIN LATERAL (
\ir parts/index_builder.sql
       ) b ON i.indexrelid IS NOT NULL AND NOT i.indisvalid
  LEFT JOIN pg_catalog.pg_stat_activity s ON s.pid = b.pid
 WHERE n.nspname = $1;
