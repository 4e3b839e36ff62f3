/* value.h: values of scripts as PostgreSQL's text, and back. */
#ifndef LUNADEX_POSTGRES_VALUE_H
#define LUNADEX_POSTGRES_VALUE_H

#include <libpq-fe.h>

#include "lunadex/error.h"
#include "lunadex/value.h"

/* A parameter as text, in the arena; `*text` NULL for null. False: the server has nothing like it (LDX_ERROR_USAGE). */
bool ldx_pg_parameter(ldx_arena *arena, const ldx_value *value, const char **text, ldx_error *error);

/* A column of a result, in the arena. */
ldx_value ldx_pg_value(ldx_arena *arena, const PGresult *result, int row, int column);

#endif
