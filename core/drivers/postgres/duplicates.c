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

/* FROM … GROUP BY …: the groups of equal keys as the index would see them. Nulls are equal to nothing unless it says so. */
static void append_groups(ldx_buffer *b, ldx_arena *arena, const ldx_step *step) {
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
  PQclear(r);
}
