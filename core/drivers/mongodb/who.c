#include "who.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aside.h"
#include "base/buffer.h"
#include "codes.h"
#include "path.h"

static const char worker_prefix[] = "IndexBuildsCoordinator";

/* More than a server runs at a time; what is more than an answer holds is left out. */
enum { BATCH = 100000 };

static bson_t *operations_command(const ldx_session *session, bool all, bool ours) {
  bson_t *wanted = ours ? BCON_NEW("command.comment.process", BCON_INT64(ldx_mongo_process()))
                        : BCON_NEW("$or", "[", "{", "command.createIndexes", "{", "$exists", BCON_BOOL(true), "}", "}",
                                   "{", "command.comment.lunadex", "{", "$exists", BCON_BOOL(true), "}", "}", "]");
  /* On a router the shards' operations are asked for, which is what it does without localOps. A worker that waits, for the
   * votes of other members for one, counts as idle. */
  bson_t *command =
      BCON_NEW("aggregate", BCON_INT32(1), "pipeline", "[", "{", "$currentOp", "{", "allUsers", BCON_BOOL(all),
               "idleConnections", BCON_BOOL(true), "localOps", BCON_BOOL(!session->sharded), "}", "}", "{", "$match",
               BCON_DOCUMENT(wanted), "}", "]", "cursor", "{", "batchSize", BCON_INT32(BATCH), "}");
  bson_destroy(wanted);
  return command;
}

static bool ask(ldx_session *session, bool ours, bson_t *reply, ldx_error *error) {
  for (bool all = true;; all = false) {
    bson_t *command = operations_command(session, all, ours);
    bool ok = ldx_mongo_aside(session, "admin", command, reply, error);
    bson_destroy(command);
    if (ok || !all || !ldx_mongo_is(error, LDX_MONGO_CODE_UNAUTHORIZED)) return ok;
    bson_destroy(reply);
  }
}

static bool find_batch(const bson_t *reply, bson_iter_t *element) {
  return ldx_mongo_members_at(reply, "cursor.firstBatch", element);
}

static void read_operation(ldx_mongo_activity *activity, const bson_iter_t *element) {
  bson_t *document = &activity->documents[activity->count];
  if (!ldx_mongo_view(element, document)) return;
  ldx_mongo_operation_of(document, &activity->items[activity->count++]);
}

bool ldx_mongo_look_around(ldx_session *session, bool ours, ldx_mongo_activity *activity, ldx_error *error) {
  bson_iter_t element;
  size_t count = 0;
  activity->count = 0;
  activity->items = NULL;
  activity->documents = NULL;
  if (!ask(session, ours, &activity->reply, error)) return false;
  if (find_batch(&activity->reply, &element))
    while (bson_iter_next(&element)) count++;
  if (!count) return true;
  activity->items = calloc(count, sizeof *activity->items);
  activity->documents = aligned_alloc(_Alignof(bson_t), count * sizeof *activity->documents);
  if (!activity->items || !activity->documents) return ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
  if (find_batch(&activity->reply, &element))
    while (bson_iter_next(&element)) read_operation(activity, &element);
  return true;
}

void ldx_mongo_activity_free(ldx_mongo_activity *activity) {
  free(activity->items);
  free(activity->documents);
  bson_destroy(&activity->reply);
}

/* The collection that a command is about: of a time series, whose worker is at its buckets, itself. */
static const char *collection_at(const bson_t *document, const char *path) {
  const char *name = ldx_mongo_text_at(document, path), *series = ldx_mongo_series_of(name);
  return series ? series : name;
}

void ldx_mongo_operation_of(const bson_t *document, ldx_mongo_operation *operation) {
  const char *collection = collection_at(document, "command.createIndexes");
  *operation = (ldx_mongo_operation){
      .document = document,
      .description = ldx_mongo_text_at(document, "desc"),
      .space = ldx_mongo_text_at(document, "ns"),
      .collection = *collection ? collection : collection_at(document, "command.collMod"),
      .index = ldx_mongo_text_at(document, "command.indexes.0.name"),
      .message = ldx_mongo_text_at(document, "msg"),
      .done = ldx_mongo_number_at(document, "progress.done"),
      .total = ldx_mongo_number_at(document, "progress.total"),
  };
  operation->worker = !strncmp(operation->description, worker_prefix, sizeof worker_prefix - 1);
  operation->waits_for_lock = ldx_mongo_flag_at(document, "waitingForLock");
  operation->number = ldx_mongo_integer_at(document, "command.comment.lunadex");
  operation->process = ldx_mongo_integer_at(document, "command.comment.process");
}

/* The database: `$db` of the command, which is gone after a restart; or the first part of `ns`. */
static bool in_database(const ldx_mongo_operation *operation, const char *database) {
  const char *name = ldx_mongo_text_at(operation->document, "command.$db");
  if (*name) return !strcmp(name, database);
  size_t length = strlen(database);
  return !strncmp(operation->space, database, length) && operation->space[length] == '.';
}

static bool indexes_of(const ldx_mongo_operation *operation, bson_iter_t *element) {
  return ldx_mongo_members_at(operation->document, "command.indexes", element);
}

bool ldx_mongo_operation_is_about(const ldx_mongo_operation *operation, const char *database, const char *collection,
                                  const char *name) {
  bson_iter_t element;
  bson_t index;
  if (strcmp(operation->collection, collection) != 0) return false;
  if (!in_database(operation, database)) return false;
  if (!name) return true;
  if (!indexes_of(operation, &element)) return false;
  while (bson_iter_next(&element)) {
    const char *own = ldx_mongo_view(&element, &index) ? ldx_mongo_text_at(&index, "name") : "";
    if (*own && !strcmp(own, name)) return true;
  }
  return false;
}

static double share_done(const ldx_mongo_operation *operation) {
  return operation->total > 0 ? operation->done / operation->total : 0;
}

const ldx_mongo_operation *ldx_mongo_find_builder(const ldx_mongo_activity *activity, const char *database,
                                                  const char *collection, const char *name, int64_t but,
                                                  const ldx_mongo_operation **worker) {
  const ldx_mongo_operation *client = NULL, *at_it = NULL;
  for (size_t i = 0; i < activity->count; i++) {
    const ldx_mongo_operation *operation = &activity->items[i];
    if ((but && operation->number == but) || !ldx_mongo_operation_is_about(operation, database, collection, name))
      continue;
    if (operation->worker && (!at_it || share_done(operation) < share_done(at_it))) at_it = operation;
    if (!operation->worker && !client) client = operation;
  }
  if (worker) *worker = at_it;
  return client ? client : at_it;
}

int ldx_mongo_operation_indexes(const ldx_mongo_operation *operation) {
  return (int)ldx_mongo_count_at(operation->document, "command.indexes");
}

void ldx_mongo_phase(char *to, size_t size, const ldx_mongo_operation *operation) {
  static const char head[] = "Index Build: ";
  const char *words = operation->message;
  if (!strncmp(words, head, sizeof head - 1)) words += sizeof head - 1;
  const char *end = strstr(words, head);
  size_t length = end ? (size_t)(end - words) : strlen(words);
  while (length && words[length - 1] == ' ') length--;
  int indexes = ldx_mongo_operation_indexes(operation);
  char of[24] = "";
  if (indexes > 1) snprintf(of, sizeof of, " (%d indexes)", indexes);
  snprintf(to, size, "%.*s%s", (int)length, words, of);
}

void ldx_mongo_who(char *to, size_t size, const bson_t *document) {
  ldx_mongo_operation operation;
  ldx_mongo_operation_of(document, &operation);
  bson_iter_t iter;
  ldx_buffer b;
  if (operation.process == ldx_mongo_process()) {
    snprintf(to, size, "this run");
    return;
  }
  ldx_buffer_init(&b, NULL);
  const char *user = ldx_mongo_text_at(document, "effectiveUsers.0.user"),
             *client = ldx_mongo_text_at(document, "client");
  const char *application = ldx_mongo_text_at(document, "appName");
  if (*user) ldx_buffer_append(&b, user);
  if (*client) ldx_buffer_appendf(&b, "%s%s", *user ? "@" : "", client);
  if (*application) ldx_buffer_appendf(&b, "%s\"%s\"", b.length ? " " : "", application);
  if (!b.length) ldx_buffer_append(&b, operation.worker ? "the server, for a client that is gone" : "somebody");
  if (ldx_mongo_find(document, "opid", &iter)) {
    if (BSON_ITER_HOLDS_UTF8(&iter)) /* of a shard */
      ldx_buffer_appendf(&b, ", op %s", bson_iter_utf8(&iter, NULL));
    else
      ldx_buffer_appendf(&b, ", op %lld", (long long)bson_iter_as_int64(&iter));
  }
  double open = ldx_mongo_number_at(document, "transaction.timeOpenMicros");
  double microseconds = open > 0 ? open : ldx_mongo_number_at(document, "microsecs_running");
  if (open > 0) ldx_buffer_append(&b, ", in a transaction");
  if (microseconds > 0) {
    ldx_buffer_append(&b, ", since ");
    ldx_buffer_append_age(&b, microseconds / 1e6);
  }
  if (*operation.collection)
    ldx_buffer_appendf(&b, ": %s %s", *ldx_mongo_text_at(document, "command.collMod") ? "collMod" : "createIndexes",
                       operation.collection);
  snprintf(to, size, "%s", ldx_buffer_string(&b));
  ldx_buffer_free(&b);
}
