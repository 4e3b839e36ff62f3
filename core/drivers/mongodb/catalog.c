/* DESIGN
 *
 * $listCatalog gives every index of a database in one answer, with the server's word on which are ready; it asks for more
 * rights than most users have, and a router gives it once per shard. Else the collections are listed, and then the indexes
 * of each (indexes.h). Time-series collections are always asked by name, since what the catalog has of them are the indexes
 * of their buckets.
 */
#include "catalog.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "indexes.h"
#include "json.h"
#include "model/catalog.h"
#include "model/marks.h"
#include "path.h"
#include "shard.h"
#include "spec.h"

typedef struct work {
  ldx_session *session;
  ldx_catalog *catalog;
  ldx_arena *arena;
  ldx_relation *relation; /* the one that indexes are read for */
  bool may_be_sharded;    /* not unless the server has a list of what is */
  ldx_marks read;         /* the indexes that there are, by what they were read from: how many there were then */
  struct buckets {        /* of time-series collections, which $listCatalog knows the options of by these */
    const char *name, *options, *collation;
    struct buckets *next;
  } * buckets;
} work;

/* --- relations ------------------------------------------------------------------------------------------------------------ */

/* Ours, the server's and the drivers': a registry cannot name them either (check.c). */
static bool is_left_out(const char *name) {
  return !strncmp(name, LDX_MONGO_OWN, strlen(LDX_MONGO_OWN)) || !strncmp(name, "system.", 7) ||
         !strncmp(name, LDX_MONGO_ENCRYPTED, strlen(LDX_MONGO_ENCRYPTED));
}

/* As createCollection takes them, as far as they matter to indexes; NULL: there are none. That buckets are clustered goes
 * without saying. */
static const char *options_text(ldx_arena *arena, const bson_t *options) {
  static const char *const kept[] = {"capped",         "size",           "max", "timeseries", "expireAfterSeconds",
                                     "clusteredIndex", "encryptedFields"};
  bson_t picked = BSON_INITIALIZER, collation;
  bson_iter_t iter;
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    if (bson_iter_init_find(&iter, options, kept[i]) && (i == 0 || !BSON_ITER_HOLDS_BOOL(&iter)))
      bson_append_iter(&picked, kept[i], -1, &iter);
  if (ldx_mongo_document_at(options, "collation", &collation)) {
    bson_t form = BSON_INITIALIZER;
    bson_copy_to_excluding_noinit(&collation, &form, "version", NULL);
    BSON_APPEND_DOCUMENT(&picked, "collation", &form);
    bson_destroy(&form);
  }
  const char *text = bson_empty(&picked) ? NULL : ldx_mongo_json(arena, &picked);
  bson_destroy(&picked);
  return text;
}

static ldx_strings encrypted_paths(ldx_arena *arena, const bson_t *options) {
  bson_iter_t member;
  bson_t field;
  ldx_strings paths = {0};
  const char **items = LDX_ARENA_NEW(arena, const char *, ldx_mongo_count_at(options, "encryptedFields.fields") + 1);
  if (ldx_mongo_members_at(options, "encryptedFields.fields", &member))
    while (bson_iter_next(&member))
      if (ldx_mongo_view(&member, &field))
        items[paths.count++] = ldx_arena_strdup(arena, ldx_mongo_text_at(&field, "path"));
  paths.items = items;
  return paths;
}

static ldx_relation *add_relation(work *w, const char *name, const char *type, const bson_t *options) {
  bson_t collation;
  const char *copy = ldx_arena_strdup(w->arena, name);
  ldx_relation *relation = ldx_catalog_add_relation(w->catalog, (ldx_name){NULL, copy}, 0);
  relation->display = copy;
  relation->kind = !strcmp(type, "view") ? 'v' : !strcmp(type, "timeseries") ? 't' : 'c';
  relation->rows = relation->bytes = -1;
  if (!bson_empty(options)) {
    if (ldx_mongo_document_at(options, "collation", &collation))
      relation->collation = ldx_mongo_collation_form(w->arena, &collation);
    relation->capped = ldx_mongo_flag_at(options, "capped");
    relation->options = options_text(w->arena, options);
    if (bson_has_field(options, "encryptedFields")) relation->encrypted = encrypted_paths(w->arena, options);
  }
  return relation;
}

/* --- indexes --------------------------------------------------------------------------------------------------------------- */

static bool is_on_id(const ldx_definition *definition) {
  return definition->key_count == 1 && !strcmp(definition->keys[0].column, "_id") && !definition->keys[0].opclass;
}

/* By it encrypted fields are found. */
static bool is_on_tags(const ldx_relation *relation, const ldx_definition *definition) {
  return relation->encrypted.count && definition->key_count == 1 &&
         !strcmp(definition->keys[0].column, "__safeContent__");
}

/* What an index of such a collection is read from. */
static ldx_fingerprint mark_of(const ldx_relation *relation, const bson_t *spec, bool clustered) {
  uint64_t seed = (relation->kind == 't' ? 1u : 0u) + (clustered ? 2u : 0u) + (relation->encrypted.count ? 4u : 0u);
  if (relation->collation) seed = XXH3_64bits_withSeed(relation->collation, strlen(relation->collation), seed);
  XXH128_hash_t hash = XXH3_128bits_withSeed(bson_get_data(spec), spec->len, seed);
  return (ldx_fingerprint){.high = hash.high64, .low = hash.low64};
}

static ldx_live *read_anew(work *w, const bson_t *spec, bool clustered) {
  ldx_relation *relation = w->relation;
  ldx_definition *definition = LDX_ARENA_NEW(w->arena, ldx_definition, 1);
  /* That of a clustered collection does not say what collation it has: it is the collection's. */
  const char *name = ldx_mongo_definition_of(w->arena, spec, clustered ? NULL : relation->collation, definition);
  if (clustered) ldx_mongo_set_collation(w->arena, definition, relation->collation);
  ldx_live *live = ldx_catalog_add_live(w->catalog, relation, name, 0, definition);
  bool on_id = relation->kind != 't' && is_on_id(definition);
  live->extension_owned = on_id || is_on_tags(relation, definition);
  if (on_id) definition->unique = false; /* nobody can say so of it */
  live->fingerprint = ldx_definition_fingerprint(definition);
  return live;
}

static ldx_live *read_like(work *w, const ldx_live *other) {
  ldx_live *live = ldx_catalog_add_live(w->catalog, w->relation, other->name, 0, other->definition);
  live->extension_owned = other->extension_owned;
  live->fingerprint = other->fingerprint;
  return live;
}

/* Every collection has an index on _id, and many have others that are written alike: those are read once. */
static void add_index(work *w, const bson_t *spec, bool ready, bool clustered) {
  size_t *number = ldx_marks_number(&w->read, mark_of(w->relation, spec, clustered));
  ldx_live *live = *number ? read_like(w, ldx_catalog_live_at(w->catalog, *number - 1)) : read_anew(w, spec, clustered);
  *number = ldx_catalog_live_count(w->catalog);
  live->clustered = clustered;
  live->bytes = -1;
  live->live = true;
  live->valid = live->ready = ready;
}

static void add_listed(const bson_t *spec, bool ready, void *state) {
  add_index(state, spec, ready, ldx_mongo_flag_at(spec, "clustered"));
}

static bool list_indexes(work *w, ldx_relation *relation, ldx_error *error) {
  w->relation = relation;
  bool ok = ldx_mongo_list_indexes(w->session, relation->name.name, add_listed, w, error);
  /* Dropped since it was listed: then it has none. */
  if (!ok && error->code == LDX_ERROR_UNDEFINED) {
    ldx_error_clear(error);
    ok = true;
  }
  /* Who may not list them may have no business there: only what is declared on it is refused (check.c). */
  if (!ok && error->code == LDX_ERROR_PERMISSION) {
    ldx_error_clear(error);
    relation->kind = 'x';
    ok = true;
  }
  return ok;
}

/* --- all at once ------------------------------------------------------------------------------------------------------------ */

/* One of its entries. */
typedef struct listed {
  const char *database, *name, *type; /* "": it says nothing */
  bson_t options;                     /* empty: it has none */
  bool has_indexes;
  bson_iter_t indexes; /* before the first */
} listed;

static const char *text_of(const bson_iter_t *iter) {
  return BSON_ITER_HOLDS_UTF8(iter) ? bson_iter_utf8(iter, NULL) : "";
}

static void read_metadata(const bson_iter_t *metadata, listed *l) {
  bson_iter_t field;
  if (!bson_iter_recurse(metadata, &field)) return;
  while (bson_iter_next(&field)) {
    const char *name = bson_iter_key(&field);
    if (!strcmp(name, "options")) ldx_mongo_view(&field, &l->options);
    if (!strcmp(name, "indexes"))
      l->has_indexes = BSON_ITER_HOLDS_ARRAY(&field) && bson_iter_recurse(&field, &l->indexes);
  }
}

/* In one pass, as are indexes: catalogs are large. */
static void read_fields(const bson_t *entry, listed *l) {
  bson_iter_t field;
  l->database = l->name = l->type = "";
  l->has_indexes = false;
  bson_init(&l->options);
  if (!bson_iter_init(&field, entry)) return;
  while (bson_iter_next(&field)) {
    const char *name = bson_iter_key(&field);
    if (!strcmp(name, "db")) l->database = text_of(&field);
    if (!strcmp(name, "name")) l->name = text_of(&field);
    if (!strcmp(name, "type")) l->type = text_of(&field);
    if (!strcmp(name, "md")) read_metadata(&field, l);
  }
}

static void note_buckets(work *w, const listed *l) {
  const char *series = ldx_mongo_series_of(l->name);
  if (!series) return;
  struct buckets *buckets = LDX_ARENA_NEW(w->arena, struct buckets, 1);
  buckets->name = ldx_arena_strdup(w->arena, series);
  buckets->options = options_text(w->arena, &l->options);
  bson_t collation;
  if (ldx_mongo_document_at(&l->options, "collation", &collation))
    buckets->collation = ldx_mongo_collation_form(w->arena, &collation);
  buckets->next = w->buckets;
  w->buckets = buckets;
}

static void read_index(work *w, const bson_iter_t *index) {
  bson_iter_t member;
  bson_t spec;
  bool found = false, ready = true;
  if (!bson_iter_recurse(index, &member)) return;
  while (bson_iter_next(&member)) {
    const char *name = bson_iter_key(&member);
    if (!strcmp(name, "spec")) found = ldx_mongo_view(&member, &spec);
    if (!strcmp(name, "ready")) ready = bson_iter_as_bool(&member);
  }
  if (found) add_index(w, &spec, ready, false);
}

static bool read_entry(const bson_t *entry, void *state, ldx_error *error) {
  (void)error;
  work *w = state;
  listed l;
  bson_t clustered;
  read_fields(entry, &l);
  if (strcmp(l.database, w->session->database) != 0) {
    w->may_be_sharded = true;
    return true;
  }
  if (is_left_out(l.name)) {
    note_buckets(w, &l);
    return true;
  }
  w->relation = add_relation(w, l.name, l.type, &l.options);
  /* Where documents are in order of an index, it stands among the collection's options. */
  if (ldx_mongo_document_at(&l.options, "clusteredIndex", &clustered)) add_index(w, &clustered, true, true);
  if (l.has_indexes)
    while (bson_iter_next(&l.indexes)) read_index(w, &l.indexes);
  return true;
}

/* Beside the database's own, the entry of the list of sharded collections: where there is none, it need not be read. */
static bool list_catalog(work *w, ldx_error *error) {
  bson_t *command = BCON_NEW(
      "aggregate", BCON_INT32(1), "pipeline", "[", "{", "$listCatalog", "{", "}", "}", "{", "$match", "{", "$or", "[",
      "{", "db", BCON_UTF8(w->session->database), "}", "{", "db", BCON_UTF8("config"), "name", BCON_UTF8("collections"),
      "}", "]", "}", "}", "{", "$project", "{", "db", BCON_INT32(1), "name", BCON_INT32(1), "type", BCON_INT32(1),
      "md.options.collation", BCON_INT32(1), "md.options.capped", BCON_INT32(1), "md.options.size", BCON_INT32(1),
      "md.options.max", BCON_INT32(1), "md.options.timeseries", BCON_INT32(1), "md.options.expireAfterSeconds",
      BCON_INT32(1), "md.options.clusteredIndex", BCON_INT32(1), "md.options.encryptedFields", BCON_INT32(1),
      "md.indexes.spec", BCON_INT32(1), "md.indexes.ready", BCON_INT32(1), "}", "}", "]", "cursor", "{", "batchSize",
      BCON_INT32(10000), "}");
  bool ok = ldx_mongo_walk(w->session, "admin", command, read_entry, w, error);
  bson_destroy(command);
  return ok;
}

/* --- one by one -------------------------------------------------------------------------------------------------------------- */

static bool read_collection(const bson_t *entry, void *state, ldx_error *error) {
  (void)error;
  bson_t options = BSON_INITIALIZER;
  const char *name = ldx_mongo_text_at(entry, "name");
  ldx_mongo_document_at(entry, "options", &options);
  if (!is_left_out(name)) add_relation(state, name, ldx_mongo_text_at(entry, "type"), &options);
  return true;
}

static bool list_collections(work *w, ldx_error *error) {
  bson_t command = BSON_INITIALIZER;
  BSON_APPEND_INT32(&command, "listCollections", 1);
  bool ok = ldx_mongo_walk(w->session, NULL, &command, read_collection, w, error);
  bson_destroy(&command);
  return ok;
}

static bool list_all(work *w, bool series_only, ldx_error *error) {
  for (size_t i = 0; i < ldx_catalog_relation_count(w->catalog); i++) {
    ldx_relation *relation = ldx_catalog_relation_at(w->catalog, i);
    if (relation->kind == 'v' || (series_only && relation->kind != 't')) continue;
    for (const struct buckets *b = w->buckets; b; b = b->next) {
      if (strcmp(b->name, relation->name.name) != 0) continue;
      relation->options = b->options;
      relation->collation = b->collation; /* which indexes are read with */
    }
    if (!list_indexes(w, relation, error)) return false;
  }
  return true;
}

/* --- shard keys -------------------------------------------------------------------------------------------------------------- */

static void add_shard_key(const char *collection, const bson_t *key, void *state) {
  work *w = state;
  ldx_relation *relation = ldx_catalog_relation(w->catalog, (ldx_name){NULL, collection});
  if (!relation) return;
  relation->shard_key = ldx_mongo_json(w->arena, key);
  size_t count = 0;
  ldx_live **finished = LDX_ARENA_NEW(w->arena, ldx_live *, relation->live_count + 1);
  const ldx_definition **definitions = LDX_ARENA_NEW(w->arena, const ldx_definition *, relation->live_count + 1);
  bool *needed = LDX_ARENA_NEW(w->arena, bool, relation->live_count + 1);
  for (size_t i = 0; i < relation->live_count; i++) {
    if (!relation->live[i]->valid) continue;
    finished[count] = relation->live[i];
    definitions[count++] = relation->live[i]->definition;
  }
  ldx_mongo_find_shard_indexes(w->arena, key, definitions, count, needed);
  for (size_t i = 0; i < count; i++) finished[i]->referenced = needed[i];
}

/* Who may not read the cluster's own database does without; there is none on a replica set that stands for itself. */
static bool read_shard_keys(work *w, ldx_error *error) {
  if (!w->may_be_sharded) return true;
  bool ok = ldx_mongo_shard_keys(w->session, NULL, add_shard_key, w, error);
  if (ok || ldx_error_retry(error->code) != LDX_RETRY_NEVER || error->code == LDX_ERROR_CANCELLED) return ok;
  ldx_error_clear(error);
  return true;
}

/* --- all of it ---------------------------------------------------------------------------------------------------------------- */

const ldx_dialect ldx_mongo_dialect = {
    .name = "mongodb",
    .names_in_relations = true,
    .can_alter = ldx_mongo_can_alter,
    .can_become = ldx_mongo_can_become,
    .finishes_builds = true,
    .wording = &ldx_mongo_wording,
};

static void begin(work *w) {
  ldx_marks_free(&w->read);
  w->buckets = NULL;
  w->may_be_sharded = false;
  w->catalog = ldx_catalog_new(&ldx_mongo_dialect);
  w->arena = ldx_catalog_arena(w->catalog);
}

static ldx_catalog *finish(work *w, bool ok, ldx_error *error) {
  ldx_marks_free(&w->read);
  if (ok) {
    ldx_catalog_finish(w->catalog);
    ok = read_shard_keys(w, error);
  }
  if (ok) return w->catalog;
  ldx_catalog_release(w->catalog);
  return NULL;
}

ldx_catalog *ldx_mongo_catalog(ldx_session *session, ldx_context *context, ldx_error *error) {
  work w = {.session = session};
  session->context = context;
  begin(&w);
  bool ok = false, refused = session->sharded;
  if (!refused) {
    ok = list_catalog(&w, error) && list_all(&w, true, error);
    refused = !ok && ldx_error_retry(error->code) == LDX_RETRY_NEVER && error->code != LDX_ERROR_CANCELLED;
    if (refused) {
      ldx_catalog_release(w.catalog);
      begin(&w);
    }
  }
  if (refused) {
    w.may_be_sharded = true; /* nobody has said that it is not */
    ok = list_collections(&w, error) && list_all(&w, false, error);
  }
  ldx_catalog *catalog = finish(&w, ok, error);
  session->context = NULL;
  return catalog;
}
