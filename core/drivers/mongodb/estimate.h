/* estimate.h: how large indexes would become. */
#ifndef LUNADEX_MONGO_ESTIMATE_H
#define LUNADEX_MONGO_ESTIMATE_H

#include "session.h"

/* Sets `index_bytes`, as it takes on disk, of those items that have a definition, all of one collection whose `rows` is
 * known, by looking at some of its documents: once for all, but for partial indexes, each of which has its own. It stays
 * unknown where they say too little, or cannot be had within two seconds. False: as of ldx_mongo_unknown_then. */
bool ldx_mongo_estimate(ldx_session *session, ldx_measure *const *items, size_t count, ldx_error *error);

#endif
