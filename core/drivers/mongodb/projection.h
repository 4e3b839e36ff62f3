/* projection.h: what a wildcard index covers. */
#ifndef LUNADEX_MONGO_PROJECTION_H
#define LUNADEX_MONGO_PROJECTION_H

#include <bson/bson.h>

#include "lunadex/arena.h"
#include "lunadex/error.h"

/* A wildcardProjection in normal form, JSON that means the same: dotted paths in order of name, values 1 and 0, `_id` only
 * where it is covered. In the arena. With `error`, what the server would refuse gives NULL
 * and LDX_ERROR_INVALID_DEFINITION; without, anything has a form. */
const char *ldx_mongo_projection_form(ldx_arena *arena, const bson_t *projection, ldx_error *error);

#endif
