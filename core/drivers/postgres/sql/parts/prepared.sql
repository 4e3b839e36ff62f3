       -- If something waits (`t.waits`): the oldest prepared transaction with a lock on `t.relation` that a build or, with
       -- `t.drops`, a drop would wait for.
       SELECT -1 AS pid, x.*
         FROM pg_catalog.pg_locks l
         JOIN pg_catalog.pg_locks n
           ON n.pid IS NULL AND n.locktype = 'transactionid' AND n.virtualtransaction = l.virtualtransaction
         JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = n.transactionid
        WHERE t.waits AND l.locktype = 'relation' AND l.granted AND l.pid IS NULL AND l.relation = t.relation
          AND (t.drops OR
\ir hinders_build.sql
              )
        ORDER BY x.prepared
        LIMIT 1
