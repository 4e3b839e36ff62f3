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
#include "shell.h"

/* --- which index will do --------------------------------------------------------------------------------------------- */

static bool has_field(bson_iter_t fields, const char *name) {
  return bson_iter_find(&fields, name);
}

static bool flag(const bson_t *spec, const char *name) {
  bson_iter_t iter;
  return bson_iter_init_find(&iter, spec, name) && bson_iter_as_bool(&iter);
}

/* The wanted keys come first in it, in whatever order. */
static bool same_keys(const bson_t *spec, const bson_t *other, bool *more) {
  bson_iter_t iter, wanted, key, count;
  if (!bson_iter_init_find(&iter, spec, "key") || !bson_iter_recurse(&iter, &wanted)) return false;
  if (!bson_iter_init_find(&iter, other, "key") || !bson_iter_recurse(&iter, &key)) return false;
  count = wanted;
  while (bson_iter_next(&count))
    if (!bson_iter_next(&key) || !BSON_ITER_HOLDS_NUMBER(&key) || !has_field(wanted, bson_iter_key(&key))) return false;
  *more = bson_iter_next(&key);
  return true;
}

static bool same_filter(const bson_t *spec, const bson_t *other) {
  bson_iter_t a, b;
  bool x = bson_iter_init_find(&a, spec, "partialFilterExpression");
  bool y = bson_iter_init_find(&b, other, "partialFilterExpression");
  return x == y && (!x || ldx_mongo_equal(&a, &b));
}

/* What is asked for is part of what the server made of it. Without one, the collection's own counts, which is not known
 * here: an index that has one might compare otherwise. */
static bool same_collation(const bson_t *spec, const bson_t *other) {
  bson_iter_t a, b, asked, made;
  bool x = bson_iter_init_find(&a, spec, "collation"), y = bson_iter_init_find(&b, other, "collation");
  if (!x || !y) return x == y;
  if (!bson_iter_recurse(&a, &asked)) return false;
  while (bson_iter_next(&asked))
    if (!bson_iter_recurse(&b, &made) || !bson_iter_find(&made, bson_iter_key(&asked)) ||
        !ldx_mongo_equal(&asked, &made))
      return false;
  return true;
}

bool ldx_mongo_can_walk(const bson_t *spec, const ldx_mongo_index *index) {
  bool more, sparse = flag(spec, "sparse");
  /* A hint on a hidden index is refused. */
  if (index->building || index->hidden || !same_keys(spec, &index->spec, &more)) return false;
  /* A sparse index of more fields has documents that lack all of these. */
  if (sparse != flag(&index->spec, "sparse") || (sparse && more)) return false;
  return same_filter(spec, &index->spec) && same_collation(spec, &index->spec);
}

/* --- the walk --------------------------------------------------------------------------------------------------------- */

typedef struct walk {
  ldx_mongo_attempt *attempt;
  size_t fields;
  ldx_mongo_duplicates *found;
  uint8_t *last; /* the neighbour's key, malloc'ed */
  uint32_t last_length, capacity;
  size_t times; /* how often it has come */
  size_t seen;
} walk;

static bool same_key(const walk *w, const bson_t *key) {
  bson_t last;
  bson_iter_t a, b;
  if (key->len == w->last_length && !memcmp(bson_get_data(key), w->last, key->len)) return true;
  if (!bson_init_static(&last, w->last, w->last_length) || !bson_iter_init(&a, key) || !bson_iter_init(&b, &last))
    return false;
  for (size_t i = 0; i < w->fields; i++)
    if (!bson_iter_next(&a) || !bson_iter_next(&b) || !ldx_mongo_equal(&a, &b)) return false;
  return true;
}

/* `{ email: "a" } 3 times`: one group more. */
static void add_sample(ldx_mongo_attempt *attempt, ldx_mongo_duplicates *found, const bson_t *key, size_t fields,
                       double times) {
  bson_t part = BSON_INITIALIZER;
  bson_iter_t iter;
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  if (bson_iter_init(&iter, key))
    for (size_t i = 0; i < fields && bson_iter_next(&iter); i++) bson_append_iter(&part, NULL, -1, &iter);
  ldx_mongo_shell_document(&b, &part);
  ldx_buffer_appendf(&b, " %.0f times", times);
  found->samples[found->sample_count++] = ldx_buffer_string(&b);
  bson_destroy(&part);
}

static void end_group(walk *w) {
  bson_t last;
  if (w->times < 2) return;
  w->found->groups++;
  w->found->documents += (double)w->times;
  if (w->found->sample_count < LDX_MONGO_SAMPLES && bson_init_static(&last, w->last, w->last_length))
    add_sample(w->attempt, w->found, &last, w->fields, (double)w->times);
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
  if (++w->seen % LOOK_AROUND == 0 && ldx_context_cancelled(w->attempt->context))
    return ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
  if (w->times && same_key(w, key)) {
    w->times++;
    return true;
  }
  end_group(w);
  keep(w, key);
  w->times = 1;
  return true;
}

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

static bool is_multikey(ldx_mongo_attempt *attempt, const bson_t *find, bool *multikey) {
  bson_t command = BSON_INITIALIZER, reply;
  bson_iter_t iter;
  BSON_APPEND_DOCUMENT(&command, "explain", find);
  BSON_APPEND_UTF8(&command, "verbosity", "queryPlanner");
  bool ok = ldx_mongo_command(attempt->session, NULL, &command, &reply, attempt->error);
  *multikey = ok && bson_iter_init(&iter, &reply) && says_multikey(&iter);
  bson_destroy(&reply);
  bson_destroy(&command);
  return ok;
}

bool ldx_mongo_walk_index(ldx_mongo_attempt *attempt, const ldx_mongo_index *index, size_t fields, bool *walked,
                          ldx_mongo_duplicates *found) {
  walk state = {.attempt = attempt, .fields = fields, .found = found};
  bson_t *find = BCON_NEW("find", BCON_UTF8(attempt->step->relation.name), "hint", BCON_UTF8(index->name), "returnKey",
                          BCON_BOOL(true));
  bool multikey, ok = is_multikey(attempt, find, &multikey);
  *walked = ok && !multikey;
  if (*walked) {
    ldx_context_running(attempt->context, attempt->session->number);
    ok = ldx_mongo_walk(attempt->session, NULL, find, each_key, &state, attempt->error);
    ldx_context_running(attempt->context, 0);
    if (ok) end_group(&state);
  }
  bson_free(state.last);
  bson_destroy(find);
  return ok;
}
