/* cancel.c: what ends on the server what a session waits for. */
#include "aside.h"
#include "who.h"

static void end_operation(ldx_session *session, const bson_t *document) {
  bson_t command = BSON_INITIALIZER, reply;
  bson_iter_t opid;
  ldx_error ignored;
  if (!bson_iter_init_find(&opid, document, "opid")) return;
  BSON_APPEND_INT32(&command, "killOp", 1);
  bson_append_iter(&command, "op", -1, &opid);
  ldx_mongo_aside(session, "admin", &command, &reply, &ignored);
  bson_destroy(&reply);
  bson_destroy(&command);
}

/* Whether `worker` does what `own` waits for, begun by a session of this process that has lost its link since. */
static bool is_our_orphan(const ldx_session *session, const ldx_mongo_operation *own,
                          const ldx_mongo_operation *worker) {
  return worker->worker && worker->process == ldx_mongo_process() && worker->number != session->number &&
         *own->collection && *own->index &&
         ldx_mongo_operation_is_about(worker, session->database, own->collection, own->index);
}

/* The client's operation that a worker works for, which outlives its link; the worker's own where there is none. */
static const ldx_mongo_operation *beginner_of(const ldx_mongo_operation *worker, const ldx_mongo_activity *activity) {
  for (size_t i = 0; i < activity->count; i++)
    if (!activity->items[i].worker && activity->items[i].number == worker->number) return &activity->items[i];
  return worker;
}

/* The client's operation is ended, and takes the worker with it if it began the build. Never both: a 6.0.5 whose worker is
 * ended while the client's operation aborts it waits for ever, and keeps the unfinished index. */
void ldx_mongo_cancel(ldx_session *session) {
  ldx_mongo_activity activity;
  ldx_error ignored;
  atomic_store(&session->cancelled, true);
  ldx_mongo_look_around(session, true, &activity, &ignored);
  for (size_t i = 0; i < activity.count; i++) {
    const ldx_mongo_operation *own = &activity.items[i];
    if (own->worker || own->number != session->number) continue;
    end_operation(session, own->document);
    for (size_t j = 0; j < activity.count; j++)
      if (is_our_orphan(session, own, &activity.items[j]))
        end_operation(session, beginner_of(&activity.items[j], &activity)->document);
  }
  ldx_mongo_activity_free(&activity);
}
