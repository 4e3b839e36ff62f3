/* build.h: steps that make, change and drop an index. Each looks at what is there first; errors as of ldx_driver.perform.
 */
#ifndef LUNADEX_MONGO_BUILD_H
#define LUNADEX_MONGO_BUILD_H

#include "attempt.h"

/* build.c: the step's index stands, finished, whoever built it. */
bool ldx_mongo_build(ldx_mongo_attempt *attempt);
/* Looks until nobody is building the index `name` any more; `found`: it, or NULL. Told once who it is. */
bool ldx_mongo_settle(ldx_mongo_attempt *attempt, const char *name, ldx_mongo_indexes *indexes,
                      const ldx_mongo_index **found);

/* unique.c: makes a finished index that is not unique unique, without building it again. */
bool ldx_mongo_make_unique(ldx_mongo_attempt *attempt, const ldx_mongo_index *live);
/* Tells how unique a build is to be made in what it sends first: `prepareUnique` appended to `spec`. */
void ldx_mongo_prepare(bson_t *spec);
/* After a failure that leaves that to whoever tries again, of whom there may be none: a note says how to take it back. */
void ldx_mongo_tell_prepared(ldx_mongo_attempt *attempt);

/* alter.c: what collMod can change: the TTL's seconds, hidden, unique, prepareUnique. */
bool ldx_mongo_alter(ldx_mongo_attempt *attempt);
/* collMod of the index `name` of a collection with one option; the caller destroys the command. */
bson_t *ldx_mongo_collmod(const char *collection, const char *name, const char *option, bool value, bool dry_run);
/* drop.c */
bool ldx_mongo_drop(ldx_mongo_attempt *attempt);

#endif
