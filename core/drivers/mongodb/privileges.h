/* privileges.h: what this session's user may do with indexes. */
#ifndef LUNADEX_MONGO_PRIVILEGES_H
#define LUNADEX_MONGO_PRIVILEGES_H

#include "session.h"

/* Fills `forbidden` of each item for which the user lacks a right that what is planned takes, or that the run lock takes.
 * Where the server checks nobody, nothing is forbidden. One request; false: as of ldx_mongo_command. */
bool ldx_mongo_forbidden(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error);
/* Whether the user may collMod there, which readWrite alone does not include. One request. */
bool ldx_mongo_may_alter(ldx_session *session, const char *collection, bool *may, ldx_error *error);

#endif
