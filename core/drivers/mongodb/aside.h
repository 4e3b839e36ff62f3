/* aside.h: a session's second client, which never waits for long: for what must not be held up by a server that does not
 * answer, as lease, progress and cancellation. It is made when it is first needed.
 */
#ifndef LUNADEX_MONGO_ASIDE_H
#define LUNADEX_MONGO_ASIDE_H

#include "session.h"

/* Runs `command` on `database` (NULL: the session's). `reply` is always initialised, the caller destroys it. What a majority
 * of the members did not confirm, where the command asks for that, is LDX_ERROR_LINK_LOST. From any thread. */
bool ldx_mongo_aside(ldx_session *session, const char *database, const bson_t *command, bson_t *reply,
                     ldx_error *error);
/* Closes the client; the next command makes another. Nobody is at a command. */
void ldx_mongo_aside_close(ldx_session *session);
/* How long it waits, and how often it is looked whether the server still answers: seconds. */
double ldx_mongo_aside_timeout(const ldx_session *session);

#endif
