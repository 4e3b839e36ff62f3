#include "projection.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "path.h"

typedef struct work {
  ldx_arena *arena;
  ldx_error *error;
  const char **paths; /* but for `_id` */
  size_t count, room;
  bool included, excluded; /* some path is */
  bool with_id, without_id;
} work;

static const char names_twice[] = "names no field twice, nor one and a part of it";

static bool refuse(work *w, const char *why) {
  if (!w->error) return true;
  return ldx_error_set(w->error, LDX_ERROR_INVALID_DEFINITION, "a wildcard projection %s", why);
}

static void add_path(work *w, const char *path) {
  if (w->count == w->room) {
    const char **paths = LDX_ARENA_NEW(w->arena, const char *, w->room * 2 + 8);
    if (w->count) memcpy(paths, w->paths, w->count * sizeof *paths);
    w->paths = paths;
    w->room = w->room * 2 + 8;
  }
  w->paths[w->count++] = path;
}

static bool add_document(work *w, const char *prefix, bson_iter_t *iter) {
  while (bson_iter_next(iter)) {
    const char *path = ldx_arena_printf(w->arena, "%s%s%s", prefix, *prefix ? "." : "", bson_iter_key(iter));
    bson_iter_t member;
    if (BSON_ITER_HOLDS_DOCUMENT(iter) && bson_iter_recurse(iter, &member)) {
      if (!add_document(w, path, &member)) return false;
      continue;
    }
    if (!BSON_ITER_HOLDS_NUMBER(iter) && !BSON_ITER_HOLDS_BOOL(iter) && !BSON_ITER_HOLDS_DECIMAL128(iter) &&
        !refuse(w, "holds 1 and 0 only"))
      return false;
    bool include = ldx_mongo_truth(iter);
    if (!strcmp(path, "_id")) {
      if ((w->with_id || w->without_id) && !refuse(w, names_twice)) return false;
      w->with_id = include;
      w->without_id = !include;
      continue;
    }
    w->included |= include;
    w->excluded |= !include;
    add_path(w, path);
  }
  return true;
}

static bool holds(const char *path, const char *other) {
  size_t length = strlen(path);
  return !strncmp(path, other, length) && (other[length] == '.' || !other[length]);
}

static bool check_paths(work *w) {
  for (size_t i = 0; i < w->count; i++) {
    bool collides = (w->with_id || w->without_id) && holds("_id", w->paths[i]);
    for (size_t j = 0; j < w->count && !collides; j++) collides = i != j && holds(w->paths[j], w->paths[i]);
    if (collides && !refuse(w, names_twice)) return false;
  }
  return true;
}

static int compare_texts(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *ldx_mongo_projection_form(ldx_arena *arena, const bson_t *projection, ldx_error *error) {
  work w = {.arena = arena, .error = error};
  bson_iter_t iter;
  if (!bson_iter_init(&iter, projection) || !add_document(&w, "", &iter)) return NULL;
  if (w.included && w.excluded && !refuse(&w, "either includes or excludes")) return NULL;
  if (!w.count && !w.with_id && !w.without_id && !refuse(&w, "names at least one field")) return NULL;
  if (!check_paths(&w)) return NULL;
  if (w.count > 1) qsort(w.paths, w.count, sizeof *w.paths, compare_texts);
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  /* Left out, `_id` is not covered, whatever the others say; by itself it says whether the rest is. */
  if (w.with_id || !w.count) ldx_buffer_appendf(&b, ", \"_id\": %d", w.with_id);
  for (size_t i = 0; i < w.count; i++) {
    ldx_buffer_append(&b, ", ");
    ldx_mongo_quote(&b, w.paths[i], strlen(w.paths[i]));
    ldx_buffer_appendf(&b, ": %d", w.included);
  }
  return ldx_arena_printf(arena, "{%s}", ldx_buffer_string(&b) + 2);
}
