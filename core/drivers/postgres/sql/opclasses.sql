-- Operator classes, to name those of keys and to know a type's default.
select o.oid, n.nspname, o.opcname, o.opcmethod, o.opcdefault, o.opcintype
  from pg_catalog.pg_opclass o
  join pg_catalog.pg_namespace n on n.oid = o.opcnamespace
