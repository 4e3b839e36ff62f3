/* value.h: values of scripts as BSON, and back. */
#ifndef LUNADEX_MONGO_VALUE_H
#define LUNADEX_MONGO_VALUE_H

#include <mongoc/mongoc.h>

#include "lunadex/error.h"
#include "lunadex/value.h"

/* Appends the fields of a document. False: one of them cannot be (LDX_ERROR_USAGE says which and why). */
bool ldx_mongo_append(bson_t *to, const ldx_value *document, ldx_error *error);

/* A document with all that is in it, in the arena. */
ldx_value ldx_mongo_document(ldx_arena *arena, const bson_t *document);

#endif
