       -- The locks of others on relations of this database, with their owners.
       SELECT l.pid,
              coalesce(s.usename, x.owner) AS usename,
              coalesce(s.client_hostname, pg_catalog.host(s.client_addr)) AS host,
              CASE WHEN x.gid IS NULL THEN s.application_name
                   ELSE pg_catalog.format('prepared transaction %s', x.gid) END AS application,
              s.state,
              coalesce(s.xact_start, x.prepared) AS since,
              CASE WHEN x.gid IS NULL THEN s.query
                   ELSE pg_catalog.format('COMMIT PREPARED or ROLLBACK PREPARED %L ends it', x.gid) END AS query,
              s.backend_type, l.relation, l.mode, l.granted, l.virtualtransaction
         FROM pg_catalog.pg_locks l
         LEFT JOIN pg_catalog.pg_stat_activity s ON s.pid = l.pid
         -- A prepared transaction has locks without a process; its number is among them.
         LEFT JOIN pg_catalog.pg_locks n
           ON l.pid IS NULL AND n.pid IS NULL AND n.locktype = 'transactionid' AND n.virtualtransaction = l.virtualtransaction
         LEFT JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = n.transactionid
        WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
