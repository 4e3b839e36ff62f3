/* measure.c: sizes, use, who builds, and what this user may do.
 *
 * A collection costs one request, one more where the use of its indexes is asked for, and one for some of its documents
 * where it is to have more of them (estimate.c). `table_bytes` is what its documents take uncompressed: that is what a
 * scan reads, and what has to fit into the server's cache. On a router all shards answer, and their figures are added.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builders.h"
#include "driver_parts.h"
#include "estimate.h"
#include "json.h"
#include "path.h"
#include "privileges.h"
#include "session.h"

/* What is known of one collection, while its items are filled. */
typedef struct facts {
  const ldx_relation *relation;
  ldx_measure **items;
  size_t count;
  double rows, bytes;
} facts;

static void add(double *sum, double value) {
  *sum = *sum < 0 ? value : *sum + value;
}

static void add_at(double *sum, const bson_t *document, const char *path) {
  bson_iter_t found;
  if (ldx_mongo_find(document, path, &found)) add(sum, bson_iter_as_double(&found));
}

/* The sizes of indexes are fields with the names of the indexes, in which a dot is no separator. */
static void add_index_size(const bson_t *document, ldx_measure *item) {
  bson_iter_t size;
  if (ldx_mongo_members_at(document, "storageStats.indexSizes", &size) && bson_iter_find(&size, item->live->name))
    add(&item->index_bytes, bson_iter_as_double(&size));
}

static bool read_sizes(const bson_t *document, void *state, ldx_error *error) {
  (void)error;
  facts *f = state;
  add_at(&f->rows, document, "storageStats.count");
  add_at(&f->bytes, document, "storageStats.size");
  for (size_t i = 0; i < f->count; i++)
    if (f->items[i]->live) add_index_size(document, f->items[i]);
  return true;
}

static bool read_use(const bson_t *document, void *state, ldx_error *error) {
  (void)error;
  facts *f = state;
  const char *name = ldx_mongo_text_at(document, "name");
  if (!*name) return true;
  for (size_t i = 0; i < f->count; i++) {
    ldx_measure *item = f->items[i];
    if (!item->live || strcmp(item->live->name, name) != 0) continue;
    add_at(&item->scans, document, "ops");
    /* Of several shards the one that has counted for the shortest time. */
    double seconds = bson_has_field(document, "age") ? ldx_mongo_number_at(document, "age") / 1000 : -1;
    if (item->scans_since < 0 || seconds < item->scans_since) item->scans_since = seconds;
  }
  return true;
}

/* The age of a count is told by the server, whose clock may differ from ours. */
static bson_t *use_command(const ldx_relation *relation) {
  return BCON_NEW("aggregate", BCON_UTF8(relation->name.name), "pipeline", "[", "{", "$indexStats", "{", "}", "}", "{",
                  "$project", "{", "name", BCON_INT32(1), "ops", BCON_UTF8("$accesses.ops"), "age", "{", "$subtract",
                  "[", BCON_UTF8("$$NOW"), BCON_UTF8("$accesses.since"), "]", "}", "}", "}", "]", "cursor", "{", "}");
}

static bson_t *sizes_command(const ldx_relation *relation) {
  return BCON_NEW("aggregate", BCON_UTF8(relation->name.name), "pipeline", "[", "{", "$collStats", "{", "storageStats",
                  "{", "}", "}", "}", "{", "$project", "{", "storageStats.count", BCON_INT32(1), "storageStats.size",
                  BCON_INT32(1), "storageStats.indexSizes", BCON_INT32(1), "}", "}", "]", "cursor", "{", "}");
}

static bool ask(ldx_session *session, bson_t *command, ldx_mongo_each each, facts *f, ldx_error *error) {
  bool ok = ldx_mongo_walk(session, NULL, command, each, f, error) || ldx_mongo_unknown_then(error);
  bson_destroy(command);
  return ok;
}

static bool measure_relation(ldx_session *session, facts *f, ldx_error *error) {
  bool live = false;
  for (size_t i = 0; i < f->count; i++) live |= f->items[i]->live != NULL;
  f->rows = f->bytes = f->relation->kind == '-' ? 0 : -1;
  if (f->relation->kind == 'v') return true;
  if (f->relation->kind != '-' && !ask(session, sizes_command(f->relation), read_sizes, f, error)) return false;
  if (live && !ask(session, use_command(f->relation), read_use, f, error)) return false;
  for (size_t i = 0; i < f->count; i++) {
    ldx_measure *item = f->items[i];
    item->rows = f->rows;
    item->table_bytes = f->bytes;
  }
  return ldx_mongo_estimate(session, f->items, f->count, error);
}

/* --- all of them ------------------------------------------------------------------------------------------------------------ */

static int compare_items(const void *a, const void *b) {
  const ldx_measure *x = *(ldx_measure *const *)a, *y = *(ldx_measure *const *)b;
  size_t i = x->relation->ordinal, j = y->relation->ordinal;
  return i < j ? -1 : i > j;
}

bool ldx_mongo_measure(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error) {
  for (size_t i = 0; i < count; i++) {
    ldx_measure *m = &items[i];
    m->rows = m->table_bytes = m->index_bytes = m->entries = m->scans = m->scans_since = -1;
    m->being_built = false;
    m->builder[0] = m->forbidden[0] = '\0';
  }
  if (!count) return true;
  ldx_measure **sorted = calloc(count, sizeof *sorted);
  if (!sorted) return ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
  for (size_t i = 0; i < count; i++) sorted[i] = &items[i];
  qsort(sorted, count, sizeof *sorted, compare_items);
  bool ok = true;
  for (size_t i = 0, next; ok && i < count; i = next) {
    for (next = i + 1; next < count && sorted[next]->relation == sorted[i]->relation;) next++;
    facts f = {.relation = sorted[i]->relation, .items = sorted + i, .count = next - i};
    ok = measure_relation(session, &f, error);
  }
  free(sorted);
  return ok && ldx_mongo_tell_builders(session, items, count, error) &&
         ldx_mongo_forbidden(session, items, count, error);
}
