/* session.c: commands over one client.
 *
 * The server is chosen first and the command sent to it, so that "never sent" and "lost under way" are told apart, and a
 * cursor is read on where it was opened. `cancelled` is cleared when a command begins: a request that came before it was
 * meant for another one.
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "collation.h"

/* The server that the session's commands go to: the primary, or what stands in for it. 0: none is to be had now. */
static uint32_t choose_server(ldx_session *session, ldx_error *error) {
  bson_error_t reason = {0};
  const mongoc_read_prefs_t *preferences = session->preferences;
  mongoc_server_description_t *server =
      ldx_mongoc.client_select_server(session->client, !preferences, preferences, &reason);
  if (!server) {
    ldx_mongo_error(session, &reason, NULL, error);
    return 0;
  }
  uint32_t id = ldx_mongoc.server_description_id(server);
  ldx_mongoc.server_description_destroy(server);
  return id;
}

static bool send_to(ldx_session *session, uint32_t server, const char *database, const bson_t *command, bson_t *reply,
                    ldx_error *error) {
  bson_error_t reason = {0};
  bson_t options = BSON_INITIALIZER, answer;
  BSON_APPEND_INT32(&options, "serverId", (int32_t)server);
  bool ok = ldx_mongoc.client_command_with_opts(session->client, database ? database : session->database, command,
                                                session->preferences, &options, &answer, &reason);
  if (!ok) ldx_mongo_error(session, &reason, &answer, error);
  if (reply)
    bson_steal(reply, &answer);
  else
    bson_destroy(&answer);
  bson_destroy(&options);
  return ok;
}

static bool command_on(ldx_session *session, uint32_t *server, const char *database, const bson_t *command,
                       bson_t *reply, ldx_error *error) {
  *server = choose_server(session, error);
  if (*server) return send_to(session, *server, database, command, reply, error);
  if (reply) bson_init(reply);
  return false;
}

bool ldx_mongo_command(ldx_session *session, const char *database, const bson_t *command, bson_t *reply,
                       ldx_error *error) {
  uint32_t server;
  atomic_store(&session->cancelled, false);
  return command_on(session, &server, database, command, reply, error);
}

void ldx_mongo_tag(const ldx_session *session, bson_t *command) {
  bson_t comment;
  bson_append_document_begin(command, "comment", -1, &comment);
  BSON_APPEND_INT64(&comment, "lunadex", session->number);
  BSON_APPEND_INT64(&comment, "process", ldx_mongo_process());
  bson_append_document_end(command, &comment);
}

bool ldx_mongo_walk(ldx_session *session, const char *database, const bson_t *command, ldx_mongo_each each, void *state,
                    ldx_error *error) {
  uint32_t server;
  bson_t reply, options = BSON_INITIALIZER, tagged;
  bson_copy_to(command, &tagged);
  if (!bson_has_field(command, "comment")) ldx_mongo_tag(session, &tagged);
  atomic_store(&session->cancelled, false);
  bool ok = command_on(session, &server, database, &tagged, &reply, error);
  bson_destroy(&tagged);
  if (!ok || !bson_has_field(&reply, "cursor")) {
    ok = ok && each(&reply, state, error);
    bson_destroy(&reply);
    bson_destroy(&options);
    return ok;
  }
  BSON_APPEND_INT32(&options, "serverId", (int32_t)server);
  /* The cursor takes the reply over. */
  mongoc_cursor_t *cursor = ldx_mongoc.cursor_new_from_command_reply_with_opts(session->client, &reply, &options);
  const bson_t *document, *answer = NULL;
  bson_error_t reason = {0};
  while (ok && ldx_mongoc.cursor_next(cursor, &document)) ok = each(document, state, error);
  if (ok && ldx_mongoc.cursor_error_document(cursor, &reason, &answer)) {
    ldx_mongo_error(session, &reason, answer, error);
    ok = false;
  }
  ldx_mongoc.cursor_destroy(cursor);
  bson_destroy(&options);
  return ok;
}

bool ldx_mongo_run(ldx_session *session, ldx_context *context, const bson_t *command, bson_t *reply, ldx_error *error) {
  if (ldx_context_cancelled(context)) {
    if (reply) bson_init(reply);
    return ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
  }
  uint32_t server;
  bson_t tagged;
  bson_copy_to(command, &tagged);
  ldx_mongo_tag(session, &tagged);
  atomic_store(&session->cancelled, false);
  /* The watcher repeats a request to cancel until the command has ended. */
  ldx_context_running(context, session->number);
  bool ok = command_on(session, &server, NULL, &tagged, reply, error);
  ldx_context_running(context, 0);
  bson_destroy(&tagged);
  if (!ok && error->code == LDX_ERROR_CANCELLED && ldx_context_over_budget(context) && !ldx_context_cancelled(context))
    ldx_error_set(error, LDX_ERROR_LOCK_TIMEOUT, "the wait for other operations exceeded its budget");
  return ok;
}

bool ldx_mongo_alive(ldx_session *session) {
  return session->client != NULL;
}

void ldx_mongo_close(ldx_session *session) {
  if (!session) return;
  ldx_mongo_collations_free(session->collations);
  ldx_mongoc.client_destroy(session->client);
  ldx_mongoc.client_destroy(session->canceller);
  ldx_mongoc.read_prefs_destroy(session->preferences);
  ldx_mongoc.uri_destroy(session->uri);
  pthread_mutex_destroy(&session->cancel_mutex);
  ldx_secrets_free(&session->secrets);
  free(session->token);
  free(session->database);
  free(session);
}
