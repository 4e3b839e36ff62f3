-- PostgreSQL 18: constraints NOT NULL … NO INHERIT, by each relation that their columns come from, or stand in.
with recursive lone (relation, attname, conname, holder) as (
  select con.conrelid, a.attname, con.conname, con.conrelid
    from pg_catalog.pg_constraint con
    join pg_catalog.pg_attribute a on a.attrelid = con.conrelid and a.attnum = con.conkey[1]
   where con.contype = 'n' and con.connoinherit
  union
  select h.inhparent, l.attname, l.conname, l.holder
    from lone l
    join pg_catalog.pg_inherits h on h.inhrelid = l.relation
)
select relation, attname, conname, holder
  from lone
