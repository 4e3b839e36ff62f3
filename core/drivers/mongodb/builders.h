/* builders.h: who is at indexes that are not finished. */
#ifndef LUNADEX_MONGO_BUILDERS_H
#define LUNADEX_MONGO_BUILDERS_H

#include "session.h"

/* Fills `being_built` and `builder` of items whose index is unfinished. One request, if there are any.
 * Who may not see operations is told "the server". False: the link was lost, or the job cancelled. */
bool ldx_mongo_tell_builders(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error);

/* After something could not be had that a measurement can do without: true, and no error, unless the link is to blame or
 * the job was cancelled. */
bool ldx_mongo_unknown_then(ldx_error *error);

#endif
