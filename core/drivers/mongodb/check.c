#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "path.h"
#include "session.h"
#include "spec.h"

enum { MOST_KEYS = 32, LONGEST_NAMESPACE = 255 };

static bool refuse(ldx_error *error, const char *message, const char *hint) {
  ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "%s", message);
  if (hint) ldx_error_hint(error, "%s", hint);
  return false;
}

/* --- keys --------------------------------------------------------------------------------------------------------------- */

static bool check_path(const char *path, ldx_error *error) {
  if (!*path || *path == '.' || path[strlen(path) - 1] == '.' || strstr(path, ".."))
    return refuse(error, "a key has a field without a name", NULL);
  for (const char *part = path; part; part = strchr(part, '.') ? strchr(part, '.') + 1 : NULL) {
    size_t length = strcspn(part, ".");
    bool wildcard = !strcmp(part, "$**");
    bool reference = part > path && ((length == 3 && !strncmp(part, "$id", 3)) ||
                                     (length == 4 && !strncmp(part, "$ref", 4)) || !strncmp(part, "$db", 3));
    if (*part == '$' && !wildcard && !reference) {
      ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "a key cannot have the name %.200s: a field begins with $",
                    path);
      return false;
    }
  }
  return true;
}

static bool check_key(const ldx_key *key, ldx_error *error) {
  static const char *const types[] = {"text", "hashed", "2d", "2dsphere"};
  if (!key->column) return refuse(error, "MongoDB has no indexes on expressions", "Name a field.");
  if (!check_path(key->column, error)) return false;
  if (key->collation)
    return refuse(error, "in MongoDB a collation is the whole index's, not one key's", "Give it as an option.");
  if (!key->opclass) return true;
  if (ldx_mongo_is_number(key->opclass))
    return strtod(key->opclass, NULL) != 0 || refuse(error, "a key's direction cannot be 0", "Write 1 or -1.");
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(types[i], key->opclass)) return true;
  ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "there is no index type \"%.100s\"", key->opclass);
  ldx_error_hint(error, "Write 1, -1, \"text\", \"hashed\", \"2dsphere\" or \"2d\".");
  return false;
}

static size_t count_of(const ldx_definition *d, const char *type) {
  size_t count = 0;
  for (size_t i = 0; i < d->key_count; i++) count += d->keys[i].opclass && !strcmp(d->keys[i].opclass, type);
  return count;
}

/* Which types of keys go together. */
static bool check_types(const ldx_definition *d, ldx_error *error) {
  size_t text = count_of(d, "text"), hashed = count_of(d, "hashed"), flat = count_of(d, "2d");
  size_t sphere = count_of(d, "2dsphere");
  if ((text > 0) + (hashed > 0) + (flat > 0) + (sphere > 0) > 1)
    return refuse(error, "an index can have one special type only (text, hashed, 2d, 2dsphere)", NULL);
  if (hashed > 1) return refuse(error, "only one key of an index can be hashed", NULL);
  if (flat > 1) return refuse(error, "only one key of an index can be 2d", NULL);
  if (flat && !(d->keys[0].opclass && !strcmp(d->keys[0].opclass, "2d")))
    return refuse(error, "the 2d key has to be the first", NULL);
  size_t blocks = 0;
  for (size_t i = 0; i < d->key_count; i++) {
    bool here = d->keys[i].opclass && !strcmp(d->keys[i].opclass, "text");
    bool before = i > 0 && d->keys[i - 1].opclass && !strcmp(d->keys[i - 1].opclass, "text");
    blocks += here && !before;
  }
  if (blocks > 1) return refuse(error, "the text keys of an index have to stand side by side", NULL);
  for (size_t i = 0; text && i < d->key_count; i++)
    if (d->keys[i].opclass && strcmp(d->keys[i].opclass, "text") != 0 && strtod(d->keys[i].opclass, NULL) != 1 &&
        strtod(d->keys[i].opclass, NULL) != -1)
      return refuse(error, "beside text keys others are 1 or -1", NULL);
  return true;
}

static bool check_wildcard(const ldx_definition *d, ldx_error *error) {
  for (size_t i = 0; i < d->key_count; i++) {
    const ldx_key *key = &d->keys[i];
    const char *wildcard = strstr(key->column, "$**");
    if (!wildcard || (key->opclass && !strcmp(key->opclass, "text"))) continue;
    if (d->key_count > 1)
      return refuse(error, "a wildcard index has one key only",
                    "From MongoDB 7.0 it may have others; Lunadex does not do that yet.");
    if (key->descending || (key->opclass && *key->opclass == '-'))
      return refuse(error, "a wildcard key has no direction but 1", NULL);
    if (key->opclass && !ldx_mongo_is_number(key->opclass)) return refuse(error, "a wildcard key has no type", NULL);
  }
  return true;
}

/* What the server makes of text keys: declared as it lists them, with the fields among the weights, or not at all. */
static bool check_listed_text(const ldx_definition *d, ldx_error *error) {
  bool text = count_of(d, "text") > 0, weights = ldx_mongo_option(&d->storage, "weights") != NULL;
  for (size_t i = 0; i < d->key_count; i++) {
    bool first = !strcmp(d->keys[i].column, "_fts"), second = !strcmp(d->keys[i].column, "_ftsx");
    bool pair = first ? i + 1 < d->key_count && !strcmp(d->keys[i + 1].column, "_ftsx") && d->keys[i].opclass
                      : i > 0 && !strcmp(d->keys[i - 1].column, "_fts");
    if ((first || (second && text)) && !(pair && weights))
      return refuse(error, "the keys _fts and _ftsx stand for the fields of a text index",
                    "Name the fields themselves.");
  }
  return true;
}

bool ldx_mongo_check(const ldx_definition *d, ldx_error *error) {
  if (d->kind != LDX_KIND_INDEX) {
    ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "MongoDB has no %s", ldx_kind_name(d->kind));
    if (d->kind != LDX_KIND_FOREIGN_KEY) ldx_error_hint(error, "Declare a unique index.");
    return false;
  }
  if ((d->method && *d->method) || d->include.count || d->nulls_not_distinct || d->tablespace)
    return refuse(error, "MongoDB has no methods, included columns or tablespaces",
                  "An index type is said of its key: { location = \"2dsphere\" }.");
  if (d->key_count == 0) return refuse(error, "an index needs at least one key", NULL);
  if (d->key_count > MOST_KEYS) return refuse(error, "an index has 32 keys at most", NULL);
  for (size_t i = 0; i < d->key_count; i++) {
    if (!check_key(&d->keys[i], error)) return false;
    for (size_t j = 0; j < i; j++)
      if (!strcmp(d->keys[i].column, d->keys[j].column))
        return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "the key %.200s is there twice", d->keys[i].column);
  }
  return check_listed_text(d, error) && check_types(d, error) && check_wildcard(d, error);
}

/* --- options ------------------------------------------------------------------------------------------------------------ */

static bool has(const bson_t *spec, const char *name) {
  bson_iter_t iter;
  return bson_iter_init_find(&iter, spec, name) && (!BSON_ITER_HOLDS_BOOL(&iter) || bson_iter_bool(&iter));
}

static double number(const bson_t *spec, const char *name, double otherwise) {
  bson_iter_t iter;
  return bson_iter_init_find(&iter, spec, name) ? ldx_mongo_double(&iter) : otherwise;
}

static double whole(const bson_t *spec, const char *name, double otherwise) {
  bson_iter_t iter;
  return bson_iter_init_find(&iter, spec, name) ? ldx_mongo_whole(&iter) : otherwise;
}

static bool is_on_id(const ldx_definition *d) {
  return d->key_count == 1 && !strcmp(d->keys[0].column, "_id") && !d->keys[0].opclass;
}

static bool check_time_to_live(const ldx_definition *d, const bson_t *spec, ldx_error *error) {
  if (!has(spec, "expireAfterSeconds")) return true;
  double seconds = whole(spec, "expireAfterSeconds", 0);
  bson_iter_t iter, key;
  size_t keys = 0; /* fields that have a weight only are none to the server here */
  if (bson_iter_init_find(&iter, spec, "key") && bson_iter_recurse(&iter, &key))
    while (bson_iter_next(&key)) keys++;
  if (keys > 1)
    return refuse(error, "an index with expireAfterSeconds has one key only",
                  "Declare another index on the date alone.");
  if (is_on_id(d)) return refuse(error, "documents cannot expire by _id", "Use a field with a date.");
  if (ldx_mongo_kind_of(d) == LDX_MONGO_WILDCARD) return refuse(error, "documents cannot expire by a wildcard", NULL);
  if (seconds < 0 || seconds > INT32_MAX)
    return refuse(error, "expireAfterSeconds lies between 0 and 2147483647", NULL);
  return true;
}

static bool check_identity(const ldx_definition *d, ldx_error *error) {
  static const char hint[] = "Every collection has it; it need not be declared.";
  if (!is_on_id(d)) return true;
  if (d->keys[0].descending) return refuse(error, "the index on _id is ascending", hint);
  const char *option = d->unique ? "unique" : d->predicate ? "partialFilterExpression" : NULL;
  for (size_t i = 0; i < d->traits.count; i++)
    if (strcmp(d->traits.items[i].name, "collation") != 0) option = d->traits.items[i].name;
  if (d->storage.count) option = d->storage.items[0].name;
  if (!option) return true;
  ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "the index on _id is unique by itself and has no option %s",
                option);
  ldx_error_hint(error, "%s", hint);
  return false;
}

/* Text keys, and fields that have a weight, may name no reference. */
static bool check_text_path(const char *path, ldx_error *error) {
  if (!strcmp(path, "$**")) return true;
  for (const char *dollar = strchr(path, '$'); dollar; dollar = strchr(dollar + 1, '$'))
    if (dollar == path || dollar[-1] == '.')
      return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION,
                           "a text index cannot have the field %.200s: a part of it begins with $", path);
  return true;
}

static bool check_text(ldx_mongo_kind kind, const ldx_definition *d, const bson_t *spec, ldx_error *error) {
  bson_iter_t iter, weight;
  const char *field = bson_has_field(spec, "language_override") ? ldx_mongo_text_at(spec, "language_override") : NULL;
  if (kind == LDX_MONGO_TEXT && field && (!*field || *field == '$' || strchr(field, '.'))) {
    ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "language_override cannot be \"%.200s\"", field);
    ldx_error_hint(error, "It names a field that stands beside the indexed ones, without dots and no $ before it.");
    return false;
  }
  bool first = whole(spec, "textIndexVersion", 3) == 1; /* which looks at no name */
  for (size_t i = 0; kind == LDX_MONGO_TEXT && !first && i < d->key_count; i++)
    if (d->keys[i].opclass && !strcmp(d->keys[i].opclass, "text") && !check_text_path(d->keys[i].column, error))
      return false;
  if (!bson_iter_init_find(&iter, spec, "weights")) return true;
  if (kind != LDX_MONGO_TEXT) return refuse(error, "weights are for text indexes", NULL);
  if (!bson_iter_recurse(&iter, &weight)) return true;
  while (bson_iter_next(&weight)) {
    double value = ldx_mongo_whole(&weight);
    if (!check_path(bson_iter_key(&weight), error)) return false;
    if (!(value >= 1 && value < 100000)) return refuse(error, "weights lie between 1 and 99999", NULL);
  }
  return true;
}

static bool is_among(double version, int least, int most) {
  return version >= least && version <= most && version == (int)version;
}

/* The formats that servers have had. */
static bool check_versions(ldx_mongo_kind kind, const ldx_definition *d, const bson_t *spec, ldx_error *error) {
  static const char sphere[] = "2dsphereIndexVersion", text[] = "textIndexVersion";
  if (!is_among(number(spec, "v", 2), 1, 2)) return refuse(error, "v is 1 or 2", NULL);
  if (kind == LDX_MONGO_TEXT && !is_among(whole(spec, text, 3), 1, 3))
    return refuse(error, "textIndexVersion is 1, 2 or 3", NULL);
  if (kind == LDX_MONGO_2DSPHERE && !is_among(number(spec, sphere, 3), 1, 3))
    return refuse(error, "2dsphereIndexVersion is 1, 2 or 3", NULL);
  if (!ldx_mongo_is_old(&d->storage) || kind != LDX_MONGO_WILDCARD) return true;
  return refuse(error, "there are no wildcard indexes with v 1", "Leave v out.");
}

bool ldx_mongo_check_spec(const ldx_definition *d, const bson_t *spec, ldx_error *error) {
  ldx_mongo_kind kind = ldx_mongo_kind_of(d);
  if (!d->key_count) return refuse(error, "a text index needs at least one field", NULL);
  /* Most are like that: keys, perhaps unique, and no options to be looked for. */
  if (kind == LDX_MONGO_PLAIN && bson_count_keys(spec) <= 1u + d->unique) return check_identity(d, error);
  if (!check_time_to_live(d, spec, error) || !check_identity(d, error) || !check_text(kind, d, spec, error) ||
      !check_versions(kind, d, spec, error))
    return false;
  if (d->unique && ldx_mongo_option(&d->storage, "prepareUnique"))
    return refuse(error, "what is unique refuses new duplicates by itself", "Leave prepareUnique out.");
  if (has(spec, "sparse") && d->predicate)
    return refuse(error, "an index is either sparse or partial",
                  "Add {\"field\": {\"$exists\": true}} to the filter instead of sparse.");
  if (d->unique && kind == LDX_MONGO_HASHED) return refuse(error, "a hashed index cannot be unique", NULL);
  if (kind == LDX_MONGO_WILDCARD && d->unique) return refuse(error, "a wildcard index cannot be unique", NULL);
  if (kind == LDX_MONGO_WILDCARD && has(spec, "sparse"))
    return refuse(error, "a wildcard index is sparse by itself", "Leave sparse out.");
  if (has(spec, "wildcardProjection") && (kind != LDX_MONGO_WILDCARD || strcmp(d->keys[0].column, "$**") != 0))
    return refuse(error, "wildcardProjection is for an index on $**", NULL);
  if (kind != LDX_MONGO_2D) return true;
  double bits = whole(spec, "bits", 26);
  if (bits < 1 || bits > 32) return refuse(error, "bits lie between 1 and 32", NULL);
  if (number(spec, "min", -180) >= number(spec, "max", 180)) return refuse(error, "min has to be less than max", NULL);
  return true;
}

/* --- encrypted fields ------------------------------------------------------------------------------------------------------ */

/* Whether it is the same path, or one is below the other. */
static bool meets(const char *a, const char *b) {
  size_t m = strlen(a), n = strlen(b), length = m < n ? m : n;
  return !strncmp(a, b, length) && (m == n || (m < n ? b : a)[length] == '.');
}

/* As the server has it, which takes a field that a weight alone puts into a text index, though no word of it is found. */
static bool check_encrypted(const ldx_definition *d, const ldx_relation *relation, bool expires, ldx_error *error) {
  if (relation->encrypted.count && expires)
    return refuse(error, "documents of a collection with encrypted fields cannot expire by an index", NULL);
  for (size_t i = 0; i < d->key_count; i++)
    for (size_t j = 0; j < relation->encrypted.count; j++) {
      const char *path = d->keys[i].column, *field = relation->encrypted.items[j];
      if (!meets(path, field)) continue;
      ldx_error_set(
          error, LDX_ERROR_INVALID_DEFINITION,
          "%.200s cannot be indexed: clients encrypt %.200s, and the server takes no index on it, nor on what "
          "it is a part of",
          path, field);
      ldx_error_hint(error, "Equality is found by the index on __safeContent__, if the field's queries are declared "
                            "in encryptedFields.");
      return false;
    }
  return true;
}

/* --- where it goes -------------------------------------------------------------------------------------------------------- */

bool ldx_mongo_check_relation(const ldx_definition *d, const ldx_relation *relation, ldx_error *error) {
  bool expires = ldx_mongo_option(&d->storage, "expireAfterSeconds") != NULL;
  if (relation->kind == 'v')
    return refuse(error, "a view has no indexes", "Declare them on the collection that it is made from.");
  if (relation->kind == 'x') {
    ldx_error_set(error, LDX_ERROR_PERMISSION, "this user may not list the collection's indexes");
    ldx_error_hint(error, LDX_MONGO_ROLES);
    return false;
  }
  if (relation->capped && expires) return refuse(error, "documents of a capped collection cannot expire", NULL);
  if (!check_encrypted(d, relation, expires, error)) return false;
  const char *collation = ldx_mongo_option(&d->traits, "collation");
  if (is_on_id(d) && relation->kind != 't' &&
      (collation && relation->collation ? strcmp(collation, relation->collation) != 0
                                        : collation != relation->collation))
    return refuse(error, "the index on _id has the collection's collation",
                  "Every collection has it; it need not be declared.");
  return relation->kind != 't' || ldx_mongo_check_series(d, relation, error);
}

bool ldx_mongo_check_name(const char *name, ldx_error *error) {
  if (!*name || !strcmp(name, "*")) return refuse(error, "an index cannot be called \"\" or \"*\"", NULL);
  return true;
}

bool ldx_mongo_check_collection(const char *name, const char *database, ldx_error *error) {
  if (!*name || *name == '.' || strchr(name, '$'))
    return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "\"%.200s\" cannot be the name of a collection", name);
  if (!strncmp(name, "system.", 7)) return refuse(error, "the collections system.* are the server's own", NULL);
  if (!strncmp(name, LDX_MONGO_OWN, strlen(LDX_MONGO_OWN)))
    return refuse(error, "the collections lunadex.* are Lunadex's own", NULL);
  if (!strncmp(name, LDX_MONGO_ENCRYPTED, strlen(LDX_MONGO_ENCRYPTED)))
    return refuse(error, "the collections enxcol_.* belong to those with encrypted fields", NULL);
  if (strlen(name) + strlen(database) + 1 > LONGEST_NAMESPACE)
    return refuse(error, "the names of database and collection have 255 bytes at most, with the dot", NULL);
  return true;
}
