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

/* Asked again and again, it says what for: so anybody's `status` knows what is waited for, which no view tells of. */
static const char *question(ldx_pg_attempt *attempt, const char *oid, bool any) {
  if (attempt->step->kind != LDX_STEP_BUILD) return ldx_sql_lockers;
  char name[256];
  ldx_pg_one_line(name, sizeof name, attempt->step->name);
  return ldx_arena_printf(attempt->arena, "-- waits to build %s on relation %s, until it is not %s\n%s", name, oid,
                          any ? "used by anybody" : "written", ldx_sql_lockers);
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

/* A table that is wanted, for a build or (`any`) for a lock that shares it with nobody. */
typedef struct table {
  ldx_pg_attempt *attempt;
  const char *oid; /* NULL: not looked up yet */
  bool any;
  const char *question; /* NULL: not asked yet */
  seen *list;
  const char *sql; /* what is to be sent */
} table;

static bool holder(void *state, ldx_holding *holding, char *who, size_t size, ldx_error *error) {
  table *t = state;
  *holding = LDX_HOLDING_NOBODY;
  if (!t->oid) t->oid = relation_oid(t->attempt);
  if (!t->oid) return true; /* what is sent next says why */
  bool first = !t->question;
  if (first) t->question = question(t->attempt, t->oid, t->any);
  const char *values[] = {t->oid, t->any ? "t" : "f"};
  PGresult *r = ldx_pg_exec_params(t->attempt->session, t->question, 2, values, error);
  int row = r ? old_locker(t->attempt, r, &t->list, first) : -1;
  if (row >= 0) {
    *holding = LDX_HOLDING_SOMEBODY;
    ldx_pg_who(who, size, r, row, 0);
  }
  PQclear(r);
  return r != NULL;
}

static bool send_sql(void *state, ldx_error *error) {
  const table *t = state;
  (void)error; /* the attempt's */
  return ldx_pg_send(t->attempt, t->sql);
}

/* Who has the table may have a lock that does not hinder what is sent: so that is tried now and then all the same. */
static ldx_strong_lock lock_of(table *t) {
  ldx_pg_attempt *attempt = t->attempt;
  return (ldx_strong_lock){.context = attempt->context,
                           .relation = ldx_pg_display_name(attempt->arena, attempt->step->relation),
                           .operation = PQbackendPID(ldx_pg_connection(attempt->session)),
                           .left = ldx_lock_budget(attempt->step),
                           .holder = holder,
                           .send = send_sql,
                           .state = t};
}

bool ldx_pg_wait_for_table(ldx_pg_attempt *attempt, const char *oid, bool any) {
  table t = {.attempt = attempt, .oid = oid, .any = any};
  ldx_strong_lock lock = lock_of(&t);
  return ldx_strong_lock_wait(&lock, attempt->error);
}

bool ldx_pg_send_in_slices(ldx_pg_attempt *attempt, const char *sql) {
  table t = {.attempt = attempt, .any = true, .sql = sql};
  ldx_strong_lock lock = lock_of(&t);
  return ldx_strong_lock_send(&lock, attempt->error);
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
