/* driver_parts.h: the functions of the driver that driver.c gathers, one file each, but for those of session.h.
 * Contracts: lunadex/driver.h. */
#ifndef LUNADEX_MONGO_DRIVER_PARTS_H
#define LUNADEX_MONGO_DRIVER_PARTS_H

#include "lunadex/driver.h"

/* measure.c */
bool ldx_mongo_measure(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error);

/* query.c */
ldx_result *ldx_mongo_query(ldx_session *session, ldx_arena *arena, const char *text, const char *const *parameters,
                            size_t parameter_count, ldx_error *error);

#endif
