-- The columns of those relations; and, in the same pass over the same table, those columns of indexes that have
-- operator class parameters.
select a.attrelid,
       a.attnum,
       a.attname,
       a.atttypid,
       a.attcollation,
       a.attnotnull,
       case when c.relkind in ('i', 'I') then a.attoptions end
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
 where a.attnum > 0
   and not a.attisdropped
   and (c.relkind in ('r', 'p', 'm', 'f') or a.attoptions is not null)
   and c.relnamespace <> all (array(
         select n.oid from pg_catalog.pg_namespace n
          where n.nspname in ('pg_catalog', 'information_schema') or n.nspname ~ '^pg_(toast|temp)'))
