/* spec.h: an index as MongoDB describes it, and as a definition.
 *
 * A definition of MongoDB: `method` is "", a key's `column` its field path and `opclass` what the key pattern holds
 * where it is neither 1 nor -1; text indexes have their fields as keys, in order of name, with "text". `predicate` is
 * the partial filter as relaxed extended JSON, `predicate_form` its normal form (filter.h). `traits` are what the server
 * makes two indexes of: sparse ("true"), collation (complete, as the server fills it in, without its version),
 * wildcardProjection (normal form). `storage` is the rest: expireAfterSeconds, hidden, weights (of fields that have
 * another than 1), default_language, language_override, bits, min, max, storageEngine, prepareUnique, which an
 * interrupted conversion to unique leaves behind, and the versions of an index's format: v, textIndexVersion,
 * 2dsphereIndexVersion. What is the server's default is left out of both, and so is what it ignores: background, ns.
 *
 * An index without collation compares bytes; on a collection with a default collation it has to say so, and its trait
 * says LDX_MONGO_SIMPLE (collation.h). So a definition, declared or live, makes the same index again when it is built.
 */
#ifndef LUNADEX_MONGO_SPEC_H
#define LUNADEX_MONGO_SPEC_H

#include <bson/bson.h>

#include "collation.h"
#include "lunadex/catalog.h"
#include "lunadex/error.h"

/* What kind of index a key pattern makes. */
typedef enum ldx_mongo_kind {
  LDX_MONGO_PLAIN,
  LDX_MONGO_TEXT,
  LDX_MONGO_HASHED,
  LDX_MONGO_2D,
  LDX_MONGO_2DSPHERE,
  LDX_MONGO_WILDCARD,
} ldx_mongo_kind;

ldx_mongo_kind ldx_mongo_kind_of(const ldx_definition *definition);

/* One that a server has, from listIndexes or $listCatalog; all strings in `arena`. `relation` is left alone.
 * `collection_collation`: the collection's default as JSON in normal form, or NULL. Gives its name, likewise, or "". */
const char *ldx_mongo_definition_of(ldx_arena *arena, const bson_t *spec, const char *collection_collation,
                                    ldx_definition *definition);

/* Gives it that collation, JSON in normal form, or with NULL takes it away; nothing is copied. */
void ldx_mongo_set_collation(ldx_arena *arena, ldx_definition *definition, const char *collation);

/* The specification to build `definition` by, declared or canonical: key, name and options; unique only if `unique`. The
 * caller destroys `spec`. False: a value is no JSON of the right kind; then there is nothing to destroy. */
bool ldx_mongo_spec_of(const ldx_definition *definition, const char *name, bool unique, bson_t *spec, ldx_error *error);

/* A declared definition in the form that ldx_mongo_definition_of gives. `collection_collation` as there; `collations`
 * completes a collation that was given in part, NULL leaves it so. False: it cannot be one (`error` says why: a wrong filter, an option the
 * kind of index does not have …), or the server could not be asked (then the error can be tried again). */
bool ldx_mongo_canonical(ldx_arena *arena, const ldx_definition *declared, const char *collection_collation,
                         ldx_mongo_collations *collations, ldx_definition *canonical, ldx_error *error);

/* Whether an index that has `from` can be made `to` by collMod alone: for the dialect. */
bool ldx_mongo_can_alter(const ldx_definition *to, const ldx_live *live);
bool ldx_mongo_can_become(const ldx_definition *to, const ldx_live *live);
/* Whether they are the same but for one's being unique, and for what collMod can change. */
bool ldx_mongo_same_but_for_unique(const ldx_definition *a, const ldx_definition *b);
/* Whether `now` is what `from` was, or what collMod has made of it on the way to `to`. */
bool ldx_mongo_is_between(const ldx_definition *now, const ldx_definition *from, const ldx_definition *to);

/* How definitions are told: for the dialect. */
extern const ldx_wording ldx_mongo_wording;

/* Whether what the key pattern holds is a number, which is a direction; else it is a type. */
bool ldx_mongo_is_number(const char *opclass);

/* The value of an option, or NULL. */
const char *ldx_mongo_option(const ldx_options *options, const char *name);
/* Whether the format is that of servers which knew no collations. */
bool ldx_mongo_is_old(const ldx_options *storage);

#endif
