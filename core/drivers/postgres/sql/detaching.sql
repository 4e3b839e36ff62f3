-- PostgreSQL 14: partitions whose DETACH … CONCURRENTLY has begun and not ended.
select h.inhrelid
  from pg_catalog.pg_inherits h
 where h.inhdetachpending
