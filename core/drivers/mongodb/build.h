/* build.h: steps that make, change and drop an index. Each looks at what is there first; errors as of ldx_driver.perform.
 */
#ifndef LUNADEX_MONGO_BUILD_H
#define LUNADEX_MONGO_BUILD_H

#include "attempt.h"

/* build.c: the step's index stands, finished, whoever built it. */
bool ldx_mongo_build(ldx_mongo_attempt *attempt);
/* Looks until nobody is building the index `name` any more. Told once who it is. */
bool ldx_mongo_settle(ldx_mongo_attempt *attempt, const char *name);

/* unique.c: a step of its own, after the last attempt: an index that is there and finished, and refuses duplicates without being
 * unique, refuses them no more. */
bool ldx_mongo_take_back(ldx_mongo_attempt *attempt);
/* After a failure that leaves that to whoever tries again, of whom there may be none: a note says how to take it back. */
void ldx_mongo_tell_prepared(ldx_mongo_attempt *attempt);
/* After a command failed by which an index that was as in `from` was to be as in `to`: if that is on the way to unique,
 * completes the error with what is known of duplicates, and what may be done. `reply`: to that command. */
void ldx_mongo_explain_conversion(ldx_mongo_attempt *attempt, const ldx_mongo_alterable *from,
                                  const ldx_mongo_alterable *to, const bson_t *reply);

/* alter.c: what collMod can change: the TTL's seconds, hidden, unique, prepareUnique. */
bool ldx_mongo_alter(ldx_mongo_attempt *attempt);
/* The same for a finished index of which it is known what it is. */
bool ldx_mongo_alter_from(ldx_mongo_attempt *attempt, ldx_mongo_alterable index);
/* Whether `live` is what the step says that it changes, or what an attempt before this one made of that; otherwise
 * LDX_ERROR_DEPENDENT. */
bool ldx_mongo_is_meant(ldx_mongo_attempt *attempt, const ldx_mongo_index *live);
/* drop.c */
bool ldx_mongo_drop(ldx_mongo_attempt *attempt);

#endif
