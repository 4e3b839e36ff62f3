-- What inherits from what, but for partitions.
select h.inhrelid, h.inhparent
  from pg_catalog.pg_inherits h
  join pg_catalog.pg_class c on c.oid = h.inhrelid
 where c.relkind in ('r', 'f') and not c.relispartition
