#include "attempt.h"

#include <string.h>

#include "base/clock.h"
#include "postgres_sql.h"
#include "render.h"
#include "who.h"

/* Seconds: a transaction that is no older is gone before it matters. */
static const double young = 1;

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
    ldx_error_hint(attempt->error, "Nothing was begun; it is tried again when the budget of retries allows.");
    return false;
  }
  ldx_clock_sleep(0.2);
  return true;
}

bool ldx_pg_wait_for_table(ldx_pg_attempt *attempt, const char *oid, bool any) {
  const char *values[] = {oid, any ? "t" : "f"};
  double began = ldx_clock_now();
  seen *list = NULL;
  bool ok = true;
  /* The watcher shows who holds the table while this session itself is idle. */
  ldx_context_running(attempt->context, PQbackendPID(ldx_pg_connection(attempt->session)));
  for (bool first = true, waiting = true; ok && waiting; first = false) {
    char who[512];
    PGresult *r = ldx_pg_exec_params(attempt->session, ldx_sql_lockers, 2, values, attempt->error);
    ok = r != NULL;
    int row = ok ? old_locker(attempt, r, &list, first) : -1;
    waiting = row >= 0;
    if (waiting) ldx_pg_who(who, sizeof who, r, row, 0);
    PQclear(r);
    if (waiting) ok = pause_for(attempt, began, who);
  }
  ldx_context_running(attempt->context, 0);
  return ok;
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
