-- Collations, to name those of keys.
select c.oid, n.nspname, c.collname
  from pg_catalog.pg_collation c
  join pg_catalog.pg_namespace n on n.oid = c.collnamespace
