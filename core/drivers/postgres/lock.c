/* lock.c: one run at a time per database, by a session-level advisory lock.
 *
 * Only ever tried, never waited for: a session that is blocked in pg_advisory_lock() holds a snapshot, for which the
 * holder's concurrent build would wait in turn. Advisory locks are per database and end with the session.
 */
#include <stdio.h>

#include "driver_parts.h"
#include "postgres_sql.h"
#include "who.h"

bool ldx_pg_lock(ldx_session *session, ldx_error *error) {
  PGresult *r = ldx_pg_exec(session, "SELECT pg_catalog.pg_try_advisory_lock(" LDX_PG_LOCK_KEYS ")", error);
  if (!r) return false;
  bool got = *PQgetvalue(r, 0, 0) == 't';
  PQclear(r);
  if (got) return true;
  r = ldx_pg_exec(session, ldx_sql_lock_holder, error);
  if (!r) return false;
  ldx_error_set(error, LDX_ERROR_LOCK_HELD, "another run holds the lock of this database");
  snprintf(error->detail, sizeof error->detail, "somebody who has just gone");
  if (PQntuples(r) > 0) ldx_pg_who(error->detail, sizeof error->detail, r, 0, 0);
  PQclear(r);
  ldx_error_hint(error, "Wait for it to end; `lunadex status` shows what it does.");
  return false;
}

bool ldx_pg_unlock(ldx_session *session, ldx_error *error) {
  return ldx_pg_do(session, "SELECT pg_catalog.pg_advisory_unlock(" LDX_PG_LOCK_KEYS ")", error);
}
