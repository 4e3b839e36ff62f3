-- Which of the columns $2 (an array of names) of relation $1 may hold null, and whether the check that is to prove that they
-- do not (LDX_PG_NOT_NULL_CHECK) is about them.
SELECT x.attname,
       EXISTS (SELECT FROM pg_catalog.pg_constraint c
                WHERE c.conrelid = x.attrelid AND c.contype = 'c' AND c.conname = 'lunadex_not_null'
                  AND x.attnum = ANY (c.conkey))
  FROM pg_catalog.pg_attribute x
 WHERE x.attrelid = $1::pg_catalog.oid AND x.attnum > 0 AND NOT x.attisdropped
   AND (NOT x.attnotnull -- from version 18 also where a constraint that says so has yet to be validated
        OR EXISTS (SELECT FROM pg_catalog.pg_constraint c
                    WHERE c.conrelid = x.attrelid AND c.contype = 'n' AND NOT c.convalidated AND x.attnum = ANY (c.conkey)))
   AND x.attname = ANY ($2::text[])
 ORDER BY x.attnum;
