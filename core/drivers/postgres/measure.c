/* measure.c: exact sizes, use, who builds, and how large an index would become.
 *
 * The size of an index to be comes from the planner: EXPLAIN of a query that selects its keys where its predicate holds
 * says how many rows and how wide, with the server's own statistics of columns and expressions, and groups say how many
 * keys are distinct. Nothing of it is run, and everything of it may fail without harm: then the size is unknown.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "driver_parts.h"
#include "look.h"
#include "postgres_sql.h"
#include "render.h"

/* A relation that was never analysed and is no larger is counted. */
static const double countable = 4 * 1024 * 1024;
/* Sizes and plans need a weak lock that somebody's ALTER TABLE may hold up. */
static const double patience = 2;

static double number(const PGresult *r, int row, int column) {
  return PQgetisnull(r, row, column) ? -1 : atof(PQgetvalue(r, row, column));
}

typedef struct plan_guess {
  double rows, groups, width; /* rows scanned (after the predicate), distinct keys, bytes of a row of keys */
} plan_guess;

/* "Seq Scan on x  (cost=0.00..1.00 rows=100 width=8)": the figures of one line. */
static bool read_plan_line(const char *line, double *rows, double *width) {
  const char *r = strstr(line, " rows="), *w = strstr(line, " width=");
  if (!r || !w) return false;
  *rows = atof(r + 6);
  *width = atof(w + 7);
  return true;
}

static bool explain(ldx_session *session, ldx_arena *arena, const ldx_measure *item, const char *relation, bool grouped,
                    plan_guess *guess) {
  const ldx_definition *d = item->definition;
  ldx_buffer keys, sql;
  ldx_buffer_init(&keys, arena);
  ldx_buffer_init(&sql, arena);
  for (size_t i = 0; i < d->key_count; i++) {
    const ldx_key *key = &d->keys[i];
    ldx_buffer_append(&keys, i ? ", " : "");
    if (key->column)
      ldx_buffer_append(&keys, ldx_pg_quote_identifier(arena, key->column));
    else
      ldx_buffer_appendf(&keys, "(%s)", key->expression);
  }
  for (size_t i = 0; i < d->include.count; i++)
    ldx_buffer_appendf(&keys, ", %s", ldx_pg_quote_identifier(arena, d->include.items[i]));
  ldx_buffer_appendf(&sql, "EXPLAIN SELECT %s FROM %s", ldx_buffer_string(&keys), relation);
  if (d->predicate) ldx_buffer_appendf(&sql, " WHERE (%s)", d->predicate);
  if (grouped) {
    ldx_buffer_append(&sql, " GROUP BY ");
    for (size_t i = 0; i < d->key_count; i++) ldx_buffer_appendf(&sql, "%s%zu", i ? ", " : "", i + 1);
  }
  ldx_error ignored;
  PGresult *r = ldx_pg_run(session, NULL, ldx_buffer_string(&sql), patience, &ignored);
  if (!r) return false;
  bool found = false;
  for (int i = 0; i < PQntuples(r); i++) {
    const char *line = PQgetvalue(r, i, 0);
    double rows, width;
    if (!read_plan_line(line, &rows, &width)) continue;
    if (!found) guess->groups = rows, guess->width = width, guess->rows = rows;
    /* Below the grouping stands what feeds it; a parallel scan's own line counts per worker, so Gather's is better. */
    if (rows > guess->rows) guess->rows = rows;
    found = true;
  }
  PQclear(r);
  return found;
}

static double aligned(double bytes) {
  long long words = (long long)(bytes + 7) / 8;
  return (double)(words * 8);
}

static double fill_factor(const ldx_definition *d, double otherwise) {
  for (size_t i = 0; i < d->storage.count; i++)
    if (!strcmp(d->storage.items[i].name, "fillfactor")) {
      double value = atof(d->storage.items[i].value) / 100;
      if (value >= 0.1 && value <= 1) return value;
    }
  return otherwise;
}

static double estimate(ldx_session *session, ldx_arena *arena, const ldx_measure *item, const char *relation) {
  enum { PAGE = 8192, USABLE = 8192 - 24 - 16, TUPLE_HEADER = 8, LINE_POINTER = 4, HEAP_POINTER = 6 };
  const ldx_definition *d = item->definition;
  if (d->kind == LDX_KIND_FOREIGN_KEY || !d->method) return -1;
  plan_guess guess = {0};
  bool btree = !strcmp(d->method, "btree");
  /* Equal keys of a btree share one entry, but for included columns. */
  bool shares = btree && !d->unique && !d->include.count;
  if (!(shares && explain(session, arena, item, relation, true, &guess)) &&
      !explain(session, arena, item, relation, false, &guess))
    return -1;
  if (!shares) guess.groups = guess.rows;
  double tuple = TUPLE_HEADER + aligned(guess.width) + LINE_POINTER, bytes;
  if (btree) {
    double fill = fill_factor(d, 0.9);
    bytes = guess.groups < guess.rows / 2 ? guess.groups * tuple + guess.rows * HEAP_POINTER : guess.rows * tuple;
    bytes = bytes / (USABLE * fill) * PAGE;
  } else if (!strcmp(d->method, "hash")) {
    bytes = guess.rows * 20 / (USABLE * fill_factor(d, 0.75)) * PAGE;
  } else if (!strcmp(d->method, "brin")) {
    bytes = (item->table_bytes > 0 ? item->table_bytes : 0) / PAGE / 128 * (24 + 2 * guess.width) + 2 * PAGE;
  } else if (!strcmp(d->method, "gin")) {
    bytes = guess.rows * guess.width * 0.6;
  } else {
    bytes = guess.rows * tuple / (USABLE * 0.7) * PAGE;
  }
  /* The meta page, and a root or leaf. */
  return bytes + 2 * PAGE;
}

/* Who is at an unfinished index. */
static void find_builder(ldx_session *session, ldx_arena *arena, ldx_measure *item) {
  ldx_error ignored;
  ldx_pg_index_state state;
  const ldx_pg_look look = {.session = session, .arena = arena, .limit = 2};
  if (!ldx_pg_look_at_index(&look, item->relation->name, item->live->name, &state, &ignored)) return;
  if (!state.builder) return;
  item->being_built = true;
  ldx_pg_one_line(item->builder, sizeof item->builder, state.builder_who);
  if (state.builder_phase[0]) {
    /* How far matters more than the whole of its query. */
    char *colon = strstr(item->builder, ": ");
    if (colon) *colon = '\0';
    size_t length = strlen(item->builder);
    snprintf(item->builder + length, sizeof item->builder - length, ", %s", state.builder_phase);
  }
}

static bool sizes(ldx_session *session, ldx_arena *arena, ldx_measure *items, size_t count, ldx_error *error) {
  ldx_buffer relations, indexes, sql;
  ldx_buffer_init(&relations, arena);
  ldx_buffer_init(&indexes, arena);
  ldx_buffer_init(&sql, arena);
  for (size_t i = 0; i < count; i++) {
    ldx_buffer_appendf(&relations, "%s%u", i ? "," : "{", items[i].relation->id);
    ldx_buffer_appendf(&indexes, "%s%u", i ? "," : "{", items[i].live ? items[i].live->id : 0);
  }
  ldx_buffer_append(&relations, "}");
  ldx_buffer_append(&indexes, "}");
  const char *values[] = {ldx_buffer_string(&relations), ldx_buffer_string(&indexes)};
  PGresult *r = ldx_pg_exec_params(session, ldx_sql_measure, 2, values, error);
  if (!r) return false;
  for (size_t i = 0; i < count && (int)i < PQntuples(r); i++) {
    ldx_measure *item = &items[i];
    int row = (int)i;
    if (PQgetisnull(r, row, 0)) continue; /* dropped meanwhile */
    item->rows = number(r, row, 1);
    item->table_bytes = number(r, row, 2);
    if (!PQgetisnull(r, row, 6)) ldx_pg_one_line(item->forbidden, sizeof item->forbidden, PQgetvalue(r, row, 6));
    const char *relation = ldx_pg_quote_name(arena, item->relation->name);
    bool partitioned = *PQgetvalue(r, row, 0) == 'p';
    if (item->rows < 0 && item->table_bytes <= countable && !partitioned) {
      ldx_error ignored;
      PGresult *c =
          ldx_pg_run(session, NULL, ldx_arena_printf(arena, "SELECT count(*) FROM %s", relation), patience, &ignored);
      if (c) item->rows = number(c, 0, 0);
      PQclear(c);
    }
    if (item->definition)
      item->index_bytes = estimate(session, arena, item, relation);
    else if (item->live)
      item->index_bytes = number(r, row, 3);
    if (item->live) {
      item->scans = number(r, row, 4);
      if (item->scans >= 0) item->scans_since = number(r, row, 5);
      if (!item->live->valid && item->live->id) find_builder(session, arena, item);
      if (!item->live->valid && !PQgetisnull(r, row, 7))
        ldx_pg_one_line(item->at_parts, sizeof item->at_parts, PQgetvalue(r, row, 7));
    }
  }
  PQclear(r);
  return true;
}

bool ldx_pg_measure(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error) {
  for (size_t i = 0; i < count; i++) {
    ldx_measure *m = &items[i];
    m->rows = m->table_bytes = m->index_bytes = m->entries = m->scans = m->scans_since = -1;
    m->being_built = false;
    m->builder[0] = m->at_parts[0] = m->forbidden[0] = '\0';
  }
  if (!count) return true;
  /* For planning a text nobody has asked to run. Somebody's strong lock must not hold up the plan either. */
  ldx_arena *arena = ldx_arena_new();
  bool ok = ldx_pg_do(session, "SET lock_timeout = '2s'", error);
  if (ok) {
    ok = sizes(session, arena, items, count, error);
    ldx_error ignored;
    if (ldx_pg_alive(session)) ldx_pg_do(session, "SET lock_timeout = 0", &ignored);
    /* Sizes that cannot be had now are unknown, not a failure. */
    if (!ok && error && error->code == LDX_ERROR_LOCK_TIMEOUT) {
      ldx_error_clear(error);
      ok = true;
    }
  }
  ldx_arena_free(arena);
  return ok;
}
