/* equal.h: whether two values are one key to an index. */
#ifndef LUNADEX_MONGO_EQUAL_H
#define LUNADEX_MONGO_EQUAL_H

#include <bson/bson.h>

/* As the server compares: numbers by value, whatever their types; a symbol is a string; documents field by field, in
 * order. Under a collation, both have to be keys of an index that has it. */
bool ldx_mongo_equal(const bson_iter_t *a, const bson_iter_t *b);

#endif
