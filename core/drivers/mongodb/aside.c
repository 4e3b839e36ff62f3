#include "aside.h"

static const double longest_timeout = 5;

double ldx_mongo_aside_timeout(const ldx_session *session) {
  return session->patience / 4 < longest_timeout ? session->patience / 4 : longest_timeout;
}

/* The mutex is held. NULL: out of memory. */
static mongoc_client_t *second_client(ldx_session *session) {
  if (session->aside) return session->aside;
  mongoc_uri_t *uri = ldx_mongoc.uri_copy(session->uri);
  int32_t milliseconds = (int32_t)(ldx_mongo_aside_timeout(session) * 1000);
  ldx_mongoc.uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, milliseconds);
  session->aside = ldx_mongoc.client_new_from_uri(uri);
  if (session->aside) ldx_mongoc.client_set_error_api(session->aside, MONGOC_ERROR_API_VERSION_2);
  ldx_mongoc.uri_destroy(uri);
  return session->aside;
}

void ldx_mongo_aside_close(ldx_session *session) {
  ldx_mongo_client_free(session->aside);
  session->aside = NULL;
}

bool ldx_mongo_aside(ldx_session *session, const char *database, const bson_t *command, bson_t *reply,
                     ldx_error *error) {
  bson_error_t reason = {0};
  bool ok = false;
  pthread_mutex_lock(&session->aside_mutex);
  mongoc_client_t *client = second_client(session);
  if (client) {
    ok = ldx_mongoc.client_command_simple(client, database ? database : session->database, command,
                                          session->preferences, reply, &reason);
    if (!ok) ldx_mongo_error(session, &reason, reply, error);
  } else {
    bson_init(reply);
    ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
  }
  pthread_mutex_unlock(&session->aside_mutex);
  return ok && ldx_mongo_check_concern(reply, error);
}
