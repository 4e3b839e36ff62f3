/* status.c: what goes on in a database, as rows: builds (with who and who blocks), indexes that are not valid, told
 * apart, and the holder of the run lock. */
#include "driver_parts.h"
#include "postgres_sql.h"
#include "who.h"

static const char *copy(ldx_arena *arena, const PGresult *r, int row, int column) {
  return PQgetisnull(r, row, column) ? NULL : ldx_arena_strdup(arena, PQgetvalue(r, row, column));
}

static const char *who(ldx_arena *arena, const PGresult *r, int row, int column) {
  char text[512];
  if (PQgetisnull(r, row, column)) return NULL;
  ldx_pg_who(text, sizeof text, r, row, column);
  return ldx_arena_strdup(arena, text);
}

ldx_result *ldx_pg_status(ldx_session *session, ldx_arena *arena, ldx_error *error) {
  PGresult *builds = ldx_pg_exec(session, ldx_sql_status_builds, error);
  if (!builds) return NULL;
  PGresult *lock = ldx_pg_exec(session, ldx_sql_lock_holder, error);
  PGresult *invalid = lock ? ldx_pg_exec(session, ldx_sql_status_invalid, error) : NULL;
  if (!invalid) {
    PQclear(builds);
    PQclear(lock);
    return NULL;
  }
  ldx_status status = {.arena = arena};
  for (int i = 0; i < PQntuples(builds); i++) {
    const char **row = ldx_status_add(&status);
    for (int c = LDX_STATUS_KIND; c <= LDX_STATUS_PERCENT; c++) row[c] = copy(arena, builds, i, c);
    row[LDX_STATUS_PID] = copy(arena, builds, i, 5);
    row[LDX_STATUS_WHO] = who(arena, builds, i, 5);
    row[LDX_STATUS_BLOCKER] = who(arena, builds, i, 12);
  }
  for (int i = 0; i < PQntuples(lock); i++) {
    const char **row = ldx_status_add(&status);
    row[LDX_STATUS_KIND] = "run_lock";
    row[LDX_STATUS_PID] = copy(arena, lock, i, 0);
    row[LDX_STATUS_WHO] = who(arena, lock, i, 0);
  }
  for (int i = 0; i < PQntuples(invalid); i++) {
    const char **row = ldx_status_add(&status);
    for (int c = LDX_STATUS_KIND; c <= LDX_STATUS_NAME; c++) row[c] = copy(arena, invalid, i, c);
    row[LDX_STATUS_DETAIL] = copy(arena, invalid, i, 3);
    row[LDX_STATUS_BYTES] = copy(arena, invalid, i, 4);
    row[LDX_STATUS_PID] = copy(arena, invalid, i, 5);
    row[LDX_STATUS_WHO] = who(arena, invalid, i, 5);
  }
  PQclear(builds);
  PQclear(lock);
  PQclear(invalid);
  return ldx_status_result(&status);
}
