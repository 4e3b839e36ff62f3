-- Which partitioned index an index of a partition is attached to.
select h.inhrelid, h.inhparent
  from pg_catalog.pg_inherits h
  join pg_catalog.pg_class c on c.oid = h.inhparent
 where c.relkind = 'I'
