/* estimate.h: how large an index would become. */
#ifndef LUNADEX_MONGO_ESTIMATE_H
#define LUNADEX_MONGO_ESTIMATE_H

#include "session.h"

/* Sets `item->index_bytes` from `item->definition`, with `item->rows` known, by looking at some of the documents. It stays
 * unknown where they say too little. False: they could not be had. */
bool ldx_mongo_estimate(ldx_session *session, ldx_measure *item, ldx_error *error);

#endif
