/* attempt.h: one attempt at a step: what the files that run steps share. Everything runs on the session's thread. */
#ifndef LUNADEX_MONGO_ATTEMPT_H
#define LUNADEX_MONGO_ATTEMPT_H

#include "collmod.h"
#include "session.h"

/* An index as listIndexes gives it; all of it in the attempt's arena. */
typedef struct ldx_mongo_index {
  const char *name;
  bson_t spec;
  bool building; /* not finished: somebody is at it, if only the server by itself */
  ldx_mongo_alterable now;
} ldx_mongo_index;

/* A step under way. The arena dies with the attempt. */
typedef struct ldx_mongo_attempt {
  ldx_session *session;
  const ldx_step *step;
  ldx_context *context;
  ldx_arena *arena;
  ldx_error *error; /* never NULL */
  /* Whether that is the index the step is about; fills `error` if not. NULL: whatever has the name is. */
  bool (*meant)(struct ldx_mongo_attempt *attempt, const ldx_mongo_index *index);
  bool waited; /* since it was looked at: it may have become another one */
} ldx_mongo_attempt;

typedef struct ldx_mongo_indexes {
  bool exists; /* the collection does */
  size_t count;
  ldx_mongo_index *items;
} ldx_mongo_indexes;

/* What indexes the step's collection has, unfinished ones too. */
bool ldx_mongo_see(ldx_mongo_attempt *attempt, ldx_mongo_indexes *indexes);
/* The one of that name; NULL: there is none. */
const ldx_mongo_index *ldx_mongo_index_named(const ldx_mongo_indexes *indexes, const char *name);
/* What `index` is, in the words of `meant`: that, too, comes from a specification of the server's, so that texts can be
 * compared; only that there is no collation is said in two ways. In the attempt's arena. */
ldx_definition ldx_mongo_definition_like(ldx_mongo_attempt *attempt, const ldx_mongo_index *index,
                                         const ldx_definition *meant);
/* The step's index is not the one that was meant: LDX_ERROR_DEPENDENT. Gives false. */
bool ldx_mongo_another(ldx_mongo_attempt *attempt);
/* `db.users.createIndex(…)`: what brings it back. In the attempt's arena. */
const char *ldx_mongo_undo_of(ldx_mongo_attempt *attempt, const bson_t *spec);

/* Who builds the index of the step's collection, or any of it (`name` NULL), for people. False, and "somebody": the server
 * shows nobody, or could not be asked. */
bool ldx_mongo_builder_of(ldx_mongo_attempt *attempt, const char *name, char *who, size_t size);

/* Waits until no transaction that is older than a second has the step's collection, as far as that can be seen.
 * LDX_ERROR_LOCK_TIMEOUT: the step's budget for locks is spent. `left`: what is left of it, in seconds. Whoever had to wait
 * looks again whether the index is the one that is meant. */
bool ldx_mongo_wait_for_collection(ldx_mongo_attempt *attempt, double *left);
/* Sends a command that changes something, if the run lock still allows it; as ldx_mongo_run otherwise. Behind whoever
 * waits for the collection every writer waits: so that is ended after a moment (ldx_progress.queued), and tried again
 * after a rest, for `left` seconds. While another build on the collection forbids it
 * (BackgroundOperationInProgressForNamespace), it waits and tells for whom: that build takes as long as it takes. `reply`
 * may be NULL. Likewise after each wait. */
bool ldx_mongo_send(ldx_mongo_attempt *attempt, double left, const bson_t *command, bson_t *reply);
/* Both. */
bool ldx_mongo_change(ldx_mongo_attempt *attempt, const bson_t *command, bson_t *reply);
/* Sleeps a little. False with LDX_ERROR_CANCELLED once the run was told to stop. */
bool ldx_mongo_pause(ldx_mongo_attempt *attempt);

#endif
