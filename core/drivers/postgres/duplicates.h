/* duplicates.h: what keeps a unique index from being built. */
#ifndef LUNADEX_POSTGRES_DUPLICATES_H
#define LUNADEX_POSTGRES_DUPLICATES_H

#include "attempt.h"

/* The query that finds them all, for people, most frequent first. NULL: the definition is not unique, or is by ranges. */
char *ldx_pg_sql_duplicates(ldx_arena *arena, const ldx_step *step);

/* Reads the whole table. True if the step's definition is not unique, or there are none; else LDX_ERROR_DUPLICATE_KEY
 * with figures, samples and the query, and all of them listed if the step asks for that. */
bool ldx_pg_check_duplicates(ldx_pg_attempt *attempt);

/* After a build failed with LDX_ERROR_DUPLICATE_KEY: adds figures and samples, if they can be had in a minute, and the
 * query; likewise lists them. */
void ldx_pg_explain_duplicates(ldx_pg_attempt *attempt);

#endif
