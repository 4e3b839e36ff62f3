/* cancel.c: a session's second client, which never waits for long; and what ends on the server what the first one waits
 * for.
 */
#include "driver_parts.h"
#include "path.h"
#include "session.h"
#include "who.h"

static const double longest_timeout = 5;

double ldx_mongo_aside_timeout(const ldx_session *session) {
  return session->patience / 4 < longest_timeout ? session->patience / 4 : longest_timeout;
}

/* The mutex is held. NULL: out of memory. */
static mongoc_client_t *second_client(ldx_session *session) {
  if (session->canceller) return session->canceller;
  mongoc_uri_t *uri = ldx_mongoc.uri_copy(session->uri);
  int32_t milliseconds = (int32_t)(ldx_mongo_aside_timeout(session) * 1000);
  ldx_mongoc.uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, milliseconds);
  session->canceller = ldx_mongoc.client_new_from_uri(uri);
  if (session->canceller) ldx_mongoc.client_set_error_api(session->canceller, MONGOC_ERROR_API_VERSION_2);
  ldx_mongoc.uri_destroy(uri);
  return session->canceller;
}

bool ldx_mongo_aside(ldx_session *session, const char *database, const bson_t *command, bson_t *reply,
                     ldx_error *error) {
  bson_error_t reason = {0};
  bool ok = false;
  pthread_mutex_lock(&session->cancel_mutex);
  mongoc_client_t *client = second_client(session);
  if (client) {
    ok = ldx_mongoc.client_command_simple(client, database ? database : session->database, command,
                                          session->preferences, reply, &reason);
    if (!ok) ldx_mongo_error(session, &reason, reply, error);
  } else {
    bson_init(reply);
    ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
  }
  pthread_mutex_unlock(&session->cancel_mutex);
  /* Done by one member, and perhaps by no other: if that one is lost, it never was. */
  const char *message = ok ? ldx_mongo_text_at(reply, "writeConcernError.errmsg") : "";
  if (*message) {
    ok = ldx_error_set(error, LDX_ERROR_LINK_LOST, "no majority of the members confirmed it: %.800s", message);
    ldx_error_hint(error, "It takes most members of the replica set, of those that vote, with the data; rs.status() "
                          "says which are missing.");
  }
  return ok;
}

/* --- cancelling ---------------------------------------------------------------------------------------------------------- */

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
