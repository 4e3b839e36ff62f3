-- What hangs on the index $1.$2 and would go with it: whether it is the replica identity of its table, whether the table
-- is clustered on it, and, as literals, its comment and that of the constraint it is under.
select i.indisreplident,
       i.indisclustered,
       pg_catalog.quote_literal(pg_catalog.obj_description(c.oid, 'pg_class')),
       pg_catalog.quote_literal((select pg_catalog.obj_description(con.oid, 'pg_constraint')
                                   from pg_catalog.pg_constraint con
                                  where con.conindid = c.oid and con.conrelid = i.indrelid
                                    and con.contype in ('p', 'u', 'x')))
  from pg_catalog.pg_class c
  join pg_catalog.pg_index i on i.indexrelid = c.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1
   and c.relname = $2
