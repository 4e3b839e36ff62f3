#include "attempt.h"

#include "base/clock.h"
#include "postgres_sql.h"
#include "render.h"
#include "who.h"

bool ldx_pg_send(ldx_pg_attempt *attempt, const char *sql) {
  PGresult *result = ldx_pg_run(attempt->session, attempt->context, sql, 0, attempt->error);
  PQclear(result);
  return result != NULL;
}

bool ldx_pg_pause(ldx_pg_attempt *attempt, const char *waits_for) {
  const ldx_step *step = attempt->step;
  if (ldx_context_cancelled(attempt->context)) return ldx_error_set(attempt->error, LDX_ERROR_CANCELLED, "cancelled");
  bool over = step->lock_timeout > 0 && ldx_clock_now() - attempt->started > step->lock_timeout;
  if (over || ldx_context_over_budget(attempt->context)) {
    ldx_error_set(attempt->error, LDX_ERROR_LOCK_TIMEOUT, "%s is held by %s",
                  ldx_pg_display_name(attempt->arena, step->relation), waits_for);
    ldx_error_hint(attempt->error, "Nothing was begun; it is tried again when the budget of retries allows.");
    return false;
  }
  ldx_clock_sleep(0.2);
  return true;
}

bool ldx_pg_wait_for_table(ldx_pg_attempt *attempt, const char *oid, bool any) {
  const char *values[] = {oid, any ? "t" : "f"};
  char who[512];
  bool ok = true, waiting = true;
  /* The watcher shows who holds the table while this session itself is idle. */
  ldx_context_running(attempt->context, PQbackendPID(ldx_pg_connection(attempt->session)));
  while (ok && waiting) {
    PGresult *r = ldx_pg_exec_params(attempt->session, ldx_sql_lockers, 2, values, attempt->error);
    ok = r != NULL;
    waiting = ok && PQntuples(r) > 0;
    if (waiting) ldx_pg_who(who, sizeof who, r, 0, 0);
    PQclear(r);
    if (waiting) ok = ldx_pg_pause(attempt, who);
  }
  ldx_context_running(attempt->context, 0);
  return ok;
}

bool ldx_pg_see_index(ldx_pg_attempt *attempt, const char *name, ldx_pg_index_state *state) {
  return ldx_pg_look_at_index(attempt->session, attempt->arena, attempt->step->relation, name, state, attempt->error);
}

bool ldx_pg_see_constraint(ldx_pg_attempt *attempt, const char *name, ldx_pg_constraint_state *state) {
  return ldx_pg_look_at_constraint(attempt->session, attempt->arena, attempt->step->relation, name, state,
                                   attempt->error);
}
