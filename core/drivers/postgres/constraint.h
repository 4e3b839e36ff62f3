/* constraint.h: keys, online where the server has a way. */
#ifndef LUNADEX_POSTGRES_CONSTRAINT_H
#define LUNADEX_POSTGRES_CONSTRAINT_H

#include "attempt.h"

bool ldx_pg_build_constraint(ldx_pg_attempt *attempt);
bool ldx_pg_validate_constraint(ldx_pg_attempt *attempt);
bool ldx_pg_drop_constraint(ldx_pg_attempt *attempt);
/* A note that constraint `name` of the step's relation was dropped, with the SQL that brings it back. */
void ldx_pg_note_dropped_constraint(ldx_pg_attempt *attempt, const char *name, const char *definition);

#endif
