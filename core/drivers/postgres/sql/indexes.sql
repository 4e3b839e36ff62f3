-- Raw columns, numbers instead of joins; text only where there is an expression or a predicate: that is what makes it
-- fast. Several expressions come one by one, since pg_get_expr runs them together.
-- Before PostgreSQL 15 the driver writes false for i.indnullsnotdistinct. A filter may follow.
select i.indexrelid,
       i.indrelid,
       c.relname,
       c.relkind,
       c.relam,
       c.relpages,
       c.reltablespace,
       c.reloptions,
       i.indnkeyatts,
       i.indkey,
       i.indclass,
       i.indcollation,
       i.indoption,
       i.indisunique,
       i.indnullsnotdistinct,
       i.indisvalid,
       i.indisready,
       i.indislive,
       i.indisreplident,
       i.indisclustered,
       case when i.indpred is not null then pg_catalog.pg_get_expr(i.indpred, i.indrelid) end,
       case when i.indexprs is null then null
            when (select pg_catalog.count(*) from pg_catalog.unnest(i.indkey) k where k = 0) = 1
            then array[pg_catalog.pg_get_expr(i.indexprs, i.indrelid)]
            else array(select pg_catalog.pg_get_indexdef(i.indexrelid, k, false)
                         from pg_catalog.generate_series(1, i.indnkeyatts::int) k where i.indkey[k - 1] = 0 order by k)
       end,
       case when i.indexprs is not null
            then array(select a.atttypid from pg_catalog.pg_attribute a
                        where a.attrelid = i.indexrelid and a.attnum <= i.indnkeyatts and i.indkey[a.attnum - 1] = 0
                        order by a.attnum)
       end
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indexrelid
