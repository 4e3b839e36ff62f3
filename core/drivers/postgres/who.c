#include "who.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

static const char *value(const PGresult *result, int row, int column) {
  return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
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
    ldx_buffer_append_age(&b, atof(age));
  } else if (age) {
    ldx_buffer_append(&b, ", since ");
    ldx_buffer_append_age(&b, atof(age));
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
