#include "progress.h"

#include <stdio.h>
#include <string.h>

#include "locks.h"
#include "members.h"

bool ldx_mongo_take_look(ldx_session *session, ldx_mongo_look *look, ldx_error *error) {
  bool ok = ldx_mongo_look_around(session, false, &look->all, error);
  look->builds = look->slots = 0;
  for (size_t i = 0; i < look->all.count; i++)
    if (look->all.items[i].worker) look->builds++;
  return ok;
}

void ldx_mongo_set_phase(ldx_progress *progress, const char *phase) {
  snprintf(progress->phase, sizeof progress->phase, "%s", phase);
}

void ldx_mongo_progress_of_lock(ldx_session *session, const ldx_mongo_operation *operation, ldx_progress *progress) {
  ldx_mongo_set_phase(progress, "waiting for the collection's lock");
  if (!ldx_mongo_find_holder(session, operation, progress->blocker, sizeof progress->blocker))
    snprintf(progress->blocker, sizeof progress->blocker, "an operation that the server does not show to this user");
}

void ldx_mongo_progress_of_worker(ldx_session *session, const char *collection, const char *name,
                                  const ldx_mongo_operation *worker, ldx_progress *progress) {
  bool draining = strstr(worker->message, "draining") != NULL;
  progress->started = true;
  if (worker->waits_for_lock && draining) {
    progress->draining = true;
    ldx_mongo_progress_of_lock(session, worker, progress);
    return;
  }
  if (!*worker->message) {
    ldx_mongo_set_phase(progress, "starting");
    return;
  }
  ldx_mongo_phase(progress->phase, sizeof progress->phase, worker);
  if (worker->total > 0) {
    progress->done = worker->done < worker->total ? worker->done : worker->total;
    progress->total = worker->total;
    snprintf(progress->unit, sizeof progress->unit, "%s", strstr(worker->message, "scanning") ? "documents" : "keys");
  } else if (draining) {
    /* What is left may be the votes of other members; that takes as long as they do. */
    ldx_mongo_missing_votes(session, collection, name, progress);
  }
}

void ldx_mongo_progress_of_client(ldx_session *session, ldx_mongo_look *look, const ldx_mongo_operation *client,
                                  ldx_progress *progress) {
  if (client->waits_for_lock) {
    ldx_mongo_progress_of_lock(session, client, progress);
    progress->queued = true;
    return;
  }
  progress->started = true;
  if (look->builds && !look->slots) look->slots = ldx_mongo_build_slots(session);
  if (look->builds && look->builds >= look->slots) {
    ldx_mongo_set_phase(progress, "queued");
    snprintf(progress->blocker, sizeof progress->blocker,
             "%zu other build%s: the server runs no more than %zu at a time", look->builds,
             look->builds == 1 ? "" : "s", look->slots);
  } else {
    ldx_mongo_set_phase(progress, "starting");
  }
}
