/* spec.h: an index as MongoDB describes it, and as a definition.
 *
 * A definition of MongoDB: `method` is "", a key's `column` its field path and `opclass` what the key pattern holds
 * where it is neither 1 nor -1; text indexes have their fields as keys, in order of name, with "text". `predicate` is
 * the partial filter as relaxed extended JSON, `predicate_form` its normal form (filter.h). `traits` are what the server
 * makes two indexes of: sparse ("true"), collation (complete, as the server fills it in, without its version),
 * wildcardProjection (normal form). `storage` is the rest: expireAfterSeconds, hidden, weights, default_language,
 * language_override, bits, min, max, storageEngine. What is the server's default is left out of both, and so is what it
 * ignores: background, v, ns, textIndexVersion, 2dsphereIndexVersion.
 */
#ifndef LUNADEX_MONGO_SPEC_H
#define LUNADEX_MONGO_SPEC_H

#include <mongoc/mongoc.h>

#include "lunadex/catalog.h"
#include "lunadex/error.h"

/* One that a server has, from listIndexes or $listCatalog; all strings in `arena`. `relation` is left alone. */
void ldx_mongo_definition_of(ldx_arena *arena, const bson_t *spec, ldx_definition *definition);

/* The specification to build `definition` by: key, name and options; unique only if `unique`. The caller destroys `spec`.
 * False: a value is no JSON of the right kind. */
bool ldx_mongo_spec_of(const ldx_definition *definition, const char *name, bool unique, bson_t *spec, ldx_error *error);

/* A declared definition in the form that ldx_mongo_definition_of gives. `collection_collation` is the collection's
 * default (JSON as in traits) or NULL; `collations` completes a collation that was given in part. False: it cannot be one
 * (`error` says why: a wrong filter, an option the kind of index does not have …). */
typedef struct ldx_mongo_collations ldx_mongo_collations; /* collation.h */
bool ldx_mongo_canonical(ldx_arena *arena, const ldx_definition *declared, const char *collection_collation,
                         ldx_mongo_collations *collations, ldx_definition *canonical, ldx_error *error);

/* Whether an index that has `from` can be made `to` by collMod alone: for the dialect. */
bool ldx_mongo_can_alter(const ldx_definition *to, const ldx_live *live);
bool ldx_mongo_can_become(const ldx_definition *to, const ldx_live *live);

#endif
