/* duplicates.h: documents that a unique index would not have beside each other. */
#ifndef LUNADEX_MONGO_DUPLICATES_H
#define LUNADEX_MONGO_DUPLICATES_H

#include "attempt.h"

/* The query, for mongosh, that finds them all; NULL: none can be given. In the arena. */
char *ldx_mongo_duplicates_query(ldx_arena *arena, const ldx_step *step);

/* Before a build: false with LDX_ERROR_DUPLICATE_KEY if there are some, or another error if it could not be seen. Walks an
 * index of the same keys where the collection has one, which is fast; groups all documents otherwise. Of fields that hold
 * arrays, only whole arrays are compared: the build tells the rest. */
bool ldx_mongo_check_duplicates(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes);

/* Adds to LDX_ERROR_DUPLICATE_KEY how to find them, and how many there are: from what collMod answered, and for a build
 * that failed. */
void ldx_mongo_explain_violations(ldx_mongo_attempt *attempt, const bson_t *reply);
void ldx_mongo_explain_duplicates(ldx_mongo_attempt *attempt);

/* walk.c: whether `index` holds just the documents that an index by `spec` would, those with equal keys side by side. */
bool ldx_mongo_can_walk(const bson_t *spec, const ldx_mongo_index *index);

enum { LDX_MONGO_SAMPLES = 5 };
/* Groups of documents with equal keys. The texts are in the attempt's arena. */
typedef struct ldx_mongo_duplicates {
  double groups, documents;
  size_t sample_count;
  const char *samples[LDX_MONGO_SAMPLES]; /* `{ email: "a" } 3 times` */
} ldx_mongo_duplicates;

/* walk.c: by that index, of whose keys the first `fields` count. `*walked`: false if it cannot be, because the fields
 * hold arrays. */
bool ldx_mongo_walk_index(ldx_mongo_attempt *attempt, const ldx_mongo_index *index, size_t fields, bool *walked,
                          ldx_mongo_duplicates *found);

#endif
