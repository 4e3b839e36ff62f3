-- PostgreSQL 15: ON DELETE SET NULL (columns).
select con.oid, con.confdelsetcols from pg_catalog.pg_constraint con where con.confdelsetcols is not null
