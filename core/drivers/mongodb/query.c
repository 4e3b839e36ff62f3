/* query.c: commands of scripts, as JSON, and their documents as rows.
 *
 * A command is one extended JSON object as the server takes it, `{"find": "users", "filter": {…}}`, on the target's
 * database or the one that its field `$db` names. Each document that it gives is a row of one column, as relaxed extended
 * JSON; a command that makes no cursor gives its reply.
 */
#include <string.h>

#include "driver_parts.h"
#include "json.h"
#include "session.h"

/* What a result may take: a script that wants more should ask for less at a time. */
static const size_t most_bytes = (size_t)256 << 20;

typedef struct rows {
  ldx_arena *arena;
  const char **values;
  size_t count, room, bytes;
} rows;

static bool add_row(const bson_t *document, void *state, ldx_error *error) {
  static const char *const others[] = {"$clusterTime", "operationTime"}; /* of every reply, and of no use */
  rows *r = state;
  bson_t copy;
  bson_init(&copy);
  bson_copy_to_excluding_noinit(document, &copy, others[0], others[1], (char *)NULL);
  const char *text = ldx_mongo_json(r->arena, &copy);
  bson_destroy(&copy);
  r->bytes += strlen(text) + 1;
  if (r->bytes > most_bytes) {
    ldx_error_set(error, LDX_ERROR_USAGE, "the result is larger than %zu MB", most_bytes >> 20);
    ldx_error_hint(error, "Ask for fewer documents at a time (limit), or for fewer of their fields (projection).");
    return false;
  }
  if (r->count == r->room) {
    const char **values = LDX_ARENA_NEW(r->arena, const char *, r->room * 2 + 64);
    if (r->count) memcpy(values, r->values, r->count * sizeof *values);
    r->values = values;
    r->room = r->room * 2 + 64;
  }
  r->values[r->count++] = text;
  return true;
}

static ldx_result *result_of(const rows *r, const char *command) {
  ldx_result *result = LDX_ARENA_NEW(r->arena, ldx_result, 1);
  result->column_count = 1;
  result->columns = LDX_ARENA_NEW(r->arena, const char *, 1);
  result->columns[0] = "document";
  result->types = ldx_arena_strdup(r->arena, "s");
  result->row_count = r->count;
  result->values = r->values ? r->values : LDX_ARENA_NEW(r->arena, const char *, 1);
  result->command = command;
  return result;
}

ldx_result *ldx_mongo_query(ldx_session *session, ldx_arena *arena, const char *text, const char *const *parameters,
                            size_t parameter_count, ldx_error *error) {
  (void)parameters;
  if (parameter_count) {
    ldx_error_set(error, LDX_ERROR_USAGE, "commands of MongoDB have no parameters");
    ldx_error_hint(error, "Write the values into the JSON.");
    return NULL;
  }
  bson_t given, command;
  bson_iter_t iter;
  if (!ldx_mongo_parse(text, "the command", &given, error)) {
    if (error) error->code = LDX_ERROR_USAGE;
    return NULL;
  }
  rows r = {.arena = arena};
  const char *database = NULL, *name = "";
  if (bson_iter_init_find(&iter, &given, "$db") && BSON_ITER_HOLDS_UTF8(&iter)) database = bson_iter_utf8(&iter, NULL);
  if (bson_iter_init(&iter, &given) && bson_iter_next(&iter)) name = ldx_arena_strdup(arena, bson_iter_key(&iter));
  bson_init(&command);
  bson_copy_to_excluding_noinit(&given, &command, "$db", (char *)NULL);
  bool ok = *name ? ldx_mongo_walk(session, database, &command, add_row, &r, error)
                  : ldx_error_set(error, LDX_ERROR_USAGE, "the command is empty");
  bson_destroy(&command);
  bson_destroy(&given);
  return ok ? result_of(&r, name) : NULL;
}
