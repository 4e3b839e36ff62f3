#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lunadex/diff.h"
#include "model/marks.h"

struct ldx_declarations {
  ldx_arena *arena;
  ldx_declared *items;
  size_t count, room;
  ldx_marks twins; /* the latest declaration of a definition on a relation: its ordinal + 1 */
  ldx_name *relations;
  size_t relation_count, relation_room;
  const ldx_dialect *dialect; /* NULL: not known yet */
};

ldx_declarations *ldx_declarations_new(void) {
  ldx_declarations *set = calloc(1, sizeof *set);
  if (!set) abort(); /* as the arena does */
  set->arena = ldx_arena_new();
  return set;
}

void ldx_declarations_free(ldx_declarations *set) {
  if (!set) return;
  ldx_arena_free(set->arena);
  free(set->items);
  ldx_marks_free(&set->twins);
  free(set->relations);
  free(set);
}

ldx_declarations *ldx_declarations_copy(const ldx_declarations *from) {
  ldx_declarations *set = ldx_declarations_new();
  if (from->count) {
    set->items = malloc(from->count * sizeof *set->items);
    if (!set->items) abort();
    set->room = from->count;
  }
  for (size_t i = 0; i < from->count; i++) {
    const ldx_declared *declared = &from->items[i];
    set->items[set->count++] = (ldx_declared){.definition = declared->definition,
                                              .name = declared->name,
                                              .duplicate_of = declared->duplicate_of,
                                              .twin = declared->twin};
  }
  for (size_t i = 0; i < from->relation_count; i++) ldx_declarations_add_relation(set, from->relations[i]);
  return set;
}

void ldx_declarations_set_dialect(ldx_declarations *set, const ldx_dialect *dialect) {
  set->dialect = dialect;
}

const ldx_dialect *ldx_declarations_dialect(const ldx_declarations *set) {
  return set->dialect;
}

ldx_arena *ldx_declarations_arena(ldx_declarations *set) {
  return set->arena;
}

ldx_declared *ldx_declarations_add(ldx_declarations *set) {
  if (set->count == set->room) {
    set->room = set->room ? set->room * 2 : 64;
    set->items = realloc(set->items, set->room * sizeof *set->items);
    if (!set->items) abort();
  }
  ldx_declared *declared = &set->items[set->count++];
  memset(declared, 0, sizeof *declared);
  declared->twin = SIZE_MAX;
  return declared;
}

/* --- twins -------------------------------------------------------------------------------------------------------- */

static ldx_fingerprint mark_of(const ldx_declared *declared) {
  ldx_definition definition = *declared->definition;
  definition.storage = (ldx_options){0}; /* it makes no other index of it, even where only a rebuild changes it */
  ldx_fingerprint mark = ldx_definition_fingerprint(&definition);
  ldx_name relation = definition.relation;
  uint64_t seed = relation.schema ? XXH3_64bits(relation.schema, strlen(relation.schema)) : 0;
  mark.low ^= XXH3_64bits_withSeed(relation.name, strlen(relation.name), seed);
  return mark;
}

void ldx_declarations_find_twin(ldx_declarations *set) {
  ldx_declared *declared = &set->items[set->count - 1];
  size_t *latest = ldx_marks_number(&set->twins, mark_of(declared));
  if (*latest) declared->twin = *latest - 1;
  *latest = set->count;
}

/* --- relations ---------------------------------------------------------------------------------------------------- */

void ldx_declarations_add_relation(ldx_declarations *set, ldx_name relation) {
  if (set->relation_count == set->relation_room) {
    set->relation_room = set->relation_room ? set->relation_room * 2 : 64;
    set->relations = realloc(set->relations, set->relation_room * sizeof *set->relations);
    if (!set->relations) abort();
  }
  set->relations[set->relation_count++] =
      (ldx_name){ldx_arena_strdup(set->arena, relation.schema), ldx_arena_strdup(set->arena, relation.name)};
}

size_t ldx_declarations_relation_count(const ldx_declarations *set) {
  return set->relation_count;
}

ldx_name ldx_declarations_relation_at(const ldx_declarations *set, size_t i) {
  return set->relations[i];
}

size_t ldx_declarations_count(const ldx_declarations *set) {
  return set->count;
}

ldx_declared *ldx_declarations_at(ldx_declarations *set, size_t i) {
  return &set->items[i];
}
