/* collmod.h: what collMod can change of an index, and by which commands: alter.c sends them, describe.c prints them. */
#ifndef LUNADEX_MONGO_COLLMOD_H
#define LUNADEX_MONGO_COLLMOD_H

#include <bson/bson.h>

#include "lunadex/driver.h"

/* What of an index it can change. */
typedef struct ldx_mongo_alterable {
  double expire_after; /* seconds; -1: it is not TTL */
  bool hidden;
  bool prepare_unique; /* refuses new duplicates, without being unique */
  bool checked;        /* likewise, and a dry run has found no old ones */
  bool unique;
} ldx_mongo_alterable;

/* Of a definition, and of a specification as listIndexes gives it. */
ldx_mongo_alterable ldx_mongo_alterable_of(const ldx_definition *definition);
ldx_mongo_alterable ldx_mongo_alterable_in(const bson_t *spec);

/* The first of the commands that make of `index` what the step's definition says, and what the index is after it: so the
 * next one is asked for. NULL: there is nothing to do, or nothing that the server could (alter.c). The caller destroys
 * it. */
bson_t *ldx_mongo_next_collmod(const ldx_step *step, ldx_mongo_alterable *index);

/* collMod of the index `name` of a collection with one option; the caller destroys it. */
bson_t *ldx_mongo_collmod(const char *collection, const char *name, const char *option, bool value);

#endif
