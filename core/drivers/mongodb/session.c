/* session.c: commands over one client.
 *
 * The server is chosen first and the command sent to it, so that "never sent" and "lost under way" are told apart, and a
 * cursor is read on where it was opened. `cancelled` is cleared when a command begins: a request that came before it was
 * meant for another one.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aside.h"
#include "call.h"
#include "collation.h"
#include "path.h"

/* The server that the session's commands go to: the primary, or what stands in for it. 0: none is to be had now. */
static uint32_t choose_server(ldx_session *session, ldx_error *error) {
  bson_error_t reason = {0};
  const mongoc_read_prefs_t *preferences = session->preferences;
  if (!session->client) {
    ldx_error_set(error, LDX_ERROR_CONNECT, "the connection to the server was given up");
    return 0;
  }
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

bool ldx_mongo_check_concern(const bson_t *reply, ldx_error *error) {
  bson_t concern;
  if (!ldx_mongo_document_at(reply, "writeConcernError", &concern)) return true;
  ldx_error_set(error, LDX_ERROR_LINK_LOST, "it was done, but not confirmed as its write concern asks: %.800s",
                ldx_mongo_text_at(&concern, "errmsg"));
  ldx_error_hint(
      error, "Another primary may not have it: look at what it was to change before it is done again. rs.status() says "
             "which members are missing.");
  if (error) snprintf(error->native, sizeof error->native, "%d", (int)ldx_mongo_integer_at(&concern, "code"));
  return false;
}

/* A write that failed for some documents is no success, though the command is. */
static bool check_writes(const ldx_session *session, const bson_t *reply, ldx_error *error) {
  bson_error_t reason = {.domain = MONGOC_ERROR_SERVER};
  if (!ldx_mongo_count_at(reply, "writeErrors")) return true;
  reason.code = (uint32_t)ldx_mongo_integer_at(reply, "writeErrors.0.code");
  bson_strncpy(reason.message, ldx_mongo_text_at(reply, "writeErrors.0.errmsg"), sizeof reason.message);
  ldx_mongo_error(session, &reason, NULL, error);
  return false;
}

static bool send_to(ldx_session *session, uint32_t server, const char *database, const bson_t *command, bson_t *reply,
                    ldx_error *error) {
  bson_t tagged, answer;
  bool ours = !bson_has_field(command, "comment");
  bson_copy_to(command, &tagged);
  if (ours) ldx_mongo_tag(session, &tagged);
  bool ok = ldx_mongo_call(session, server, database ? database : session->database, &tagged, ours, &answer, error) &&
            check_writes(session, &answer, error) && ldx_mongo_check_concern(&answer, error);
  bson_destroy(&tagged);
  if (reply)
    bson_steal(reply, &answer);
  else
    bson_destroy(&answer);
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

/* --- cursors ------------------------------------------------------------------------------------------------------------ */

typedef struct cursor {
  int64_t id;           /* 0: there is no more than this batch */
  const char *space;    /* "shop.users"; the reply's */
  bson_iter_t document; /* before the next one of the batch */
} cursor;

/* False: the reply holds no cursor. */
static bool read_cursor(const bson_t *reply, cursor *c) {
  bson_iter_t iter, fields;
  *c = (cursor){.space = ""};
  if (!bson_iter_init_find(&iter, reply, "cursor") || !bson_iter_recurse(&iter, &fields)) return false;
  while (bson_iter_next(&fields)) {
    const char *name = bson_iter_key(&fields);
    if (!strcmp(name, "id")) c->id = bson_iter_as_int64(&fields);
    if (!strcmp(name, "ns") && BSON_ITER_HOLDS_UTF8(&fields)) c->space = bson_iter_utf8(&fields, NULL);
    if (BSON_ITER_HOLDS_ARRAY(&fields)) bson_iter_recurse(&fields, &c->document);
  }
  return true;
}

static bool walk_batch(cursor *c, ldx_mongo_each each, void *state, ldx_error *error) {
  while (bson_iter_next(&c->document)) {
    bson_t document;
    uint32_t length;
    const uint8_t *bytes;
    if (!BSON_ITER_HOLDS_DOCUMENT(&c->document)) continue;
    bson_iter_document(&c->document, &length, &bytes);
    if (bson_init_static(&document, bytes, length) && !each(&document, state, error)) return false;
  }
  return true;
}

/* What every reply says of the cluster's time is no part of what the command gave. */
static bool walk_reply(const bson_t *reply, ldx_mongo_each each, void *state, ldx_error *error) {
  bson_t document = BSON_INITIALIZER;
  bson_copy_to_excluding_noinit(reply, &document, "$clusterTime", "operationTime", (char *)NULL);
  bool ok = each(&document, state, error);
  bson_destroy(&document);
  return ok;
}

/* The database and collection that a cursor is read on with. */
static void split(const char *space, char *database, size_t size, const char **collection) {
  size_t length = strcspn(space, ".");
  snprintf(database, size, "%.*s", (int)length, space);
  *collection = space[length] ? space + length + 1 : "";
}

static bool read_on(ldx_session *session, uint32_t server, const cursor *c, bson_t *reply, ldx_error *error) {
  char database[128]; /* the server takes 63 bytes */
  const char *collection;
  split(c->space, database, sizeof database, &collection);
  bson_t *command = BCON_NEW("getMore", BCON_INT64(c->id), "collection", BCON_UTF8(collection));
  bool ok = send_to(session, server, database, command, reply, error);
  bson_destroy(command);
  return ok;
}

/* Whoever stops half-way leaves nothing on the server. */
static void end_cursor(ldx_session *session, uint32_t server, const cursor *c) {
  char database[128];
  const char *collection;
  if (!c->id || !session->client) return;
  split(c->space, database, sizeof database, &collection);
  bson_t *command = BCON_NEW("killCursors", BCON_UTF8(collection), "cursors", "[", BCON_INT64(c->id), "]");
  send_to(session, server, database, command, NULL, NULL);
  bson_destroy(command);
}

bool ldx_mongo_walk(ldx_session *session, const char *database, const bson_t *command, ldx_mongo_each each, void *state,
                    ldx_error *error) {
  uint32_t server;
  bson_t reply;
  cursor c;
  atomic_store(&session->cancelled, false);
  bool ok = command_on(session, &server, database, command, &reply, error);
  if (ok && !read_cursor(&reply, &c)) {
    ok = walk_reply(&reply, each, state, error);
    bson_destroy(&reply);
    return ok;
  }
  while (ok) {
    ok = walk_batch(&c, each, state, error);
    if (!ok) end_cursor(session, server, &c);
    if (!ok || !c.id) break;
    bson_t next;
    ok = read_on(session, server, &c, &next, error);
    bson_destroy(&reply);
    bson_steal(&reply, &next);
    if (ok) read_cursor(&reply, &c);
  }
  bson_destroy(&reply);
  return ok;
}

bool ldx_mongo_run(ldx_session *session, ldx_context *context, const bson_t *command, bson_t *reply, ldx_error *error) {
  if (ldx_context_cancelled(context)) {
    if (reply) bson_init(reply);
    return ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
  }
  /* The watcher repeats a request to cancel until the command has ended. */
  ldx_context_running(context, session->number);
  bool ok = ldx_mongo_command(session, NULL, command, reply, error);
  ldx_context_running(context, 0);
  if (!ok && error->code == LDX_ERROR_CANCELLED && ldx_context_over_budget(context) && !ldx_context_cancelled(context))
    ldx_error_set(error, LDX_ERROR_LOCK_TIMEOUT, "the wait for other operations exceeded its budget");
  return ok;
}

const char *ldx_mongo_series_of(const char *name) {
  const size_t length = strlen(LDX_MONGO_BUCKETS);
  return strncmp(name, LDX_MONGO_BUCKETS, length) ? NULL : name + length;
}

bool ldx_mongo_alive(ldx_session *session) {
  return session->client != NULL;
}

void ldx_mongo_client_free(mongoc_client_t *client) {
  if (!client) return;
  /* libmongoc would end its logical sessions, and wait for the answer; the server does so by itself after a while. */
  ldx_mongoc.client_reset(client);
  ldx_mongoc.client_destroy(client);
}

void ldx_mongo_leave_transaction(ldx_session *session) {
  /* It would be aborted otherwise, and the answer waited for. A client that was left with a call has it for itself. */
  if (session->transaction && session->client) {
    ldx_mongoc.client_reset(session->client);
    ldx_mongoc.client_session_destroy(session->transaction);
  }
  session->transaction = NULL;
}

void ldx_mongo_close(ldx_session *session) {
  if (!session) return;
  ldx_mongo_collations_free(session->collations);
  ldx_mongo_leave_transaction(session);
  ldx_mongo_client_free(session->client);
  ldx_mongo_aside_close(session);
  ldx_mongoc.read_prefs_destroy(session->preferences);
  ldx_mongoc.uri_destroy(session->uri);
  pthread_mutex_destroy(&session->aside_mutex);
  ldx_secrets_free(&session->secrets);
  free(session->token);
  free(session->database);
  free(session);
}
