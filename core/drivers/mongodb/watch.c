/* watch.c: how far running steps are.
 *
 * A build shows as two operations: the client's, which only waits and carries our number in its comment, and that of a
 * worker of the server, which has the progress. The worker's carries the comment of whoever asked first; after a restart
 * it has none, so it is found by collection and index. `server_pid` is our number.
 *
 * `started` is false only while a lock is waited for: that is what the budget is for. A build that is queued behind others
 * of the server has begun for us: those others take as long as they take.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "driver_parts.h"
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

/* --- who is in the way -------------------------------------------------------------------------------------------------- */

/* The 16 bytes of `7d0c…-…`, which ends at a quotation mark, or sooner. */
static bool read_uuid(const char *from, uint8_t *id) {
  size_t digits = 0;
  memset(id, 0, 16);
  for (const char *p = from; digits < 32 && (isxdigit((unsigned char)*p) || *p == '-'); p++) {
    if (*p == '-') continue;
    int digit = isdigit((unsigned char)*p) ? *p - '0' : tolower((unsigned char)*p) - 'a' + 10;
    id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
    digits++;
  }
  return digits == 32;
}

/* The operation of a lock's holder: by its connection, or, of a transaction that does nothing, by its logical session. */
static bool describe_holder(ldx_session *session, const bson_t *holder, ldx_progress *progress) {
  static const char uuid[] = "UUID(\"";
  bson_iter_t opid;
  bson_t match = BSON_INITIALIZER, reply;
  ldx_error ignored;
  uint8_t id[16];
  const char *debug = strstr(ldx_mongo_text_at(holder, "debugInfo"), uuid);
  bool found = false;
  if (ldx_mongo_find(holder, "clientInfo.opid", &opid)) {
    bson_append_iter(&match, "opid", -1, &opid);
  } else if (debug && read_uuid(debug + strlen(uuid), id)) {
    bson_append_binary(&match, "lsid.id", -1, BSON_SUBTYPE_UUID, id, sizeof id);
  }
  bson_t *command =
      BCON_NEW("aggregate", BCON_INT32(1), "pipeline", "[", "{", "$currentOp", "{", "allUsers", BCON_BOOL(true),
               "idleSessions", BCON_BOOL(true), "localOps", BCON_BOOL(true), "}", "}", "{", "$match",
               BCON_DOCUMENT(&match), "}", "{", "$limit", BCON_INT32(1), "}", "]", "cursor", "{", "}");
  if (!bson_empty(&match) && ldx_mongo_aside(session, "admin", command, &reply, &ignored)) {
    bson_t operation;
    found = ldx_mongo_document_at(&reply, "cursor.firstBatch.0", &operation);
    if (found) ldx_mongo_who(progress->blocker, sizeof progress->blocker, &operation);
    bson_destroy(&reply);
  } else if (!bson_empty(&match)) {
    bson_destroy(&reply);
  }
  bson_destroy(command);
  bson_destroy(&match);
  return found;
}

/* Whether an operation is among those that wait for a lock. */
static bool is_waiting(const bson_t *lock, int64_t opid) {
  bson_iter_t each;
  bson_t waiter;
  if (!ldx_mongo_members_at(lock, "pending", &each)) return false;
  while (bson_iter_next(&each))
    if (ldx_mongo_view(&each, &waiter) && ldx_mongo_integer_at(&waiter, "clientInfo.opid") == opid) return true;
  return false;
}

/* Whoever has the lock that the operation waits for. */
static void find_holder(ldx_session *session, const ldx_mongo_operation *operation, ldx_progress *progress) {
  bson_t *command = BCON_NEW("lockInfo", BCON_INT32(1)), reply;
  bson_iter_t each;
  int64_t opid = ldx_mongo_integer_at(operation->document, "opid");
  ldx_error ignored;
  bool found = false;
  snprintf(progress->blocker, sizeof progress->blocker, "an operation that the server does not show to this user");
  progress->blocker_pid = -1;
  if (opid && ldx_mongo_aside(session, "admin", command, &reply, &ignored)) {
    if (ldx_mongo_members_at(&reply, "lockInfo", &each))
      while (!found && bson_iter_next(&each)) {
        bson_t lock, holder;
        if (ldx_mongo_view(&each, &lock) && is_waiting(&lock, opid) &&
            ldx_mongo_document_at(&lock, "granted.0", &holder))
          found = describe_holder(session, &holder, progress);
      }
    bson_destroy(&reply);
  }
  bson_destroy(command);
}

/* --- one step ----------------------------------------------------------------------------------------------------------- */

static void set_phase(ldx_progress *progress, const char *phase) {
  snprintf(progress->phase, sizeof progress->phase, "%s", phase);
}

static void from_worker(ldx_session *session, const ldx_step *step, const ldx_mongo_operation *worker,
                        ldx_progress *progress) {
  progress->started = true;
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
    set_phase(progress, "waiting for the collection's lock");
    find_holder(session, own, progress);
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
    set_phase(progress, "waiting for the collection's lock");
    find_holder(session, own, progress);
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
