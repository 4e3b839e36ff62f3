/* listing.c: what is found is written into an arena of its own until that is a batch's worth, which is handed over: so it
 * does not matter how many keys there are, nor how many rows one of them has. */
#include <stdlib.h>
#include <string.h>

#include "lunadex/driver.h"

enum { COLUMNS = 3, BATCH_BYTES = 1 << 19, FEWEST = 4 };

static const char *names[COLUMNS] = {"group", "key", "ids"};

struct ldx_listing {
  ldx_context *context;
  ldx_arena *arena; /* of the batch */
  char *key;        /* of the group that is being told, malloc'ed; NULL: none yet */
  int64_t group;
  ldx_value *values; /* the batch's rows; the last one is not complete */
  size_t rows, room;
  ldx_value *ids; /* of the last row */
  size_t id_count, id_room;
};

ldx_listing *ldx_listing_new(ldx_context *context) {
  ldx_listing *l = calloc(1, sizeof *l);
  if (!l) abort(); /* as the arena does */
  l->context = context;
  l->arena = ldx_arena_new();
  return l;
}

static void *longer(ldx_arena *arena, const void *items, size_t size, size_t count, size_t *room) {
  *room = count ? 2 * count : FEWEST;
  void *more = ldx_arena_alloc(arena, size * *room);
  if (count) memcpy(more, items, size * count);
  return more;
}

static ldx_value text_of(ldx_arena *arena, const char *text) {
  size_t length = strlen(text);
  return (ldx_value){.kind = LDX_VALUE_TEXT, .text = ldx_arena_strndup(arena, text, length), .length = length};
}

static void end_row(ldx_listing *l) {
  if (!l->id_count) return;
  if (l->rows == l->room) l->values = longer(l->arena, l->values, COLUMNS * sizeof *l->values, l->rows, &l->room);
  ldx_value *row = l->values + COLUMNS * l->rows++;
  row[0] = (ldx_value){.kind = LDX_VALUE_INTEGER, .integer = l->group};
  row[1] = text_of(l->arena, l->key);
  row[2] = (ldx_value){.kind = LDX_VALUE_LIST, .items = l->ids, .count = l->id_count};
  l->ids = NULL;
  l->id_count = l->id_room = 0;
}

static bool hand_over(ldx_listing *l, ldx_error *error) {
  end_row(l);
  if (!l->rows) return true;
  ldx_arena *arena = l->arena;
  ldx_result *result = LDX_ARENA_NEW(arena, ldx_result, 1);
  *result = (ldx_result){.column_count = COLUMNS,
                         .row_count = l->rows,
                         .columns = names,
                         .values = l->values,
                         .command = "",
                         .affected = -1};
  l->arena = ldx_arena_new();
  l->values = NULL;
  l->rows = l->room = 0;
  return ldx_context_rows(l->context, arena, result, error);
}

void ldx_listing_key(ldx_listing *listing, const char *key) {
  end_row(listing);
  free(listing->key);
  listing->key = strdup(key);
  if (!listing->key) abort();
  listing->group++;
}

bool ldx_listing_id(ldx_listing *listing, const char *id, ldx_error *error) {
  ldx_listing *l = listing;
  if (l->id_count == l->id_room) l->ids = longer(l->arena, l->ids, sizeof *l->ids, l->id_count, &l->id_room);
  l->ids[l->id_count++] = text_of(l->arena, id);
  return ldx_arena_size(l->arena) < BATCH_BYTES || hand_over(l, error);
}

bool ldx_listing_end(ldx_listing *listing, bool ok, ldx_error *error) {
  ok = ok && hand_over(listing, error);
  ldx_arena_free(listing->arena);
  free(listing->key);
  free(listing);
  return ok;
}
