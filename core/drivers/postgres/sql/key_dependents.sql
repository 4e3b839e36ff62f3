-- What uses a key without referring to it: a view that groups by it and so may show any column; a rule that names it in
-- ON CONFLICT; a function of standard SQL that does either.
select d.refobjid,
       pg_catalog.string_agg(distinct
         case when r.oid is null or r.rulename <> '_RETURN' then pg_catalog.pg_describe_object(d.classid, d.objid, 0)
              else pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, r.ev_class, 0) end, ', ')
  from pg_catalog.pg_depend d
  left join pg_catalog.pg_rewrite r on d.classid = 'pg_catalog.pg_rewrite'::regclass and r.oid = d.objid
 where d.refclassid = 'pg_catalog.pg_constraint'::regclass
   and d.classid in ('pg_catalog.pg_rewrite'::regclass, 'pg_catalog.pg_proc'::regclass)
   and d.deptype = 'n'
 group by 1
