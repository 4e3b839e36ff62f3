/* canonical.c: declared definitions: as a specification for the server, and as the server would keep them.
 *
 * A declaration becomes the specification that it would be built by, and that is read like one of the server's: so there
 * is one place where options are brought into their normal form. What the server would refuse is refused here, in words
 * of the registry, because nothing short of building the index would make the server say so.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "driver_parts.h"
#include "filter.h"
#include "json.h"
#include "path.h"
#include "projection.h"
#include "spec.h"

/* --- the specification ------------------------------------------------------------------------------------------------ */

static void append_key(bson_t *key, const ldx_key *part) {
  if (!part->opclass) {
    bson_append_int32(key, part->column, -1, part->descending ? -1 : 1);
    return;
  }
  bson_t holder;
  bson_iter_t iter;
  ldx_mongo_parse_value(part->opclass, &holder, &iter);
  if (BSON_ITER_HOLDS_NUMBER(&iter))
    bson_append_iter(key, part->column, -1, &iter);
  else if (ldx_mongo_is_number(part->opclass))
    bson_append_double(key, part->column, -1, strtod(part->opclass, NULL)); /* an infinite one, which JSON has not */
  else
    bson_append_utf8(key, part->column, -1, part->opclass, -1);
  bson_destroy(&holder);
}

static bool append_document(bson_t *spec, const char *name, const char *what, const char *json, ldx_error *error) {
  bson_t document;
  if (!ldx_mongo_parse(json, what, &document, error)) return false;
  bson_append_document(spec, name, -1, &document);
  bson_destroy(&document);
  return true;
}

static const char *article(const char *kind) {
  return kind[0] == 'o' || kind[0] == 'i' ? "an" : "a";
}

/* The value has to be of that kind: the server takes a text for true, for one. */
static bool append_option(bson_t *spec, const ldx_option *option, ldx_error *error) {
  static const char *const flags[] = {"sparse", "hidden", "prepareUnique"};
  static const char *const texts[] = {"default_language", "language_override"};
  static const char *const documents[] = {"collation", "wildcardProjection", "weights", "storageEngine"};
  static const char *const numbers[] = {"expireAfterSeconds",
                                        "bits",
                                        "min",
                                        "max",
                                        "finestIndexedLevel",
                                        "coarsestIndexedLevel",
                                        "v",
                                        "textIndexVersion",
                                        "2dsphereIndexVersion"};
  const struct {
    const char *const *names;
    size_t count;
    const char *kind;
  } kinds[] = {{flags, 3, "boolean"}, {texts, 2, "text"}, {documents, 4, "object"}, {numbers, 9, "number"}};
  const char *wanted = NULL;
  for (size_t k = 0; k < 4; k++)
    for (size_t i = 0; i < kinds[k].count; i++)
      if (!strcmp(kinds[k].names[i], option->name)) wanted = kinds[k].kind;
  if (!wanted)
    return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "MongoDB knows no option \"%s\"", option->name);
  bson_t holder;
  bson_iter_t value;
  ldx_mongo_parse_value(option->value, &holder, &value);
  bool number = BSON_ITER_HOLDS_NUMBER(&value) || BSON_ITER_HOLDS_DECIMAL128(&value);
  bool fits = *wanted == 'b'   ? BSON_ITER_HOLDS_BOOL(&value) || number
              : *wanted == 't' ? BSON_ITER_HOLDS_UTF8(&value)
              : *wanted == 'o' ? BSON_ITER_HOLDS_DOCUMENT(&value)
                               : number;
  if (fits && *wanted == 'b') {
    /* Said to be false, some would be kept all the same, and others refused. */
    if (ldx_mongo_truth(&value)) bson_append_bool(spec, option->name, -1, true);
  } else if (fits) {
    bson_append_iter(spec, option->name, -1, &value);
  } else {
    ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "%s is %s %s, not %.200s", option->name, article(wanted), wanted,
                  option->value);
  }
  bson_destroy(&holder);
  return fits;
}

static bool append_options(bson_t *spec, const ldx_options *options, ldx_error *error) {
  for (size_t i = 0; i < options->count; i++)
    if (!append_option(spec, &options->items[i], error)) return false;
  return true;
}

static void take_out(bson_t *spec, const char *name) {
  bson_t rest = BSON_INITIALIZER;
  bson_copy_to_excluding_noinit(spec, &rest, name, (char *)NULL);
  bson_destroy(spec);
  bson_steal(spec, &rest);
}

/* An index whose documents expire has one key only. That of a text index names its first field then, and the weights name
 * the others. */
static bool is_named_by_weights(const ldx_definition *d) {
  if (d->key_count < 2 || !ldx_mongo_option(&d->storage, "expireAfterSeconds")) return false;
  for (size_t i = 0; i < d->key_count; i++)
    if (!d->keys[i].opclass || strcmp(d->keys[i].opclass, "text") != 0) return false;
  return true;
}

static void name_by_weights(bson_t *spec, const ldx_definition *d) {
  bson_t weights, copy = BSON_INITIALIZER;
  bson_iter_t named;
  if (ldx_mongo_document_at(spec, "weights", &weights)) bson_concat(&copy, &weights);
  for (size_t i = 0; i < d->key_count; i++)
    if (!bson_iter_init_find(&named, &copy, d->keys[i].column)) BSON_APPEND_INT32(&copy, d->keys[i].column, 1);
  take_out(spec, "weights");
  BSON_APPEND_DOCUMENT(spec, "weights", &copy);
  bson_destroy(&copy);
}

bool ldx_mongo_spec_of(const ldx_definition *definition, const char *name, bool unique, bson_t *spec,
                       ldx_error *error) {
  bson_t key;
  bson_init(spec);
  BSON_APPEND_DOCUMENT_BEGIN(spec, "key", &key);
  bool by_weights = is_named_by_weights(definition);
  for (size_t i = 0; i < (by_weights ? 1 : definition->key_count); i++) append_key(&key, &definition->keys[i]);
  bson_append_document_end(spec, &key);
  if (name) BSON_APPEND_UTF8(spec, "name", name);
  if (unique) BSON_APPEND_BOOL(spec, "unique", true);
  bool ok = append_options(spec, &definition->traits, error) && append_options(spec, &definition->storage, error);
  bool old = ldx_mongo_is_old(&definition->storage);
  if (ok && old) take_out(spec, "collation"); /* it could only be the simple one */
  if (ok && by_weights) name_by_weights(spec, definition);
  /* Only the simple one will do there, whatever the collection's is. */
  ldx_mongo_kind kind = ldx_mongo_kind_of(definition);
  if (ok && !old && (kind == LDX_MONGO_TEXT || kind == LDX_MONGO_2D) &&
      !ldx_mongo_option(&definition->traits, "collation"))
    ok = append_document(spec, "collation", "", LDX_MONGO_SIMPLE, error);
  if (ok && definition->predicate)
    ok = append_document(spec, "partialFilterExpression", "the partial filter", definition->predicate, error);
  if (!ok) bson_destroy(spec);
  return ok;
}

/* --- as the server would keep it --------------------------------------------------------------------------------------- */

static bool check_documents(ldx_arena *arena, const ldx_definition *declared, const bson_t *spec, ldx_error *error) {
  bson_t document;
  if (declared->predicate && ldx_mongo_document_at(spec, "partialFilterExpression", &document) &&
      !ldx_mongo_filter_form(arena, &document, error))
    return false;
  return !(declared->traits.count + declared->storage.count) ||
         !ldx_mongo_document_at(spec, "wildcardProjection", &document) ||
         ldx_mongo_projection_form(arena, &document, error) != NULL;
}

/* What the definition's collation comes to on such a collection; NULL: nothing has to be said. False: `error`. */
static bool settle_collation(ldx_arena *arena, const ldx_definition *declared, const char *collection_collation,
                             ldx_mongo_collations *collations, const char **collation, ldx_error *error) {
  const char *given = ldx_mongo_option(&declared->traits, "collation");
  ldx_mongo_kind kind = ldx_mongo_kind_of(declared);
  bool old = ldx_mongo_is_old(&declared->storage);
  bool simple_only = kind == LDX_MONGO_TEXT || kind == LDX_MONGO_2D || old;
  if (given) {
    *collation = ldx_mongo_collation_complete(collations, arena, given, error);
    if (!*collation) return false;
  } else {
    *collation = collection_collation && !simple_only ? collection_collation : LDX_MONGO_SIMPLE;
  }
  bool simple = !strcmp(*collation, LDX_MONGO_SIMPLE);
  if (simple_only && !simple)
    return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "an index of %s compares bytes: it has no collation",
                         old                      ? "v 1"
                         : kind == LDX_MONGO_TEXT ? "type text"
                                                  : "type 2d");
  if (simple && !collection_collation) *collation = NULL;
  return true;
}

bool ldx_mongo_canonical(ldx_arena *arena, const ldx_definition *declared, const char *collection_collation,
                         ldx_mongo_collations *collations, ldx_definition *canonical, ldx_error *error) {
  const char *collation;
  bson_t spec;
  if (!ldx_mongo_check(declared, error) ||
      !settle_collation(arena, declared, collection_collation, collations, &collation, error) ||
      !ldx_mongo_spec_of(declared, NULL, declared->unique, &spec, error))
    return false;
  bool ok = check_documents(arena, declared, &spec, error);
  if (ok) {
    *canonical = (ldx_definition){.relation = declared->relation};
    ldx_mongo_definition_of(arena, &spec, NULL, canonical);
    ldx_mongo_set_collation(arena, canonical, ldx_arena_strdup(arena, collation));
    ok = ldx_mongo_check_spec(canonical, &spec, error);
  }
  bson_destroy(&spec);
  return ok;
}

bool ldx_mongo_check_declared(const ldx_definition *declared, ldx_error *error) {
  ldx_arena *arena = ldx_arena_new();
  ldx_definition canonical;
  bool ok = ldx_mongo_canonical(arena, declared, NULL, NULL, &canonical, error);
  ldx_arena_free(arena);
  return ok;
}
