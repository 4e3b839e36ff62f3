-- What hangs on the index $1.$2 and on its parts, and would go with them: table, the index that is to have it, whether it
-- is the replica identity, whether the table is clustered on it ('lost': and cannot be on the other), as literals its
-- comment and that of the constraint it is under, and the statistics targets of those keys that both have, as what follows
-- ALTER INDEX … . $2's place is taken by $1.$3, which is called $2 by then; a part's by the part that $3 has of that table.
with recursive old as (
       select c.oid, true as top
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2
       union all
       select h.inhrelid, false from old join pg_catalog.pg_inherits h on h.inhparent = old.oid),
     new as (
       select c.oid, true as top
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $3
       union all
       select h.inhrelid, false from new join pg_catalog.pg_inherits h on h.inhparent = new.oid)
select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.relname),
       pg_catalog.quote_ident(n.nspname),
       pg_catalog.quote_ident(case when old.top then $2 else heir.relname end),
       i.indisreplident,
       case when not i.indisclustered then 'no'
            when heir.partial or not pg_catalog.pg_index_has_property(heir.oid, 'clusterable') then 'lost'
            else 'yes' end,
       pg_catalog.quote_literal(pg_catalog.obj_description(old.oid, 'pg_class')),
       pg_catalog.quote_literal((select pg_catalog.obj_description(con.oid, 'pg_constraint')
                                   from pg_catalog.pg_constraint con
                                  where con.conindid = old.oid and con.conrelid = i.indrelid
                                    and con.contype in ('p', 'u', 'x'))),
       (select pg_catalog.string_agg(pg_catalog.format('ALTER COLUMN %s SET STATISTICS %s', a.attnum, a.attstattarget),
                                     ', ' order by a.attnum)
          from pg_catalog.pg_attribute a
         where a.attrelid = old.oid and a.attstattarget >= 0
           and pg_catalog.pg_get_indexdef(old.oid, a.attnum, false)
               = pg_catalog.pg_get_indexdef(heir.oid, a.attnum, false))
  from old
  join pg_catalog.pg_index i on i.indexrelid = old.oid
  join pg_catalog.pg_class t on t.oid = i.indrelid
  join pg_catalog.pg_namespace n on n.oid = t.relnamespace
  left join lateral (
       select c.oid, c.relname, x.indpred is not null as partial
         from new join pg_catalog.pg_index x on x.indexrelid = new.oid and x.indrelid = i.indrelid
         join pg_catalog.pg_class c on c.oid = new.oid
        limit 1) heir on true
 where old.top or heir.relname is not null
