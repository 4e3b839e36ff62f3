/* json.h: documents and values as text: relaxed extended JSON for people and servers, and a form to be compared. */
#ifndef LUNADEX_MONGO_JSON_H
#define LUNADEX_MONGO_JSON_H

#include <bson/bson.h>

#include "base/buffer.h"
#include "lunadex/arena.h"
#include "lunadex/error.h"

/* Relaxed extended JSON on one line: `{"at": {"$gt": 5}}`. In the arena. A text that is no UTF-8 is written as it is, and
 * whoever reads the JSON has to say so. */
const char *ldx_mongo_json(ldx_arena *arena, const bson_t *document);
/* Of the one value that `iter` stands at. */
const char *ldx_mongo_json_value(ldx_arena *arena, const bson_iter_t *iter);

/* Reads a document. `what` is for the message: "the partial filter". The caller destroys `document` if all is well;
 * false: LDX_ERROR_INVALID_DEFINITION. */
bool ldx_mongo_parse(const char *text, const char *what, bson_t *document, ldx_error *error);
/* Reads a value, which becomes field "v" of `holder`, and moves `iter` to it. What is no JSON is taken for a text, so
 * that a bare word is one. The caller destroys `holder`. */
void ldx_mongo_parse_value(const char *text, bson_t *holder, bson_iter_t *iter);

/* A number by its value, whatever type holds it: 5, 5.0 and NumberDecimal("5.00") are "5". */
void ldx_mongo_number(ldx_buffer *out, const bson_iter_t *iter);
/* A value so that two are the same text if and only if the server takes them for equal (with the simple collation):
 * numbers by value, documents in the order of their fields. */
void ldx_mongo_form(ldx_buffer *out, const bson_iter_t *iter);
/* A text as JSON: between quotation marks, with what would end it or the buffer written otherwise. */
void ldx_mongo_quote(ldx_buffer *out, const char *text, size_t length);

#endif
