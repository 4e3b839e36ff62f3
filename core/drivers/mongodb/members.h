/* members.h: what other members of the set, and the server's settings, mean for a build. */
#ifndef LUNADEX_MONGO_MEMBERS_H
#define LUNADEX_MONGO_MEMBERS_H

#include "session.h"

/* How many builds the server runs at a time; its default where it does not say. */
size_t ldx_mongo_build_slots(ldx_session *session);

/* The document that the server keeps of the build of that index for its commit, if there is one, as the first of a cursor.
 * `kept_in`: the collection that has the index in the server's eyes, of a time series its buckets. `reply` is always
 * initialised, the caller destroys it; false: this user may not know. */
bool ldx_mongo_find_build(ldx_session *session, const char *collection, const char *name, char *kept_in, size_t size,
                          bson_t *reply);

/* If the build of that index waits for members of the set to vote for its commit: sets `draining`, phase and blocker, which
 * says for whom. What cannot be known leaves `progress` as it is. */
void ldx_mongo_missing_votes(ldx_session *session, const char *collection, const char *name, ldx_progress *progress);

#endif
