/* resolve.h: from declarations to what the server would keep. */
#ifndef LUNADEX_MONGO_RESOLVE_H
#define LUNADEX_MONGO_RESOLVE_H

#include "session.h"

/* ldx_driver.resolve. A collection that is not there is added to `catalog` as one that the first index makes;
 * what a declaration comes to lives as long as the set. */
bool ldx_mongo_resolve(ldx_session *session, ldx_catalog *catalog, ldx_declarations *set, ldx_context *context,
                       ldx_error *error);

#endif
