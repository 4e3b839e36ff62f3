-- Builds under way in this database, with who they are and who keeps them waiting.
SELECT 'build' AS kind,                         -- 0
       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(r.relname) AS relation,
       c.relname AS name,
       p.phase,
       pg_catalog.round(p.percent, 1) AS percent,
       p.pid,                                   -- 5: seven columns, as `who` reads them
       a.usename,
       coalesce(a.client_hostname, pg_catalog.host(a.client_addr)),
       a.application_name,
       NULL AS state,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.query_start),
       a.query,
       coalesce(b.pid, x.pid),                  -- 12: the same, of the blocker
       coalesce(b.usename, x.owner),
       coalesce(b.client_hostname, pg_catalog.host(b.client_addr)),
       CASE WHEN x.pid IS NULL THEN b.application_name ELSE pg_catalog.format('prepared transaction %s', x.gid) END,
       b.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(b.xact_start, b.backend_start, x.prepared)),
       CASE WHEN x.pid IS NULL THEN b.query
            ELSE pg_catalog.format('COMMIT PREPARED or ROLLBACK PREPARED %L ends it', x.gid) END
  FROM (
\ir parts/builds.sql
       ) p
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = p.pid
  LEFT JOIN pg_catalog.pg_class r ON r.oid = p.relid
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = p.index_relid
  CROSS JOIN LATERAL (SELECT p.relid AS relation, false AS drops, a.wait_event_type = 'Lock' AS waits) t
  LEFT JOIN LATERAL (
\ir parts/blocker.sql
       ) b ON true
  LEFT JOIN LATERAL (
\ir parts/prepared.sql
       ) x ON b.pid IS NULL;
