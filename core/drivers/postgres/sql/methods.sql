-- Index access methods.
select a.oid, null, a.amname from pg_catalog.pg_am a where a.amtype = 'i'
