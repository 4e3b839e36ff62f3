#include "patience.h"

#include "base/clock.h"
#include "postgres_sql.h"
#include "who.h"

/* Longer than the time for which a careful migration waits for a lock and works under it, and no longer: the engine tries
 * three times, and half a minute is what somebody looks at a plan that does not come. */
static const double whole = 10;

ldx_pg_patience ldx_pg_patience_new(ldx_session *session, ldx_context *context) {
  return (ldx_pg_patience){.session = session, .context = context, .began = ldx_clock_now()};
}

/* The server does not say which lock it was that was not had, let alone whose. False: it is free by now. */
static bool find_locker(ldx_session *session, const char *relations, ldx_error *error) {
  enum { WHO = 0, RELATION = 7, GRANTED = 8 };
  ldx_error ignored;
  PGresult *r = ldx_pg_exec_params(session, ldx_sql_exclusive_lockers, 1, &relations, &ignored);
  bool found = r && PQntuples(r) > 0;
  if (found) {
    char who[512];
    ldx_pg_who(who, sizeof who, r, 0, WHO);
    /* Who waits for it lets nobody past, either. */
    const char *how = *PQgetvalue(r, 0, GRANTED) == 't' ? "is locked by" : "is about to be locked by";
    ldx_error_set(error, LDX_ERROR_LOCK_TIMEOUT, "%s %s %s", PQgetvalue(r, 0, RELATION), how, who);
    ldx_error_hint(error, "It can be read again when that transaction has ended.");
  }
  PQclear(r);
  return found;
}

bool ldx_pg_patience_left(ldx_pg_patience *patience, const char *relations, ldx_error *error) {
  if (error->code != LDX_ERROR_LOCK_TIMEOUT) return false;
  ldx_context *context = patience->context;
  if (context && ldx_context_cancelled(context)) return ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
  bool first = !patience->told, left = ldx_clock_now() - patience->began < whole;
  if (!first && left) return true;
  bool found = find_locker(patience->session, relations, error);
  if (found && first && left && context) ldx_context_note(context, "waiting: %s", error->message);
  patience->told = patience->told || found;
  return left;
}
