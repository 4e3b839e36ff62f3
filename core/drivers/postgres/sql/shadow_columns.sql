-- Their columns, and those columns of their indexes that have operator class parameters.
select a.attrelid,
       a.attnum,
       a.attname,
       a.atttypid,
       a.attcollation,
       case when c.relkind = 'i' then a.attoptions end
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
 where c.relnamespace = pg_catalog.pg_my_temp_schema()
   and a.attnum > 0
   and not a.attisdropped
   and (c.relkind = 'r' or a.attoptions is not null)
