/* shard.h: the keys by which collections are spread over shards, and the indexes that they cannot be without. */
#ifndef LUNADEX_MONGO_SHARD_H
#define LUNADEX_MONGO_SHARD_H

#include "lunadex/arena.h"
#include "lunadex/catalog.h"
#include "session.h"

/* Gives the key of each sharded collection of the session's database to `each`, or of `collection` alone if that is not
 * NULL; `key` is its only for the call. A time-series collection goes by its own name. False: as of ldx_mongo_walk; who
 * may not read the cluster's own database gets LDX_ERROR_PERMISSION, or LDX_ERROR_UNSUPPORTED. */
typedef void (*ldx_mongo_each_shard_key)(const char *collection, const bson_t *key, void *state);
bool ldx_mongo_shard_keys(ldx_session *session, const char *collection, ldx_mongo_each_shard_key each, void *state,
                          ldx_error *error);

/* Which of a collection's finished indexes stand for its shard key, in `needed`: of those that begin with it and hold every
 * document the one that is the key and nothing more; where there is none such, whichever is dropped last would be missed,
 * so all of them. Works in `arena`. */
void ldx_mongo_find_shard_indexes(ldx_arena *arena, const bson_t *key, const ldx_definition *const *indexes,
                                  size_t count, bool *needed);

#endif
