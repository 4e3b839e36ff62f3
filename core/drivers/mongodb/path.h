/* path.h: what stands where in a BSON document. `path` is of names and places with dots between them,
 * `cursor.firstBatch.0`; a name that has a dot itself is not found. Nothing is copied: what is given is the document's own
 * memory and lives as long as that, and nothing needs to be destroyed. */
#ifndef LUNADEX_MONGO_PATH_H
#define LUNADEX_MONGO_PATH_H

#include <bson/bson.h>

/* A number, also of type decimal, of which libbson gives 0; and whether a value is true to the server: a number that is not
 * 0, or true. */
/* As the server makes a whole number of it: doubles lose what is behind the point, decimals are rounded. */
double ldx_mongo_whole(const bson_iter_t *value);
double ldx_mongo_double(const bson_iter_t *value);
bool ldx_mongo_truth(const bson_iter_t *value);

/* False: nothing stands there. */
bool ldx_mongo_find(const bson_t *document, const char *path, bson_iter_t *found);

/* What stands there, if it is of that type; otherwise "", false, 0. A flag may be a number, as with the server. */
const char *ldx_mongo_text_at(const bson_t *document, const char *path);
bool ldx_mongo_flag_at(const bson_t *document, const char *path);
double ldx_mongo_number_at(const bson_t *document, const char *path);
int64_t ldx_mongo_integer_at(const bson_t *document, const char *path);
bool ldx_mongo_document_at(const bson_t *document, const char *path, bson_t *part);
/* Before the first member of a document or array; `while (bson_iter_next(member))` follows. */
bool ldx_mongo_members_at(const bson_t *document, const char *path, bson_iter_t *member);
size_t ldx_mongo_count_at(const bson_t *document, const char *path);

/* The document that the iterator stands on; false: it stands on something else. */
bool ldx_mongo_view(const bson_iter_t *iter, bson_t *part);

#endif
