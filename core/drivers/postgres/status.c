/* status.c: what goes on in a database, as rows: builds (with who and who blocks), indexes that are not valid, told
 * apart, and the holder of the run lock. */
#include <string.h>

#include "driver_parts.h"
#include "postgres_sql.h"
#include "who.h"

enum { KIND, RELATION, NAME, PHASE, PERCENT, PID, WHO, BLOCKER, DETAIL, BYTES, COLUMNS };

static const char *const names[COLUMNS] = {"kind", "relation", "name",    "phase",  "percent",
                                           "pid",  "who",      "blocker", "detail", "bytes"};
static const char types[COLUMNS + 1] = "ssssnisssn";

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
  size_t count = (size_t)PQntuples(builds) + (size_t)PQntuples(lock) + (size_t)PQntuples(invalid);
  const char **rows = LDX_ARENA_NEW(arena, const char *, count *COLUMNS + 1), **row = rows;
  for (int i = 0; i < PQntuples(builds); i++, row += COLUMNS) {
    for (int c = KIND; c <= PERCENT; c++) row[c] = copy(arena, builds, i, c);
    row[PID] = copy(arena, builds, i, 5);
    row[WHO] = who(arena, builds, i, 5);
    row[BLOCKER] = who(arena, builds, i, 12);
  }
  for (int i = 0; i < PQntuples(lock); i++, row += COLUMNS) {
    row[KIND] = "run_lock";
    row[PID] = copy(arena, lock, i, 0);
    row[WHO] = who(arena, lock, i, 0);
  }
  for (int i = 0; i < PQntuples(invalid); i++, row += COLUMNS) {
    for (int c = KIND; c <= NAME; c++) row[c] = copy(arena, invalid, i, c);
    row[DETAIL] = copy(arena, invalid, i, 3);
    row[BYTES] = copy(arena, invalid, i, 4);
    row[PID] = copy(arena, invalid, i, 5);
    row[WHO] = who(arena, invalid, i, 5);
  }
  PQclear(builds);
  PQclear(lock);
  PQclear(invalid);
  return ldx_result_of(arena, names, types, rows, count, "STATUS");
}
