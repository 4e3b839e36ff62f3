-- Relations and indexes that belong to an extension.
select d.objid
  from pg_catalog.pg_depend d
 where d.classid = 'pg_catalog.pg_class'::regclass
   and d.deptype = 'e'
