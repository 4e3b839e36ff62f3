#include "duplicates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "render.h"

enum { SAMPLES = 5, KEY_TEXT = 60 };

/* Seconds that figures are worth to somebody who has waited for the build already. */
static const double patience = 60;

static const char *key_text(ldx_arena *arena, const ldx_key *key) {
  const char *text =
      key->column ? ldx_pg_quote_identifier(arena, key->column) : ldx_arena_printf(arena, "(%s)", key->expression);
  return key->collation ? ldx_arena_printf(arena, "%s COLLATE %s", text, key->collation) : text;
}

static bool can_be_counted(const ldx_definition *d) {
  return d->unique && d->key_count && !d->without_overlaps;
}

/* FROM … WHERE …: the rows that the index would have. Nulls are equal to nothing unless it says so. */
static void append_rows(ldx_buffer *b, ldx_arena *arena, const ldx_step *step) {
  const ldx_definition *d = step->definition;
  const char *word = " WHERE ";
  ldx_buffer_appendf(b, " FROM %s", ldx_pg_quote_name(arena, step->relation));
  if (d->predicate) {
    ldx_buffer_appendf(b, "%s(%s)", word, d->predicate);
    word = " AND ";
  }
  for (size_t i = 0; i < d->key_count && !d->nulls_not_distinct; i++) {
    ldx_buffer_appendf(b, "%s%s IS NOT NULL", word, key_text(arena, &d->keys[i]));
    word = " AND ";
  }
}

/* The groups of equal keys. */
static void append_groups(ldx_buffer *b, ldx_arena *arena, const ldx_step *step) {
  const ldx_definition *d = step->definition;
  append_rows(b, arena, step);
  ldx_buffer_append(b, " GROUP BY ");
  for (size_t i = 0; i < d->key_count; i++) ldx_buffer_appendf(b, "%s%zu", i ? ", " : "", i + 1);
  ldx_buffer_append(b, " HAVING count(*) > 1");
}

char *ldx_pg_sql_duplicates(ldx_arena *arena, const ldx_step *step) {
  const ldx_definition *d = step->definition;
  if (!can_be_counted(d)) return NULL;
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  ldx_buffer_append(&b, "SELECT ");
  for (size_t i = 0; i < d->key_count; i++) ldx_buffer_appendf(&b, "%s, ", key_text(arena, &d->keys[i]));
  ldx_buffer_append(&b, "count(*)");
  append_groups(&b, arena, step);
  ldx_buffer_append(&b, " ORDER BY count(*) DESC");
  return ldx_arena_strdup(arena, ldx_buffer_string(&b));
}

/* One row a sample: number of keys, of rows, times, then the key's parts as text. */
static char *sql_samples(ldx_arena *arena, const ldx_step *step) {
  const ldx_definition *d = step->definition;
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  ldx_buffer_append(&b, "SELECT count(*) OVER (), sum(n) OVER (), n");
  for (size_t i = 0; i < d->key_count; i++) ldx_buffer_appendf(&b, ", k%zu::pg_catalog.text", i);
  ldx_buffer_append(&b, " FROM (SELECT ");
  for (size_t i = 0; i < d->key_count; i++) ldx_buffer_appendf(&b, "%s AS k%zu, ", key_text(arena, &d->keys[i]), i);
  ldx_buffer_append(&b, "count(*) AS n");
  append_groups(&b, arena, step);
  ldx_buffer_appendf(&b, ") d ORDER BY n DESC LIMIT %d", SAMPLES);
  return ldx_arena_strdup(arena, ldx_buffer_string(&b));
}

/* "3 keys stand in 7 rows: (1, x) 4 times, …" */
static void tell(ldx_pg_attempt *attempt, const PGresult *r) {
  const ldx_definition *d = attempt->step->definition;
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  long long keys = atoll(PQgetvalue(r, 0, 0));
  ldx_buffer_appendf(&b, "%lld key%s in %s rows: ", keys, keys == 1 ? " is" : "s are", PQgetvalue(r, 0, 1));
  for (int row = 0; row < PQntuples(r); row++) {
    ldx_buffer_append(&b, row ? ", (" : "(");
    for (size_t i = 0; i < d->key_count; i++) {
      char text[KEY_TEXT * 4];
      int column = (int)i + 3;
      ldx_pg_one_line(text, sizeof text, PQgetisnull(r, row, column) ? "NULL" : PQgetvalue(r, row, column));
      ldx_buffer_appendf(&b, "%s%s", i ? ", " : "", text);
    }
    ldx_buffer_appendf(&b, ") %s times", PQgetvalue(r, row, 2));
  }
  if (keys > PQntuples(r)) ldx_buffer_append(&b, ", …");
  ldx_pg_one_line(attempt->error->detail, sizeof attempt->error->detail, ldx_buffer_string(&b));
}

static void hint_query(ldx_pg_attempt *attempt) {
  char *query = ldx_pg_sql_duplicates(attempt->arena, attempt->step);
  if (!query) return;
  if (strlen(query) < sizeof attempt->error->hint - 32)
    ldx_error_hint(attempt->error, "Find them all: %s", query);
  else
    ldx_context_note(attempt->context, "to find all duplicates: %s", query);
}

/* The samples; an index is about all rows, also those that row-level security hides from this role: then it is an error. */
static PGresult *samples(ldx_pg_attempt *attempt, double limit, ldx_error *error) {
  if (!ldx_pg_do(attempt->session, "SET row_security = off", error)) return NULL;
  PGresult *r =
      ldx_pg_run(attempt->session, attempt->context, sql_samples(attempt->arena, attempt->step), limit, error);
  ldx_error ignored;
  if (ldx_pg_alive(attempt->session)) ldx_pg_do(attempt->session, "RESET row_security", &ignored);
  return r;
}

/* --- all of them ------------------------------------------------------------------------------------------------------ */

/* What tells a row from all others: its primary key, or where it is. */
static char *row_object(ldx_pg_attempt *attempt, ldx_error *error) {
  ldx_arena *arena = attempt->arena;
  char *sql = ldx_arena_printf(
      arena,
      "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
      "WHERE i.indrelid = %s::regclass AND i.indisprimary AND i.indisvalid ORDER BY array_position(i.indkey, a.attnum)",
      ldx_pg_quote_literal(arena, ldx_pg_quote_name(arena, attempt->step->relation)));
  PGresult *r = ldx_pg_exec(attempt->session, sql, error);
  ldx_buffer b;
  if (!r) return NULL;
  ldx_buffer_init(&b, arena);
  ldx_buffer_append(&b, "json_build_object(");
  for (int row = 0; row < PQntuples(r); row++) {
    const char *name = PQgetvalue(r, row, 0);
    ldx_buffer_appendf(&b, "%s%s::text, %s", row ? ", " : "", ldx_pg_quote_literal(arena, name),
                       ldx_pg_quote_identifier(arena, name));
  }
  if (!PQntuples(r)) ldx_buffer_append(&b, "'tableoid', tableoid::regclass, 'ctid', ctid");
  ldx_buffer_append(&b, ")::text");
  PQclear(r);
  return ldx_buffer_string(&b);
}

/* One row for each row of such a key, `object`, key by key; with the first of them comes the key. */
static char *sql_listing(ldx_arena *arena, const ldx_step *step, const char *object) {
  const ldx_definition *d = step->definition;
  ldx_buffer b, keys;
  ldx_buffer_init(&b, arena);
  ldx_buffer_init(&keys, arena);
  for (size_t i = 0; i < d->key_count; i++)
    ldx_buffer_appendf(&keys, "%s%s", i ? ", " : "", key_text(arena, &d->keys[i]));
  ldx_buffer_append(&b, "SELECT CASE WHEN place = 1 THEN json_build_object(");
  for (size_t i = 0; i < d->key_count; i++) {
    const char *name = d->keys[i].column ? d->keys[i].column : d->keys[i].expression;
    ldx_buffer_appendf(&b, "%s%s::text, k%zu", i ? ", " : "", ldx_pg_quote_literal(arena, name), i);
  }
  ldx_buffer_append(&b, ")::text END, row FROM (SELECT ");
  for (size_t i = 0; i < d->key_count; i++) ldx_buffer_appendf(&b, "%s AS k%zu, ", key_text(arena, &d->keys[i]), i);
  ldx_buffer_appendf(&b,
                     "%s AS row, count(*) OVER (PARTITION BY %s) AS n, row_number() OVER (PARTITION BY %s) AS place",
                     object, ldx_buffer_string(&keys), ldx_buffer_string(&keys));
  append_rows(&b, arena, step);
  ldx_buffer_append(&b, ") d WHERE n > 1 ORDER BY ");
  for (size_t i = 0; i < d->key_count; i++) ldx_buffer_appendf(&b, "k%zu, ", i);
  ldx_buffer_append(&b, "place");
  return ldx_buffer_string(&b);
}

static bool each_listed(const PGresult *row, void *state, ldx_error *error) {
  ldx_listing *listing = state;
  if (!PQgetisnull(row, 0, 0)) ldx_listing_key(listing, PQgetvalue(row, 0, 0));
  return ldx_listing_id(listing, PQgetvalue(row, 0, 1), error);
}

static bool list(ldx_pg_attempt *attempt, ldx_listing *listing, ldx_error *error) {
  char *object = row_object(attempt, error);
  if (!object || !ldx_pg_do(attempt->session, "SET row_security = off", error)) return false;
  PGresult *r = ldx_pg_walk(attempt->session, attempt->context, sql_listing(attempt->arena, attempt->step, object), 0,
                            NULL, each_listed, listing, error);
  ldx_error ignored;
  if (ldx_pg_alive(attempt->session)) ldx_pg_do(attempt->session, "RESET row_security", &ignored);
  PQclear(r);
  return r != NULL;
}

/* Where the step asks for it. What keeps it from that is a note, for the step has failed already. */
static void list_all(ldx_pg_attempt *attempt) {
  ldx_error error;
  if (!attempt->step->list_duplicates) return;
  ldx_error_clear(&error);
  ldx_listing *listing = ldx_listing_new(attempt->context);
  bool ok = list(attempt, listing, &error);
  if (!ldx_listing_end(listing, ok, &error) && error.code != LDX_ERROR_CANCELLED)
    ldx_context_note(attempt->context, "the list of duplicates is not complete: %s", error.message);
}

bool ldx_pg_check_duplicates(ldx_pg_attempt *attempt) {
  if (!attempt->step->check_duplicates || attempt->checked || !can_be_counted(attempt->step->definition)) return true;
  attempt->checked = true;
  PGresult *r = samples(attempt, 0, attempt->error);
  if (!r) return false;
  bool none = PQntuples(r) == 0;
  if (!none) {
    ldx_error_set(attempt->error, LDX_ERROR_DUPLICATE_KEY, "%s holds keys more than once: nothing was begun",
                  ldx_pg_display_name(attempt->arena, attempt->step->relation));
    tell(attempt, r);
    hint_query(attempt);
  }
  PQclear(r);
  if (!none) list_all(attempt);
  return none;
}

void ldx_pg_explain_duplicates(ldx_pg_attempt *attempt) {
  hint_query(attempt);
  if (!can_be_counted(attempt->step->definition) || !ldx_pg_alive(attempt->session)) return;
  ldx_error error;
  PGresult *r = samples(attempt, patience, &error);
  if (r && PQntuples(r) > 0) tell(attempt, r);
  if (!r && error.code == LDX_ERROR_PERMISSION)
    ldx_context_note(attempt->context, "duplicates cannot be shown to this role: %s", error.message);
  else if (ldx_pg_alive(attempt->session))
    list_all(attempt);
  PQclear(r);
}
