#include "shard.h"

#include <string.h>

#include "path.h"
#include "spec.h"

typedef struct reading {
  ldx_session *session;
  ldx_mongo_each_shard_key each;
  void *state;
} reading;

/* The field of a time series that a field of its buckets stands for: `meta.k` is that of its metadata, and the earliest time
 * of a bucket its time. */
static const char *field_of(ldx_arena *arena, const bson_t *entry, const char *name) {
  static const char meta[] = "meta", time[] = "control.min.";
  const char *metadata = ldx_mongo_text_at(entry, "timeseriesFields.metaField");
  const char *field = ldx_mongo_text_at(entry, "timeseriesFields.timeField");
  size_t length = strlen(meta);
  if (*metadata && !strncmp(name, meta, length) && (!name[length] || name[length] == '.'))
    return ldx_arena_printf(arena, "%s%s", metadata, name + length);
  return *field && !strncmp(name, time, strlen(time)) && !strcmp(name + strlen(time), field) ? field : name;
}

static bool read_collection(const bson_t *entry, void *state, ldx_error *error) {
  (void)error;
  reading *r = state;
  bson_t key = BSON_INITIALIZER;
  bson_iter_t part;
  ldx_arena *arena = ldx_arena_new();
  const char *name = ldx_mongo_text_at(entry, "_id") + strlen(r->session->database) + 1;
  const char *series = ldx_mongo_series_of(name);
  if (!ldx_mongo_flag_at(entry, "unsplittable") && ldx_mongo_members_at(entry, "key", &part)) {
    while (bson_iter_next(&part)) bson_append_iter(&key, field_of(arena, entry, bson_iter_key(&part)), -1, &part);
    r->each(series ? series : name, &key, r->state);
  }
  bson_destroy(&key);
  ldx_arena_free(arena);
  return true;
}

/* The names of the database's collections, or of one, as the cluster has them. */
static bson_t *names(ldx_arena *arena, const char *database, const char *collection) {
  if (!collection) /* "/" follows "." */
    return BCON_NEW("$gte", BCON_UTF8(ldx_arena_printf(arena, "%s.", database)), "$lt",
                    BCON_UTF8(ldx_arena_printf(arena, "%s/", database)));
  return BCON_NEW("$in", "[", BCON_UTF8(ldx_arena_printf(arena, "%s.%s", database, collection)),
                  BCON_UTF8(ldx_arena_printf(arena, "%s." LDX_MONGO_BUCKETS "%s", database, collection)), "]");
}

bool ldx_mongo_shard_keys(ldx_session *session, const char *collection, ldx_mongo_each_shard_key each, void *state,
                          ldx_error *error) {
  reading r = {session, each, state};
  ldx_arena *arena = ldx_arena_new();
  bson_t *which = names(arena, session->database, collection);
  bson_t *command = BCON_NEW("find", BCON_UTF8("collections"), "filter", "{", "_id", BCON_DOCUMENT(which), "dropped",
                             "{", "$ne", BCON_BOOL(true), "}", "}", "projection", "{", "key", BCON_INT32(1),
                             "unsplittable", BCON_INT32(1), "timeseriesFields", BCON_INT32(1), "}");
  bool ok = ldx_mongo_walk(session, "config", command, read_collection, &r, error);
  bson_destroy(command);
  bson_destroy(which);
  ldx_arena_free(arena);
  return ok;
}

/* --- the indexes that stand for it -------------------------------------------------------------------------------------- */

/* Whether the index begins with the shard key and holds every document; a hidden one is of no use to the balancer. */
static bool carries(const ldx_definition *d, const ldx_definition *shard_key) {
  const char *collation = ldx_mongo_option(&d->traits, "collation");
  if (ldx_mongo_option(&d->storage, "hidden")) return false;
  if (d->predicate || ldx_mongo_option(&d->traits, "sparse") || d->key_count < shard_key->key_count) return false;
  if (collation && strcmp(collation, LDX_MONGO_SIMPLE) != 0) return false;
  for (size_t i = 0; i < shard_key->key_count; i++) {
    const ldx_key *a = &d->keys[i], *b = &shard_key->keys[i];
    if (strcmp(a->column, b->column) != 0 || a->descending != b->descending) return false;
    if (a->opclass && b->opclass ? strcmp(a->opclass, b->opclass) != 0 : a->opclass != b->opclass) return false;
  }
  return true;
}

void ldx_mongo_find_shard_indexes(ldx_arena *arena, const bson_t *key, const ldx_definition *const *indexes,
                                  size_t count, bool *needed) {
  bson_t spec = BSON_INITIALIZER;
  ldx_definition shard_key = {0};
  bool exact = false;
  BSON_APPEND_DOCUMENT(&spec, "key", key);
  ldx_mongo_definition_of(arena, &spec, NULL, &shard_key);
  bson_destroy(&spec);
  for (size_t i = 0; i < count; i++) {
    needed[i] = carries(indexes[i], &shard_key);
    if (needed[i] && indexes[i]->key_count == shard_key.key_count) exact = true;
  }
  for (size_t i = 0; exact && i < count; i++)
    if (indexes[i]->key_count != shard_key.key_count) needed[i] = false;
}
