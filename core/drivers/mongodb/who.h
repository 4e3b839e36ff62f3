/* who.h: what $currentOp says of operations: which belong to which build, and whose they are. */
#ifndef LUNADEX_MONGO_WHO_H
#define LUNADEX_MONGO_WHO_H

#include "session.h"

/* One operation of $currentOp, as far as it matters here. Pointers are into its document. */
typedef struct ldx_mongo_operation {
  const bson_t *document;
  const char *description; /* "conn12", "IndexBuildsCoordinatorMongod-3" */
  const char *space;       /* "shop.users"; "" before the work has begun */
  const char *collection;  /* of createIndexes or collMod; "": it is another command */
  bool worker;             /* of the server: does a build, for whoever asked */
  bool waits_for_lock;
  const char *index;   /* the first of createIndexes, by name; "" */
  int64_t number;      /* of the session of Lunadex that sent it; 0: of none */
  int64_t process;     /* likewise, ldx_mongo_process */
  const char *message; /* "Index Build: scanning collection …"; "" */
  double done, total;  /* total 0: no progress is given */
} ldx_mongo_operation;

/* What goes on, at one moment. */
typedef struct ldx_mongo_activity {
  size_t count;
  ldx_mongo_operation *items;
  bson_t *documents; /* theirs: views of the reply */
  bson_t reply;
} ldx_mongo_activity;

/* The operations that build indexes, and all that sessions of Lunadex run; with `ours` only what this process sent, which
 * on a busy server is found as surely. Of everybody, or, where this user lacks the right for that (inprog), the user's
 * own. By the session's second client. The caller frees `activity`, also after an error: then nothing is in it. */
bool ldx_mongo_look_around(ldx_session *session, bool ours, ldx_mongo_activity *activity, ldx_error *error);
void ldx_mongo_activity_free(ldx_mongo_activity *activity);
void ldx_mongo_operation_of(const bson_t *document, ldx_mongo_operation *operation);
/* Whether it is about that index of that collection; `name` NULL: about any. */
bool ldx_mongo_operation_is_about(const ldx_mongo_operation *operation, const char *database, const char *collection,
                                  const char *name);
/* Who is at the index `name` of that collection, or at any of it (`name` NULL), whatever session `but` does left out (0:
 * none): the operation that asked for it, the first of several; or what does it, where nobody waits for that any more.
 * NULL: nobody is seen. `worker`, which may be NULL: what does it, on several shards that which is furthest from its end;
 * or NULL. */
const ldx_mongo_operation *ldx_mongo_find_builder(const ldx_mongo_activity *activity, const char *database,
                                                  const char *collection, const char *name, int64_t but,
                                                  const ldx_mongo_operation **worker);
/* How many indexes its command names. */
int ldx_mongo_operation_indexes(const ldx_mongo_operation *operation);

/* What a worker says it does, once: "scanning collection" of "Index Build: scanning collection Index Build: scanning
 * collection: 29418/2000000 1%". */
void ldx_mongo_phase(char *to, size_t size, const ldx_mongo_operation *operation);
/* `app@host "name", op 4711, since 0:12: createIndexes users`, as much as is known; "this run" of our own. */
void ldx_mongo_who(char *to, size_t size, const bson_t *document);

#endif
