-- Types but for the row types of relations, which have no operator class of their own.
select t.oid, t.typtype, t.typcategory, t.typispreferred, t.typbasetype, t.typelem
  from pg_catalog.pg_type t
 where t.typtype <> 'c'
   and not (t.typcategory = 'A' and t.typelem in (select e.oid from pg_catalog.pg_type e where e.typtype = 'c'))
