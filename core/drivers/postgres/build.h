/* build.h: one index is built or dropped, whatever happens. */
#ifndef LUNADEX_POSTGRES_BUILD_H
#define LUNADEX_POSTGRES_BUILD_H

#include "attempt.h"

/* Builds the step's definition as index `name`, whatever is there now. `*built` (may be NULL): it was not there before. */
bool ldx_pg_build_index(ldx_pg_attempt *attempt, const char *name, bool *built);
/* Drops the index the step names, if it is the one that was planned to go; done if it is gone. Waits for whoever is at it,
 * and tells beforehand what brings it back. */
bool ldx_pg_drop_index(ldx_pg_attempt *attempt);

#endif
