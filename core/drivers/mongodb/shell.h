/* shell.h: BSON, names and commands as somebody would type them into mongosh. */
#ifndef LUNADEX_MONGO_SHELL_H
#define LUNADEX_MONGO_SHELL_H

#include <bson/bson.h>

#include "base/buffer.h"

/* `{ email: 1, "first name": -1 }`; numbers as plain as they can be written without becoming others. */
void ldx_mongo_shell_document(ldx_buffer *to, const bson_t *document);
/* `[1, 2]`, of a list's members. */
void ldx_mongo_shell_array(ldx_buffer *to, const bson_t *array);
/* The value the iterator stands on. */
void ldx_mongo_shell_value(ldx_buffer *to, const bson_iter_t *value);
/* A field's name as a key of a literal: quoted where it has to be. */
void ldx_mongo_shell_name(ldx_buffer *to, const char *name);
/* A string literal. */
void ldx_mongo_shell_string(ldx_buffer *to, const char *text);
/* `db.users`, or `db.getCollection("userStats")`: where mongosh might take the name for something else. */
void ldx_mongo_shell_collection(ldx_buffer *to, const char *collection);

/* `db.users.createIndex({ … }, { … })` of a specification as createIndexes takes or listIndexes gives it. `quorum` may be
 * NULL. */
void ldx_mongo_shell_create(ldx_buffer *to, const char *collection, const bson_t *spec, const char *quorum);
/* `db.runCommand({ … })`. */
void ldx_mongo_shell_command(ldx_buffer *to, const bson_t *command);

#endif
