-- Tablespaces.
select t.oid, null, t.spcname from pg_catalog.pg_tablespace t
