/* overlap.c: which indexes begin with all the keys of a declared one.
 *
 * What begins alike is brought together by a hash, so that nearly all are never compared: few indexes of a relation have
 * the same method, predicate and first key. Places are found by hash, too: to sort them all would take longer than the
 * diff.
 */
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lunadex/diff.h"
#include "model/catalog.h"

typedef struct beginning {
  uint64_t hash; /* the same for two of a relation that begin alike */
  const ldx_definition *definition;
  size_t ordinal;         /* of the declaration */
  ldx_live *live;         /* or what is live and not declared */
  struct beginning *next; /* that begins alike: first declarations in their order, then what is live */
} beginning;

typedef struct work {
  ldx_arena *arena;
  beginning *list;
  size_t count;
  beginning **places; /* the first of those that begin alike; NULL: none */
  size_t room;        /* a power of two */
  ldx_overlaps *found;
  size_t found_room;
} work;

static uint64_t feed(uint64_t hash, const char *text) {
  return text ? XXH3_64bits_withSeed(text, strlen(text), hash) : hash + 1;
}

/* What is on no relation that is there is on the one of that name. */
static uint64_t hash_of(const ldx_relation *relation, const ldx_definition *definition) {
  const ldx_key *first = definition->keys;
  uint64_t hash = relation ? XXH3_64bits(&relation, sizeof relation)
                           : feed(feed(0, definition->relation.schema), definition->relation.name);
  hash = feed(feed(hash, definition->method), definition->predicate);
  return feed(feed(hash, first->column), first->expression);
}

static bool is_ordered(const ldx_definition *definition) {
  return definition->key_count && definition->kind != LDX_KIND_FOREIGN_KEY && definition->kind != LDX_KIND_EXCLUSION;
}

static bool same_text(const char *a, const char *b) {
  return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_key(const ldx_key *a, const ldx_key *b) {
  return same_text(a->column, b->column) && same_text(a->expression, b->expression) &&
         same_text(a->collation, b->collation) && same_text(a->opclass, b->opclass) && !a->opclass_options.count &&
         !b->opclass_options.count;
}

static bool begins_with(const ldx_definition *longer, const ldx_definition *shorter) {
  if (longer->key_count < shorter->key_count || !same_text(longer->method, shorter->method) ||
      !same_text(longer->predicate, shorter->predicate))
    return false;
  bool has_methods = !shorter->method || *shorter->method;
  bool turned = longer->keys[0].descending != shorter->keys[0].descending;
  for (size_t i = 0; i < shorter->key_count; i++) {
    const ldx_key *a = &longer->keys[i], *b = &shorter->keys[i];
    if (!same_key(a, b)) return false;
    if (!has_methods && b->opclass) return false; /* the text, hashed and geographic ones of MongoDB */
    if ((a->descending != b->descending) != turned || (a->nulls_first != b->nulls_first) != turned) return false;
  }
  return true;
}

/* Before those that begin alike. */
static void add(work *w, const ldx_relation *relation, const ldx_definition *definition, size_t ordinal,
                ldx_live *live) {
  if (!is_ordered(definition)) return;
  beginning *added = &w->list[w->count++];
  *added = (beginning){hash_of(relation, definition), definition, ordinal, live, NULL};
  size_t i = (size_t)added->hash & (w->room - 1);
  while (w->places[i] && w->places[i]->hash != added->hash) i = (i + 1) & (w->room - 1);
  added->next = w->places[i];
  w->places[i] = added;
}

static void note(work *w, const beginning *shorter, const beginning *longer) {
  ldx_overlaps *found = w->found;
  if (found->count == w->found_room) {
    w->found_room = w->found_room ? 2 * w->found_room : 64;
    ldx_overlap *items = LDX_ARENA_NEW(w->arena, ldx_overlap, w->found_room);
    if (found->count) memcpy(items, found->items, found->count * sizeof *items);
    found->items = items;
  }
  found->items[found->count++] = (ldx_overlap){shorter->ordinal, longer->ordinal, longer->live};
}

static void compare(work *w, const beginning *first) {
  for (const beginning *a = first; a && !a->live; a = a->next) {
    for (const beginning *b = first; b; b = b->next)
      if (a != b && begins_with(b->definition, a->definition)) note(w, a, b);
  }
}

ldx_overlaps *ldx_overlaps_find(ldx_arena *arena, ldx_declarations *set, const ldx_diff *diff,
                                const ldx_catalog *catalog) {
  size_t declarations = ldx_declarations_count(set), live_count = diff ? ldx_catalog_live_count(catalog) : 0;
  size_t count = declarations;
  work w = {.arena = arena, .room = 16, .found = LDX_ARENA_NEW(arena, ldx_overlaps, 1)};
  for (size_t i = 0; i < live_count; i++) count += !diff->taken[i];
  w.list = LDX_ARENA_NEW(arena, beginning, count);
  while (w.room * 3 < count * 4) w.room *= 2;
  w.places = LDX_ARENA_NEW(arena, beginning *, w.room);
  for (size_t i = live_count; i-- > 0;) {
    ldx_live *live = ldx_catalog_live_at(catalog, i);
    if (!diff->taken[live->ordinal]) add(&w, live->relation, live->definition, SIZE_MAX, live);
  }
  for (size_t i = declarations; i-- > 0;) {
    const ldx_declared *declared = ldx_declarations_at(set, i);
    add(&w, declared->relation, declared->resolved ? declared->canonical : declared->definition, i, NULL);
  }
  for (size_t i = 0; i < w.room; i++)
    if (w.places[i] && w.places[i]->next) compare(&w, w.places[i]);
  return w.found;
}
