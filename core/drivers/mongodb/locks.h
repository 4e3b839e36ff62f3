/* locks.h: who has a collection, so that whoever wants all of it has to wait.
 *
 * To build, change or drop an index the server wants the collection for itself for a moment. A transaction keeps what it
 * has read or written until its end, and while somebody waits for that, every other writer waits behind him: so we ask
 * first, and never wait for long in the server's queue (attempt.c). Everything here is asked by the session's second
 * client.
 */
#ifndef LUNADEX_MONGO_LOCKS_H
#define LUNADEX_MONGO_LOCKS_H

#include "who.h"

typedef enum ldx_mongo_holding {
  LDX_MONGO_FREE,   /* no transaction that is older than a second has the collection */
  LDX_MONGO_HELD,   /* one has it */
  LDX_MONGO_UNSEEN, /* it cannot be known: this user may not ask, or a router would have to tell */
} ldx_mongo_holding;

/* Whether a transaction of others has the session's `collection`; `who`: which, for people, "" unless it is held. */
ldx_mongo_holding ldx_mongo_find_transaction(ldx_session *session, const char *collection, char *who, size_t size);
/* Whoever has the lock that the operation waits for. False: the server does not tell. */
bool ldx_mongo_find_holder(ldx_session *session, const ldx_mongo_operation *operation, char *who, size_t size);

#endif
