/* DESIGN
 *
 * $listCatalog gives every index of a database in one answer, with the server's word on which are ready; it asks for more
 * rights than most users have, and a router gives it once per shard. Else the collections are listed, and then the indexes
 * of each (indexes.h). Time-series collections are always asked by name, since what the catalog has of them are the indexes
 * of their buckets.
 */
#include "catalog.h"

#include <string.h>

#include "indexes.h"
#include "json.h"
#include "model/catalog.h"
#include "path.h"
#include "shard.h"
#include "spec.h"

typedef struct work {
  ldx_session *session;
  ldx_catalog *catalog;
  ldx_arena *arena;
  ldx_relation *relation; /* the one that indexes are read for */
  bool may_be_sharded;    /* not unless the server has a list of what is */
  struct buckets {        /* of time-series collections, which $listCatalog knows the options of by these */
    const char *name, *options;
    struct buckets *next;
  } * buckets;
} work;

/* --- relations ------------------------------------------------------------------------------------------------------------ */

static const char buckets_of[] = "system.buckets.";

static bool is_left_out(const char *name) {
  static const char *const own[] = {
      LDX_MONGO_LOCK,           "lunadex.runs", "lunadex.changes", "lunadex.backfills", "lunadex.backfill_ranges",
      "lunadex.backfill_errors"};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (!strcmp(name, own[i])) return true;
  return !strncmp(name, "system.", 7);
}

/* As createCollection takes them, as far as they matter to indexes; NULL: there are none. That buckets are clustered goes
 * without saying. */
static const char *options_text(ldx_arena *arena, const bson_t *options) {
  static const char *const kept[] = {"capped", "size", "max", "timeseries", "expireAfterSeconds", "clusteredIndex"};
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

static ldx_relation *add_relation(work *w, const char *name, const char *type, const bson_t *options) {
  bson_t collation;
  const char *copy = ldx_arena_strdup(w->arena, name);
  ldx_relation *relation = ldx_catalog_add_relation(w->catalog, (ldx_name){NULL, copy}, 0);
  relation->display = copy;
  relation->kind = !strcmp(type, "view") ? 'v' : !strcmp(type, "timeseries") ? 't' : 'c';
  relation->rows = relation->bytes = -1;
  if (options) {
    if (ldx_mongo_document_at(options, "collation", &collation))
      relation->collation = ldx_mongo_collation_form(w->arena, &collation);
    relation->capped = ldx_mongo_flag_at(options, "capped");
    relation->options = options_text(w->arena, options);
  }
  return relation;
}

/* --- indexes --------------------------------------------------------------------------------------------------------------- */

static bool is_on_id(const ldx_definition *definition) {
  return definition->key_count == 1 && !strcmp(definition->keys[0].column, "_id") && !definition->keys[0].opclass;
}

static void add_index(work *w, const bson_t *spec, bool ready, bool clustered) {
  ldx_relation *relation = w->relation;
  ldx_live *live = ldx_catalog_add_live(w->catalog, relation, "", 0);
  live->clustered = clustered;
  /* That of a clustered collection does not say what collation it has: it is the collection's. */
  live->name = ldx_mongo_definition_of(w->arena, spec, live->clustered ? NULL : relation->collation, &live->definition);
  live->definition.relation = relation->name;
  if (live->clustered) ldx_mongo_set_collation(w->arena, &live->definition, relation->collation);
  live->extension_owned = relation->kind != 't' && is_on_id(&live->definition);
  if (live->extension_owned) live->definition.unique = false; /* nobody can say so of it */
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
  return ok;
}

/* --- all at once ------------------------------------------------------------------------------------------------------------ */

/* The catalog keeps that of a clustered collection among the collection's options. */
static void read_clustered(work *w, const bson_t *entry) {
  bson_t spec;
  if (ldx_mongo_document_at(entry, "md.options.clusteredIndex", &spec)) add_index(w, &spec, true, true);
}

static void note_buckets(work *w, const char *name, const bson_t *entry) {
  bson_t options;
  if (strncmp(name, buckets_of, sizeof buckets_of - 1) != 0) return;
  if (!ldx_mongo_document_at(entry, "md.options", &options)) return;
  struct buckets *buckets = LDX_ARENA_NEW(w->arena, struct buckets, 1);
  buckets->name = ldx_arena_strdup(w->arena, name + sizeof buckets_of - 1);
  buckets->options = options_text(w->arena, &options);
  buckets->next = w->buckets;
  w->buckets = buckets;
}

/* In one pass: catalogs are large. */
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
  bson_t options;
  bson_iter_t index;
  if (strcmp(ldx_mongo_text_at(entry, "db"), w->session->database) != 0) {
    w->may_be_sharded = true;
    return true;
  }
  const char *name = ldx_mongo_text_at(entry, "name");
  if (is_left_out(name)) {
    note_buckets(w, name, entry);
    return true;
  }
  w->relation = add_relation(w, name, ldx_mongo_text_at(entry, "type"),
                             ldx_mongo_document_at(entry, "md.options", &options) ? &options : NULL);
  read_clustered(w, entry);
  if (!ldx_mongo_members_at(entry, "md.indexes", &index)) return true;
  while (bson_iter_next(&index)) read_index(w, &index);
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
      BCON_INT32(1), "md.options.clusteredIndex", BCON_INT32(1), "md.indexes.spec", BCON_INT32(1), "md.indexes.ready",
      BCON_INT32(1), "}", "}", "]", "cursor", "{", "batchSize", BCON_INT32(10000), "}");
  bool ok = ldx_mongo_walk(w->session, "admin", command, read_entry, w, error);
  bson_destroy(command);
  return ok;
}

/* --- one by one -------------------------------------------------------------------------------------------------------------- */

static bool read_collection(const bson_t *entry, void *state, ldx_error *error) {
  (void)error;
  bson_t options;
  const char *name = ldx_mongo_text_at(entry, "name");
  if (!is_left_out(name))
    add_relation(state, name, ldx_mongo_text_at(entry, "type"),
                 ldx_mongo_document_at(entry, "options", &options) ? &options : NULL);
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
    definitions[count++] = &relation->live[i]->definition;
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

static const ldx_dialect dialect = {
    .name = "mongodb",
    .names_in_relations = true,
    .can_alter = ldx_mongo_can_alter,
    .can_become = ldx_mongo_can_become,
    .finishes_builds = true,
    .wording = &ldx_mongo_wording,
};

static void begin(work *w) {
  w->buckets = NULL;
  w->may_be_sharded = false;
  w->catalog = ldx_catalog_new(&dialect);
  w->arena = ldx_catalog_arena(w->catalog);
}

static ldx_catalog *finish(work *w, bool ok, ldx_error *error) {
  if (ok) {
    ldx_catalog_finish(w->catalog);
    for (struct buckets *b = w->buckets; b; b = b->next) {
      ldx_relation *relation = ldx_catalog_relation(w->catalog, (ldx_name){NULL, b->name});
      if (relation) relation->options = b->options;
    }
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
