-- PostgreSQL 18: WITHOUT OVERLAPS and PERIOD; NOT ENFORCED.
select con.oid, con.conperiod, not con.conenforced
  from pg_catalog.pg_constraint con
 where con.contype in ('p', 'u', 'f')
   and (con.conperiod or not con.conenforced)
