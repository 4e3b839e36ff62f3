/* shadow.h: what the server makes of a definition, read off an index that it really builds: on an empty temporary copy of
 * the relation, in a transaction that is rolled back. The relation itself is only locked in ACCESS SHARE mode.
 */
#ifndef LUNADEX_PG_SHADOW_H
#define LUNADEX_PG_SHADOW_H

#include "session.h"

/* Whether the session may make temporary relations at all; false after filling `error`, with code PERMISSION if not. */
bool ldx_pg_may_create_temporary(ldx_session *session, ldx_error *error);
/* Replaces the canonical form of each, so far from its text, by what the server makes of it, or sets its error. Memory of
 * results is `arena`'s. False if the server cannot be asked at all. */
bool ldx_pg_shadow_all(ldx_session *session, ldx_arena *arena, ldx_declared **items, size_t count, ldx_context *context,
                       ldx_error *error);

#endif
