#include "drivers/fake/store.h"

#include <stdlib.h>
#include <string.h>

#include "model/catalog.h"

typedef struct stored {
  struct stored *next;
  const char *relation, *name;
  ldx_definition definition;
  uint32_t id;
  bool valid;
} stored;

struct ldx_fake_store {
  ldx_arena *arena; /* never emptied: tests are short */
  ldx_strings relations;
  const char *duplicated;
  stored *indexes;
  uint32_t last_id;
  int runs;
};

ldx_fake_store *ldx_fake_store_new(const char *relations, const char *duplicated) {
  enum { MOST = 16 };
  ldx_fake_store *store = calloc(1, sizeof *store);
  if (!store) abort();
  store->arena = ldx_arena_new();
  store->duplicated = ldx_arena_strdup(store->arena, duplicated);
  store->relations.items = LDX_ARENA_NEW(store->arena, const char *, MOST);
  for (size_t length; *relations && store->relations.count < MOST; relations += length + (relations[length] == ',')) {
    length = strcspn(relations, ",");
    store->relations.items[store->relations.count++] = ldx_arena_strndup(store->arena, relations, length);
  }
  return store;
}

void ldx_fake_store_free(ldx_fake_store *store) {
  if (!store) return;
  ldx_arena_free(store->arena);
  free(store);
}

static bool has_relation(const ldx_fake_store *store, const char *name) {
  for (size_t i = 0; i < store->relations.count; i++)
    if (!strcmp(store->relations.items[i], name)) return true;
  return false;
}

/* Where the index hangs that has the name; NULL: none has. */
static stored **find(ldx_fake_store *store, const char *relation, const char *name) {
  for (stored **s = &store->indexes; *s; s = &(*s)->next)
    if (!strcmp((*s)->relation, relation) && !strcmp((*s)->name, name)) return s;
  return NULL;
}

ldx_catalog *ldx_fake_store_catalog(const ldx_fake_store *store) {
  static const ldx_dialect dialect = {.name = "fake", .names_in_relations = true};
  ldx_catalog *catalog = ldx_catalog_new(&dialect);
  ldx_arena *arena = ldx_catalog_arena(catalog);
  for (size_t i = 0; i < store->relations.count; i++) {
    const char *name = ldx_arena_strdup(arena, store->relations.items[i]);
    ldx_relation *relation = ldx_catalog_add_relation(catalog, (ldx_name){NULL, name}, (uint32_t)i + 1);
    relation->display = relation->space = name;
    relation->kind = 'r';
    relation->rows = relation->bytes = -1;
    for (const stored *s = store->indexes; s; s = s->next) {
      if (strcmp(s->relation, name) != 0) continue;
      ldx_live *live = ldx_catalog_add_live(catalog, relation, ldx_arena_strdup(arena, s->name), s->id,
                                            LDX_ARENA_NEW(arena, ldx_definition, 1));
      ldx_definition_copy(arena, live->definition, &s->definition);
      live->valid = s->valid;
      live->ready = live->live = true;
    }
  }
  ldx_catalog_finish(catalog);
  return catalog;
}

/* --- steps ------------------------------------------------------------------------------------------------------------- */

static bool same(const ldx_definition *a, const ldx_definition *b) {
  return ldx_fingerprint_equal(ldx_definition_fingerprint(a), ldx_definition_fingerprint(b));
}

static bool begin_build(ldx_fake_store *store, const ldx_step *step, bool *work, ldx_error *error) {
  stored **live = find(store, step->relation.name, step->name);
  *work = !live;
  if (live)
    return same(&(*live)->definition, step->definition) ||
           ldx_error_set(error, LDX_ERROR_DUPLICATE_NAME, "%s has another definition", step->name);
  stored *new = LDX_ARENA_NEW(store->arena, stored, 1);
  new->relation = ldx_arena_strdup(store->arena, step->relation.name);
  new->name = ldx_arena_strdup(store->arena, step->name);
  new->id = ++store->last_id;
  ldx_definition_copy(store->arena, &new->definition, step->definition);
  new->definition.relation = (ldx_name){NULL, new->relation};
  new->next = store->indexes;
  store->indexes = new;
  return true;
}

static bool is_meant(const stored *live, const ldx_step *step, ldx_error *error) {
  return !step->id || live->id == step->id ||
         ldx_error_set(error, LDX_ERROR_DEPENDENT, "%s is another index by now", step->name);
}

bool ldx_fake_store_begin(ldx_fake_store *store, const ldx_step *step, bool *work, ldx_error *error) {
  const char *relation = step->relation.name;
  if (!has_relation(store, relation))
    return ldx_error_set(error, LDX_ERROR_UNDEFINED, "relation %s does not exist", relation);
  stored **live = find(store, relation, step->name);
  *work = true;
  switch (step->kind) {
  case LDX_STEP_BUILD:
    return begin_build(store, step, work, error);
  case LDX_STEP_DROP:
    *work = live != NULL;
    return !live || is_meant(*live, step, error);
  case LDX_STEP_ALTER:
    return live ? is_meant(*live, step, error)
                : ldx_error_set(error, LDX_ERROR_UNDEFINED, "%s has no index %s", relation, step->name);
  case LDX_STEP_RENAME:
    *work = live != NULL;
    if (find(store, relation, step->other))
      return !live || ldx_error_set(error, LDX_ERROR_DUPLICATE_NAME, "%s is in the way", step->other);
    return live || ldx_error_set(error, LDX_ERROR_UNDEFINED, "%s has no index %s", relation, step->name);
  default:
    return ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "the fake driver has no step %d", (int)step->kind);
  }
}

static bool end_build(ldx_fake_store *store, stored **live, const ldx_step *step, bool success, ldx_error *error) {
  const ldx_definition *definition = step->definition;
  bool refused = success && definition->unique && store->duplicated && definition->key_count &&
                 definition->keys[0].column && !strcmp(definition->keys[0].column, store->duplicated);
  (*live)->valid = success && !refused;
  if (!(*live)->valid) *live = (*live)->next;
  return !refused || ldx_error_set(error, LDX_ERROR_DUPLICATE_KEY, "%s has duplicates", store->duplicated);
}

bool ldx_fake_store_end(ldx_fake_store *store, const ldx_step *step, bool success, ldx_error *error) {
  stored **live = find(store, step->relation.name, step->name);
  if (!live) return true;
  if (step->kind == LDX_STEP_BUILD) return end_build(store, live, step, success, error);
  if (!success) return true;
  if (step->kind == LDX_STEP_DROP) {
    *live = (*live)->next;
  } else if (step->kind == LDX_STEP_RENAME) {
    (*live)->name = ldx_arena_strdup(store->arena, step->other);
  } else {
    ldx_definition_copy(store->arena, &(*live)->definition, step->definition);
    (*live)->definition.relation = (ldx_name){NULL, (*live)->relation};
  }
  return true;
}

void ldx_fake_store_builds(const ldx_fake_store *store,
                           void (*each)(const char *relation, const char *name, void *state), void *state) {
  for (const stored *s = store->indexes; s; s = s->next)
    if (!s->valid) each(s->relation, s->name, state);
}

int ldx_fake_store_runs(const ldx_fake_store *store) {
  return store->runs;
}

int ldx_fake_store_add_run(ldx_fake_store *store) {
  return ++store->runs;
}
