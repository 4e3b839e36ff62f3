/* resolve.h: from declarations to what the server would keep. */
#ifndef LUNADEX_MONGO_RESOLVE_H
#define LUNADEX_MONGO_RESOLVE_H

#include "session.h"

/* ldx_driver.resolve. A collection that is not there is added to `catalog` as one that the first index makes. */
bool ldx_mongo_resolve(ldx_session *session, ldx_catalog *catalog, ldx_declarations *set, ldx_context *context,
                       ldx_error *error);
/* The fingerprint of `definition` on `relation`, and its canonical form in `arena`: for a step that looks whether what
 * is there is what it is to build. */
bool ldx_mongo_fingerprint(ldx_session *session, ldx_arena *arena, const ldx_relation *relation,
                           const ldx_definition *definition, ldx_definition *canonical, ldx_fingerprint *fingerprint,
                           ldx_error *error);

#endif
