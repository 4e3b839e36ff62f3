/* query.c: commands and transactions of scripts.
 *
 * A command is a document as the server takes it, on the target's database or the one that its field `$db` names. Each
 * document that it gives is a row; a command that makes no cursor gives its reply.
 */
#include <string.h>

#include "call.h"
#include "driver_parts.h"
#include "session.h"
#include "value.h"

/* What a result may take that is not asked for in batches. */
static const size_t most_bytes = (size_t)256 << 20;

typedef struct rows {
  ldx_context *context;
  size_t batch;         /* 0: all at once */
  ldx_arena *arena;     /* of the rows so far; of a batch NULL while there are none */
  ldx_value *documents; /* `room` of them */
  size_t count, room, bytes;
} rows;

static ldx_result *result_of(const rows *r, const char *command) {
  ldx_result *result = LDX_ARENA_NEW(r->arena, ldx_result, 1);
  result->column_count = 1;
  result->row_count = r->count;
  result->values = r->documents;
  result->command = command;
  result->affected = -1;
  return result;
}

static bool hand_over(rows *r, ldx_error *error) {
  ldx_arena *arena = r->arena;
  const ldx_result *result = result_of(r, "");
  r->arena = NULL;
  r->documents = NULL;
  r->count = r->room = 0;
  return ldx_context_rows(r->context, arena, result, error);
}

static bool add_row(const bson_t *document, void *state, ldx_error *error) {
  rows *r = state;
  r->bytes += document->len;
  if (!r->batch && r->bytes > most_bytes) {
    ldx_error_set(error, LDX_ERROR_USAGE, "the result is larger than %zu MB", most_bytes >> 20);
    ldx_error_hint(error,
                   "Read it with rows, or ask for fewer documents (limit), or fewer of their fields (projection).");
    return false;
  }
  if (!r->arena) r->arena = ldx_arena_new();
  if (r->count == r->room) {
    size_t room = r->room ? r->room * 2 : 64;
    ldx_value *documents = LDX_ARENA_NEW(r->arena, ldx_value, room);
    if (r->count) memcpy(documents, r->documents, r->count * sizeof *documents);
    r->documents = documents;
    r->room = room;
  }
  r->documents[r->count++] = ldx_mongo_document(r->arena, document);
  return !r->batch || r->count < r->batch || hand_over(r, error);
}

/* Splits off what is not the server's. False: it is no command. */
static bool read_command(ldx_arena *arena, const ldx_value *given, bson_t *command, const char **database,
                         ldx_error *error) {
  ldx_value rest = {.kind = LDX_VALUE_DOCUMENT};
  const char **names = LDX_ARENA_NEW(arena, const char *, given->count + 1);
  ldx_value *items = LDX_ARENA_NEW(arena, ldx_value, given->count + 1);
  for (size_t i = 0; i < given->count; i++) {
    if (!strcmp(given->names[i], "$db") && given->items[i].kind == LDX_VALUE_TEXT) {
      *database = given->items[i].text;
      continue;
    }
    names[rest.count] = given->names[i];
    items[rest.count++] = given->items[i];
  }
  rest.names = names;
  rest.items = items;
  if (!rest.count) return ldx_error_set(error, LDX_ERROR_USAGE, "the command is empty");
  return ldx_mongo_append(command, &rest, error);
}

/* All that a session that only reads lets through; a pipeline may end in writing. */
static bool only_reads(const bson_t *command) {
  static const char *const reading[] = {"aggregate",
                                        "buildInfo",
                                        "collStats",
                                        "connPoolStats",
                                        "connectionStatus",
                                        "count",
                                        "currentOp",
                                        "dataSize",
                                        "dbHash",
                                        "dbStats",
                                        "distinct",
                                        "explain",
                                        "find",
                                        "getCmdLineOpts",
                                        "getLog",
                                        "getParameter",
                                        "hello",
                                        "hostInfo",
                                        "isMaster",
                                        "listCollections",
                                        "listCommands",
                                        "listDatabases",
                                        "listIndexes",
                                        "listShards",
                                        "ping",
                                        "replSetGetConfig",
                                        "replSetGetStatus",
                                        "rolesInfo",
                                        "serverStatus",
                                        "top",
                                        "usersInfo",
                                        "whatsmyuri"};
  bson_iter_t iter, stages, stage;
  if (!bson_iter_init(&iter, command) || !bson_iter_next(&iter)) return true;
  bool known = false;
  for (size_t i = 0; i < sizeof reading / sizeof *reading; i++) known |= !strcmp(bson_iter_key(&iter), reading[i]);
  if (!known || !bson_iter_init_find(&iter, command, "pipeline")) return known;
  if (!BSON_ITER_HOLDS_ARRAY(&iter) || !bson_iter_recurse(&iter, &stages)) return true; /* the server will refuse it */
  while (bson_iter_next(&stages)) {
    if (!BSON_ITER_HOLDS_DOCUMENT(&stages) || !bson_iter_recurse(&stages, &stage)) continue;
    while (bson_iter_next(&stage))
      if (!strcmp(bson_iter_key(&stage), "$out") || !strcmp(bson_iter_key(&stage), "$merge")) return false;
  }
  return true;
}

static bool check_rights(const ldx_session *session, const bson_t *command, ldx_error *error) {
  if (!session->read_only || only_reads(command)) return true;
  bson_iter_t iter;
  bool named = bson_iter_init(&iter, command) && bson_iter_next(&iter);
  ldx_error_set(error, LDX_ERROR_READ_ONLY, "this connection only reads, and %s may write",
                named ? bson_iter_key(&iter) : "the command");
  ldx_error_hint(error, "Open the connection without read_only.");
  return false;
}

ldx_result *ldx_mongo_query(ldx_session *session, const ldx_statement *statement, ldx_context *context,
                            ldx_arena *arena, ldx_error *error) {
  const ldx_value *given = statement->command;
  if (!given || statement->parameter_count) {
    ldx_error_set(error, LDX_ERROR_USAGE,
                  given ? "commands of MongoDB have no parameters" : "a command of MongoDB is a document");
    return NULL;
  }
  bson_t command = BSON_INITIALIZER;
  const char *database = NULL, *name = given->count ? given->names[0] : "";
  rows r = {.context = context, .batch = statement->batch, .arena = statement->batch ? NULL : arena};
  session->context = context;
  bool ok = read_command(arena, given, &command, &database, error) && check_rights(session, &command, error) &&
            ldx_mongo_walk(session, database, &command, add_row, &r, error);
  session->context = NULL;
  bson_destroy(&command);
  if (statement->batch) {
    if (ok && r.arena) ok = hand_over(&r, error);
    ldx_arena_free(r.arena);
    r = (rows){.arena = arena};
  }
  return ok ? result_of(&r, ldx_arena_strdup(arena, name)) : NULL;
}

/* --- transactions --------------------------------------------------------------------------------------------------- */

static bool begin(ldx_session *session, ldx_error *error) {
  bson_error_t reason = {0};
  session->transaction = ldx_mongoc.client_start_session(session->client, NULL, &reason);
  if (session->transaction && ldx_mongoc.client_session_start_transaction(session->transaction, NULL, &reason))
    return true;
  ldx_mongo_error(session, &reason, NULL, error);
  return false;
}

bool ldx_mongo_transact(ldx_session *session, ldx_transition *transition, ldx_context *context, ldx_arena *arena,
                        ldx_error *error) {
  (void)context, (void)arena;
  ldx_transaction what = transition->what;
  if (transition->count || what == LDX_TRANSACTION_NEXT)
    return ldx_error_set(error, LDX_ERROR_USAGE, "a transaction of MongoDB is begun and ended by itself");
  if (what == LDX_TRANSACTION_BEGIN) {
    if (begin(session, error)) return true;
    if (session->transaction) ldx_mongoc.client_session_destroy(session->transaction);
    session->transaction = NULL;
    return false;
  }
  if (!session->transaction) return ldx_error_set(error, LDX_ERROR_USAGE, "there is no transaction");
  bool commits = what == LDX_TRANSACTION_COMMIT;
  bool ok = ldx_mongo_call_end(session, commits, commits ? error : NULL) || !commits;
  transition->committed = commits && ok;
  return ok;
}
