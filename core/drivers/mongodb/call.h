/* call.h: one command, at a server that may fall silent.
 *
 * How long a command takes is no sign of anything: a build takes as long as it takes. What counts is whether the server
 * answers at all, and whether it is still at it. libmongoc can say neither, and nobody can interrupt it, so it waits on a
 * thread of its own, and whoever asked looks with the session's second client now and then. When the server has been
 * silent for the session's patience, or has ended the command without an answer coming, the call is left behind with
 * its client: the session is of no use any more (ldx_mongo_alive), and what became of the command has to be looked at.
 */
#ifndef LUNADEX_MONGO_CALL_H
#define LUNADEX_MONGO_CALL_H

#include "session.h"

/* Runs a command on that server with the session's client. `tagged`: its comment is the session's (ldx_mongo_tag), so
 * that it can be seen. `reply` is always initialised, the caller destroys it. LDX_ERROR_LINK_LOST: left behind, or lost
 * in any other way. */
bool ldx_mongo_call(ldx_session *session, uint32_t server, const char *database, const bson_t *command, bool tagged,
                    bson_t *reply, ldx_error *error);

/* Ends the session's transaction, which it then has no more; false and LDX_ERROR_LINK_LOST, as above or as libmongoc says
 * it: it is not known whether it was committed. */
bool ldx_mongo_call_end(ldx_session *session, bool commit, ldx_error *error);

#endif
