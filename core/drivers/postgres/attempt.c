#include "attempt.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "postgres_sql.h"
#include "render.h"
#include "who.h"

/* Seconds: a transaction that is no older is gone before it matters. */
static const double young = 1;
/* Seconds between two tries to get a strong lock: time for those who stood behind the first one; and the longest, however
 * old the transactions on the table are. */
static const double rest = 2, longest_rest = 10;

bool ldx_pg_send(ldx_pg_attempt *attempt, const char *sql) {
  PGresult *result = ldx_pg_run(attempt->session, attempt->context, sql, 0, attempt->error);
  PQclear(result);
  return result != NULL;
}

/* --- waiting for a table ---------------------------------------------------------------------------------------------- */

/* Transactions without an age, by their virtual number, and when each was first seen. Those that were there at the first
 * look may be of any age. */
typedef struct seen {
  struct seen *next;
  const char *transaction;
  double since;
} seen;

static double first_seen(ldx_pg_attempt *attempt, seen **list, const char *transaction, double now) {
  for (const seen *each = *list; each; each = each->next)
    if (!strcmp(each->transaction, transaction)) return each->since;
  seen *new = LDX_ARENA_NEW(attempt->arena, seen, 1);
  *new = (seen){*list, ldx_arena_strdup(attempt->arena, transaction), now};
  *list = new;
  return now;
}

/* The row of a transaction that is older than a second; -1: none. */
static int old_locker(ldx_pg_attempt *attempt, const PGresult *r, seen **list, bool first) {
  enum { TRANSACTION = 7, OLD = 8 };
  double now = ldx_clock_now();
  int found = -1;
  for (int row = 0; row < PQntuples(r); row++) {
    bool known = !PQgetisnull(r, row, OLD), old = known && *PQgetvalue(r, row, OLD) == 't';
    if (!known) old = now - first_seen(attempt, list, PQgetvalue(r, row, TRANSACTION), first ? 0 : now) > young;
    if (old && found < 0) found = row;
  }
  return found;
}

/* Sleeps a little; false once the run was told to stop, or the wait that began at `began` has used up its budget. */
static bool pause_for(ldx_pg_attempt *attempt, double began, const char *who) {
  const ldx_step *step = attempt->step;
  if (ldx_context_cancelled(attempt->context)) return ldx_error_set(attempt->error, LDX_ERROR_CANCELLED, "cancelled");
  bool over = step->lock_timeout > 0 && ldx_clock_now() - began > step->lock_timeout;
  if (over || ldx_context_over_budget(attempt->context)) {
    ldx_error_set(attempt->error, LDX_ERROR_LOCK_TIMEOUT, "%s is held by %s",
                  ldx_pg_display_name(attempt->arena, step->relation), who);
    ldx_error_hint(attempt->error, "Nothing was begun.");
    return false;
  }
  ldx_clock_sleep(0.2);
  return true;
}

/* Asked again and again, it says what for: so anybody's `status` knows what is waited for, which no view tells of. */
static const char *question(ldx_pg_attempt *attempt, const char *oid, bool any) {
  if (attempt->step->kind != LDX_STEP_BUILD) return ldx_sql_lockers;
  char name[256];
  ldx_pg_one_line(name, sizeof name, attempt->step->name);
  return ldx_arena_printf(attempt->arena, "-- waits to build %s on relation %s, until it is not %s\n%s", name, oid,
                          any ? "used by anybody" : "written", ldx_sql_lockers);
}

/* For at least `least` and at most `most` seconds. */
static bool wait_for_table(ldx_pg_attempt *attempt, const char *oid, bool any, double least, double most) {
  const char *values[] = {oid, any ? "t" : "f"}, *sql = question(attempt, oid, any);
  double began = ldx_clock_now();
  seen *list = NULL;
  bool ok = true;
  /* The watcher shows who holds the table while this session itself is idle. */
  ldx_context_running(attempt->context, PQbackendPID(ldx_pg_connection(attempt->session)));
  for (bool first = true, waiting = true; ok && waiting; first = false) {
    char who[512] = "somebody";
    PGresult *r = ldx_pg_exec_params(attempt->session, sql, 2, values, attempt->error);
    ok = r != NULL;
    int row = ok ? old_locker(attempt, r, &list, first) : -1;
    double waited = ldx_clock_now() - began;
    waiting = waited < least || (row >= 0 && waited < most);
    if (row >= 0) ldx_pg_who(who, sizeof who, r, row, 0);
    PQclear(r);
    if (ok && waiting) ok = pause_for(attempt, began, who);
  }
  ldx_context_running(attempt->context, 0);
  return ok;
}

bool ldx_pg_wait_for_table(ldx_pg_attempt *attempt, const char *oid, bool any) {
  return wait_for_table(attempt, oid, any, 0, INFINITY);
}

/* The number of the step's relation; NULL: it is gone, or cannot be asked for. */
static const char *relation_oid(ldx_pg_attempt *attempt) {
  static const char sql[] = "select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n"
                            " on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2";
  ldx_error ignored;
  const ldx_name relation = attempt->step->relation;
  const char *values[] = {relation.schema, relation.name};
  PGresult *r = ldx_pg_exec_params(attempt->session, sql, 2, values, &ignored);
  const char *oid = r && PQntuples(r) == 1 ? ldx_arena_strdup(attempt->arena, PQgetvalue(r, 0, 0)) : NULL;
  PQclear(r);
  return oid;
}

bool ldx_pg_send_in_slices(ldx_pg_attempt *attempt, const char *sql) {
  const double budget = attempt->step->lock_timeout, began = ldx_clock_now();
  for (;;) {
    if (ldx_pg_send(attempt, sql)) return true;
    bool over = budget > 0 && ldx_clock_now() - began >= budget;
    if (attempt->error->code != LDX_ERROR_LOCK_TIMEOUT || over || ldx_context_over_budget(attempt->context))
      return false;
    const char *oid = relation_oid(attempt);
    if (!oid) return false;
    double left = budget > 0 ? budget - (ldx_clock_now() - began) : longest_rest;
    double most = left < longest_rest ? left : longest_rest;
    if (!wait_for_table(attempt, oid, true, most < rest ? most : rest, most)) return false;
    ldx_error_clear(attempt->error);
  }
}

/* --- looking ---------------------------------------------------------------------------------------------------------- */

static ldx_pg_look look_of(const ldx_pg_attempt *attempt) {
  bool cleaning = attempt->cleanup_limit > 0;
  return (ldx_pg_look){.session = attempt->session,
                       .arena = attempt->arena,
                       .context = cleaning ? NULL : attempt->context,
                       .limit = attempt->cleanup_limit};
}

bool ldx_pg_see_index_of(ldx_pg_attempt *attempt, ldx_name relation, const char *name, ldx_pg_index_state *state) {
  ldx_pg_look look = look_of(attempt);
  return ldx_pg_look_at_index(&look, relation, name, state, attempt->error);
}

bool ldx_pg_see_index(ldx_pg_attempt *attempt, const char *name, ldx_pg_index_state *state) {
  return ldx_pg_see_index_of(attempt, attempt->step->relation, name, state);
}

bool ldx_pg_see_constraint(ldx_pg_attempt *attempt, const char *name, ldx_pg_constraint_state *state) {
  ldx_pg_look look = look_of(attempt);
  return ldx_pg_look_at_constraint(&look, attempt->step->relation, name, state, attempt->error);
}
