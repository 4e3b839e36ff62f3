/* history.c: what runs have done, in tables of the database itself (docs/history.md).
 *
 * Each call is a transaction that gives up early: while it waited it would hold a snapshot, for whose end every build
 * would wait.
 */
#include "driver_parts.h"
#include "postgres_sql.h"
#include "session.h"

static const char begin[] = "BEGIN; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'";

static const char *const statements[] = {
    [LDX_HISTORY_READ] = ldx_sql_history_read,
    [LDX_HISTORY_RUN] = ldx_sql_history_run,
    [LDX_HISTORY_CHANGE] = ldx_sql_history_change,
    [LDX_HISTORY_END] = ldx_sql_history_end,
};

static bool tables_are_there(ldx_session *session, bool *there, ldx_error *error) {
  PGresult *r = ldx_pg_exec(session, "SELECT pg_catalog.to_regclass('lunadex.change') IS NOT NULL", error);
  if (!r) return false;
  *there = *PQgetvalue(r, 0, 0) == 't';
  PQclear(r);
  return true;
}

ldx_result *ldx_pg_history(ldx_session *session, ldx_arena *arena, ldx_history what, const char *const *parameters,
                           size_t parameter_count, ldx_error *error) {
  ldx_result *result = NULL;
  PGresult *r = NULL;
  bool there = true;
  if (!ldx_pg_do(session, begin, error)) return NULL;
  if (what == LDX_HISTORY_READ || what == LDX_HISTORY_RUN) {
    if (!tables_are_there(session, &there, error)) goto out;
    if (!there && what == LDX_HISTORY_RUN && !ldx_pg_do(session, ldx_sql_history_tables, error)) goto out;
  }
  if (!there && what == LDX_HISTORY_READ) {
    result = ldx_result_of(arena, NULL, "", NULL, 0, "");
    goto out;
  }
  r = ldx_pg_exec_params(session, statements[what], (int)parameter_count, parameters, error);
  if (r && ldx_pg_do(session, "COMMIT", error)) result = ldx_pg_result_copy(arena, r);
  PQclear(r);
out:
  ldx_pg_rollback(session);
  return result;
}
