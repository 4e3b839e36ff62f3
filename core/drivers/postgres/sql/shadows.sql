-- The temporary relations of this session, with the columns they have.
select c.oid, c.relname, c.relnatts
  from pg_catalog.pg_class c
 where c.relnamespace = pg_catalog.pg_my_temp_schema()
   and c.relkind = 'r'
