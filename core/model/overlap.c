/* overlap.c: which declarations begin with the same key as another index of their relation. */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lunadex/diff.h"
#include "model/catalog.h"

static const size_t NONE = SIZE_MAX;

/* Of two on the same relation that begin with the same key, the hash is the same. */
typedef struct beginning {
  uint64_t hash;
  size_t ordinal; /* of the declaration; NONE: live and not declared */
} beginning;

static uint64_t feed(uint64_t hash, const char *text) {
  return text ? XXH3_64bits_withSeed(text, strlen(text), hash) : hash + 1;
}

static uint64_t hash_of(ldx_name relation, const ldx_definition *definition) {
  const ldx_key *first = definition->keys;
  uint64_t hash = feed(feed(0, relation.schema), relation.name);
  return definition->key_count ? feed(feed(hash, first->column), first->expression) : hash;
}

static int compare(const void *a, const void *b) {
  uint64_t x = ((const beginning *)a)->hash, y = ((const beginning *)b)->hash;
  return (x > y) - (x < y);
}

static size_t add_declared(ldx_declarations *set, beginning *to) {
  size_t count = ldx_declarations_count(set);
  for (size_t i = 0; i < count; i++) {
    const ldx_declared *declared = ldx_declarations_at(set, i);
    const ldx_definition *definition = declared->resolved ? &declared->canonical : &declared->definition;
    ldx_name relation = declared->relation ? declared->relation->name : declared->definition.relation;
    to[i] = (beginning){hash_of(relation, definition), i};
  }
  return count;
}

static size_t add_undeclared(ldx_arena *arena, const ldx_diff *diff, const ldx_catalog *catalog, beginning *to) {
  size_t live = ldx_catalog_live_count(catalog), count = 0;
  bool *declared = LDX_ARENA_NEW(arena, bool, live + 1);
  for (size_t i = 0; i < diff->count; i++)
    if (diff->items[i].declared && diff->items[i].live) declared[diff->items[i].live->ordinal] = true;
  for (size_t i = 0; i < live; i++) {
    const ldx_live *each = ldx_catalog_live_at(catalog, i);
    if (!declared[each->ordinal]) to[count++] = (beginning){hash_of(each->relation->name, &each->definition), NONE};
  }
  return count;
}

bool *ldx_declarations_overlap(ldx_arena *arena, ldx_declarations *set, const ldx_diff *diff,
                               const ldx_catalog *catalog) {
  size_t room = ldx_declarations_count(set) + (diff ? ldx_catalog_live_count(catalog) : 0) + 1;
  beginning *list = LDX_ARENA_NEW(arena, beginning, room);
  bool *overlaps = LDX_ARENA_NEW(arena, bool, ldx_declarations_count(set) + 1);
  size_t count = add_declared(set, list);
  if (diff) count += add_undeclared(arena, diff, catalog, list + count);
  qsort(list, count, sizeof *list, compare);
  for (size_t i = 1; i < count; i++) {
    if (list[i].hash != list[i - 1].hash) continue;
    if (list[i].ordinal != NONE) overlaps[list[i].ordinal] = true;
    if (list[i - 1].ordinal != NONE) overlaps[list[i - 1].ordinal] = true;
  }
  return overlaps;
}
