/* watch.c: how far running steps are.
 *
 * A build shows as two operations: the client's, which only waits and carries our number in its comment, and that of a
 * worker of the server, which has the progress. The worker's carries the comment of whoever asked first; after a restart
 * it has none, so it is found by collection and index. `server_pid` is our number.
 *
 * `started` is false only while a lock is waited for, in the server's queue or before the command is sent: that is what
 * the budget is for. A build that is queued behind others of the server has begun for us: those others take as long as
 * they take. So does the lock that it wants at its end, whose queue nobody can leave without losing the build.
 */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "driver_parts.h"
#include "locks.h"
#include "members.h"
#include "path.h"
#include "who.h"

/* What is going on, at one moment. */
typedef struct look {
  ldx_mongo_activity all;
  size_t builds; /* that workers are at */
} look;

static bool look_around(ldx_session *session, look *l, ldx_error *error) {
  bool ok = ldx_mongo_look_around(session, false, &l->all, error);
  l->builds = 0;
  for (size_t i = 0; i < l->all.count; i++)
    if (l->all.items[i].worker) l->builds++;
  return ok;
}

/* --- one step ----------------------------------------------------------------------------------------------------------- */

static void set_phase(ldx_progress *progress, const char *phase) {
  snprintf(progress->phase, sizeof progress->phase, "%s", phase);
}

static void waits_for_lock(ldx_session *session, const ldx_mongo_operation *operation, ldx_progress *progress) {
  set_phase(progress, "waiting for the collection's lock");
  progress->blocker_pid = -1;
  if (!ldx_mongo_find_holder(session, operation, progress->blocker, sizeof progress->blocker))
    snprintf(progress->blocker, sizeof progress->blocker, "an operation that the server does not show to this user");
}

static void from_worker(ldx_session *session, const ldx_step *step, const ldx_mongo_operation *worker,
                        ldx_progress *progress) {
  progress->started = true;
  if (worker->waits_for_lock && strstr(worker->message, "draining")) {
    progress->draining = true;
    waits_for_lock(session, worker, progress);
    return;
  }
  if (!*worker->message) {
    set_phase(progress, "starting");
    return;
  }
  ldx_mongo_phase(progress->phase, sizeof progress->phase, worker);
  if (worker->total > 0) {
    progress->done = worker->done < worker->total ? worker->done : worker->total;
    progress->total = worker->total;
    snprintf(progress->unit, sizeof progress->unit, "%s", strstr(worker->message, "scanning") ? "documents" : "keys");
  } else if (strstr(worker->message, "draining")) {
    /* What is left may be the votes of other members; that takes as long as they do. */
    ldx_mongo_missing_votes(session, step, progress);
  }
}

static void of_waiting(ldx_session *session, const look *l, const ldx_mongo_operation *own, ldx_progress *progress) {
  if (own->waits_for_lock) {
    waits_for_lock(session, own, progress);
    progress->queued = true;
    return;
  }
  progress->started = true;
  size_t most = l->builds ? ldx_mongo_build_slots(session) : 0;
  if (l->builds && l->builds >= most) {
    set_phase(progress, "queued");
    snprintf(progress->blocker, sizeof progress->blocker,
             "%zu other build%s: the server runs no more than %zu at a time", l->builds, l->builds == 1 ? "" : "s",
             most);
    progress->blocker_pid = -1;
  } else {
    set_phase(progress, "starting");
  }
}

static bool has(const bson_t *document, const char *path) {
  bson_iter_t found;
  return ldx_mongo_find(document, path, &found);
}

/* The command that our session has sent, other than a build. */
static void from_command(ldx_session *session, const ldx_mongo_operation *own, ldx_progress *progress) {
  if (own->waits_for_lock) {
    waits_for_lock(session, own, progress);
    progress->queued = true;
    return;
  }
  progress->started = true;
  if (!has(own->document, "command.collMod"))
    set_phase(progress, has(own->document, "command.dropIndexes") ? "dropping" : "looking for duplicates");
  else if (ldx_mongo_flag_at(own->document, "command.dryRun"))
    set_phase(progress, "looking for duplicates");
  else
    set_phase(progress, ldx_mongo_flag_at(own->document, "command.index.unique") ? "making it unique" : "changing");
}

static void watch_step(ldx_session *session, const look *l, ldx_watched *watched) {
  const ldx_step *step = watched->step;
  const ldx_mongo_operation *own = NULL, *worker = NULL, *other = NULL;
  for (size_t i = 0; i < l->all.count; i++) {
    const ldx_mongo_operation *operation = &l->all.items[i];
    if (operation->number == watched->server_pid && !operation->worker) own = operation;
    if (!ldx_mongo_operation_is_about(operation, session->database, step->relation.name, NULL)) continue;
    /* Whoever asked for it says more than what does it. */
    if (operation->number != watched->server_pid && (!other || other->worker)) other = operation;
    if (!operation->worker) continue;
    if (!ldx_mongo_operation_is_about(operation, session->database, step->relation.name, step->name)) continue;
    /* Of several shards, the one that is furthest from its end. */
    double left = operation->total > 0 ? 1 - operation->done / operation->total : 1;
    if (!worker || left > (worker->total > 0 ? 1 - worker->done / worker->total : 1)) worker = operation;
  }
  bool builds = own && has(own->document, "command.createIndexes");
  if (worker && (builds || !own)) {
    from_worker(session, step, worker, &watched->progress);
  } else if (builds) {
    of_waiting(session, l, own, &watched->progress);
  } else if (own) {
    from_command(session, own, &watched->progress);
  } else if (other) {
    watched->progress.started = true;
    if (other->process == ldx_mongo_process()) {
      set_phase(&watched->progress, "waiting for another build of this run");
      return;
    }
    set_phase(&watched->progress, "waiting for another build of the collection");
    ldx_mongo_who(watched->progress.blocker, sizeof watched->progress.blocker, other->document);
    watched->progress.blocker_pid = -1;
  } else if (ldx_mongo_find_transaction(session, step->relation.name, watched->progress.blocker,
                                        sizeof watched->progress.blocker) == LDX_MONGO_HELD) {
    set_phase(&watched->progress, "waiting for the collection's lock");
    watched->progress.blocker_pid = -1;
  }
}

bool ldx_mongo_watch(ldx_session *session, ldx_watched *steps, size_t count, ldx_error *error) {
  if (!count) return true;
  look l;
  bool ok = look_around(session, &l, error);
  for (size_t i = 0; ok && i < count; i++) {
    steps[i].progress = (ldx_progress){0};
    watch_step(session, &l, &steps[i]);
  }
  ldx_mongo_activity_free(&l.all);
  return ok;
}
