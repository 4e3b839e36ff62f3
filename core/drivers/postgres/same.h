/* same.h: whether what has a name is what was built, or planned to go. */
#ifndef LUNADEX_PG_SAME_H
#define LUNADEX_PG_SAME_H

#include "attempt.h"

/* What a definition is to be compared as. */
typedef enum ldx_pg_as {
  LDX_PG_AS_CONSTRAINT, /* the constraint of that name */
  LDX_PG_AS_INDEX,      /* the index of that name; of a key, the plain unique index that it is made from */
} ldx_pg_as;

/* Compares what is called `name` on the step's relation (number `oid`) with `definition`, as the plan would do it: both as
 * the server keeps them, whatever their storage options and tablespace. False only if the server cannot be asked. */
bool ldx_pg_compare(ldx_pg_attempt *attempt, const ldx_definition *definition, const char *oid, const char *name,
                    ldx_pg_as as, bool *same);

#endif
