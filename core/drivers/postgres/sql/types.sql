-- Types but for the row types of relations and their arrays, which would double the list and are hardly ever indexed.
select t.oid, t.typtype, t.typcategory, t.typispreferred, t.typbasetype, t.typelem, t.typnotnull
  from pg_catalog.pg_type t
 where (t.typtype <> 'c'
        and not (t.typcategory = 'A' and t.typelem in (select e.oid from pg_catalog.pg_type e where e.typtype = 'c')))
    or t.oid in (select c.reltype from pg_catalog.pg_class c where c.relkind = 'c')
    or (t.typcategory = 'A' and t.typelem in (select c.reltype from pg_catalog.pg_class c where c.relkind = 'c'))
