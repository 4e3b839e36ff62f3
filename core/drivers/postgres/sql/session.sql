-- What the rest is read with: the size of a page, and the schemas that unqualified names are looked up in.
select pg_catalog.current_setting('block_size'), pg_catalog.current_schemas(false)
