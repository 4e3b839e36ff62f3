/* walk.c: duplicates, by reading an index in its order and comparing neighbours: no sorting, no fetching, and on a couple
 * of million documents thirty times as fast as $group.
 *
 * `returnKey` gives the keys as the index has them: under a collation its sort keys, for a missing field null. An index
 * of fields that hold arrays has several keys a document, of which a walk would give one.
 */
#include <string.h>

#include "base/buffer.h"
#include "duplicates.h"
#include "equal.h"
#include "path.h"
#include "shell.h"

/* --- which index will do --------------------------------------------------------------------------------------------- */

static bool has_field(bson_iter_t fields, const char *name) {
  return bson_iter_find(&fields, name);
}

/* The wanted keys come first in it, in whatever order. */
static bool same_keys(const bson_t *spec, const bson_t *other, bool *more) {
  bson_iter_t wanted, key, count;
  if (!ldx_mongo_members_at(spec, "key", &wanted) || !ldx_mongo_members_at(other, "key", &key)) return false;
  count = wanted;
  while (bson_iter_next(&count))
    if (!bson_iter_next(&key) || !BSON_ITER_HOLDS_NUMBER(&key) || !has_field(wanted, bson_iter_key(&key))) return false;
  *more = bson_iter_next(&key);
  return true;
}

static bool same_filter(const bson_t *spec, const bson_t *other) {
  bson_iter_t a, b;
  bool x = ldx_mongo_find(spec, "partialFilterExpression", &a);
  bool y = ldx_mongo_find(other, "partialFilterExpression", &b);
  return x == y && (!x || ldx_mongo_equal(&a, &b));
}

/* What is asked for is part of what the server made of it. Without one, the collection's own counts, which is not known
 * here: an index that has one might compare otherwise. */
static bool same_collation(const bson_t *spec, const bson_t *other) {
  bson_iter_t a, b, asked, made;
  bool x = ldx_mongo_find(spec, "collation", &a), y = ldx_mongo_find(other, "collation", &b);
  if (!x || !y) return x == y;
  if (!bson_iter_recurse(&a, &asked)) return false;
  while (bson_iter_next(&asked))
    if (!bson_iter_recurse(&b, &made) || !bson_iter_find(&made, bson_iter_key(&asked)) ||
        !ldx_mongo_equal(&asked, &made))
      return false;
  return true;
}

bool ldx_mongo_can_walk(const ldx_mongo_attempt *attempt, const bson_t *spec, const ldx_mongo_index *index) {
  bool more, sparse = ldx_mongo_flag_at(spec, "sparse");
  /* A router mixes what the shards give, and equal keys come apart. */
  if (attempt->session->sharded) return false;
  /* A hint on a hidden index is refused. */
  if (index->building || index->now.hidden || !same_keys(spec, &index->spec, &more)) return false;
  /* A sparse index of more fields has documents that lack all of these. */
  if (sparse != ldx_mongo_flag_at(&index->spec, "sparse") || (sparse && more)) return false;
  return same_filter(spec, &index->spec) && same_collation(spec, &index->spec);
}

/* --- the walk --------------------------------------------------------------------------------------------------------- */

typedef struct walk {
  ldx_mongo_attempt *attempt;
  size_t fields;
  ldx_mongo_each_group each;
  void *state;
  uint8_t *last; /* the neighbour's key, malloc'ed */
  uint32_t last_length, capacity;
  size_t times; /* how often it has come */
  size_t seen;
} walk;

bool ldx_mongo_same_key(const bson_t *one, const bson_t *other, size_t fields) {
  bson_iter_t a, b;
  if (!bson_iter_init(&a, one) || !bson_iter_init(&b, other)) return false;
  for (size_t i = 0; i < fields; i++)
    if (!bson_iter_next(&a) || !bson_iter_next(&b) || !ldx_mongo_equal(&a, &b)) return false;
  return true;
}

void ldx_mongo_first_fields(const bson_t *key, size_t fields, bson_t *part) {
  bson_iter_t iter;
  bson_init(part);
  if (bson_iter_init(&iter, key))
    for (size_t i = 0; i < fields && bson_iter_next(&iter); i++) bson_append_iter(part, NULL, -1, &iter);
}

static bool same_key(const walk *w, const bson_t *key) {
  bson_t last;
  if (key->len == w->last_length && !memcmp(bson_get_data(key), w->last, key->len)) return true;
  return bson_init_static(&last, w->last, w->last_length) && ldx_mongo_same_key(key, &last, w->fields);
}

static bool end_group(walk *w, ldx_error *error) {
  bson_t last;
  return w->times < 2 || !bson_init_static(&last, w->last, w->last_length) ||
         w->each(&last, w->times, w->seen - w->times, w->state, error);
}

static void keep(walk *w, const bson_t *key) {
  if (key->len > w->capacity) {
    w->capacity = key->len * 2;
    bson_free(w->last);
    w->last = bson_malloc(w->capacity);
  }
  memcpy(w->last, bson_get_data(key), key->len);
  w->last_length = key->len;
}

static bool each_key(const bson_t *key, void *state, ldx_error *error) {
  enum { LOOK_AROUND = 1024 };
  walk *w = state;
  if (w->seen % LOOK_AROUND == 0 && ldx_context_cancelled(w->attempt->context))
    return ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
  if (w->times && same_key(w, key)) {
    w->times++;
  } else {
    if (!end_group(w, error)) return false;
    keep(w, key);
    w->times = 1;
  }
  w->seen++;
  return true;
}

/* --- arrays ----------------------------------------------------------------------------------------------------------- */

/* Whether the plan of the walk says so somewhere. */
static bool says_multikey(bson_iter_t *fields) {
  bson_iter_t inner;
  while (bson_iter_next(fields)) {
    if (!strcmp(bson_iter_key(fields), "isMultiKey") && bson_iter_as_bool(fields)) return true;
    bool nested = BSON_ITER_HOLDS_DOCUMENT(fields) || BSON_ITER_HOLDS_ARRAY(fields);
    if (nested && bson_iter_recurse(fields, &inner) && says_multikey(&inner)) return true;
  }
  return false;
}

static bool is_multikey(ldx_mongo_attempt *attempt, const bson_t *find, bool *multikey, ldx_error *error) {
  bson_t command = BSON_INITIALIZER, reply;
  bson_iter_t iter;
  BSON_APPEND_DOCUMENT(&command, "explain", find);
  BSON_APPEND_UTF8(&command, "verbosity", "queryPlanner");
  bool ok = ldx_mongo_command(attempt->session, NULL, &command, &reply, error);
  *multikey = ok && bson_iter_init(&iter, &reply) && says_multikey(&iter);
  bson_destroy(&reply);
  bson_destroy(&command);
  return ok;
}

bool ldx_mongo_walk_index(ldx_mongo_attempt *attempt, const ldx_mongo_index *index, size_t fields, bool *walked,
                          ldx_mongo_each_group each, void *state, ldx_error *error) {
  walk w = {.attempt = attempt, .fields = fields, .each = each, .state = state};
  bson_t *find = BCON_NEW("find", BCON_UTF8(attempt->step->relation.name), "hint", BCON_UTF8(index->name), "returnKey",
                          BCON_BOOL(true));
  bool multikey, ok = is_multikey(attempt, find, &multikey, error);
  *walked = ok && !multikey;
  if (*walked) {
    ldx_context_running(attempt->context, attempt->session->number);
    ok = ldx_mongo_walk(attempt->session, NULL, find, each_key, &w, error) && end_group(&w, error);
    ldx_context_running(attempt->context, 0);
  }
  bson_free(w.last);
  bson_destroy(find);
  return ok;
}

/* --- some of them ----------------------------------------------------------------------------------------------------- */

/* One key of several documents, to be told. */
typedef struct sample {
  bson_t key;
  size_t position; /* of the first of them in the index */
  size_t times;
} sample;

typedef struct samples {
  ldx_mongo_attempt *attempt;
  const ldx_mongo_index *index;
  size_t fields;
  ldx_mongo_duplicates *found;
  sample items[LDX_MONGO_SAMPLES];
  size_t count;
} samples;

static bool each_group(const bson_t *key, size_t times, size_t position, void *state, ldx_error *error) {
  (void)error;
  samples *all = state;
  all->found->keys++;
  all->found->times += (double)times;
  if (all->count == LDX_MONGO_SAMPLES) return true;
  sample *s = &all->items[all->count++];
  s->position = position;
  s->times = times;
  bson_copy_to(key, &s->key);
  return true;
}

typedef struct naming {
  const bson_t *key;
  size_t fields;
  bson_t ids; /* an array */
  uint32_t count;
} naming;

static bool each_document(const bson_t *document, void *state, ldx_error *error) {
  (void)error;
  naming *n = state;
  bson_iter_t id;
  bson_t key;
  char number[16];
  const char *place;
  /* Somebody may have written in between. */
  if (!ldx_mongo_find(document, "_id", &id) || !ldx_mongo_document_at(document, "key", &key) ||
      !ldx_mongo_same_key(&key, n->key, n->fields))
    return true;
  bson_uint32_to_string(n->count++, &place, number, sizeof number);
  return bson_append_iter(&n->ids, place, -1, &id);
}

/* `{ email: "a" }` */
static const char *key_text(const samples *all, const bson_t *key) {
  bson_t part;
  ldx_buffer b;
  ldx_mongo_first_fields(key, all->fields, &part);
  ldx_buffer_init(&b, all->attempt->arena);
  ldx_mongo_shell_document(&b, &part);
  bson_destroy(&part);
  return ldx_buffer_string(&b);
}

/* The walk gives keys and no documents, which would have to be fetched; those of a sample are, from where they stood. */
static bool name_sample(const samples *all, const sample *which) {
  naming state = {.key = &which->key, .fields = all->fields, .ids = BSON_INITIALIZER};
  bson_t holder = BSON_INITIALIZER;
  bson_iter_t ids;
  size_t most = which->times < LDX_MONGO_SAMPLE_IDS ? which->times : LDX_MONGO_SAMPLE_IDS;
  bson_t *find = BCON_NEW("find", BCON_UTF8(all->attempt->step->relation.name), "hint", BCON_UTF8(all->index->name),
                          "skip", BCON_INT64((int64_t)which->position), "limit", BCON_INT64((int64_t)most),
                          "projection", "{", "_id", BCON_INT32(1), "key", "{", "$meta", "indexKey", "}", "}");
  bool ok = ldx_mongo_walk(all->attempt->session, NULL, find, each_document, &state, all->attempt->error);
  BSON_APPEND_ARRAY(&holder, "ids", &state.ids);
  if (ok && ldx_mongo_find(&holder, "ids", &ids))
    ldx_mongo_add_duplicate(all->attempt, all->found, key_text(all, &which->key), (double)which->times, &ids);
  bson_destroy(find);
  bson_destroy(&holder);
  bson_destroy(&state.ids);
  return ok;
}

bool ldx_mongo_walk_samples(ldx_mongo_attempt *attempt, const ldx_mongo_index *index, size_t fields, bool *walked,
                            ldx_mongo_duplicates *found) {
  samples all = {.attempt = attempt, .index = index, .fields = fields, .found = found};
  bool ok = ldx_mongo_walk_index(attempt, index, fields, walked, each_group, &all, attempt->error);
  for (size_t i = 0; i < all.count; i++) {
    ok = ok && name_sample(&all, &all.items[i]);
    bson_destroy(&all.items[i].key);
  }
  return ok;
}
