/* filter.h: partial filters, compared as the server compares them. */
#ifndef LUNADEX_MONGO_FILTER_H
#define LUNADEX_MONGO_FILTER_H

#include <bson/bson.h>

#include "lunadex/arena.h"
#include "lunadex/error.h"

/* The normal form of a filter: a text that two filters share if and only if the server takes them for the same part of
 * an index. In the arena. With `error`, what the server would refuse gives NULL and LDX_ERROR_INVALID_DEFINITION; without,
 * anything has a form. */
const char *ldx_mongo_filter_form(ldx_arena *arena, const bson_t *filter, ldx_error *error);

#endif
