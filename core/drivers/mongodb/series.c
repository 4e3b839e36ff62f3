/* series.c: what a time-series collection takes. Its documents are kept in buckets, with the least and the greatest value of
 * each measured field; so of these there is less than of the metadata, which all documents of a bucket share.
 */
#include <string.h>

#include "check.h"
#include "json.h"
#include "path.h"
#include "spec.h"

typedef struct series {
  const char *time, *meta; /* the fields' names; meta: "" if there is none */
  ldx_error *error;
} series;

static bool refuse(const series *s, const char *message, const char *hint) {
  ldx_error_set(s->error, LDX_ERROR_INVALID_DEFINITION, "%s", message);
  if (hint) ldx_error_hint(s->error, "%s", hint);
  return false;
}

static bool is_of(const char *path, const char *field) {
  size_t length = strlen(field);
  return length && !strncmp(path, field, length) && (path[length] == '.' || !path[length]);
}

/* --- keys ------------------------------------------------------------------------------------------------------------------ */

static bool is_number(const ldx_key *key) {
  return !key->opclass || ldx_mongo_is_number(key->opclass);
}

static bool check_key(const series *s, const ldx_key *key, bool sparse) {
  if (is_of(key->column, s->meta)) return true;
  bool time = !strcmp(key->column, s->time);
  if (strstr(key->column, "$**"))
    return refuse(s, "in a time-series collection a wildcard covers the metadata only",
                  "Write the name of its metadata field before it: \"meta.$**\".");
  if (!is_number(key) && (time || strcmp(key->opclass, "2dsphere") != 0)) {
    ldx_error_set(s->error, LDX_ERROR_INVALID_DEFINITION, "in a time-series collection %.200s cannot be \"%.100s\"",
                  key->column, key->opclass);
    ldx_error_hint(s->error, "The time is ascending or descending, what is measured can be 2dsphere, too, and the "
                             "metadata anything but text.");
    return false;
  }
  return time || !sparse || refuse(s, "an index on what a time-series collection measures is not sparse", NULL);
}

/* --- partial filters --------------------------------------------------------------------------------------------------------- */

static bool check_operand(const series *s, const char *path, const bson_iter_t *value) {
  bool time = !strcmp(path, s->time);
  if (time ? BSON_ITER_HOLDS_DATE_TIME(value)
           : !BSON_ITER_HOLDS_DOCUMENT(value) && !BSON_ITER_HOLDS_ARRAY(value) && !BSON_ITER_HOLDS_NULL(value))
    return true;
  ldx_error_set(
      s->error, LDX_ERROR_INVALID_DEFINITION,
      time ? "in the partial filter of a time-series collection %.200s is compared with dates only"
           : "in the partial filter of a time-series collection %.200s is compared with no null, object or list",
      path);
  ldx_error_hint(s->error, "Only its metadata can be compared with anything.");
  return false;
}

static bool check_operator(const series *s, const char *path, const bson_iter_t *iter) {
  const char *name = bson_iter_key(iter);
  bson_iter_t element;
  if (!strcmp(name, "$type"))
    return refuse(s, "the partial filter of a time-series collection has $type for its metadata only", NULL);
  if (!strcmp(name, "$in") || !strcmp(name, "$all")) {
    bool ok = bson_iter_recurse(iter, &element);
    while (ok && bson_iter_next(&element)) ok = check_operand(s, path, &element);
    return ok;
  }
  return !strcmp(name, "$exists") || !strncmp(name, "$geo", 4) || !strcmp(name, "$within") ||
         check_operand(s, path, iter);
}

/* Which is a value, and no operator. */
static bool is_reference(const char *name) {
  return !strcmp(name, "$ref") || !strcmp(name, "$id") || !strcmp(name, "$db");
}

static bool check_filter(const series *s, bson_iter_t iter) {
  bson_iter_t part;
  while (bson_iter_next(&iter)) {
    const char *path = bson_iter_key(&iter);
    bool ok = true;
    if (!strcmp(path, "$and") || !strcmp(path, "$or")) {
      bson_iter_t element;
      if (!bson_iter_recurse(&iter, &element)) continue;
      while (ok && bson_iter_next(&element)) ok = !bson_iter_recurse(&element, &part) || check_filter(s, part);
    } else if (*path != '$' && !is_of(path, s->meta)) {
      if (*path && (*path == '.' || strstr(path, "..") || path[strlen(path) - 1] == '.'))
        return refuse(s, "the partial filter of a time-series collection has a field without a name", NULL);
      bool operators = BSON_ITER_HOLDS_DOCUMENT(&iter) && bson_iter_recurse(&iter, &part) && bson_iter_next(&part) &&
                       *bson_iter_key(&part) == '$' && !is_reference(bson_iter_key(&part));
      if (!operators) ok = check_operand(s, path, &iter);
      for (bool more = operators; ok && more; more = bson_iter_next(&part)) ok = check_operator(s, path, &part);
    }
    if (!ok) return false;
  }
  return true;
}

/* --- all of it ---------------------------------------------------------------------------------------------------------------- */

static bool check(const series *s, const ldx_definition *d) {
  bool sparse = ldx_mongo_option(&d->traits, "sparse") != NULL, ok = true;
  if (d->unique) return refuse(s, "a time-series collection has no unique indexes", NULL);
  if (ldx_mongo_option(&d->storage, "expireAfterSeconds"))
    return refuse(s, "in a time-series collection nothing expires by an index",
                  "The collection itself has an option expireAfterSeconds.");
  if (ldx_mongo_kind_of(d) == LDX_MONGO_TEXT) return refuse(s, "a time-series collection has no text indexes", NULL);
  for (size_t i = 0; ok && i < d->key_count; i++) ok = check_key(s, &d->keys[i], sparse);
  for (size_t i = 0; ok && i < d->key_count; i++)
    if (!is_number(&d->keys[i]) && !is_of(d->keys[i].column, s->meta) &&
        ldx_mongo_option(&d->storage, "2dsphereIndexVersion"))
      return refuse(s, "an index on what a time-series collection measures has no older 2dsphereIndexVersion", NULL);
  if (!ok || !d->predicate) return ok;
  bson_t filter;
  bson_iter_t iter;
  if (!ldx_mongo_parse(d->predicate, "the partial filter", &filter, s->error)) return false;
  ok = !bson_iter_init(&iter, &filter) || check_filter(s, iter);
  bson_destroy(&filter);
  return ok;
}

bool ldx_mongo_check_series(const ldx_definition *d, const ldx_relation *relation, ldx_error *error) {
  bson_t options;
  if (!ldx_mongo_parse(relation->options, "the collection's options", &options, error)) return false;
  series s = {ldx_mongo_text_at(&options, "timeseries.timeField"), ldx_mongo_text_at(&options, "timeseries.metaField"),
              error};
  bool ok = check(&s, d);
  bson_destroy(&options);
  return ok;
}
