/* DESIGN
 *
 * A few hundred documents, taken at random, say how many entries a document makes and how long the key of one is. The
 * server stores keys in order and of each only what differs from the one before, so the part of a key that repeats in the
 * sample costs next to nothing: key by key, its bytes count as often as the keys so far are new. Against indexes on 200,000
 * documents of many types (6.0) this is within a third, mostly.
 */
#include "estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/buffer.h"
#include "builders.h"
#include "json.h"
#include "spec.h"

enum { SAMPLE = 500, PATIENCE_MS = 2000, MOST_ENTRIES = 20000, MOST_PARTS = 33 };

/* Of an entry: where its document is, and what holds the entries of a page together. */
static const double record_bytes = 4, new_key_bytes = 3;

typedef struct sample {
  ldx_measure *item;
  const ldx_definition *definition;
  ldx_mongo_kind kind;
  bool sparse;
  ldx_arena *arena;
  size_t entries, room;
  double bytes[MOST_PARTS];       /* of each key, all entries together */
  uint64_t *prefixes[MOST_PARTS]; /* by key: hashes of the entries' keys so far */
} sample;

/* --- lengths ------------------------------------------------------------------------------------------------------------ */

static double integer_bytes(int64_t number) {
  uint64_t rest = number < 0 ? (uint64_t) - (number + 1) : (uint64_t)number;
  double bytes = 2;
  for (; rest >= 128; rest /= 256) bytes++;
  return bytes;
}

static double value_bytes(const bson_iter_t *value) {
  uint32_t length = 0;
  const uint8_t *data;
  bson_subtype_t subtype;
  switch (bson_iter_type(value)) {
  case BSON_TYPE_UTF8:
    bson_iter_utf8(value, &length);
    return length + 2;
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
    return integer_bytes(bson_iter_as_int64(value));
  case BSON_TYPE_DOUBLE: {
    double number = bson_iter_double(value);
    return number == floor(number) && fabs(number) < 1e15 ? integer_bytes((int64_t)number) : 9;
  }
  case BSON_TYPE_DATE_TIME:
  case BSON_TYPE_TIMESTAMP:
    return 9;
  case BSON_TYPE_OID:
  case BSON_TYPE_DECIMAL128:
    return 13;
  case BSON_TYPE_BINARY:
    bson_iter_binary(value, &subtype, &length, &data);
    return length + 3;
  case BSON_TYPE_DOCUMENT:
    bson_iter_document(value, &length, &data);
    return length;
  case BSON_TYPE_ARRAY:
    bson_iter_array(value, &length, &data);
    return length;
  default:
    return 1;
  }
}

/* --- entries -------------------------------------------------------------------------------------------------------------- */

/* The values of one key in one document. */
typedef struct part {
  size_t count;
  double bytes; /* of one, on average */
  uint64_t hash[64];
} part;

static void add_value(part *p, uint64_t hash, double bytes) {
  if (p->count < sizeof p->hash / sizeof *p->hash) p->hash[p->count] = hash;
  p->bytes += bytes;
  p->count++;
}

/* `path`: what stands before it in the key; 0: nothing does. */
static void add_plain(part *p, const bson_iter_t *value, uint64_t path) {
  ldx_buffer form;
  ldx_buffer_init(&form, NULL);
  ldx_mongo_form(&form, value);
  add_value(p, XXH3_64bits_withSeed(ldx_buffer_string(&form), form.length, path), value_bytes(value));
  ldx_buffer_free(&form);
}

static void add_words(part *p, const bson_iter_t *value) {
  enum { WEIGHT = 9 };
  if (!BSON_ITER_HOLDS_UTF8(value)) return;
  static const char gaps[] = " \t\r\n.,;:!?()\"";
  for (const char *text = bson_iter_utf8(value, NULL); *(text += strspn(text, gaps));) {
    size_t length = strcspn(text, gaps);
    add_value(p, XXH3_64bits(text, length), (double)length + 2 + WEIGHT);
    text += length;
  }
}

static void add_leaves(part *p, bson_iter_t *iter, uint64_t path, bool array, bool words);

/* A value, or every leaf below it. A key of a wildcard is its path and its value, and of the path next to nothing is
 * stored, for it comes again and again. */
static void add_tree(part *p, const bson_iter_t *value, uint64_t path, bool words) {
  bson_iter_t member;
  bool array = BSON_ITER_HOLDS_ARRAY(value);
  if ((array || BSON_ITER_HOLDS_DOCUMENT(value)) && bson_iter_recurse(value, &member))
    add_leaves(p, &member, path, array, words);
  else if (words)
    add_words(p, value);
  else
    add_plain(p, value, path);
}

static void add_leaves(part *p, bson_iter_t *iter, uint64_t path, bool array, bool words) {
  while (bson_iter_next(iter))
    add_tree(p, iter, array ? path : XXH3_64bits_withSeed(bson_iter_key(iter), bson_iter_key_len(iter), path), words);
}

/* What stands at `path`: all elements of the arrays on the way. */
static void collect(const sample *s, part *p, bson_iter_t *iter, const char *path, bool words) {
  size_t length = strcspn(path, ".");
  const char *rest = path[length] ? path + length + 1 : NULL;
  while (bson_iter_next(iter)) {
    if (bson_iter_key_len(iter) != length || strncmp(bson_iter_key(iter), path, length) != 0) continue;
    bson_iter_t member, element;
    bool array = BSON_ITER_HOLDS_ARRAY(iter) && s->kind != LDX_MONGO_2D && s->kind != LDX_MONGO_2DSPHERE;
    if (array && bson_iter_recurse(iter, &element)) {
      while (bson_iter_next(&element)) {
        if (!rest)
          words ? add_words(p, &element) : add_plain(p, &element, 0);
        else if (BSON_ITER_HOLDS_DOCUMENT(&element) && bson_iter_recurse(&element, &member))
          collect(s, p, &member, rest, words);
      }
    } else if (rest) {
      if (BSON_ITER_HOLDS_DOCUMENT(iter) && bson_iter_recurse(iter, &member)) collect(s, p, &member, rest, words);
    } else if (words) {
      add_words(p, iter);
    } else {
      add_plain(p, iter, 0);
    }
    return;
  }
}

static void read_part(const sample *s, const bson_t *document, const ldx_key *key, part *p) {
  enum { GEO = 10, HASH = 9 };
  bson_iter_t iter, below;
  bool words = key->opclass && !strcmp(key->opclass, "text");
  const char *wildcard = strstr(key->column, "$**");
  if (!bson_iter_init(&iter, document)) return;
  if (wildcard == key->column)
    add_leaves(p, &iter, 0, false, words);
  else if (!wildcard)
    collect(s, p, &iter, key->column, words);
  else if (bson_iter_find_descendant(
               &iter, ldx_arena_strndup(s->arena, key->column, (size_t)(wildcard - key->column) - 1), &below))
    add_tree(p, &below, 0, words);
  bool fixed = key->opclass && (!strcmp(key->opclass, "hashed") || !strncmp(key->opclass, "2d", 2));
  if (fixed) p->bytes = (double)p->count * (strcmp(key->opclass, "hashed") ? GEO : HASH);
}

static void make_room(sample *s) {
  size_t room = s->room ? 2 * s->room : SAMPLE;
  for (size_t k = 0; k < s->definition->key_count; k++) {
    uint64_t *more = LDX_ARENA_NEW(s->arena, uint64_t, room);
    if (s->entries) memcpy(more, s->prefixes[k], s->entries * sizeof *more);
    s->prefixes[k] = more;
  }
  s->room = room;
}

/* The document's entries are all combinations of its keys' values; of an array there is only one. */
static void read_document(const bson_t *document, sample *s) {
  size_t keys = s->definition->key_count, entries = 1, present = 0, words = 0;
  part *parts = calloc(keys, sizeof *parts);
  if (!parts) abort(); /* as the arena does */
  for (size_t k = 0; k < keys; k++) {
    part *p = &parts[k];
    read_part(s, document, &s->definition->keys[k], p);
    present += p->count > 0;
    bool text = s->kind == LDX_MONGO_TEXT && s->definition->keys[k].opclass;
    if (text || s->kind == LDX_MONGO_WILDCARD)
      words += p->count;
    else if (!p->count)
      add_value(p, 0, 1); /* missing: null */
    if (p->count > entries) entries = p->count;
  }
  bool left_out = (s->sparse || s->kind == LDX_MONGO_2D || s->kind == LDX_MONGO_2DSPHERE) && !present;
  if ((s->kind == LDX_MONGO_TEXT || s->kind == LDX_MONGO_WILDCARD) && !words) left_out = true;
  for (size_t e = 0; e < entries && !left_out && s->entries < MOST_ENTRIES; e++, s->entries++) {
    uint64_t hash = 0;
    if (s->entries == s->room) make_room(s);
    for (size_t k = 0; k < keys; k++) {
      const part *p = &parts[k];
      size_t kept = p->count < 64 ? p->count : 64;
      uint64_t own[2] = {hash, kept ? p->hash[e % kept] : 0};
      hash = XXH3_64bits(own, sizeof own);
      s->prefixes[k][s->entries] = hash;
      if (p->count) s->bytes[k] += p->bytes / (double)p->count;
    }
  }
  free(parts);
}

/* --- the estimate ----------------------------------------------------------------------------------------------------------- */

static int compare_hashes(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static double share_of_new(uint64_t *hashes, size_t count) {
  size_t distinct = 0;
  qsort(hashes, count, sizeof *hashes, compare_hashes);
  for (size_t i = 0; i < count; i++) distinct += i == 0 || hashes[i] != hashes[i - 1];
  return count ? (double)distinct / (double)count : 0;
}

static double entry_bytes(sample *s) {
  double bytes = record_bytes, share = 0;
  for (size_t k = 0; k < s->definition->key_count; k++) {
    share = share_of_new(s->prefixes[k], s->entries);
    bytes += share * s->bytes[k] / (double)s->entries;
  }
  return bytes + share * new_key_bytes;
}

/* Samples that are made of the same documents. */
typedef struct samples {
  sample *items;
  size_t count;
} samples;

static bool each_document(const bson_t *document, void *state, ldx_error *error) {
  (void)error;
  const samples *all = state;
  for (size_t i = 0; i < all->count; i++) read_document(document, &all->items[i]);
  return true;
}

/* Of the documents that fulfil `filter`, of all if it is NULL; and what they come to. */
static bool take(ldx_session *session, samples *all, const char *filter, ldx_error *error) {
  bson_t match = BSON_INITIALIZER;
  if (!all->count) return true;
  if (filter) {
    bson_destroy(&match);
    if (!ldx_mongo_parse(filter, "the partial filter", &match, error)) return ldx_mongo_unknown_then(error);
  }
  const char *collection = all->items->item->relation->name.name;
  bson_t *command = BCON_NEW("aggregate", BCON_UTF8(collection), "pipeline", "[", "{", "$sample", "{", "size",
                             BCON_INT32(SAMPLE), "}", "}", "{", "$match", BCON_DOCUMENT(&match), "}", "]", "cursor",
                             "{", "batchSize", BCON_INT32(SAMPLE + 1), "}", "maxTimeMS", BCON_INT32(PATIENCE_MS));
  bool ok = ldx_mongo_walk(session, NULL, command, each_document, all, error);
  bson_destroy(command);
  bson_destroy(&match);
  if (!ok) return ldx_mongo_unknown_then(error);
  for (size_t i = 0; i < all->count; i++) {
    sample *s = &all->items[i];
    double rows = s->item->rows, taken = rows < SAMPLE ? rows : SAMPLE;
    s->item->entries = rows * (double)s->entries / taken;
    s->item->index_bytes = s->entries ? s->item->entries * entry_bytes(s) : 0;
  }
  return true;
}

bool ldx_mongo_estimate(ldx_session *session, ldx_measure *const *items, size_t count, ldx_error *error) {
  ldx_arena *arena = ldx_arena_new();
  samples whole = {.items = LDX_ARENA_NEW(arena, sample, count)};
  bool ok = true;
  for (size_t i = 0; ok && i < count; i++) {
    const ldx_definition *d = items[i]->definition;
    if (d && items[i]->rows == 0) items[i]->index_bytes = items[i]->entries = 0;
    if (!d || items[i]->rows <= 0 || d->kind != LDX_KIND_INDEX || !d->key_count || d->key_count >= MOST_PARTS) continue;
    const char *sparse = ldx_mongo_option(&d->traits, "sparse");
    sample *s = d->predicate ? LDX_ARENA_NEW(arena, sample, 1) : &whole.items[whole.count++];
    *s = (sample){.item = items[i],
                  .definition = d,
                  .kind = ldx_mongo_kind_of(d),
                  .sparse = sparse && !strcmp(sparse, "true"),
                  .arena = arena};
    if (d->predicate) ok = take(session, &(samples){s, 1}, d->predicate, error);
  }
  ok = ok && take(session, &whole, NULL, error);
  ldx_arena_free(arena);
  return ok;
}
