-- The checks that prove columns to hold no null until a primary key does (LDX_PG_NOT_NULL_CHECK), inherited ones left out.
select conrelid, oid
  from pg_catalog.pg_constraint
 where contype = 'c' and conname = 'lunadex_not_null' and conislocal
