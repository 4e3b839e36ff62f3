/* members.h: what other members of the set, and the server's settings, mean for a build. */
#ifndef LUNADEX_MONGO_MEMBERS_H
#define LUNADEX_MONGO_MEMBERS_H

#include "session.h"

/* How many builds the server runs at a time; its default where it does not say. */
size_t ldx_mongo_build_slots(ldx_session *session);

/* If the step's build waits for members of the set to vote for its commit: sets `draining`, phase and blocker, which says
 * for whom. What the user may not know leaves `progress` as it is. */
void ldx_mongo_missing_votes(ldx_session *session, const ldx_step *step, ldx_progress *progress);

#endif
