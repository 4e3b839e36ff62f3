/* keys.c: the keys that a document has in an index, in the words of the aggregation language.
 *
 * The server's rules (6.0), which the specs hold against collMod's dry run: what is missing is null; an array stands for
 * each of its elements, in the middle of a path only for those that are documents, and null for each other; an empty one
 * is null in the middle of a path, and a key of its own at the end. Paths that pass through the same array do so together.
 * A sparse index has no key where none of its fields is there.
 */
#include <ctype.h>
#include <string.h>

#include "base/buffer.h"
#include "duplicates.h"
#include "json.h"

/* A key's path as far as it is not walked yet. */
typedef struct rest {
  const char *path;
  size_t place;
} rest;

typedef struct work {
  ldx_arena *arena;
  bool sparse;
} work;

static size_t first_part(const char *path) {
  return strcspn(path, ".");
}

/* None of its names is a number, which could be a place in an array, or would not be read as a name. */
static bool is_plain(const char *path) {
  for (const char *part = path; part; part = strchr(part, '.') ? strchr(part, '.') + 1 : NULL)
    if (isdigit((unsigned char)*part) || *part == '$' || !*part || *part == '.') return false;
  return true;
}

static bool begins(const char *path, const char *longer) {
  size_t length = strlen(path);
  return !strncmp(path, longer, length) && (!longer[length] || longer[length] == '.');
}

static bool can_be_said(const ldx_definition *d) {
  for (size_t i = 0; i < d->key_count; i++) {
    if (!d->keys[i].column || d->keys[i].opclass || !is_plain(d->keys[i].column)) return false;
    for (size_t j = 0; j < d->key_count; j++)
      if (i != j && begins(d->keys[i].column, d->keys[j].column)) return false;
  }
  return d->key_count > 0;
}

/* The end of a path: `value` is one key, or an array of them. With a sparse index, `f` says that something was there. */
static const char *end_of_path(const work *w, const char *value, size_t place) {
  const char *found = w->sparse ? "\"f\": true" : "", *comma = w->sparse ? ", " : "";
  const char *found_then =
      w->sparse
          ? ldx_arena_printf(w->arena,
                             ", \"f\": {\"$cond\": [{\"$eq\": [{\"$type\": %s}, \"missing\"]}, \"$$REMOVE\", true]}",
                             value)
          : "";
  return ldx_arena_printf(w->arena,
                          "{\"$cond\": [{\"$isArray\": [%s]}, {\"$cond\": [{\"$eq\": [%s, []]}, [{%s}], "
                          "{\"$map\": {\"input\": %s, \"in\": {\"k%zu\": \"$$this\"%s%s}}}]}, "
                          "[{\"k%zu\": {\"$ifNull\": [%s, null]}%s}]]}",
                          value, value, found, value, place, comma, found, place, value, found_then);
}

static const char *keys_below(const work *w, const char *parent, const rest *list, size_t count, int depth);

/* The middle of a path: each element of an array, or `value` alone. */
static const char *middle_of_path(const work *w, const char *value, const rest *list, size_t count, int depth) {
  const char *each = ldx_arena_printf(w->arena, "e%d", depth);
  const char *below = keys_below(w, ldx_arena_printf(w->arena, "$$%s.", each), list, count, depth + 1);
  return ldx_arena_printf(
      w->arena,
      "{\"$reduce\": {\"input\": {\"$cond\": [{\"$isArray\": [%s]}, {\"$cond\": [{\"$eq\": [%s, []]}, [null], %s]}, "
      "[%s]]}, "
      "\"initialValue\": [], \"in\": {\"$concatArrays\": [\"$$value\", {\"$let\": {\"vars\": {\"%s\": "
      "{\"$cond\": [{\"$isArray\": [\"$$this\"]}, null, \"$$this\"]}}, \"in\": %s}}]}}}",
      value, value, value, value, each, below);
}

/* Each of the one with each of the other. */
static const char *combined(const work *w, const char *one, const char *other) {
  return ldx_arena_printf(
      w->arena,
      "{\"$reduce\": {\"input\": %s, \"initialValue\": [], \"in\": {\"$concatArrays\": [\"$$value\", "
      "{\"$map\": {\"input\": %s, \"as\": \"l\", \"in\": {\"$mergeObjects\": [\"$$l\", \"$$this\"]}}}]}}}",
      other, one);
}

/* The keys of all these paths, which go on below `parent`: "$", or "$$e1.". */
static const char *keys_below(const work *w, const char *parent, const rest *list, size_t count, int depth) {
  const char *all = NULL;
  rest *together = LDX_ARENA_NEW(w->arena, rest, count);
  for (size_t i = 0; i < count; i++) {
    size_t length = first_part(list[i].path), found = 0;
    bool told = false;
    for (size_t j = 0; j < count; j++) {
      bool same = first_part(list[j].path) == length && !strncmp(list[i].path, list[j].path, length);
      if (same && j < i) told = true;
      if (same && list[j].path[length]) together[found++] = (rest){list[j].path + length + 1, list[j].place};
    }
    if (told) continue;
    ldx_buffer value;
    ldx_buffer_init(&value, w->arena);
    ldx_mongo_quote(&value, ldx_arena_printf(w->arena, "%s%.*s", parent, (int)length, list[i].path),
                    strlen(parent) + length);
    const char *keys = found ? middle_of_path(w, ldx_buffer_string(&value), together, found, depth)
                             : end_of_path(w, ldx_buffer_string(&value), list[i].place);
    all = all ? combined(w, all, keys) : keys;
  }
  return all;
}

/* The keys of which something was there, without the word for it: where it stands differs, and equal keys are equal in the
 * order of their fields, too. */
static const char *found_ones(ldx_arena *arena, const char *keys, size_t count) {
  ldx_buffer fields;
  ldx_buffer_init(&fields, arena);
  for (size_t i = 0; i < count; i++) ldx_buffer_appendf(&fields, "%s\"k%zu\": \"$$this.k%zu\"", i ? ", " : "", i, i);
  return ldx_arena_printf(
      arena, "{\"$map\": {\"input\": {\"$filter\": {\"input\": %s, \"cond\": \"$$this.f\"}}, \"in\": {%s}}}", keys,
      ldx_buffer_string(&fields));
}

const char *ldx_mongo_keys_expression(ldx_arena *arena, const ldx_definition *definition, bool sparse) {
  work w = {arena, sparse};
  if (!can_be_said(definition)) return NULL;
  rest *list = LDX_ARENA_NEW(arena, rest, definition->key_count);
  for (size_t i = 0; i < definition->key_count; i++) list[i] = (rest){definition->keys[i].column, i};
  const char *keys = keys_below(&w, "$", list, definition->key_count, 0);
  if (sparse) keys = found_ones(arena, keys, definition->key_count);
  return ldx_arena_printf(arena, "{\"$setUnion\": [%s]}", keys);
}
