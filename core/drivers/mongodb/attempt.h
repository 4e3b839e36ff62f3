/* attempt.h: one attempt at a step: what the files that run steps share. Everything runs on the session's thread. */
#ifndef LUNADEX_MONGO_ATTEMPT_H
#define LUNADEX_MONGO_ATTEMPT_H

#include "session.h"

/* A step under way. The arena dies with the attempt. */
typedef struct ldx_mongo_attempt {
  ldx_session *session;
  const ldx_step *step;
  ldx_context *context;
  ldx_arena *arena;
  ldx_error *error; /* never NULL */
} ldx_mongo_attempt;

/* An index as listIndexes gives it; all of it in the attempt's arena. */
typedef struct ldx_mongo_index {
  const char *name;
  bson_t spec;
  bool building; /* not finished: somebody is at it, if only the server by itself */
  bool unique, prepare_unique, hidden;
  bool expires; /* it is TTL: */
  double expire_after;
} ldx_mongo_index;

typedef struct ldx_mongo_indexes {
  bool exists; /* the collection does */
  size_t count;
  ldx_mongo_index *items;
} ldx_mongo_indexes;

/* What indexes the step's collection has, unfinished ones too. */
bool ldx_mongo_see(ldx_mongo_attempt *attempt, ldx_mongo_indexes *indexes);
/* The one of that name; NULL: there is none. */
const ldx_mongo_index *ldx_mongo_index_named(const ldx_mongo_indexes *indexes, const char *name);
/* `db.users.createIndex(…)`: what brings it back. In the attempt's arena. */
const char *ldx_mongo_undo_of(ldx_mongo_attempt *attempt, const bson_t *spec);

/* Who builds the index of the step's collection, or any of it (`name` NULL), for people; "somebody" where the server does
 * not tell. In the attempt's arena; NULL: nobody does. */
const char *ldx_mongo_builder_of(ldx_mongo_attempt *attempt, const char *name);

/* Waits until no transaction that is older than a second has the step's collection, as far as that can be seen.
 * LDX_ERROR_LOCK_TIMEOUT: the step's budget for locks is spent. */
bool ldx_mongo_wait_for_collection(ldx_mongo_attempt *attempt);
/* Sends a command that changes something, if the run lock still allows it; as ldx_mongo_run otherwise. Behind whoever
 * waits for the collection every writer waits: so that is ended after a moment (ldx_progress.queued), and tried again
 * after a rest. While another build on the collection forbids it (BackgroundOperationInProgressForNamespace), it waits and
 * tells for whom: that build takes as long as it takes. `reply` may be NULL. */
bool ldx_mongo_send(ldx_mongo_attempt *attempt, const bson_t *command, bson_t *reply);
/* Both. */
bool ldx_mongo_change(ldx_mongo_attempt *attempt, const bson_t *command, bson_t *reply);
/* Sleeps a little. False with LDX_ERROR_CANCELLED once the run was told to stop. */
bool ldx_mongo_pause(ldx_mongo_attempt *attempt);

#endif
