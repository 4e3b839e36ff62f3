/* history.c: what runs have done, in collections of the database itself (docs/history.md).
 *
 * `lunadex.runs` has a document for each run, `lunadex.changes` one for each change, with { run, number } as its _id. A run
 * is told by the fence of the lease it held (lock.c): it goes on as long as that lease does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver_parts.h"
#include "path.h"
#include "session.h"

#define RUNS    LDX_MONGO_OWN "runs"
#define CHANGES LDX_MONGO_OWN "changes"

/* Nobody waits for a history. */
enum { PATIENCE_MS = 10000, LAST = 10 };

/* --- writing ---------------------------------------------------------------------------------------------------------- */

/* `$set` of one stage of an update: what parameters give is never taken for an expression. */
static void set_text(bson_t *set, const char *name, const char *value) {
  bson_t literal;
  if (!value) {
    BSON_APPEND_NULL(set, name);
    return;
  }
  bson_append_document_begin(set, name, -1, &literal);
  BSON_APPEND_UTF8(&literal, "$literal", value);
  bson_append_document_end(set, &literal);
}

static void set_number(bson_t *set, const char *name, const char *value) {
  if (value)
    BSON_APPEND_INT64(set, name, atoll(value));
  else
    BSON_APPEND_NULL(set, name);
}

static bool upsert(ldx_session *session, const char *collection, const bson_t *query, const bson_t *set, bool insert,
                   ldx_error *error) {
  bson_t *command = BCON_NEW("update", BCON_UTF8(collection), "updates", "[", "{", "q", BCON_DOCUMENT(query), "u", "[",
                             "{", "$set", BCON_DOCUMENT(set), "}", "]", "upsert", BCON_BOOL(insert), "}", "]",
                             "maxTimeMS", BCON_INT32(PATIENCE_MS));
  bool ok = ldx_mongo_command(session, NULL, command, NULL, error);
  bson_destroy(command);
  return ok;
}

static bool first_of(ldx_session *session, const bson_t *command, bson_t *reply, bson_iter_t *fields, bool *any,
                     ldx_error *error) {
  *any = false;
  if (!ldx_mongo_command(session, NULL, command, reply, error)) return false;
  *any = ldx_mongo_members_at(reply, "cursor.firstBatch.0", fields);
  return true;
}

/* The lease that is held now: its fence, and who has it as fields for `set`. */
static bool read_lease(ldx_session *session, bson_t *set, int64_t *fence, bool *held, ldx_error *error) {
  bson_t *command = BCON_NEW("find", LDX_MONGO_LOCK, "filter", "{", "_id", "run", "$expr", "{", "$gt", "[", "$expires",
                             "$$NOW", "]", "}", "}", "maxTimeMS", BCON_INT32(PATIENCE_MS));
  bson_t reply;
  bson_iter_t fields, who;
  bool ok = first_of(session, command, &reply, &fields, held, error);
  while (ok && *held && bson_iter_next(&fields)) {
    if (!strcmp(bson_iter_key(&fields), "fence")) *fence = bson_iter_as_int64(&fields);
    if (strcmp(bson_iter_key(&fields), "who") != 0 || !bson_iter_recurse(&fields, &who)) continue;
    while (bson_iter_next(&who)) {
      const char *name = bson_iter_key(&who);
      if (BSON_ITER_HOLDS_UTF8(&who)) set_text(set, name, bson_iter_utf8(&who, NULL));
      if (!strcmp(name, "pid")) BSON_APPEND_INT64(set, name, bson_iter_as_int64(&who));
    }
  }
  bson_destroy(&reply);
  bson_destroy(command);
  return ok;
}

static bool last_run(ldx_session *session, int64_t *last, ldx_error *error) {
  bson_t *command = BCON_NEW("find", RUNS, "sort", "{", "_id", BCON_INT32(-1), "}", "projection", "{", "_id",
                             BCON_INT32(1), "}", "limit", BCON_INT32(1), "maxTimeMS", BCON_INT32(PATIENCE_MS));
  bson_t reply;
  bson_iter_t fields;
  bool any, ok = first_of(session, command, &reply, &fields, &any, error);
  *last = ok && any && bson_iter_next(&fields) ? bson_iter_as_int64(&fields) : 0;
  bson_destroy(&reply);
  bson_destroy(command);
  return ok;
}

static ldx_result *no_rows(ldx_arena *arena) {
  return ldx_result_of(arena, NULL, "", NULL, 0, "");
}

/* A run begins: version, existing, planned. Gives its id; no row where nobody holds the lock. */
static ldx_result *add_run(ldx_session *session, ldx_arena *arena, const char *const *parameters, ldx_error *error) {
  bson_t set = BSON_INITIALIZER, query = BSON_INITIALIZER;
  int64_t fence = 0, last = 0;
  bool held = false;
  bool ok = read_lease(session, &set, &fence, &held, error) && (!held || last_run(session, &last, error));
  if (ok && held) {
    set_text(&set, "version", parameters[0]);
    set_number(&set, "existing", parameters[1]);
    set_number(&set, "planned", parameters[2]);
    BSON_APPEND_UTF8(&set, "started", "$$NOW");
    /* With the fence: a run that has lost its lock meanwhile cannot write into the next one's. */
    BSON_APPEND_INT64(&query, "_id", last + 1);
    BSON_APPEND_INT64(&query, "fence", fence);
    ok = upsert(session, RUNS, &query, &set, true, error);
  }
  bson_destroy(&query);
  bson_destroy(&set);
  if (!ok) return NULL;
  if (!held) return no_rows(arena);
  static const char *const id = "id";
  const char *number = ldx_arena_printf(arena, "%" PRId64, last + 1);
  return ldx_result_of(arena, &id, "i", &number, 1, "");
}

/* A change begins or ends: run, number, action, relation, name, definition, critical, seconds, attempts, outcome, error. */
static bool add_change(ldx_session *session, const char *const *p, ldx_error *error) {
  static const char *const texts[] = {"action", "relation", "name", "definition"};
  bson_t set = BSON_INITIALIZER, query = BSON_INITIALIZER, id;
  double seconds = p[7] ? atof(p[7]) : 0;
  bson_append_document_begin(&query, "_id", -1, &id);
  BSON_APPEND_INT64(&id, "run", atoll(p[0]));
  BSON_APPEND_INT64(&id, "number", atoll(p[1]));
  bson_append_document_end(&query, &id);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) set_text(&set, texts[i], p[2 + i]);
  BSON_APPEND_BOOL(&set, "critical", p[6] && !strcmp(p[6], "true"));
  BCON_APPEND(&set, "started", "{", "$ifNull", "[", "$started", "{", "$subtract", "[", "$$NOW",
              BCON_INT64((int64_t)(seconds * 1000)), "]", "}", "]", "}");
  if (p[7])
    BSON_APPEND_DOUBLE(&set, "seconds", seconds);
  else
    BSON_APPEND_NULL(&set, "seconds");
  set_number(&set, "attempts", p[8]);
  set_text(&set, "outcome", p[9]);
  set_text(&set, "error", p[10]);
  bool ok = upsert(session, CHANGES, &query, &set, true, error);
  bson_destroy(&query);
  bson_destroy(&set);
  return ok;
}

static bool end_run(ldx_session *session, const char *const *p, ldx_error *error) {
  bson_t set = BSON_INITIALIZER, query = BSON_INITIALIZER;
  BSON_APPEND_INT64(&query, "_id", atoll(p[0]));
  BSON_APPEND_UTF8(&set, "ended", "$$NOW");
  set_text(&set, "outcome", p[1]);
  set_text(&set, "error", p[2]);
  bool ok = upsert(session, RUNS, &query, &set, false, error);
  bson_destroy(&query);
  bson_destroy(&set);
  return ok;
}

/* --- reading ---------------------------------------------------------------------------------------------------------- */

enum { COLUMNS = 12 };
static const char *const columns[COLUMNS] = {"id",      "started",  "seconds", "outcome", "error",  "who",
                                             "version", "existing", "planned", "done",    "failed", "unfinished"};
static const char types[COLUMNS + 1] = "isfssssiiiis";

/* How many of a run's changes fulfil `test`. */
static bson_t *count_of(bson_t *test) {
  bson_t *sum = BCON_NEW("$size", "{", "$filter", "{", "input", "$changes", "cond", BCON_DOCUMENT(test), "}", "}");
  bson_destroy(test);
  return sum;
}

/* "create users users_email, …" of the changes that have no end. */
static bson_t *unfinished(void) {
  return BCON_NEW("$reduce", "{", "input", "{", "$filter", "{", "input", "$changes", "cond", "{", "$eq", "[", "{",
                  "$ifNull", "[", "$$this.outcome", BCON_NULL, "]", "}", BCON_NULL, "]", "}", "}", "}", "initialValue",
                  BCON_NULL, "in", "{", "$concat", "[", "{", "$cond", "[", "{", "$eq", "[", "$$value", BCON_NULL, "]",
                  "}", "", "{", "$concat", "[", "$$value", ", ", "]", "}", "]", "}", "$$this.action", " ",
                  "$$this.relation", " ", "$$this.name", "]", "}", "}");
}

static bson_t *read_command(void) {
  bson_t *done = count_of(BCON_NEW("$not", "[", "{", "$in", "[", "{", "$ifNull", "[", "$$this.outcome", "failed", "]",
                                   "}", "[", "failed", "cancelled", "]", "]", "}", "]"));
  bson_t *failed = count_of(BCON_NEW("$eq", "[", "$$this.outcome", "failed", "]"));
  bson_t *open = unfinished();
  bson_t *command =
      BCON_NEW("aggregate", RUNS, "pipeline", "[",                 //
               "{", "$sort", "{", "_id", BCON_INT32(-1), "}", "}", //
               "{", "$limit", BCON_INT32(LAST), "}",               //
               "{", "$lookup", "{", "from", LDX_MONGO_LOCK, "pipeline", "[", "{", "$match", "{", "_id", "run", "}", "}",
               "]", "as", "lock", "}", "}", //
               "{", "$lookup", "{", "from", CHANGES, "let", "{", "run", "$_id", "}", "pipeline", "[", "{", "$match",
               "{", "$expr", "{", "$and", "[", "{", "$gte", "[", "$_id", "{", "run", "$$run", "}", "]", "}", "{", "$lt",
               "[", "$_id", "{", "run", "{", "$add", "[", "$$run", BCON_INT32(1), "]", "}", "}", "]", "}", "]", "}",
               "}", "}", "{", "$sort", "{", "_id", BCON_INT32(1), "}", "}", "]", "as", "changes", "}", "}",        //
               "{", "$set", "{", "lock", "{", "$first", "$lock", "}", "}", "}",                                    //
               "{", "$project", "{", "_id", BCON_INT32(0), "id", "$_id",                                           //
               "started", "{", "$dateToString", "{", "date", "$started", "format", "%Y-%m-%dT%H:%M:%SZ", "}", "}", //
               "seconds", "{", "$divide", "[", "{", "$subtract", "[", "$ended", "$started", "]", "}", BCON_INT32(1000),
               "]", "}", //
               "outcome", "{", "$cond", "[", "{", "$ifNull", "[", "$ended", BCON_BOOL(false), "]", "}", "$outcome", "{",
               "$cond", "[", "{", "$and", "[", "{", "$eq", "[", "$lock.fence", "$fence", "]", "}", "{", "$gt", "[",
               "$lock.expires", "$$NOW", "]", "}", "]", "}", "running", "killed", "]", "}", "]", "}", //
               "error", BCON_INT32(1), "who", "{", "$concat", "[", "$user", "@", "$host", "]", "}", "version",
               BCON_INT32(1), "existing", BCON_INT32(1), "planned", BCON_INT32(1), //
               "done", BCON_DOCUMENT(done), "failed", BCON_DOCUMENT(failed), "unfinished", BCON_DOCUMENT(open), "}",
               "}", "]", "cursor", "{", "}", "maxTimeMS", BCON_INT32(PATIENCE_MS));
  bson_destroy(done);
  bson_destroy(failed);
  bson_destroy(open);
  return command;
}

typedef struct reading {
  ldx_arena *arena;
  const char *texts[LAST * COLUMNS];
  size_t count;
} reading;

static const char *text_of(ldx_arena *arena, const bson_iter_t *value) {
  if (BSON_ITER_HOLDS_UTF8(value)) return ldx_arena_strdup(arena, bson_iter_utf8(value, NULL));
  if (BSON_ITER_HOLDS_DOUBLE(value)) return ldx_arena_printf(arena, "%.17g", bson_iter_double(value));
  if (BSON_ITER_HOLDS_INT(value)) return ldx_arena_printf(arena, "%" PRId64, bson_iter_as_int64(value));
  return NULL;
}

static bool each_run(const bson_t *document, void *state, ldx_error *error) {
  (void)error;
  reading *r = state;
  bson_iter_t value;
  if (r->count == LAST) return true;
  const char **row = r->texts + r->count++ * COLUMNS;
  for (size_t i = 0; i < COLUMNS; i++)
    if (bson_iter_init_find(&value, document, columns[i])) row[i] = text_of(r->arena, &value);
  return true;
}

static ldx_result *read_runs(ldx_session *session, ldx_arena *arena, ldx_error *error) {
  reading state = {.arena = arena};
  bson_t *command = read_command();
  bool ok = ldx_mongo_walk(session, NULL, command, each_run, &state, error);
  bson_destroy(command);
  if (!ok) return NULL;
  if (!state.count) return no_rows(arena); /* without columns: none was ever recorded */
  return ldx_result_of(arena, columns, types, state.texts, state.count, "");
}

ldx_result *ldx_mongo_history(ldx_session *session, ldx_arena *arena, ldx_history what, const char *const *parameters,
                              size_t parameter_count, ldx_error *error) {
  static const size_t needed[] = {[LDX_HISTORY_RUN] = 3, [LDX_HISTORY_CHANGE] = 11, [LDX_HISTORY_END] = 3};
  /* The first says which run, but for a new one, and then its version. */
  if (what != LDX_HISTORY_READ && (parameter_count < needed[what] || !parameters[0])) {
    ldx_error_set(error, LDX_ERROR_USAGE, "a row of the history lacks parameters");
    return NULL;
  }
  switch (what) {
  case LDX_HISTORY_READ:
    return read_runs(session, arena, error);
  case LDX_HISTORY_RUN:
    return add_run(session, arena, parameters, error);
  case LDX_HISTORY_CHANGE:
    return add_change(session, parameters, error) ? no_rows(arena) : NULL;
  case LDX_HISTORY_END:
    return end_run(session, parameters, error) ? no_rows(arena) : NULL;
  }
  return NULL;
}
