#include "builders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "who.h"

bool ldx_mongo_unknown_then(ldx_error *error) {
  if (ldx_error_retry(error->code) == LDX_RETRY_VERIFY || ldx_error_retry(error->code) == LDX_RETRY_RECONNECT ||
      error->code == LDX_ERROR_CANCELLED)
    return false;
  ldx_error_clear(error);
  return true;
}

enum { MOST_OPERATIONS = 256 };

typedef struct operations {
  bson_t reply, documents[MOST_OPERATIONS];
  ldx_mongo_operation items[MOST_OPERATIONS];
  size_t count;
} operations;

/* The server itself is at every unfinished index, whoever asked for it and whether he is still there. */
static void tell_builder(const ldx_session *session, const operations *all, ldx_measure *item) {
  const ldx_mongo_operation *worker = NULL, *client = NULL;
  for (size_t i = 0; i < all->count; i++) {
    const ldx_mongo_operation *operation = &all->items[i];
    if (!ldx_mongo_operation_is_about(operation, session->database, item->relation->name.name, item->live->name))
      continue;
    if (operation->worker)
      worker = operation;
    else
      client = operation;
  }
  item->being_built = true;
  if (client || worker) ldx_mongo_who(item->builder, sizeof item->builder, (client ? client : worker)->document);
  char *colon = strstr(item->builder, ": ");
  if (colon) *colon = '\0'; /* how far matters more than what it said */
  if (!item->builder[0]) snprintf(item->builder, sizeof item->builder, "the server");
  size_t length = strlen(item->builder);
  if (worker && worker->total > 0)
    snprintf(item->builder + length, sizeof item->builder - length, ", %.0f %%", 100 * worker->done / worker->total);
}

bool ldx_mongo_find_builders(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error) {
  bool any = false, ok = true;
  for (size_t i = 0; i < count; i++) any |= items[i].live && !items[i].live->valid;
  if (!any) return true;
  operations *all = calloc(1, sizeof *all);
  if (!all) return ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
  if (ldx_mongo_operations(session, &all->reply, error))
    all->count = ldx_mongo_operations_of(&all->reply, all->documents, all->items, MOST_OPERATIONS);
  else
    ok = ldx_mongo_unknown_then(error);
  for (size_t i = 0; ok && i < count; i++)
    if (items[i].live && !items[i].live->valid) tell_builder(session, all, &items[i]);
  bson_destroy(&all->reply);
  free(all);
  return ok;
}
