/* drop.c: one finished index goes. dropIndexes would end somebody's build without a word, so what is not finished is left
 * alone; so is what a collection cannot be without. */
#include <string.h>

#include "build.h"
#include "spec.h"

/* The number of fields of `shard_key` that `key` begins with, in that order, each as it is. */
static bool begins_with(const bson_t *spec, bson_iter_t shard_key) {
  bson_iter_t iter, key;
  if (!bson_iter_init_find(&iter, spec, "key") || !bson_iter_recurse(&iter, &key)) return false;
  while (bson_iter_next(&shard_key)) {
    if (!bson_iter_next(&key) || strcmp(bson_iter_key(&key), bson_iter_key(&shard_key)) != 0) return false;
    bool text = BSON_ITER_HOLDS_UTF8(&shard_key);
    if (text != BSON_ITER_HOLDS_UTF8(&key)) return false;
    if (text && strcmp(bson_iter_utf8(&key, NULL), bson_iter_utf8(&shard_key, NULL)) != 0) return false;
    if (!text && bson_iter_as_double(&key) != bson_iter_as_double(&shard_key)) return false;
  }
  return true;
}

/* Whether a router could do without any other index than this for the shard key. */
static bool serves(const ldx_mongo_index *index, const bson_iter_t *shard_key) {
  bson_iter_t iter;
  bool sparse = bson_iter_init_find(&iter, &index->spec, "sparse") && bson_iter_as_bool(&iter);
  return !index->building && !sparse && !bson_iter_init_find(&iter, &index->spec, "partialFilterExpression") &&
         begins_with(&index->spec, *shard_key);
}

static size_t fields_of(const bson_t *spec, const char *name) {
  bson_iter_t iter, field;
  size_t count = 0;
  if (bson_iter_init_find(&iter, spec, name) && bson_iter_recurse(&iter, &field))
    while (bson_iter_next(&field)) count++;
  return count;
}

/* Looks whether the collection is sharded, and `index` the one of its shard key, or the last that can stand in for it. */
static bool is_of_shard_key(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes, const ldx_mongo_index *index,
                            bool *is) {
  const char *space =
      ldx_arena_printf(attempt->arena, "%s.%s", attempt->session->database, attempt->step->relation.name);
  bson_t *command =
      BCON_NEW("find", BCON_UTF8("collections"), "filter", "{", "_id", BCON_UTF8(space), "}", "limit", BCON_INT32(1));
  bson_t reply, collection;
  bson_iter_t iter, found, shard_key;
  bool ok = ldx_mongo_command(attempt->session, "config", command, &reply, attempt->error);
  *is = false;
  if (!ok && attempt->error->code == LDX_ERROR_PERMISSION && !attempt->session->sharded) {
    ldx_error_clear(attempt->error); /* who may not read `config` of a replica set is on none of a cluster */
    ok = true;
  } else if (ok && bson_iter_init(&iter, &reply) && bson_iter_find_descendant(&iter, "cursor.firstBatch.0", &found) &&
             BSON_ITER_HOLDS_DOCUMENT(&found)) {
    uint32_t length;
    const uint8_t *bytes;
    bson_iter_document(&found, &length, &bytes);
    bson_init_static(&collection, bytes, length);
    if (bson_iter_init_find(&iter, &collection, "key") && bson_iter_recurse(&iter, &shard_key) &&
        serves(index, &shard_key)) {
      size_t others = 0;
      for (size_t i = 0; i < indexes->count; i++)
        if (&indexes->items[i] != index && serves(&indexes->items[i], &shard_key)) others++;
      *is = !others || fields_of(&index->spec, "key") == fields_of(&collection, "key");
    }
  }
  bson_destroy(&reply);
  bson_destroy(command);
  return ok;
}

static bool refuse(ldx_mongo_attempt *attempt, const char *why, const char *hint) {
  ldx_error_set(attempt->error, LDX_ERROR_DEPENDENT, "%s of %s is never dropped: %s", attempt->step->name,
                attempt->step->relation.name, why);
  ldx_error_hint(attempt->error, "%s", hint);
  return false;
}

/* Whether it is what was planned to go. Both sides come from a specification of the server's, so that texts can be
 * compared; only that there is no collation is said in two ways. */
static bool is_meant(ldx_mongo_attempt *attempt, const ldx_mongo_index *index) {
  if (!attempt->step->definition) return true;
  ldx_definition live, meant = *attempt->step->definition;
  ldx_mongo_definition_of(attempt->arena, &index->spec, NULL, &live);
  live.predicate_form = NULL;
  for (size_t i = 0; i < meant.traits.count; i++) {
    const ldx_option *trait = &meant.traits.items[i];
    if (strcmp(trait->name, "collation") != 0 || strcmp(trait->value, LDX_MONGO_SIMPLE) != 0) continue;
    ldx_mongo_set_collation(attempt->arena, &meant, NULL);
    break;
  }
  if (ldx_fingerprint_equal(ldx_definition_fingerprint(&live), ldx_definition_fingerprint(&meant)) &&
      ldx_definition_storage_equal(&meant, &live))
    return true;
  ldx_error_set(attempt->error, LDX_ERROR_DEPENDENT, "%s of %s is another index since it was planned to go: it stays",
                attempt->step->name, attempt->step->relation.name);
  ldx_error_hint(attempt->error, "The next run looks at it anew.");
  return false;
}

bool ldx_mongo_drop(ldx_mongo_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_mongo_indexes indexes;
  bool of_shard_key;
  if (!strcmp(step->name, "_id_")) return refuse(attempt, "the server needs it", "Leave it.");
  if (!ldx_mongo_see(attempt, &indexes)) return false;
  const ldx_mongo_index *index = ldx_mongo_index_named(&indexes, step->name);
  if (!index) return true;
  if (index->building) {
    const char *builder = ldx_mongo_builder_of(attempt, step->name);
    ldx_error_set(attempt->error, LDX_ERROR_LOCK_TIMEOUT, "%s is being built by %s: to drop it would end that build",
                  step->name, builder ? builder : "somebody");
    ldx_error_hint(attempt->error, "Wait for the build to end, or let whoever runs it stop it.");
    return false;
  }
  if (!is_meant(attempt, index)) return false;
  if (!is_of_shard_key(attempt, &indexes, index, &of_shard_key)) return false;
  if (of_shard_key)
    return refuse(attempt, "it serves the shard key", "Sharding needs an index that begins with the shard key.");
  /* Before it goes: whoever is cut off from the answer has to know as well. */
  ldx_context_note(attempt->context, "drops %s; to bring it back: %s", step->name,
                   ldx_mongo_undo_of(attempt, &index->spec));
  bson_t *command = BCON_NEW("dropIndexes", BCON_UTF8(step->relation.name), "index", BCON_UTF8(step->name));
  bool ok = ldx_mongo_change(attempt, command, NULL);
  bson_destroy(command);
  /* Somebody else was faster. */
  return ok || attempt->error->code == LDX_ERROR_UNDEFINED;
}
