/* overlap.c: which declarations begin with the same key as another index of their relation. */
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lunadex/diff.h"
#include "model/catalog.h"

/* The first to begin so. Of two on the same relation that begin with the same key, the hash is the same. */
typedef struct beginning {
  uint64_t hash;
  size_t number; /* 1 + the ordinal of the declaration, or LIVE; 0: a free place */
} beginning;

/* Of one that is live and not declared. */
static const size_t LIVE = SIZE_MAX;

/* Places are found by hash: to sort them all would take longer than the diff. */
typedef struct work {
  beginning *places;
  size_t room; /* a power of two */
  bool *overlaps;
} work;

static uint64_t feed(uint64_t hash, const char *text) {
  return text ? XXH3_64bits_withSeed(text, strlen(text), hash) : hash + 1;
}

static uint64_t hash_of(ldx_name relation, const ldx_definition *definition) {
  const ldx_key *first = definition->keys;
  uint64_t hash = feed(feed(0, relation.schema), relation.name);
  return definition->key_count ? feed(feed(hash, first->column), first->expression) : hash;
}

static void note(work *w, size_t number) {
  if (number != LIVE) w->overlaps[number - 1] = true;
}

static void add(work *w, uint64_t hash, size_t number) {
  size_t i = (size_t)hash & (w->room - 1);
  while (w->places[i].number && w->places[i].hash != hash) i = (i + 1) & (w->room - 1);
  if (w->places[i].number) {
    note(w, w->places[i].number);
    note(w, number);
  } else {
    w->places[i] = (beginning){hash, number};
  }
}

static void add_declared(work *w, ldx_declarations *set) {
  size_t count = ldx_declarations_count(set);
  for (size_t i = 0; i < count; i++) {
    const ldx_declared *declared = ldx_declarations_at(set, i);
    const ldx_definition *definition = declared->resolved ? declared->canonical : declared->definition;
    ldx_name relation = declared->relation ? declared->relation->name : declared->definition->relation;
    add(w, hash_of(relation, definition), i + 1);
  }
}

/* By ordinal: what is live and not declared; and how many that are. */
static bool *find_undeclared(ldx_arena *arena, const ldx_diff *diff, const ldx_catalog *catalog, size_t *count) {
  size_t live = ldx_catalog_live_count(catalog);
  bool *undeclared = LDX_ARENA_NEW(arena, bool, live);
  memset(undeclared, true, live);
  *count = live;
  for (size_t i = 0; i < diff->count; i++) {
    const ldx_change *change = &diff->items[i];
    if (!change->declared || !change->live || !undeclared[change->live->ordinal]) continue;
    undeclared[change->live->ordinal] = false;
    --*count;
  }
  return undeclared;
}

bool *ldx_declarations_overlap(ldx_arena *arena, ldx_declarations *set, const ldx_diff *diff,
                               const ldx_catalog *catalog) {
  size_t declared = ldx_declarations_count(set), others = 0;
  bool *undeclared = diff ? find_undeclared(arena, diff, catalog, &others) : NULL;
  work w = {.room = 16, .overlaps = LDX_ARENA_NEW(arena, bool, declared)};
  while (w.room * 3 < (declared + others) * 4) w.room *= 2;
  w.places = LDX_ARENA_NEW(arena, beginning, w.room);
  add_declared(&w, set);
  for (size_t i = 0; others && i < ldx_catalog_live_count(catalog); i++) {
    const ldx_live *live = ldx_catalog_live_at(catalog, i);
    if (undeclared[i]) add(&w, hash_of(live->relation->name, &live->definition), LIVE);
  }
  return w.overlaps;
}
