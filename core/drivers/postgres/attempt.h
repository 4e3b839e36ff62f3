/* attempt.h: one attempt at a step: what the files that run steps share. Everything runs on the session's thread. */
#ifndef LUNADEX_POSTGRES_ATTEMPT_H
#define LUNADEX_POSTGRES_ATTEMPT_H

#include "look.h"
#include "session.h"

/* A step under way. The arena dies with the attempt. */
typedef struct ldx_pg_attempt {
  ldx_session *session;
  const ldx_step *step;
  ldx_context *context;
  ldx_arena *arena;
  ldx_error *error;
  double cleanup_limit; /* > 0: it cleans up, for at most so many seconds a statement, whatever the run is told */
  bool checked;         /* for duplicates */
} ldx_pg_attempt;

/* --- attempt.c ------------------------------------------------------------------------------------------------------ */

/* Sends `sql` and waits as ldx_pg_run does. */
bool ldx_pg_send(ldx_pg_attempt *attempt, const char *sql);
/* The same for a text whose own lock_timeout is short, since it needs a lock that everybody has to wait behind: again and
 * again, with rests, until the step's budget for locks is spent. */
bool ldx_pg_send_in_slices(ldx_pg_attempt *attempt, const char *sql);
/* Waits until no transaction of another session that is older than a second holds a lock on relation `oid` that a build
 * (or, with `any`, a drop) would have to wait for. Waiting *before* the start costs nothing: a build that is cancelled
 * while it waits leaves an invalid index, a cancelled drop a dead one. */
bool ldx_pg_wait_for_table(ldx_pg_attempt *attempt, const char *oid, bool any);

/* --- attempt.c, by look.c ------------------------------------------------------------------------------------------- */

/* What stands under `name` beside the step's relation, in the attempt's arena. */
bool ldx_pg_see_index(ldx_pg_attempt *attempt, const char *name, ldx_pg_index_state *state);
bool ldx_pg_see_index_of(ldx_pg_attempt *attempt, ldx_name relation, const char *name, ldx_pg_index_state *state);
bool ldx_pg_see_constraint(ldx_pg_attempt *attempt, const char *name, ldx_pg_constraint_state *state);

#endif
