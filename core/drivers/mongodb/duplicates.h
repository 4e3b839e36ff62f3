/* duplicates.h: documents that a unique index would not have beside each other.
 *
 * As the server counts: a document has each of its keys once, whatever its arrays repeat, and what an array holds are
 * keys of their own. So two documents that share one element are a violation, and one that holds a value twice is none. */
#ifndef LUNADEX_MONGO_DUPLICATES_H
#define LUNADEX_MONGO_DUPLICATES_H

#include "attempt.h"

/* The query, for mongosh, that finds them all; NULL: none can be given (ldx_mongo_keys_expression). In the arena. */
char *ldx_mongo_duplicates_query(ldx_arena *arena, const ldx_step *step);

/* Before a build: false with LDX_ERROR_DUPLICATE_KEY if there are some, or another error if it could not be seen. Walks an
 * index of the same keys where the collection has one, which is fast; groups the keys of all documents otherwise. Where
 * there is no query either, it is left to the build. */
bool ldx_mongo_check_duplicates(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes);

/* Adds to LDX_ERROR_DUPLICATE_KEY how to find them, and lists them (ldx_mongo_list_duplicates); and how many there are,
 * from what collMod answered. */
void ldx_mongo_explain_duplicates(ldx_mongo_attempt *attempt, const bson_t *violations);
void ldx_mongo_explain_violations(ldx_mongo_attempt *attempt, const bson_t *reply);

/* Of so many keys, and of so many documents with each, it is told. */
enum { LDX_MONGO_SAMPLES = 20, LDX_MONGO_SAMPLE_IDS = 100 };
/* `{ email: "a" } 3 times, _id 1, 2, 3`; in the attempt's arena. */
typedef struct ldx_mongo_duplicate {
  const char *brief; /* with the first few of its documents */
  const char *whole;
} ldx_mongo_duplicate;
/* Keys that several documents have. */
typedef struct ldx_mongo_duplicates {
  double keys;
  double times; /* how often they come, all together */
  size_t sample_count;
  ldx_mongo_duplicate samples[LDX_MONGO_SAMPLES];
} ldx_mongo_duplicates;
/* Adds a sample, if there is room: `key` as mongosh reads it; the iterator stands on an array of `_id`s, of which there
 * may be more or fewer than `times`. False: it is there already. */
bool ldx_mongo_add_duplicate(ldx_mongo_attempt *attempt, ldx_mongo_duplicates *found, const char *key, double times,
                             const bson_iter_t *ids);

/* walk.c: whether `index` holds just the documents that an index by `spec` would, those with equal keys side by side. */
bool ldx_mongo_can_walk(const ldx_mongo_attempt *attempt, const bson_t *spec, const ldx_mongo_index *index);
/* Calls `each` for every key of several documents in that index, of whose keys the first `fields` count: the key as the
 * index has it, in how many documents, and the place of the first of them in the index. `*walked`: false if it cannot be,
 * because the fields hold arrays. */
typedef bool (*ldx_mongo_each_group)(const bson_t *key, size_t times, size_t position, void *state, ldx_error *error);
bool ldx_mongo_walk_index(ldx_mongo_attempt *attempt, const ldx_mongo_index *index, size_t fields, bool *walked,
                          ldx_mongo_each_group each, void *state, ldx_error *error);
/* Likewise; counts them all and adds some of them. */
bool ldx_mongo_walk_samples(ldx_mongo_attempt *attempt, const ldx_mongo_index *index, size_t fields, bool *walked,
                            ldx_mongo_duplicates *found);
/* Whether two keys of one index are the same in their first `fields`; and those, which the caller destroys. */
bool ldx_mongo_same_key(const bson_t *one, const bson_t *other, size_t fields);
void ldx_mongo_first_fields(const bson_t *key, size_t fields, bson_t *part);

/* listing.c: where the step asks for it, hands over all keys of several documents, each with the _ids of all of them
 * (ldx_listing). What keeps it from that is a note, for the step has failed already. `violations`: what collMod answered,
 * which has the _ids without their keys; or NULL. */
void ldx_mongo_list_duplicates(ldx_mongo_attempt *attempt, const bson_t *violations);
/* duplicates.c: the stages that give `{_id, key}` of all keys of all documents (ldx_mongo_keys_expression), and then those
 * of the JSON `then`. `only`: a filter besides that of a partial index, or NULL. None: there is no such query. The caller
 * destroys `pipeline` in any case. */
bool ldx_mongo_keys_pipeline(ldx_arena *arena, const ldx_step *step, const bson_t *spec, const bson_t *only,
                             const char *then, bson_t *pipeline, ldx_error *error);
/* Runs it, if there is one, comparing as an index by `spec` would. `keys`: the variable of that name, an array; or NULL. */
bool ldx_mongo_run_pipeline(ldx_mongo_attempt *attempt, const bson_t *spec, const bson_t *pipeline, const bson_t *keys,
                            ldx_mongo_each each, void *state, ldx_error *error);

/* keys.c: an expression of the aggregation language, as JSON in the arena, that gives all keys that a document has in such
 * an index, each once: an array of `{"k0": …, "k1": …}`, where a field is missing for the key of an empty array. NULL:
 * there is none, as for a path that may speak of places in an array, or one that begins another. */
const char *ldx_mongo_keys_expression(ldx_arena *arena, const ldx_definition *definition, bool sparse);

#endif
