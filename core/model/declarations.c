#include <stdlib.h>
#include <string.h>

#include "lunadex/diff.h"

struct ldx_declarations {
  ldx_arena *arena;
  ldx_declared *items;
  size_t count, room;
  ldx_name *relations;
  size_t relation_count, relation_room;
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
  free(set->relations);
  free(set);
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
  return declared;
}

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
