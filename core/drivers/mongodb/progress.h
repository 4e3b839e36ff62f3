/* progress.h: how far a build is and for whom it waits, as its operations say. */
#ifndef LUNADEX_MONGO_PROGRESS_H
#define LUNADEX_MONGO_PROGRESS_H

#include "who.h"

/* What is going on, at one moment. */
typedef struct ldx_mongo_look {
  ldx_mongo_activity all;
  size_t builds; /* that workers are at */
  size_t slots;  /* that the server has for them; 0: not asked yet */
} ldx_mongo_look;

/* The caller frees `look->all`, also after an error. */
bool ldx_mongo_take_look(ldx_session *session, ldx_mongo_look *look, ldx_error *error);

/* Of the build of the index `name`, which a worker of the server is at. */
void ldx_mongo_progress_of_worker(ldx_session *session, const char *collection, const char *name,
                                  const ldx_mongo_operation *worker, ldx_progress *progress);
/* Of one that no worker is at yet, but a client waits for. */
void ldx_mongo_progress_of_client(ldx_session *session, ldx_mongo_look *look, const ldx_mongo_operation *client,
                                  ldx_progress *progress);

/* Of what waits for its collection's lock. */
void ldx_mongo_progress_of_lock(ldx_session *session, const ldx_mongo_operation *operation, ldx_progress *progress);
void ldx_mongo_set_phase(ldx_progress *progress, const char *phase);

#endif
