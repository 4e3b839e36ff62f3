/* listing.c: all keys of several documents, each with the _ids of all of them, however many there are.
 *
 * DESIGN: An index of these keys is walked (walk.c), and so many of those that it finds at a time are asked for with their
 * documents, by equality and in the order of that index: no other document is fetched. What cannot be asked for so, and all
 * that has a collation, of which the index holds no more than what it sorts by, is found by a walk that fetches every
 * document. Where there is no such index, the server sorts the keys of all documents and gives those that come several
 * times, one document at a time, for all _ids of a key may not fit into one.
 */
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/buffer.h"
#include "duplicates.h"
#include "equal.h"
#include "json.h"
#include "path.h"
#include "spec.h"

enum { CHUNK = 1000, CHUNK_BYTES = 1 << 20 };

/* What a document's own key in the index is called beside its fields. */
static const char own_key[] = "lunadex key";

typedef struct finder {
  ldx_mongo_attempt *attempt;
  ldx_listing *listing;
  bson_t spec;
  bool sparse, collated;
  const ldx_mongo_index *index;
  size_t fields;
  /* keys that are asked for next, with their hashes */
  bson_t keys[CHUNK];
  uint64_t hashes[CHUNK];
  size_t count, bytes;
  bool left; /* some cannot be */
  /* while documents come in the order of the index: */
  bool all;     /* every document does */
  bson_t last;  /* the key of the one before */
  bson_t first; /* the first document of that key, as far as it was fetched */
  size_t times; /* so many have come with it */
  bool wanted;  /* they are listed */
} finder;

/* --- handing over ----------------------------------------------------------------------------------------------------- */

static bool add_id(finder *f, const bson_iter_t *id, ldx_error *error) {
  ldx_arena *arena = ldx_arena_new();
  bool ok = ldx_listing_id(f->listing, ldx_mongo_json_value(arena, id), error);
  ldx_arena_free(arena);
  return ok;
}

static void begin_key(finder *f, const bson_t *key) {
  ldx_arena *arena = ldx_arena_new();
  ldx_listing_key(f->listing, ldx_mongo_json(arena, key));
  ldx_arena_free(arena);
}

static bool go_on(const finder *f, ldx_error *error) {
  return !ldx_context_cancelled(f->attempt->context) || ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
}

/* --- by an index: which keys ------------------------------------------------------------------------------------------ */

/* Whether `{ $in: [value] }` finds by the index just what has this key. */
static bool can_ask_for(const finder *f, const bson_iter_t *value) {
  bson_iter_t member;
  switch (bson_iter_type(value)) {
  case BSON_TYPE_DOUBLE:
  case BSON_TYPE_UTF8:
  case BSON_TYPE_BINARY:
  case BSON_TYPE_OID:
  case BSON_TYPE_BOOL:
  case BSON_TYPE_DATE_TIME:
  case BSON_TYPE_INT32:
  case BSON_TYPE_TIMESTAMP:
  case BSON_TYPE_INT64:
  case BSON_TYPE_DECIMAL128:
    return true;
  case BSON_TYPE_NULL: /* which a sparse index is not asked for */
    return !f->sparse;
  case BSON_TYPE_DOCUMENT: /* unless it would be taken for an operator */
    return bson_iter_recurse(value, &member) && (!bson_iter_next(&member) || *bson_iter_key(&member) != '$');
  default:
    return false;
  }
}

static bool can_ask(const finder *f, const bson_t *key) {
  bson_iter_t value;
  if (f->collated || key->len > CHUNK_BYTES || !bson_iter_init(&value, key)) return false;
  for (size_t i = 0; i < f->fields && bson_iter_next(&value); i++)
    if (!can_ask_for(f, &value)) return false;
  return true;
}

static uint64_t hash_of(const finder *f, const bson_t *key) {
  bson_iter_t value;
  ldx_buffer form;
  ldx_buffer_init(&form, NULL);
  if (bson_iter_init(&value, key))
    for (size_t i = 0; i < f->fields && bson_iter_next(&value); i++) {
      ldx_mongo_form(&form, &value);
      ldx_buffer_append_char(&form, '\n');
    }
  uint64_t hash = XXH3_64bits(ldx_buffer_string(&form), form.length);
  ldx_buffer_free(&form);
  return hash;
}

/* The fields are asked for one by one, and so come in combinations that nobody asked for. */
static bool is_asked_for(const finder *f, const bson_t *key) {
  uint64_t hash = hash_of(f, key);
  for (size_t i = 0; i < f->count; i++)
    if (f->hashes[i] == hash && ldx_mongo_same_key(&f->keys[i], key, f->fields)) return true;
  return false;
}

/* --- by an index: their documents ------------------------------------------------------------------------------------- */

/* The key as a document has it, where the index holds something else. */
static void begin_found(finder *f, const bson_t *key, const bson_t *document) {
  bson_t part;
  bson_iter_t field, value;
  if (!f->collated) {
    ldx_mongo_first_fields(key, f->fields, &part);
  } else {
    bson_init(&part);
    if (bson_iter_init(&field, key))
      for (size_t i = 0; i < f->fields && bson_iter_next(&field); i++) {
        const char *name = bson_iter_key(&field);
        if (ldx_mongo_find(document, name, &value))
          bson_append_iter(&part, name, -1, &value);
        else
          BSON_APPEND_NULL(&part, name);
      }
  }
  begin_key(f, &part);
  bson_destroy(&part);
}

static void begin_neighbours(finder *f, const bson_t *key, const bson_t *document) {
  bson_destroy(&f->last);
  bson_destroy(&f->first);
  bson_copy_to(key, &f->last);
  bson_copy_to(document, &f->first);
  f->times = 1;
  f->wanted = false;
}

static bool each_document(const bson_t *document, void *state, ldx_error *error) {
  finder *f = state;
  bson_t key;
  bson_iter_t id, first;
  if (!go_on(f, error)) return false;
  if (!ldx_mongo_find(document, "_id", &id) || !ldx_mongo_document_at(document, own_key, &key)) return true;
  if (!f->times || !ldx_mongo_same_key(&f->last, &key, f->fields)) {
    begin_neighbours(f, &key, document);
    return true;
  }
  if (++f->times == 2) {
    f->wanted = f->all ? !can_ask(f, &key) : is_asked_for(f, &key);
    if (f->wanted) begin_found(f, &key, &f->first);
    if (f->wanted && ldx_mongo_find(&f->first, "_id", &first) && !add_id(f, &first, error)) return false;
  }
  return !f->wanted || add_id(f, &id, error);
}

/* What is left of a document: its _id, its key, and of a collation what the key is made of. */
static void append_projection(const finder *f, bson_t *find) {
  const ldx_definition *d = f->attempt->step->definition;
  bson_t projection, meta;
  BSON_APPEND_DOCUMENT_BEGIN(find, "projection", &projection);
  BSON_APPEND_INT32(&projection, "_id", 1);
  BSON_APPEND_DOCUMENT_BEGIN(&projection, own_key, &meta);
  BSON_APPEND_UTF8(&meta, "$meta", "indexKey");
  bson_append_document_end(&projection, &meta);
  for (size_t i = 0; i < d->key_count && f->collated; i++) {
    char *name = bson_strndup(d->keys[i].column, strcspn(d->keys[i].column, "."));
    if (!bson_has_field(&projection, name)) BSON_APPEND_INT32(&projection, name, 1);
    bson_free(name);
  }
  bson_append_document_end(find, &projection);
}

/* `{ "a.b": { $in: […] } }` of the field of that place in all keys that are asked for. */
static void append_values(const finder *f, bson_t *condition, size_t place) {
  bson_t in, list;
  bson_iter_t value, before;
  char number[16];
  const char *at, *name = NULL;
  uint32_t count = 0;
  for (size_t i = 0; i < f->count; i++) {
    if (!bson_iter_init(&value, &f->keys[i])) continue;
    for (size_t j = 0; j <= place; j++) bson_iter_next(&value);
    if (!name) {
      name = bson_iter_key(&value);
      bson_append_document_begin(condition, name, -1, &in);
      BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    } else if (ldx_mongo_equal(&before, &value)) {
      continue;
    }
    before = value;
    bson_uint32_to_string(count++, &at, number, sizeof number);
    bson_append_iter(&list, at, -1, &value);
  }
  bson_append_array_end(&in, &list);
  bson_append_document_end(condition, &in);
}

static void append_filter(const finder *f, bson_t *find) {
  bson_t filter, list, condition, partial;
  char number[16];
  const char *at;
  uint32_t count = 0;
  BSON_APPEND_DOCUMENT_BEGIN(find, "filter", &filter);
  BSON_APPEND_ARRAY_BEGIN(&filter, "$and", &list);
  /* An index with a filter is good only for what says that filter. */
  if (ldx_mongo_document_at(&f->spec, "partialFilterExpression", &partial)) {
    bson_uint32_to_string(count++, &at, number, sizeof number);
    bson_append_document(&list, at, -1, &partial);
  }
  for (size_t i = 0; i < f->fields; i++) {
    bson_uint32_to_string(count++, &at, number, sizeof number);
    bson_append_document_begin(&list, at, -1, &condition);
    append_values(f, &condition, i);
    bson_append_document_end(&list, &condition);
  }
  bson_append_array_end(&filter, &list);
  bson_append_document_end(find, &filter);
}

/* Of the keys that are asked for; of `all`, the others. */
static bool read_documents(finder *f, ldx_error *error) {
  bson_t *find = BCON_NEW("find", BCON_UTF8(f->attempt->step->relation.name), "hint", BCON_UTF8(f->index->name));
  if (!f->all) append_filter(f, find);
  append_projection(f, find);
  f->times = 0;
  ldx_context_running(f->attempt->context, f->attempt->session->number);
  bool ok = ldx_mongo_walk(f->attempt->session, NULL, find, each_document, f, error);
  bson_destroy(find);
  return ok;
}

static void forget(finder *f) {
  for (size_t i = 0; i < f->count; i++) bson_destroy(&f->keys[i]);
  f->count = f->bytes = 0;
}

static bool ask(finder *f, ldx_error *error) {
  bool ok = !f->count || read_documents(f, error);
  forget(f);
  return ok;
}

static bool each_group(const bson_t *key, size_t times, size_t position, void *state, ldx_error *error) {
  (void)times;
  (void)position;
  finder *f = state;
  if (!can_ask(f, key)) {
    f->left = true;
    return true;
  }
  bson_copy_to(key, &f->keys[f->count]);
  f->hashes[f->count++] = hash_of(f, key);
  f->bytes += key->len;
  return (f->count < CHUNK && f->bytes < CHUNK_BYTES) || ask(f, error);
}

static bool list_by_index(finder *f, bool *walked, ldx_error *error) {
  bool ok = ldx_mongo_walk_index(f->attempt, f->index, f->fields, walked, each_group, f, error);
  ok = ok && ask(f, error);
  if (ok && f->left) {
    f->all = true;
    ok = read_documents(f, error);
  }
  ldx_context_running(f->attempt->context, 0);
  return ok;
}

/* --- by all documents ------------------------------------------------------------------------------------------------- */

/* One document of a key; `place` 1: its first. */
static bool each_row(const bson_t *row, void *state, ldx_error *error) {
  finder *f = state;
  const ldx_definition *d = f->attempt->step->definition;
  bson_t key, named = BSON_INITIALIZER, none = BSON_INITIALIZER;
  bson_iter_t id, value;
  if (!go_on(f, error)) return false;
  if (!ldx_mongo_find(row, "_id", &id) || !ldx_mongo_document_at(row, "key", &key)) return true;
  if (ldx_mongo_integer_at(row, "place") == 1) {
    for (size_t i = 0; i < d->key_count; i++) {
      char place[24];
      snprintf(place, sizeof place, "k%zu", i);
      if (ldx_mongo_find(&key, place, &value))
        bson_append_iter(&named, d->keys[i].column, -1, &value);
      else
        BSON_APPEND_ARRAY(&named, d->keys[i].column, &none);
    }
    begin_key(f, &named);
  }
  bson_destroy(&named);
  bson_destroy(&none);
  return add_id(f, &id, error);
}

static bool list_by_documents(finder *f, bool *listed, ldx_error *error) {
  static const char several[] =
      "{\"$setWindowFields\": {\"partitionBy\": \"$key\", \"sortBy\": {\"_id\": 1}, \"output\": "
      "{\"n\": {\"$count\": {}}, \"place\": {\"$documentNumber\": {}}}}}, {\"$match\": {\"n\": {\"$gt\": 1}}}";
  bson_t pipeline;
  bool ok = ldx_mongo_keys_pipeline(f->attempt->arena, f->attempt->step, &f->spec, NULL, several, &pipeline, error);
  *listed = ok && !bson_empty(&pipeline);
  ok = ok && ldx_mongo_run_pipeline(f->attempt, &f->spec, &pipeline, NULL, each_row, f, error);
  bson_destroy(&pipeline);
  return ok;
}

/* --- by what collMod found -------------------------------------------------------------------------------------------- */

/* Where nothing else can say it: the documents without their keys, and no more of them than its answer had room for. */
static bool list_violations(finder *f, const bson_t *reply, ldx_error *error) {
  bson_iter_t member, id;
  bson_t group;
  if (!reply || !ldx_mongo_members_at(reply, "violations", &member))
    return ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "no query says which they are");
  while (bson_iter_next(&member)) {
    if (!ldx_mongo_view(&member, &group) || !ldx_mongo_members_at(&group, "ids", &id)) continue;
    ldx_listing_key(f->listing, "null");
    while (bson_iter_next(&id))
      if (!add_id(f, &id, error)) return false;
  }
  return !strstr(ldx_mongo_text_at(reply, "errmsg"), "Too many") ||
         ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "the server tells no more of them");
}

/* --- all of it -------------------------------------------------------------------------------------------------------- */

static bool list(finder *f, const bson_t *violations, ldx_error *error) {
  ldx_mongo_attempt look = *f->attempt;
  ldx_mongo_indexes indexes;
  bool listed = false, ok = true;
  look.error = error;
  if (!ldx_mongo_see(&look, &indexes)) return false;
  for (size_t i = 0; ok && i < indexes.count && !listed; i++) {
    f->index = &indexes.items[i];
    f->collated = bson_has_field(&f->index->spec, "collation");
    if (ldx_mongo_can_walk(&look, &f->spec, f->index)) ok = list_by_index(f, &listed, error);
  }
  if (ok && !listed) ok = list_by_documents(f, &listed, error);
  return ok && (listed || list_violations(f, violations, error));
}

void ldx_mongo_list_duplicates(ldx_mongo_attempt *attempt, const bson_t *violations) {
  const ldx_step *step = attempt->step;
  ldx_error error;
  if (!step->list_duplicates) return;
  finder *f = bson_malloc0(sizeof *f);
  f->attempt = attempt;
  f->fields = step->definition->key_count;
  f->listing = ldx_listing_new(attempt->context);
  bson_init(&f->last);
  bson_init(&f->first);
  ldx_error_clear(&error);
  bool ok = ldx_mongo_spec_of(step->definition, step->name, true, &f->spec, &error);
  if (ok) {
    f->sparse = ldx_mongo_flag_at(&f->spec, "sparse");
    ok = list(f, violations, &error);
    bson_destroy(&f->spec);
  }
  if (!ldx_listing_end(f->listing, ok, &error) && error.code != LDX_ERROR_CANCELLED)
    ldx_context_note(attempt->context, "the list of duplicates is not complete: %s", error.message);
  forget(f);
  bson_destroy(&f->last);
  bson_destroy(&f->first);
  bson_free(f);
}
