/* status.c: what goes on in a database, as rows: builds with those who wait for them, queued ones, indexes that are not
 * finished otherwise, what an interrupted conversion left behind, and the holder of the run lock.
 *
 * A build is two operations, the worker's and the client's (watch.c). A client whose indexes no worker is at is queued, or
 * waits for the collection. There are no leftovers of builds: the server goes on with every one until it is done or ended.
 */
#include <string.h>

#include "base/buffer.h"
#include "builders.h"
#include "catalog.h"
#include "collmod.h"
#include "driver_parts.h"
#include "locks.h"
#include "model/catalog.h"
#include "path.h"
#include "progress.h"
#include "shell.h"
#include "spec.h"

typedef struct work {
  ldx_session *session;
  ldx_status rows;
  ldx_mongo_look look;
} work;

static const char **add_row(work *w, const char *kind) {
  const char **row = ldx_status_add(&w->rows);
  row[LDX_STATUS_KIND] = kind;
  return row;
}

static bool is_told(const work *w, const char *relation, const char *name) {
  for (size_t i = 0; i < w->rows.count; i++) {
    const char *const *row = w->rows.texts + LDX_STATUS_COLUMNS * i;
    const char *of = row[LDX_STATUS_RELATION], *index = row[LDX_STATUS_NAME];
    if (of && index && !strcmp(of, relation) && !strcmp(index, name)) return true;
  }
  return false;
}

static const char *who(work *w, const ldx_mongo_operation *operation) {
  char text[256];
  ldx_mongo_who(text, sizeof text, operation->document);
  return ldx_arena_strdup(w->rows.arena, text);
}

/* On a router an operation's number has the shard's name before it, which is no number. */
static const char *operation_number(work *w, const ldx_mongo_operation *operation) {
  bson_iter_t iter;
  if (!bson_iter_init_find(&iter, operation->document, "opid") || !BSON_ITER_HOLDS_NUMBER(&iter)) return NULL;
  return ldx_arena_printf(w->rows.arena, "%lld", (long long)bson_iter_as_int64(&iter));
}

static void tell_build(work *w, const char *relation, const char *name) {
  const ldx_mongo_operation *worker,
      *builder = ldx_mongo_find_builder(&w->look.all, w->session->database, relation, name, 0, &worker);
  ldx_progress progress = {0};
  if (worker)
    ldx_mongo_progress_of_worker(w->session, relation, name, worker, &progress);
  else
    ldx_mongo_progress_of_client(w->session, &w->look, builder, &progress);
  const char **row = add_row(w, "build");
  row[LDX_STATUS_RELATION] = ldx_arena_strdup(w->rows.arena, relation);
  row[LDX_STATUS_NAME] = ldx_arena_strdup(w->rows.arena, name);
  row[LDX_STATUS_PHASE] = ldx_arena_strdup(w->rows.arena, progress.phase);
  if (progress.total > 0)
    row[LDX_STATUS_PERCENT] = ldx_arena_printf(w->rows.arena, "%.1f", 100 * progress.done / progress.total);
  if (*progress.blocker) row[LDX_STATUS_BLOCKER] = ldx_arena_strdup(w->rows.arena, progress.blocker);
  row[LDX_STATUS_PID] = operation_number(w, worker ? worker : builder);
  row[LDX_STATUS_WHO] = who(w, builder);
}

static void tell_builds(work *w) {
  for (size_t i = 0; i < w->look.all.count; i++) {
    const ldx_mongo_operation *operation = &w->look.all.items[i];
    bson_iter_t each;
    bson_t index;
    if (!*operation->collection || !ldx_mongo_members_at(operation->document, "command.indexes", &each)) continue;
    while (bson_iter_next(&each)) {
      const char *text = ldx_mongo_view(&each, &index) ? ldx_mongo_text_at(&index, "name") : "";
      if (*text && ldx_mongo_operation_is_about(operation, w->session->database, operation->collection, text) &&
          !is_told(w, operation->collection, text))
        tell_build(w, operation->collection, text);
    }
  }
}

/* What is wrong with it, and what ends that at once. */
static const char *take_back_text(work *w, const ldx_live *live) {
  bson_t *command = ldx_mongo_collmod(live->relation->name.name, live->name, "prepareUnique", false);
  ldx_buffer b;
  ldx_buffer_init(&b, w->rows.arena);
  ldx_buffer_append(&b,
                    "it refuses new duplicates since a conversion to unique that did not end, or as declared; unless "
                    "it is declared so, the next apply goes on with it, or takes it back; to take it back now: ");
  ldx_mongo_shell_command(&b, command);
  bson_destroy(command);
  return ldx_buffer_string(&b);
}

static void tell_unfinished(work *w, const ldx_catalog *catalog, bool locked) {
  for (size_t i = 0; i < ldx_catalog_live_count(catalog); i++) {
    const ldx_live *live = ldx_catalog_live_at(catalog, i);
    const char *relation = live->relation->display;
    /* A run that is at it right now has the lock. */
    bool left = live->valid && !live->definition->unique && !locked &&
                ldx_mongo_option(&live->definition->storage, "prepareUnique");
    if ((live->valid && !left) || is_told(w, relation, live->name)) continue;
    const char **row = add_row(w, left ? "prepared" : "being_built");
    row[LDX_STATUS_RELATION] = ldx_arena_strdup(w->rows.arena, relation);
    row[LDX_STATUS_NAME] = ldx_arena_strdup(w->rows.arena, live->name);
    row[LDX_STATUS_DETAIL] = left ? take_back_text(w, live) : "by the server";
  }
}

/* A run sends nothing about a collection while a transaction has it, so the server shows nobody who waits. */
static void tell_transaction(work *w, const char **row) {
  char who[512], collection[LDX_MONGO_LONGEST_NAME];
  if (ldx_mongo_find_any_transaction(w->session, collection, sizeof collection, who, sizeof who) !=
      LDX_HOLDING_SOMEBODY)
    return;
  row[LDX_STATUS_RELATION] = ldx_arena_strdup(w->rows.arena, collection);
  row[LDX_STATUS_BLOCKER] = ldx_arena_strdup(w->rows.arena, who);
}

static bool tell_lock(work *w, bool *locked, ldx_error *error) {
  char text[512];
  int64_t pid = 0;
  *locked = false;
  if (!ldx_mongo_lock_holder(w->session, text, sizeof text, &pid, error)) {
    const char *why = ldx_arena_strdup(w->rows.arena, error->message);
    if (!ldx_mongo_unknown_then(error)) return false;
    add_row(w, "run_lock")[LDX_STATUS_DETAIL] = why;
    return true;
  }
  if (!*text) return true;
  const char **row = add_row(w, "run_lock");
  row[LDX_STATUS_PID] = ldx_arena_printf(w->rows.arena, "%lld", (long long)pid);
  row[LDX_STATUS_WHO] = ldx_arena_strdup(w->rows.arena, text);
  tell_transaction(w, row);
  *locked = true;
  return true;
}

static bool look(work *w, ldx_error *error) {
  if (!ldx_mongo_take_look(w->session, &w->look, error) && !ldx_mongo_unknown_then(error)) return false;
  bool locked;
  tell_builds(w);
  if (!tell_lock(w, &locked, error)) return false;
  ldx_catalog *catalog = ldx_mongo_catalog(w->session, NULL, error);
  if (!catalog) return false;
  tell_unfinished(w, catalog, locked);
  ldx_catalog_release(catalog);
  return true;
}

ldx_result *ldx_mongo_status(ldx_session *session, ldx_arena *arena, ldx_error *error) {
  work w = {.session = session, .rows.arena = arena};
  bool ok = look(&w, error);
  ldx_mongo_activity_free(&w.look.all);
  return ok ? ldx_status_result(&w.rows) : NULL;
}
