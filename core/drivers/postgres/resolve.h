/* resolve.h: declarations in the server's canonical form. */
#ifndef LUNADEX_PG_RESOLVE_H
#define LUNADEX_PG_RESOLVE_H

#include "session.h"

/* ldx_driver.resolve */
bool ldx_pg_resolve(ldx_session *session, ldx_catalog *catalog, ldx_declarations *set, ldx_context *context,
                    ldx_error *error);

#endif
