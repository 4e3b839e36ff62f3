-- $1 a process, $2 names of applications, $3 whether its session is ended. The name is looked at in the same statement
-- that sends the signal: the process may be somebody else's by now. What it is and does is hidden from a role that may
-- signal others and not read their statistics.
select case when $3::bool then pg_catalog.pg_terminate_backend(a.pid) else pg_catalog.pg_cancel_backend(a.pid) end
  from pg_catalog.pg_stat_activity a
 where a.pid = $1::int
   and a.application_name = any ($2::text[])
   and coalesce(a.backend_type, 'client backend') = 'client backend'
   and a.datname = pg_catalog.current_database()
   and ($3::bool or coalesce(a.state, 'active') = 'active') -- an idle transaction hears of no cancellation
   and a.pid <> pg_catalog.pg_backend_pid()
