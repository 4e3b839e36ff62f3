/* spec.c: what a server has, as a definition; and which definitions collMod can turn into one another. */
#include "spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"
#include "json.h"
#include "path.h"
#include "projection.h"

const char *ldx_mongo_option(const ldx_options *options, const char *name) {
  for (size_t i = 0; i < options->count; i++)
    if (!strcmp(options->items[i].name, name)) return options->items[i].value;
  return NULL;
}

bool ldx_mongo_is_old(const ldx_options *storage) {
  const char *version = ldx_mongo_option(storage, "v");
  return version && atof(version) == 1;
}

bool ldx_mongo_is_number(const char *opclass) {
  const char *digits = opclass + (*opclass == '-');
  if (!strcmp(digits, "Infinity")) return true;
  return digits[strspn(digits, "0123456789+-.eE")] == '\0' && strpbrk(digits, "0123456789");
}

static bool holds(const ldx_key *key, const char *what) {
  return key->opclass && !strcmp(key->opclass, what);
}

static bool is_wildcard(const char *path) {
  size_t length = strlen(path);
  return !strcmp(path, "$**") || (length > 4 && !strcmp(path + length - 4, ".$**"));
}

ldx_mongo_kind ldx_mongo_kind_of(const ldx_definition *definition) {
  for (size_t i = 0; i < definition->key_count; i++) {
    const ldx_key *key = &definition->keys[i];
    if (holds(key, "text")) return LDX_MONGO_TEXT;
    if (holds(key, "hashed")) return LDX_MONGO_HASHED;
    if (holds(key, "2dsphere")) return LDX_MONGO_2DSPHERE;
    if (holds(key, "2d")) return LDX_MONGO_2D;
  }
  bool wildcard = definition->key_count > 0 && is_wildcard(definition->keys[0].column);
  return wildcard ? LDX_MONGO_WILDCARD : LDX_MONGO_PLAIN;
}

/* --- keys --------------------------------------------------------------------------------------------------------------- */

static void set_key(ldx_arena *arena, ldx_key *key, const char *path, const bson_iter_t *value) {
  key->column = path;
  if (BSON_ITER_HOLDS_UTF8(value)) {
    key->opclass = ldx_arena_strdup(arena, bson_iter_utf8(value, NULL));
    return;
  }
  double direction = bson_iter_as_double(value); /* a decimal gives 0 */
  if (direction == 1) return;
  ldx_buffer number;
  ldx_buffer_init(&number, arena);
  if (direction != -1) ldx_mongo_number(&number, value);
  const char *text = direction == -1 ? "-1" : ldx_buffer_string(&number);
  if (!strcmp(text, "-1"))
    key->descending = key->nulls_first = true;
  else if (strcmp(text, "1") != 0)
    key->opclass = text;
}

static int compare_keys(const void *a, const void *b) {
  return strcmp(((const ldx_key *)a)->column, ((const ldx_key *)b)->column);
}

static bool is_text(const bson_iter_t *value) {
  return BSON_ITER_HOLDS_UTF8(value) && !strcmp(bson_iter_utf8(value, NULL), "text");
}

/* The fields of a text index: those that its key names, which the server replaces by `_fts` and `_ftsx`, and those that
 * have a weight, which it gives to all. Their order is of no consequence. */
static size_t set_text_keys(ldx_arena *arena, ldx_key *keys, const bson_t *spec) {
  bson_iter_t member;
  size_t count = 0, kept = 0;
  if (ldx_mongo_members_at(spec, "key", &member))
    while (bson_iter_next(&member))
      if (is_text(&member) && strcmp(bson_iter_key(&member), "_fts") != 0)
        keys[count++].column = ldx_arena_strdup(arena, bson_iter_key(&member));
  if (ldx_mongo_members_at(spec, "weights", &member))
    while (bson_iter_next(&member)) keys[count++].column = ldx_arena_strdup(arena, bson_iter_key(&member));
  if (count > 1) qsort(keys, count, sizeof *keys, compare_keys);
  for (size_t i = 0; i < count; i++)
    if (!kept || strcmp(keys[kept - 1].column, keys[i].column) != 0) keys[kept++].column = keys[i].column;
  for (size_t i = 0; i < kept; i++) keys[i].opclass = "text";
  return kept;
}

/* At most: a text index has the fields that its weights name beside those of its key. */
static size_t count_keys(const bson_t *spec, const bson_t *key) {
  bson_iter_t member;
  size_t count = 0;
  bool text = false;
  if (!bson_iter_init(&member, key)) return 0;
  for (; bson_iter_next(&member); count++) text = text || is_text(&member);
  return text ? count + ldx_mongo_count_at(spec, "weights") : count;
}

static void read_keys(ldx_arena *arena, const bson_t *spec, const bson_iter_t *value, ldx_definition *definition) {
  bson_iter_t member;
  bson_t key;
  bool text = false;
  if (!ldx_mongo_view(value, &key) || !bson_iter_init(&member, &key)) return;
  definition->keys = LDX_ARENA_NEW(arena, ldx_key, count_keys(spec, &key));
  while (bson_iter_next(&member)) {
    const char *path = bson_iter_key(&member);
    ldx_key *next = &definition->keys[definition->key_count];
    if (is_text(&member)) {
      if (!text) definition->key_count += set_text_keys(arena, next, spec);
      text = true;
    } else if (!text || strcmp(path, "_ftsx") != 0) {
      set_key(arena, next, ldx_arena_strdup(arena, path), &member);
      definition->key_count++;
    }
  }
}

/* --- options -------------------------------------------------------------------------------------------------------------- */

static const char *flag_value(ldx_arena *arena, const bson_iter_t *iter) {
  (void)arena;
  return ldx_mongo_truth(iter) ? "true" : NULL;
}

/* Whole seconds, as the server counts them; what is no number lasts for ever. */
static const char *seconds_value(ldx_arena *arena, const bson_iter_t *iter) {
  double value = ldx_mongo_whole(iter);
  return ldx_arena_printf(arena, "%lld", isnan(value) || value > INT32_MAX ? INT32_MAX : (long long)value);
}

static const char *collation_value(ldx_arena *arena, const bson_iter_t *iter) {
  bson_t document;
  return ldx_mongo_view(iter, &document) ? ldx_mongo_collation_form(arena, &document) : NULL;
}

static const char *projection_value(ldx_arena *arena, const bson_iter_t *iter) {
  bson_t document;
  return ldx_mongo_view(iter, &document) ? ldx_mongo_projection_form(arena, &document, NULL) : NULL;
}

static const char *number_value(ldx_arena *arena, const bson_iter_t *iter) {
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  ldx_mongo_number(&b, iter);
  return ldx_buffer_string(&b);
}

static const char *whole_value(ldx_arena *arena, const bson_iter_t *iter) {
  return ldx_arena_printf(arena, "%.0f", ldx_mongo_whole(iter));
}

/* In order of field; whole numbers, which is what the server keeps; without those that are 1. */
static const char *weights_value(ldx_arena *arena, const bson_iter_t *iter) {
  bson_t document;
  bson_iter_t member;
  size_t count = 0;
  if (!ldx_mongo_view(iter, &document)) return NULL;
  ldx_key *keys = LDX_ARENA_NEW(arena, ldx_key, bson_count_keys(&document) + 1);
  if (bson_iter_init(&member, &document)) {
    while (bson_iter_next(&member)) {
      long long weight = (long long)ldx_mongo_whole(&member);
      if (weight == 1) continue;
      keys[count].column = ldx_arena_strdup(arena, bson_iter_key(&member));
      keys[count++].opclass = ldx_arena_printf(arena, "%lld", weight);
    }
  }
  if (count > 1) qsort(keys, count, sizeof *keys, compare_keys);
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  for (size_t i = 0; i < count; i++) {
    ldx_buffer_append(&b, i ? ", " : "{");
    ldx_mongo_quote(&b, keys[i].column, strlen(keys[i].column));
    ldx_buffer_appendf(&b, ": %s", keys[i].opclass);
  }
  if (count) ldx_buffer_append_char(&b, '}');
  return count ? ldx_buffer_string(&b) : NULL;
}

static const struct {
  const char *name;
  bool trait;
  const char *usual; /* the server's default, which is left out */
  const char *(*value)(ldx_arena *arena, const bson_iter_t *iter);
} options[] = {
    {"sparse", true, NULL, flag_value},
    {"collation", true, NULL, collation_value},
    {"wildcardProjection", true, NULL, projection_value},
    {"expireAfterSeconds", false, NULL, seconds_value},
    {"hidden", false, NULL, flag_value},
    {"prepareUnique", false, NULL, flag_value},
    {"weights", false, NULL, weights_value},
    {"default_language", false, "\"english\"", ldx_mongo_json_value},
    {"language_override", false, "\"language\"", ldx_mongo_json_value},
    {"bits", false, "26", whole_value},
    {"min", false, "-180", number_value},
    {"max", false, "180", number_value},
    {"finestIndexedLevel", false, NULL, number_value},
    {"coarsestIndexedLevel", false, NULL, number_value},
    {"storageEngine", false, NULL, ldx_mongo_json_value},
    {"v", false, "2", whole_value},
    {"textIndexVersion", false, "3", whole_value},
    {"2dsphereIndexVersion", false, "3", whole_value},
};

enum { OPTIONS = sizeof options / sizeof *options };

static void add_options(ldx_arena *arena, ldx_options *list, size_t count, const char *const *values, bool trait) {
  if (!count) return;
  list->items = LDX_ARENA_NEW(arena, ldx_option, count);
  for (size_t i = 0; i < OPTIONS; i++)
    if (values[i] && options[i].trait == trait) list->items[list->count++] = (ldx_option){options[i].name, values[i]};
}

/* Into its place among `values`, if it is one that we know and not the server's default. */
static void read_option(ldx_arena *arena, const char *name, const bson_iter_t *iter, const char **values) {
  for (size_t i = 0; i < OPTIONS; i++) {
    if (strcmp(name, options[i].name) != 0) continue;
    const char *value = options[i].value(arena, iter);
    if (value && !(options[i].usual && !strcmp(value, options[i].usual))) values[i] = value;
    return;
  }
}

const char *ldx_mongo_definition_of(ldx_arena *arena, const bson_t *spec, const char *collection_collation,
                                    ldx_definition *definition) {
  const char *values[OPTIONS] = {NULL}, *own_name = "";
  size_t traits = 0, rest = 0;
  bson_iter_t iter;
  bson_t filter;
  definition->kind = LDX_KIND_INDEX;
  definition->method = "";
  if (!bson_iter_init(&iter, spec)) return own_name;
  /* One pass over the fields: catalogs are large, and most indexes have few options. The options come in our order. */
  while (bson_iter_next(&iter)) {
    const char *name = bson_iter_key(&iter);
    if (!strcmp(name, "v") && ldx_mongo_double(&iter) == 2) continue; /* nearly all have it */
    if (!strcmp(name, "name")) {
      if (BSON_ITER_HOLDS_UTF8(&iter)) own_name = ldx_arena_strdup(arena, bson_iter_utf8(&iter, NULL));
    } else if (!strcmp(name, "key")) {
      read_keys(arena, spec, &iter, definition);
    } else if (!strcmp(name, "unique")) {
      definition->unique = ldx_mongo_truth(&iter);
    } else if (!strcmp(name, "partialFilterExpression") && ldx_mongo_view(&iter, &filter)) {
      definition->predicate = ldx_mongo_json(arena, &filter);
      definition->predicate_form = ldx_mongo_filter_form(arena, &filter, NULL);
    } else {
      read_option(arena, name, &iter, values);
    }
  }
  for (size_t i = 0; i < OPTIONS; i++) {
    if (!values[i] && !strcmp(options[i].name, "collation") && collection_collation) values[i] = LDX_MONGO_SIMPLE;
    if (values[i] && options[i].trait) traits++;
    if (values[i] && !options[i].trait) rest++;
  }
  add_options(arena, &definition->traits, traits, values, true);
  add_options(arena, &definition->storage, rest, values, false);
  return own_name;
}

void ldx_mongo_set_collation(ldx_arena *arena, ldx_definition *definition, const char *collation) {
  ldx_option *items = LDX_ARENA_NEW(arena, ldx_option, definition->traits.count + 1);
  size_t count = 0;
  bool placed = !collation;
  for (size_t i = 0; i < definition->traits.count; i++) {
    const ldx_option *trait = &definition->traits.items[i];
    if (!strcmp(trait->name, "collation")) continue;
    /* Before all but `sparse`, which is where a server's would stand. */
    if (!placed && strcmp(trait->name, "sparse") != 0) {
      items[count++] = (ldx_option){"collation", collation};
      placed = true;
    }
    items[count++] = *trait;
  }
  if (!placed) items[count++] = (ldx_option){"collation", collation};
  definition->traits = (ldx_options){count, items};
}

/* --- what collMod can do ---------------------------------------------------------------------------------------------------- */

static bool same_option(const ldx_options *a, const ldx_options *b, const char *name) {
  const char *x = ldx_mongo_option(a, name), *y = ldx_mongo_option(b, name);
  return x && y ? !strcmp(x, y) : x == y;
}

bool ldx_mongo_can_alter(const ldx_definition *to, const ldx_live *live) {
  const ldx_options *from = &live->definition->storage;
  for (size_t i = 0; i < OPTIONS; i++) {
    const char *name = options[i].name;
    bool any = !strcmp(name, "hidden") || !strcmp(name, "prepareUnique");
    /* An index can get a time to live and another one, but not lose it. */
    bool gets = !strcmp(name, "expireAfterSeconds") && ldx_mongo_option(&to->storage, name);
    if (!options[i].trait && !any && !gets && !same_option(&to->storage, from, name)) return false;
  }
  return !live->extension_owned;
}

bool ldx_mongo_same_but_for_unique(const ldx_definition *a, const ldx_definition *b) {
  ldx_definition levelled = *a;
  levelled.unique = b->unique;
  return ldx_fingerprint_equal(ldx_definition_fingerprint(&levelled), ldx_definition_fingerprint(b));
}

bool ldx_mongo_can_become(const ldx_definition *to, const ldx_live *live) {
  if (!to->unique || live->definition->unique || to->key_count != live->definition->key_count) return false;
  return ldx_mongo_same_but_for_unique(live->definition, to) && ldx_mongo_can_alter(to, live);
}

bool ldx_mongo_is_between(const ldx_definition *now, const ldx_definition *from, const ldx_definition *to) {
  if (!ldx_mongo_same_but_for_unique(now, from) || (now->unique != from->unique && now->unique != to->unique))
    return false;
  for (size_t i = 0; i < OPTIONS; i++) {
    const char *name = options[i].name;
    bool state = !strcmp(name, "prepareUnique"); /* of a conversion, on either way */
    if (!options[i].trait && !state && !same_option(&now->storage, &from->storage, name) &&
        !same_option(&now->storage, &to->storage, name))
      return false;
  }
  return true;
}
