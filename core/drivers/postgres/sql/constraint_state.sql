-- A constraint and its relation: $1 schema, $2 relation, $3 name of the constraint.
-- One row, none if the relation is missing.
SELECT r.oid,                                   -- 0
       r.relkind,
       k.contype,
       k.convalidated,
       CASE WHEN k.oid IS NOT NULL THEN pg_catalog.pg_get_constraintdef(k.oid) END,
       p.conname,                               -- 5: another primary key
       EXISTS (SELECT FROM pg_catalog.pg_constraint c
                WHERE c.conrelid = r.oid AND c.conname = 'lunadex_not_null'),
       (SELECT c.convalidated FROM pg_catalog.pg_constraint c
         WHERE c.conrelid = r.oid AND c.conname = 'lunadex_not_null'),
       k.oid,
       (SELECT pg_catalog.quote_ident(t.spcname)
          FROM pg_catalog.pg_class i JOIN pg_catalog.pg_tablespace t ON t.oid = i.reltablespace
         WHERE i.oid = k.conindid AND k.contype IN ('p', 'u', 'x'))
  FROM pg_catalog.pg_namespace n
  JOIN pg_catalog.pg_class r ON r.relnamespace = n.oid AND r.relname = $2 AND r.relkind IN ('r', 'p', 'm', 'f')
  LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid AND k.conname = $3
  LEFT JOIN pg_catalog.pg_constraint p ON p.conrelid = r.oid AND p.contype = 'p' AND p.conname <> $3
 WHERE n.nspname = $1;
