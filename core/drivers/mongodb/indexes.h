/* indexes.h: the indexes of one collection, from listIndexes. */
#ifndef LUNADEX_MONGO_INDEXES_H
#define LUNADEX_MONGO_INDEXES_H

#include "session.h"

/* Gives every index to `each`, finished (`ready`) or not; `spec` is its only for the call. What each server shows of a
 * time-series collection differs from what it shows of others (indexes.c); whether it is one need not be known. False:
 * as of ldx_mongo_walk; a collection that is not there is LDX_ERROR_UNDEFINED. */
typedef void (*ldx_mongo_each_index)(const bson_t *spec, bool ready, void *state);
bool ldx_mongo_list_indexes(ldx_session *session, const char *collection, ldx_mongo_each_index each, void *state,
                            ldx_error *error);

#endif
