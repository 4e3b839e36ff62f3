/* privileges.h: what this session's user may do with indexes. */
#ifndef LUNADEX_MONGO_PRIVILEGES_H
#define LUNADEX_MONGO_PRIVILEGES_H

#include "session.h"

/* Fills `forbidden` of each item whose relation's indexes the user may not create, drop or alter. One request. */
bool ldx_mongo_forbidden(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error);

#endif
