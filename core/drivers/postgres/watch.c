/* watch.c: how far running steps are.
 *
 * `started` is true once the table's lock was had and work is being done that is worth more than the budget for getting
 * the lock: for a build in every phase past "waiting for writers before build"; for a drop once the index is marked
 * invalid, since from there a cancelled one leaves it dead; for anything else never, its own lock_timeout guards it.
 * `draining` is true in the waits for other sessions that follow work: "waiting for writers before validation",
 * "waiting for old snapshots", "waiting for readers …", and for a drop once it is started.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver_parts.h"
#include "postgres_sql.h"
#include "who.h"

enum {
  BLOCKS = 3,
  TUPLES = 5,
  PARTITIONS = 7,
  LOCKERS = 9,
  WAITS = 11,
  MARKED = 12,
  BLOCKER = 13,
  HOLDER = 20,
  PREPARED = 27
};

static double number(const PGresult *r, int row, int column) {
  return PQgetisnull(r, row, column) ? 0 : atof(PQgetvalue(r, row, column));
}

static void set_amount(ldx_progress *progress, const PGresult *r, int row, int column, const char *unit) {
  progress->done = number(r, row, column);
  progress->total = number(r, row, column + 1);
  if (progress->total > 0 && progress->done > progress->total) progress->done = progress->total;
  snprintf(progress->unit, sizeof progress->unit, "%s", progress->total > 0 ? unit : "");
}

static void amount(ldx_progress *progress, const PGresult *r, int row) {
  const char *phase = progress->phase;
  /* Counters of earlier phases may still stand there: the phase says which ones move. */
  if (strstr(phase, "waiting for"))
    set_amount(progress, r, row, LOCKERS, "sessions");
  else if (strstr(phase, "loading") || strstr(phase, "sorting"))
    set_amount(progress, r, row, TUPLES, "tuples");
  else if (strstr(phase, "scanning") || !strncmp(phase, "building index", 14))
    set_amount(progress, r, row, BLOCKS, "blocks");
  if (number(r, row, PARTITIONS + 1) > 0 && progress->total <= 0)
    set_amount(progress, r, row, PARTITIONS, "partitions");
}

static void set_blocker(ldx_progress *progress, const PGresult *r, int row, int column) {
  if (PQgetisnull(r, row, column)) return;
  long long pid = atoll(PQgetvalue(r, row, column));
  progress->blocker_pid = pid > 0 ? pid : 0; /* -1: a prepared transaction */
  ldx_pg_who(progress->blocker, sizeof progress->blocker, r, row, column);
}

static void read_row(ldx_watched *watched, const PGresult *r, int row) {
  ldx_progress *p = &watched->progress;
  const ldx_step *step = watched->step;
  bool marked = *PQgetvalue(r, row, MARKED) == 't', waits = *PQgetvalue(r, row, WAITS) == 't';
  bool idle = !strcmp(PQgetvalue(r, row, 1), "idle");
  if (!PQgetisnull(r, row, 2)) {
    snprintf(p->phase, sizeof p->phase, "%s", PQgetvalue(r, row, 2));
    bool early = !strcmp(p->phase, "initializing") || !strcmp(p->phase, "waiting for writers before build");
    p->started = !early;
    p->draining = !early && !strncmp(p->phase, "waiting for", 11);
    amount(p, r, row);
  } else if (step->kind == LDX_STEP_DROP) {
    p->started = p->draining = marked;
    snprintf(p->phase, sizeof p->phase, "%s",
             marked  ? "waiting for its last users"
             : waits ? "waiting for the table's lock"
                     : "dropping");
  } else if (waits) {
    snprintf(p->phase, sizeof p->phase, "waiting for the table's lock");
  } else {
    /* No view tells how far a constraint's check is; that it waits for no lock says that it has had it. */
    p->started = !strcmp(PQgetvalue(r, row, 1), "active");
  }
  set_blocker(p, r, row, BLOCKER);
  if (idle && !PQgetisnull(r, row, HOLDER)) set_blocker(p, r, row, HOLDER);
  if (!p->blocker[0]) set_blocker(p, r, row, PREPARED);
  if (idle && p->blocker[0]) snprintf(p->phase, sizeof p->phase, "waiting for transactions on the table");
}

bool ldx_pg_watch(ldx_session *session, ldx_watched *steps, size_t count, ldx_error *error) {
  if (!count) return true;
  ldx_arena *arena = ldx_arena_new();
  const char *arrays[5];
  const char **items = LDX_ARENA_NEW(arena, const char *, count * 5);
  for (size_t i = 0; i < count; i++) {
    const ldx_step *step = steps[i].step;
    items[i] = ldx_arena_printf(arena, "%lld", (long long)steps[i].operation);
    items[count + i] = step->relation.schema;
    items[2 * count + i] = step->relation.name;
    items[3 * count + i] = step->name;
    items[4 * count + i] = step->kind == LDX_STEP_DROP ? "t" : "f";
  }
  for (size_t a = 0; a < 5; a++) arrays[a] = ldx_pg_text_array(arena, count, items + a * count);
  PGresult *r = ldx_pg_exec_params(session, ldx_sql_watch, 5, arrays, error);
  ldx_arena_free(arena);
  if (!r) return false;
  for (size_t i = 0; i < count; i++) {
    steps[i].progress = (ldx_progress){0};
    if ((int)i < PQntuples(r)) read_row(&steps[i], r, (int)i);
  }
  PQclear(r);
  return true;
}

bool ldx_pg_dismiss(ldx_session *session, int64_t pid, const ldx_strings *applications, bool terminate, bool *sent,
                    ldx_error *error) {
  ldx_arena *arena = ldx_arena_new();
  const char *values[] = {ldx_arena_printf(arena, "%lld", (long long)pid),
                          ldx_pg_text_array(arena, applications->count, applications->items), terminate ? "t" : "f"};
  PGresult *r = ldx_pg_exec_params(session, ldx_sql_dismiss, 3, values, error);
  ldx_arena_free(arena);
  if (!r) return false;
  *sent = PQntuples(r) == 1 && *PQgetvalue(r, 0, 0) == 't';
  PQclear(r);
  return true;
}
