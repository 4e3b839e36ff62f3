/* collation.h: collations as the server fills them in.
 *
 * What a collation leaves out depends on its locale, so the server is asked, once for each that a session meets. A user
 * who may not ask gets what the locales of the ICU have that all servers so far share.
 */
#ifndef LUNADEX_MONGO_COLLATION_H
#define LUNADEX_MONGO_COLLATION_H

#include <bson/bson.h>

#include "lunadex/arena.h"
#include "session.h"

/* The answers of a session's server; one thread's, like the session. */
typedef struct ldx_mongo_collations ldx_mongo_collations;

ldx_mongo_collations *ldx_mongo_collations_new(ldx_session *session);
void ldx_mongo_collations_free(ldx_mongo_collations *collations); /* NULL is fine */

/* A collation in normal form: JSON, fields in one order, without the version. What it leaves out is what its locale has in
 * the servers of today; one from a server leaves nothing out. In the arena. */
const char *ldx_mongo_collation_form(ldx_arena *arena, const bson_t *collation);
/* What is to be said of a collation in that form: its locale, and what that has otherwise. In the arena, or what was given
 * if it is no JSON. */
const char *ldx_mongo_collation_short(ldx_arena *arena, const char *json);
/* The complete form of `json`, which may leave things out: in `arena`; LDX_MONGO_SIMPLE for the simple one. NULL: the
 * server refuses it (LDX_ERROR_INVALID_DEFINITION), or cannot be asked now. */
const char *ldx_mongo_collation_complete(ldx_mongo_collations *collations, ldx_arena *arena, const char *json,
                                         ldx_error *error);

/* Comparison of bytes, said explicitly: what an index has to say on a collection that has another one by default. */
#define LDX_MONGO_SIMPLE "{\"locale\": \"simple\"}"

#endif
