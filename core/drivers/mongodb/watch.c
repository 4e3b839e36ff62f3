/* watch.c: how far running steps are.
 *
 * A build shows as two operations: the client's, which only waits and carries our number in its comment, and that of a
 * worker of the server, which has the progress. The worker's carries the comment of whoever asked first; after a restart
 * it has none, so it is found by collection and index. `operation` is our number.
 *
 * `started` is false only while a lock is waited for, in the server's queue or before the command is sent: that is what
 * the budget is for. A build that is queued behind others of the server has begun for us: those others take as long as
 * they take. So does the lock that it wants at its end, whose queue nobody can leave without losing the build.
 */
#include <stdio.h>
#include <string.h>

#include "driver_parts.h"
#include "locks.h"
#include "path.h"
#include "progress.h"

static bool has(const bson_t *document, const char *path) {
  bson_iter_t found;
  return ldx_mongo_find(document, path, &found);
}

/* The command that our session has sent, other than a build. */
static void from_command(ldx_session *session, const ldx_mongo_operation *own, ldx_progress *progress) {
  if (own->waits_for_lock) {
    ldx_mongo_progress_of_lock(session, own, progress);
    progress->queued = true;
    return;
  }
  progress->started = true;
  if (has(own->document, "command.setIndexCommitQuorum"))
    ldx_mongo_set_phase(progress, "setting the commit quorum");
  else if (!has(own->document, "command.collMod"))
    ldx_mongo_set_phase(progress, has(own->document, "command.dropIndexes") ? "dropping" : "looking for duplicates");
  else if (ldx_mongo_flag_at(own->document, "command.dryRun"))
    ldx_mongo_set_phase(progress, "looking for duplicates");
  else
    ldx_mongo_set_phase(progress,
                        ldx_mongo_flag_at(own->document, "command.index.unique") ? "making it unique" : "changing");
}

/* What the session of that number has sent, and waits for. */
static const ldx_mongo_operation *sent_by(const ldx_mongo_activity *all, int64_t number) {
  for (size_t i = 0; i < all->count; i++)
    if (all->items[i].number == number && !all->items[i].worker) return &all->items[i];
  return NULL;
}

static void watch_step(ldx_session *session, ldx_mongo_look *l, ldx_watched *watched) {
  const ldx_step *step = watched->step;
  const char *collection = step->relation.name;
  const ldx_mongo_operation *own = sent_by(&l->all, watched->operation), *worker;
  ldx_mongo_find_builder(&l->all, session->database, collection, step->name, 0, &worker);
  const ldx_mongo_operation *other =
      ldx_mongo_find_builder(&l->all, session->database, collection, NULL, watched->operation, NULL);
  bool builds = own && has(own->document, "command.createIndexes");
  if (worker && (builds || !own)) {
    ldx_mongo_progress_of_worker(session, collection, step->name, worker, &watched->progress);
  } else if (builds) {
    ldx_mongo_progress_of_client(session, l, own, &watched->progress);
  } else if (own) {
    from_command(session, own, &watched->progress);
  } else if (other) {
    watched->progress.started = true;
    if (other->process == ldx_mongo_process()) {
      ldx_mongo_set_phase(&watched->progress, "waiting for another build of this run");
      return;
    }
    ldx_mongo_set_phase(&watched->progress, "waiting for another build of the collection");
    ldx_mongo_who(watched->progress.blocker, sizeof watched->progress.blocker, other->document);
  } else if (ldx_mongo_find_transaction(session, collection, watched->progress.blocker,
                                        sizeof watched->progress.blocker) == LDX_HOLDING_SOMEBODY) {
    ldx_mongo_set_phase(&watched->progress, "waiting for the collection's lock");
  }
}

bool ldx_mongo_watch(ldx_session *session, ldx_watched *steps, size_t count, ldx_error *error) {
  if (!count) return true;
  ldx_mongo_look l;
  bool ok = ldx_mongo_take_look(session, &l, error);
  for (size_t i = 0; ok && i < count; i++) {
    steps[i].progress = (ldx_progress){0};
    watch_step(session, &l, &steps[i]);
  }
  ldx_mongo_activity_free(&l.all);
  return ok;
}
