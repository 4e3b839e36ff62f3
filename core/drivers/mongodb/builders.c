#include "builders.h"

#include <stdio.h>
#include <string.h>

#include "who.h"

bool ldx_mongo_unknown_then(ldx_error *error) {
  if (ldx_error_retry(error->code) == LDX_RETRY_VERIFY || ldx_error_retry(error->code) == LDX_RETRY_RECONNECT ||
      error->code == LDX_ERROR_CANCELLED)
    return false;
  ldx_error_clear(error);
  return true;
}

/* The server itself is at every unfinished index, whoever asked for it and whether he is still there. */
static void tell_builder(const ldx_session *session, const ldx_mongo_activity *all, ldx_measure *item) {
  const ldx_mongo_operation *worker,
      *builder =
          ldx_mongo_find_builder(all, session->database, item->relation->name.name, item->live->name, 0, &worker);
  item->being_built = true;
  if (builder) ldx_mongo_who(item->builder, sizeof item->builder, builder->document);
  char *colon = strstr(item->builder, ": ");
  if (colon) *colon = '\0'; /* how far matters more than what it said */
  if (!item->builder[0]) snprintf(item->builder, sizeof item->builder, "the server");
  size_t length = strlen(item->builder);
  if (worker && worker->total > 0)
    snprintf(item->builder + length, sizeof item->builder - length, ", %.0f %%", 100 * worker->done / worker->total);
}

bool ldx_mongo_tell_builders(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error) {
  bool any = false, ok = true;
  for (size_t i = 0; i < count; i++) any |= items[i].live && !items[i].live->valid;
  if (!any) return true;
  ldx_mongo_activity all;
  if (!ldx_mongo_look_around(session, false, &all, error)) ok = ldx_mongo_unknown_then(error);
  for (size_t i = 0; ok && i < count; i++)
    if (items[i].live && !items[i].live->valid) tell_builder(session, &all, &items[i]);
  ldx_mongo_activity_free(&all);
  return ok;
}
