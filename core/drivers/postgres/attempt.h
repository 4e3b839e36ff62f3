/* attempt.h: one attempt at a step: what the files that run steps share. Everything runs on the session's thread. */
#ifndef LUNADEX_POSTGRES_ATTEMPT_H
#define LUNADEX_POSTGRES_ATTEMPT_H

#include "session.h"

/* A step under way. The arena dies with the attempt. */
typedef struct ldx_pg_attempt {
  ldx_session *session;
  const ldx_step *step;
  ldx_context *context;
  ldx_arena *arena;
  ldx_error *error;
  double started;
} ldx_pg_attempt;

/* Who stands behind a session: `pid 3120 report@bi-2 "nightly-report", idle in transaction since 0:48: SELECT …`, from
 * seven columns of `row` that begin at `column`: pid, user, host, application, state, age in seconds, query. What the
 * server does not tell us is left out. */
void ldx_pg_who(char *to, size_t size, const PGresult *result, int row, int column);

/* A literal of type text[] for a parameter. NULL items become NULL. */
char *ldx_pg_text_array(ldx_arena *arena, size_t count, const char *const *items);

/* --- attempt.c ------------------------------------------------------------------------------------------------------ */

/* Sends `sql` and waits as ldx_pg_run does. */
bool ldx_pg_send(ldx_pg_attempt *attempt, const char *sql);
/* False with LDX_ERROR_CANCELLED or LDX_ERROR_LOCK_TIMEOUT once the run was told to stop or the budget is spent;
 * `waits_for` says what for. Sleeps a little otherwise. */
bool ldx_pg_pause(ldx_pg_attempt *attempt, const char *waits_for);
/* Waits until no transaction of another session that is older than a second holds a lock on relation `oid` that a build
 * (or, with `any`, a drop) would have to wait for. Waiting *before* the start costs nothing: a build that is cancelled
 * while it waits leaves an invalid index, a cancelled drop a dead one. */
bool ldx_pg_wait_for_table(ldx_pg_attempt *attempt, const char *oid, bool any);

/* --- look.c: what stands under a name ------------------------------------------------------------------------------- */

typedef struct ldx_pg_index_state {
  bool schema;          /* exists */
  const char *relation; /* oid of the step's relation; NULL: missing */
  char relation_kind;
  const char *object; /* oid of whatever has the name; NULL: nothing */
  char object_kind;   /* pg_class.relkind */
  bool index;         /* it is an index */
  bool same_relation; /* of the step's relation */
  bool valid, ready, live;
  const char *definition; /* CREATE INDEX …, to bring it back */
  const char *constraint; /* that it backs; NULL: none */
  int64_t builder;        /* somebody is at it; 0: nobody */
  char builder_who[512], builder_phase[96];
  const char *parent;     /* oid of the partitioned index it is attached to */
  const char *tablespace; /* NULL: the default one */
  ldx_options options;
} ldx_pg_index_state;

/* Fills *state (strings in the attempt's arena) for index `name` beside the step's relation. */
bool ldx_pg_look_at_index(ldx_pg_attempt *attempt, const char *name, ldx_pg_index_state *state);

typedef struct ldx_pg_constraint_state {
  const char *relation; /* oid; NULL: missing */
  char relation_kind;
  char type; /* pg_constraint.contype; 0: there is no such constraint */
  bool validated;
  const char *definition;
  const char *other_primary_key;
  bool has_check, check_validated; /* LDX_PG_NOT_NULL_CHECK */
} ldx_pg_constraint_state;

bool ldx_pg_look_at_constraint(ldx_pg_attempt *attempt, const char *name, ldx_pg_constraint_state *state);

#endif
