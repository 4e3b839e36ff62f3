/* estimate.h: how large an index would become. */
#ifndef LUNADEX_MONGO_ESTIMATE_H
#define LUNADEX_MONGO_ESTIMATE_H

#include "session.h"

/* Sets `item->index_bytes`, as the index takes on disk, from `item->definition`, with `item->rows` known, by looking at some of the documents. It stays
 * unknown where they say too little. False: they could not be had, within two seconds or at all. */
bool ldx_mongo_estimate(ldx_session *session, ldx_measure *item, ldx_error *error);

#endif
