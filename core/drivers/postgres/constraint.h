/* constraint.h: keys, online where the server has a way. */
#ifndef LUNADEX_POSTGRES_CONSTRAINT_H
#define LUNADEX_POSTGRES_CONSTRAINT_H

#include "attempt.h"

/* The step's definition, a key, as constraint `name`; done if it is there. What can be made of an index is, and locks
 * nobody out for longer than a moment. A failure that would repeat itself leaves nothing half made. */
bool ldx_pg_build_constraint(ldx_pg_attempt *attempt);
/* Has the server check what foreign key `name` did not check when it was added. */
bool ldx_pg_validate_constraint(ldx_pg_attempt *attempt);
/* Drops constraint `name`; done if it is gone. */
bool ldx_pg_drop_constraint(ldx_pg_attempt *attempt);
/* Tells that constraint `name` of the step's relation is about to go, with the SQL that brings it back. */
void ldx_pg_note_constraint_drop(ldx_pg_attempt *attempt, const char *name, const ldx_pg_constraint_state *state);

#endif
