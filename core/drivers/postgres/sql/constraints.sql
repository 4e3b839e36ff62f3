-- Unique, primary key, exclusion and foreign key constraints.
select con.oid,
       con.contype,
       con.conname,
       con.conrelid,
       con.conindid,
       con.condeferrable,
       con.condeferred,
       con.convalidated,
       con.conparentid <> 0 as inherited,
       con.conkey,
       con.confrelid,
       con.confkey,
       con.confupdtype,
       con.confdeltype,
       con.confmatchtype,
       case when con.contype = 'x'
            then array(select case when o.oprnamespace = 'pg_catalog'::regnamespace then o.oprname::text
                                   else pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) end
                         from unnest(con.conexclop) with ordinality as e (operator, place)
                         join pg_catalog.pg_operator o on o.oid = e.operator
                         join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
                        order by e.place)
       end
  from pg_catalog.pg_constraint con
 where con.contype in ('p', 'u', 'x', 'f')
   and con.conrelid <> 0
