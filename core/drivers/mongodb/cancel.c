/* cancel.c: ends on the server what a session's thread waits for. */
#include "session.h"

enum { MOST_OPERATIONS = 16, TIMEOUT_MS = 5000 };

static mongoc_client_t *canceller(ldx_session *session) {
  if (session->canceller) return session->canceller;
  mongoc_uri_t *uri = mongoc_uri_copy(session->uri);
  mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, TIMEOUT_MS);
  session->canceller = mongoc_client_new_from_uri(uri);
  mongoc_uri_destroy(uri);
  return session->canceller;
}

/* The operations of that number, which are the commands of one session; $currentOp shows it only our own user's. */
static int find(mongoc_client_t *client, const mongoc_read_prefs_t *preferences, int64_t number, bson_value_t *ids) {
  bson_t *command =
      BCON_NEW("aggregate", BCON_INT32(1), "pipeline", "[", "{", "$currentOp", "{", "}", "}", "{", "$match", "{",
               "command.comment.lunadex", BCON_INT64(number), "}", "}", "]", "cursor", "{", "}");
  bson_t reply;
  bson_iter_t iter, batch, element;
  int count = 0;
  if (mongoc_client_command_simple(client, "admin", command, preferences, &reply, NULL) &&
      bson_iter_init(&iter, &reply) && bson_iter_find_descendant(&iter, "cursor.firstBatch", &batch) &&
      bson_iter_recurse(&batch, &element)) {
    while (count < MOST_OPERATIONS && bson_iter_next(&element)) {
      bson_iter_t operation;
      if (bson_iter_recurse(&element, &operation) && bson_iter_find(&operation, "opid"))
        bson_value_copy(bson_iter_value(&operation), &ids[count++]);
    }
  }
  bson_destroy(&reply);
  bson_destroy(command);
  return count;
}

void ldx_mongo_cancel(ldx_session *session) {
  atomic_store(&session->cancelled, true);
  pthread_mutex_lock(&session->cancel_mutex);
  mongoc_client_t *client = canceller(session);
  bson_value_t ids[MOST_OPERATIONS];
  int count = client ? find(client, session->preferences, session->number, ids) : 0;
  for (int i = 0; i < count; i++) {
    bson_t command = BSON_INITIALIZER;
    BSON_APPEND_INT32(&command, "killOp", 1);
    BSON_APPEND_VALUE(&command, "op", &ids[i]);
    mongoc_client_command_simple(client, "admin", &command, session->preferences, NULL, NULL);
    bson_destroy(&command);
    bson_value_destroy(&ids[i]);
  }
  pthread_mutex_unlock(&session->cancel_mutex);
}
