-- PostgreSQL 18: columns whose NOT NULL is not known to hold of all rows, although their attnotnull is set.
select con.conrelid, a.attname
  from pg_catalog.pg_constraint con
  join pg_catalog.pg_attribute a on a.attrelid = con.conrelid and a.attnum = con.conkey[1]
 where con.contype = 'n'
   and not con.convalidated
