#include "look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres_sql.h"
#include "who.h"

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

bool ldx_pg_look_at_index(const ldx_pg_look *look, ldx_name relation, const char *name, ldx_pg_index_state *state,
                          ldx_error *error) {
  const char *values[] = {relation.schema, relation.name, name};
  ldx_arena *arena = look->arena;
  *state = (ldx_pg_index_state){0};
  PGresult *r = ldx_pg_run_params(look->session, look->context, ldx_sql_index_state, 3, values, look->limit, error);
  if (!r) return false;
  if (PQntuples(r) > 0) {
    state->relation = ldx_arena_strdup(arena, value(r, 0, 0));
    state->relation_kind = letter(r, 0, 1);
    state->object = ldx_arena_strdup(arena, value(r, 0, 2));
    state->object_kind = letter(r, 0, 3);
    state->index = truth(r, 0, 4);
    state->same_relation = truth(r, 0, 5);
    state->valid = truth(r, 0, 6);
    state->definition = ldx_arena_strdup(arena, value(r, 0, 7));
    if (value(r, 0, 9)) {
      state->builder = atoll(value(r, 0, 9));
      ldx_pg_who(state->builder_who, sizeof state->builder_who, r, 0, 9);
      snprintf(state->builder_phase, sizeof state->builder_phase, "%s", value(r, 0, 8) ? value(r, 0, 8) : "");
    }
    state->parent = ldx_arena_strdup(arena, value(r, 0, 16));
    state->options = options_of(arena, value(r, 0, 17));
    state->tablespace = ldx_arena_strdup(arena, value(r, 0, 18));
  }
  PQclear(r);
  return true;
}

bool ldx_pg_look_at_constraint(const ldx_pg_look *look, ldx_name relation, const char *name,
                               ldx_pg_constraint_state *state, ldx_error *error) {
  const char *values[] = {relation.schema, relation.name, name};
  ldx_arena *arena = look->arena;
  *state = (ldx_pg_constraint_state){0};
  PGresult *r =
      ldx_pg_run_params(look->session, look->context, ldx_sql_constraint_state, 3, values, look->limit, error);
  if (!r) return false;
  if (PQntuples(r) > 0) {
    state->relation = ldx_arena_strdup(arena, value(r, 0, 0));
    state->relation_kind = letter(r, 0, 1);
    state->type = letter(r, 0, 2);
    state->validated = truth(r, 0, 3);
    state->definition = ldx_arena_strdup(arena, value(r, 0, 4));
    state->other_primary_key = ldx_arena_strdup(arena, value(r, 0, 5));
    state->has_check = truth(r, 0, 6);
    state->check_validated = truth(r, 0, 7);
    state->object = ldx_arena_strdup(arena, value(r, 0, 8));
    state->tablespace = ldx_arena_strdup(arena, value(r, 0, 9));
  }
  PQclear(r);
  return true;
}

const char *ldx_pg_in_tablespace(ldx_arena *arena, const char *tablespace, const char *statement) {
  if (!tablespace) return statement;
  return ldx_arena_printf(arena, "SET default_tablespace = %s; %s; RESET default_tablespace", tablespace, statement);
}
