-- How far server processes are, and who keeps them waiting. $1 pids, $2 schemas, $3 relations, $4 names of indexes,
-- $5 whether the step drops: arrays of equal length. One row per pid, in order.
--
-- Besides what keeps a process waiting there is ours before a statement is sent, when the process is idle and a
-- transaction on its table is the reason.
SELECT w.pid,                                   -- 0
       a.state,
       p.phase,
       p.blocks_done, p.blocks_total,
       p.tuples_done, p.tuples_total,           -- 5
       p.partitions_done, p.partitions_total,
       p.lockers_done, p.lockers_total,
       a.wait_event_type = 'Lock',              -- 11
       w.drops AND EXISTS (
         SELECT FROM pg_catalog.pg_index i
           JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = w.schema AND c.relname = w.name AND NOT i.indisvalid),
       b.pid,                                   -- 13: seven columns, as `who` reads them
       b.usename,
       coalesce(b.client_hostname, pg_catalog.host(b.client_addr)),
       b.application_name,
       b.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(b.xact_start, b.backend_start)),
       b.query,
       i.pid,                                   -- 20: the same, of who holds the table of an idle process
       i.usename,
       coalesce(i.client_hostname, pg_catalog.host(i.client_addr)),
       i.application_name,
       i.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - i.xact_start),
       i.query,
       x.pid,                                   -- 27: the same, of a prepared transaction that holds the table
       x.owner,
       NULL,
       pg_catalog.format('prepared transaction %s', x.gid),
       NULL,
       extract(epoch FROM pg_catalog.clock_timestamp() - x.prepared),
       pg_catalog.format('COMMIT PREPARED or ROLLBACK PREPARED %L ends it', x.gid)
  FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::bool[])
       WITH ORDINALITY AS w (pid, schema, relation, name, drops, n)
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
  LEFT JOIN pg_catalog.pg_stat_progress_create_index p ON p.pid = w.pid
  CROSS JOIN LATERAL (
       SELECT (SELECT c.oid
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = w.schema AND c.relname = w.relation) AS relation,
              w.drops,
              a.state = 'idle' AS before,
              a.state = 'idle' OR a.wait_event_type = 'Lock' AS waits) t
  LEFT JOIN LATERAL (
\ir parts/blocker.sql
       ) b ON true
  LEFT JOIN LATERAL (
\ir parts/holder.sql
       ) i ON true
  LEFT JOIN LATERAL (
\ir parts/prepared.sql
       ) x ON true
 ORDER BY w.n;
