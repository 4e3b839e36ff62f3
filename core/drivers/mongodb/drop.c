/* drop.c: one finished index goes. dropIndexes would end somebody's build without a word, so what is not finished is left
 * alone; so is what a collection cannot be without. */
#include <string.h>

#include "build.h"
#include "shard.h"
#include "spec.h"

typedef struct sharding {
  ldx_mongo_attempt *attempt;
  const ldx_mongo_indexes *indexes;
  const ldx_mongo_index *index;
  bool needs_it;
} sharding;

static void each_shard_key(const char *collection, const bson_t *key, void *state) {
  (void)collection;
  sharding *s = state;
  ldx_arena *arena = s->attempt->arena;
  size_t count = 0, place = 0;
  ldx_definition *definitions = LDX_ARENA_NEW(arena, ldx_definition, s->indexes->count);
  const ldx_definition **finished = LDX_ARENA_NEW(arena, const ldx_definition *, s->indexes->count);
  bool *needed = LDX_ARENA_NEW(arena, bool, s->indexes->count);
  for (size_t i = 0; i < s->indexes->count; i++) {
    const ldx_mongo_index *index = &s->indexes->items[i];
    if (index->building) continue;
    if (index == s->index) place = count;
    definitions[i] = (ldx_definition){0};
    ldx_mongo_definition_of(arena, &index->spec, NULL, &definitions[i]);
    finished[count++] = &definitions[i];
  }
  ldx_mongo_find_shard_indexes(arena, key, finished, count, needed);
  s->needs_it = needed[place];
}

/* Looks whether the collection is sharded, and cannot be without `index`. */
static bool is_of_shard_key(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes, const ldx_mongo_index *index,
                            bool *is) {
  sharding state = {attempt, indexes, index, false};
  bool ok =
      ldx_mongo_shard_keys(attempt->session, attempt->step->relation.name, each_shard_key, &state, attempt->error);
  if (!ok && attempt->error->code == LDX_ERROR_PERMISSION && !attempt->session->sharded) {
    ldx_error_clear(attempt->error); /* who may not read `config` of a replica set is on none of a cluster */
    ok = true;
  }
  *is = state.needs_it;
  return ok;
}

static bool refuse(ldx_mongo_attempt *attempt, const char *why, const char *hint) {
  ldx_error_set(attempt->error, LDX_ERROR_DEPENDENT, "%s of %s is never dropped: %s", attempt->step->name,
                attempt->step->relation.name, why);
  ldx_error_hint(attempt->error, "%s", hint);
  return false;
}

static bool is_meant(ldx_mongo_attempt *attempt, const ldx_mongo_index *index) {
  const ldx_definition *meant = attempt->step->definition;
  if (!meant) return true;
  ldx_definition live = ldx_mongo_definition_like(attempt, index, meant);
  bool same = ldx_fingerprint_equal(ldx_definition_fingerprint(&live), ldx_definition_fingerprint(meant)) &&
              ldx_definition_storage_equal(meant, &live);
  return same || ldx_mongo_another(attempt);
}

bool ldx_mongo_drop(ldx_mongo_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_mongo_indexes indexes;
  bool of_shard_key;
  double left;
  if (!strcmp(step->name, "_id_")) return refuse(attempt, "the server needs it", "Leave it.");
  if (!ldx_mongo_see(attempt, &indexes)) return false;
  const ldx_mongo_index *index = ldx_mongo_index_named(&indexes, step->name);
  if (!index) return true;
  if (index->building) {
    char builder[256];
    ldx_mongo_builder_of(attempt, step->name, builder, sizeof builder);
    ldx_error_set(attempt->error, LDX_ERROR_LOCK_TIMEOUT, "%s is being built by %s: to drop it would end that build",
                  step->name, builder);
    ldx_error_hint(attempt->error, "Wait for the build to end, or let whoever runs it stop it.");
    return false;
  }
  attempt->meant = is_meant;
  if (!attempt->meant(attempt, index)) return false;
  if (!is_of_shard_key(attempt, &indexes, index, &of_shard_key)) return false;
  if (of_shard_key)
    return refuse(attempt, "it serves the shard key", "Sharding needs an index that begins with the shard key.");
  if (!ldx_mongo_wait_for_collection(attempt, &left)) return false;
  /* Before it goes: whoever is cut off from the answer has to know as well. */
  ldx_context_note(attempt->context, "drops %s; to bring it back: %s", step->name,
                   ldx_mongo_undo_of(attempt, &index->spec));
  bson_t *command = BCON_NEW("dropIndexes", BCON_UTF8(step->relation.name), "index", BCON_UTF8(step->name));
  bool ok = ldx_mongo_send(attempt, left, command, NULL);
  bson_destroy(command);
  /* Somebody else was faster. */
  return ok || attempt->error->code == LDX_ERROR_UNDEFINED;
}
