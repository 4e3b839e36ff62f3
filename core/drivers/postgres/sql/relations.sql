-- Every relation that can have an index, outside the system's schemas.
select c.oid,
       n.nspname,
       c.relname,
       c.relkind,
       c.relnatts,
       c.reltuples,
       c.relpages,
       case when c.relispartition
            then (select h.inhparent from pg_catalog.pg_inherits h where h.inhrelid = c.oid)
       end
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'm', 'f')
   and n.nspname not in ('pg_catalog', 'information_schema')
   and n.nspname !~ '^pg_(toast|temp)'
