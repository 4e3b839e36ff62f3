/* locks.h: who has a collection, so that whoever wants all of it has to wait.
 *
 * To build, change or drop an index the server wants the collection for itself for a moment. A transaction keeps what it
 * has read or written until its end, and while somebody waits for that, every other writer waits behind him: so we ask
 * first, and never wait for long in the server's queue (strong_lock.c). Everything here is asked by the session's second
 * client.
 */
#ifndef LUNADEX_MONGO_LOCKS_H
#define LUNADEX_MONGO_LOCKS_H

#include "who.h"

/* Whether a transaction of others that is older than a second has the session's `collection`; UNSEEN: this user may not ask,
 * or a router would have to tell. `who`: which, the oldest of several, for people, "" unless it is held. */
ldx_holding ldx_mongo_find_transaction(ldx_session *session, const char *collection, char *who, size_t size);
/* The same of any collection of the session's database, whose name it gives. */
ldx_holding ldx_mongo_find_any_transaction(ldx_session *session, char *collection, size_t length, char *who,
                                           size_t size);
/* Whoever has the lock that the operation waits for. False: the server does not tell. */
bool ldx_mongo_find_holder(ldx_session *session, const ldx_mongo_operation *operation, char *who, size_t size);

#endif
