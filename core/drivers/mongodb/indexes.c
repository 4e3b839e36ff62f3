/* DESIGN
 *
 * Plain listIndexes shows an index under construction as if it were there, so it is asked with `includeIndexBuildInfo`. For
 * time-series collections that gives nothing at all (6.0), where every other collection has an index at least. They are
 * asked twice then: plainly for all, and with `includeBuildUUIDs`, which of them gives only what is ready. That an index on
 * what is measured is hidden is said of that on their buckets alone, which not everybody may ask for.
 */
#include "indexes.h"

#include <stdio.h>

#include "path.h"

typedef struct listing {
  ldx_mongo_each_index each;
  void *state;
  size_t count;
  bson_t all, ready, hidden; /* of a time-series collection, by name */
} listing;

/* An item: the bare index, or {spec: …} with the build that it is still in. */
static bool each_item(const bson_t *item, void *state, ldx_error *error) {
  (void)error;
  listing *l = state;
  bson_t spec;
  bool wrapped = ldx_mongo_document_at(item, "spec", &spec);
  l->each(wrapped ? &spec : item, !bson_has_field(item, "indexBuildInfo"), l->state);
  l->count++;
  return true;
}

static bool each_of_all(const bson_t *spec, void *state, ldx_error *error) {
  (void)error;
  BSON_APPEND_DOCUMENT(&((listing *)state)->all, ldx_mongo_text_at(spec, "name"), spec);
  return true;
}

static bool each_ready(const bson_t *spec, void *state, ldx_error *error) {
  (void)error;
  BSON_APPEND_BOOL(&((listing *)state)->ready, ldx_mongo_text_at(spec, "name"), true);
  return true;
}

static bool each_hidden(const bson_t *spec, void *state, ldx_error *error) {
  (void)error;
  if (ldx_mongo_flag_at(spec, "hidden"))
    BSON_APPEND_BOOL(&((listing *)state)->hidden, ldx_mongo_text_at(spec, "name"), true);
  return true;
}

static bool walk(ldx_session *session, const char *collection, const char *option, ldx_mongo_each each, listing *l,
                 ldx_error *error) {
  bson_t command = BSON_INITIALIZER;
  BSON_APPEND_UTF8(&command, "listIndexes", collection);
  if (option) BSON_APPEND_BOOL(&command, option, true);
  bool ok = ldx_mongo_walk(session, NULL, &command, each, l, error);
  bson_destroy(&command);
  return ok;
}

/* Without that right, or on a server that gives them otherwise, none is known to be. */
static bool find_hidden(ldx_session *session, const char *collection, listing *l, ldx_error *error) {
  char buckets[LDX_MONGO_LONGEST_NAME];
  snprintf(buckets, sizeof buckets, LDX_MONGO_BUCKETS "%s", collection);
  if (walk(session, buckets, NULL, each_hidden, l, error)) return true;
  if (ldx_error_retry(error->code) != LDX_RETRY_NEVER || error->code == LDX_ERROR_CANCELLED) return false;
  ldx_error_clear(error);
  return true;
}

static void tell_series(listing *l) {
  bson_iter_t iter, found;
  if (!bson_iter_init(&iter, &l->all)) return;
  while (bson_iter_next(&iter)) {
    bson_t spec, whole;
    const char *name = bson_iter_key(&iter);
    if (!ldx_mongo_view(&iter, &spec)) continue;
    bson_copy_to(&spec, &whole);
    if (bson_iter_init_find(&found, &l->hidden, name) && !bson_has_field(&spec, "hidden"))
      BSON_APPEND_BOOL(&whole, "hidden", true);
    l->each(&whole, bson_iter_init_find(&found, &l->ready, name), l->state);
    bson_destroy(&whole);
  }
}

bool ldx_mongo_list_indexes(ldx_session *session, const char *collection, ldx_mongo_each_index each, void *state,
                            ldx_error *error) {
  listing l = {.each = each, .state = state};
  if (!walk(session, collection, "includeIndexBuildInfo", each_item, &l, error)) return false;
  if (l.count) return true;
  bson_init(&l.all);
  bson_init(&l.ready);
  bson_init(&l.hidden);
  bool ok = walk(session, collection, NULL, each_of_all, &l, error) &&
            (bson_empty(&l.all) || (walk(session, collection, "includeBuildUUIDs", each_ready, &l, error) &&
                                    find_hidden(session, collection, &l, error)));
  if (ok) tell_series(&l);
  bson_destroy(&l.all);
  bson_destroy(&l.ready);
  bson_destroy(&l.hidden);
  return ok;
}
