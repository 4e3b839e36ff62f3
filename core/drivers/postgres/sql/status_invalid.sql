-- What is unfinished, told apart. Indexes that queries do not use: being built (somebody is at it), incomplete (a
-- partitioned one lacks partitions), reindex leftover, half-dropped, leftover. An interrupted drop leaves the index ready
-- but not valid, as does a build that failed in its last phase; only the one that is no longer live is surely a drop.
-- Then what works, but stands under a name of ours because a run ended, or is not over; and constraints that are not
-- validated, or prove that columns hold no null until a primary key does.
SELECT CASE WHEN b.pid IS NOT NULL THEN 'being_built'
            WHEN i.indisvalid AND i.indislive THEN
              CASE WHEN c.relname ~ '_ldx_old$' THEN 'replaced'
                   WHEN c.relname ~ '_ldx_moved$' THEN 'moved'
                   WHEN h.relname !~ '_ldx_(new|old)$' THEN 'unnamed_part'
                   ELSE 'replacement' END
            WHEN c.relkind = 'I' THEN 'incomplete'
            WHEN c.relname ~ '_cc(new|old)[0-9]*$' THEN 'reindex_leftover'
            WHEN NOT i.indislive THEN 'half_dropped'
            ELSE 'leftover' END AS kind,        -- 0
       pg_catalog.format('%I.%I', n.nspname, r.relname) AS relation,
       c.relname AS name,
       CASE WHEN i.indisvalid AND i.indislive THEN
              CASE WHEN c.relname ~ '_ldx_old$' THEN CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint k
                       WHERE k.conindid = c.oid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x'))
                     THEN 'a constraint has this name of ours, and is nobody''s to drop: rename it'
                     WHEN o.base THEN 'another has taken its place: apply drops it, where the registry is about its table'
                     ELSE 'what had taken its place is gone: apply gives it its name back, where it is declared so' END
                   WHEN c.relname ~ '_ldx_moved$' THEN 'another was to have its name: apply --rename goes on'
                   WHEN h.relname !~ '_ldx_(new|old)$' THEN 'was to have another name at last: apply renames it'
                   WHEN h.relname IS NULL AND NOT o.base
                   THEN 'what it was to replace is gone: apply gives it its name, where it is declared so'
                   ELSE 'has not taken its place yet: apply swaps it in, or drops what is not wanted any more, where the registry is about its table' END
            WHEN c.relkind = 'I' THEN
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
  LEFT JOIN LATERAL (                           -- the index that it is a part of
       SELECT p.relname FROM pg_catalog.pg_inherits a JOIN pg_catalog.pg_class p ON p.oid = a.inhparent
        WHERE a.inhrelid = c.oid
       ) h ON true
  CROSS JOIN LATERAL (                          -- whether there is the other one of a replacement: what its name is made of
       SELECT EXISTS (SELECT FROM pg_catalog.pg_index j JOIN pg_catalog.pg_class b ON b.oid = j.indexrelid
                       WHERE j.indrelid = i.indrelid
                         AND (c.relname IN (b.relname || '_ldx_old', b.relname || '_ldx_new')
                              -- One that is too long is cut, with six characters of a hash.
                              OR pg_catalog.octet_length(b.relname::text) > 55 AND c.relname ~ '_[0-9a-f]{6}_ldx_(old|new)$'
                                 AND pg_catalog.starts_with(b.relname, pg_catalog.left(c.relname, -15)))) AS base
       ) o
  LEFT JOIN LATERAL (
\ir parts/index_builder.sql
       ) b ON NOT (i.indisvalid AND i.indislive)
  LEFT JOIN pg_catalog.pg_stat_activity s ON s.pid = b.pid
 WHERE (NOT (i.indisvalid AND i.indislive) OR c.relname ~ '_ldx_(new|old|moved)$')
   AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
UNION ALL
SELECT k.kind,
       pg_catalog.format('%I.%I', n.nspname, r.relname),
       k.conname,
       CASE k.kind
         WHEN 'null_check' THEN
           pg_catalog.format('writes have to pass it until the primary key is there: apply makes that, or drops this where none of the table is declared; or ALTER TABLE %I.%I DROP CONSTRAINT %I',
             n.nspname, r.relname, k.conname)
         WHEN 'not_validated' THEN
           pg_catalog.format('older rows were never checked: apply does it where the key is declared; or ALTER TABLE %I.%I VALIDATE CONSTRAINT %I',
             n.nspname, r.relname, k.conname)
         WHEN 'moved' THEN 'another was to have its name: apply --rename goes on'
         ELSE 'has not taken its place yet: apply swaps it in, or drops what is not wanted any more, where the registry is about its table' END,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM (SELECT o.conrelid, o.conname,
               CASE WHEN o.contype = 'c' THEN 'null_check'
                    WHEN o.conname ~ '_ldx_new$' THEN 'replacement'
                    WHEN o.conname ~ '_ldx_moved$' THEN 'moved'
                    ELSE 'not_validated' END AS kind
          FROM pg_catalog.pg_constraint o
         WHERE o.contype = 'c' AND o.conname = 'lunadex_not_null' AND o.conislocal
            OR o.contype = 'f' AND o.conparentid = 0
               AND (o.conname ~ '_ldx_(new|moved)$'
                    -- Before PostgreSQL 18 there is none that is not enforced.
                    OR NOT o.convalidated AND pg_catalog.to_jsonb(o) ->> 'conenforced' IS DISTINCT FROM 'false')) k
  JOIN pg_catalog.pg_class r ON r.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
 WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
 ORDER BY 2, 3;
