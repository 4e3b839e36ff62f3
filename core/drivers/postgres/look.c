/* look.c: what stands in the catalog under a name, and who is at it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "attempt.h"
#include "postgres_sql.h"

static const char *value(const PGresult *result, int row, int column) {
  return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static char letter(const PGresult *result, int row, int column) {
  const char *text = value(result, row, column);
  return text ? *text : '\0';
}

static bool truth(const PGresult *result, int row, int column) {
  return letter(result, row, column) == 't';
}

static void append_age(ldx_buffer *b, const char *seconds) {
  long age = seconds ? (long)atof(seconds) : 0;
  if (age < 0) age = 0;
  if (age >= 86400)
    ldx_buffer_appendf(b, "%ld days %ld:%02ld:%02ld", age / 86400, age / 3600 % 24, age / 60 % 60, age % 60);
  else if (age >= 3600)
    ldx_buffer_appendf(b, "%ld:%02ld:%02ld", age / 3600, age / 60 % 60, age % 60);
  else
    ldx_buffer_appendf(b, "%ld:%02ld", age / 60, age % 60);
}

void ldx_pg_who(char *to, size_t size, const PGresult *result, int row, int column) {
  enum { PID, USER, HOST, APPLICATION, STATE, AGE, QUERY, HEAD = 120 };
  const char *pid = value(result, row, column + PID), *user = value(result, row, column + USER);
  const char *host = value(result, row, column + HOST), *application = value(result, row, column + APPLICATION);
  const char *state = value(result, row, column + STATE), *age = value(result, row, column + AGE);
  const char *query = value(result, row, column + QUERY);
  ldx_buffer b;
  ldx_buffer_init(&b, NULL);
  if (pid && *pid != '-') ldx_buffer_appendf(&b, "pid %s", pid); /* a prepared transaction has none */
  if (user) ldx_buffer_appendf(&b, "%s%s", b.length ? " " : "", user);
  if (host) ldx_buffer_appendf(&b, "@%s", host);
  if (application && *application) ldx_buffer_appendf(&b, " \"%s\"", application);
  if (state && age) {
    ldx_buffer_appendf(&b, ", %s%s since ", state, !strcmp(state, "active") ? ", in a transaction" : "");
    append_age(&b, age);
  } else if (age) {
    ldx_buffer_append(&b, ", since ");
    append_age(&b, age);
  } else if (state) {
    ldx_buffer_appendf(&b, ", %s", state);
  }
  if (query && *query && strcmp(query, "<insufficient privilege>") != 0) {
    ldx_buffer_append(&b, ": ");
    size_t n = 0;
    bool gap = false;
    /* White space folds, so that a query of many lines shows more than its first word. */
    for (const char *p = query; *p && n < HEAD; p++) {
      bool blank = strchr(" \t\r\n", *p) != NULL;
      if (blank) {
        gap = n > 0;
        continue;
      }
      if (gap) ldx_buffer_append_char(&b, ' '), n++;
      gap = false;
      ldx_buffer_append_char(&b, *p);
      n++;
    }
  }
  ldx_pg_one_line(to, size, ldx_buffer_string(&b));
  ldx_buffer_free(&b);
}

char *ldx_pg_text_array(ldx_arena *arena, size_t count, const char *const *items) {
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  ldx_buffer_append_char(&b, '{');
  for (size_t i = 0; i < count; i++) {
    if (i) ldx_buffer_append_char(&b, ',');
    if (!items[i]) {
      ldx_buffer_append(&b, "NULL");
      continue;
    }
    ldx_buffer_append_char(&b, '"');
    for (const char *p = items[i]; *p; p++) {
      if (*p == '"' || *p == '\\') ldx_buffer_append_char(&b, '\\');
      ldx_buffer_append_char(&b, *p);
    }
    ldx_buffer_append_char(&b, '"');
  }
  ldx_buffer_append_char(&b, '}');
  return ldx_buffer_string(&b);
}

static ldx_options options_of(ldx_arena *arena, const char *text) {
  ldx_options options = {0};
  size_t count = 0;
  for (const char *p = text; p && *p; p++) count += *p == '\n';
  if (!text || !*text) return options;
  options.items = LDX_ARENA_NEW(arena, ldx_option, count + 1);
  while (text && *text) {
    const char *end = strchr(text, '\n'), *equals = strchr(text, '=');
    size_t length = end ? (size_t)(end - text) : strlen(text);
    if (equals && equals < text + length)
      options.items[options.count++] =
          (ldx_option){.name = ldx_arena_strndup(arena, text, (size_t)(equals - text)),
                       .value = ldx_arena_strndup(arena, equals + 1, (size_t)(text + length - equals - 1))};
    text = end ? end + 1 : NULL;
  }
  return options;
}

bool ldx_pg_look_at_index(ldx_pg_attempt *attempt, const char *name, ldx_pg_index_state *state) {
  ldx_arena *arena = attempt->arena;
  const char *values[] = {attempt->step->relation.schema, attempt->step->relation.name, name};
  *state = (ldx_pg_index_state){0};
  PGresult *r = ldx_pg_exec_params(attempt->session, ldx_sql_index_state, 3, values, attempt->error);
  if (!r) return false;
  if (PQntuples(r) > 0) {
    state->schema = true;
    state->relation = ldx_arena_strdup(arena, value(r, 0, 0));
    state->relation_kind = letter(r, 0, 1);
    state->object = ldx_arena_strdup(arena, value(r, 0, 2));
    state->object_kind = letter(r, 0, 3);
    state->index = truth(r, 0, 8);
    state->same_relation = truth(r, 0, 4);
    state->valid = truth(r, 0, 5);
    state->ready = truth(r, 0, 6);
    state->live = truth(r, 0, 7);
    state->definition = ldx_arena_strdup(arena, value(r, 0, 9));
    state->constraint = ldx_arena_strdup(arena, value(r, 0, 10));
    if (value(r, 0, 13)) {
      state->builder = atoll(value(r, 0, 13));
      ldx_pg_who(state->builder_who, sizeof state->builder_who, r, 0, 13);
      snprintf(state->builder_phase, sizeof state->builder_phase, "%s", value(r, 0, 12) ? value(r, 0, 12) : "");
    }
    state->parent = ldx_arena_strdup(arena, value(r, 0, 20));
    state->tablespace = ldx_arena_strdup(arena, value(r, 0, 21));
    state->options = options_of(arena, value(r, 0, 22));
  }
  PQclear(r);
  return true;
}

bool ldx_pg_look_at_constraint(ldx_pg_attempt *attempt, const char *name, ldx_pg_constraint_state *state) {
  const char *values[] = {attempt->step->relation.schema, attempt->step->relation.name, name};
  *state = (ldx_pg_constraint_state){0};
  PGresult *r = ldx_pg_exec_params(attempt->session, ldx_sql_constraint_state, 3, values, attempt->error);
  if (!r) return false;
  if (PQntuples(r) > 0) {
    state->relation = ldx_arena_strdup(attempt->arena, value(r, 0, 0));
    state->relation_kind = letter(r, 0, 1);
    state->type = letter(r, 0, 2);
    state->validated = truth(r, 0, 3);
    state->definition = ldx_arena_strdup(attempt->arena, value(r, 0, 4));
    state->other_primary_key = ldx_arena_strdup(attempt->arena, value(r, 0, 5));
    state->has_check = truth(r, 0, 6);
    state->check_validated = truth(r, 0, 7);
  }
  PQclear(r);
  return true;
}
