-- Which of the columns $2 (an array of names) of relation $1 may hold null.
SELECT x.attname
  FROM pg_catalog.pg_attribute x
 WHERE x.attrelid = $1::pg_catalog.oid AND x.attnum > 0 AND NOT x.attisdropped AND NOT x.attnotnull
   AND x.attname = ANY ($2::text[])
 ORDER BY x.attnum;
